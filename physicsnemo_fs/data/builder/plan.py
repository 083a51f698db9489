# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a build will make: regions, times with their splits and coarse partners, pieces of work, sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from physicsnemo_fs.data.builder.frames import geographic, require_same_place, same_frame
from physicsnemo_fs.data.builder.geometry import Window, covering_window, goes_round, turned
from physicsnemo_fs.data.builder.places import Place, Region, place_regions
from physicsnemo_fs.data.builder.regrid import Method
from physicsnemo_fs.data.fields.origins import named_files
from physicsnemo_fs.data.splits import (
    LABELS,
    NO_GAP,
    UNUSED,
    block_numbers,
    require_fixed,
    split_by_blocks,
    split_by_periods,
)
from physicsnemo_fs.data.statistics import Normalisation, parse_normalisations
from physicsnemo_fs.data.store_layout import PARTS, Part
from physicsnemo_fs.data.types import Channel, Fields, Grid
from physicsnemo_fs.data.vocabulary import same_unit
from physicsnemo_fs.errors import InputError

PIECE_BYTES = 64 * 2**20
MOST_TIMES = 32
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class TimeSplits:
    """How times are shared out.

    Args:
        block: Length of the blocks of time; whole blocks are held out.
        validation: Share of the blocks for validation.
        test: Share of the blocks for testing.
        gap: Least distance in time between splits.
        periods: Pairs ``[start, end]`` of each split, in place of the shares.
    """

    block: np.timedelta64 = DAY
    validation: float = 0.0
    test: float = 0.0
    gap: np.timedelta64 = NO_GAP
    periods: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)

    def labels(self, times: np.ndarray) -> UInt8[np.ndarray, " time"]:
        """Give the label of each time; all are for training if nothing is held out."""
        if self.periods:
            return split_by_periods(times, self.periods, self.gap)
        return split_by_blocks(times, self.block, self.validation, self.test, self.gap)


