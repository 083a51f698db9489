# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What can be scored: each measure says which sums it takes of a case, and which metrics follow from their means."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.members import MemberSums, member_sums
from physicsnemo_fs.metrics.pooling import pool
from physicsnemo_fs.metrics.statistics import Case, FieldSum, FloatArray, Metric, weighted_sum
from physicsnemo_fs.random import derive_key

Sums = Iterator[tuple[str, FieldSum]]

POOLING = (4, 16, 64)
WINDOWS = (5, 17)


@dataclass(frozen=True)
class Setting:
    """What to measure of a variable, beside what is always measured.

    Args:
        thresholds: Values t of events ``x > t``, in the variable's unit.
        pooling: Sizes of blocks in points for the pooled CRPS.
        windows: Odd sizes of neighbourhoods in points for the fractions skill score.
        edges: Edges of histograms (see :func:`~physicsnemo_fs.metrics.distributions.histogram_edges`).
        extremes: Whether to keep annual maxima.
        flow: Whether the variable is a vorticity whose energy and enstrophy count.
        phases: Whether the variable is a phase in radians.
        map_quantum: What maps of mean scores are whole multiples of (see :mod:`~physicsnemo_fs.metrics.maps`); 0
            keeps no maps.
        patches: Windows that members were made of, as the JSON text of
            :meth:`~physicsnemo_fs.nn.windows.WindowGrid.to_dict`; empty for whole fields.

    Raises:
        InputError: If a size or a threshold is none.
    """

    thresholds: tuple[float, ...] = ()
    pooling: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    edges: tuple[float, ...] = ()
    extremes: bool = False
    flow: bool = False
    phases: bool = False
    map_quantum: float = 0.0
    patches: str = ""

    def __post_init__(self):
        names = [share_text(threshold) for threshold in self.thresholds]
        if not all(np.isfinite(self.thresholds)) or len(set(names)) < len(names):
            raise InputError(
                f"thresholds must be finite and all different: got {list(self.thresholds)}, which are named {names}"
            )
        if any(window < 1 or window % 2 == 0 for window in self.windows):
            raise InputError(f"windows must be odd numbers of points, so that they have a middle: got {self.windows}")
        if any(size < 2 for size in self.pooling):
            raise InputError(f"blocks to pool over must have 2 or more points a side: got {self.pooling}")


@dataclass(frozen=True)
class Area:
    """Points that count, and how much.

    Args:
        name: Name of a part of the domain; empty for all of it.
        mask: True where a point counts; ``None`` for everywhere.
        weights: Weight of each point; ``None`` for one each.
    """

    name: str = ""
    mask: Bool[np.ndarray, "height width"] | None = field(default=None, compare=False, repr=False)
    weights: Float[np.ndarray, "height width"] | None = field(default=None, compare=False, repr=False)

    def sum(self, values: Float[np.ndarray, "height width"]) -> FieldSum:
        """Sum a field over the area; NaN is skipped and counted."""
        return weighted_sum(values, self.weights, self.mask)

    def inside(self, shape: tuple[int, ...]) -> Bool[np.ndarray, "height width"]:
        """Give where points count."""
        return np.ones(shape, dtype=bool) if self.mask is None else self.mask

    def pooled(self, size: int) -> "Area":
        """Give the area of blocks: those that lie in it whole, with their mean weights."""
        mask = None if self.mask is None else pool(self.mask.astype(np.float64), size, "mean") == 1
        weights = None if self.weights is None else pool(self.weights.astype(np.float64), size, "mean")
        return Area(self.name, mask, weights)


@dataclass(frozen=True)
class Forecast:
    """One forecast of one variable with its truth, and what several measures need of it, computed once.

    Args:
        case: Which one.
        members: The forecast.
        truth: The truth.
        grid: Their grid.
        setting: What is measured.
        seed: Seed of random ties.
        variable: Name of the variable.
    """

    case: Case
    members: Float[np.ndarray, "member height width"]
    truth: Float[np.ndarray, "height width"]
    grid: Grid
    setting: Setting
    seed: int = 0
    variable: str = ""

    @property
    def count(self) -> int:
        """Number of members."""
        return len(self.members)

    @cached_property
    def sums(self) -> MemberSums:
        """Sums over the members at every point."""
        return member_sums(self.members, self.truth, self.setting.thresholds)

    @cached_property
    def valid(self) -> Bool[np.ndarray, "height width"]:
        """Where neither the truth nor a member is NaN."""
        return ~np.isnan(self.sums.error)

    @cached_property
    def complete(self) -> bool:
        """Whether that is everywhere."""
        return bool(self.valid.all())

    def random(self, purpose: str) -> np.random.Generator:
        """Give random numbers that depend on the case and the purpose alone."""
        keys = (self.seed, purpose, self.variable, self.case.time, self.case.region)
        return np.random.default_rng(derive_key(*keys, *([f"{self.case.lead:g}"] if self.case.lead else [])))


@runtime_checkable
class Measure(Protocol):
    """A family of statistics that are computed together, and their metrics.

    Register one with :func:`register` to have it in every score.
    """

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Give name and sum of each statistic of a case, always the same names for one number of members."""
        ...

    def metrics(self, context: "Context") -> Iterator[Metric]:
        """Give the metrics that follow; those whose statistics are absent are told as undefined."""
        ...


@dataclass(frozen=True)
class Context:
    """What metrics may depend on, beside means.

    Args:
        members: Number of members.
        grid: Grid of forecast and truth.
        setting: What is measured.
        area: Name of the area.
        shells: Wavenumber shells that enter spectrum errors.
        unit: Unit of the variable, for words.
    """

    members: int
    grid: Grid
    setting: Setting
    area: str
    shells: np.ndarray
    unit: str = ""


Factory = Callable[[Setting, Grid], Measure | None]
REGISTRY: dict[str, Factory] = {}
"""Makers of measures by name, in the order of their metrics; ``None`` where a setting does not ask for one."""


def register(name: str) -> Callable[[Factory], Factory]:
    """Register the maker of a measure under a name.

    Raises:
        InputError: If the name is taken.
    """

    def add(factory: Factory) -> Factory:
        if name in REGISTRY:
            raise InputError(f"there is a measure {name!r} already: choose another name")
        REGISTRY[name] = factory
        return factory

    return add


def measures_for(setting: Setting, grid: Grid) -> Mapping[str, Measure]:
    """Make the measures that a setting asks for."""
    made = {name: factory(setting, grid) for name, factory in REGISTRY.items()}
    return {name: measure for name, measure in made.items() if measure is not None}


def identity(mean: FloatArray) -> FloatArray:
    """Give the mean itself."""
    return mean


def share_text(value: float) -> str:
    """Write a threshold in the name of a metric.

    Example:
        >>> share_text(10.0), share_text(0.25)
        ('10', '0.25')
    """
    return f"{value:g}"
