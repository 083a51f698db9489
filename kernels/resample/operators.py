# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""The linear operator of resampling and its adjoint, closed under differentiation.

With the analysis :math:`A` of the kept modes and their evaluation :math:`A'^\top` on the new grid, resampling is
:math:`A'^\top D A`, where :math:`D` holds the constants :math:`c_k / (HW)` of the old grid. Its adjoint
:math:`A^\top D A'` is the resampling back, times the new number of nodes over the old one.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from . import fft, matrix


@functools.cache
def implementation(transform: str) -> Callable[..., Tensor]:
    """Give the function of "matrix", "fft", "triton" or "triton_exact" (float32 without TF32)."""
    if transform.startswith("triton"):
        from . import truncated_dft  # here, so that only its users need Triton

        return functools.partial(truncated_dft.resample, exact=transform == "triton_exact")
    return {"matrix": matrix, "fft": fft}[transform].resample


_NAME = "physicsnemo_fs::resample"
# not custom_op: its checks of every call cost as much as the resampling of a small grid
torch.library.define(_NAME, "(Tensor x, SymInt height, SymInt width, str transform, bool adjoint=False) -> Tensor")
resample = torch.ops.physicsnemo_fs.resample.default


@torch.library.impl(_NAME, ("cpu", "cuda"))
def _(x, height, width, transform, adjoint=False):
    return implementation(transform)(x, height, width, adjoint).contiguous()


@torch.library.register_fake(_NAME)
def _(x, height, width, transform, adjoint=False):
    return x.new_empty(*x.shape[:-2], height, width)


def _save(ctx, inputs, output):
    x, _, _, ctx.transform, ctx.adjoint = inputs
    ctx.size = x.shape[-2:]


def _backward(ctx, gradient):
    return resample(gradient, *ctx.size, ctx.transform, not ctx.adjoint), *[None] * 4


torch.library.register_autograd(_NAME, _backward, setup_context=_save)


@torch.library.register_vmap(_NAME)
def _(info, in_dims, x, height, width, transform, adjoint=False):
    return resample(x.movedim(in_dims[0], 0), height, width, transform, adjoint), 0


for _device in ("cpu", "cuda"):
    torch.library.register_autocast(_NAME, _device, torch.float32)