@dataclass(frozen=True)
class Recipe:
    """What to make of the sources.

    Args:
        factor: Fine cells along each side of a coarse cell.
        regions: Parts of the domain; none means all of it.
        splits: How times are shared out.
        spacing: Fine spacing in degrees; ``None`` keeps the fine source's cells.
        origin: Latitude and longitude of a corner of a coarse cell, where ``spacing`` is given.
        fine_method: How the fine source is brought to another spacing.
        coarse_method: How a coarse source of its own is brought to the coarse grid.
        invariants_method: How static fields are brought to the fine grid.
        least_valid: Least valid share of a cell; below it the cell is missing.
        tolerance: Most distance in time between a fine field and its coarse partner.
        transforms: Normalisation of each variable, see
            :meth:`physicsnemo_fs.data.statistics.Normalisation.parse`; standard if absent.
    """

    factor: int
    regions: tuple[Region, ...] = ()
    splits: TimeSplits = field(default_factory=TimeSplits)
    spacing: float | None = None
    origin: tuple[float, float] = (0.0, 0.0)
    fine_method: Method = "conservative"
    coarse_method: Method = "conservative"
    invariants_method: Method = "conservative"
    least_valid: float = 0.5
    tolerance: np.timedelta64 = NO_GAP
    transforms: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A recipe applied to its sources.

    Args:
        recipe: The recipe.
        fine: The fine source.
        coarse: The coarse source; ``None`` makes the coarse fields from the fine ones.
        invariants: Static fields, if there are any.
        places: The regions on the grids.
        partners: Position in the coarse source of each time; ``None`` without one.
        coarse_windows: Rows and columns of the coarse source that each region needs.
        invariant_windows: The same of the static fields.
        labels: Split of each region's samples: 0, 1, 2 or 255.
        blocks: Number of the block of time of each time.
    """

    recipe: Recipe
    fine: Fields
    coarse: Fields | None
    invariants: Fields | None
    places: tuple[Place, ...]
    partners: Int64[np.ndarray, " time"] | None
    coarse_windows: tuple[Window, ...]
    invariant_windows: tuple[Window, ...]
    labels: UInt8[np.ndarray, "region time"]
    blocks: Int64[np.ndarray, " time"]

    @property
    def times(self) -> np.ndarray:
        """Valid times of the store."""
        return self.fine.times

    @property
    def lead_hours(self) -> dict[str, np.ndarray | None]:
        """Lead time of each time, of the fine and of the coarse fields, where their sources have them."""
        fine = self.fine.lead_hours
        if self.coarse is None or self.partners is None:
            return {"fine": fine, "coarse": fine}
        own = self.coarse.lead_hours
        return {"fine": fine, "coarse": None if own is None else np.asarray(own)[self.partners]}

    def light(self) -> "Plan":
        """Give the plan without the latitudes and longitudes that follow from rows and columns."""
        return replace(self, places=tuple(_light(place) for place in self.places))

    def channels(self, part: Part) -> tuple[Channel, ...]:
        """Variables of a part of the store."""
        if part == "invariants":
            return () if self.invariants is None else self.invariants.channels
        return self.fine.channels if part == "fine" or self.coarse is None else self.coarse.channels

    def normalisations(self, part: Part) -> tuple[Normalisation, ...]:
        """How the variables of a part are normalised."""
        channels = self.channels(part)
        declared = {c.name: self.recipe.transforms[c.name] for c in channels if c.name in self.recipe.transforms}
        return parse_normalisations(declared, channels)

    @property
    def pieces(self) -> tuple[range, ...]:
        """Consecutive times that one worker makes at once, the same for any number of workers."""
        frame = 4 * int(np.prod(self.fine.grid.shape)) * len(self.fine.channels)
        length = int(np.clip(PIECE_BYTES // frame, 1, MOST_TIMES))
        return tuple(range(i, min(i + length, len(self.times))) for i in range(0, len(self.times), length))

    def samples(self, split: str) -> int:
        """Give how many pairs of fields a split has, all regions together."""
        return int((self.labels == LABELS[split]).sum())

    def value_bytes(self) -> int:
        """Give the size of all fields before compression."""
        fine = sum(int(np.prod(p.fine.shape)) for p in self.places)
        coarse = sum(int(np.prod(p.coarse.shape)) for p in self.places)
        static = fine * len(self.channels("invariants"))
        moving = fine * len(self.channels("fine")) + coarse * len(self.channels("coarse"))
        return 4 * (moving * len(self.times) + static)


def make_plan(recipe: Recipe, fine: Fields, coarse: Fields | None = None, invariants: Fields | None = None) -> Plan:
    """Apply a recipe to its sources, reading no field.

    Raises:
        InputError: If regions, times, grids or variables do not fit each other.
    """
    if not len(fine.times):
        raise InputError("the fine source must have times: it is static; give static fields as invariants")
    places = place_regions(fine.grid, recipe.regions, recipe.factor, recipe.spacing, recipe.origin)
    partners = None if coarse is None else align_times(fine.times, coarse.times, recipe.tolerance)
    by_time = recipe.splits.labels(fine.times)
    plan = Plan(
        recipe=recipe,
        fine=fine,
        coarse=coarse,
        invariants=invariants,
        places=places,
        partners=partners,
        coarse_windows=tuple(_windows(coarse, [p.coarse for p in places], "coarse", recipe.coarse_method)),
        invariant_windows=tuple(_windows(invariants, [p.fine for p in places], "invariants", recipe.invariants_method)),
        labels=np.stack([_region_labels(by_time, p.region, recipe.splits) for p in places]),
        blocks=block_numbers(fine.times, recipe.splits.block),
    )
    _check_names(plan)
    with named_files(fine=fine, coarse=coarse):
        _check_units(plan)
    return plan


def _light(place: Place) -> Place:
    if not geographic(place.fine):
        return place
    bare = {name: replace(getattr(place, name), latitude=None, longitude=None) for name in ("source", "fine", "coarse")}
    return replace(place, **bare)


def align_times(
    fine: np.ndarray, coarse: np.ndarray, tolerance: np.timedelta64 = NO_GAP
) -> Int64[np.ndarray, " fine_time"]:
    """Give the position of the coarse time nearest to each fine time.

    Args:
        fine: Times, ``datetime64[ns]``.
        coarse: Times, ``datetime64[ns]``, increasing.
        tolerance: Most distance of the two.

    Raises:
        InputError: If a fine time has no partner so near, or the tolerance is of months.

    Example:
        >>> fine = np.array(["2019-01-01T01", "2019-01-01T02"], "datetime64[ns]")
        >>> align_times(fine, fine[1:], np.timedelta64(1, "h")).tolist()
        [0, 0]
    """
    tolerance = require_fixed(tolerance, "coarse.tolerance")
    after = np.searchsorted(coarse, fine).clip(0, max(len(coarse) - 1, 0))
    before = (after - 1).clip(0)
    if len(coarse):
        nearest = np.where(np.abs(coarse[after] - fine) < np.abs(coarse[before] - fine), after, before)
        lonely = np.abs(coarse[nearest] - fine) > tolerance
    else:
        nearest, lonely = after, np.ones(len(fine), bool)
    if lonely.any():
        first = fine[lonely][0]
        there = f"the nearest is {_minute(coarse[nearest[lonely][0]])}" if len(coarse) else "it has no times"
        raise InputError(
            f"every fine time needs a coarse one within {tolerance}: {lonely.sum()} of {len(fine)} have none, first "
            f"{_minute(first)} ({there}); shorten the period or give coarse.tolerance"
        )
    return nearest.astype(np.int64)


def _minute(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]"))


def _region_labels(by_time: np.ndarray, region: Region, splits: TimeSplits) -> UInt8[np.ndarray, " time"]:
    """Give a region's labels: its own split where times are not shared out or agree, else those of the times."""
    if region.split is None:
        return by_time
    own = np.uint8(LABELS[region.split])
    if splits.periods or splits.validation or splits.test:
        return np.where(by_time == own, own, np.uint8(UNUSED)).astype(np.uint8)
    return np.full(len(by_time), own, np.uint8)


