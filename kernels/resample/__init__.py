# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Exact Fourier resampling between periodic grids: one function, several backends."""

from .matrix import apply_along_axes
from .op import MATRIX_LIMIT, fourier_resample

__all__ = ["MATRIX_LIMIT", "apply_along_axes", "fourier_resample"]
