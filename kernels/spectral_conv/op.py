# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The public spectral convolution and the checks of its arguments."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..activations import require_images, require_pair, require_real
from ..dispatch import choose_backend, triton_transform
from . import reference
from .operators import truncated_spectral_conv2d


def spectral_conv2d(
    x: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "modes in_channels out_channels 2"],
    modes: tuple[int, int],
    out_size: tuple[int, int] | None = None,
    backend: str | None = None,
) -> Float[Tensor, "batch out_channels out_height out_width"]:
    r"""Multiply the lowest Fourier modes of ``x`` by one matrix each and drop all others.

    With the Fourier coefficients of the input, which do not depend on the resolution of its grid,

    .. math:: X_k = \frac{1}{HW} \sum_{h,w} x_{hw} e^{-2\pi i (k_1 h/H + k_2 w/W)},

    the result is the function

    .. math:: f(s, t) = \sum_{k_1=-m_1}^{m_1-1} \sum_{k_2=0}^{m_2-1} c_{k_2}
        \mathrm{Re}\left[ R_k^\top X_k\, e^{2\pi i (k_1 s + k_2 t)} \right]

    evaluated at :math:`(s, t) = (h/H', w/W')`. The constant :math:`c` is 1 for :math:`k_2 = 0` and for the
    Nyquist column of the input's grid (:math:`k_2 = W/2`), else 2, so that without ``out_size`` this is
    ``irfft2`` of the multiplied modes. The row :math:`-m_1` is kept without its partner :math:`+m_1`, as in
    the layers that this one interchanges weights with.

    Computed in float64 if ``x`` or ``weight`` is float64, else in float32, also under autocast. The backend "triton"
    reads and writes 16-bit values as they are, multiplies them as float16 and adds in float32; it multiplies float32
    as TF32 if torch's switch for matrix products allows that, else exactly. :func:`.choose_backend` says when it runs.

    Args:
        x: Real values on a periodic, regular grid of any size.
        weight: Real and imaginary part of R_k, mode-major: ``[2*m1*m2, in_channels, out_channels, 2]``, rows
            0..m1-1, -m1..-1 times columns 0..m2-1. Contiguous, or it is copied on every call.
        modes: ``(m1, m2)``. m1 counts half of the rows; m2 counts columns of the real-FFT half, the first
            included. :func:`largest_modes` gives the largest ones that two grids allow.
        out_size: ``(H', W')``, the grid to evaluate on; the input's own if None.
        backend: One of :func:`.available_backends`. None takes the environment variable
            ``PHYSICSNEMO_FS_BACKEND`` or else the rule of :func:`.choose_backend`.

    Returns:
        The function's values in the dtype of ``x``.

    Raises:
        ValueError: The shapes or devices disagree, a dtype is not real floating point, a grid is too small for the
            modes, or the backend does not exist or cannot run here.

    Example:
        >>> x = torch.cos(2 * torch.pi * torch.arange(8) / 8).expand(1, 1, 6, 8)
        >>> weight = torch.tensor([3.0, 0.0]).expand(2 * 1 * 2, 1, 1, 2)
        >>> torch.allclose(spectral_conv2d(x, weight, modes=(1, 2)), 3 * x, atol=1e-6)
        True
        >>> spectral_conv2d(x, weight, modes=(1, 2), out_size=(12, 15)).shape
        torch.Size([1, 1, 12, 15])

    Source: Li et al., Fourier Neural Operator for Parametric Partial Differential Equations, ICLR 2021,
    equations 4 and 5.
    """
    name, x_ready, weight, out_size = prepare(x, weight, modes, out_size, backend)
    if name == "reference":
        return reference.spectral_conv2d(x_ready, weight, modes, out_size).to(x.dtype)
    transform = triton_transform(x_ready.dtype) if name == "triton" else name
    return truncated_spectral_conv2d(x_ready, weight, modes, out_size, transform).to(x.dtype)


def prepare(
    x: Tensor, weight: Tensor, modes: tuple[int, int], out_size: tuple[int, int] | None, backend: str | None
) -> tuple[str, Tensor, Tensor, tuple[int, int]]:
    """Check the arguments of :func:`spectral_conv2d`; give the backend, both tensors in its dtypes, and the grid."""
    modes = require_pair("modes", modes)
    _check_tensors(x, weight, modes)
    size = (x.shape[2], x.shape[3])
    out_size = size if out_size is None else require_pair("out_size", out_size)
    _check_modes(modes, size, out_size)
    dtype = torch.promote_types(torch.promote_types(x.dtype, weight.dtype), torch.float32)
    grid_dtype = dtype if dtype == torch.float64 else x.dtype
    name = choose_backend(x.device, modes, backend, grid_dtype)
    return name, x.to(grid_dtype if name == "triton" else dtype), weight.to(dtype), out_size


def largest_modes(size: tuple[int, int], out_size: tuple[int, int] | None = None) -> tuple[int, int]:
    """Give the largest ``(m1, m2)`` that :func:`spectral_conv2d` takes from one grid to another.

    2*m1 may not exceed the smaller height, or a row would be counted twice, nor m2 the number of columns of
    the real FFT at the smaller width, W // 2 + 1.

    Example:
        >>> largest_modes((64, 64)), largest_modes((64, 64), (15, 16))
        ((32, 33), (7, 9))
    """
    height, width = (min(pair) for pair in zip(size, out_size or size, strict=True))
    return height // 2, width // 2 + 1


def _check_tensors(x: Tensor, weight: Tensor, modes: tuple[int, int]) -> None:
    require_images(x)
    require_real("x", x, x.device, "convert it, or transform real and imaginary part")
    require_real("weight", weight, x.device, "convert it, complex ones to pairs by torch.view_as_real")
    expected = (2 * modes[0] * modes[1], x.shape[1])
    if weight.ndim != 4 or tuple(weight.shape[:2]) != expected or weight.shape[3] != 2:
        raise ValueError(
            f"weight must be [2*m1*m2, in_channels, out_channels, 2] = [{expected[0]}, {expected[1]}, "
            f"out_channels, 2]: got {tuple(weight.shape)}; check modes {modes} and x {tuple(x.shape)}"
        )


def _check_modes(modes: tuple[int, int], size: tuple[int, int], out_size: tuple[int, int]) -> None:
    limits = largest_modes(size, out_size)
    if not (1 <= modes[0] <= limits[0] and 1 <= modes[1] <= limits[1]):
        raise ValueError(
            f"modes must be at least (1, 1) and at most {limits} on grids {size} and {out_size}, "
            f"that is 2*m1 <= height and m2 <= width // 2 + 1: got {modes}; use fewer modes or a larger grid"
        )
