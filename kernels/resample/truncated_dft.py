# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Resampling by the Triton kernels of the spectral convolution. Import only where Triton is installed."""

from torch import Tensor

from ..spectral_conv.triton_kernels import analysis, synthesis


def resample(x: Tensor, height: int, width: int, adjoint: bool, exact: bool) -> Tensor:
    """Give the values on the new grid, or the adjoint of resampling from that grid to the one of ``x``."""
    m1, m2 = ((min(pair) + 1) // 2 for pair in zip(x.shape[-2:], (height, width), strict=True))
    planes = x.reshape(1, -1, *x.shape[-2:])
    coefficients = analysis(planes, m1, m2, weighted=not adjoint, exact=exact)
    coefficients[m1 * m2 : (m1 + 1) * m2] = 0  # row -m1, which the kernels keep without its partner
    image = synthesis(coefficients, height, width, m1, m2, x.dtype, weighted=adjoint, exact=exact)
    return image.reshape(*x.shape[:-2], height, width)
