# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Resampling as one dense matrix along each axis."""

import math

import torch
from torch import Tensor

from ..constants import constants


def resample(x: Tensor, height: int, width: int, adjoint: bool = False) -> Tensor:
    """Give the values on the new grid, or the adjoint of resampling from that grid to the one of ``x``."""
    (rows_from, rows_to), (columns_from, columns_to) = (
        (new, old) if adjoint else (old, new) for old, new in zip(x.shape[-2:], (height, width), strict=True)
    )
    rows = trigonometric_matrix(rows_from, rows_to, x.dtype, x.device)
    columns = trigonometric_matrix(columns_from, columns_to, x.dtype, x.device)
    if not adjoint:
        return apply_along_axes(rows, columns, x)
    planes = x.reshape(-1, *x.shape[-2:])
    planes = torch.bmm(rows.T.expand(planes.shape[0], -1, -1), planes) @ columns
    return planes.reshape(*x.shape[:-2], height, width)


def apply_along_axes(rows: Tensor, columns: Tensor, x: Tensor) -> Tensor:
    """Give ``rows @ x @ columns.T`` on the last two axes without copies of the constant matrices."""
    lead = x.shape[:-2]
    planes = x.reshape(-1, *x.shape[-2:]) @ columns.T
    return torch.bmm(rows.expand(planes.shape[0], -1, -1), planes).reshape(*lead, rows.shape[0], columns.shape[0])


@constants
def trigonometric_matrix(n_in: int, n_out: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Give the matrix [n_out, n_in] from samples to samples, built in float64."""
    kept = (min(n_in, n_out) - 1) // 2
    wavenumbers = torch.arange(1, kept + 1, dtype=torch.float64, device="cpu")
    target = torch.arange(n_out, dtype=torch.float64, device="cpu") / n_out
    offset = target[:, None] - torch.arange(n_in, dtype=torch.float64, device="cpu") / n_in
    kernel = 1 + 2 * torch.cos(2 * math.pi * offset[..., None] * wavenumbers).sum(-1)
    return (kernel / n_in).to(device=device, dtype=dtype)
