# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Reading files of generated ensembles: this package's and CorrDiff's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.groups import GroupReader, Moments, on_points
from physicsnemo_fs.io.layout import COMPLETE, ENSEMBLE_ALIASES, LAYOUT_ATTRIBUTE, LAYOUT_VERSION, field_order
from physicsnemo_fs.io.zarr_view import ZarrVariable, ZarrView

AnyGroup = netCDF4.Dataset | ZarrView
AnyVariable = netCDF4.Variable | ZarrVariable
EARTH_RADIUS = 6371.0
"""Mean radius in km, for the extent of grids that come without one."""


class EnsembleFile(GroupReader):
    """Read one file of generated ensembles, one field at a time.

    Files of CorrDiff (no ``/provenance``) work too: blocks are then calendar days, and the grid's extent
    comes from great-circle distances between ``lat`` and ``lon``. The ensemble dimension may be called
    ensemble, sample, member, number or realization; a prediction without one is a single member. Fields are
    float32 with NaN where missing.

    Args:
        path: A NetCDF-4 file, or a Zarr 3 folder of the same layout.

    Attributes:
        path: The file.
        variables: Names of the predicted variables.
        times: Valid times, ``datetime64[ns]``, shape ``(time,)``.
        blocks: Label of the independent block of each time, int64, shape ``(time,)``.
        members: Label of each ensemble member, shape ``(ensemble,)``.
        grid: Grid of prediction and truth.
        provenance: What made the file; empty for other codes' files.
        model_name: ``provenance["model_name"]``, or the file's stem.
        layout_version: Version of the layout, or ``None`` for other codes' files.

    Raises:
        InputError: If the file is missing, truncated, not NetCDF-4, of a newer layout, or lacks what is asked
            for.

    Example:
        >>> import tempfile
        >>> from physicsnemo_fs.data.types import Channel
        >>> from physicsnemo_fs.io.layout import EnsembleSpec
        >>> from physicsnemo_fs.io.writer import EnsembleWriter
        >>> grid, days = Grid((4, 4), (1.0, 1.0)), np.array(["2020-01-01"], dtype="datetime64[ns]")
        >>> spec = EnsembleSpec(grid, grid, days, np.array([3]), (Channel("t2m", "K"),), (), (7, 8),
        ...                     has_truth=False, has_regression=False)
        >>> path = Path(tempfile.mkdtemp()) / "samples.nc"
        >>> empty = np.zeros((0, 4, 4))
        >>> with EnsembleWriter(path, spec) as writer:
        ...     writer.write(0, np.full((2, 1, 4, 4), 280.0), input=empty, input_native=empty)
        >>> with EnsembleFile(path) as samples:
        ...     samples.variables, samples.blocks.tolist(), samples.prediction("t2m", 0).shape
        (('t2m',), [3], (2, 4, 4))
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._dataset = _open(self.path)
        self._moments: dict[str, Moments] = {}
        try:
            self._read_header()
        except InputError:
            self._dataset.close()
            raise
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            OverflowError,
            OSError,
            RuntimeError,
        ) as error:
            self._dataset.close()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{self.path} cannot be read as an ensemble ({reason}); is it damaged?") from error

    def __enter__(self) -> "EnsembleFile":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; harmless if it is closed already."""
        if self._dataset.isopen():
            self._dataset.close()

    def _read_header(self) -> None:
        self.layout_version: str | None = getattr(self._dataset, LAYOUT_ATTRIBUTE, None)
        if self.layout_version is not None and _major(self.layout_version) > _major(LAYOUT_VERSION):
            raise InputError(
                f"{self.path.name} has layout {self.layout_version}, this version reads up to "
                f"{LAYOUT_VERSION}; update physicsnemo-fs"
            )
        older = self.layout_version in (None, "1.0")
        if getattr(self._dataset.groups.get("provenance"), COMPLETE, int(older)) != 1:
            raise InputError(f"{self.path.name} must be complete: it is not; run its generation again")
        self.variables = self.fields("prediction")
        if not self.variables:
            raise InputError(f"group 'prediction' of {self.path.name} must hold fields: it holds none")
        self.times = self._read_times()
        self.provenance: dict[str, Any] = self._read_provenance()
        self.blocks = self._read_blocks()
        self.members = self._read_members()
        self.grid = self._read_grid()
        self.model_name = str(self.provenance.get("model_name", self.path.stem))

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups in the file."""
        return tuple(self._dataset.groups)

    @property
    def has_truth(self) -> bool:
        """Whether the file holds truth."""
        return "truth" in self._dataset.groups

    @property
    def has_regression(self) -> bool:
        """Whether the file holds the regression mean."""
        return "regression" in self._dataset.groups

    @property
    def input_variables(self) -> tuple[str, ...]:
        """Names of the coarse inputs, none if the file holds no input."""
        return self.fields("input") if "input" in self._dataset.groups else ()

    @property
    def seeds(self) -> np.ndarray | None:
        """Seed of each member, or ``None`` if the file does not say."""
        variables = self._group("prediction").variables
        return np.asarray(variables["seed"][:]) if "seed" in variables else None

    def fields(self, group: str) -> tuple[str, ...]:
        """Give the names of a group's ``(time, y, x)`` or ``(ensemble, time, y, x)`` variables."""
        variables = self._group(group).variables
        return tuple(
            name for name, variable in variables.items() if variable.ndim >= 3 and "time" in variable.dimensions
        )

    def _attributes(self, group: str, variable: str) -> Mapping[str, Any]:
        return self._variable(group, variable).__dict__

    def input_native(self, variable: str, time_index: int) -> np.ndarray:
        """Give the coarse input on its own grid, float32 ``[coarse y, coarse x]``."""
        return self._read("input_native", variable, time_index)

    def _group(self, name: str) -> AnyGroup:
        if name not in self._dataset.groups:
            raise InputError(f"{self.path.name} must have a group {name!r}: it has {sorted(self.groups) or 'none'}")
        return self._dataset.groups[name]

    def _variable(self, group: str, name: str) -> AnyVariable:
        variables = self._group(group).variables
        if name not in variables:
            raise InputError(
                f"group {group!r} of {self.path.name} must have a variable {name!r}: it has {sorted(variables)}"
            )
        return variables[name]

    def _read(self, group: str, name: str, time_index: int) -> np.ndarray:
        variable = self._variable(group, name)
        count = self.times.size
        if not 0 <= time_index < count:
            raise InputError(f"time index of {self.path.name} must be 0 to {count - 1}: got {time_index}")
        dimensions = variable.dimensions
        if "time" not in dimensions:
            raise InputError(f"{group}/{name} of {self.path.name} must have a dimension 'time': it has {dimensions}")
        time_index = self._place(group, time_index, variable.shape[dimensions.index("time")])
        key = tuple(time_index if dimension == "time" else slice(None) for dimension in dimensions)
        try:
            values = variable[key]
        except (OSError, RuntimeError) as error:
            raise InputError(f"{group}/{name} of {self.path.name} is not readable ({error}); is it damaged?") from error
        field = np.ma.filled(np.ma.asarray(values, dtype=np.float32), np.nan)
        kept = [dimension for dimension in dimensions if dimension != "time"]
        field = field.transpose([kept.index(dimension) for dimension in field_order(kept)])
        if field.ndim != (2 if _member_axis(kept) is None else 3):
            raise InputError(
                f"{group}/{name} of {self.path.name} must have dimensions (ensemble,) time, y, x: it has {dimensions}"
            )
        return field

    def _place(self, group: str, time_index: int, length: int) -> int:
        """Give the position of a case in a group, which may have times of its own."""
        own = self._group(group).variables.get("time")
        if own is not None and group != "prediction":
            if group not in self._moments:
                self._moments[group] = Moments(self._decoded(own))
            return self._index_in(group, self._moments[group], time_index)
        if length != self.times.size:
            raise InputError(
                f"{group!r} of {self.path.name} must have the {self.times.size} times of the predictions, or a "
                f"variable 'time' of its own: it has {length}"
            )
        return time_index

    def _positions(self, group: str) -> tuple[np.ndarray, np.ndarray] | None:
        latitude, longitude = (self._group(group).variables.get(name) for name in ("lat", "lon"))
        return None if latitude is None or longitude is None else on_points(_in_order(latitude), _in_order(longitude))

    def _root_or_group(self, name: str) -> AnyVariable | None:
        for holder in (self._dataset.groups["prediction"], self._dataset):
            if name in holder.variables:
                return holder.variables[name]
        return None

    def _read_times(self) -> np.ndarray:
        time = self._root_or_group("time")
        if time is None:
            raise InputError(f"{self.path.name} must have a variable 'time': it has {sorted(self._dataset.variables)}")
        return self._decoded(time)

    def _decoded(self, time: AnyVariable) -> np.ndarray:
        encoded = xr.Variable(("time",), np.ma.getdata(time[:]), {k: time.getncattr(k) for k in time.ncattrs()})
        decoded = xr.decode_cf(xr.Dataset({"time": encoded}))["time"].values
        if decoded.dtype.kind != "M":
            raise InputError(
                f"times of {self.path.name} must have CF units in the standard calendar: got units "
                f"{getattr(time, 'units', None)!r}, calendar {getattr(time, 'calendar', None)!r}"
            )
        return decoded.astype("datetime64[ns]")

    def _read_provenance(self) -> dict[str, Any]:
        group = self._dataset.groups.get("provenance")
        return {} if group is None or "record" not in group.ncattrs() else json.loads(group.record)

    def _read_blocks(self) -> np.ndarray:
        group = self._dataset.groups.get("provenance")
        if group is not None and "block" in group.variables:
            return np.ma.getdata(group.variables["block"][:]).astype(np.int64)
        return self.times.astype("datetime64[D]").astype(np.int64)

    def _read_members(self) -> np.ndarray:
        dimensions = self._variable("prediction", self.variables[0]).dimensions
        axis = _member_axis(dimensions)
        if axis is None:
            return np.arange(1)
        labels = self._root_or_group(dimensions[axis])
        size = self._variable("prediction", self.variables[0]).shape[axis]
        return np.arange(size) if labels is None else np.ma.getdata(labels[:])

    def _read_grid(self) -> Grid:
        field = self._variable("prediction", self.variables[0])
        height, width = (field.shape[field.dimensions.index(name)] for name in field_order(field.dimensions)[-2:])
        lat, lon = self._root_or_group("lat"), self._root_or_group("lon")
        group = self._dataset.groups.get("provenance")
        if group is not None and "crs" in group.variables:
            grid = _declared_grid((height, width), group.variables["crs"])
            geographic = hasattr(group.variables["crs"], "grid_mapping_name")
            if geographic and lat is not None and lon is not None:
                projection = _projection(group.variables["crs"])
                return replace(grid, latitude=_in_order(lat), longitude=_in_order(lon), projection=projection)
            return grid
        if lat is None or lon is None:
            return Grid((height, width), (float(height), float(width)), boundary="bounded")
        return _geographic_grid((height, width), _in_order(lat), _in_order(lon))


