# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Triton kernels of the spectral convolution. Import this package only where Triton is installed.

The transforms are two matrix products each, one along the width and one along the height, in one kernel. The kept
rows :math:`0..m_1-1, -m_1..-1` are the pairs :math:`\pm(j + \frac12) - \frac12`, so that multiplying by
:math:`e^{\pm i\pi h/H}` leaves conjugate pairs and the products along the height halve.

A program holds ``PLANES`` images side by side: the product along the width has one row per (h, plane) and the product
along the height one column per (plane, k2), the same numbers in the same order.
"""

import triton
import triton.language as tl

from .analysis import analysis
from .concatenated import concatenated, concatenated_layer, concatenated_layer_backward
from .mixing import _product_kernel, mix, mix_adjoint, mix_weight
from .synthesis import layer, layer_backward, synthesis

# TRITON_INTERPRET acts where functions are decorated: Triton's own, then these
INTERPRETED = not any(isinstance(function, triton.JITFunction) for function in (tl.max, _product_kernel))

__all__ = [
    "INTERPRETED",
    "analysis",
    "concatenated",
    "concatenated_layer",
    "concatenated_layer_backward",
    "layer",
    "layer_backward",
    "mix",
    "mix_adjoint",
    "mix_weight",
    "synthesis",
]
