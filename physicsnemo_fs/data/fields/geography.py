# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Rows and columns in ascending order, whatever the order of the file, and regions of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.errors import InputError

TOLERANCE = 0.01
"""Largest deviation of a coordinate from even spacing, as a share of the spacing."""

BEYOND = 1.5
"""How many cells an edge of a region may lie beyond the outermost centre: one beyond the outermost cell's edge."""


@dataclass(frozen=True)
class Axis:
    """An axis of a field in ascending order.

    Args:
        values: Coordinate at each position, increasing.
        order: Position in the file of each position here: at most a few runs of neighbours.
        runs: Those runs: first position here, first position in the file, length, and direction +1 or -1.
    """

    values: Float[np.ndarray, " n"]
    order: np.ndarray

    @property
    def runs(self) -> list[tuple[int, int, int, int]]:
        """The runs of neighbours in the file."""
        return runs_of(self.order)

    @property
    def spacing(self) -> float:
        """Mean distance between neighbours; 1 for a single one."""
        return float(self.values[-1] - self.values[0]) / (len(self.values) - 1) if len(self.values) > 1 else 1.0

    def part(self, chosen: np.ndarray) -> "Axis":
        """Give some positions of the axis."""
        return Axis(self.values[chosen], self.order[chosen])


def runs_of(order: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Split positions into runs of neighbours: ``(first index, first position, length, direction)``.

    Example:
        >>> runs_of(np.array([3, 4, 5, 0, 1])), runs_of(np.array([2, 1, 0]))
        ([(0, 3, 3, 1), (3, 0, 2, 1)], [(0, 2, 3, -1)])
    """
    runs: list[tuple[int, int, int, int]] = []
    start = 0
    while start < len(order):
        step = int(order[start + 1] - order[start]) if start + 1 < len(order) else 1
        step = step if abs(step) == 1 else 1
        breaks = np.flatnonzero(np.diff(order[start:]) != step)
        length = int(breaks[0]) + 1 if len(breaks) else len(order) - start
        runs.append((start, int(order[start]), length, step))
        start += length
    return runs


def plain_axis(values: np.ndarray, name: str, even: bool = True) -> Axis:
    """Order a coordinate that increases or decreases.

    Raises:
        InputError: If it does neither, or is not evenly spaced though it must be.

    Example:
        >>> axis = plain_axis(np.array([30.0, 20.0, 10.0]), "latitude")
        >>> axis.values.tolist(), axis.runs
        ([10.0, 20.0, 30.0], [(0, 2, 3, -1)])
    """
    values = np.asarray(values, np.float64)
    order = np.arange(len(values))
    if len(values) > 1 and values[0] > values[-1]:
        order = order[::-1]
    axis = Axis(values[order], order)
    _check_steps(axis.values, name, even)
    return axis


def longitude_axis(values: np.ndarray, name: str, region: Sequence[float] | None = None, even: bool = True) -> Axis:
    """Order longitudes from west to east, beginning at the west of the region or after the widest gap.

    The first one is given in [-180, 180), the others increase from it, also across the date line. A full circle begins
    at -180 degrees.

    Args:
        values: Degrees east in any convention.
        name: Of the coordinate, for messages.
        region: ``[south, north, west, east]``.
        even: Whether even spacing is required.

    Raises:
        InputError: If they run both ways, repeat, or are not evenly spaced, or the region leaves them by more than a
            cell.

    Example:
        >>> longitude_axis(np.array([0.0, 90.0, 180.0, 270.0]), "longitude").values.tolist()
        [-180.0, -90.0, 0.0, 90.0]
        >>> longitude_axis(np.array([350.0, 355.0, 0.0, 5.0]), "longitude").values.tolist()
        [-10.0, -5.0, 0.0, 5.0]
    """
    raw = np.asarray(values, np.float64)
    turned = np.mod(raw + 180.0, 360.0) - 180.0
    order = np.argsort(turned, kind="stable")
    circle = turned[order]
    gaps = np.diff(np.append(circle, circle[0] + 360.0)) if len(circle) > 1 else np.array([360.0])
    if gaps.min() < 1e-6:
        raise InputError(
            f"{name} must not repeat, but {circle[int(gaps.argmin())]:g} degrees occurs twice; remove one column"
        )
    widest = int(gaps.argmax())
    if gaps[widest] > 1.5 * np.median(gaps):
        order, circle = np.roll(order, -widest - 1), np.roll(circle, -widest - 1)
    axis = Axis(_unwrapped(circle), order)
    if region is not None:
        axis = _between(axis, region[2], region[3], name)
    _check_steps(axis.values, name, even)
    if len(axis.runs) > 2:
        raise InputError(f"{name} must run one way around the globe, but those of the file do not; sort the file by it")
    return axis


def _between(axis: Axis, west: float, east: float, name: str) -> Axis:
    width = 360.0 if east - west >= 360.0 else np.mod(east - west, 360.0)
    slack = 1e-4 * axis.spacing
    eastward = np.mod(axis.values - west + slack, 360.0) - slack
    chosen = np.flatnonzero(eastward <= width + slack)
    if not len(chosen):
        raise InputError(
            f"region must hold a column: {name} runs from {axis.values[0]:g} to {axis.values[-1]:g}, the region from "
            f"{west:g} to {east:g}; correct region=[south, north, west, east]"
        )
    if not _reaches(axis, west, east):
        raise _beyond(name, (axis.values[0], axis.values[-1]), (west, east))
    chosen = chosen[np.argsort(eastward[chosen], kind="stable")]
    return Axis(_unwrapped(axis.values[chosen]), axis.order[chosen])


def _reaches(axis: Axis, west: float, east: float) -> bool:
    """Say whether longitudes go all the way round, or at least to a cell before both edges of a region."""
    length = axis.values[-1] - axis.values[0]
    if len(axis.values) == 1 or 360.0 - length < BEYOND * axis.spacing:
        return True
    reach = (BEYOND + 1e-4) * axis.spacing
    return east - west < 360.0 and all(
        np.mod(edge - axis.values[0] + reach, 360.0) <= length + 2 * reach for edge in (west, east)
    )


def _unwrapped(longitudes: np.ndarray) -> np.ndarray:
    """Let longitudes increase eastward from the first one, which is taken to [-180, 180)."""
    eastward = np.where(longitudes < longitudes[0], longitudes + 360.0, longitudes)
    return eastward - 360.0 * np.floor((eastward[0] + 180.0) / 360.0)


def rows_between(axis: Axis, south: float, north: float, name: str) -> Axis:
    """Give the rows of an axis within a region.

    Raises:
        InputError: If there are none, or the region leaves the axis by more than a cell.
    """
    slack = 1e-4 * axis.spacing
    chosen = (axis.values >= south - slack) & (axis.values <= north + slack)
    if not chosen.any():
        raise InputError(
            f"region must hold a row: {name} runs from {axis.values[0]:g} to {axis.values[-1]:g}, the region from "
            f"{south:g} to {north:g}; correct region=[south, north, west, east]"
        )
    reach = BEYOND * axis.spacing + slack
    if len(axis.values) > 1 and (south < axis.values[0] - reach or north > axis.values[-1] + reach):
        raise _beyond(name, (axis.values[0], axis.values[-1]), (south, north))
    return axis.part(chosen)


def _beyond(name: str, own: tuple[float, float], asked: tuple[float, float]) -> InputError:
    return InputError(
        f"the region must lie within the data: {name} runs from {own[0]:g} to {own[1]:g}, the region from {asked[0]:g} "
        f"to {asked[1]:g}; correct region=[south, north, west, east] or give files that reach it"
    )


def inside(latitude: np.ndarray, longitude: np.ndarray, region: Sequence[float]) -> np.ndarray:
    """Say which points lie in ``[south, north, west, east]``, its edges included.

    Example:
        >>> inside(np.array([0.0, 5.0]), np.array([-170.0, 170.0]), [-1, 1, 180, 200]).tolist()
        [True, False]
    """
    south, north, west, east = region
    width = 360.0 if east - west >= 360.0 else np.mod(east - west, 360.0)
    return (latitude >= south) & (latitude <= north) & (np.mod(longitude - west, 360.0) <= width)


def box_of(
    latitude: np.ndarray, longitude: np.ndarray, region: Sequence[float]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give the smallest box of rows and columns that holds every point of a region, as two ranges.

    Raises:
        InputError: If no point lies in the region, or it leaves the points by more than a cell.
    """
    found = inside(latitude, longitude, region)
    if not found.any():
        raise InputError(
            f"region must hold a point: latitudes run from {np.nanmin(latitude):g} to {np.nanmax(latitude):g}, "
            f"longitudes from {np.nanmin(longitude):g} to {np.nanmax(longitude):g}; correct the region"
        )
    south, north, west, east = region
    middle = west + (360.0 if east - west >= 360.0 else np.mod(east - west, 360.0)) / 2
    around = middle + np.mod(longitude - middle + 180.0, 360.0) - 180.0
    for name, values, asked in (
        ("latitude", latitude, (south, north)),
        ("longitude", around, (west, 2 * middle - west)),
    ):
        own, reach = (float(np.nanmin(values)), float(np.nanmax(values))), BEYOND * _step(values)
        if asked[0] < own[0] - reach or asked[1] > own[1] + reach:
            raise _beyond(name, own, asked)
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def _step(values: np.ndarray) -> float:
    """Give how far neighbouring points of a curved grid lie apart, along the axis that changes a coordinate more."""
    steps = [np.abs(np.diff(values, axis=axis)) for axis in (0, 1)]
    return max((float(np.nanmedian(step)) for step in steps if step.size), default=0.0)


def _check_steps(values: np.ndarray, name: str, even: bool) -> None:
    if len(values) < 2:
        return
    if not np.isfinite(values).all() or (steps := np.diff(values)).min() <= 0:
        raise InputError(f"{name} must increase or decrease without repetition; sort the file by it")
    expected = values[0] + np.arange(len(values)) * (values[-1] - values[0]) / (len(values) - 1)
    if even and np.abs(values - expected).max() > TOLERANCE * np.median(steps):
        raise InputError(
            f"{name} must be evenly spaced to {TOLERANCE:.0%}, but its steps lie between {steps.min():g} and "
            f"{steps.max():g}; regrid the data with physicsnemo-fs build"
        )
