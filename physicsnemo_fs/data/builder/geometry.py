# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Cells of rectangular grids: their edges, areas, windows, and how one grid lies in another."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.builder.frames import geographic, on_sphere, same_frame
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

Window = tuple[slice, slice]

SAME_PLACE = 0.01
"""Edges that differ by less than this share of a cell are the same."""


def goes_round(grid: Grid) -> bool:
    """Give whether the columns of a grid go once round the globe.

    Example:
        >>> goes_round(Grid((2, 4), (2.0, 360.0), registration="cell", boundary="bounded", unit="degrees"))
        True
    """
    gap = abs(grid.shape[1] * grid.spacing[1] - 360.0)
    return geographic(grid) and gap < SAME_PLACE * grid.spacing[1]


def edges(grid: Grid, axis: int) -> Float[np.ndarray, " edge"]:
    """Give the cell edges along an axis (0 rows, 1 columns), one more than cells; nodes are the cells' centres."""
    n, spacing = grid.shape[axis], grid.spacing[axis]
    start = grid.origin[axis] - (0.0 if grid.registration == "cell" else spacing / 2)
    return start + np.arange(n + 1) * spacing


def equal_area_edges(grid: Grid, axis: int) -> Float[np.ndarray, " edge"]:
    r"""Give edges between which lengths are proportional to areas: :math:`\sin\varphi` for the rows of a sphere.

    A row whose centre is a pole ends there.
    """
    found = edges(grid, axis)
    return np.sin(np.deg2rad(found.clip(-90.0, 90.0))) if axis == 0 and on_sphere(grid) else found


def row_areas(grid: Grid) -> Float[np.ndarray, " height"]:
    """Give the area of a cell of each row as a share of the mean.

    Example:
        >>> grid = Grid((2, 1), (60.0, 1.0), registration="cell", boundary="bounded", unit="degrees")
        >>> row_areas(grid).round(3).tolist()
        [1.155, 0.845]
    """
    areas = np.diff(equal_area_edges(grid, 0))
    return areas / areas.mean()


def cut(grid: Grid, window: Window) -> Grid:
    """Give the part of a grid within a window of row and column slices.

    Example:
        >>> cut(Grid((4, 6), (4.0, 6.0), registration="cell"), (slice(1, 3), slice(2, 6))).origin
        (1.0, 2.0)
    """
    starts = [s.start for s in window]
    shape = (window[0].stop - starts[0], window[1].stop - starts[1])
    (dy, dx), (y, x) = grid.spacing, grid.origin
    return replace(
        grid,
        shape=shape,
        extent=(shape[0] * dy, shape[1] * dx),
        origin=(y + starts[0] * dy, x + starts[1] * dx),
        boundary="bounded",
        latitude=None if grid.latitude is None else grid.latitude[window],
        longitude=None if grid.longitude is None else grid.longitude[window],
    )


