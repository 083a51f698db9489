# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Ensembles as other programs write them: earth2studio's flat files, and any layout as Zarr.

:func:`open_ensemble` opens whatever it is given; what it gives can be scored.
"""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import netCDF4
import numpy as np
import xarray as xr
import zarr

from physicsnemo_fs.data.fields.kinds import LATITUDE, LEAD_TIME, LONGITUDE
from physicsnemo_fs.data.fields.moments import hours
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.groups import GroupReader, Moments, on_points, same_positions
from physicsnemo_fs.io.layout import ENSEMBLE_ALIASES, LAYOUT_ATTRIBUTE, field_order
from physicsnemo_fs.io.reader import EnsembleFile, _geographic_grid


@runtime_checkable
class EnsembleSource(Protocol):
    """What scoring needs of a file; :class:`~physicsnemo_fs.io.reader.EnsembleFile` has it all."""

    path: Path
    variables: tuple[str, ...]
    times: np.ndarray
    blocks: np.ndarray
    members: np.ndarray
    grid: Grid
    model_name: str
    provenance: dict[str, Any]

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        ...

    @property
    def has_truth(self) -> bool:
        """Whether there is truth."""
        ...

    @property
    def has_regression(self) -> bool:
        """Whether there is a regression mean."""
        ...

    @property
    def input_variables(self) -> tuple[str, ...]:
        """Names of the coarse inputs."""
        ...

    def fields(self, group: str) -> tuple[str, ...]:
        """Names of a group's fields over time."""
        ...

    def channel(self, variable: str, group: str = "prediction") -> Channel:
        """Name, unit and long name of a variable."""
        ...

    def prediction(self, variable: str, time_index: int) -> np.ndarray:
        """All members at one time, float32 ``[ensemble, y, x]``."""
        ...

    def truth(self, variable: str, time_index: int) -> np.ndarray:
        """Truth at one time, float32 ``[y, x]``."""
        ...

    def regression(self, variable: str, time_index: int) -> np.ndarray:
        """Regression mean at one time, float32 ``[y, x]``."""
        ...

    def input(self, variable: str, time_index: int) -> np.ndarray:
        """Coarse input on the output grid, float32 ``[y, x]``."""
        ...

    def same_places(self, group: str) -> bool:
        """Whether a group's fields lie where the predictions lie."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def lead_hours(source: EnsembleSource) -> np.ndarray:
    """Give the lead time in hours at each of a source's times; zeros if it has none."""
    found = getattr(source, "lead_hours", None)
    return np.zeros(source.times.size) if found is None else np.asarray(found, dtype=np.float64)


def open_ensemble(path: str | Path) -> EnsembleSource:
    """Open a file of ensembles: this project's, CorrDiff's or earth2studio's, NetCDF-4 or Zarr.

    Raises:
        InputError: If it is missing, damaged or of another kind.
    """
    path = Path(path)
    if path.is_dir():
        return EnsembleFile(path) if _is_ours(path) else ForeignEnsemble(path)
    if path.is_file():
        try:
            with netCDF4.Dataset(path) as dataset:
                flat = "prediction" not in dataset.groups and any(v.ndim >= 3 for v in dataset.variables.values())
        except (OSError, RuntimeError):
            flat = False  # EnsembleFile says what is wrong
        if flat:
            return ForeignEnsemble(path)
    file = EnsembleFile(path)
    if isinstance(file._dataset, netCDF4.Dataset):
        _keep_no_chunks(file._dataset)
    return file


def _is_ours(path: Path) -> bool:
    try:
        return LAYOUT_ATTRIBUTE in zarr.open_group(path, mode="r").attrs
    except (OSError, ValueError, KeyError):
        return False


def _keep_no_chunks(dataset: netCDF4.Dataset) -> None:
    """Turn off HDF5's caches, tens of megabytes a variable: every field is read once."""
    for group in dataset.groups.values():
        for variable in group.variables.values():
            if variable.ndim >= 3 and variable.chunking() != "contiguous":
                variable.set_var_chunk_cache(size=0, nelems=1, preemption=1.0)


