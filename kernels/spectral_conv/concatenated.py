# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""A whole layer with a pointwise map of its input, by Triton: one product for the inverse transform and the map.

With :math:`Z = R D A x` the values before the modulation are :math:`u = A^\top Z + S x + b`, where :math:`S` is the
pointwise map. Backward, with :math:`\partial_u`: :math:`\partial_x = (DA)^\top R^* A\,\partial_u + S^\top \partial_u`
is again an inverse transform and a pointwise map in one product, and :math:`\partial_S = \sum \partial_u x^\top`.
Saved are ``x`` and the kept coefficients, no values on the grid in between.
"""

import torch
from torch import Tensor

from ..pointwise import pointwise_map
from .epilogue import affine_gradients, affine_rows, differentiable_gradients, follow
from .operators import mixed_modes, mode_mix_adjoint, mode_mix_weight, spectral_analysis, spectral_synthesis


def concatenation_pays(columns: int, width: int) -> bool:
    """Tell whether one product moves fewer bytes than a map of its own: README.md counts them.

    Example:
        >>> concatenation_pays(16, 64), concatenation_pays(32, 64)
        (True, False)
    """
    return 4 * columns <= width


@torch.library.custom_op("physicsnemo_fs::spectral_concatenated", mutates_args=())
def spectral_concatenated(
    x: Tensor,
    weight: Tensor,
    skip_weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
    m1: int,
    m2: int,
    transform: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the layer's values [batch, channel, H, W], and the kept modes of ``x`` before and after the mixing."""
    from . import triton_kernels as kernels

    exact = transform == "triton_exact"
    kept = kernels.analysis(x, m1, m2, True, exact)
    mixed = kernels.mix(kept, weight, exact)
    affine = affine_rows(mixed, bias, scale, shift)
    return kernels.concatenated_layer(mixed, x, skip_weight, affine, activation, m1, m2, exact), kept, mixed


@torch.library.custom_op("physicsnemo_fs::spectral_concatenated_backward", mutates_args=())
def spectral_concatenated_backward(
    gradient: Tensor,
    mixed: Tensor,
    x: Tensor,
    skip_weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
    m1: int,
    m2: int,
    transform: str,
) -> tuple[Tensor, Tensor]:
    """Give what :func:`.epilogue.spectral_epilogue_backward` gives."""
    from . import triton_kernels as kernels

    affine = affine_rows(mixed, bias, scale, shift)
    exact = transform == "triton_exact"
    return kernels.concatenated_layer_backward(gradient, mixed, x, skip_weight, affine, activation, m1, m2, exact)


@torch.library.custom_op("physicsnemo_fs::spectral_synthesis_pointwise", mutates_args=())
def spectral_synthesis_pointwise(
    coefficients: Tensor, x: Tensor, factor: Tensor, m1: int, m2: int, transform: str
) -> Tensor:
    """Give the weighted synthesis of the coefficients plus the pointwise map of ``x``, in the dtype of ``x``."""
    from . import triton_kernels as kernels

    return kernels.concatenated(coefficients, x, factor, m1, m2, True, transform == "triton_exact")


@spectral_concatenated.register_fake
def _(x, weight, skip_weight, bias, scale, shift, activation, m1, m2, transform):
    batch, inner, channels = x.shape[0], x.shape[1], skip_weight.shape[0]
    kept, mixed = (weight.new_empty(2 * m1 * m2, batch, n, 2, dtype=torch.float32) for n in (inner, channels))
    return x.new_empty(batch, channels, *x.shape[2:]), kept, mixed


@spectral_concatenated_backward.register_fake
def _(gradient, mixed, x, skip_weight, bias, scale, shift, activation, m1, m2, transform):
    return gradient.new_empty(gradient.shape), gradient.new_empty(2, *gradient.shape[:2], dtype=torch.float32)


@spectral_synthesis_pointwise.register_fake
def _(coefficients, x, factor, m1, m2, transform):
    return x.new_empty(x.shape[0], factor.shape[0], *x.shape[2:])


def _save(ctx, inputs, output):
    ctx.activation, *ctx.modes, ctx.transform = inputs[6:]
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(*inputs[:6], *output[1:])


def _backward(ctx, gradient, *_):
    x, weight, skip_weight, bias, scale, shift, kept, mixed = ctx.saved_tensors
    if torch.is_grad_enabled():  # somebody will differentiate this gradient
        return *_composition_gradients(ctx, gradient), *[None] * 4
    settings = (*ctx.modes, ctx.transform)
    inner, (total, moment) = spectral_concatenated_backward(
        gradient, mixed, x, skip_weight, bias, scale, shift, ctx.activation, *settings
    )
    by_x, by_weight, by_skip_weight = ctx.needs_input_grad[:3]
    by_mixed = spectral_analysis(inner, *settings) if by_x or by_weight else None
    return (
        _gradient_of_input(by_mixed, inner, weight, skip_weight, settings) if by_x else None,
        mode_mix_weight(kept, by_mixed, ctx.transform) if by_weight else None,
        _gradient_of_map(inner, x).to(skip_weight.dtype) if by_skip_weight else None,
        *affine_gradients(total, moment, bias, scale, shift),
        *[None] * 4,
    )


def _gradient_of_input(by_mixed, inner, weight, skip_weight, settings):
    by_kept = mode_mix_adjoint(by_mixed, weight, settings[-1])
    return spectral_synthesis_pointwise(by_kept, inner, skip_weight.T, *settings)


def _gradient_of_map(inner, x):
    """Give the sum over grid and batch in float32: one of float16 ends at 65504."""
    rows, columns = inner.flatten(2), x.flatten(2).mT
    if rows.is_cuda and rows.dtype != torch.float32:
        return torch.bmm(rows, columns, out_dtype=torch.float32).sum(0)
    return torch.bmm(rows.float(), columns.float()).sum(0)


def _composition_gradients(ctx, gradient):
    tensors = ctx.saved_tensors[:6]
    x, weight, skip_weight, bias, scale, shift = tensors
    mixed = mixed_modes(x, weight, ctx.modes, ctx.transform)
    image = spectral_synthesis(mixed, *x.shape[2:], *ctx.modes, ctx.transform, torch.float32)
    skip = pointwise_map(x.float(), skip_weight.float())
    value = follow(image, skip, bias, scale, shift, ctx.activation).to(x.dtype)
    return differentiable_gradients(value, tensors, ctx.needs_input_grad, gradient)


spectral_concatenated.register_autograd(_backward, setup_context=_save)
