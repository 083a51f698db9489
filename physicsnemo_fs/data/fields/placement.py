# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From the coordinates of a file to rows and columns in ascending order and the grid they lie on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from physicsnemo_fs.data.builder.frames import differing
from physicsnemo_fs.data.fields.geography import (
    TOLERANCE,
    Axis,
    box_of,
    inside,
    longitude_axis,
    plain_axis,
    rows_between,
)
from physicsnemo_fs.data.fields.kinds import LATITUDE, LONGITUDE, X, Y, find_coordinate, grid_mapping
from physicsnemo_fs.data.fields.layout import Layout
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

ROTATED = {"grid_mapping_name": "rotated_latitude_longitude"}
"""What rows and columns in degrees are that have latitudes and longitudes by point beside them, where no file says."""
POLE_SLACK = 1e-3
"""Degrees by which rounding may carry a latitude beyond a pole."""


@dataclass(frozen=True)
class Coordinates:
    """What a file says about the positions of rows and columns.

    Args:
        y: Coordinate of the rows; their number where the file has none.
        x: Coordinate of the columns.
        unit: Unit of ``y`` and ``x``.
        geographic: Whether ``y`` and ``x`` are latitude and longitude.
        latitude: Degrees north by row and column, for grids that are not geographic.
        longitude: Degrees east by row and column.
        projection: CF attributes of the map projection.
    """

    y: np.ndarray
    x: np.ndarray
    unit: str
    geographic: bool
    latitude: np.ndarray | None = None
    longitude: np.ndarray | None = None
    projection: Mapping[str, Any] | None = None

    def runs_otherwise(self, other: "Coordinates") -> bool:
        """Say whether the rows or the columns of two files differ in their order or turn only."""
        if not (
            self.geographic and other.geographic and (self.y.shape, self.x.shape) == (other.y.shape, other.x.shape)
        ):
            return False
        own, others = (np.sort(np.round(c.x % 360.0, 6) % 360.0) for c in (self, other))
        return bool(np.allclose(np.sort(self.y), np.sort(other.y), atol=1e-5) and np.allclose(own, others, atol=1e-4))

    def differs(self, other: "Coordinates") -> bool:
        """Say whether two files lie on different grids, rounding of their coordinates and whole turns aside."""
        turns = {"y": None, "latitude": None, "x": 360.0 if self.geographic else None, "longitude": 360.0}
        return (
            (self.unit, self.geographic) != (other.unit, other.geographic)
            or differing(self.projection, other.projection) is not None
            or not all(_close(getattr(self, name), getattr(other, name), turn) for name, turn in turns.items())
        )


