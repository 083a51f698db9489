# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Knowledge of the CF conventions: which dimension is time, which coordinate is latitude, what a level is."""

import difflib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from physicsnemo_fs.data.splits import parse_duration
from physicsnemo_fs.errors import InputError


@dataclass(frozen=True)
class Kind:
    """What tells a kind of coordinate: CF standard names, units, axis, and names in common use, lower case."""

    standard_names: tuple[str, ...]
    units: tuple[str, ...] = ()
    axis: str = ""
    names: tuple[str, ...] = ()

    def likeness(self, name: Hashable, variable: xr.Variable) -> int:
        """Give how surely a variable is of this kind; 0 if it is not."""
        attributes = variable.attrs
        if str(attributes.get("standard_name", "")).lower() in self.standard_names:
            return 4
        if str(attributes.get("units", "")).lower() in self.units:
            return 3
        if str(name).lower() in self.names:
            return 2
        return int(bool(self.axis) and str(attributes.get("axis", "")).upper() == self.axis)


LATITUDE = Kind(
    ("latitude",),
    ("degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"),
    names=("latitude", "lat", "lats", "nav_lat", "xlat"),
)
LONGITUDE = Kind(
    ("longitude",),
    ("degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"),
    names=("longitude", "lon", "lons", "nav_lon", "xlong", "long"),
)
Y = Kind(("projection_y_coordinate", "grid_latitude"), axis="Y", names=("y", "northing", "south_north", "rlat", "yc"))
X = Kind(("projection_x_coordinate", "grid_longitude"), axis="X", names=("x", "easting", "west_east", "rlon", "xc"))
TIME = Kind(("time",), axis="T", names=("valid_time", "time", "times", "date", "datetime", "t"))
LEAD_TIME = Kind(("forecast_period",), names=("step", "lead_time", "leadtime", "prediction_timedelta"))
CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
HOURS_PER_UNIT = {"h": 1.0, "hour": 1.0, "hr": 1.0, "d": 24.0, "day": 24.0, "min": 1 / 60, "minute": 1 / 60}


@dataclass(frozen=True)
class Layout:
    """Which dimension of a variable is which, and the positions along the others.

    Args:
        dims: All dimensions, in the file's order.
        time: Dimension of time; ``None`` if the variable has none.
        y: Dimension of the rows.
        x: Dimension of the columns.
        fixed: Position along each dimension that is neither.
        level: Level that a name asked for, as in ``z@500``.
    """

    dims: tuple[str, ...]
    time: str | None
    y: str
    x: str
    fixed: Mapping[str, int]
    level: float | None = None

    @property
    def to_time_y_x(self) -> tuple[int, ...]:
        """Order of the axes that are left when the fixed ones are chosen, time first if the file has none."""
        left = ([] if self.time else [None]) + [dim for dim in self.dims if dim not in self.fixed]
        return tuple(left.index(dim) for dim in (self.time, self.y, self.x))

    @property
    def ordered(self) -> bool:
        """Whether those axes are in the order time, y, x already."""
        return self.to_time_y_x == (0, 1, 2)


def find_variable(parts: Sequence[xr.Dataset], name: str, level: float | None = None) -> xr.Dataset:
    """Find the part of a file that holds a variable, at a level if one is asked for.

    Raises:
        InputError: Naming the most similar variable if there is none of this name, or the levels there are.
    """
    found = [part for part in parts if name in part.data_vars]
    if not found:
        known = sorted({str(known) for part in parts for known in part.data_vars})
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"no variable {name!r}{hint} (variables: {', '.join(known) or 'none'})")
    if level is None:
        return found[0]
    for part in found:
        if level_dimension(part[name], level) is not None or _scalar_level(part[name], level):
            return part
    levels = sorted(
        {float(v) for part in found for c in _level_coordinates(part[name]) for v in np.atleast_1d(c.values)}
    )
    listed = ", ".join(f"{known:g}" for known in levels)
    raise InputError(f"variable {name!r} has no level {level:g}; choose one of its levels ({listed or 'none'})")


def level_dimension(array: xr.DataArray, level: float) -> tuple[str, int] | None:
    """Give the dimension whose coordinate holds a level, and where."""
    for coordinate in _level_coordinates(array):
        near = np.isclose(np.atleast_1d(coordinate.values), level, rtol=1e-5)
        if coordinate.ndim == 1 and near.any():
            return str(coordinate.dims[0]), int(np.flatnonzero(near)[0])
    return None


def _scalar_level(array: xr.DataArray, level: float) -> bool:
    return any(c.ndim == 0 and np.isclose(float(c.values), level, rtol=1e-5) for c in _level_coordinates(array))


def _level_coordinates(array: xr.DataArray) -> list[xr.DataArray]:
    horizontal = (LATITUDE, LONGITUDE, Y, X, TIME, LEAD_TIME)
    return [
        coordinate
        for name, coordinate in array.coords.items()
        if coordinate.ndim < 2
        and coordinate.dtype.kind in "iuf"
        and not any(kind.likeness(name, coordinate.variable) for kind in horizontal)
    ]


