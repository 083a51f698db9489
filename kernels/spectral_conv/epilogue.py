# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What follows a convolution in a layer: as a composition, and as the last steps of Triton's synthesis."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..activations import ACTIVATIONS
from .operators import spectral_analysis, spectral_synthesis


def follow(
    value: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
) -> Tensor:
    """Compute what :func:`.spectral_layer2d` does after the convolution, from torch's functions."""
    value = value if skip is None else value + skip
    value = value if bias is None else value + bias[:, None, None]
    value = value if scale is None else value * (1 + scale[..., None, None])
    value = value if shift is None else value + shift[..., None, None]
    return ACTIVATIONS[activation](value)


def affine_rows(coefficients: Tensor, bias: Tensor | None, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Give bias, 1 + scale and shift of every plane, [3, batch, channel] in float32."""
    affine = torch.zeros(3, *coefficients.shape[1:3], dtype=torch.float32, device=coefficients.device)
    for row, extra in zip(affine, (bias, scale, shift), strict=True):
        if extra is not None:
            row += extra
    affine[1] += 1
    return affine


def affine_gradients(
    total: Tensor, moment: Tensor, bias: Tensor | None, scale: Tensor | None, shift: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Give the gradients of bias, scale and shift from the two sums of the backward pass over the grid."""
    by_bias = (total if scale is None else total * (1 + scale)).sum(0)
    return (
        None if bias is None else by_bias.to(bias.dtype),
        None if scale is None else moment.to(scale.dtype),
        None if shift is None else total.to(shift.dtype),
    )


def differentiable_gradients(
    value: Tensor, tensors: Sequence[Tensor | None], needed: Sequence[bool], gradient: Tensor
) -> list[Tensor | None]:
    """Give the gradients of a composition by those of its tensors that need one; they can be differentiated again."""
    wanted = [t for t, need in zip(tensors, needed, strict=False) if need and t is not None]
    found = iter(torch.autograd.grad(value, wanted, gradient, create_graph=True))
    return [next(found) if need else None for need in needed[: len(tensors)]]


@torch.library.custom_op("physicsnemo_fs::spectral_epilogue", mutates_args=())
def spectral_epilogue(
    coefficients: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
    height: int,
    width: int,
    m1: int,
    m2: int,
    transform: str,
    dtype: torch.dtype,
) -> Tensor:
    """Kept modes [2*m1*m2, batch, channel, 2] to the layer's values [batch, channel, H, W], by Triton."""
    from . import triton_kernels as kernels

    affine = affine_rows(coefficients, bias, scale, shift)
    exact = transform == "triton_exact"
    return kernels.layer(coefficients, skip, affine, activation, height, width, m1, m2, dtype, exact)


@torch.library.custom_op("physicsnemo_fs::spectral_epilogue_backward", mutates_args=())
def spectral_epilogue_backward(
    gradient: Tensor,
    coefficients: Tensor,
    skip: Tensor | None,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
    m1: int,
    m2: int,
    transform: str,
) -> tuple[Tensor, Tensor]:
    """Give the gradient of what is activated, before scale and shift, and the sums over the grid [2, batch, channel].

    The sums are those of the gradient after the modulation, and of that times the value before it.
    """
    from . import triton_kernels as kernels

    affine = affine_rows(coefficients, bias, scale, shift)
    exact = transform == "triton_exact"
    return kernels.layer_backward(gradient, coefficients, skip, affine, activation, m1, m2, exact)


@spectral_epilogue.register_fake
def _(coefficients, skip, bias, scale, shift, activation, height, width, m1, m2, transform, dtype):
    return coefficients.new_empty(coefficients.shape[1], coefficients.shape[2], height, width, dtype=dtype)


@spectral_epilogue_backward.register_fake
def _(gradient, coefficients, skip, bias, scale, shift, activation, m1, m2, transform):
    return gradient.new_empty(gradient.shape), gradient.new_empty(2, *gradient.shape[:2], dtype=torch.float32)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:5])
    ctx.activation, *ctx.size, m1, m2, ctx.transform, ctx.dtype = inputs[5:]
    ctx.modes = m1, m2


def _backward(ctx, gradient):
    coefficients, skip, bias, scale, shift = ctx.saved_tensors
    if torch.is_grad_enabled():  # somebody will differentiate this gradient
        return *_composition_gradients(ctx, gradient), *[None] * 7
    settings = (ctx.activation, *ctx.modes, ctx.transform)
    inner, (total, moment) = spectral_epilogue_backward(gradient, coefficients, skip, bias, scale, shift, *settings)
    return (
        spectral_analysis(inner, *ctx.modes, ctx.transform) if ctx.needs_input_grad[0] else None,
        None if skip is None else inner.to(skip.dtype),
        *affine_gradients(total, moment, bias, scale, shift),
        *[None] * 7,
    )


def _composition_gradients(ctx, gradient):
    coefficients, skip, bias, scale, shift = ctx.saved_tensors
    image = spectral_synthesis(coefficients, *ctx.size, *ctx.modes, ctx.transform, torch.float32)
    value = follow(image, skip, bias, scale, shift, ctx.activation).to(ctx.dtype)
    return differentiable_gradients(value, ctx.saved_tensors, ctx.needs_input_grad, gradient)


spectral_epilogue.register_autograd(_backward, setup_context=_save)
