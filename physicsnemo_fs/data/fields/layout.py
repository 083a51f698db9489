# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which dimension of a variable is time, which are rows and columns, and where the others are held."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from physicsnemo_fs.data.fields.kinds import LATITUDE, LONGITUDE, X, Y, find_coordinate
from physicsnemo_fs.data.fields.levels import level_dimension
from physicsnemo_fs.data.fields.moments import find_times, refuse_undated
from physicsnemo_fs.data.fields.selection import position_of
from physicsnemo_fs.errors import InputError


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
    if time in (y, x):
        raise InputError(
            f"variable {array.name!r} must lie on rows and columns beside its times; it has dimensions {array.dims}"
        )
    if chosen := sorted({y, x} & set(map(str, select))):
        raise InputError(
            f"select must name dimensions that are neither rows nor columns: got {chosen[0]!r}; choose a "
            "region=[south, north, west, east]"
        )
    fixed: dict[str, int] = {}
    if level is not None and (found := level_dimension(array, level)) is not None:
        fixed[found[0]] = found[1]
    for dim in map(str, array.dims):
        if dim not in (y, x, time) and dim not in fixed:
            fixed[dim] = position_of(array, dim, select)
    return Layout(tuple(map(str, array.dims)), time, y, x, fixed, level)


def _time_dimension(dataset: xr.Dataset, array: xr.DataArray, select: Mapping[str, Any]) -> str | None:
    time, _ = find_times(dataset, array)
    if time is None:
        refuse_undated(dataset, array, select)
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