class ForeignEnsemble(GroupReader):
    """An ensemble in a flat NetCDF file, or in Zarr, flat or in groups ``prediction``, ``truth``, ``input``.

    The ensemble dimension may be called ensemble, sample, member, number or realization; without one there is a
    single member. A lead-time dimension beside ``time`` makes one case of each pair; ``times`` are valid times then.

    Args:
        path: A NetCDF file or a Zarr folder.

    Attributes:
        path: The file.
        variables: Names of the predicted variables.
        times: Valid times, ``datetime64[ns]``.
        lead_hours: Lead time of each, or ``None`` without.
        blocks: Calendar day of the start of each, int64.
        members: Label of each member.
        grid: The grid; its extent comes from great-circle distances.
        model_name: The file's stem.

    Raises:
        InputError: If it is no ensemble of gridded fields over time.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._datasets = _open(self.path)
        if "prediction" not in self._datasets:
            self.close()
            raise InputError(f"{self.path.name} must have a group 'prediction': it has {sorted(self._datasets)}")
        self.variables = self.fields("prediction")
        if not self.variables:
            raise InputError(f"{self.path.name} must hold fields over time, y and x: it holds none")
        field = self._datasets["prediction"][self.variables[0]]
        self._member_dimension = next((str(d) for d in field.dims if d in ENSEMBLE_ALIASES), None)
        self._lead_dimension = next((str(d) for d in field.dims if str(d) in LEAD_TIME.names), None)
        self._read_times(field)
        self.members = np.arange(1 if self._member_dimension is None else field.sizes[self._member_dimension])
        if not self.members.size:
            raise InputError(f"{self.path.name} must hold one member or more: it holds none")
        self.grid = self._read_grid(field.transpose(*field_order([str(name) for name in field.dims])))
        self._moments = {
            group: Moments(dataset["time"].values.astype("datetime64[ns]"))
            for group, dataset in self._datasets.items()
            if group != "prediction" and "time" in dataset.coords and dataset["time"].dtype.kind == "M"
        }
        self.model_name = str(field.attrs.get("model_name", self.path.stem))
        self.provenance: dict[str, Any] = {}

    def _read_times(self, field: xr.DataArray) -> None:
        starts = field["time"].values
        if starts.dtype.kind != "M":
            raise InputError(f"times of {self.path.name} must be in the standard calendar with CF units")
        starts = starts.astype("datetime64[ns]")
        self.lead_hours: np.ndarray | None = None
        if self._lead_dimension is None:
            self.times, self._index = starts, [(i, 0) for i in range(starts.size)]
        else:
            lead = field[self._lead_dimension]
            decoded = xr.decode_cf(lead.to_dataset(name="lead", promote_attrs=False), decode_timedelta=True)
            leads = np.asarray(hours(decoded[self._lead_dimension]).values, dtype=np.float64)
            self._index = [(i, j) for i in range(starts.size) for j in range(leads.size)]
            self.lead_hours = np.tile(leads, starts.size)
            shift = (self.lead_hours * 3600e9).astype(np.int64).astype("timedelta64[ns]")
            self.times = np.repeat(starts, leads.size) + shift
            starts = np.repeat(starts, leads.size)
        self.blocks = starts.astype("datetime64[D]").astype(np.int64)

    def _read_grid(self, field: xr.DataArray) -> Grid:
        shape = (int(field.shape[-2]), int(field.shape[-1]))
        positions = _positions_of(field)
        if positions is None:
            return Grid(shape, (float(shape[0]), float(shape[1])), boundary="bounded")
        return _geographic_grid(shape, *positions)

    def _positions(self, group: str) -> tuple[np.ndarray, np.ndarray] | None:
        names = self.fields(group)
        found = _positions_of(self._dataset(group)[names[0]]) if names else None
        return None if found is None else on_points(*found)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        return tuple(self._datasets)

    @property
    def has_truth(self) -> bool:
        """Whether there is truth."""
        return "truth" in self._datasets

    @property
    def has_regression(self) -> bool:
        """Whether there is a regression mean."""
        return "regression" in self._datasets

    @property
    def input_variables(self) -> tuple[str, ...]:
        """Names of the coarse inputs."""
        return self.fields("input") if "input" in self._datasets else ()

    def fields(self, group: str) -> tuple[str, ...]:
        """Give the names of a group's fields over time."""
        found = self._dataset(group).data_vars.items()
        return tuple(str(name) for name, array in found if array.ndim >= 3 and "time" in array.dims)

    def _attributes(self, group: str, variable: str) -> Mapping[str, Any]:
        return self._dataset(group)[variable].attrs

    def close(self) -> None:
        """Close the files."""
        for dataset in self._datasets.values():
            dataset.close()

    def __enter__(self) -> "ForeignEnsemble":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _dataset(self, group: str) -> xr.Dataset:
        if group not in self._datasets:
            raise InputError(f"{self.path.name} must have a group {group!r}: it has {sorted(self._datasets)}")
        return self._datasets[group]

    def _read(self, group: str, name: str, time_index: int) -> np.ndarray:
        dataset = self._dataset(group)
        if name not in dataset:
            raise InputError(f"{group!r} of {self.path.name} must have {name!r}: it has {sorted(map(str, dataset))}")
        start, lead = self._index[time_index]
        array = dataset[name]
        key = {"time": start}
        if self._lead_dimension is not None and self._lead_dimension in array.dims:
            key[self._lead_dimension] = lead
        elif group in self._moments:
            key["time"] = self._index_in(group, self._moments[group], time_index)
        elif array.sizes["time"] != 1 + self._index[-1][0]:
            raise InputError(
                f"{group!r} of {self.path.name} must have the times of the predictions, or times of its own: "
                f"{name!r} has {array.sizes['time']}"
            )
        array = array.isel(key)
        order = field_order([str(name) for name in array.dims])
        if len(order) != (3 if order[0] in ENSEMBLE_ALIASES else 2):
            raise InputError(
                f"{group}/{name} of {self.path.name} must have dimensions (ensemble,) time, y, x: it has "
                f"{dataset[name].dims}; give one level a variable"
            )
        array = array.transpose(*order)
        try:
            return np.asarray(array.values, dtype=np.float32)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{group}/{name} of {self.path.name} is not readable ({error}); is it damaged?") from error


