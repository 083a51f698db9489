# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Truncated Fourier transforms as two matrix products with cosine and sine tables.

The same two functions as in :mod:`.pruned_fft`. Each step computes the kept modes only. With
:math:`C_j = \sum_h X_h \cos(2\pi jh/H)` and :math:`S_j` likewise, row :math:`\pm j` of the spectrum is
:math:`C_j \mp i S_j`, so that the rows cost half of a complex product.
"""

import math

import torch
from torch import Tensor

from ..constants import constants


def analysis(x: Tensor, m1: int, m2: int) -> Tensor:
    """Give the same coefficients as :func:`.pruned_fft.analysis`."""
    batch, channel, height, width = x.shape
    row_table, column_table = _tables(height, width, m1, m2, x.dtype, x.device)
    columns = column_table @ x.reshape(-1, width).T
    rows = row_table @ columns.view(-1, height).T

    real, imaginary = rows.view(2, m1 + 1, 2, m2, batch * channel).unbind(dim=2)
    cosine, sine = torch.complex(real, imaginary)
    nonnegative = torch.sub(cosine[:m1], sine[:m1], alpha=1j)
    negative = torch.add(cosine[1:], sine[1:], alpha=1j).flip(0)
    kept = torch.cat([nonnegative, negative])
    return torch.view_as_real(kept).view(2 * m1 * m2, batch, channel, 2)


def synthesis(coefficients: Tensor, height: int, width: int, m1: int, m2: int) -> Tensor:
    """Give the same grid values as :func:`.pruned_fft.synthesis`."""
    batch, channel = coefficients.shape[1:3]
    row_table, column_table = _tables(height, width, m1, m2, coefficients.dtype, coefficients.device)
    kept = torch.view_as_complex(coefficients.contiguous()).view(2 * m1, m2, batch * channel)
    none = torch.zeros_like(kept[:1])
    plus = torch.cat([kept[:m1], none])
    minus = torch.cat([none, kept[m1:].flip(0)])

    cosine_and_sine = torch.view_as_real(torch.stack([plus + minus, 1j * (plus - minus)]))
    rows = cosine_and_sine.permute(0, 1, 4, 2, 3).reshape(2 * (m1 + 1), -1)
    columns = (rows.T @ row_table).view(2 * m2, -1)
    return (columns.T @ column_table).view(batch, channel, height, width)


@constants
def _tables(
    height: int, width: int, m1: int, m2: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Give (cosine, sine) of the rows [2*(m1+1), H] and (cosine, -sine) of the columns [2*m2, W]."""
    row_angle, column_angle = _angles(m1 + 1, height), _angles(m2, width)
    row_table = torch.cat([row_angle.cos(), row_angle.sin()])
    column_table = torch.cat([column_angle.cos(), -column_angle.sin()])
    return row_table.to(device, dtype), column_table.to(device, dtype)


def _angles(count: int, length: int) -> Tensor:
    """Give the angles 2 pi k n / length in float64, reduced to one turn while still integers."""
    turns = torch.outer(torch.arange(count), torch.arange(length)) % length
    return turns.double() * (2 * math.pi / length)
