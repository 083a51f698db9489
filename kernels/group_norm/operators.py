# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""The fused kernel and its backward as operators.

With the normalised values :math:`\hat x`, :math:`v = g \hat x + o`, the gain :math:`g = w (1 + s)` and
:math:`q = \bar y\,\sigma'(v)`, everything follows from two sums over the grid per image and channel,
:math:`T = \sum q` and :math:`M = \sum q\,\hat x`: the gradients of shift, :math:`T`, of scale, :math:`w M + b T`, of
bias and weight, :math:`\sum_\mathrm{batch} (1 + s) T` and :math:`\sum_\mathrm{batch} (1 + s) M`, and with
:math:`\langle\cdot\rangle` the mean over a group

.. math:: \bar x = \frac{1}{\sqrt{\mathrm{var} + \epsilon}}
    \big(g q - \langle g q \rangle - \hat x \langle g q\,\hat x \rangle\big).
"""

import torch

from .composition import compose

_FORWARD, _BACKWARD = "physicsnemo_fs::group_norm_film", "physicsnemo_fs::group_norm_film_backward"
_FILM = "Tensor weight, Tensor bias, Tensor? scale, Tensor? shift, str activation"
torch.library.define(_FORWARD, f"(Tensor x, int groups, {_FILM}, float eps) -> (Tensor, Tensor)")
torch.library.define(
    _BACKWARD, f"(Tensor gradient, Tensor x, Tensor statistics, int groups, {_FILM}) -> (Tensor, Tensor)"
)
group_norm_film = torch.ops.physicsnemo_fs.group_norm_film.default
group_norm_film_backward = torch.ops.physicsnemo_fs.group_norm_film_backward.default


@torch.library.impl(_FORWARD, ("cpu", "cuda"))
def _(x, groups, weight, bias, scale, shift, activation, eps):
    from . import triton_kernels  # here, so that only its users need Triton

    return triton_kernels.forward(x, groups, weight, bias, scale, shift, activation, eps)


@torch.library.impl(_BACKWARD, ("cpu", "cuda"))
def _(gradient, x, statistics, groups, weight, bias, scale, shift, activation):
    from . import triton_kernels

    return triton_kernels.backward(gradient, x, statistics, groups, weight, bias, scale, shift, activation)


@torch.library.register_fake(_FORWARD)
def _(x, groups, weight, bias, scale, shift, activation, eps):
    return x.new_empty(x.shape), x.new_empty(x.shape[0], groups, 2, dtype=torch.float32)


@torch.library.register_fake(_BACKWARD)
def _(gradient, x, statistics, groups, weight, bias, scale, shift, activation):
    return x.new_empty(x.shape), x.new_empty(2, *x.shape[:2], dtype=torch.float32)


def _save(ctx, inputs, output):
    x, ctx.groups, *film, ctx.activation, ctx.eps = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, *film, output[1])


def _backward(ctx, gradient, _):
    *tensors, statistics = ctx.saved_tensors
    if torch.is_grad_enabled():  # somebody will differentiate this gradient
        by_x, *by_film = _gradients_of_composition(ctx, gradient, tensors)
        return by_x, None, *by_film, None, None
    x, weight, bias, scale, shift = tensors
    by_x, (total, moment) = group_norm_film_backward(
        gradient, x, statistics, ctx.groups, weight, bias, scale, shift, ctx.activation
    )
    gain = 1 if scale is None else 1 + scale.float()
    return (
        by_x,
        None,
        (gain * moment).sum(0).to(weight.dtype),
        (gain * total).sum(0).to(bias.dtype),
        None if scale is None else (weight * moment + bias * total).to(scale.dtype),
        None if shift is None else total.to(shift.dtype),
        None,
        None,
    )


def _gradients_of_composition(ctx, gradient, tensors):
    x, weight, bias, *film = tensors
    scale, shift = (None if t is None else t.float() for t in film)
    value = compose(x.float(), ctx.groups, weight.float(), bias.float(), scale, shift, ctx.activation, ctx.eps)
    needed = [ctx.needs_input_grad[0], *ctx.needs_input_grad[2:6]]
    wanted = [t for t, needs in zip(tensors, needed, strict=True) if needs]
    found = iter(torch.autograd.grad(value.to(x.dtype), wanted, gradient, create_graph=True))
    return [next(found) if needs else None for needs in needed]


torch.library.register_autograd(_FORWARD, _backward, setup_context=_save)
