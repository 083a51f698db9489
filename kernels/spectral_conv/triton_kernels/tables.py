# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Cosines and sines that the transforms multiply with, built in float64 and padded with zeros to whole tiles."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ...constants import constants

GRID_PAD, MODE_PAD = 128, 64  # every tile divides these, so that no load of a table needs a mask


class Tables(NamedTuple):
    """The three factors of a truncated transform on one grid.

    ``columns`` [2, m2, W] holds cos and -sin of ``2 pi k w / W``; ``rows`` [2, m1, H] holds cos and sin of
    ``2 pi (j + 1/2) h / H``; ``twiddle`` [2, H] holds cos and sin of ``pi h / H`` in float32. All but the first axis
    are padded.
    """

    columns: Tensor
    rows: Tensor
    twiddle: Tensor


@constants
def tables(height: int, width: int, m1: int, m2: int, dtype: torch.dtype, device: torch.device) -> Tables:
    """Give the tables of one grid in the dtype of the matrix products.

    Example:
        >>> tables(8, 8, 2, 3, torch.float32, torch.device("cpu")).columns.shape
        torch.Size([2, 64, 128])
    """
    column_angle = _angles(torch.arange(m2), torch.arange(width), width)
    row_angle = _angles(2 * torch.arange(m1) + 1, torch.arange(height), 2 * height)
    twiddle_angle = torch.arange(height, dtype=torch.float64) * (math.pi / height)
    return Tables(
        _padded(torch.stack([column_angle.cos(), -column_angle.sin()]), MODE_PAD).to(device, dtype),
        _padded(torch.stack([row_angle.cos(), row_angle.sin()]), MODE_PAD).to(device, dtype),
        _padded(torch.stack([twiddle_angle.cos(), twiddle_angle.sin()]), 2).to(device, torch.float32),
    )


def _angles(frequency: Tensor, position: Tensor, period: int) -> Tensor:
    """Give 2 pi f n / period in float64, reduced to one turn while still integers."""
    turns = torch.outer(frequency, position) % period
    return turns.double() * (2 * math.pi / period)


def _padded(table: Tensor, rows: int) -> Tensor:
    pad = (0, -table.shape[-1] % GRID_PAD, 0, -table.shape[-2] % rows)
    return torch.nn.functional.pad(table, pad).contiguous()
