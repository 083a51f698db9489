# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Parts of the kernels: coefficients in memory, and the scaling of 16-bit operands.

Operands of 16 bits are float16, each row or column of data multiplied by a power of two that brings its largest
magnitude into [1, 2), and its product divided by it in float32. Neither large means nor tiny gradients leave
float16's range.
"""

import triton
import triton.language as tl

# TRITON_INTERPRET acts where functions are decorated, Triton's own among them
INTERPRETED = tl.constexpr(not isinstance(tl.max, triton.JITFunction))


@triton.jit
def power_of_two(largest):
    """Give the scale that brings ``largest`` into [1, 2), and its inverse."""
    exponent = (largest.to(tl.int32, bitcast=True) >> 23) & 0xFF
    exponent = tl.minimum(tl.maximum(exponent, 1), 253)
    scale = ((254 - exponent) << 23).to(tl.float32, bitcast=True)
    return scale, (exponent << 23).to(tl.float32, bitcast=True)


@triton.jit
def column_constants(k2, height, width):
    """Give c / (H W), c = 1 for the first and the Nyquist column, else 2."""
    return tl.where((k2 == 0) | (2 * k2 == width), 1.0, 2.0) / (1.0 * height * width)


@triton.jit
def pair_offsets(
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
def load_pairs(
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
    tile = tl.load(z + pair_offsets(row, k2, plane, m2, planes, ROWS, COLUMNS, PLANES), keep, 0.0)
    tile = tl.permute(tl.reshape(tile, (ROWS, COLUMNS, PLANES, 2)), (0, 2, 1, 3))
    return tl.split(tl.reshape(tile, (ROWS, PLANES * COLUMNS, 2)))


@triton.jit
def store_pairs(
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
    tl.store(y + pair_offsets(row, k2, plane, m2, planes, ROWS, COLUMNS, PLANES), tile, keep)


@triton.jit
def kept_pairs(j, k2, plane, m1, m2, planes, ROWS: tl.constexpr, COLUMNS: tl.constexpr, PLANES: tl.constexpr):
    """Tell which of [(row, k2), (plane, part)] exist."""
    mode = tl.reshape((j < m1)[:, None] & (k2 < m2)[None, :], (ROWS * COLUMNS,))
    part = 2 * plane + tl.arange(0, 2 * PLANES)
    return mode[:, None] & (part < 2 * planes)[None, :]
