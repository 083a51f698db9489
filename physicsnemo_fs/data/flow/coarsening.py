# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Low-resolution views of a periodic field: what the coarse input of a downscaling problem is."""

import functools
import math
from dataclasses import replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.resample import fourier_resample

Coarsening = Literal["cell_average", "pixel_average", "spectral"]


@functools.lru_cache(maxsize=32)
def _cell_average_matrix(nodes: int, cells: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    wavenumbers = torch.arange(1, (nodes - 1) // 2 + 1, dtype=torch.float64)
    centres = 2 * math.pi * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    positions = 2 * math.pi * torch.arange(nodes, dtype=torch.float64) / nodes
    at_centres = centres[:, None] * wavenumbers
    at_nodes = positions[:, None] * wavenumbers
    average = torch.sinc(wavenumbers / cells)
    kernel = (at_centres.cos() * average) @ at_nodes.cos().T + (at_centres.sin() * average) @ at_nodes.sin().T
    return ((1 + 2 * kernel) / nodes).to(device=device, dtype=dtype)


def cell_average(
    field: Float[Tensor, "*lead height width"], cells: tuple[int, int]
) -> Float[Tensor, "*lead coarse_height coarse_width"]:
    r"""Average a periodic field exactly over the cells ``[i / n, (i + 1) / n)`` of its domain.

    The field is the trigonometric polynomial through its nodes (without the Nyquist mode); averaging
    multiplies each mode by :math:`\operatorname{sinc}(k / n)` per axis, and the result is evaluated at the
    cell centres. It depends on the function only, not on the grid that stores it.

    Args:
        field: Values at nodes ``j / N``.
        cells: Number of cells ``(height, width)``.

    Example:
        >>> s = torch.arange(32, dtype=torch.float64) / 32
        >>> mean = cell_average(torch.sin(2 * torch.pi * s).expand(32, 32), (1, 4))
        >>> torch.allclose(mean, torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64) * 2 / torch.pi)
        True
    """
    rows = _cell_average_matrix(field.shape[-2], cells[0], field.dtype, field.device)
    columns = _cell_average_matrix(field.shape[-1], cells[1], field.dtype, field.device)
    return rows @ (field @ columns.T)


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
        kind: ``"cell_average"`` (:func:`cell_average`), ``"pixel_average"`` (plain averages of blocks of
            stored samples) or ``"spectral"`` (the modes that the coarse grid carries, at nodes).

    Example:
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
