# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The spectral convolution with what follows it in a neural operator: skip, bias, modulation, activation."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..activations import ACTIVATIONS, require_epilogue
from ..dispatch import triton_transform
from .op import prepare, spectral_conv2d
from .operators import mixed_modes, spectral_analysis, spectral_synthesis


def spectral_layer2d(
    x: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "modes in_channels out_channels 2"],
    modes: tuple[int, int],
    skip: Float[Tensor, "batch out_channels out_height out_width"] | None = None,
    bias: Float[Tensor, " out_channels"] | None = None,
    scale: Float[Tensor, "batch out_channels"] | None = None,
    shift: Float[Tensor, "batch out_channels"] | None = None,
    activation: str = "none",
    out_size: tuple[int, int] | None = None,
    backend: str | None = None,
) -> Float[Tensor, "batch out_channels out_height out_width"]:
    r"""Apply a spectral convolution :math:`K` and what follows it in a layer of a neural operator,

    .. math:: y = \sigma\big((K x + \mathrm{skip} + \mathrm{bias})(1 + \mathrm{scale}) + \mathrm{shift}\big).

    With the backend "triton" everything after the mode mixing is one kernel, which writes the result only, and the
    backward computes the pre-activation again. Elsewhere, and for derivatives of gradients, it is the composition.

    Args:
        x: As in :func:`.spectral_conv2d`, as are ``weight``, ``modes``, ``out_size`` and ``backend``.
        weight: One complex matrix per mode.
        modes: ``(m1, m2)``.
        skip: What is added to the convolution, such as a pointwise map of ``x``.
        bias: One number per channel.
        scale: One number per image and channel (FiLM); None is 0.
        shift: Likewise.
        activation: "none", "silu" or "gelu" (the exact one).
        out_size: The grid of the result.
        backend: One of :func:`.available_backends`.

    Returns:
        The layer's values in the dtype of ``x``.

    Raises:
        ValueError: As in :func:`.spectral_conv2d`; the shapes of what follows disagree with the result; there is no
            such activation.

    Example:
        >>> x, weight = torch.ones(2, 1, 4, 4), torch.tensor([3.0, 0.0]).expand(2, 1, 1, 2)
        >>> spectral_layer2d(x, weight, (1, 1), bias=torch.tensor([-3.0]), shift=torch.ones(2, 1)).mean().item()
        1.0

    Source: Li et al., Fourier Neural Operator, ICLR 2021, equation 2; Perez et al., FiLM, AAAI 2018.
    """
    _check(x, weight, out_size or x.shape[-2:], skip, bias, scale, shift, activation)
    name, x_ready, weight_ready, size = prepare(x, weight, modes, out_size, backend)
    if name == "triton":
        transform = triton_transform(x_ready.dtype)
        with torch.autocast(x.device.type, enabled=False):
            mixed = mixed_modes(x_ready, weight_ready, modes, transform)
            extras = (skip, bias, scale, shift)
            return spectral_epilogue(mixed, *extras, activation, *size, *modes, transform, x.dtype)
    value = spectral_conv2d(x, weight, modes, out_size, name)
    return _follow(value, skip, bias, scale, shift, activation).to(x.dtype)


def _follow(value, skip, bias, scale, shift, activation):
    value = value if skip is None else value + skip
    value = value if bias is None else value + bias[:, None, None]
    value = value if scale is None else value * (1 + scale[..., None, None])
    value = value if shift is None else value + shift[..., None, None]
    return ACTIVATIONS[activation](value)


def _check(x, weight, out_size, skip, bias, scale, shift, activation):
    batch, channels = x.shape[0], weight.shape[-2]
    expected = {
        "skip": (skip, (batch, channels, *out_size)),
        "bias": (bias, (channels,)),
        "scale": (scale, (batch, channels)),
        "shift": (shift, (batch, channels)),
    }
    require_epilogue(expected, activation, "check the weight's channels")


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

    affine = _affine(coefficients, bias, scale, shift)
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

    affine = _affine(coefficients, bias, scale, shift)
    exact = transform == "triton_exact"
    return kernels.layer_backward(gradient, coefficients, skip, affine, activation, m1, m2, exact)


def _affine(coefficients, bias, scale, shift):
    """Give bias, 1 + scale and shift of every plane, [3, batch, channel] in float32."""
    affine = torch.zeros(3, *coefficients.shape[1:3], dtype=torch.float32, device=coefficients.device)
    for row, extra in zip(affine, (bias, scale, shift), strict=True):
        if extra is not None:
            row += extra
    affine[1] += 1
    return affine


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
        return *_gradients_of_composition(ctx, gradient), *[None] * 7
    settings = (ctx.activation, *ctx.modes, ctx.transform)
    inner, (total, moment) = spectral_epilogue_backward(gradient, coefficients, skip, bias, scale, shift, *settings)
    by_bias = (total if scale is None else total * (1 + scale)).sum(0)
    return (
        spectral_analysis(inner, *ctx.modes, ctx.transform) if ctx.needs_input_grad[0] else None,
        None if skip is None else inner.to(skip.dtype),
        None if bias is None else by_bias.to(bias.dtype),
        None if scale is None else moment.to(scale.dtype),
        None if shift is None else total.to(shift.dtype),
        *[None] * 7,
    )


def _gradients_of_composition(ctx, gradient):
    coefficients, skip, bias, scale, shift = ctx.saved_tensors
    image = spectral_synthesis(coefficients, *ctx.size, *ctx.modes, ctx.transform, torch.float32)
    value = _follow(image, skip, bias, scale, shift, ctx.activation).to(ctx.dtype)
    wanted = [t for t, needed in zip(ctx.saved_tensors, ctx.needs_input_grad, strict=False) if needed]
    found = iter(torch.autograd.grad(value, wanted, gradient, create_graph=True))
    return [next(found) if needed else None for needed in ctx.needs_input_grad[:5]]


spectral_epilogue.register_autograd(_backward, setup_context=_save)
