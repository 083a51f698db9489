# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Grid values to kept modes, in one kernel; the package's docstring has the mathematics."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .configs import tile_config
from .launch import Problem, cut_tile, launch
from .pairs import column_constants, kept_pairs, power_of_two, store_pairs


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
    WEIGHTED: tl.constexpr,
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
                scale, inverse = power_of_two(tl.max(tl.abs(tile), 1))
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
            scale, inverse = power_of_two(largest)
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

    if WEIGHTED:
        constant = tl.broadcast_to(column_constants(k2, height, width)[None, :], (PLANES, COLUMNS))
        constant = tl.reshape(constant, (1, PLANES * COLUMNS))
        even_real, even_imaginary = even_real * constant, even_imaginary * constant
        odd_real, odd_imaginary = odd_real * constant, odd_imaginary * constant
    keep = kept_pairs(j, k2, plane, m1, m2, planes, ROWS, COLUMNS, PLANES)
    real, imaginary = even_real + odd_imaginary, even_imaginary - odd_real
    store_pairs(y, real, imaginary, j, k2, plane, m2, planes, keep, ROWS, COLUMNS, PLANES)
    real, imaginary = even_real - odd_imaginary, even_imaginary + odd_real
    store_pairs(y, real, imaginary, 2 * m1 - 1 - j, k2, plane, m2, planes, keep, ROWS, COLUMNS, PLANES)


def analysis(x: Tensor, m1: int, m2: int, weighted: bool = False, exact: bool = False) -> Tensor:
    """Give the float32 coefficients of :func:`..pruned_fft.analysis`, ``x`` float32, bfloat16 or float16.

    Args:
        x: Grid values [batch, channel, H, W].
        m1: Half of the kept rows.
        m2: The kept columns of the real-FFT half.
        weighted: Multiply by the constants of the columns, c / (H W).
        exact: Multiply float32 operands in float32 instead of TF32.
    """
    batch, channel, height, width = x.shape
    x = x.contiguous()
    y = torch.empty(2 * m1 * m2, batch, channel, 2, dtype=torch.float32, device=x.device)
    planes = batch * channel
    if planes == 0:
        return y
    problem = Problem(planes, height, width, m1, m2)
    config = tile_config("analysis", x.dtype, exact, x.device)
    tile = cut_tile(config, problem)
    constants = tile | {"WEIGHTED": weighted}
    grid = (
        triton.cdiv(planes, tile["PLANES"]),
        triton.cdiv(m1, tile["ROWS"]),
        triton.cdiv(m2, tile["COLUMNS"]),
    )
    launch(_analysis_kernel, grid, x, (y,), problem, constants, config, x.dtype, exact)
    return y
