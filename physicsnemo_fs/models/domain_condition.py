# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Conditions of a whole domain, given by windows: a field that is there, or what makes it where it is needed."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.nn.windows import Place, WindowGrid, area_matrix


@runtime_checkable
class DomainCondition(Protocol):
    """Conditions of a whole domain, of which windows are asked for."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, channels, height and width of the whole."""
        ...

    def crop(self, windows: WindowGrid, place: Place, samples: slice) -> Float[Tensor, "batch channel height width"]:
        """Give the window at a place, of some samples."""
        ...

    def pooled(self, channels: Sequence[int], cells: tuple[int, int]) -> Float[Tensor, "batch context height width"]:
        """Give some channels averaged over the cells of a grid of the whole domain."""
        ...


class WholeCondition:
    """Conditions that are there as a field.

    Args:
        field: The conditions on the whole domain.
    """

    def __init__(self, field: Float[Tensor, "batch channel height width"]):
        self.field = field

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, channels, height and width."""
        batch, channels, height, width = self.field.shape
        return batch, channels, height, width

    def crop(self, windows: WindowGrid, place: Place, samples: slice) -> Tensor:
        """Give a window."""
        return windows.crop(self.field[samples], place)

    def pooled(self, channels: Sequence[int], cells: tuple[int, int]) -> Tensor:
        """Give averages over cells."""
        rows, columns = (area_matrix(n, m).to(self.field) for n, m in zip(self.shape[2:], cells, strict=True))
        return rows @ self.field[:, list(channels)] @ columns.T
