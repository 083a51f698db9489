# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One member at two resolutions."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.nn.resample import fourier_resample

WINDOWS = 4
"""The magnified window is this fraction of the domain along each axis."""


@dataclass(frozen=True)
class SameSeed:
    """One member at two resolutions.

    Args:
        seed: The member's seed.
        coarse: The member on the smaller grid.
        fine: The member on the larger grid.
        difference: Fine minus coarse on the smaller grid, both in the band that the smaller grid carries.
        coarse_grid: The smaller grid.
        fine_grid: The larger grid.
        window: A part of the domain with strong variation, ``(y0, y1, x0, x1)``.
    """

    seed: int
    coarse: Float[np.ndarray, "coarse_height coarse_width"]
    fine: Float[np.ndarray, "height width"]
    difference: Float[np.ndarray, "coarse_height coarse_width"]
    coarse_grid: Grid
    fine_grid: Grid
    window: tuple[float, float, float, float]


def read_same_seed(coarse: EnsembleFile, fine: EnsembleFile, variable: str, indices: tuple[int, int]) -> SameSeed:
    """Read the first member that two files share, at one time.

    Args:
        coarse: The file on the smaller grid, a torus sampled at nodes.
        fine: The file on the larger grid.
        variable: Name of the variable.
        indices: Position of the time in each file.

    Raises:
        InputError: If they share no seed.
    """
    seeds = [_seeds(file) for file in (coarse, fine)]
    shared = [seed for seed in seeds[0] if seed in seeds[1]]
    if not shared:
        raise InputError(f"{coarse.path.name} and {fine.path.name} must share a member's seed: they share none")
    fields = [
        file.prediction(variable, index)[known.index(shared[0])]
        for file, index, known in zip((coarse, fine), indices, seeds, strict=True)
    ]
    low, high = (fourier_resample(torch.as_tensor(field).double(), coarse.grid.shape) for field in fields)
    return SameSeed(
        seed=shared[0],
        coarse=fields[0],
        fine=fields[1],
        difference=(high - low).numpy(),
        coarse_grid=coarse.grid,
        fine_grid=fine.grid,
        window=busiest_window(fields[1], fine.grid),
    )


def _seeds(file: EnsembleFile) -> list[int]:
    if file.seeds is None:
        raise InputError(f"{file.path.name} must hold its members' seeds: it has none")
    return file.seeds.tolist()


def busiest_window(field: Float[np.ndarray, "height width"], grid: Grid) -> tuple[float, float, float, float]:
    """Give the window ``(y0, y1, x0, x1)`` in which the field varies most, a little away from the edges.

    Example:
        >>> field = np.zeros((8, 8))
        >>> field[5, 2] = 1.0
        >>> busiest_window(field, Grid((8, 8), (1.0, 1.0)))
        (0.5, 0.75, 0.125, 0.375)
    """
    steps = 2 * WINDOWS
    heights, widths = (np.arange(steps + 1) * n // steps for n in grid.shape)
    variance = {
        (i, j): field[heights[i] : heights[i + 2], widths[j] : widths[j + 2]].var()
        for i in range(1, steps - 2)
        for j in range(1, steps - 2)
    }
    row, column = max(variance, key=lambda place: variance[place])
    (y, x), (ly, lx) = grid.origin, grid.extent
    return (
        y + ly * row / steps,
        y + ly * (row + 2) / steps,
        x + lx * column / steps,
        x + lx * (column + 2) / steps,
    )