def _windows(source: Fields | None, grids: Sequence[Grid], name: str, method: Method) -> list[Window]:
    """Give the window of a source that covers each grid; another projection takes the whole source.

    Columns of a source round the globe are counted on beyond its last one.
    """
    if source is None:
        return []
    try:
        with named_files(**{name: source}):
            return [_window(source.grid, grid, method) for grid in grids]
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _window(source: Grid, target: Grid, method: Method) -> Window:
    if same_frame(source, target):
        source = turned(source, target)
        window = covering_window(source, target)
        require_same_place(target, source)
        return window
    if not geographic(source) or target.latitude is None:
        raise InputError(
            "a source on another projection than the fine one must have rows of latitude and columns of longitude; "
            "regrid it to those first"
        )
    if method != "bilinear":
        raise InputError(f"to another projection only bilinear is possible: the method is {method}; choose bilinear")
    return slice(0, source.shape[0]), slice(0, source.shape[1] + int(goes_round(source)))


def _check_units(plan: Plan) -> None:
    """Refuse a variable that is coarse in one unit and fine in another: networks add to the interpolated input."""
    fine = {channel.name: channel.unit for channel in plan.channels("fine")}
    for channel in plan.channels("coarse"):
        unit = fine.get(channel.name, channel.unit)
        if same_unit(channel.unit) != same_unit(unit):
            part, said = ("coarse", unit) if channel.unit == "1" else ("fine", channel.unit)
            raise InputError(
                f"coarse and fine {channel.name!r} must have one unit: got {channel.unit!r} and {unit!r}; convert one, "
                f"say it by {part}.variables=[{{name: {channel.name}, unit: {said}}}] if the file does not, or "
                f"rename it by coarse.variables=[{channel.name}_coarse={channel.name}]"
            )


def _check_names(plan: Plan) -> None:
    reserved = {"time", "y", "x", "latitude", "longitude", "lead_hours", "crs"}
    known = set()
    for part in PARTS:
        names = [c.name for c in plan.channels(part)]
        plan.normalisations(part)
        known |= set(names)
        for name in names:
            if "/" in name:
                raise InputError(f"{part} variables need names without a slash: got {name!r}; rename it")
            if name in reserved or names.count(name) > 1:
                raise InputError(f"{part} variables need names of their own: {name!r} is taken; rename it")
    if foreign := sorted(set(plan.recipe.transforms) - known):
        raise InputError(f"transforms must be of variables of the store: got {foreign[0]!r}, there are {sorted(known)}")
