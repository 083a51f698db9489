# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Low-resolution views of a periodic field: what the coarse input of a downscaling problem is."""

from dataclasses import replace
from typing import Literal, get_args

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.conservation import cell_average
from physicsnemo_fs.nn.resample import fourier_resample

Coarsening = Literal["cell_average", "pixel_average", "spectral"]


def check_coarsening(kind: Coarsening, size: int, stored: int) -> None:
    """Refuse a coarse grid that cannot be made from the stored one.

    Raises:
        InputError: If the kind is unknown, or the sizes do not fit.
    """
    if kind not in get_args(Coarsening):
        raise InputError(f"coarsening must be one of {', '.join(get_args(Coarsening))}: got {kind!r}; choose one")
    if not 1 <= size <= stored:
        raise InputError(f"the coarse grid must be 1 to {stored} cells wide, as stored: got {size}; reduce it")
    if kind == "pixel_average" and stored % size:
        raise InputError(
            f"pixel_average needs a coarse grid that divides the stored grid {stored}: got {size}; choose a "
            "divisor or cell_average"
        )


def coarsen(
    field: Float[Tensor, "*lead height width"], size: int, kind: Coarsening
) -> Float[Tensor, "*lead coarse_height coarse_width"]:
    """Give the coarse view of a stored field on ``size`` by ``size`` samples.

    Args:
        field: Square periodic field on its stored grid.
        size: Samples along each axis of the coarse grid.
        kind: ``"cell_average"`` (:func:`physicsnemo_fs.nn.conservation.cell_average`), ``"pixel_average"`` (plain
            averages of blocks of stored samples) or ``"spectral"`` (the modes that the coarse grid carries, at nodes).

    Example:
        >>> import torch
        >>> {kind: tuple(coarsen(torch.ones(16, 16), 4, kind).shape) for kind in get_args(Coarsening)}
        {'cell_average': (4, 4), 'pixel_average': (4, 4), 'spectral': (4, 4)}
    """
    if kind == "cell_average":
        return cell_average(field, (size, size))
    if kind == "spectral":
        return fourier_resample(field, (size, size))
    block = field.shape[-1] // size
    lead = field.shape[:-2]
    return F.avg_pool2d(field.reshape(-1, 1, *field.shape[-2:]), block).reshape(*lead, size, size)


def coarse_grid(stored: Grid, size: int, kind: Coarsening) -> Grid:
    """Give the positions of the coarse samples.

    Blocks of stored nodes are centred half a stored spacing before the cell centres; their grid's origin says
    so.
    """
    registration: Literal["node", "cell"] = "node" if kind == "spectral" else "cell"
    grid = replace(stored, shape=(size, size), registration=registration)
    if kind == "pixel_average":
        dy, dx = stored.spacing
        grid = replace(grid, origin=(stored.origin[0] - dy / 2, stored.origin[1] - dx / 2))
    return grid
