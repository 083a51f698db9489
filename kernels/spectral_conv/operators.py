# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""The five linear operators of a truncated spectral convolution, closed under differentiation.

With the analysis :math:`A` (grid to kept modes) and the synthesis :math:`A^\top` (kept modes to grid, the
exact adjoint), the convolution is :math:`A'^\top R D A x`, where :math:`D` holds the constant
:math:`c_{k_2} / (HW)` of each column and :math:`R` multiplies each mode by its weight. :math:`DA` and its adjoint
:math:`A^\top D` are the transforms with ``weighted=True``. Every backward is one of the same operators, so
derivatives of any order exist and only the kept coefficients are saved.

They are ``torch.library`` operators on real tensors (complex numbers as a last axis of two), opaque to
``torch.compile``. ``transform`` names the implementation. "triton" reads and writes 16-bit grid values and keeps
float32 coefficients; the others compute in the dtype that arrives. A backward under autocast runs in float32.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..dispatch import without_autocast
from . import partial_dft, pruned_fft


class _Transform(NamedTuple):
    analysis: Callable[[Tensor, int, int, bool], Tensor]
    synthesis: Callable[[Tensor, int, int, int, int, torch.dtype, bool], Tensor]
    mix: Callable[[Tensor, Tensor], Tensor]
    mix_adjoint: Callable[[Tensor, Tensor], Tensor]
    mix_weight: Callable[[Tensor, Tensor], Tensor]


@functools.cache
def _implementation(transform: str) -> _Transform:
    """Give the functions of "pruned_fft", "partial_dft", "triton" or "triton_exact" (float32 without TF32)."""
    if transform.startswith("triton"):
        from . import triton_kernels as kernels  # here, so that only its users need Triton

        functions = kernels.analysis, kernels.synthesis, kernels.mix, kernels.mix_adjoint, kernels.mix_weight
        return _Transform(*(functools.partial(f, exact=transform == "triton_exact") for f in functions))
    module = {"pruned_fft": pruned_fft, "partial_dft": partial_dft}[transform]

    def analysis(x: Tensor, m1: int, m2: int, weighted: bool) -> Tensor:
        height, width = x.shape[-2:]
        coefficients = module.analysis(x, m1, m2)
        return coefficients.mul_(_column_constants(height, width, m1, m2, coefficients)) if weighted else coefficients

    def synthesis(
        coefficients: Tensor, height: int, width: int, m1: int, m2: int, dtype: torch.dtype, weighted: bool
    ) -> Tensor:
        if weighted:
            coefficients = coefficients * _column_constants(height, width, m1, m2, coefficients)
        return module.synthesis(coefficients, height, width, m1, m2).to(dtype)

    return _Transform(analysis, synthesis, _mix, _mix_adjoint, _mix_weight)


def truncated_spectral_conv2d(
    x: Tensor, weight: Tensor, modes: tuple[int, int], out_size: tuple[int, int], transform: str
) -> Tensor:
    """Compute :func:`physicsnemo_fs.kernels.spectral_conv2d` on the kept modes only.

    The arguments are valid and share one dtype (float32 or float64; with "triton" ``x`` may have 16 bits): the public
    function sees to it.
    """
    # the dtypes are chosen already; autocast would widen 16-bit values
    with without_autocast(x.device):
        mixed = mixed_modes(x, weight, modes, transform)
        return spectral_synthesis(mixed, *out_size, *modes, transform, x.dtype)


def mixed_modes(x: Tensor, weight: Tensor, modes: tuple[int, int], transform: str) -> Tensor:
    """Give the coefficients of the result [2*m1*m2, batch, out, 2]."""
    return mode_mix(spectral_analysis(x, *modes, transform, True), weight, transform)


def _column_constants(height: int, width: int, m1: int, m2: int, like: Tensor) -> Tensor:
    """Give c_k / (H W) of each mode, c_k = 1 for the first and the Nyquist column, else 2."""
    constants = torch.full((m2,), 2 / (height * width), dtype=like.dtype, device=like.device)
    constants[:1] *= 0.5
    if 2 * (m2 - 1) == width:
        constants[-1:] *= 0.5
    return constants.repeat(2 * m1).view(-1, 1, 1, 1)


@torch.library.custom_op("physicsnemo_fs::spectral_analysis", mutates_args=())
def spectral_analysis(x: Tensor, m1: int, m2: int, transform: str, weighted: bool = False) -> Tensor:
    """Grid values [batch, channel, H, W] to kept modes [2*m1*m2, batch, channel, 2]."""
    return _implementation(transform).analysis(x, m1, m2, weighted)


@torch.library.custom_op("physicsnemo_fs::spectral_synthesis", mutates_args=())
def spectral_synthesis(
    coefficients: Tensor,
    height: int,
    width: int,
    m1: int,
    m2: int,
    transform: str,
    dtype: torch.dtype,
    weighted: bool = False,
) -> Tensor:
    """Kept modes [2*m1*m2, batch, channel, 2] to grid values [batch, channel, H, W]."""
    return _implementation(transform).synthesis(coefficients, height, width, m1, m2, dtype, weighted)


