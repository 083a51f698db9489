# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Inverse transform along the width and a pointwise map of grid values, as one matrix product.

For each line of each image, with the rows :math:`T` of :mod:`.rows` (real and imaginary part) and the values
:math:`x` of all channels on the line,

.. math:: u_{ow} = \begin{pmatrix} T^r_{ok} & T^i_{ok} & S_{oc} \end{pmatrix}
    \begin{pmatrix} \cos_{kw} \\ -\sin_{kw} \\ x_{cw} \end{pmatrix},

so that the result of the pointwise map is neither written nor read. The epilogue is that of :mod:`.synthesis`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...triton_activations import activate, slope
from .configs import concatenated_config
from .launch import precision, tile_length
from .pairs import INTERPRETED
from .rows import synthesise_rows
from .synthesis import load_affine
from .tables import tables


@triton.jit
def _concatenated_kernel(
    rows,
    inverses,
    columns,
    x,
    factor,
    out,
    affine,
    gradient,
    sums,
    batch,
    channels,
    inner_channels,
    height,
    width,
    tiles,
    column_stride,
    column_sine,
    factor_stride,
    factor_inner_stride,
    CHANNELS: tl.constexpr,
    INNER: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    RESULT: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
):
    RESCALE: tl.constexpr = columns.dtype.element_ty == tl.float16
    image, h = tl.program_id(0) // height, tl.program_id(0) % height
    o = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    w = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    plane = image * channels + o
    row = plane.to(tl.int64) * height + h

    value = tl.zeros((CHANNELS, WIDTH), tl.float32)
    for tile in range(tiles):
        k2 = tile * COLUMNS + tl.arange(0, COLUMNS)
        start = rows + row[:, None] * (2 * tiles * COLUMNS) + k2[None, :]
        real = tl.load(start, (o < channels)[:, None], 0.0)
        imaginary = tl.load(start + tiles * COLUMNS, (o < channels)[:, None], 0.0)
        table = columns + k2[:, None] * column_stride + w[None, :]
        cosine, sine = tl.load(table), tl.load(table + column_sine)
        if RESCALE:
            part = tl.dot(real, cosine)
            part = tl.dot(imaginary, sine, part)
            value += part * tl.load(inverses + row * tiles + tile, o < channels, 0.0)[:, None]
        else:
            value = tl.dot(real, cosine, value, input_precision=PRECISION)
            value = tl.dot(imaginary, sine, value, input_precision=PRECISION)

    for c0 in range(0, inner_channels, INNER):
        c = c0 + tl.arange(0, INNER)
        keep = (o < channels)[:, None] & (c < inner_channels)[None, :]
        matrix = tl.load(factor + o[:, None] * factor_stride + c[None, :] * factor_inner_stride, keep, 0.0)
        pixel = (((image * inner_channels + c).to(tl.int64) * height + h) * width)[:, None] + w[None, :]
        source = tl.load(x + pixel, (c < inner_channels)[:, None] & (w < width)[None, :], 0.0)
        if INTERPRETED:  # Triton's interpreter multiplies the bits of bfloat16
            matrix, source = matrix.to(tl.float32), source.to(tl.float32)
        value = tl.dot(matrix, source, value, input_precision=PRECISION)

    pixel = (row * width)[:, None] + w[None, :]
    keep = (o < channels)[:, None] & (w < width)[None, :]
    if RESULT != "image":
        bias, gain, shift = load_affine(affine, plane, batch * channels, o < channels)
        value += bias
        modulated = value * gain + shift
        if RESULT == "layer":
            value = activate(modulated, ACTIVATION)
        else:
            inner = tl.load(gradient + pixel, keep, 0.0).to(tl.float32) * slope(modulated, ACTIVATION)
            block = (h * tl.num_programs(2) + tl.program_id(2)).to(tl.int64)
            target = sums + block * 2 * batch * channels + plane
            tl.store(target, tl.sum(inner, 1), o < channels)
            tl.store(target + batch * channels, tl.sum(inner * value, 1), o < channels)
            value = inner * gain
    tl.store(out + pixel, value.to(out.dtype.element_ty), keep)


