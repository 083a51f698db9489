# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Activations and their derivatives, of float32 values; "none" is the identity."""

import triton
import triton.language as tl


@triton.jit
def activate(value, ACTIVATION: tl.constexpr):
    """Give the activated values."""
    if ACTIVATION == "silu":
        return value * tl.sigmoid(value)
    elif ACTIVATION == "gelu":  # noqa: RET505 - a second return of the same level is not compiled
        return 0.5 * value * (1 + tl.math.erf(value * 0.7071067811865476))
    else:
        return value


@triton.jit
def slope(value, ACTIVATION: tl.constexpr):
    """Give the derivative of the activation."""
    if ACTIVATION == "silu":
        gate = tl.sigmoid(value)
        return gate * (1 + value * (1 - gate))
    elif ACTIVATION == "gelu":  # noqa: RET505
        density = 0.3989422804014327 * tl.exp(-0.5 * value * value)
        return 0.5 * (1 + tl.math.erf(value * 0.7071067811865476)) + value * density
    else:
        return tl.full(value.shape, 1.0, tl.float32)
