# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Truncated Fourier transforms by FFT, pruned: the second FFT runs on the kept columns only.

Both functions speak of the kept modes :math:`k_1 \in \{0..m_1-1, -m_1..-1\}`,
:math:`k_2 \in \{0..m_2-1\}`, in mode-major memory ``[2*m1*m2, batch, channel, 2]``. A CPU transforms a few planes at a
time, so that what lies between the two FFTs stays in its cache. The values do not depend on how many.
"""

import torch
from torch import Tensor

_BLOCK_BYTES = 2 << 20  # of grid values for each thread, see README.md


def analysis(x: Tensor, m1: int, m2: int) -> Tensor:
    r"""Give :math:`Y_k = \sum_{hw} x_{hw} e^{-2\pi i (k_1 h/H + k_2 w/W)}`, ``x`` [batch, channel, H, W]."""
    batch, channel, height, _ = x.shape
    planes = x.flatten(0, 1)
    kept = x.new_empty(batch * channel, 2 * m1, m2, dtype=x.dtype.to_complex())
    block = _planes_at_once(planes)
    for part, modes in zip(planes.split(block), kept.split(block), strict=True):
        spectrum = torch.fft.fft(torch.fft.rfft(part, dim=-1)[..., :m2], dim=-2)
        modes[:, :m1] = spectrum[:, :m1]
        modes[:, m1:] = spectrum[:, height - m1 :]
    mode_major = kept.flatten(1).T.contiguous()
    return torch.view_as_real(mode_major).view(2 * m1 * m2, batch, channel, 2)


def synthesis(coefficients: Tensor, height: int, width: int, m1: int, m2: int) -> Tensor:
    r"""Give :math:`x_{hw} = \mathrm{Re}\sum_k Z_k e^{2\pi i (k_1 h/H + k_2 w/W)}`, its adjoint."""
    batch, channel = coefficients.shape[1:3]
    mode_major = torch.view_as_complex(coefficients.contiguous()).flatten(1)
    # irfft adds the conjugate of every column but the first and the Nyquist column; this sum does not
    count = torch.full((m2,), 0.5, dtype=coefficients.dtype, device=coefficients.device)
    count[0] = 1
    if 2 * (m2 - 1) == width:
        count[-1] = 1
    kept = mode_major.T.contiguous().unflatten(1, (2 * m1, m2)) * count

    planes = coefficients.new_empty(batch * channel, height, width)
    block = _planes_at_once(planes)
    columns = kept.new_zeros(block, m2, height).mT  # in memory the way an FFT along H takes them
    spectrum = kept.new_zeros(block, height, width // 2 + 1)
    for modes, part in zip(kept.split(block), planes.split(block), strict=True):
        n = len(modes)
        columns[:n, :m1] = modes[:, :m1]
        columns[:n, height - m1 :] = modes[:, m1:]
        spectrum[:n, :, :m2] = torch.fft.ifft(columns[:n], dim=-2, norm="forward")
        torch.fft.irfft(spectrum[:n], n=width, dim=-1, norm="forward", out=part)
    return planes.unflatten(0, (batch, channel))


def _planes_at_once(planes: Tensor) -> int:
    count = len(planes)
    if planes.device.type == "cpu":
        bytes_of_one = planes[:1].nbytes or 1
        count = min(count, _BLOCK_BYTES * torch.get_num_threads() // bytes_of_one)
    return max(1, count)
