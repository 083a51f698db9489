# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Building a training store from raw files."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from physicsnemo_fs.config.keys import key

METHODS = ("conservative", "bilinear")


@dataclass
class SourceConfig:
    """Variables of some files."""

    data_path: Any = key(None, "NetCDF, Zarr or GRIB: a file, a pattern, a folder, or a list of them.")
    variables: list[Any] = key([], "name or name@level; or {name: new, source: name@level, unit: ..., long_name: ...}.")
    transforms: Any = key(
        None, "Normalisation by variable, null for standard: {rain: {kind: log1p, scale: 0.1}, t2m: minmax}."
    )
    missing_value: float | None = key(None, "A further value that means none.")
    region: list[float] | None = key(None, "Read only [south, north, west, east], in degrees.")
    select: Any = key(None, "Choice along further dimensions, for example {number: 0}.")
    engine: str | None = key(None, "xarray engine; null finds it by the files.")


@dataclass
class FineSourceConfig(SourceConfig):
    """The fine fields."""

    data_path: Any = key(MISSING, "NetCDF, Zarr or GRIB: a file, a pattern, a folder, or a list of them.")
    variables: list[Any] = key(
        MISSING, "name or name@level; or {name: new, source: name@level, unit: ..., long_name: ...}."
    )
    spacing: float | None = key(None, "Spacing in degrees to regrid to; null keeps the source's cells.", above=0)
    origin: list[float] = key([0.0, 0.0], "Latitude and longitude of a corner of a coarse cell, for `spacing`.")
    method: str = key("conservative", "Regridding to `spacing`: conservative or bilinear.", choices=METHODS)


@dataclass
class CoarseSourceConfig(SourceConfig):
    """The coarse fields; without data_path they are averages of the fine ones."""

    method: str = key("conservative", "Regridding to the coarse cells: conservative or bilinear.", choices=METHODS)
    tolerance: str = key("0s", "Most distance in time between a fine field and its coarse partner, such as 30min.")


@dataclass
class InvariantSourceConfig(SourceConfig):
    """Static fine fields such as orography; without data_path there are none."""

    method: str = key("conservative", "Regridding to the fine cells: conservative or bilinear.", choices=METHODS)


@dataclass
class RegionConfig:
    """A region of the store."""

    name: str = key(MISSING, "Name of its group.")
    box: list[float] | None = key(None, "[south, north, west, east] in degrees; null for the whole domain.")
    split: str | None = key(
        None, "Split of all its samples; null leaves them to their times.", choices=("train", "validation", "test")
    )
    tile: list[int] | None = key(None, "Fine rows and columns of the tiles that it is cut into, each a region.")


@dataclass
class SplitsConfig:
    """How times are shared out."""

    block: str = key("1d", "Length of the blocks of time that are held out whole.")
    validation: float = key(0.0, "Share of the blocks for validation.", least=0, below=1)
    test: float = key(0.0, "Share of the blocks for testing.", least=0, below=1)
    gap: str = key("0s", "Least distance in time between the splits.")
    train_periods: list[Any] = key([], "Pairs [start, end], in place of the shares.")
    validation_periods: list[Any] = key([], "The same for validation.")
    test_periods: list[Any] = key([], "The same for testing.")


@dataclass
class BuildConfig:
    """``build.py``."""

    output: str = key("outputs/store.zarr", "Folder of the store.")
    fine: FineSourceConfig = key(FineSourceConfig, "The fine fields.")
    coarse: CoarseSourceConfig = key(CoarseSourceConfig, "The coarse fields.")
    invariants: InvariantSourceConfig = key(InvariantSourceConfig, "Static fine fields.")
    lowres_scale_factor: int = key(8, "Fine points per coarse cell along an axis.", least=1)
    period: list[str] | None = key(None, "[start, end] in ISO 8601, both included; null for all times.")
    regions: list[RegionConfig] = key(
        [],
        "Parts of the domain, [{name: ..., box: [south, north, west, east], split: ...}]; none means all. A region "
        "with a split keeps only that split's samples.",
    )
    splits: SplitsConfig = key(SplitsConfig, "How times are shared out.")
    least_valid: float = key(
        0.5, "Least share of a cell that must have values; below it the cell is missing.", least=0, below=1.000001
    )
    executor: str = key(
        "auto",
        "processes, mpi, dask or none (this process); auto takes Dask if there is an address, MPI under mpirun, else "
        "processes.",
        choices=("auto", "processes", "mpi", "dask", "none"),
    )
    workers: int | None = key(None, "Processes; null for one a usable core.", least=1)
    dask_address: str | None = key(None, "Dask's scheduler, such as tcp://host:8786.")
    dry_run: bool = key(False, "Say what would be made, and write nothing.")
    picture: bool = key(True, "Write a picture of the store beside it.")
