# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Where the regions of a store lie: their fine and coarse grids, whole cells of the source or of a grid of choice."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from physicsnemo_fs.data.builder.frames import geographic, on_sphere
from physicsnemo_fs.data.builder.geometry import (
    SAME_PLACE,
    Window,
    coarsened,
    covering_window,
    cut,
    edges,
    goes_round,
    latlon,
    repeated,
    same_place,
    turned,
)
from physicsnemo_fs.data.splits import LABELS
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Region:
    """A part of the domain that becomes a group of the store.

    Args:
        name: Letters, digits, ``_`` and ``-``.
        box: South, north, west and east edge in degrees, from west eastward, also across the date line; ``None`` for
            the whole domain.
        split: Split of all its samples; ``None`` leaves them to their times.
        tile: Fine rows and columns of equal parts that the region is cut into, named ``<name>_<row>_<column>``; what
            fills no whole tile is left out.

    Raises:
        InputError: If the name, the box or the split is none.
    """

    name: str
    box: Box | None = None
    split: str | None = None
    tile: tuple[int, int] | None = None

    def __post_init__(self):
        if self.tile is not None and (len(self.tile) != 2 or min(self.tile) < 1):
            raise InputError(f"the tile of region {self.name} must be [rows, columns]: got {list(self.tile)}")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):
            raise InputError(f"a region's name must be letters, digits, _ and -: got {self.name!r}; rename it")
        if self.split is not None and self.split not in LABELS:
            raise InputError(
                f"the split of region {self.name} must be one of {', '.join(LABELS)}: got {self.split!r}; choose one"
            )
        if self.box is not None and not (
            len(self.box) == 4 and self.box[0] < self.box[1] and self.box[2] != self.box[3]
        ):
            raise InputError(
                f"the box of region {self.name} must be [south, north, west, east] in degrees, with an area: got "
                f"{list(self.box)}; correct it"
            )


@dataclass(frozen=True)
class Place:
    """A region on the grids.

    Args:
        region: The region.
        window: Rows and columns of the fine source that its fine field is made of; columns of a source round the
            globe are counted on beyond its last one.
        source: Grid of that window.
        fine: Its fine grid.
        coarse: Its coarse grid: blocks of ``factor`` by ``factor`` fine cells.
        factor: Fine cells along each side of a coarse cell.
    """

    region: Region
    window: Window
    source: Grid
    fine: Grid
    coarse: Grid
    factor: int

    @property
    def regridded(self) -> bool:
        """Whether the fine grid is another than the source's."""
        return not same_place(self.source, self.fine)


def place_regions(
    source: Grid, regions: Sequence[Region], factor: int, spacing: float | None = None, origin: Sequence[float] = (0, 0)
) -> tuple[Place, ...]:
    """Find the cells of each region: whole coarse cells inside its box.

    Args:
        source: Grid of the fine source.
        regions: The regions; none means the whole domain.
        factor: Fine cells along each side of a coarse cell.
        spacing: Fine spacing in degrees; ``None`` keeps the source's cells.
        origin: Latitude and longitude of a corner of a coarse cell, where ``spacing`` is given.

    Raises:
        InputError: If a region holds no coarse cell, a name repeats, or regions of different splits overlap.

    Example:
        >>> source = latlon(Grid((40, 60), (10.0, 15.0), (50.0, 0.0), "cell", "bounded", "degrees"))
        >>> (place,) = place_regions(source, [Region("north", (54.9, 58.1, 2.0, 6.0))], factor=4)
        >>> place.window, place.coarse.shape
        ((slice(20, 32, None), slice(8, 24, None)), (3, 4))
    """
    regions = tuple(regions) or (Region("all"),)
    names = [region.name for region in regions]
    if len(set(names)) < len(names):
        raise InputError(f"each region must have a name of its own: got {names}; rename one")
    places = []
    for region in regions:
        wide = repeated(source, 2) if region.box is not None and goes_round(source) else source
        _require_within(wide, region, factor * (spacing or max(source.spacing)))
        blocks = None if spacing else _whole_blocks(wide, region, factor)
        grid = cut(wide, blocks) if blocks else _own_grid(source, region, factor, spacing or 1.0, origin)
        for part, inside in _tiles(region, grid.shape, factor):
            fine = cut(grid, inside)
            own = wide if blocks else turned(source, fine)
            window = _within(blocks, inside) if blocks else covering_window(own, fine)
            places.append(Place(part, window, cut(own, window), fine, coarsened(fine, factor), factor))
    _refuse_overlap(places)
    return tuple(places)