def _open(path: Path) -> dict[str, xr.Dataset]:
    options: dict[str, Any] = {"decode_timedelta": False}  # a field in hours is one in hours
    try:
        if path.is_dir():
            tree = xr.open_datatree(path, engine="zarr", consolidated=False, **options)
            root = tree.to_dataset(inherit=False)
            groups = {name: child.to_dataset(inherit=False) for name, child in tree.children.items()}
        else:
            root, groups = xr.open_dataset(path, engine="netcdf4", **options), {}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is no readable NetCDF file or Zarr folder ({error}); is it damaged?") from error
    if "prediction" not in groups:
        return {"prediction": root.set_coords([name for name, v in root.data_vars.items() if _is_position(name, v)])}
    shared = root.set_coords(list(root.variables))
    return {
        name: group.assign_coords(shared.coords) if name != "input_native" else group
        for name, group in groups.items()
        if group.data_vars
    }


def _is_position(name: Hashable, array: xr.DataArray) -> bool:
    return array.ndim <= 2 and any(kind.likeness(name, array.variable) for kind in (LATITUDE, LONGITUDE))


def _positions_of(field: xr.DataArray) -> tuple[np.ndarray, np.ndarray] | None:
    """Give the coordinates of a field that are latitude and longitude, rows first; ``None`` if it lacks one."""
    positions = []
    for kind in (LATITUDE, LONGITUDE):
        known = {str(name): kind.likeness(name, coord.variable) for name, coord in field.coords.items()}
        best = max(known, key=lambda name: known[name], default=None)
        if best is None or not known[best]:
            return None
        found = field[best]
        positions.append(np.asarray(found.transpose(*field_order([str(name) for name in found.dims])).values))
    return positions[0], positions[1]


class WithTruth:
    """A source whose truth comes from another file, joined on valid time.

    Args:
        source: Forecasts.
        truth: File with fields of the same names on the same grid; or samples, whose truth is taken.

    Raises:
        InputError: If grids differ or no variable is shared.
    """

    def __init__(self, source: EnsembleSource, truth: EnsembleSource):
        self._source, self._truth = source, truth
        self._group = "truth" if truth.has_truth else "prediction"
        self._moments = Moments(truth.times)
        if self._group == "prediction" and len(truth.members) > 1:
            raise InputError(
                f"truth must be one field a time: {truth.path.name} holds {len(truth.members)} members and no group "
                "'truth'; give the file of the truth"
            )
        if truth.grid.shape != source.grid.shape:
            raise InputError(
                f"forecast and truth must have one grid: {source.path.name} has {source.grid.shape}, "
                f"{truth.path.name} {truth.grid.shape}; regrid one of them"
            )
        if not same_grid_positions(source.grid, truth.grid):
            raise InputError(
                f"forecast and truth must have one grid: latitudes or longitudes of {source.path.name} and "
                f"{truth.path.name} differ; regrid one of them, or turn its rows"
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, with ``truth``."""
        return (*self._source.groups, "truth")

    @property
    def has_truth(self) -> bool:
        """True."""
        return True

    def fields(self, group: str) -> tuple[str, ...]:
        """Give the names of a group's fields."""
        return self._truth.fields(self._group) if group == "truth" else self._source.fields(group)

    def channel(self, variable: str, group: str = "prediction") -> Channel:
        """Give name, unit and long name of a variable."""
        if group == "truth":
            return self._truth.channel(variable, self._group)
        return self._source.channel(variable, group)

    def same_places(self, group: str) -> bool:
        """Say whether a group's fields lie where the predictions lie."""
        return self._truth.same_places(self._group) if group == "truth" else self._source.same_places(group)

    def truth(self, variable: str, time_index: int) -> np.ndarray:
        """Give the truth at the valid time of a case, float32 ``[y, x]``.

        Raises:
            InputError: If the other file does not have that time.
        """
        index = self._moments.index(self._source.times[time_index], self._truth.path.name, "the truth of ")
        if self._group == "truth":
            return self._truth.truth(variable, index)
        return self._truth.prediction(variable, index)[0]

    def close(self) -> None:
        """Close both files."""
        self._source.close()
        self._truth.close()


def same_grid_positions(first: Grid, second: Grid) -> bool:
    """Say whether two grids lie at the same places, as far as both say where that is."""
    if first.latitude is None or first.longitude is None or second.latitude is None or second.longitude is None:
        return True
    return same_positions((first.latitude, first.longitude), (second.latitude, second.longitude))