@torch.library.custom_op("physicsnemo_fs::mode_mix", mutates_args=())
def mode_mix(coefficients: Tensor, weight: Tensor, transform: str) -> Tensor:
    """Each mode's [batch, in] times its [in, out]."""
    return _implementation(transform).mix(coefficients, weight)


@torch.library.custom_op("physicsnemo_fs::mode_mix_adjoint", mutates_args=())
def mode_mix_adjoint(gradient: Tensor, weight: Tensor, transform: str) -> Tensor:
    """Each mode's [batch, out] times the conjugate transpose of its [in, out]."""
    return _implementation(transform).mix_adjoint(gradient, weight)


@torch.library.custom_op("physicsnemo_fs::mode_mix_weight", mutates_args=())
def mode_mix_weight(coefficients: Tensor, gradient: Tensor, transform: str) -> Tensor:
    """Conjugate transpose of each mode's [batch, in] times its [batch, out]."""
    return _implementation(transform).mix_weight(coefficients, gradient)


def _mix(coefficients: Tensor, weight: Tensor) -> Tensor:
    return torch.view_as_real(torch.bmm(_complex(coefficients), _complex(weight)))


def _mix_adjoint(gradient: Tensor, weight: Tensor) -> Tensor:
    # conj(g) W^T, then conj: conjugates the small factor; W^H would copy the weights
    product = torch.bmm(_complex(gradient).conj_physical(), _complex(weight).mT)
    return torch.view_as_real(product.conj_physical())


def _mix_weight(coefficients: Tensor, gradient: Tensor) -> Tensor:
    conjugate = _complex(coefficients).conj_physical()
    return torch.view_as_real(torch.bmm(conjugate.mT, _complex(gradient)))


def _complex(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs.contiguous())


@spectral_analysis.register_fake
def _(x, m1, m2, transform, weighted=False):
    dtype = torch.float32 if transform.startswith("triton") else x.dtype
    return x.new_empty(2 * m1 * m2, x.shape[0], x.shape[1], 2, dtype=dtype)


@spectral_synthesis.register_fake
def _(coefficients, height, width, m1, m2, transform, dtype, weighted=False):
    return coefficients.new_empty(coefficients.shape[1], coefficients.shape[2], height, width, dtype=dtype)


@mode_mix.register_fake
def _(coefficients, weight, transform):
    return weight.new_empty(weight.shape[0], coefficients.shape[1], weight.shape[2], 2)


@mode_mix_adjoint.register_fake
def _(gradient, weight, transform):
    return weight.new_empty(weight.shape[0], gradient.shape[1], weight.shape[1], 2)


@mode_mix_weight.register_fake
def _(coefficients, gradient, transform):
    return gradient.new_empty(gradient.shape[0], coefficients.shape[2], gradient.shape[2], 2)


def _save_analysis(ctx, inputs, output):
    x, *ctx.modes, ctx.weighted = inputs
    ctx.size, ctx.dtype = x.shape[-2:], x.dtype


def _save_synthesis(ctx, inputs, output):
    *ctx.modes, _, ctx.weighted = inputs[3:]


def _save_factors(ctx, inputs, output):
    a, b, ctx.transform = inputs
    ctx.save_for_backward(a, b)


def _analysis_backward(ctx, gradient):
    return spectral_synthesis(gradient, *ctx.size, *ctx.modes, ctx.dtype, ctx.weighted), *[None] * 4


def _synthesis_backward(ctx, gradient):
    return spectral_analysis(gradient, *ctx.modes, ctx.weighted), *[None] * 7


def _bilinear_backward(first, second):
    """Make the backward of a bilinear operator from the derivatives by its first and second factor."""

    def backward(ctx, gradient):
        a, b = ctx.saved_tensors
        by_a, by_b, _ = ctx.needs_input_grad
        return (
            first(a, b, gradient, ctx.transform) if by_a else None,
            second(a, b, gradient, ctx.transform) if by_b else None,
            None,
        )

    return backward


spectral_analysis.register_autograd(_analysis_backward, setup_context=_save_analysis)
spectral_synthesis.register_autograd(_synthesis_backward, setup_context=_save_synthesis)
mode_mix.register_autograd(
    _bilinear_backward(
        lambda y, weight, gradient, transform: mode_mix_adjoint(gradient, weight, transform),
        lambda y, weight, gradient, transform: mode_mix_weight(y, gradient, transform),
    ),
    setup_context=_save_factors,
)
mode_mix_adjoint.register_autograd(
    _bilinear_backward(
        lambda z, weight, gradient, transform: mode_mix(gradient, weight, transform),
        lambda z, weight, gradient, transform: mode_mix_weight(gradient, z, transform),
    ),
    setup_context=_save_factors,
)
mode_mix_weight.register_autograd(
    _bilinear_backward(
        lambda y, z, gradient, transform: mode_mix_adjoint(z, gradient, transform),
        lambda y, z, gradient, transform: mode_mix(y, gradient, transform),
    ),
    setup_context=_save_factors,
)

for _operator in (spectral_analysis, spectral_synthesis, mode_mix, mode_mix_adjoint, mode_mix_weight):
    for _device in ("cpu", "cuda"):
        _operator.register_autocast(_device, torch.float32)
