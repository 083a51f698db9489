# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Exact resampling of functions between grids, by trigonometric polynomials.

A periodic field sampled at nodes :math:`x_j = j / N` *is* the trigonometric polynomial through its samples. Moving
it to another grid means evaluating that polynomial there; modes that either grid cannot carry are dropped.
"""

import functools
import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

MATRIX_LIMIT = 512
"""Axes up to this length are resampled by a matrix product, longer ones by FFT."""


@functools.lru_cache(maxsize=256)
@torch.inference_mode(mode=False)
def _trigonometric_matrix(n_in: int, n_out: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    kept = (min(n_in, n_out) - 1) // 2
    wavenumbers = torch.arange(1, kept + 1, dtype=torch.float64)
    target = torch.arange(n_out, dtype=torch.float64) / n_out
    offset = target[:, None] - torch.arange(n_in, dtype=torch.float64) / n_in
    kernel = 1 + 2 * torch.cos(2 * math.pi * offset[..., None] * wavenumbers).sum(-1)
    return (kernel / n_in).to(device=device, dtype=dtype)


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _apply_along_axes(rows: Tensor, columns: Tensor, x: Tensor) -> Tensor:
    """Give ``rows @ x @ columns.T`` on the last two axes without copies of the constant matrices."""
    lead = x.shape[:-2]
    planes = x.reshape(-1, *x.shape[-2:]) @ columns.T
    return torch.bmm(rows.expand(planes.shape[0], -1, -1), planes).reshape(*lead, rows.shape[0], columns.shape[0])


def _resample_axis_fft(x: Tensor, n_out: int, dim: int) -> Tensor:
    n_in = x.shape[dim]
    kept = (min(n_in, n_out) - 1) // 2
    spectrum = torch.fft.rfft(x, dim=dim, norm="forward").narrow(dim, 0, kept + 1)
    return torch.fft.irfft(spectrum, n=n_out, dim=dim, norm="forward")


def fourier_resample(
    x: Float[Tensor, "*lead height width"], size: tuple[int, int]
) -> Float[Tensor, "*lead new_height new_width"]:
    r"""Evaluate a periodic field on another grid of the same domain, exactly.

    .. math:: u(s) = \sum_{|k| < \min(N, N')/2} \hat u_k e^{2\pi i k s}

    Modes at or above the smaller grid's Nyquist wavenumber are dropped, also when the two grids are equal, so that
    the result is a function of the band both grids share. Linear, differentiable, computed in float32 at least
    (also under autocast).

    Args:
        x: Periodic field at nodes ``j / N`` of the domain.
        size: New numbers of nodes ``(height, width)``.

    Returns:
        The field at nodes ``j / N'``.

    Example:
        >>> s = torch.arange(16) / 16
        >>> u = torch.cos(2 * torch.pi * 3 * s).expand(12, 16)
        >>> t = torch.arange(40) / 40
        >>> torch.allclose(fourier_resample(u, (9, 40)), torch.cos(2 * torch.pi * 3 * t).expand(9, 40), atol=1e-5)
        True
    """
    height, width = x.shape[-2:]
    with torch.autocast(x.device.type, enabled=False):
        x = _at_least_single(x)
        if max(height, width, *size) > MATRIX_LIMIT:
            return _resample_axis_fft(_resample_axis_fft(x, size[1], -1), size[0], -2)
        rows = _trigonometric_matrix(height, size[0], x.dtype, x.device)
        columns = _trigonometric_matrix(width, size[1], x.dtype, x.device)
        return _apply_along_axes(rows, columns, x)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(mode=False)
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
    target = (torch.arange(n_out, dtype=torch.float64) + offset) / n_out
    centres = (torch.arange(n_in, dtype=torch.float64) + first_centre) / n_in
    if periodic:
        wavenumbers = torch.arange(1, n_in // 2 + 1, dtype=torch.float64)
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
    with torch.autocast(coarse.device.type, enabled=False):
        coarse = _at_least_single(coarse)
        rows, columns = (
            _cell_interpolation_matrix(n, m, periodic, registration, first, coarse.dtype, coarse.device)
            for n, m, first in zip(coarse.shape[-2:], size, first_centre, strict=True)
        )
        return _apply_along_axes(rows, columns, coarse)


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
    with torch.autocast(x.device.type, enabled=False):
        x = _at_least_single(x)
        gain = gain.to(device=x.device, dtype=x.dtype)
        wavenumber = radial_wavenumber((x.shape[-2], x.shape[-1]), x.device) / length
        position = wavenumber.to(x.dtype).clamp(max=gain.shape[1] - 1)
        lower = position.floor().long().clamp(max=max(gain.shape[1] - 2, 0))
        upper = (lower + 1).clamp(max=gain.shape[1] - 1)
        weight = position - lower
        multiplier = gain[:, lower] * (1 - weight) + gain[:, upper] * weight
        return torch.fft.irfft2(torch.fft.rfft2(x) * multiplier, s=x.shape[-2:])
