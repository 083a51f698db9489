# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Fields from one grid to another, conservative or bilinear, with missing values left out."""

from typing import Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from physicsnemo_fs.data.builder.frames import geographic, same_frame
from physicsnemo_fs.data.builder.geometry import equal_area_edges, nesting_factor, row_areas
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

Method = Literal["conservative", "bilinear"]


def block_average(
    fields: Float[np.ndarray, "*lead y x"],
    factor: int,
    areas: Float[np.ndarray, " y"],
    least_valid: float = 0.5,
) -> Float[np.ndarray, "*lead coarse_y coarse_x"]:
    r"""Average over blocks of cells, each value weighted by its area, in float64.

    With areas :math:`a` and valid cells :math:`V_B` of block :math:`B`,

    .. math:: \bar f_B = \sum_{i \in V_B} a_i f_i \Big/ \sum_{i \in V_B} a_i ,

    so that the mean over all cells is conserved where none is missing, else that of the blocks weighted by the area of
    their valid cells.

    Args:
        fields: Values, NaN where missing.
        factor: Cells along each side of a block.
        areas: Area of a cell of each row, in any unit.
        least_valid: Least valid share of a block's area; below it the block is missing.

    Returns:
        Block averages, float32.

    Example:
        >>> block_average(np.array([[1.0, 2.0], [3.0, np.nan]]), 2, np.ones(2))
        array([[2.]], dtype=float32)
    """
    *lead, height, width = fields.shape
    shape = (*lead, height // factor, factor, width // factor, factor)
    valid = np.isfinite(fields)
    filled = fields if valid.all() else np.where(valid, fields, 0)
    weights = areas.reshape(-1, factor, 1) / areas.reshape(-1, factor).sum(1)[:, None, None] / factor
    share = (valid.reshape(shape).sum(-1) * weights).sum(-2)
    total = (filled.reshape(shape).sum(-1, dtype=np.float64) * weights).sum(-2)
    return _divide(total, share, least_valid)


def regrid(
    fields: Float[np.ndarray, "channel y x"],
    source: Grid,
    target: Grid,
    method: Method,
    least_valid: float = 0.5,
) -> Float[np.ndarray, "channel target_y target_x"]:
    """Give fields on another grid that ``source`` covers.

    Args:
        fields: Values on ``source``, NaN where missing.
        source: Grid of the values.
        target: Grid wanted.
        method: ``"conservative"`` (each target cell gets the area-weighted mean of what it covers) or ``"bilinear"``
            (between centres; constant beyond the outermost ones).
        least_valid: Least valid share of a target cell; below it the cell is missing.

    Returns:
        Values, float32.

    Raises:
        InputError: If the method is unknown, is conservative between different projections, or its library is absent.

    Example:
        >>> source = Grid((4, 4), (1.0, 1.0), registration="cell")
        >>> regrid(np.ones((1, 4, 4), np.float32), source, source.at((2, 2)), "conservative").tolist()
        [[[1.0, 1.0], [1.0, 1.0]]]
    """
    if method not in get_args(Method):
        raise InputError(f"regridding must be one of {', '.join(get_args(Method))}: got {method!r}; choose one")
    factor = nesting_factor(source, target)
    if factor == 1:
        return np.asarray(fields, np.float32)
    if factor is not None and method == "conservative":
        return block_average(fields, factor, row_areas(source), least_valid)
    valid = np.isfinite(fields)
    filled = np.where(valid, fields, 0)
    move = _conservative if method == "conservative" else _bilinear
    total, share = move(np.concatenate([filled, valid]).astype(np.float64), source, target).reshape(
        2, len(fields), *target.shape
    )
    return _divide(total, share, least_valid)


def _divide(total: np.ndarray, share: np.ndarray, least_valid: float) -> np.ndarray:
    enough = share >= max(least_valid, 1e-6) - 1e-6
    return np.where(enough, total / np.where(enough, share, 1.0), np.nan).astype(np.float32)


def _conservative(values: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Regrid along both axes, in coordinates whose lengths are areas."""
    _require_library()
    if not same_frame(source, target):
        raise InputError(
            "conservative regridding needs source and target with rows and columns of the same projection; choose "
            "bilinear"
        )
    rows, columns = (_weights(source, target, axis) for axis in (0, 1))
    return rows.T @ values @ columns


def _weights(source: Grid, target: Grid, axis: int) -> Float[np.ndarray, "source target"]:
    """Give the share that each cell of the source has in each cell of the target, along an axis."""
    from xarray_regrid.utils import normalize_overlap, overlap

    own, wanted = (pd.IntervalIndex.from_breaks(equal_area_edges(grid, axis)) for grid in (source, target))
    return normalize_overlap(overlap(own, wanted))


def _bilinear(values: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    y, x = (_extended(c) for c in (source.y, source.x))
    field = xr.DataArray(padded, {"y": y, "x": x}, ("channel", "y", "x"))
    if same_frame(source, target):
        _require_library()
        places = xr.Dataset(coords={"y": target.y, "x": target.x})
        return field.regrid.linear(places, time_dim=None).transpose("channel", "y", "x").to_numpy()
    if not geographic(source) or target.latitude is None:
        raise InputError(
            "regridding to another projection needs a source with rows of latitude and columns of longitude; regrid "
            "the source first"
        )
    latitude = xr.DataArray(target.latitude, dims=("row", "column"))
    west = source.x[0] if source.extent[1] > 360.0 else x[0]
    longitude = xr.DataArray(west + (target.longitude - west) % 360.0, dims=("row", "column"))
    return field.interp(y=latitude, x=longitude).transpose("channel", "row", "column").to_numpy()


def _extended(centres: np.ndarray) -> np.ndarray:
    spacing = centres[1] - centres[0] if len(centres) > 1 else 1.0
    return np.concatenate([[centres[0] - spacing], centres, [centres[-1] + spacing]])


def _require_library() -> None:
    try:
        import xarray_regrid  # noqa: F401 - registers the accessor
    except ImportError as error:
        raise InputError(
            "regridding to cells that are no whole blocks needs xarray-regrid: install physicsnemo-fs[regrid]"
        ) from error
