# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Truncated two-dimensional Fourier transforms as matrix products, one kernel each.

The kept rows :math:`0..m_1-1, -m_1..-1` are the pairs :math:`\pm(j + \frac12) - \frac12`, so that multiplying by
:math:`e^{\pm i\pi h/H}` leaves conjugate pairs and the products along the height halve.

A program holds ``PLANES`` images of one row block side by side: the product along the width has one row per (h, plane)
and the product along the height one column per (plane, k2), the same numbers in the same order.

Operands of 16 bits are float16, each row or column of data multiplied by a power of two that brings its largest
magnitude into [1, 2), and its product divided by it in float32. Neither large means nor tiny gradients leave
float16's range.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .configs import TileConfig, tile_config
from .tables import tables

_HALF = (torch.bfloat16, torch.float16)


@triton.jit
def _power_of_two(largest):
    """Give the scale that brings ``largest`` into [1, 2), and its inverse."""
    exponent = (largest.to(tl.int32, bitcast=True) >> 23) & 0xFF
    exponent = tl.minimum(tl.maximum(exponent, 1), 253)
    scale = ((254 - exponent) << 23).to(tl.float32, bitcast=True)
    return scale, (exponent << 23).to(tl.float32, bitcast=True)


@triton.jit
def _pair_offsets(
    row,
    k2,
    plane,
    m2,
    planes,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PLANES: tl.constexpr,
):
    """Give the offsets [(row, k2), (plane, part)] of coefficients [row, k2, plane, part] in memory."""
    mode = (row.to(tl.int64)[:, None] * m2 + k2[None, :]) * (2 * planes)
    part = 2 * plane + tl.arange(0, 2 * PLANES)
    return tl.reshape(mode, (ROWS * COLUMNS,))[:, None] + part[None, :]


@triton.jit
def _load_pairs(
    z,
    row,
    k2,
    plane,
    m2,
    planes,
    keep,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PLANES: tl.constexpr,
):
    """Load the real and imaginary parts [row, (plane, k2)]."""
    tile = tl.load(z + _pair_offsets(row, k2, plane, m2, planes, ROWS, COLUMNS, PLANES), keep, 0.0)
    tile = tl.permute(tl.reshape(tile, (ROWS, COLUMNS, PLANES, 2)), (0, 2, 1, 3))
    return tl.split(tl.reshape(tile, (ROWS, PLANES * COLUMNS, 2)))


@triton.jit
def _store_pairs(
    y,
    real,
    imaginary,
    row,
    k2,
    plane,
    m2,
    planes,
    keep,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PLANES: tl.constexpr,
):
    """Store the real and imaginary parts [row, (plane, k2)]."""
    tile = tl.permute(tl.reshape(tl.join(real, imaginary), (ROWS, PLANES, COLUMNS, 2)), (0, 2, 1, 3))
    tile = tl.reshape(tile, (ROWS * COLUMNS, 2 * PLANES))
    tl.store(y + _pair_offsets(row, k2, plane, m2, planes, ROWS, COLUMNS, PLANES), tile, keep)


@triton.jit
def _kept_pairs(j, k2, plane, m1, m2, planes, ROWS: tl.constexpr, COLUMNS: tl.constexpr, PLANES: tl.constexpr):
    """Tell which of [(row, k2), (plane, part)] exist."""
    mode = tl.reshape((j < m1)[:, None] & (k2 < m2)[None, :], (ROWS * COLUMNS,))
    part = 2 * plane + tl.arange(0, 2 * PLANES)
    return mode[:, None] & (part < 2 * planes)[None, :]