def _in_order(positions: AnyVariable) -> np.ndarray:
    """Read positions, rows first."""
    values, names = np.ma.getdata(positions[:]), positions.dimensions
    return values.transpose([names.index(name) for name in field_order(names)])


def _open(path: Path) -> AnyGroup:
    folder = path.suffix == ".zarr" and path.is_dir()
    if not (folder or path.is_file()):
        raise InputError(f"no such file: {path}")
    try:
        return ZarrView(path) if folder else netCDF4.Dataset(path, "r")
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path} is not a readable {'Zarr 3 folder' if folder else 'NetCDF-4 file'} ({error}); is it truncated, or "
            "of another format?"
        ) from error


def _major(version: str) -> int:
    return int(version.split(".")[0])


def _member_axis(dimensions: Sequence[str]) -> int | None:
    return next((i for i, name in enumerate(dimensions) if name in ENSEMBLE_ALIASES), None)


def _declared_grid(shape: tuple[int, int], crs: AnyVariable) -> Grid:
    (extent_y, extent_x), (origin_y, origin_x) = crs.extent.tolist(), crs.origin.tolist()
    return Grid(shape, (extent_y, extent_x), (origin_y, origin_x), crs.registration, crs.boundary, crs.unit)


def _projection(crs: AnyVariable) -> dict[str, Any] | None:
    """Give the CF attributes of a projection, ``None`` for latitudes and longitudes."""
    if crs.grid_mapping_name == "latitude_longitude":
        return None
    ours = {"extent", "origin", "unit", "registration", "boundary", "long_name"}
    values = {name: np.asarray(crs.getncattr(name)).tolist() for name in crs.ncattrs() if name not in ours}
    return {name: value for name, value in values.items() if not name.startswith("_")}


def _geographic_grid(shape: tuple[int, int], lat: np.ndarray, lon: np.ndarray) -> Grid:
    lat, lon = on_points(lat, lon)
    lat, lon = lat.astype(np.float64), lon.astype(np.float64)
    extent_y, extent_x = (n * _mean_distance(lat, lon, axis) if n > 1 else 1.0 for axis, n in enumerate(shape))
    return Grid(shape, (extent_y, extent_x), boundary="bounded", unit="km", latitude=lat, longitude=lon)


def _mean_distance(lat: np.ndarray, lon: np.ndarray, axis: int) -> float:
    """Give the mean great-circle distance in km between neighbours along an axis (haversine formula)."""
    phi, lam = np.radians(lat), np.radians(lon)
    cosine = np.moveaxis(np.cos(phi), axis, 0)
    dphi, dlam = (np.moveaxis(np.diff(angle, axis=axis), axis, 0) for angle in (phi, lam))
    chord = np.sin(dphi / 2) ** 2 + cosine[:-1] * cosine[1:] * np.sin(dlam / 2) ** 2
    return float(2 * EARTH_RADIUS * np.arcsin(np.sqrt(chord)).mean())
