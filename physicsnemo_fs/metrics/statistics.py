# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Mergeable sums, and metrics as functions of their means.

A :class:`Statistic` holds, for each case, the float64 sum and the weight of one quantity. Partial results
over disjoint cases merge into exactly what one pass gives, because the sum of a case is never split. A
:class:`Metric` is a function of the *means* of statistics (a root, a ratio), applied after merging. This is
the split of WeatherBench-X (https://github.com/google-research/weatherbenchX).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from physicsnemo_fs.errors import InputError

FloatArray = Float[np.ndarray, "..."] | float
Best = Literal["low", "high", "zero", "one", "none"]


@dataclass(frozen=True)
class FieldSum:
    """Weighted sum of a field.

    Args:
        total: Sum of weight times value; may be an array (a spectrum, a histogram).
        weight: Sum of the weights of the values that entered.
        missing: Number of points left out because their value is NaN.
    """

    total: FloatArray
    weight: float
    missing: int = 0


def weighted_sum(
    field: Float[np.ndarray, "height width"],
    weights: Float[np.ndarray, "height width"] | None = None,
    mask: Bool[np.ndarray, "height width"] | None = None,
) -> FieldSum:
    r"""Sum a field over the points that count: :math:`\sum_p w_p f_p` and :math:`\sum_p w_p`.

    Args:
        field: Values; NaN is skipped and counted.
        weights: Weight of each point (area); one by default.
        mask: True where a point counts; everywhere by default.

    Example:
        >>> weighted_sum(np.array([[1.0, np.nan], [2.0, 5.0]]), mask=np.array([[True, True], [True, False]]))
        FieldSum(total=np.float64(3.0), weight=2.0, missing=1)
    """
    inside = np.ones(field.shape, dtype=bool) if mask is None else mask
    valid = inside & ~np.isnan(field)
    missing = int(np.count_nonzero(inside) - np.count_nonzero(valid))
    values = field[valid].astype(np.float64)
    if weights is None:
        return FieldSum(values.sum(), float(values.size), missing)
    chosen = weights[valid].astype(np.float64)
    return FieldSum((chosen * values).sum(), float(chosen.sum()), missing)


class Case(NamedTuple):
    """What one forecast is of: sums are kept for each case, and cases are ordered.

    Args:
        region: Number of the region (file) of a model.
        time: Valid time, nanoseconds since 1970.
        lead: Hours since the forecast started; 0 without lead times.
    """

    region: int
    time: int
    lead: float = 0.0

    @classmethod
    def of(cls, time: np.datetime64, region: int = 0, lead: float = 0.0) -> "Case":
        """Give the case of a time.

        Example:
            >>> Case.of(np.datetime64("1970-01-01T00:00:01"))
            Case(region=0, time=1000000000, lead=0.0)
        """
        return cls(int(region), int(time.astype("datetime64[ns]").astype(np.int64)), float(lead))


class Statistic:
    """Sums of one quantity, kept for each case (time, region, lead time).

    Args:
        name: What is summed.

    Example:
        >>> day1, day2 = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]")
        >>> first, second = Statistic("error"), Statistic("error")
        >>> first.add(day1, FieldSum(np.float64(6.0), 3.0))
        >>> second.add(day2, FieldSum(np.float64(2.0), 1.0))
        >>> first.merge(second).mean()
        np.float64(2.0)
    """

    def __init__(self, name: str):
        self.name = name
        self._sums: dict[Case, FieldSum] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, time: np.datetime64, value: FieldSum, region: int = 0, lead: float = 0.0) -> None:
        """Add the sum of one time, in one of several regions, at one lead time.

        Raises:
            InputError: If the case is there already.
        """
        self.add_case(Case.of(time, region, lead), value)

    def add_case(self, case: Case, value: FieldSum) -> None:
        """Add the sum of one case.

        Raises:
            InputError: If the case is there already.
        """
        if case in self._sums:
            time = np.datetime64(case.time, "ns")
            raise InputError(f"each time must be scored once: {time} was added to {self.name!r} before")
        self._sums[case] = value

    def merge(self, other: "Statistic") -> "Statistic":
        """Give the union of two statistics over disjoint cases, exactly as if scored at once.

        Raises:
            InputError: If a case is in both, or the names differ.
        """
        if self.name != other.name:
            raise InputError(f"only equal statistics merge: got {self.name!r} and {other.name!r}")
        common = self._sums.keys() & other._sums.keys()
        if common:
            raise InputError(f"partial results must be of different times: {len(common)} of {self.name!r} are in both")
        merged = Statistic(self.name)
        merged._sums = self._sums | other._sums
        return merged

    def only(self, cases: Collection[Case]) -> "Statistic":
        """Give the sums of some of the cases."""
        chosen = Statistic(self.name)
        chosen._sums = {case: self._sums[case] for case in cases}
        return chosen

    @property
    def cases(self) -> list[Case]:
        """Cases in order: region after region, time after time."""
        return sorted(self._sums)

    def __getitem__(self, case: Case) -> FieldSum:
        return self._sums[case]

    @property
    def times(self) -> np.ndarray:
        """Times in order, region after region, ``datetime64[ns]``."""
        return np.array([case.time for case in self.cases], dtype=np.int64).view("datetime64[ns]")

    @property
    def regions(self) -> np.ndarray:
        """Region of each of ``times``, int64."""
        return np.array([case.region for case in self.cases], dtype=np.int64)

    @property
    def leads(self) -> Float[np.ndarray, " time"]:
        """Lead time of each of ``times`` in hours."""
        return np.array([case.lead for case in self.cases], dtype=np.float64)

    @property
    def sums(self) -> Float[np.ndarray, " time *value"]:
        """Sum at each time, in the order of ``times``."""
        return np.array([self._sums[case].total for case in self.cases], dtype=np.float64)

    @property
    def weights(self) -> Float[np.ndarray, " time"]:
        """Sum of weights at each time, in the order of ``times``."""
        return np.array([self._sums[case].weight for case in self.cases], dtype=np.float64)

    @property
    def missing(self) -> np.ndarray:
        """Number of skipped NaN points at each time, int64, in the order of ``times``."""
        return np.array([self._sums[case].missing for case in self.cases], dtype=np.int64)

    def means(self) -> Float[np.ndarray, " time *value"]:
        """Give the mean at each time; NaN where nothing counted."""
        return np.asarray(divide(self.sums, self.weights))

    def mean(self) -> FloatArray:
        """Give the mean over all times and points; NaN if nothing counted."""
        return divide(self.sums.sum(0), self.weights.sum(0))


