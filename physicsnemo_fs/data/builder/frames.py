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

SAME = 1e-5
"""Parameters of a projection that differ by less, also in relation to their size, are the same."""


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


def differing(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str | None:
    """Name the first parameter of a projection that two descriptions have with different values.

    Longitudes are compared modulo 360 degrees, lists (standard parallels) as sets.

    Example:
        >>> differing({"grid_mapping_name": "x", "crs_wkt": "a"}, {"grid_mapping_name": "y"})
        'grid_mapping_name'
        >>> one, other = {"longitude_of_central_meridian": -97.5}, {"longitude_of_central_meridian": [262.5]}
        >>> differing(one, other) is None
        True
    """
    one, other = one or {}, other or {}
    for name in sorted(one.keys() & other.keys()):
        a, b = (np.unique(np.ravel(mapping[name])) for mapping in (one, other))
        if all(values.dtype.kind in "iuf" for values in (a, b)):
            if "longitude" in name:
                a, b = np.sort(a % 360.0), np.sort(b % 360.0)
            if not (a.shape == b.shape and np.allclose(a, b, rtol=SAME, atol=SAME)):
                return name
        elif name == "grid_mapping_name" and str(one[name]) != str(other[name]):
            return name
    return None


def same_frame(a: Grid, b: Grid) -> bool:
    """Give whether rows and columns of two grids are counted in one unit and one projection, as far as they name it."""
    apart = on_sphere(a) and (a.projection is None) != (b.projection is None)
    return a.unit == b.unit and not apart and differing(a.projection, b.projection) is None


def require_same_place(fine: Grid, coarse: Grid) -> None:
    """Require that one place of two grids, by their rows and columns, is one place of the Earth.

    Projections are compared by the parameters that both name; latitudes and longitudes, where both grids have them, at
    the corners, the middles of the sides and the middle of the finer one, to half a coarse cell.

    Raises:
        InputError: If they are not.
    """
    if (name := differing(fine.projection, coarse.projection)) is not None:
        here, there = (dict(grid.projection or {})[name] for grid in (fine, coarse))
        raise InputError(
            f"two sources must have one projection: {name} is {there} there and {here} here; give files of one grid or "
            "align them with physicsnemo-fs build"
        )
    if geographic(fine) and geographic(coarse):
        return
    for i, j in product(*(_spread(count, other) for count, other in zip(fine.shape, coarse.shape, strict=True))):
        here, around = _point(fine, i, j), _neighbours(coarse, fine.y[i], fine.x[j])
        if here is None or around is None:
            continue
        there, cell = around
        apart = float(np.linalg.norm(here - there))
        if apart > 0.5 * cell:
            raise InputError(
                "two sources must lie at one place: by their latitudes and longitudes they are "
                f"{np.degrees(apart):.3g} degrees apart, in cells of {np.degrees(cell):.3g}; give files of one region, "
                "rows and columns in one order"
            )


def _spread(count: int, coarse_count: int) -> list[int]:
    """Give the ends and the middle of an axis; the middle alone where a single coarse cell says nothing of the ends."""
    return [count // 2] if coarse_count == 1 else sorted({0, count // 2, count - 1})


def _point(grid: Grid, row: int, column: int) -> Float64[np.ndarray, " 3"] | None:
    if grid.latitude is None or grid.longitude is None:
        return None
    found = on_unit_sphere(grid.latitude[row, column], grid.longitude[row, column])
    return found if np.isfinite(found).all() else None


def _neighbours(grid: Grid, y: float, x: float) -> tuple[Float64[np.ndarray, " 3"], float] | None:
    """Interpolate linearly between the cells of a grid, and beyond the outermost centres; give the cells' size too."""
    (row, down), (column, right) = (_place(centres, at) for centres, at in ((grid.y, y), (grid.x, x)))
    rows, columns = (
        range(first, first + (2 if n > 1 else 1)) for first, n in zip((row, column), grid.shape, strict=True)
    )
    corners = [[_point(grid, i, j) for j in columns] for i in rows]
    if any(corner is None for line in corners for corner in line):
        return None
    square = np.array(corners)
    sides = [np.linalg.norm(np.diff(square, axis=axis), axis=-1) for axis in (0, 1)]
    cell = max((float(side.max()) for side in sides if side.size), default=np.inf)
    along = square[0] if len(rows) == 1 else square[0] * (1 - down) + square[1] * down
    return (along[0] if len(columns) == 1 else along[0] * (1 - right) + along[1] * right), cell


def _place(centres: np.ndarray, at: float) -> tuple[int, float]:
    """Give the neighbour before a position and the position's share of the way to the next one."""
    if len(centres) == 1:
        return 0, 0.0
    place = (at - centres[0]) / (centres[1] - centres[0])
    first = int(np.clip(np.floor(place), 0, len(centres) - 2))
    return first, float(place - first)
