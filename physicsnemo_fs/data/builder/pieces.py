# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What one worker does: read a few times, each once for all regions, and write their fields."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.builder.geometry import Window, cut, row_areas, turned
from physicsnemo_fs.data.builder.plan import Plan
from physicsnemo_fs.data.builder.regrid import Method, block_average, regrid
from physicsnemo_fs.data.builder.writing import StoreArrays
from physicsnemo_fs.data.fields.missing import refuse_infinite
from physicsnemo_fs.data.statistics import measure
from physicsnemo_fs.data.store_layout import Part
from physicsnemo_fs.data.types import Fields, Grid


@dataclass(frozen=True)
class Job:
    """All that a worker needs.

    Args:
        store: The store's folder.
        plan: What to make.
    """

    store: Path
    plan: Plan


def make_piece(job: Job, positions: range) -> Float[np.ndarray, "time region channel column"]:
    """Make the fields of some times and give their statistics.

    Returns:
        What :func:`physicsnemo_fs.data.statistics.measure` finds in each field, fine variables first.
    """
    arrays = StoreArrays(job.store)
    return np.stack([_make_time(job.plan, arrays, position) for position in positions])


def _make_time(plan: Plan, arrays: StoreArrays, position: int) -> Float[np.ndarray, "region channel column"]:
    fine_frame = Frame.read(plan.fine, "fine", position, [place.window for place in plan.places])
    coarse_frame = None
    if plan.coarse is not None and plan.partners is not None:
        coarse_frame = Frame.read(plan.coarse, "coarse", int(plan.partners[position]), plan.coarse_windows)
    tables = []
    for number, place in enumerate(plan.places):
        fine = fine_frame.part(place.window)
        if place.regridded:
            fine = regrid(fine, place.source, place.fine, plan.recipe.fine_method, plan.recipe.least_valid)
        if coarse_frame is None:
            coarse = block_average(fine, place.factor, row_areas(place.fine), plan.recipe.least_valid)
        else:
            coarse = coarse_frame.regridded(plan.coarse_windows[number], place.coarse, plan.recipe.coarse_method, plan)
        pieces: dict[Part, np.ndarray] = {"fine": fine, "coarse": coarse}
        for part, fields in pieces.items():
            arrays.fill(place.region.name, part, position, plan.channels(part), fields)
        sample = number * len(plan.times) + position
        tables.append(np.concatenate([measure(f, plan.normalisations(p), sample) for p, f in pieces.items()]))
    return np.stack(tables)


def make_invariants(job: Job) -> Float[np.ndarray, "region channel column"]:
    """Make the static fields of all regions and give their statistics."""
    plan, arrays = job.plan, StoreArrays(job.store)
    assert plan.invariants is not None  # noqa: S101 - asked for only where there are some
    frame = Frame.read(plan.invariants, "invariants", 0, plan.invariant_windows)
    tables = []
    for number, (place, window) in enumerate(zip(plan.places, plan.invariant_windows, strict=True)):
        fields = frame.regridded(window, place.fine, plan.recipe.invariants_method, plan)
        arrays.fill(place.region.name, "invariants", None, plan.invariants.channels, fields)
        tables.append(measure(fields, plan.normalisations("invariants"), number))
    return np.stack(tables)


@dataclass(frozen=True)
class Frame:
    """One time of a source within the smallest window that holds all regions.

    Args:
        grid: Grid of the whole source.
        values: The fields, shape ``(channel, y, x)``.
        held: Their window; columns of a source round the globe are counted on beyond its last one.
    """

    grid: Grid
    values: np.ndarray
    held: Window

    @staticmethod
    def read(fields: Fields, name: str, position: int, windows: Sequence[Window]) -> "Frame":
        """Read a time once for all windows.

        Raises:
            InputError: If a value is infinite.
        """
        rows, columns = (
            slice(min(w[axis].start for w in windows), max(w[axis].stop for w in windows)) for axis in (0, 1)
        )
        parts = [fields.read([position], (rows, part))[0] for part in _around(columns, fields.grid.shape[1])]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        refuse_infinite(fields, values, position, name)
        return Frame(fields.grid, values, (rows, columns))

    def part(self, window: Window) -> Float[np.ndarray, "channel y x"]:
        """Give the fields within a window."""
        rows, columns = (slice(w.start - h.start, w.stop - h.start) for w, h in zip(window, self.held, strict=True))
        return self.values[:, rows, columns]

    def regridded(
        self, window: Window, target: Grid, method: Method, plan: Plan
    ) -> Float[np.ndarray, "channel target_y target_x"]:
        """Give the fields within a window on another grid."""
        source = cut(turned(self.grid, target), window)
        return regrid(self.part(window), source, target, method, plan.recipe.least_valid)


def _around(columns: slice, count: int) -> Iterator[slice]:
    """Split columns that are counted on beyond the last of ``count`` into those that a file has."""
    start = columns.start
    while start < columns.stop:
        first = start % count
        length = min(count - first, columns.stop - start)
        yield slice(first, first + length)
        start += length