def divide(sums: FloatArray, weights: FloatArray) -> FloatArray:
    """Give ``sums / weights``, the weights broadcast over the trailing axes; NaN where a weight is zero.

    Example:
        >>> divide(np.array([[2.0, 4.0], [0.0, 0.0]]), np.array([2.0, 0.0])).tolist()
        [[1.0, 2.0], [nan, nan]]
    """
    weights = np.asarray(weights).reshape(np.shape(weights) + (1,) * (np.ndim(sums) - np.ndim(weights)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 0, sums / weights, np.nan)[()]


def absolute_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Give the first over the absolute value of the second, without a warning where that is 0.

    Example:
        >>> float(absolute_ratio(1.0, -2.0))
        0.5
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator) / np.abs(np.asarray(denominator))


@dataclass(frozen=True)
class Metric:
    """A function of the means of statistics.

    Args:
        name: Name in tables and files.
        statistics: Names of the statistics whose means it takes, in order.
        function: Vectorised over a leading axis (times, bootstrap samples).
        estimator: How the number is made, in words.
        unit: Its unit; empty for the variable's own.
        best: What is better: ``"low"``, ``"high"``, nearer to ``"zero"`` or to ``"one"``, or ``"none"``.
    """

    name: str
    statistics: tuple[str, ...]
    function: Callable[..., FloatArray]
    estimator: str
    unit: str = ""
    best: Best = "low"

    def per_time(self, statistics: Mapping[str, Statistic]) -> Float[np.ndarray, " time"]:
        """Give the metric of each time alone."""
        return np.asarray(self.function(*(statistics[name].means() for name in self.statistics)))

    def pooled(self, statistics: Mapping[str, Statistic]) -> float:
        """Give the metric of all times together."""
        return float(self.function(*(statistics[name].mean() for name in self.statistics)))


def distance_from_best(value: FloatArray, best: Best) -> FloatArray:
    """Give how far a metric is from its best value, less being better; NaN for a metric without one.

    Example:
        >>> [float(distance_from_best(np.float64(0.75), best)) for best in ("low", "high", "zero", "one")]
        [0.75, -0.75, 0.75, 0.25]
    """
    value = np.asarray(value)
    known = {"low": value, "high": -value, "zero": np.abs(value), "one": np.abs(value - 1)}
    return known.get(best, np.full(value.shape, np.nan))
