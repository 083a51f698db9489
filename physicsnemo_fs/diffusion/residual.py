# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The two-stage decomposition: conditions, mean, shrinkage, residual."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.nn.resample import fourier_resample, half_plane_weights, interpolate_cells, radial_wavenumber

ROUNDING_POWER = 1e-12
"""Share of a float32 field's power below which a shell holds rounding errors."""


def interpolate_coarse(
    coarse: Float[Tensor, "batch channel coarse_height coarse_width"], coarse_grid: Grid, grid: Grid
) -> Float[Tensor, "batch channel height width"]:
    """Give the coarse field as a function, sampled on the fine grid: the same function for every fine grid.

    Args:
        coarse: Coarse fields on ``coarse_grid``.
        coarse_grid: Cells (averages) or nodes (spectral truncation).
        grid: Fine grid of the same domain.

    Example:
        >>> cells, fine = Grid((4, 4), (1.0, 1.0), registration="cell"), Grid((16, 16), (1.0, 1.0))
        >>> interpolate_coarse(torch.ones(1, 2, 4, 4), cells, fine).shape
        torch.Size([1, 2, 16, 16])
    """
    periodic = grid.boundary == "periodic"
    if coarse_grid.registration == "node" and periodic:
        return fourier_resample(coarse, grid.shape)
    spacing = coarse_grid.spacing
    first_centre = (
        float(coarse_grid.y[0] - grid.origin[0]) / spacing[0],
        float(coarse_grid.x[0] - grid.origin[1]) / spacing[1],
    )
    return interpolate_cells(coarse, grid.shape, periodic, grid.registration, first_centre)


def interpolation_matrices(
    coarse_grid: Grid, grid: Grid, like: Tensor
) -> tuple[Float[Tensor, "height coarse_height"], Float[Tensor, "width coarse_width"]]:
    r"""Give the matrices of :func:`interpolate_coarse`, :math:`u = R\, y\, C^T`: any window of it from its rows.

    Args:
        coarse_grid: Cells or nodes.
        grid: Fine grid of the same domain.
        like: Tensor whose dtype and device are used.

    Example:
        >>> cells, fine = Grid((4, 6), (1.0, 1.0), registration="cell"), Grid((16, 18), (1.0, 1.0))
        >>> rows, columns = interpolation_matrices(cells, fine, torch.zeros(1))
        >>> y = torch.randn(1, 2, 4, 6)
        >>> torch.allclose(rows @ y @ columns.T, interpolate_coarse(y, cells, fine), atol=1e-5)
        True
    """
    matrices = []
    for axis, n in enumerate(coarse_grid.shape):
        coarse_line, line = (
            replace(g, shape=(g.shape[axis], 1), extent=(g.extent[axis], 1.0), origin=(g.origin[axis], 0.0))
            for g in (coarse_grid, grid)
        )
        units = torch.eye(n, dtype=like.dtype, device=like.device)[None, :, :, None]
        matrices.append(interpolate_coarse(units, coarse_line, line)[0, :, :, 0].T.contiguous())
    return matrices[0], matrices[1]


def assemble_condition(
    coarse: Float[Tensor, "batch input coarse_height coarse_width"],
    invariants: Float[Tensor, "batch invariant height width"],
    coarse_grid: Grid,
    grid: Grid,
) -> Float[Tensor, "batch condition height width"]:
    """Stack what both networks see: interpolated coarse frames, then invariants."""
    return torch.cat([interpolate_coarse(coarse, coarse_grid, grid), invariants], dim=1)


def _shell_index(shape: tuple[int, int], shells: int, device: torch.device) -> Tensor:
    return radial_wavenumber(shape, device).round().long().clamp(max=shells - 1)


def shell_products(
    a: Float[Tensor, "batch channel height width"], b: Float[Tensor, "batch channel height width"], shells: int
) -> Float[Tensor, "channel shell"]:
    r"""Give the cross spectrum :math:`\sum \mathrm{Re}\,\hat a \bar{\hat b}` per integer radial wavenumber.

    The last shell collects every higher wavenumber. Summed over the batch, float64.
    """
    height, width = a.shape[-2:]
    weight = half_plane_weights(width, a.device)
    product = (torch.fft.rfft2(a.double(), norm="forward") * torch.fft.rfft2(b.double(), norm="forward").conj()).real
    index = _shell_index((height, width), shells, a.device).flatten()
    flat = (product * weight).sum(0).flatten(1)
    return torch.zeros(a.shape[1], shells, dtype=torch.float64, device=a.device).index_add_(1, index, flat)


def shrinkage_gain(
    truth_mean: Float[Tensor, "channel shell"], mean_mean: Float[Tensor, "channel shell"], largest: float = 1.2
) -> Float[Tensor, "channel shell"]:
    r"""Give the gain per wavenumber that makes the mean's error uncorrelated with the mean.

    .. math:: g_k = \langle t\,\mu\rangle_k / \langle\mu\,\mu\rangle_k, \qquad g_0 = 1

    the least-squares factor on the mean's modes of shell k, limited to [0, ``largest``]. Where the regression's
    small scales are unrelated to the truth the gain goes to zero. So it does in shells whose power is rounding.

    Args:
        truth_mean: Cross spectrum of truth and mean, from :func:`shell_products`.
        mean_mean: Power spectrum of the mean.
        largest: Upper limit of the gain.

    Example:
        >>> mean = torch.randn(8, 1, 16, 16)
        >>> products = shell_products(0.5 * mean, mean, 8), shell_products(mean, mean, 8)
        >>> torch.allclose(shrinkage_gain(*products)[:, 1:], torch.tensor(0.5, dtype=torch.float64))
        True
    """
    rounding = ROUNDING_POWER * mean_mean.sum(dim=1, keepdim=True)
    gain = torch.where(mean_mean > rounding, truth_mean / mean_mean.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    gain = gain.clamp(0.0, largest)
    gain[:, 0] = 1.0
    return gain