@triton.jit
def _analysis_kernel(
    x,
    columns,
    rows,
    twiddle,
    y,
    planes,
    height,
    width,
    m1,
    m2,
    column_stride,
    row_stride,
    column_sine,
    row_sine,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PLANES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    OPERAND: tl.constexpr = columns.dtype.element_ty
    RESCALE: tl.constexpr = columns.dtype.element_ty == tl.float16
    RESCALE_INPUT: tl.constexpr = x.dtype.element_ty == tl.bfloat16
    plane = tl.program_id(0) * PLANES
    j = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    k2 = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    line = tl.arange(0, HEIGHT * PLANES)

    even_real = tl.zeros((ROWS, PLANES * COLUMNS), tl.float32)
    even_imaginary = tl.zeros((ROWS, PLANES * COLUMNS), tl.float32)
    odd_real = tl.zeros((ROWS, PLANES * COLUMNS), tl.float32)
    odd_imaginary = tl.zeros((ROWS, PLANES * COLUMNS), tl.float32)
    for h0 in range(0, height, HEIGHT):
        line_h, line_plane = h0 + line // PLANES, plane + line % PLANES
        start = (line_plane.to(tl.int64) * height + line_h) * width
        exists = (line_h < height) & (line_plane < planes)
        real = tl.zeros((HEIGHT * PLANES, COLUMNS), tl.float32)
        imaginary = tl.zeros((HEIGHT * PLANES, COLUMNS), tl.float32)
        for w0 in range(0, width, WIDTH):
            w = w0 + tl.arange(0, WIDTH)
            tile = tl.load(x + start[:, None] + w[None, :], exists[:, None] & (w < width)[None, :], 0.0)
            table = columns + k2[None, :] * column_stride + w[:, None]
            cosine, sine = tl.load(table), tl.load(table + column_sine)
            if RESCALE_INPUT:
                tile = tile.to(tl.float32)
                scale, inverse = _power_of_two(tl.max(tl.abs(tile), 1))
                tile = (tile * scale[:, None]).to(OPERAND)
                real += tl.dot(tile, cosine) * inverse[:, None]
                imaginary += tl.dot(tile, sine) * inverse[:, None]
            else:
                tile = tile.to(OPERAND)
                real = tl.dot(tile, cosine, real, input_precision=PRECISION)
                imaginary = tl.dot(tile, sine, imaginary, input_precision=PRECISION)

        turn_cosine, turn_sine = tl.load(twiddle + line_h)[:, None], tl.load(twiddle + row_stride + line_h)[:, None]
        turned_real = tl.reshape(real * turn_cosine - imaginary * turn_sine, (HEIGHT, PLANES * COLUMNS))
        turned_imaginary = tl.reshape(real * turn_sine + imaginary * turn_cosine, (HEIGHT, PLANES * COLUMNS))
        h = h0 + tl.arange(0, HEIGHT)
        table = rows + j[:, None] * row_stride + h[None, :]
        cosine, sine = tl.load(table), tl.load(table + row_sine)
        if RESCALE:
            largest = tl.max(tl.maximum(tl.abs(turned_real), tl.abs(turned_imaginary)), 0)
            scale, inverse = _power_of_two(largest)
            turned_real = (turned_real * scale[None, :]).to(OPERAND)
            turned_imaginary = (turned_imaginary * scale[None, :]).to(OPERAND)
            even_real += tl.dot(cosine, turned_real) * inverse[None, :]
            even_imaginary += tl.dot(cosine, turned_imaginary) * inverse[None, :]
            odd_real += tl.dot(sine, turned_real) * inverse[None, :]
            odd_imaginary += tl.dot(sine, turned_imaginary) * inverse[None, :]
        else:
            even_real = tl.dot(cosine, turned_real, even_real, input_precision=PRECISION)
            even_imaginary = tl.dot(cosine, turned_imaginary, even_imaginary, input_precision=PRECISION)
            odd_real = tl.dot(sine, turned_real, odd_real, input_precision=PRECISION)
            odd_imaginary = tl.dot(sine, turned_imaginary, odd_imaginary, input_precision=PRECISION)

    keep = _kept_pairs(j, k2, plane, m1, m2, planes, ROWS, COLUMNS, PLANES)
    real, imaginary = even_real + odd_imaginary, even_imaginary - odd_real
    _store_pairs(y, real, imaginary, j, k2, plane, m2, planes, keep, ROWS, COLUMNS, PLANES)
    real, imaginary = even_real - odd_imaginary, even_imaginary + odd_real
    _store_pairs(y, real, imaginary, 2 * m1 - 1 - j, k2, plane, m2, planes, keep, ROWS, COLUMNS, PLANES)


@triton.jit
def _synthesis_kernel(
    z,
    columns,
    rows,
    twiddle,
    out,
    planes,
    height,
    width,
    m1,
    m2,
    column_stride,
    row_stride,
    column_sine,
    row_sine,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PLANES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    OPERAND: tl.constexpr = columns.dtype.element_ty
    RESCALE: tl.constexpr = columns.dtype.element_ty == tl.float16
    plane = tl.program_id(0) * PLANES
    h = tl.program_id(1) * HEIGHT + tl.arange(0, HEIGHT)
    w = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    turn_cosine, turn_sine = tl.load(twiddle + h)[:, None], tl.load(twiddle + row_stride + h)[:, None]

    image = tl.zeros((HEIGHT * PLANES, WIDTH), tl.float32)
    for k0 in range(0, m2, COLUMNS):
        k2 = k0 + tl.arange(0, COLUMNS)
        real = tl.zeros((HEIGHT, PLANES * COLUMNS), tl.float32)
        imaginary = tl.zeros((HEIGHT, PLANES * COLUMNS), tl.float32)
        for j0 in range(0, m1, ROWS):
            j = j0 + tl.arange(0, ROWS)
            keep = _kept_pairs(j, k2, plane, m1, m2, planes, ROWS, COLUMNS, PLANES)
            ar, ai = _load_pairs(z, j, k2, plane, m2, planes, keep, ROWS, COLUMNS, PLANES)
            br, bi = _load_pairs(z, 2 * m1 - 1 - j, k2, plane, m2, planes, keep, ROWS, COLUMNS, PLANES)
            table = rows + j[None, :] * row_stride + h[:, None]
            cosine, sine = tl.load(table), tl.load(table + row_sine)
            if RESCALE:
                largest = tl.max(tl.maximum(tl.abs(ar) + tl.abs(br), tl.abs(ai) + tl.abs(bi)), 0)
                scale, inverse = _power_of_two(largest)
                scale, inverse = scale[None, :], inverse[None, :]
                part = tl.dot(cosine, ((ar + br) * scale).to(OPERAND))
                part = tl.dot(sine, ((bi - ai) * scale).to(OPERAND), part)
                real += part * inverse
                part = tl.dot(cosine, ((ai + bi) * scale).to(OPERAND))
                part = tl.dot(sine, ((ar - br) * scale).to(OPERAND), part)
                imaginary += part * inverse
            else:
                real = tl.dot(cosine, ar + br, real, input_precision=PRECISION)
                real = tl.dot(sine, bi - ai, real, input_precision=PRECISION)
                imaginary = tl.dot(cosine, ai + bi, imaginary, input_precision=PRECISION)
                imaginary = tl.dot(sine, ar - br, imaginary, input_precision=PRECISION)

        turned_real = tl.reshape(real * turn_cosine + imaginary * turn_sine, (HEIGHT * PLANES, COLUMNS))
        turned_imaginary = tl.reshape(imaginary * turn_cosine - real * turn_sine, (HEIGHT * PLANES, COLUMNS))
        table = columns + k2[:, None] * column_stride + w[None, :]
        cosine, sine = tl.load(table), tl.load(table + column_sine)
        if RESCALE:
            largest = tl.max(tl.maximum(tl.abs(turned_real), tl.abs(turned_imaginary)), 1)
            scale, inverse = _power_of_two(largest)
            part = tl.dot((turned_real * scale[:, None]).to(OPERAND), cosine)
            part = tl.dot((turned_imaginary * scale[:, None]).to(OPERAND), sine, part)
            image += part * inverse[:, None]
        else:
            image = tl.dot(turned_real, cosine, image, input_precision=PRECISION)
            image = tl.dot(turned_imaginary, sine, image, input_precision=PRECISION)

    line = tl.arange(0, HEIGHT * PLANES)
    line_h, line_plane = tl.program_id(1) * HEIGHT + line // PLANES, plane + line % PLANES
    start = (line_plane.to(tl.int64) * height + line_h) * width
    keep = ((line_h < height) & (line_plane < planes))[:, None] & (w < width)[None, :]
    tl.store(out + start[:, None] + w[None, :], image.to(out.dtype.element_ty), keep)


def analysis(x: Tensor, m1: int, m2: int, exact: bool = False) -> Tensor:
    """Give the float32 coefficients of :func:`..pruned_fft.analysis`, ``x`` float32, bfloat16 or float16.

    Args:
        x: Grid values [batch, channel, H, W].
        m1: Half of the kept rows.
        m2: The kept columns of the real-FFT half.
        exact: Multiply float32 operands in float32 instead of TF32.
    """
    batch, channel, height, width = x.shape
    x = x.contiguous()
    y = torch.empty(2 * m1 * m2, batch, channel, 2, dtype=torch.float32, device=x.device)
    planes = batch * channel
    if planes == 0:
        return y
    config = tile_config("analysis", x.dtype, exact, x.device)
    tile = _tile(config, height, width, m1, m2, planes)
    grid = (
        triton.cdiv(planes, tile["PLANES"]),
        triton.cdiv(m1, tile["ROWS"]),
        triton.cdiv(m2, tile["COLUMNS"]),
    )
    _launch(_analysis_kernel, grid, x, y, (planes, height, width, m1, m2), tile, config, x.dtype, exact)
    return y


def synthesis(
    coefficients: Tensor, height: int, width: int, m1: int, m2: int, dtype: torch.dtype, exact: bool = False
) -> Tensor:
    """Give the grid values of :func:`..pruned_fft.synthesis` in ``dtype``, from float32 coefficients.

    Args:
        coefficients: Kept modes [2*m1*m2, batch, channel, 2].
        height: H of the result.
        width: W of the result.
        m1: Half of the kept rows.
        m2: The kept columns of the real-FFT half.
        dtype: float32, bfloat16 or float16.
        exact: Multiply float32 operands in float32 instead of TF32.
    """
    batch, channel = coefficients.shape[1:3]
    coefficients = coefficients.contiguous()
    out = torch.empty(batch, channel, height, width, dtype=dtype, device=coefficients.device)
    planes = batch * channel
    if planes == 0:
        return out
    config = tile_config("synthesis", dtype, exact, out.device)
    tile = _tile(config, height, width, m1, m2, planes)
    grid = (
        triton.cdiv(planes, tile["PLANES"]),
        triton.cdiv(height, tile["HEIGHT"]),
        triton.cdiv(width, tile["WIDTH"]),
    )
    _launch(_synthesis_kernel, grid, coefficients, out, (planes, height, width, m1, m2), tile, config, dtype, exact)
    return out


def _tile(config: TileConfig, height: int, width: int, m1: int, m2: int, planes: int) -> dict[str, int]:
    """Cut the configured tile down to the problem: the planes share the columns of the product along the height."""
    columns = min(_padded(m2), config.columns)
    per_program = min(config.across // columns, triton.next_power_of_2(planes))
    return {
        "HEIGHT": min(_padded(height), max(16, config.lines // per_program)),
        "WIDTH": min(_padded(width), config.width),
        "PLANES": per_program,
        "ROWS": min(_padded(m1), config.rows),
        "COLUMNS": columns,
    }


def _padded(length: int) -> int:
    """Give the smallest power of two that a matrix product takes."""
    return max(16, triton.next_power_of_2(length))


def _launch(kernel, grid, source, target, sizes, tile, config, dtype, exact):
    _, height, width, m1, m2 = sizes
    operand = torch.float16 if dtype in _HALF else torch.float32
    factors = tables(height, width, m1, m2, operand, source.device)
    strides = (factors.columns.stride(1), factors.rows.stride(1), factors.columns.stride(0), factors.rows.stride(0))
    with torch.cuda.device_of(source):
        kernel[grid](
            source,
            *factors,
            target,
            *sizes,
            *strides,
            **tile,
            PRECISION="ieee" if exact else "tf32",
            num_warps=config.num_warps,
            num_stages=config.num_stages,
            enable_fp_fusion=True,
        )
