# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Datasets of gridded files."""

from dataclasses import dataclass
from typing import Any

from physicsnemo_fs.config.datasets import DatasetConfig
from physicsnemo_fs.config.keys import key


@dataclass
class NetCDFDatasetConfig(DatasetConfig):
    """Variables of NetCDF, Zarr or GRIB files; what kind a file is of is found by itself."""

    type: str = key("netcdf", "This source.")
    data_path: Any = key(None, "File, pattern, folder or Zarr store of the truth, or a list; null without truth.")
    target: list[str] = key([], "Variables of the truth: name, name@level as in z@500, group/name, or new=name.")
    input_path: Any = key(None, "The same of a coarse input of its own; null averages the truth over blocks.")
    input: list[str] = key([], "Variables of the input; empty takes those of `target`.")
    invariants_path: Any = key(None, "Files of static fine fields; null takes the first of data_path.")
    invariants: list[str] = key([], "Static fine variables, such as orography and a land mask.")
    engine: str | None = key(None, "xarray engine of the files; null finds it.")
    select: Any = key(None, "Choice along further dimensions, for example {number: 0, step: 6h}.")
    period: list[str] | None = key(None, "[start, end] in ISO 8601, both included; null for the whole record.")
    region: list[float] | None = key(None, "[south, north, west, east] in degrees; null for the whole domain.")
    regions: Any = key(None, "Boxes by split and name, {train: {alps: [s, n, w, e], ...}, ...}: split by region.")
    periods: Any = key(None, "Periods by split, {train: [[start, end], ...], test: [...]}: split by these.")
    block: str = key("5d", "Otherwise whole blocks of this length are held out, spread over the record.")
    validation_fraction: float = key(0.1, "Share of the blocks for validation.", least=0, below=1)
    test_fraction: float = key(0.1, "Share of the blocks for testing.", least=0, below=1)
    gap: str = key("0s", "Training times closer than this to a held-out one are not used.")
    patch_shape: list[int] | None = key(None, "Fine rows and columns of training patches; null trains on whole fields.")
    patches_per_time: int = key(1, "Patches of each time in an epoch.", least=1)
    uneven: str = key(
        "refuse", "Windows of unevenly spaced frames: refuse, skip or keep.", choices=("refuse", "skip", "keep")
    )
    missing: Any = key(None, "Missing values by variable: refuse (default), mask, or a value to fill in.")
    missing_value: float | None = key(None, "A further value that means none in every file.")
    transforms: Any = key(None, "Normalisation by variable: standard (default), minmax, log1p or quantile.")
    statistics_times: int = key(512, "Most training times that the normalisation is measured on.", least=1)
    cache_gib: float = key(0.0, "Most memory, in GiB, that keeps fields read once.", least=0)


@dataclass
class ZarrDatasetConfig(NetCDFDatasetConfig):
    """The same; a name for those who look for it."""

    type: str = key("zarr", "This source.")
