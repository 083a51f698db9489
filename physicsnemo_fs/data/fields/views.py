# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Fields seen otherwise: cut, kept in memory, averaged over blocks of cells; and fields that are in memory."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.builder.geometry import coarsened, cut, latlon, row_areas
from physicsnemo_fs.data.builder.regrid import block_average
from physicsnemo_fs.data.types import Channel, Fields, Grid

Window = tuple[slice, slice]


class ArrayFields:
    """Fields held in memory.

    Args:
        values: Physical values.
        times: Valid times, increasing; empty for static fields.
        grid: Their grid.
        channels: The variables.
        lead_hours: Lead time of each time.

    Example:
        >>> fields = ArrayFields.random(("t2m", "tp"), times=3, shape=(4, 6))
        >>> fields.read([2], (slice(0, 2), slice(1, 3))).shape
        (1, 2, 2, 2)
    """

    thread_safe = True

    def __init__(
        self,
        values: Float[np.ndarray, "time channel y x"],
        times: np.ndarray,
        grid: Grid,
        channels: Sequence[Channel],
        lead_hours: np.ndarray | None = None,
    ):
        self.values = np.asarray(values, np.float32)
        self.times, self.grid, self.channels, self.lead_hours = times, grid, tuple(channels), lead_hours

    @classmethod
    def random(cls, names: Sequence[str], times: int, shape: tuple[int, int], seed: int = 0) -> "ArrayFields":
        """Give white noise on cells of one degree, an hour apart, for examples and tests."""
        values = np.random.default_rng(seed).normal(size=(times, len(names), *shape))
        extent = (float(shape[0]), float(shape[1]))
        grid = latlon(Grid(shape, extent, registration="cell", boundary="bounded", unit="degrees"))
        hours = np.datetime64("2020-01-01", "ns") + np.arange(times) * np.timedelta64(1, "h")
        return cls(values, hours, grid, [Channel(name) for name in names])

    def read(self, positions: Sequence[int], window: Window | None = None) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields at some times."""
        rows, columns = window or (slice(None), slice(None))
        return self.values[np.asarray(positions, np.int64)][:, :, rows, columns].copy()


class FieldView:
    """Fields that read others.

    Args:
        source: The fields behind.
    """

    def __init__(self, source: Fields):
        self.source = source
        self.channels: tuple[Channel, ...] = source.channels
        self.times: np.ndarray = source.times
        self.lead_hours: np.ndarray | None = source.lead_hours
        self.thread_safe: bool = getattr(source, "thread_safe", False)
        self.grid = self._find_grid()

    def _find_grid(self) -> Grid:
        return self.source.grid

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "grid"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.grid = self._find_grid()

    def read(self, positions: Sequence[int], window: Window | None = None) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields at some times."""
        return self.source.read(positions, window)


class CachedFields(FieldView):
    """Fields kept in memory as they are read, whole, until a budget is spent.

    What is in memory stays there: a shuffled epoch then hits the same share every time.

    Args:
        source: The fields.
        budget: Most bytes.
    """

    def __init__(self, source: Fields, budget: int):
        super().__init__(source)
        self.capacity = budget // (4 * len(source.channels) * source.grid.shape[0] * source.grid.shape[1])
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in ("_lock", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_lock": threading.Lock(), "_kept": {}})

    def read(self, positions: Sequence[int], window: Window | None = None) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields at some times."""
        wanted = [int(position) for position in positions]
        part = (slice(None), *(window or (slice(None), slice(None))))
        absent = [position for position in dict.fromkeys(wanted) if position not in self._kept]
        kept = absent[: max(0, self.capacity - len(self._kept))]
        if kept:
            whole = self.source.read(kept)
            with self._lock:
                for position, field in zip(kept, whole, strict=True):
                    if len(self._kept) < self.capacity:
                        self._kept[position] = field
        passing = [position for position in absent if position not in self._kept]
        read = dict(zip(passing, self.source.read(passing, window), strict=True)) if passing else {}
        return np.stack([read[p] if p in read else self._kept[p][part] for p in wanted])


class CutFields(FieldView):
    """A part of some fields.

    Args:
        source: The fields.
        window: Rows and columns, with both ends.
    """

    def __init__(self, source: Fields, window: Window):
        self.window = window
        super().__init__(source)

    def _find_grid(self) -> Grid:
        return cut(self.source.grid, self.window)

    def read(self, positions: Sequence[int], window: Window | None = None) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields at some times."""
        if window is None:
            return self.source.read(positions, self.window)
        rows, columns = (
            slice(outer.start + (inner.start or 0), outer.stop if inner.stop is None else outer.start + inner.stop)
            for outer, inner in zip(self.window, window, strict=True)
        )
        return self.source.read(positions, (rows, columns))


class CoarseFields(FieldView):
    """Area-weighted averages of fields over blocks of cells; missing where less than half of a block is known.

    Args:
        source: Fine fields.
        factor: Cells along each side of a block.

    Raises:
        InputError: If the blocks do not fill the grid.
    """

    def __init__(self, source: Fields, factor: int):
        self.factor = factor
        super().__init__(source)
        self._areas = row_areas(source.grid)

    def _find_grid(self) -> Grid:
        return coarsened(self.source.grid, self.factor)

    def read(self, positions: Sequence[int], window: Window | None = None) -> Float[np.ndarray, "time channel y x"]:
        """Give the averages at some times."""
        fine = self.fine_window(window)
        return self.average(self.source.read(positions, fine), fine[0])

    def fine_window(self, window: Window | None) -> Window:
        """Give the fine cells below a window of blocks."""
        whole = tuple(slice(0, size) for size in self.grid.shape)
        rows, columns = (slice(s.start * self.factor, s.stop * self.factor) for s in window or whole)
        return rows, columns

    def average(
        self, fine: Float[np.ndarray, "time channel y x"], rows: slice
    ) -> Float[np.ndarray, "time channel coarse_y coarse_x"]:
        """Average fine fields that were read already, on some of the fine rows."""
        return block_average(fine, self.factor, self._areas[rows])
