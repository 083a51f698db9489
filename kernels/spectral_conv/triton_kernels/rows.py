# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The first step of the synthesis, along the height: as a part of kernels, and as a kernel that stores its result.

The package's docstring has the mathematics. Stored rows are ``[batch, channel, H, 2, k2]``, k2 padded to whole tiles:
the right order for a matrix product along the width. With 16-bit grid values they are float16, each row of a tile
multiplied by a power of two whose inverse is stored beside it.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .configs import tile_config
from .launch import Problem, cut_tile, launch
from .pairs import column_constants, kept_pairs, load_pairs, power_of_two


@triton.jit
def row_synthesis(
    z,
    rows,
    twiddle,
    h,
    k2,
    plane,
    planes,
    height,
    width,
    m1,
    m2,
    row_stride,
    row_sine,
    HEIGHT: tl.constexpr,
    PLANES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Give the real and imaginary parts [(h, plane), k2] of the kept columns on the lines ``h``."""
    OPERAND: tl.constexpr = rows.dtype.element_ty
    RESCALE: tl.constexpr = rows.dtype.element_ty == tl.float16
    real = tl.zeros((HEIGHT, PLANES * COLUMNS), tl.float32)
    imaginary = tl.zeros((HEIGHT, PLANES * COLUMNS), tl.float32)
    for j0 in range(0, m1, ROWS):
        j = j0 + tl.arange(0, ROWS)
        keep = kept_pairs(j, k2, plane, m1, m2, planes, ROWS, COLUMNS, PLANES)
        ar, ai = load_pairs(z, j, k2, plane, m2, planes, keep, ROWS, COLUMNS, PLANES)
        br, bi = load_pairs(z, 2 * m1 - 1 - j, k2, plane, m2, planes, keep, ROWS, COLUMNS, PLANES)
        table = rows + j[None, :] * row_stride + h[:, None]
        cosine, sine = tl.load(table), tl.load(table + row_sine)
        if RESCALE:
            largest = tl.max(tl.maximum(tl.abs(ar) + tl.abs(br), tl.abs(ai) + tl.abs(bi)), 0)
            scale, inverse = power_of_two(largest)
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

    turn_cosine, turn_sine = tl.load(twiddle + h)[:, None], tl.load(twiddle + row_stride + h)[:, None]
    turned_real = tl.reshape(real * turn_cosine + imaginary * turn_sine, (HEIGHT * PLANES, COLUMNS))
    turned_imaginary = tl.reshape(imaginary * turn_cosine - real * turn_sine, (HEIGHT * PLANES, COLUMNS))
    if WEIGHTED:
        constant = column_constants(k2, height, width)[None, :]
        turned_real, turned_imaginary = turned_real * constant, turned_imaginary * constant
    return turned_real, turned_imaginary


@triton.jit
def _rows_kernel(
    z,
    columns,
    rows,
    twiddle,
    out,
    inverses,
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
    PLANES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    OPERAND: tl.constexpr = rows.dtype.element_ty
    RESCALE: tl.constexpr = rows.dtype.element_ty == tl.float16
    plane = tl.program_id(0) * PLANES
    h = tl.program_id(1) * HEIGHT + tl.arange(0, HEIGHT)
    tile, tiles = tl.program_id(2), tl.num_programs(2)
    k2 = tile * COLUMNS + tl.arange(0, COLUMNS)
    real, imaginary = row_synthesis(
        z, rows, twiddle, h, k2, plane, planes, height, width, m1, m2, row_stride, row_sine,
        HEIGHT, PLANES, ROWS, COLUMNS, WEIGHTED, PRECISION,
    )  # fmt: skip

    line = tl.arange(0, HEIGHT * PLANES)
    line_h, line_plane = tl.program_id(1) * HEIGHT + line // PLANES, plane + line % PLANES
    row = line_plane.to(tl.int64) * height + line_h
    keep = (line_h < height) & (line_plane < planes)
    if RESCALE:
        scale, inverse = power_of_two(tl.max(tl.maximum(tl.abs(real), tl.abs(imaginary)), 1))
        real, imaginary = real * scale[:, None], imaginary * scale[:, None]
        tl.store(inverses + row * tiles + tile, inverse, keep)
    target = out + row[:, None] * (2 * tiles * COLUMNS) + k2[None, :]
    tl.store(target, real.to(OPERAND), keep[:, None])
    tl.store(target + tiles * COLUMNS, imaginary.to(OPERAND), keep[:, None])


def synthesise_rows(
    coefficients: Tensor,
    height: int,
    width: int,
    m1: int,
    m2: int,
    dtype: torch.dtype,
    weighted: bool = False,
    exact: bool = False,
) -> tuple[Tensor, Tensor]:
    """Give the rows [batch, channel, H, 2, tiles * columns] and their inverse scales [batch, channel, H, tiles].

    The arguments are those of :func:`.synthesis.synthesis`. With float32 grid values there are no scales.
    """
    batch, channel = coefficients.shape[1:3]
    problem = Problem(batch * channel, height, width, m1, m2)
    config = tile_config("synthesis", dtype, exact, coefficients.device)
    tile = cut_tile(config, problem)
    del tile["WIDTH"]
    tiles = triton.cdiv(m2, tile["COLUMNS"])
    operand = torch.float32 if dtype == torch.float32 else torch.float16
    shape, device = (batch, channel, height), coefficients.device
    rows = torch.empty(*shape, 2, tiles * tile["COLUMNS"], dtype=operand, device=device)
    inverses = torch.empty(*shape, tiles, dtype=torch.float32, device=device)
    grid = (triton.cdiv(problem.planes, tile["PLANES"]), triton.cdiv(height, tile["HEIGHT"]), tiles)
    constants = tile | {"WEIGHTED": weighted}
    launch(_rows_kernel, grid, coefficients.contiguous(), (rows, inverses), problem, constants, config, dtype, exact)
    return rows, inverses
