# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Exact resampling of functions between grids, by trigonometric polynomials.

A periodic field sampled at nodes :math:`x_j = j / N` *is* the trigonometric polynomial through its samples. Moving
it to another grid means evaluating that polynomial there; modes that either grid cannot carry are dropped.
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from physicsnemo_fs.kernels import fourier_resample
from physicsnemo_fs.kernels.constants import constants
from physicsnemo_fs.kernels.dispatch import without_autocast
from physicsnemo_fs.kernels.resample import apply_along_axes

__all__ = [
    "at_least_single",
    "fourier_resample",
    "half_plane_weights",
    "interpolate_cells",
    "radial_filter",
    "radial_multiplier",
    "radial_wavenumber",
]


def at_least_single(x: Tensor) -> Tensor:
    """Give a tensor of at least single precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@constants
def _cell_interpolation_matrix(
    n_in: int,
    n_out: int,
    periodic: bool,
    registration: str,
    first_centre: float,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    offset = 0.5 if registration == "cell" else 0.0
    target = (torch.arange(n_out, dtype=torch.float64, device="cpu") + offset) / n_out
    centres = (torch.arange(n_in, dtype=torch.float64, device="cpu") + first_centre) / n_in
    if periodic:
        wavenumbers = torch.arange(1, n_in // 2 + 1, dtype=torch.float64, device="cpu")
        weight = torch.full_like(wavenumbers, 2.0)
        if n_in % 2 == 0:
            weight[-1] = 1.0
        phase = (target[:, None] - centres)[..., None] * wavenumbers
        matrix = (1 + (weight * torch.cos(2 * math.pi * phase)).sum(-1)) / n_in
    else:
        matrix = (1 - (target[:, None] * n_in - first_centre).clamp(0, n_in - 1).sub(torch.arange(n_in)).abs()).clamp(
            min=0
        )
    return matrix.to(device=device, dtype=dtype)


def interpolate_cells(
    coarse: Float[Tensor, "*lead coarse_height coarse_width"],
    size: tuple[int, int],
    periodic: bool = True,
    registration: str = "node",
    first_centre: tuple[float, float] = (0.5, 0.5),
) -> Float[Tensor, "*lead height width"]:
    """Interpolate values at cell centres ``(i + 1/2) / n`` to a fine grid of the same domain.

    Periodic domains use the trigonometric interpolant (one function, whatever the fine grid); bounded ones the
    bilinear interpolant, constant beyond the outermost centres.

    Args:
        coarse: Values at cell centres.
        size: Fine grid ``(height, width)``.
        periodic: Whether the domain is a torus.
        registration: ``"node"`` for fine samples at ``j / N``, ``"cell"`` for ``(j + 1/2) / N``.
        first_centre: Position of the first value along each axis, in coarse cells from the domain's corner.

    Raises:
        ValueError: If the registration is unknown.

    Example:
        >>> interpolate_cells(torch.ones(2, 4, 4), (16, 20)).shape
        torch.Size([2, 16, 20])
    """
    if registration not in ("node", "cell"):
        raise ValueError(f"registration must be 'node' or 'cell': got {registration!r}")
    with without_autocast(coarse.device):
        coarse = at_least_single(coarse)
        rows, columns = (
            _cell_interpolation_matrix(n, m, periodic, registration, first, coarse.dtype, coarse.device)
            for n, m, first in zip(coarse.shape[-2:], size, first_centre, strict=True)
        )
        return apply_along_axes(rows, columns, coarse)


def _signed_modes(n: int, device: torch.device | str) -> Tensor:
    return (torch.arange(n, dtype=torch.float64, device=device) + n // 2) % n - n // 2


def radial_wavenumber(
    shape: tuple[int, int], device: torch.device | str = "cpu"
) -> Float64[Tensor, "height half_width"]:
    """Give each real-FFT mode's radial wavenumber, in cycles per shorter side of the domain (square pixels).

    Example:
        >>> radial_wavenumber((4, 8))[1].tolist()
        [1.0, 1.118033988749895, 1.4142135623730951, 1.8027756377319946, 2.23606797749979]
    """
    height, width = shape
    short = min(shape)
    ky = _signed_modes(height, device) * short / height
    kx = torch.arange(width // 2 + 1, dtype=torch.float64, device=device) * short / width
    return torch.hypot(ky[:, None], kx[None, :])


def half_plane_weights(width: int, device: torch.device | str = "cpu") -> Float64[Tensor, " half_width"]:
    """Give how many modes of the plane each real-FFT column of a grid stands for.

    Example:
        >>> half_plane_weights(4).tolist(), half_plane_weights(5).tolist()
        ([1.0, 2.0, 1.0], [1.0, 2.0, 2.0])
    """
    weights = torch.full((width // 2 + 1,), 2.0, dtype=torch.float64, device=device)
    weights[0] = 1.0
    if width % 2 == 0:
        weights[-1] = 1.0
    return weights


def radial_filter(
    x: Float[Tensor, "batch channel height width"],
    gain: Float[Tensor, "channel shell"],
    length: float = 1.0,
) -> Float[Tensor, "batch channel height width"]:
    r"""Multiply each Fourier mode by a gain that depends on its radial wavenumber alone.

    .. math:: \hat y_k = g(|k|)\, \hat x_k

    with ``g`` linear between the integer shells and constant beyond the last one.

    Args:
        x: Periodic fields.
        gain: Gain at integer wavenumbers 0, 1, 2 ... per channel.
        length: Shorter side of the fields, in the unit of length whose cycles the wavenumbers count.

    Example:
        >>> x = torch.randn(1, 1, 8, 8)
        >>> torch.allclose(radial_filter(x, torch.full((1, 5), 2.0)), 2 * x, atol=1e-5)
        True
    """
    with without_autocast(x.device):
        x = at_least_single(x)
        multiplier = radial_multiplier(gain.to(device=x.device, dtype=x.dtype), (x.shape[-2], x.shape[-1]), length)
        return torch.fft.irfft2(torch.fft.rfft2(x) * multiplier, s=x.shape[-2:])


def radial_multiplier(
    gain: Float[Tensor, "channel shell"], shape: tuple[int, int], length: float = 1.0
) -> Float[Tensor, "channel height half_width"]:
    """Give the multiplier of each real-FFT mode of :func:`radial_filter`, in the dtype and on the device of ``gain``.

    Args:
        gain: Gain at integer wavenumbers 0, 1, 2 ... per channel.
        shape: Grid of the fields.
        length: As for :func:`radial_filter`.

    Example:
        >>> radial_multiplier(torch.tensor([[1.0, 0.0]]), (4, 4)).tolist()
        [[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    position = (radial_wavenumber(shape, gain.device) / length).to(gain.dtype).clamp(max=gain.shape[1] - 1)
    lower = position.floor().long().clamp(max=max(gain.shape[1] - 2, 0))
    upper = (lower + 1).clamp(max=gain.shape[1] - 1)
    weight = position - lower
    return gain[:, lower] * (1 - weight) + gain[:, upper] * weight
