# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Resampling by a real FFT along each axis: the spectrum is cut or padded."""

import torch
from torch import Tensor


def resample(x: Tensor, height: int, width: int, adjoint: bool = False) -> Tensor:
    """Give the values on the new grid, or the adjoint of resampling from that grid to the one of ``x``."""
    if adjoint:
        return _along_axis(_along_axis(x, height, -2, adjoint), width, -1, adjoint)
    return _along_axis(_along_axis(x, width, -1, adjoint), height, -2, adjoint)


def _along_axis(x: Tensor, n_out: int, dim: int, adjoint: bool) -> Tensor:
    # both divide by the length of the grid that the function came from, which the adjoint goes back to
    norm = "backward" if adjoint else "forward"
    kept = (min(x.shape[dim], n_out) - 1) // 2
    spectrum = torch.fft.rfft(x, dim=dim, norm=norm).narrow(dim, 0, kept + 1)
    return torch.fft.irfft(spectrum, n=n_out, dim=dim, norm=norm)
