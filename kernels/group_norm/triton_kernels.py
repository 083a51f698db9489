# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Forward and backward in one kernel each, one program for every image and group.

A group is a block of memory, seen as [channel, pixel] and cut into tiles. One that fits into a tile is read once, any
other one twice. The mathematics is in :mod:`.operators`. Import only where Triton is installed.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..triton_activations import activate, slope

TILE, PIXELS = 4096, 1024  # the largest tile and its largest number of pixels


@triton.jit
def _offsets(c0, p0, channels, pixels, CHANNELS: tl.constexpr, PIXELS: tl.constexpr):
    """Give the channels of a tile, its offsets in the group, and which of its elements exist."""
    c, p = c0 + tl.arange(0, CHANNELS), p0 + tl.arange(0, PIXELS)
    return c, c[:, None] * pixels + p[None, :], (c < channels)[:, None] & (p < pixels)[None, :]


@triton.jit
def _affine(weight, bias, scale, shift, c, keep, SCALE: tl.constexpr, SHIFT: tl.constexpr):
    """Give gain and offset of every channel of a tile; the pointers are those of this image and group."""
    gain, offset = tl.load(weight + c, keep, 0.0).to(tl.float32), tl.load(bias + c, keep, 0.0).to(tl.float32)
    if SCALE:
        factor = 1 + tl.load(scale + c, keep, 0.0).to(tl.float32)
        gain, offset = gain * factor, offset * factor
    if SHIFT:
        offset += tl.load(shift + c, keep, 0.0).to(tl.float32)
    return gain, offset


@triton.jit
def _moments(tile, keep):
    """Give the number of elements, their mean, and the sum of their squared distances from it."""
    count = tl.sum(keep.to(tl.float32))
    mean = tl.sum(tile) / count
    distance = tl.where(keep, tile - mean, 0.0)
    return count, mean, tl.sum(distance * distance)