def concatenated(
    coefficients: Tensor, x: Tensor, factor: Tensor, m1: int, m2: int, weighted: bool = False, exact: bool = False
) -> Tensor:
    """Give the grid values of :func:`.synthesis.synthesis` plus ``factor`` times ``x`` at every point.

    Args:
        coefficients: Kept modes [2*m1*m2, batch, channel, 2].
        x: Grid values [batch, inner_channel, H, W], float32, bfloat16 or float16, as the result will be.
        factor: Matrix [channel, inner_channel] in any memory order.
        m1: Half of the kept rows.
        m2: The kept columns of the real-FFT half.
        weighted: Multiply the coefficients by the constants of the columns, c / (H W), first.
        exact: Multiply float32 operands in float32 instead of TF32.
    """
    return _run("image", coefficients, x, factor, m1, m2, exact, weighted=weighted)[0]


def concatenated_layer(
    coefficients: Tensor,
    x: Tensor,
    factor: Tensor,
    affine: Tensor,
    activation: str,
    m1: int,
    m2: int,
    exact: bool = False,
) -> Tensor:
    """Give the activated values; ``affine`` [3, batch, channel] is bias, 1 + scale and shift."""
    return _run("layer", coefficients, x, factor, m1, m2, exact, affine, activation)[0]


def concatenated_layer_backward(
    gradient: Tensor,
    coefficients: Tensor,
    x: Tensor,
    factor: Tensor,
    affine: Tensor,
    activation: str,
    m1: int,
    m2: int,
    exact: bool = False,
) -> tuple[Tensor, Tensor]:
    """Give the gradient by the values before the modulation, and the two sums of :func:`.synthesis.layer_backward`."""
    out, sums = _run("gradient", coefficients, x, factor, m1, m2, exact, affine, activation, gradient.contiguous())
    return out, sums.sum(0)


def _run(
    result: str,
    coefficients: Tensor,
    x: Tensor,
    factor: Tensor,
    m1: int,
    m2: int,
    exact: bool,
    affine: Tensor | None = None,
    activation: str = "none",
    gradient: Tensor | None = None,
    weighted: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run one program for each line, block of channels and block of its width; give the values and the blocks' sums."""
    x, factor = x.contiguous(), factor.to(x.dtype)
    batch, inner_channels, height, width = x.shape
    channels = coefficients.shape[2]
    config = concatenated_config(x.dtype, exact, x.device)
    CHANNELS, INNER, WIDTH = (
        min(tile_length(length), most)
        for length, most in zip((channels, inner_channels, width), config[:3], strict=True)
    )
    blocks = height * triton.cdiv(width, WIDTH) if result == "gradient" else 0
    out = torch.empty(batch, channels, height, width, dtype=x.dtype, device=x.device)
    sums = torch.empty(blocks, 2, batch, channels, dtype=torch.float32, device=x.device)
    if out.numel() == 0:
        return out, sums
    rows, inverses = synthesise_rows(coefficients, height, width, m1, m2, x.dtype, weighted, exact)
    tiles = inverses.shape[-1]
    columns = tables(height, width, m1, m2, rows.dtype, x.device).columns
    with torch.cuda.device_of(x):
        _concatenated_kernel[(batch * height, triton.cdiv(channels, CHANNELS), triton.cdiv(width, WIDTH))](
            rows,
            inverses,
            columns,
            x,
            factor,
            out,
            out if affine is None else affine,
            out if gradient is None else gradient,
            sums,
            batch,
            channels,
            inner_channels,
            height,
            width,
            tiles,
            columns.stride(1),
            columns.stride(0),
            *factor.stride(),
            CHANNELS=CHANNELS,
            INNER=INNER,
            WIDTH=WIDTH,
            COLUMNS=rows.shape[-1] // tiles,
            RESULT=result,
            ACTIVATION=activation,
            PRECISION=precision(exact),
            num_warps=config.num_warps,
            num_stages=config.num_stages,
            enable_fp_fusion=True,
        )
    return out, sums
