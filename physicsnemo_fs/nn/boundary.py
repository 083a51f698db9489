# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Periodic extension of bounded domains, so that Fourier operators do not wrap."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

MARGIN = 0.125
"""Margin of the networks here, as a share of the domain."""


def margin(size: int, fraction: float) -> int:
    """Give the number of samples that extend an axis of ``size`` samples by ``fraction`` of its length."""
    return max(2, round(size * fraction))


def _extend_axis(x: Tensor, count: int) -> Tensor:
    tail = x[..., -count:].flip(-1)
    head = x[..., :count].flip(-1)
    position = (torch.arange(count, device=x.device, dtype=x.dtype) + 1) / (count + 1)
    blend = torch.sin(0.5 * math.pi * position) ** 2
    return torch.cat([x, (1 - blend) * tail + blend * head], dim=-1)


def extend(
    x: Float[Tensor, "batch channel height width"], fraction: float
) -> Float[Tensor, "batch channel extended_height extended_width"]:
    """Extend a bounded field to a periodic one: reflections of both ends, blended smoothly across the new margin.

    Args:
        x: Field on a bounded domain.
        fraction: Length of the margin as a share of the domain, the same physical length at every resolution.

    Raises:
        ValueError: If the margin is longer than the domain.

    Example:
        >>> extend(torch.ones(1, 1, 16, 24), 0.125).shape
        torch.Size([1, 1, 18, 27])
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"the margin must be a share in (0, 1] of the domain: got {fraction}")
    rows, columns = (margin(n, fraction) for n in x.shape[-2:])
    wide = _extend_axis(x, columns)
    return _extend_axis(wide.transpose(-1, -2), rows).transpose(-1, -2)


def crop(
    x: Float[Tensor, "batch channel extended_height extended_width"], size: tuple[int, int]
) -> Float[Tensor, "batch channel height width"]:
    """Undo :func:`extend`: keep the first ``size`` samples."""
    return x[..., : size[0], : size[1]]


def _wrap(x: Tensor, width: int) -> Tensor:
    height, length = x.shape[-2:]
    out = x.new_empty(*x.shape[:-2], height + 2 * width, length + 2 * width)
    rows = out[..., width:-width, :]
    rows[..., width:-width] = x
    rows[..., :width] = x[..., -width:]
    rows[..., -width:] = x[..., :width]
    out[..., :width, :] = rows[..., -width:, :]
    out[..., -width:, :] = rows[..., :width, :]
    return out


def _fold(x: Tensor, width: int) -> Tensor:
    rows = x[..., width:-width, :].clone()
    rows[..., -width:, :] += x[..., :width, :]
    rows[..., :width, :] += x[..., -width:, :]
    out = rows[..., width:-width].clone()
    out[..., -width:] += rows[..., :width]
    out[..., :width] += rows[..., -width:]
    return out


class _CircularPad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, width):
        ctx.width = width
        return _wrap(x, width)

    @staticmethod
    def backward(ctx, gradient):
        return _CircularFold.apply(gradient, ctx.width), None


class _CircularFold(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, width):
        ctx.width = width
        return _fold(x, width)

    @staticmethod
    def backward(ctx, gradient):
        return _CircularPad.apply(gradient, ctx.width), None


def circular_pad(
    x: Float[Tensor, "batch channel height width"], width: int
) -> Float[Tensor, "batch channel padded_height padded_width"]:
    """Continue a periodic field by ``width`` samples on every side.

    The same values as torch's circular padding; its gradient is folded in one pass instead of slice by slice.

    Args:
        x: Periodic field.
        width: Samples added on each side, at most the field's shorter side.

    Example:
        >>> circular_pad(torch.arange(4.0).view(1, 1, 1, 4), 1)[0, 0, 1].tolist()
        [3.0, 0.0, 1.0, 2.0, 3.0, 0.0]
    """
    return _CircularPad.apply(x, width)