@triton.jit
def _forward_kernel(
    x,
    weight,
    bias,
    scale,
    shift,
    out,
    statistics,
    groups,
    channels,
    pixels,
    scale_stride,
    shift_stride,
    eps,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    ONE_TILE: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    image, first = tl.program_id(0) // groups, (tl.program_id(0) % groups) * channels
    start = tl.program_id(0).to(tl.int64) * channels * pixels
    x, out, weight, bias = x + start, out + start, weight + first, bias + first
    scale, shift = scale + image * scale_stride + first, shift + image * shift_stride + first

    count, mean, spread = 0.0, 0.0, 0.0
    if ONE_TILE:
        c, pixel, keep = _offsets(0, 0, channels, pixels, CHANNELS, PIXELS)
        tile = tl.load(x + pixel, keep, 0.0).to(tl.float32)
        count, mean, spread = _moments(tile, keep)
    else:
        for c0 in range(0, channels, CHANNELS):
            for p0 in range(0, pixels, PIXELS):
                c, pixel, keep = _offsets(c0, p0, channels, pixels, CHANNELS, PIXELS)
                tile = tl.load(x + pixel, keep, 0.0).to(tl.float32)
                more, its_mean, its_spread = _moments(tile, keep)
                distance = its_mean - mean
                spread += its_spread + distance * distance * count * more / (count + more)
                mean += distance * more / (count + more)
                count += more
    inverse = 1 / tl.sqrt(spread / count + eps)
    tl.store(statistics + 2 * tl.program_id(0), mean)
    tl.store(statistics + 2 * tl.program_id(0) + 1, inverse)

    if ONE_TILE:
        gain, offset = _affine(weight, bias, scale, shift, c, c < channels, SCALE, SHIFT)
        value = (tile - mean) * inverse * gain[:, None] + offset[:, None]
        tl.store(out + pixel, activate(value, ACTIVATION).to(out.dtype.element_ty), keep)
    else:
        for c0 in range(0, channels, CHANNELS):
            for p0 in range(0, pixels, PIXELS):
                c, pixel, keep = _offsets(c0, p0, channels, pixels, CHANNELS, PIXELS)
                gain, offset = _affine(weight, bias, scale, shift, c, c < channels, SCALE, SHIFT)
                tile = tl.load(x + pixel, keep, 0.0).to(tl.float32)
                value = (tile - mean) * inverse * gain[:, None] + offset[:, None]
                tl.store(out + pixel, activate(value, ACTIVATION).to(out.dtype.element_ty), keep)


@triton.jit
def _slopes(x, gradient, pixel, keep, mean, inverse, gain, offset, ACTIVATION: tl.constexpr):
    """Give the normalised values of a tile and the gradient by what is activated, 0 where nothing is kept."""
    normal = (tl.load(x + pixel, keep, 0.0).to(tl.float32) - mean) * inverse
    inner = tl.load(gradient + pixel, keep, 0.0).to(tl.float32)
    return normal, inner * slope(normal * gain[:, None] + offset[:, None], ACTIVATION)


@triton.jit
def _backward_kernel(
    gradient,
    x,
    statistics,
    weight,
    bias,
    scale,
    shift,
    out,
    totals,
    moments,
    groups,
    channels,
    pixels,
    scale_stride,
    shift_stride,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    ONE_TILE: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    image, first = tl.program_id(0) // groups, (tl.program_id(0) % groups) * channels
    plane = tl.program_id(0).to(tl.int64) * channels
    x, gradient, out = x + plane * pixels, gradient + plane * pixels, out + plane * pixels
    totals, moments, weight, bias = totals + plane, moments + plane, weight + first, bias + first
    scale, shift = scale + image * scale_stride + first, shift + image * shift_stride + first
    mean, inverse = tl.load(statistics + 2 * tl.program_id(0)), tl.load(statistics + 2 * tl.program_id(0) + 1)

    constant, along = 0.0, 0.0
    if ONE_TILE:
        c, pixel, keep = _offsets(0, 0, channels, pixels, CHANNELS, PIXELS)
        gain, offset = _affine(weight, bias, scale, shift, c, c < channels, SCALE, SHIFT)
        normal, inner = _slopes(x, gradient, pixel, keep, mean, inverse, gain, offset, ACTIVATION)
        total, moment = tl.sum(inner, 1), tl.sum(inner * normal, 1)
        tl.store(totals + c, total, c < channels)
        tl.store(moments + c, moment, c < channels)
        constant, along = tl.sum(gain * total), tl.sum(gain * moment)
    else:
        for c0 in range(0, channels, CHANNELS):
            c = c0 + tl.arange(0, CHANNELS)
            gain, offset = _affine(weight, bias, scale, shift, c, c < channels, SCALE, SHIFT)
            total, moment = tl.zeros((CHANNELS,), tl.float32), tl.zeros((CHANNELS,), tl.float32)
            for p0 in range(0, pixels, PIXELS):
                c, pixel, keep = _offsets(c0, p0, channels, pixels, CHANNELS, PIXELS)
                normal, inner = _slopes(x, gradient, pixel, keep, mean, inverse, gain, offset, ACTIVATION)
                total += tl.sum(inner, 1)
                moment += tl.sum(inner * normal, 1)
            tl.store(totals + c, total, c < channels)
            tl.store(moments + c, moment, c < channels)
            constant += tl.sum(gain * total)
            along += tl.sum(gain * moment)
    count = 1.0 * channels * pixels
    constant, along = constant / count, along / count

    if ONE_TILE:
        result = (inner * gain[:, None] - constant - normal * along) * inverse
        tl.store(out + pixel, result.to(out.dtype.element_ty), keep)
    else:
        for c0 in range(0, channels, CHANNELS):
            c = c0 + tl.arange(0, CHANNELS)
            gain, offset = _affine(weight, bias, scale, shift, c, c < channels, SCALE, SHIFT)
            for p0 in range(0, pixels, PIXELS):
                c, pixel, keep = _offsets(c0, p0, channels, pixels, CHANNELS, PIXELS)
                normal, inner = _slopes(x, gradient, pixel, keep, mean, inverse, gain, offset, ACTIVATION)
                result = (inner * gain[:, None] - constant - normal * along) * inverse
                tl.store(out + pixel, result.to(out.dtype.element_ty), keep)


def forward(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Give the activated values in the dtype of ``x`` and (mean, 1/deviation) [batch, groups, 2] in float32."""
    x = x.contiguous()
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    statistics = torch.empty(x.shape[0], groups, 2, dtype=torch.float32, device=x.device)
    _launch(_forward_kernel, (x,), (out, statistics), x, groups, (weight, bias, scale, shift), activation, eps)
    return out, statistics


def backward(
    gradient: Tensor,
    x: Tensor,
    statistics: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
) -> tuple[Tensor, Tensor]:
    """Give the gradient by ``x``, and the sums [2, batch, channel] of the inner gradient and its first moment."""
    x, gradient = x.contiguous(), gradient.contiguous()
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    sums = torch.empty(2, *x.shape[:2], dtype=torch.float32, device=x.device)
    film = (weight, bias, scale, shift)
    _launch(_backward_kernel, (gradient, x, statistics), (out, *sums), x, groups, film, activation)
    return out, sums


def cut_tile(channels: int, pixels: int) -> tuple[int, int]:
    """Give the numbers of channels and pixels of a tile, powers of two.

    Example:
        >>> cut_tile(8, 64 * 64), cut_tile(3, 5 * 5)
        ((4, 1024), (4, 32))
    """
    across = min(triton.next_power_of_2(pixels), PIXELS)
    return min(triton.next_power_of_2(channels), TILE // across), across


def _launch(kernel, sources, results, x, groups, film, activation, *numbers):
    batch, all_channels, height, width = x.shape
    if x.numel() == 0:
        for result in results:
            result.zero_()
        return
    channels, pixels = all_channels // groups, height * width
    weight, bias, scale, shift = (t if t is None or t.stride(-1) == 1 else t.contiguous() for t in film)
    CHANNELS, PIXELS = cut_tile(channels, pixels)
    with torch.cuda.device_of(x):
        kernel[(batch * groups,)](
            *sources,
            weight,
            bias,
            weight if scale is None else scale,
            weight if shift is None else shift,
            *results,
            groups,
            channels,
            pixels,
            0 if scale is None else scale.stride(0),
            0 if shift is None else shift.stride(0),
            *numbers,
            CHANNELS=CHANNELS,
            PIXELS=PIXELS,
            ONE_TILE=channels <= CHANNELS and pixels <= PIXELS,
            SCALE=scale is not None,
            SHIFT=shift is not None,
            ACTIVATION=activation,
            num_warps=max(1, min(8, CHANNELS * PIXELS // 256)),
            enable_fp_fusion=True,
        )
