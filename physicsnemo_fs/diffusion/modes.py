# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Fourier modes of a grid on a torus: wavenumbers, the half plane of a real field, radial shells and power."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

ROUNDING = 1 + 1e-9
_SAMPLES_PER_FFT = 256


def modes_below_nyquist(shape: tuple[int, int]) -> tuple[int, int]:
    """Give the highest mode of each axis that a grid resolves strictly below its Nyquist mode.

    Example:
        >>> modes_below_nyquist((64, 65))
        (31, 32)
    """
    return (shape[0] - 1) // 2, (shape[1] - 1) // 2


def radial_wavenumber(
    modes: tuple[int, int], extent: tuple[float, float] = (1.0, 1.0), span: tuple[int, int] | None = None
) -> Float64[Tensor, "rows columns"]:
    r"""Give :math:`\kappa` of the half plane of modes: rows :math:`-m_y..m_y`, columns :math:`0..m_x`.

    Args:
        modes: Highest mode ``(m_y, m_x)`` of each axis.
        extent: Physical lengths ``(Ly, Lx)`` of the torus.
        span: First column and one past the last; all by default.

    Example:
        >>> radial_wavenumber((1, 1))[1].tolist()
        [0.0, 1.0]
    """
    rows = torch.arange(-modes[0], modes[0] + 1, dtype=torch.float64) / extent[0]
    columns = torch.arange(*(span or (0, modes[1] + 1)), dtype=torch.float64) / extent[1]
    return torch.hypot(rows[:, None], columns)


def half_plane_weights(modes: tuple[int, int]) -> Float64[Tensor, " columns"]:
    """Give how many modes of the full plane each column stands for: one for column 0, two for the others.

    Example:
        >>> half_plane_weights((1, 2)).tolist()
        [1.0, 2.0, 2.0]
    """
    weights = torch.full((modes[1] + 1,), 2.0, dtype=torch.float64)
    weights[0] = 1.0
    return weights


def measure_power(
    fields: Float[Tensor, "sample channel height width"], extent: tuple[float, float] = (1.0, 1.0)
) -> Float64[Tensor, "channel shell"]:
    r"""Give the mean power per mode :math:`E|\hat u_k|^2` by radial shell, for
    :class:`physicsnemo_fs.diffusion.matched.Matched`.

    :math:`\hat u_k` are the Fourier coefficients of the function (a sum over pixels over their number), so
    that the power summed over all modes is the mean square, whatever the grid. Shell q holds the modes with
    :math:`\mathrm{round}(\kappa \min(L_y, L_x)) = q`; only shells that both axes resolve are given.

    Args:
        fields: Real fields on a periodic grid; a bounded domain leaks power into high shells.
        extent: Physical lengths ``(Ly, Lx)`` of the domain.

    Example:
        >>> x = torch.arange(16) / 16
        >>> wave = torch.cos(2 * torch.pi * 3 * x).expand(1, 1, 16, 16)
        >>> [round(v, 4) for v in measure_power(wave)[0].tolist()[:5]]
        [0.0, 0.0, 0.0, 0.0312, 0.0]
    """
    modes = modes_below_nyquist((fields.shape[-2], fields.shape[-1]))
    rows = torch.arange(-modes[0], modes[0] + 1, device=fields.device)
    total = torch.zeros((), dtype=torch.float64, device=fields.device)
    for chunk in fields.split(_SAMPLES_PER_FFT):
        spectrum = torch.fft.rfft2(chunk.double(), norm="forward")[..., rows, : modes[1] + 1]
        total = total + spectrum.abs().square().sum(dim=0)
    return shell_mean((total / len(fields)).cpu(), extent)


def shell_mean(
    values: Float64[Tensor, "channel rows columns"], extent: tuple[float, float] = (1.0, 1.0)
) -> Float64[Tensor, "channel shell"]:
    """Average values of the half plane of modes over the radial shells that both axes resolve.

    Args:
        values: One value per mode, layout of :func:`radial_wavenumber`.
        extent: Physical lengths ``(Ly, Lx)`` of the torus.

    Example:
        >>> shell_mean(torch.ones(1, 7, 4, dtype=torch.float64)).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """
    index, weights, count = _shells((values.shape[-2] // 2, values.shape[-1] - 1), extent)
    sums = values.new_zeros(values.shape[0], int(index.max()) + 1)
    sums.index_add_(1, index.flatten(), (values * weights).flatten(start_dim=1))
    return sums[:, : len(count)] / count


def shell_count(modes: tuple[int, int], extent: tuple[float, float] = (1.0, 1.0)) -> Float64[Tensor, " shell"]:
    """Give the number of modes of the full plane in each shell of :func:`shell_mean`.

    Example:
        >>> shell_count((3, 3)).tolist()
        [1.0, 8.0, 12.0, 16.0]
    """
    return _shells(modes, extent)[2]


def _shells(modes: tuple[int, int], extent: tuple[float, float]) -> tuple[Int64[Tensor, "..."], Tensor, Tensor]:
    shorter = min(extent)
    index = (radial_wavenumber(modes, extent) * shorter).round().long()
    weights = half_plane_weights(modes).expand(index.shape)
    resolved = int(min(m * shorter / length for m, length in zip(modes, extent, strict=True)) * ROUNDING)
    return index, weights, index.flatten().bincount(weights.flatten())[: resolved + 1]
