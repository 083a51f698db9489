# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From a problem and a configuration to the launch of a transform."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from .configs import TileConfig
from .tables import tables


class Problem(NamedTuple):
    """The sizes of one transform."""

    planes: int
    height: int
    width: int
    m1: int
    m2: int


def cut_tile(config: TileConfig, problem: Problem) -> dict[str, int]:
    """Cut the configured tile down to the problem: as many planes side by side as fit.

    Example:
        >>> cut_tile(TileConfig(64, 64, 32, 32, 64, 8, 2), Problem(8, 128, 24, 12, 13))
        {'HEIGHT': 16, 'WIDTH': 32, 'PLANES': 4, 'ROWS': 16, 'COLUMNS': 16}
    """
    columns = min(tile_length(problem.m2), config.columns)
    planes = min(config.across // columns, triton.next_power_of_2(problem.planes))
    return {
        "HEIGHT": min(tile_length(problem.height), max(16, config.lines // planes)),
        "WIDTH": min(tile_length(problem.width), config.width),
        "PLANES": planes,
        "ROWS": min(tile_length(problem.m1), config.rows),
        "COLUMNS": columns,
    }


def tile_length(length: int) -> int:
    """Give the smallest power of two that a matrix product takes."""
    return max(16, triton.next_power_of_2(length))


def launch(
    kernel,
    grid: tuple[int, int, int],
    source: Tensor,
    tensors: tuple[Tensor, ...],
    problem: Problem,
    constants: Mapping[str, object],
    config: TileConfig,
    dtype: torch.dtype,
    exact: bool,
) -> None:
    """Run a kernel on ``source``, the tables, ``tensors`` and the sizes."""
    operand = torch.float32 if dtype == torch.float32 else torch.float16
    factors = tables(*problem[1:], operand, source.device)
    strides = (factors.columns.stride(1), factors.rows.stride(1), factors.columns.stride(0), factors.rows.stride(0))
    with torch.cuda.device_of(source):
        kernel[grid](
            source,
            *factors,
            *tensors,
            *problem,
            *strides,
            **constants,
            PRECISION=precision(exact),
            num_warps=config.num_warps,
            num_stages=config.num_stages,
            enable_fp_fusion=True,
        )


def precision(exact: bool) -> str:
    """Give the name of how float32 operands are multiplied."""
    return "ieee" if exact else "tf32"
