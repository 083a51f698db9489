# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What rows and columns of a grid refer to: latitude and longitude, a projection, or neither."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float64

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError


def on_sphere(grid: Grid) -> bool:
    """Give whether rows and columns are of latitude and longitude, or of those of a rotated pole."""
    return grid.unit.startswith("degree")


def geographic(grid: Grid) -> bool:
    """Give whether rows and columns are of latitude and longitude."""
    return on_sphere(grid) and grid.projection is None


def on_unit_sphere(latitude: np.ndarray, longitude: np.ndarray) -> Float64[np.ndarray, "*point 3"]:
    """Give points of the Earth as vectors of length 1, float64.

    Args:
        latitude: Degrees north.
        longitude: Degrees east.

    Example:
        >>> on_unit_sphere(np.array([90.0, 0.0]), np.array([0.0, 90.0])).round(9).tolist()
        [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    phi, lam = (np.radians(np.asarray(degrees, np.float64)) for degrees in (latitude, longitude))
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Name the first parameter of a projection that two descriptions have with different values.

    Example:
        >>> differing({"grid_mapping_name": "x", "crs_wkt": "a"}, {"grid_mapping_name": "y"})
        'grid_mapping_name'
    """
    for name in sorted(one.keys() & other.keys()):
        a, b = np.asarray(one[name]), np.asarray(other[name])
        numbers = a.dtype.kind in "iuf" and b.dtype.kind in "iuf"
        if numbers and not (a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-6)):
            return name
        if name == "grid_mapping_name" and str(one[name]) != str(other[name]):
            return name
    return None


def same_projection(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Give whether two descriptions are of one projection: by the parameters that both name, or neither is there.

    Example:
        >>> same_projection({"earth_radius": 6371229.0}, {"earth_radius": 6371229, "long_name": "Lambert"})
        True
    """
    if one is None or other is None:
        return one is other
    return differing(one, other) is None


def same_frame(a: Grid, b: Grid) -> bool:
    """Give whether rows and columns of two grids are counted in one unit and one projection."""
    return a.unit == b.unit and same_projection(a.projection, b.projection)


def require_same_place(fine: Grid, coarse: Grid) -> None:
    """Require that one place of two grids, by their rows and columns, is one place of the Earth.

    Projections are compared by the parameters that both name; latitudes and longitudes, where both grids have them, at
    the corners, the middles of the sides and the middle of the finer one, to half a coarse cell.

    Raises:
        InputError: If they are not.
    """
    here, there = fine.projection or {}, coarse.projection or {}
    if (name := differing(here, there)) is not None:
        raise InputError(
            f"two sources must have one projection: {name} is {there[name]} there and {here[name]} here; "
            "give files of one grid or align them with physicsnemo-fs build"
        )
    own, other = _on_earth(fine), _on_earth(coarse)
    if own is None or other is None:
        return
    neighbours = [np.diff(other, axis=axis) for axis in (0, 1) if other.shape[axis] > 1]
    cell = max((float(np.linalg.norm(n, axis=-1).max()) for n in neighbours), default=np.inf)
    ends = [sorted({0, count // 2, count - 1}) for count in fine.shape]
    turns = 360.0 * np.round((coarse.x.mean() - fine.x.mean()) / 360.0) if geographic(coarse) else 0.0
    y, x = fine.y, fine.x + turns
    apart = max(float(np.linalg.norm(own[i, j] - _at(other, coarse, y[i], x[j]))) for i, j in product(*ends))
    if not apart <= 0.5 * cell:
        raise InputError(
            "two sources must lie at one place: by their latitudes and longitudes they are "
            f"{np.degrees(apart):.3g} degrees apart, in cells of {np.degrees(cell):.3g}; give files of one region, "
            "rows and columns in one order"
        )


def _on_earth(grid: Grid) -> np.ndarray | None:
    return None if grid.latitude is None or grid.longitude is None else on_unit_sphere(grid.latitude, grid.longitude)


def _at(values: np.ndarray, grid: Grid, y: float, x: float) -> np.ndarray:
    """Interpolate linearly between the cells of a grid, and beyond the outermost centres."""
    for centres, at in ((grid.y, y), (grid.x, x)):
        if len(centres) == 1:
            values = values[0]
            continue
        place = (at - centres[0]) / (centres[1] - centres[0])
        first = int(np.clip(np.floor(place), 0, len(centres) - 2))
        values = values[first] * (first + 1 - place) + values[first + 1] * (place - first)
    return values
