# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Truncated Fourier transforms by FFT, pruned: the second FFT runs on the kept columns only.

Both functions speak of the kept modes :math:`k_1 \in \{0..m_1-1, -m_1..-1\}`,
:math:`k_2 \in \{0..m_2-1\}`, in mode-major memory ``[2*m1*m2, batch, channel, 2]``.
"""

import torch
from torch import Tensor


def analysis(x: Tensor, m1: int, m2: int) -> Tensor:
    r"""Give :math:`Y_k = \sum_{hw} x_{hw} e^{-2\pi i (k_1 h/H + k_2 w/W)}`, ``x`` [batch, channel, H, W]."""
    batch, channel, height, _ = x.shape
    columns = torch.fft.rfft(x, dim=-1)[..., :m2]
    spectrum = torch.fft.fft(columns, dim=-2)
    kept = torch.cat([spectrum[:, :, :m1], spectrum[:, :, height - m1 :]], dim=2)
    mode_major = kept.permute(2, 3, 0, 1).contiguous()
    return torch.view_as_real(mode_major).view(2 * m1 * m2, batch, channel, 2)


def synthesis(coefficients: Tensor, height: int, width: int, m1: int, m2: int) -> Tensor:
    r"""Give :math:`x_{hw} = \mathrm{Re}\sum_k Z_k e^{2\pi i (k_1 h/H + k_2 w/W)}`, its adjoint."""
    batch, channel = coefficients.shape[1:3]
    kept = torch.view_as_complex(coefficients.contiguous()).view(2 * m1, m2, batch, channel)
    # irfft adds the conjugate of every column but the first and the Nyquist column; this sum does not
    count = torch.full((m2, 1, 1), 0.5, dtype=coefficients.dtype, device=coefficients.device)
    count[0] = 1
    if 2 * (m2 - 1) == width:
        count[-1] = 1
    kept = (kept * count).permute(2, 3, 0, 1)
    columns = kept.new_zeros(batch, channel, height, m2)
    columns[:, :, :m1] = kept[:, :, :m1]
    columns[:, :, height - m1 :] = kept[:, :, m1:]
    columns = torch.fft.ifft(columns, dim=-2, norm="forward")
    return torch.fft.irfft(columns, n=width, dim=-1, norm="forward")
