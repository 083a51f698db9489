# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The definition, written with whole FFTs and plain autograd: the oracle of the other backends."""

import torch
from torch import Tensor


def spectral_conv2d(x: Tensor, weight: Tensor, modes: tuple[int, int], out_size: tuple[int, int]) -> Tensor:
    """Compute :func:`physicsnemo_fs.kernels.spectral_conv2d` from ``rfft2``, ``einsum`` and ``irfft2``.

    The arguments are valid and share one dtype (float32 or float64): the public function sees to it.
    """
    m1, m2 = modes
    (height, width), (out_height, out_width) = x.shape[-2:], out_size
    in_channels, out_channels = weight.shape[1:3]

    spectrum = torch.fft.rfft2(x, norm="forward")[..., :m2]
    kept = torch.cat([spectrum[:, :, :m1], spectrum[:, :, height - m1 :]], dim=2)
    kernel = torch.view_as_complex(weight.contiguous().view(2 * m1, m2, in_channels, out_channels, 2))
    mixed = torch.einsum("bixy,xyio->boxy", kept, kernel)
    mixed = mixed * _nyquist_correction(m2, width, out_width, mixed)

    spectrum = mixed.new_zeros(x.shape[0], out_channels, out_height, out_width // 2 + 1)
    spectrum[:, :, :m1, :m2] = mixed[:, :, :m1]
    spectrum[:, :, out_height - m1 :, :m2] = mixed[:, :, m1:]
    return torch.fft.irfft2(spectrum, s=out_size, norm="forward")


def _nyquist_correction(m2: int, width: int, out_width: int, like: Tensor) -> Tensor:
    """Give the factor of each kept column that keeps the input grid's count of its Nyquist column.

    The inverse transform counts a column twice (itself and its conjugate) unless it is the first one or
    the Nyquist column of the *output* grid.
    """
    factor = torch.ones(m2, dtype=like.real.dtype, device=like.device)
    nyquist_of_input, nyquist_of_output = 2 * (m2 - 1) == width, 2 * (m2 - 1) == out_width
    if nyquist_of_input and not nyquist_of_output:
        factor[-1] = 0.5
    if nyquist_of_output and not nyquist_of_input:
        factor[-1] = 2.0
    return factor
