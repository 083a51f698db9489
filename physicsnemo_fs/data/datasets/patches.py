# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Windows of the fine grid that begin and end at coarse cells: drawn at random, or tiling the domain."""

from dataclasses import dataclass, replace

import numpy as np

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.random import derive_key

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Patches:
    """Patches of a domain.

    Args:
        grid: Fine grid of the domain.
        coarse_grid: Coarse grid of the same domain.
        shape: Fine rows and columns of a patch.

    Raises:
        InputError: If a patch is no whole number of coarse cells, or larger than the domain.

    Example:
        >>> fine = Grid((8, 12), (8.0, 12.0), registration="cell", boundary="bounded")
        >>> patches = Patches(fine, fine.at((2, 3)), (4, 8))
        >>> patches.tile(3, 4), patches.fine(patches.tile(3, 4))
        ((slice(1, 2, None), slice(1, 3, None)), (slice(4, 8, None), slice(4, 12, None)))
    """

    grid: Grid
    coarse_grid: Grid
    shape: tuple[int, int]

    def __post_init__(self):
        for axis, name in enumerate(("rows", "columns")):
            size, fine, coarse = self.shape[axis], self.grid.shape[axis], self.coarse_grid.shape[axis]
            if fine % coarse or size % (fine // coarse) or not 1 <= size <= fine:
                raise InputError(
                    f"a patch must hold whole coarse cells and fit the domain: got {size} {name} in {fine} "
                    f"fine and {coarse} coarse ones; change dataset.patch_shape"
                )

    @property
    def factors(self) -> tuple[int, int]:
        """Fine rows and columns of a coarse cell."""
        pairs = zip(self.grid.shape, self.coarse_grid.shape, strict=True)
        rows, columns = (fine // coarse for fine, coarse in pairs)
        return rows, columns

    def _slack(self, axis: int) -> int:
        return self.coarse_grid.shape[axis] - self.shape[axis] // self.factors[axis]

    def _at(self, first: tuple[int, int]) -> Window:
        rows, columns = (slice(first[axis], first[axis] + self.shape[axis] // self.factors[axis]) for axis in (0, 1))
        return rows, columns

    def draw(self, key: int) -> Window:
        """Give the coarse cells of a patch whose place is drawn from a key, every place as likely."""
        draws = np.random.Generator(np.random.Philox(derive_key(key, "patch-location")))
        return self._at((int(draws.integers(self._slack(0) + 1)), int(draws.integers(self._slack(1) + 1))))

    def tile(self, number: int, count: int) -> Window:
        """Give the coarse cells of the ``number``-th of ``count`` patches spread over the tiles of the domain."""
        steps = [-(-self.grid.shape[axis] // self.shape[axis]) for axis in (0, 1)]
        row, column = divmod(number * steps[0] * steps[1] // count % (steps[0] * steps[1]), steps[1])
        places = [index * self._slack(axis) // max(1, steps[axis] - 1) for axis, index in enumerate((row, column))]
        return self._at((places[0], places[1]))

    def fine(self, window: Window) -> Window:
        """Give the fine cells of some coarse ones."""
        rows, columns = (slice(s.start * f, s.stop * f) for s, f in zip(window, self.factors, strict=True))
        return rows, columns

    def grids(self) -> tuple[Grid, Grid]:
        """Give the fine and the coarse grid of a patch, without its place."""
        dy, dx = self.grid.spacing
        extent = (self.shape[0] * dy, self.shape[1] * dx)
        fine = replace(
            self.grid,
            shape=self.shape,
            extent=extent,
            origin=(0.0, 0.0),
            boundary="bounded",
            latitude=None,
            longitude=None,
        )
        coarse = (self.shape[0] // self.factors[0], self.shape[1] // self.factors[1])
        return fine, fine.at(coarse)
