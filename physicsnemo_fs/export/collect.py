# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Members that earth2studio wrote, in the layout that ``score_samples.py`` reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.grids import Positions, positions, same_places
from physicsnemo_fs.export.integrity import DESCRIPTION, recorded_files
from physicsnemo_fs.export.notes import Note
from physicsnemo_fs.export.package_model import Variable, read_positions
from physicsnemo_fs.files import read_json
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.io.writer import EnsembleWriter
from physicsnemo_fs.pipelines.corrdiff_package import OWN


def to_ensemble_file(
    written: Path | str,
    package: Path | str,
    reference: Path | str,
    path: Path | str,
    seeds: Sequence[int] | None = None,
    replace: bool = False,
) -> Path:
    """Put members of a package, written by earth2studio, beside the truth and input of a file of ``generate.py``.

    Names and units are turned back into those of the training.

    Args:
        written: NetCDF file or Zarr store of an earth2studio IO backend, ``(time, sample, ...)`` by variable.
        package: The package that made it.
        reference: File of ``generate.py`` with the times, truth and input.
        path: NetCDF file to write.
        seeds: Seed of each member; by default what :func:`~physicsnemo_fs.export.workflow.downscale` noted, and
            otherwise the file says none.
        replace: Whether a file that is there may be overwritten.

    Returns:
        ``path``.

    Raises:
        InputError: If ``path`` is there, the package is of another exporter, a variable or time is missing, there are
            several lead times, another number of seeds than members, or members, package and reference are of
            different grids or packages.
    """
    if Path(path).exists() and not replace:
        raise InputError(f"{path} is there already: choose another file, or replace=True")
    own = read_json(Path(package) / "metadata.json").get(OWN)
    if own is None:
        raise InputError(f"{package} must be a package of this package's exporter: it is not")
    variables = [Variable.from_dict(record) for record in own["outputs"]]
    opened = xr.open_zarr(written, consolidated=False) if Path(written).is_dir() else xr.open_dataset(written)
    with opened as found, EnsembleFile(reference) as truth:
        members = _at_valid_times(found)
        _require(members, variables, truth)
        _require_same_grid(members, variables[0].name, Path(package), truth)
        known = Note.read(members.attrs).seeds if seeds is None else list(seeds)
        with EnsembleWriter(path, _layout(members, variables, truth, Path(package), known)) as writer:
            for index, time in enumerate(truth.times):
                fields = [v.conversion.undo(_members(members, v.name, time)) for v in variables]
                writer.write(
                    index,
                    np.stack(fields, axis=1),
                    input=_stacked(truth, "input", index),
                    input_native=_stacked(truth, "input_native", index),
                    truth=_stacked(truth, "truth", index) if truth.has_truth else None,
                    regression=_stacked(truth, "regression", index) if truth.has_regression else None,
                )
    return Path(path)


def _at_valid_times(members: xr.Dataset) -> xr.Dataset:
    if "lead_time" not in members.dims:
        return members
    if members.sizes["lead_time"] > 1:
        raise InputError(
            f"members of one lead time are scored at once: got {members.sizes['lead_time']}; write each to a file of "
            "its own, downscale(..., lead_times=[...])"
        )
    lead = np.asarray(members["lead_time"].values, "timedelta64[ns]")
    times = np.asarray(members["time"].values, "datetime64[ns]") + lead
    return members.isel(lead_time=0).assign_coords(time=times)


def _require(members: xr.Dataset, variables: list[Variable], truth: EnsembleFile) -> None:
    absent = [v.name for v in variables if v.name not in members]
    if absent:
        raise InputError(
            f"the output of earth2studio must have {', '.join(absent)}: it has {', '.join(map(str, members))}"
        )
    times = _whole_seconds(members["time"].values)
    missing = [str(t) for t in truth.times if _whole_seconds(t) not in times]
    if missing:
        raise InputError(f"the output of earth2studio must have the times of the reference: {missing[0]} is not there")


def _require_same_grid(members: xr.Dataset, name: str, package: Path, truth: EnsembleFile) -> None:
    maker, own = Note.read(members.attrs).package, read_json(package / "metadata.json")[OWN].get(DESCRIPTION)
    if maker not in (None, own):
        raise InputError(f"members must be collected with the package that made them: {package} is another; give that")
    wanted = positions(truth.grid)
    grids = {} if maker else {f"the package {package}": read_positions(package / "output_latlon_grid.nc")}
    if {"lat", "lon"} <= set(members.variables):
        grids["the output of earth2studio"] = Positions(members["lat"].values, members["lon"].values % 360.0)
    for what, found in grids.items():
        if not same_places(found, wanted):
            raise InputError(
                f"{what} must be on the grid of the reference, {wanted}: it is on {found}; give what belongs together"
            )
    shape = members[name].transpose("sample", "time", ...).shape[2:]
    if shape != truth.grid.shape:
        raise InputError(f"the output of earth2studio must have the reference's {truth.grid.shape} points: got {shape}")


def _layout(
    members: xr.Dataset, variables: list[Variable], truth: EnsembleFile, package: Path, seeds: list[int] | None
) -> EnsembleSpec:
    metadata = read_json(package / "metadata.json")
    count = members.sizes["sample"]
    if seeds is not None and len(seeds) != count:
        raise InputError(f"seeds must be one for each of the {count} members: got {len(seeds)}; give them all, or none")
    names = truth.input_variables
    native = truth.input_native(names[0], 0).shape if names else truth.grid.shape
    return EnsembleSpec(
        grid=truth.grid,
        coarse_grid=truth.grid.at((native[0], native[1])),
        times=truth.times,
        blocks=truth.blocks,
        output_channels=tuple(v.channel for v in variables),
        input_channels=tuple(truth.channel(name, "input") for name in names),
        member_seeds=tuple(range(count) if seeds is None else seeds),
        provenance={
            "model_name": "earth2studio",
            "package": package.name,
            "checkpoints": _checkpoints(metadata),
            **_windows(metadata[OWN], truth),
        },
        has_truth=truth.has_truth,
        has_regression=truth.has_regression,
        seeds_known=seeds is not None,
    )


def _windows(own: Mapping[str, Any], truth: EnsembleFile) -> dict[str, Any]:
    """Give the windows that members of the reference's grid are made of; at another resolution they are others."""
    found = own.get("patches")
    return {"patches": found} if found and tuple(found["shape"]) == truth.grid.shape else {}


def _checkpoints(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Give the hashes of the networks, as files of ``generate.py`` name them."""
    hashes = recorded_files(metadata)
    return {name: hashes[f"{name}.mdlus"] for name in ("regression", "diffusion")}


def _members(members: xr.Dataset, name: str, time: np.datetime64) -> np.ndarray:
    """Give the members of one time, float64: ``[sample, y, x]``."""
    found = int(np.flatnonzero(_whole_seconds(members["time"].values) == _whole_seconds(time))[0])
    field = members[name].isel(time=found)
    return field.transpose("sample", ...).values.astype(np.float64)


def _whole_seconds(times: np.ndarray | np.datetime64) -> np.ndarray:
    """Round times to seconds: the NetCDF backend counts hours since the year 1, in which they are not exact."""
    return (np.asarray(times, "datetime64[ns]") + np.timedelta64(500, "ms")).astype("datetime64[s]")


def _stacked(file: EnsembleFile, group: str, index: int) -> np.ndarray:
    names = file.input_variables if group.startswith("input") else file.variables
    read = getattr(file, group)
    return np.stack([read(name, index) for name in names]) if names else np.zeros((0, *file.grid.shape), np.float32)