def coarsened(grid: Grid, factor: int) -> Grid:
    """Give the grid whose cells are blocks of ``factor`` by ``factor`` cells.

    Geographic coordinates are those of the blocks' centres.

    Raises:
        InputError: If the blocks do not fill the grid.

    Example:
        >>> coarsened(Grid((4, 8), (4.0, 8.0), registration="cell"), 4).shape
        (1, 2)
    """
    if grid.shape[0] % factor or grid.shape[1] % factor:
        raise InputError(f"blocks of {factor} cells must fill the grid: its shape is {grid.shape}; trim it")
    shape = (grid.shape[0] // factor, grid.shape[1] // factor)
    origin = (float(edges(grid, 0)[0]), float(edges(grid, 1)[0]))
    coarse = replace(grid, shape=shape, origin=origin, registration="cell", latitude=None, longitude=None)
    if grid.latitude is None or grid.longitude is None:
        return coarse
    if geographic(grid):
        return latlon(coarse)
    latitude = _blocks(grid.latitude, factor).mean(axis=(1, 3))
    east = _blocks(grid.longitude, factor)
    first = east[:, :1, :, :1]
    longitude = first + ((east - first + 180.0) % 360.0 - 180.0).mean(axis=(1, 3), keepdims=True)
    return replace(coarse, latitude=latitude, longitude=longitude[:, 0, :, 0])


def _blocks(values: np.ndarray, factor: int) -> np.ndarray:
    height, width = values.shape
    return values.reshape(height // factor, factor, width // factor, factor)


def refined(grid: Grid, factor: int) -> Grid:
    """Give the grid of ``factor`` by ``factor`` cells in each cell.

    Geographic coordinates of a grid that is not geographic itself are interpolated between those of the cells.

    Example:
        >>> coarse = Grid((1, 2), (4.0, 8.0), registration="cell", boundary="bounded")
        >>> refined(coarse, 4).shape, coarsened(refined(coarse, 4), 4) == coarse
        ((4, 8), True)
    """
    shape = (grid.shape[0] * factor, grid.shape[1] * factor)
    origin = (float(edges(grid, 0)[0]), float(edges(grid, 1)[0]))
    fine = replace(grid, shape=shape, origin=origin, registration="cell", latitude=None, longitude=None)
    if geographic(grid):
        return latlon(fine)
    if grid.latitude is None or grid.longitude is None:
        return fine
    east = np.unwrap(np.unwrap(grid.longitude, period=360.0, axis=1), period=360.0, axis=0)
    latitude, longitude = (_subdivided(_subdivided(c, factor, 0), factor, 1) for c in (grid.latitude, east))
    return replace(fine, latitude=latitude.clip(-90.0, 90.0), longitude=longitude)


def _subdivided(values: np.ndarray, factor: int, axis: int) -> np.ndarray:
    """Interpolate values at centres to the centres of ``factor`` parts of each cell, linearly beyond the outermost."""
    count = values.shape[axis]
    if count == 1:
        return np.repeat(values, factor, axis)
    places = (np.arange(count * factor) + 0.5) / factor - 0.5
    before = np.clip(np.floor(places).astype(int), 0, count - 2)
    share = np.expand_dims(places - before, 1 - axis)
    return values.take(before, axis) * (1 - share) + values.take(before + 1, axis) * share


def latlon(grid: Grid) -> Grid:
    """Fill in the geographic coordinates of a grid whose rows and columns are latitude and longitude."""
    latitude, longitude = (np.broadcast_to(c, grid.shape) for c in (grid.y[:, None], grid.x[None, :]))
    return replace(grid, latitude=latitude, longitude=longitude)


def repeated(grid: Grid, turns: int, start: float | None = None) -> Grid:
    """Give a grid round the globe several times over, so that a window of columns may cross where it begins.

    Column ``i`` of the result is column ``i`` modulo the grid's own number of them.

    Args:
        grid: A grid of which :func:`goes_round` is true.
        turns: How many times.
        start: Western edge, a whole number of turns from the grid's own; ``None`` for its own.

    Example:
        >>> world = latlon(Grid((1, 4), (2.0, 360.0), (0.0, -180.0), "cell", "bounded", "degrees"))
        >>> cut(repeated(world, 2), (slice(0, 1), slice(3, 5))).longitude.tolist()
        [[135.0, 225.0]]
    """
    origin = (grid.origin[0], grid.origin[1] if start is None else start)
    shape, extent = (grid.shape[0], grid.shape[1] * turns), (grid.extent[0], grid.extent[1] * turns)
    return latlon(replace(grid, shape=shape, extent=extent, origin=origin, latitude=None, longitude=None))


def turned(source: Grid, target: Grid) -> Grid:
    """Count the longitudes of a source as its target does; one round the globe goes on beyond its last column.

    Example:
        >>> world = latlon(Grid((1, 4), (2.0, 360.0), (0.0, -180.0), "cell", "bounded", "degrees"))
        >>> part = latlon(Grid((1, 1), (1.0, 90.0), (0.0, 180.0), "cell", "bounded", "degrees"))
        >>> covering_window(turned(world, part), part)
        (slice(0, 1, None), slice(3, 6, None))
    """
    if not geographic(source):
        return source
    if source.unit != target.unit or target.projection is not None:
        return repeated(source, 2) if goes_round(source) else source
    start, wanted = float(edges(source, 1)[0]), float(edges(target, 1)[0])
    if goes_round(source):
        turns = np.floor((wanted - 2 * source.spacing[1] - start) / 360.0)
        return repeated(source, 3, start + 360.0 * float(turns))
    turns = np.floor((wanted - start) / 360.0 + 1e-6)
    return replace(source, origin=(source.origin[0], start + 360.0 * turns)) if turns else source


def same_place(a: Grid, b: Grid) -> bool:
    """Give whether two grids have the same cells."""
    return a.shape == b.shape and nesting_factor(a, b) == 1


def nesting_factor(fine: Grid, coarse: Grid) -> int | None:
    """Give how many cells of ``fine`` lie along each side of every cell of ``coarse``, the same domain.

    Returns:
        The whole factor, or ``None`` if the grids do not nest so.

    Example:
        >>> fine = Grid((8, 8), (1.0, 1.0), registration="cell")
        >>> nesting_factor(fine, coarsened(fine, 4)), nesting_factor(fine, fine.at((3, 3)))
        (4, None)
    """
    if not same_frame(fine, coarse):
        return None
    factor = fine.shape[0] // coarse.shape[0]
    if factor < 1 or any(fine.shape[axis] != factor * coarse.shape[axis] for axis in (0, 1)):
        return None
    for axis in (0, 1):
        gaps = np.abs(edges(fine, axis)[::factor] - edges(coarse, axis))
        if gaps.max() > SAME_PLACE * fine.spacing[axis]:
            return None
    return factor


def covering_window(source: Grid, target: Grid, margin: int = 1) -> Window:
    """Give the window of source cells that covers a target grid, with ``margin`` cells more where there are some.

    Raises:
        InputError: If part of the target lies outside the source.

    Example:
        >>> source = Grid((10, 10), (10.0, 10.0), registration="cell")
        >>> covering_window(source, Grid((4, 4), (2.0, 2.0), (3.5, 0.0), registration="cell"))
        (slice(2, 7, None), slice(0, 3, None))
    """
    rows, columns = (_covering_slice(source, target, axis, margin) for axis in (0, 1))
    return rows, columns


def _covering_slice(source: Grid, target: Grid, axis: int, margin: int) -> slice:
    own, wanted = edges(source, axis), edges(target, axis)
    slack = SAME_PLACE * min(source.spacing[axis], target.spacing[axis])
    if wanted[0] < own[0] - slack or wanted[-1] > own[-1] + slack:
        name = ("rows", "columns")[axis]
        raise InputError(
            f"the source must cover the region: its {name} span {own[0]:g} to {own[-1]:g} {source.unit}, the region's "
            f"{wanted[0]:g} to {wanted[-1]:g}; choose a smaller box or another source"
        )
    first = int(np.searchsorted(own, wanted[0] + slack, side="right")) - 1
    last = int(np.searchsorted(own, wanted[-1] - slack, side="left"))
    return slice(max(first - margin, 0), min(last + margin, source.shape[axis]))
