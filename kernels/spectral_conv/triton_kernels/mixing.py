# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One complex matrix product per mode, with either factor conjugate-transposed: the mixing and its two adjoints.

Matrices are ``[mode, row, column, 2]`` in float32, as they lie in memory. The sum over the inner axis runs inside one
program, in order: no atomics, the same bits every time.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .configs import product_config
from .launch import precision


@triton.jit
def _load_matrix(start, row, column0, rows, columns, COLUMNS: tl.constexpr):
    """Load the real and imaginary parts of a tile of a row-major [rows, columns, 2]."""
    part = 2 * column0 + tl.arange(0, 2 * COLUMNS)
    keep = (row < rows)[:, None] & (part < 2 * columns)[None, :]
    tile = tl.load(start + row[:, None] * (2 * columns) + part[None, :], keep, 0.0)
    return tl.split(tl.reshape(tile, (row.shape[0], COLUMNS, 2)))


@triton.jit
def _product_kernel(
    a,
    b,
    c,
    rows,
    columns,
    inner,
    ADJOINT_A: tl.constexpr,
    ADJOINT_B: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):
    mode = tl.program_id(0).to(tl.int64)
    a += mode * rows * inner * 2
    b += mode * inner * columns * 2
    row0, column0 = tl.program_id(1) * ROWS, tl.program_id(2) * COLUMNS
    row, column = row0 + tl.arange(0, ROWS), column0 + tl.arange(0, COLUMNS)
    real = tl.zeros((ROWS, COLUMNS), tl.float32)
    imaginary = tl.zeros((ROWS, COLUMNS), tl.float32)
    for inner0 in range(0, inner, INNER):
        along = inner0 + tl.arange(0, INNER)
        if ADJOINT_A:
            ar, ai = _load_matrix(a, along, row0, inner, rows, ROWS)
            ar, ai = tl.trans(ar), -tl.trans(ai)
        else:
            ar, ai = _load_matrix(a, row, inner0, rows, inner, INNER)
        if ADJOINT_B:
            br, bi = _load_matrix(b, column, inner0, columns, inner, INNER)
            br, bi = tl.trans(br), -tl.trans(bi)
        else:
            br, bi = _load_matrix(b, along, column0, inner, columns, COLUMNS)
        real = tl.dot(ar, br, real, input_precision=PRECISION)
        real = tl.dot(-ai, bi, real, input_precision=PRECISION)
        imaginary = tl.dot(ar, bi, imaginary, input_precision=PRECISION)
        imaginary = tl.dot(ai, br, imaginary, input_precision=PRECISION)

    part = 2 * column0 + tl.arange(0, 2 * COLUMNS)
    keep = (row < rows)[:, None] & (part < 2 * columns)[None, :]
    target = c + mode * rows * columns * 2 + row[:, None] * (2 * columns) + part[None, :]
    tl.store(target, tl.reshape(tl.join(real, imaginary), (ROWS, 2 * COLUMNS)), keep)


def mix(coefficients: Tensor, weight: Tensor, exact: bool = False) -> Tensor:
    """Give each mode's [batch, in] times its [in, out]."""
    return _product(coefficients, weight, False, False, exact)


def mix_adjoint(gradient: Tensor, weight: Tensor, exact: bool = False) -> Tensor:
    """Give each mode's [batch, out] times the conjugate transpose of its [in, out]."""
    return _product(gradient, weight, False, True, exact)


def mix_weight(coefficients: Tensor, gradient: Tensor, exact: bool = False) -> Tensor:
    """Give the conjugate transpose of each mode's [batch, in] times its [batch, out]."""
    return _product(coefficients, gradient, True, False, exact)


def _product(a: Tensor, b: Tensor, adjoint_a: bool, adjoint_b: bool, exact: bool) -> Tensor:
    a, b = a.contiguous(), b.contiguous()
    rows, inner = (a.shape[2], a.shape[1]) if adjoint_a else a.shape[1:3]
    columns = b.shape[1] if adjoint_b else b.shape[2]
    c = torch.empty(a.shape[0], rows, columns, 2, dtype=torch.float32, device=a.device)
    if c.numel() == 0:
        return c
    config = product_config(exact, a.device)
    tile_rows, tile_columns, tile_inner = (
        max(16, min(triton.next_power_of_2(length), most))
        for length, most in ((rows, config.rows), (columns, config.columns), (inner, config.inner))
    )
    with torch.cuda.device_of(a):
        _product_kernel[(a.shape[0], triton.cdiv(rows, tile_rows), triton.cdiv(columns, tile_columns))](
            a,
            b,
            c,
            rows,
            columns,
            inner,
            ADJOINT_A=adjoint_a,
            ADJOINT_B=adjoint_b,
            ROWS=tile_rows,
            COLUMNS=tile_columns,
            INNER=tile_inner,
            PRECISION=precision(exact),
            num_warps=config.num_warps,
            num_stages=config.num_stages,
            enable_fp_fusion=True,
        )
    return c
