# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Grids as earth2studio wants them: latitude and longitude, ascending, 0 to 360 degrees east."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.builder.frames import geographic
from physicsnemo_fs.data.builder.geometry import latlon
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

SAME = 1e-5
"""Difference, relative and in degrees, within which earth2studio takes the rows of a two-dimensional grid for equal."""
NEAR = 1e-4
"""Degrees within which points of two files are the same: ten metres, and rounding of float32 coordinates."""
DIGITS = 9


@dataclass(frozen=True)
class Positions:
    """Latitude and longitude of a grid.

    Args:
        latitude: Degrees north, ``(height,)`` for regular grids, ``(height, width)`` for others.
        longitude: Degrees east in 0 to 360, ``(width,)`` or ``(height, width)``.
    """

    latitude: np.ndarray
    longitude: np.ndarray

    @property
    def regular(self) -> bool:
        """Whether one latitude a row and one longitude a column say it all."""
        return self.latitude.ndim == 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.latitude.shape[0], self.longitude.shape[-1]

    def __str__(self) -> str:
        """Give size and corners in one line."""
        north, east = self.latitude.flat, self.longitude.flat
        size = " x ".join(map(str, self.shape))
        return f"{size} points from {north[0]:.4g} °N, {east[0]:.4g} °E to {north[-1]:.4g} °N, {east[-1]:.4g} °E"

    @property
    def crosses_greenwich(self) -> bool:
        """Whether longitudes fall from 360 to 0 on the way."""
        return bool((np.abs(np.diff(self.longitude, axis=-1)) > 180).any())


def positions(grid: Grid, domain: Grid | None = None) -> Positions:
    """Give the latitudes and longitudes of a grid.

    Args:
        grid: Any grid of the globe.
        domain: A grid of the same domain that has latitudes and longitudes, where ``grid`` has none of its own.

    Raises:
        InputError: If the grid lies on no globe.

    Example:
        >>> grid = Grid((2, 4), (2.0, 4.0), (10.0, -2.0), registration="cell", unit="degrees")
        >>> positions(grid).longitude.tolist()
        [358.5, 359.5, 0.5, 1.5]
    """
    found = located(grid, domain)
    latitude = np.round(np.asarray(found.latitude, np.float64), DIGITS)
    longitude = np.round(np.asarray(found.longitude, np.float64) % 360.0, DIGITS) % 360.0
    if np.allclose(latitude[:, :1], latitude, SAME, SAME) and np.allclose(longitude[:1], longitude, SAME, SAME):
        return Positions(latitude[:, 0].copy(), longitude[0].copy())
    return Positions(latitude, longitude)


def same_places(one: Positions, other: Positions) -> bool:
    """Give whether two grids have the same points, to ten metres."""
    if one.shape != other.shape:
        return False
    (north, east), (other_north, other_east) = (_points(found) for found in (one, other))
    apart = np.abs((east - other_east + 180.0) % 360.0 - 180.0).max()
    return bool(np.abs(north - other_north).max() < NEAR and apart < NEAR)


def _points(found: Positions) -> tuple[np.ndarray, np.ndarray]:
    if not found.regular:
        return found.latitude, found.longitude
    north, east = np.meshgrid(found.latitude, found.longitude, indexing="ij")
    return north, east


def located(grid: Grid, domain: Grid | None = None) -> Grid:
    """Give the grid with latitude and longitude of every point, interpolated from ``domain`` if it has none.

    Raises:
        InputError: If the grid lies on no globe.
    """
    if grid.latitude is not None and grid.longitude is not None:
        return grid
    if geographic(grid):
        return latlon(grid)
    if domain is None or domain.latitude is None or domain.longitude is None:
        raise InputError(
            "an earth2studio package needs latitude and longitude: this grid has none (a plane domain); train on data "
            "with latitude and longitude"
        )
    east = np.unwrap(np.unwrap(np.asarray(domain.longitude, np.float64), period=360.0), period=360.0, axis=0)
    rows, columns = (_weights(domain, grid, axis) for axis in (0, 1))
    north = rows @ np.asarray(domain.latitude, np.float64) @ columns.T
    return replace(grid, latitude=north, longitude=rows @ east @ columns.T)


def _weights(source: Grid, target: Grid, axis: int) -> Float[np.ndarray, "target source"]:
    """Give the matrix of linear interpolation, and extrapolation at the ends, along an axis of the same domain."""
    own, wanted = (grid.y if axis == 0 else grid.x for grid in (source, target))
    place = (wanted - own[0]) / source.spacing[axis]
    left = np.clip(np.floor(place).astype(int), 0, len(own) - 2)
    weights = np.zeros((len(wanted), len(own)))
    rows = np.arange(len(wanted))
    weights[rows, left] = 1 - (place - left)
    weights[rows, left + 1] = place - left
    return weights


def ringed(found: Positions) -> Positions:
    """Give the grid with one more row and column on every side, so that it covers the cells of its outermost points.

    Raises:
        InputError: If a row beyond a pole would be needed.

    Example:
        >>> ringed(Positions(np.array([10.0, 11.0]), np.array([0.5, 1.5, 2.5]))).longitude.tolist()
        [359.5, 0.5, 1.5, 2.5, 3.5]
    """
    east = np.unwrap(found.longitude, period=360.0)
    if found.regular:
        latitude, longitude = _extended(found.latitude, 0), _extended(east, 0)
    else:
        east = np.unwrap(east, period=360.0, axis=0)
        latitude, longitude = (_extended(_extended(v, 0), 1) for v in (found.latitude, east))
    if np.abs(latitude).max() > 90.0:
        raise InputError(
            "earth2studio's CorrDiff needs an input grid with a row beyond the output's, and there is none beyond a "
            "pole; use model_class=regional"
        )
    return Positions(np.round(latitude, DIGITS), np.round(longitude % 360.0, DIGITS) % 360.0)


def _extended(values: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(values, axis, 0)
    ends = 2 * moved[:1] - moved[1:2], 2 * moved[-1:] - moved[-2:-1]
    return np.moveaxis(np.concatenate([ends[0], moved, ends[1]]), 0, axis)


def with_positions(grid: Grid, found: Positions) -> Grid:
    """Give the grid with these latitudes and longitudes."""
    latitude, longitude = _points(found)
    return replace(grid, latitude=latitude, longitude=longitude)


def grid_to_dict(grid: Grid) -> dict[str, Any]:
    """Give what :func:`grid_from_dict` needs, as JSON types; latitudes and longitudes are in files of their own.

    Example:
        >>> grid_from_dict(grid_to_dict(Grid((4, 8), (1.0, 2.0)))) == Grid((4, 8), (1.0, 2.0))
        True
    """
    return {
        "shape": list(grid.shape),
        "extent": [float(length) for length in grid.extent],
        "origin": [float(place) for place in grid.origin],
        "registration": grid.registration,
        "boundary": grid.boundary,
        "unit": grid.unit,
    }


def grid_from_dict(record: dict[str, Any]) -> Grid:
    """Give the grid that :func:`grid_to_dict` described."""
    pairs = {name: tuple(record[name]) for name in ("shape", "extent", "origin")}
    return Grid(**{**record, **pairs})