def _close(a: np.ndarray | None, b: np.ndarray | None, turn: float | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return a is b
    spacing = np.abs(np.diff(a, axis=-1)).min() if a.shape[-1] > 1 else 1.0
    apart = a - b if turn is None else (a - b + turn / 2) % turn - turn / 2
    return bool(np.allclose(np.where(np.isnan(a) & np.isnan(b), 0.0, apart), 0.0, rtol=0.0, atol=0.01 * spacing))


def find_coordinates(dataset: xr.Dataset, array: xr.DataArray, layout: Layout) -> Coordinates:
    """Find the coordinates of a variable's rows and columns.

    Raises:
        InputError: If they change with time, or a latitude lies beyond a pole.
    """
    north, east = (_still(find_coordinate(dataset, array, kind), layout) for kind in (LATITUDE, LONGITUDE))
    latitude = longitude = None
    if north is not None and east is not None:
        if north.dims == (layout.y,) and east.dims == (layout.x,):
            return Coordinates(_latitudes(north), _longitudes(array, east), "degrees", True)
        if set(north.dims) == set(east.dims) == {layout.y, layout.x}:
            latitude, longitude = (_degrees(c.transpose(layout.y, layout.x)) for c in (north, east))
            _check_latitudes(latitude, north)
    projection = grid_mapping(dataset, array)
    rows, columns = (find_coordinate(dataset, array, kind) for kind in (Y, X))
    if rows is not None and columns is not None and (rows.dims, columns.dims) == ((layout.y,), (layout.x,)):
        unit = str(rows.attrs.get("units", "1"))
        y, x = _numbers(rows), _numbers(columns)
        if unit.startswith("degree") and projection is None and latitude is not None and longitude is not None:
            repeated = np.broadcast_to(y[:, None], latitude.shape), np.broadcast_to(x, longitude.shape)
            if _close(latitude, repeated[0], None) and _close(longitude, repeated[1], 360.0):
                return Coordinates(y, x, "degrees", True)
            projection = ROTATED
        return Coordinates(y, x, unit, False, latitude, longitude, projection)
    if latitude is not None and longitude is not None and _even_along(latitude, 0) and _even_along(longitude, 1):
        return Coordinates(latitude[:, 0], longitude[0], "degrees", True)
    y, x = (np.arange(array.sizes[dim], dtype=np.float64) for dim in (layout.y, layout.x))
    if latitude is not None and np.nanmean(latitude[0]) > np.nanmean(latitude[-1]):
        y = y[::-1]
    return Coordinates(y, x, "1", False, latitude, longitude, projection)


def _even_along(positions: np.ndarray, axis: int) -> bool:
    """Say whether positions in degrees change along one axis only, in equal steps but for whole turns."""
    line = positions.take(0, axis=1 - axis)
    steps = (np.diff(line) + 180.0) % 360.0 - 180.0
    if not len(steps) or np.ptp(positions, axis=1 - axis).max() > TOLERANCE * np.abs(steps).min():
        return False
    return bool(np.ptp(steps) <= TOLERANCE * np.abs(steps).min())


def _still(coordinate: xr.DataArray | None, layout: Layout) -> xr.DataArray | None:
    """Give a coordinate that is repeated at every time once, as WRF's are."""
    if coordinate is None or layout.time not in coordinate.dims:
        return coordinate
    first, last = (coordinate.isel({layout.time: at}) for at in (0, -1))
    if not np.allclose(first.values, last.values, equal_nan=True):
        raise InputError(
            f"the grid must stay where it is: {coordinate.name!r} changes with time; regrid the data first"
        )
    return first


def _numbers(coordinate: xr.DataArray) -> np.ndarray:
    return np.asarray(coordinate.values, np.float64)


def _degrees(coordinate: xr.DataArray) -> np.ndarray:
    """Give latitudes or longitudes in degrees."""
    in_radians = str(coordinate.attrs.get("units", "")).lower() in ("radian", "radians", "rad")
    return np.degrees(_numbers(coordinate)) if in_radians else _numbers(coordinate)


def _latitudes(coordinate: xr.DataArray) -> np.ndarray:
    found = _degrees(coordinate)
    _check_latitudes(found, coordinate)
    return found


def _check_latitudes(found: np.ndarray, coordinate: xr.DataArray) -> None:
    farthest = float(np.nanmax(np.abs(found), initial=0.0))
    if farthest > 90.0 + POLE_SLACK:
        raise InputError(
            f"latitudes must lie between -90 and 90 degrees: {coordinate.name!r} reaches {farthest:g}; correct the "
            "coordinate or its units, or mark what is none by its _FillValue"
        )


def _longitudes(array: xr.DataArray, coordinate: xr.DataArray) -> np.ndarray:
    """Give longitudes in the order of the values: cfgrib sorts those of a GRIB field that crosses Greenwich."""
    found = _degrees(coordinate)
    attributes = array.attrs
    names = [f"GRIB_longitudeOf{end}GridPointInDegrees" for end in ("First", "Last")]
    regular = attributes.get("GRIB_gridType") == "regular_ll" and not attributes.get("GRIB_iScansNegatively")
    if not regular or not set(names) <= set(attributes):
        return found
    first, last = (float(attributes[name]) for name in names)
    return first + np.linspace(0.0, (last - first) % 360.0, len(found))


@dataclass(frozen=True)
class Placement:
    """Rows and columns of a file in ascending order, and what the file says about them."""

    rows: Axis
    columns: Axis
    coordinates: Coordinates

    def grid(self) -> Grid:
        """Give the grid: cells around the coordinates."""
        dy, dx = self.rows.spacing, self.columns.spacing
        shape = (len(self.rows.values), len(self.columns.values))
        latitude, longitude = self._positions(shape)
        return Grid(
            shape,
            (shape[0] * dy, shape[1] * dx),
            (float(self.rows.values[0]) - dy / 2, float(self.columns.values[0]) - dx / 2),
            registration="cell",
            boundary="bounded",
            unit=self.coordinates.unit,
            latitude=latitude,
            longitude=longitude,
            projection=self.coordinates.projection,
        )

    def _positions(self, shape: tuple[int, int]) -> tuple[np.ndarray | None, np.ndarray | None]:
        if self.coordinates.geographic:
            rows, columns = self.rows.values[:, None], self.columns.values[None, :]
            return np.broadcast_to(rows, shape), np.broadcast_to(columns, shape)
        index = np.ix_(self.rows.order, self.columns.order)
        known = (self.coordinates.latitude, self.coordinates.longitude)
        latitude, longitude = (None if values is None else values[index] for values in known)
        return latitude, longitude


def place(coordinates: Coordinates, region: Sequence[float] | None = None, even: bool = True) -> Placement:
    """Order rows and columns, and keep those of a region.

    Args:
        coordinates: What the file says.
        region: ``[south, north, west, east]`` in degrees, in any convention of longitudes; for grids without latitude
            and longitude, in their own unit.
        even: Whether even spacing is required.

    Raises:
        InputError: If the coordinates run both ways, are not evenly spaced, or leave the region empty; or if an edge
            of the region lies more than a cell beyond them.
    """
    if region is not None and not (_is_box(region) and region[0] < region[1]):
        raise InputError(f"region must be [south, north, west, east] with south below north: got {region}; correct it")
    names = ("latitude", "longitude") if coordinates.geographic else ("the coordinate y", "the coordinate x")
    rows = plain_axis(coordinates.y, names[0], even)
    if coordinates.geographic:
        columns = longitude_axis(coordinates.x, names[1], region, even)
    else:
        columns = plain_axis(coordinates.x, names[1], even)
    if region is None:
        return Placement(rows, columns, coordinates)
    if coordinates.geographic:
        return Placement(rows_between(rows, region[0], region[1], names[0]), columns, coordinates)
    if coordinates.latitude is None or coordinates.longitude is None:
        rows = rows_between(rows, region[0], region[1], names[0])
        return Placement(rows, rows_between(columns, region[2], region[3], names[1]), coordinates)
    index = np.ix_(rows.order, columns.order)
    box = box_of(coordinates.latitude[index], coordinates.longitude[index], region)
    return Placement(rows.part(np.arange(*box[0])), columns.part(np.arange(*box[1])), coordinates)


def _is_box(region: Any) -> bool:
    edges = region if isinstance(region, Sequence) else ()
    return len(edges) == 4 and all(isinstance(edge, int | float) and bool(np.isfinite(edge)) for edge in edges)


def cells_inside(grid: Grid, region: Sequence[float]) -> np.ndarray:
    """Say which cells have their centre in a region as :func:`place` takes it.

    Example:
        >>> cells_inside(Grid((2, 2), (2.0, 2.0), registration="cell"), [0, 1, 0, 9]).tolist()
        [[True, True], [False, False]]
    """
    if grid.latitude is not None and grid.longitude is not None:
        return inside(grid.latitude, grid.longitude, region)
    south, north, west, east = region
    rows, columns = grid.y[:, None], grid.x[None, :]
    return (rows >= south) & (rows <= north) & (columns >= west) & (columns <= east)