def find_coordinate(dataset: xr.Dataset, array: xr.DataArray, kind: Kind) -> xr.DataArray | None:
    """Find the most likely coordinate of a kind that lies along dimensions of ``array``.

    A variable that is not marked as a coordinate counts only if its attributes say what it is: ``t`` may be time or a
    temperature.
    """
    likeness = {}
    for name, variable in dataset.variables.items():
        if name != array.name and set(variable.dims) <= set(array.dims):
            sure = kind.likeness(name, variable)
            likeness[name] = sure if name in dataset.coords or sure > 2 else 0
    best = max(likeness, key=lambda name: likeness[name], default=None)
    return None if best is None or not likeness[best] else dataset[best]


def find_layout(
    dataset: xr.Dataset, array: xr.DataArray, level: float | None = None, select: Mapping[str, Any] | None = None
) -> Layout:
    """Find what each dimension of a variable is.

    Raises:
        InputError: If rows and columns cannot be told, or a further dimension is left open.
    """
    select = select or {}
    y, x = _horizontal(dataset, array)
    time = _time_dimension(dataset, array, select)
    fixed: dict[str, int] = {}
    if level is not None and (found := level_dimension(array, level)) is not None:
        fixed[found[0]] = found[1]
    for dim in map(str, array.dims):
        if dim not in (y, x, time) and dim not in fixed:
            fixed[dim] = _position(array, dim, select)
    return Layout(tuple(map(str, array.dims)), time, y, x, fixed, level)


def _time_dimension(dataset: xr.Dataset, array: xr.DataArray, select: Mapping[str, Any]) -> str | None:
    time, _ = find_times(dataset, array)
    dims = [] if time is None else [str(dim) for dim in time.dims if dim not in select]
    if len(dims) > 1:
        dims = [dim for dim in dims if array.sizes[dim] > 1] or dims[:1]
    if len(dims) > 1:
        raise InputError(
            f"variable {array.name!r} has times along {' and '.join(map(repr, dims))}; choose from one, as in "
            f"select={{{dims[-1]}: 6h}}"
        )
    return dims[0] if dims else None


def _horizontal(dataset: xr.Dataset, array: xr.DataArray) -> tuple[str, str]:
    for y_kind, x_kind in ((Y, X), (LATITUDE, LONGITUDE)):
        y, x = (find_coordinate(dataset, array, kind) for kind in (y_kind, x_kind))
        if y is not None and x is not None and y.ndim == x.ndim == 1 and y.dims != x.dims:
            return str(y.dims[0]), str(x.dims[0])
        if y is not None and x is not None and y.ndim == x.ndim == 2:
            return str(y.dims[0]), str(y.dims[1])
    if array.ndim < 2:
        raise InputError(f"variable {array.name!r} must lie on rows and columns; it has dimensions {array.dims}")
    return str(array.dims[-2]), str(array.dims[-1])


def _position(array: xr.DataArray, dim: str, select: Mapping[str, Any]) -> int:
    values = array[dim].values if dim in array.coords else np.arange(array.sizes[dim])
    if dim not in select:
        if array.sizes[dim] == 1:
            return 0
        listed = ", ".join(str(v) for v in values[:8])
        raise InputError(
            f"variable {array.name!r} has a dimension {dim!r} ({listed}); choose from it by a level, as in "
            f"{array.name}@{values[0]}, or by select={{{dim}: {values[0]}}}"
        )
    wanted = np.timedelta64(parse_duration(str(select[dim]))) if values.dtype.kind == "m" else select[dim]
    match = np.flatnonzero(values == np.asarray(wanted, dtype=values.dtype))
    if not len(match):
        raise InputError(
            f"dimension {dim!r} of {array.name!r} has no {select[dim]!r}; choose from {values[0]} to {values[-1]}"
        )
    return int(match[0])


def find_times(dataset: xr.Dataset, array: xr.DataArray) -> tuple[xr.DataArray | None, xr.DataArray | None]:
    """Find the valid times and the lead times of a variable; ``None`` where there are none.

    Raises:
        InputError: If the calendar is not the usual one.
    """
    time = find_coordinate(dataset, array, TIME)
    lead = find_coordinate(dataset, array, LEAD_TIME)
    if time is None:
        return None, None
    calendar = str(time.encoding.get("calendar", "standard")).lower()
    if calendar not in CALENDARS:
        raise InputError(
            f"times must be of the standard calendar, but {time.name!r} is of {calendar!r}; convert the file by "
            "xarray's Dataset.convert_calendar('standard', align_on='date')"
        )
    if time.dtype.kind != "M":
        return None, None
    if time.attrs.get("standard_name") == "forecast_reference_time" and lead is not None:
        time = time + (hours(lead) * 3.6e12).astype("timedelta64[ns]")
    return time, lead


def hours(lead: xr.DataArray) -> xr.DataArray:
    """Give lead times in hours.

    Raises:
        InputError: If their unit is unknown.
    """
    if lead.dtype.kind == "m":
        return lead / np.timedelta64(1, "h")
    unit = str(lead.attrs.get("units", "h")).lower().rstrip("s")
    if unit not in HOURS_PER_UNIT:
        raise InputError(f"lead times must be in hours, days or minutes: {lead.name!r} is in {unit!r}; correct it")
    return lead.astype(np.float64) * HOURS_PER_UNIT[unit]


def grid_mapping(dataset: xr.Dataset, array: xr.DataArray) -> dict[str, Any] | None:
    """Give the attributes of the map projection that a variable names, if it does."""
    name = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping"))
    if name is None or name not in dataset.variables:
        return None
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in dataset[name].attrs.items()}