def _tiles(region: Region, shape: tuple[int, int], factor: int) -> Iterator[tuple[Region, Window]]:
    """Give a region's tiles and their windows of its fine grid; itself without tiles."""
    if region.tile is None:
        yield region, (slice(0, shape[0]), slice(0, shape[1]))
        return
    height, width = region.tile
    if height % factor or width % factor or height > shape[0] or width > shape[1]:
        raise InputError(
            f"tiles of region {region.name} must be whole coarse cells of {factor} and fit {shape[0]} x {shape[1]}: "
            f"got {height} x {width}; change the tile or the box"
        )
    for row in range(shape[0] // height):
        for column in range(shape[1] // width):
            part = replace(region, name=f"{region.name}_{row:02d}_{column:02d}", tile=None)
            yield part, (slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))


def _within(outer: Window, inner: Window) -> Window:
    rows, columns = (slice(o.start + i.start, o.start + i.stop) for o, i in zip(outer, inner, strict=True))
    return rows, columns


def _require_within(source: Grid, region: Region, cell: float) -> None:
    """Refuse a box that leaves the source by more than a coarse cell."""
    if region.box is None or not geographic(source):
        return
    south, north, west, east = _wrapped(region.box, source)
    for (low, high), axis in (((south, north), 0), ((west, east), 1)):
        own = edges(source, axis)
        if low < own[0] - cell or high > own[-1] + cell:
            raise _empty(source, region, "cells of the source only")


def _whole_blocks(source: Grid, region: Region, factor: int) -> Window:
    inside = _inside(source, region)
    rows, columns = (_trimmed(line, factor) for line in inside)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        raise _empty(source, region, f"a coarse cell of {factor} x {factor} cells")
    return rows, columns


def _trimmed(inside: np.ndarray, factor: int) -> slice:
    """Give the slice of whole blocks, counted from the grid's first cell, whose cells are all inside."""
    found = np.flatnonzero(inside)
    if not len(found):
        return slice(0, 0)
    first, last = int(found[0]), int(found[-1]) + 1
    return slice(-(-first // factor) * factor, last // factor * factor)


def _inside(source: Grid, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Give which rows and which columns of the source lie inside a region's box."""
    if region.box is None:
        return np.ones(source.shape[0], bool), np.ones(source.shape[1], bool)
    if source.latitude is None or source.longitude is None:
        raise InputError(f"region {region.name} needs a source with latitude and longitude; leave its box out")
    south, north, west, east = _wrapped(region.box, source)
    if geographic(source):
        cells = [edges(source, axis) for axis in (0, 1)]
        slack = [SAME_PLACE * step for step in source.spacing]
        limits = ((south, north), (west, east))
        rows, columns = (
            np.asarray((e[:-1] >= low - s) & (e[1:] <= high + s))
            for e, s, (low, high) in zip(cells, slack, limits, strict=True)
        )
        return rows, columns
    longitude = west + (source.longitude - west) % 360.0
    inside = (source.latitude >= south) & (source.latitude <= north) & (longitude <= east)
    return np.asarray(inside.any(axis=1)), np.asarray(inside.any(axis=0))


def _wrapped(box: Box, source: Grid) -> Box:
    """Move a box by whole turns to the longitudes that the source counts in, and let it go eastward."""
    south, north, west, east = box
    width = min(east - west, 360.0) if east > west else (east - west) % 360.0
    if source.longitude is None or not geographic(source):
        return south, north, west, west + width
    start, slack = edges(source, 1)[0], source.spacing[1]
    if source.extent[1] > 360.0 - slack / 2:
        slack *= SAME_PLACE
    first = start + (west - start + slack) % 360.0 - slack
    return south, north, first, first + width


def _own_grid(source: Grid, region: Region, factor: int, spacing: float, origin: Sequence[float]) -> Grid:
    if not geographic(source):
        raise InputError("a grid of another spacing needs a source of latitude and longitude; leave spacing out")
    if len(origin) != 2:
        raise InputError(f"fine.origin must be [latitude, longitude]: got {list(origin)}; correct it")
    step = spacing * factor
    ends = [(float(edges(source, axis)[0]), float(edges(source, axis)[-1])) for axis in (0, 1)]
    if goes_round(source):
        ends[1] = (ends[1][0], np.inf)
    if region.box is not None:
        south, north, west, east = _wrapped(region.box, source)
        asked = ((south, north), (west, east))
        ends = [(max(e[0], a[0]), min(e[1], a[1])) for e, a in zip(ends, asked, strict=True)]
    corners, counts = [], []
    for (low, high), start in zip(ends, origin, strict=True):
        first = np.ceil((low - start) / step - SAME_PLACE / factor)
        last = np.floor((min(high, start + first * step + 360.0) - start) / step + SAME_PLACE / factor)
        corners.append(float(start + first * step))
        counts.append(int(last - first))
    if min(counts) < 1:
        raise _empty(source, region, f"a coarse cell of {step:g} x {step:g} degrees")
    shape = (counts[0] * factor, counts[1] * factor)
    extent = (counts[0] * step, counts[1] * step)
    return latlon(Grid(shape, extent, (corners[0], corners[1]), "cell", "bounded", source.unit))


def _empty(source: Grid, region: Region, cell: str) -> InputError:
    (south, north), (west, east) = (edges(source, axis)[[0, -1]] for axis in (0, 1))
    east = min(east, west + 360.0) if on_sphere(source) else east
    box = "the whole domain" if region.box is None else f"box {[float(f'{v:g}') for v in region.box]}"
    return InputError(
        f"region {region.name} must hold {cell}: {box} does not; the source spans {south:g} to {north:g} by "
        f"{west:g} to {east:g} {source.unit}"
    )


def _refuse_overlap(places: Sequence[Place]) -> None:
    for number, one in enumerate(places):
        for other in places[:number]:
            if one.region.split != other.region.split and _overlap(one.fine, other.fine):
                raise InputError(
                    f"regions of different splits must not overlap: {other.region.name} ({other.region.split}) and "
                    f"{one.region.name} ({one.region.split}) do; move one"
                )


def _overlap(a: Grid, b: Grid) -> bool:
    turns = (-360.0, 0.0, 360.0) if geographic(a) else (0.0,)
    return _meet(a, b, 0) and any(_meet(a, b, 1, turn) for turn in turns)


def _meet(a: Grid, b: Grid, axis: int, shift: float = 0.0) -> bool:
    one, other = edges(a, axis), edges(b, axis) + shift
    slack = SAME_PLACE * a.spacing[axis]
    return bool(one[-1] > other[0] + slack and other[-1] > one[0] + slack)
