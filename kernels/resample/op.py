# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The public resampling, the checks of its arguments, and the choice of its backend."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..activations import require_pair, require_real
from ..dispatch import (
    automatic_backend,
    environment_allows_triton,
    named_backend,
    takes_forward_derivatives,
    triton_transform,
    without_autocast,
    without_forward_derivatives,
)
from . import operators

MATRIX_LIMIT = 512
"""Axes up to this length are resampled by a matrix product, longer ones by FFT."""

_NAMES = ("matrix", "fft", "triton")


def fourier_resample(
    x: Float[Tensor, "*lead height width"], size: tuple[int, int], backend: str | None = None
) -> Float[Tensor, "*lead new_height new_width"]:
    r"""Evaluate a periodic field on another grid of the same domain, exactly.

    .. math:: u(s) = \sum_{|k| < \min(N, N')/2} \hat u_k e^{2\pi i k s}

    Modes at or above the smaller grid's Nyquist wavenumber are dropped, also when the two grids are equal, so that
    the result is a function of the band both grids share. Linear, differentiable any number of times, computed in
    float32 at least (also under autocast). The backend "triton" reads and writes 16-bit values as they are, multiplies
    them as float16 and adds in float32; it multiplies float32 as TF32 if torch's switch for matrix products allows
    that, else exactly.

    Args:
        x: Periodic field at nodes ``j / N`` of the domain.
        size: New numbers of nodes ``(height, width)``.
        backend: "matrix", "fft" or "triton", which runs or raises. None takes "triton" on a GPU where
            :func:`.choose_backend` would take it for as many modes, else "matrix" on axes of up to 512 nodes, else
            "fft".

    Returns:
        The field at nodes ``j / N'``.

    Raises:
        ValueError: ``x`` is not a real field, a grid is empty, or the backend does not exist or cannot run here.

    Example:
        >>> s = torch.arange(16) / 16
        >>> u = torch.cos(2 * torch.pi * 3 * s).expand(12, 16)
        >>> t = torch.arange(40) / 40
        >>> torch.allclose(fourier_resample(u, (9, 40)), torch.cos(2 * torch.pi * 3 * t).expand(9, 40), atol=1e-5)
        True
    """
    _check(x, size)
    name = _choose(x.device, x.dtype, (x.shape[-2], x.shape[-1]), size, backend)
    if name == "triton":
        name = without_forward_derivatives(name, "matrix", forced=backend is not None)
    if name == "triton":
        transform = triton_transform(x.dtype)
    else:
        transform, x = name, x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    with without_autocast(x.device):
        if name == "triton" or (torch.compiler.is_compiling() and not takes_forward_derivatives()):
            return operators.resample(x, *size, transform)
        return operators.implementation(name)(x, *size)  # torch differentiates it at less cost per call


def _choose(
    device: torch.device, dtype: torch.dtype, old: tuple[int, int], new: tuple[int, int], backend: str | None
) -> str:
    if backend is not None:
        return named_backend(backend, _NAMES, device, dtype, instead="matrix")
    if environment_allows_triton() and device.type != "cpu":
        rows, columns = (min(pair) for pair in zip(old, new, strict=True))
        if automatic_backend(device, ((rows + 1) // 2, (columns + 1) // 2), dtype) == "triton":
            return "triton"
    return "fft" if max(*old, *new) > MATRIX_LIMIT else "matrix"


def _check(x: Tensor, size: tuple[int, int]) -> None:
    if x.ndim < 2:
        raise ValueError(f"x must be [..., height, width]: got {tuple(x.shape)}; reshape it")
    require_real("x", x, x.device, "convert it, or resample real and imaginary part")
    size = require_pair("size", size)
    if min(*x.shape[-2:], *size) < 1:
        raise ValueError(f"size must be (height, width) of at least one node: got {size} from {tuple(x.shape[-2:])}")
