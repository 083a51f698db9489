# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""All statistics of one forecast of one variable, and the metrics that follow from them."""

import copy
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

import physicsnemo_fs.metrics.standard  # noqa: F401 - registers the measures
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.bootstrap import Interval, Resampling, block_bootstrap
from physicsnemo_fs.metrics.extremes import AnnualMaxima, maxima_of
from physicsnemo_fs.metrics.maps import Maps, case_maps
from physicsnemo_fs.metrics.measures import Area, Context, Forecast, Setting, measures_for
from physicsnemo_fs.metrics.spectra import energetic_shells, wavenumber_shells
from physicsnemo_fs.metrics.statistics import Case, FieldSum, Metric, Statistic

UNDEFINED = "undefined for one member; see mae, which is its CRPS"


@dataclass(frozen=True)
class Contribution:
    """What one case adds to a scorecard.

    Args:
        sums: By area and statistic.
        maps: By name, whole multiples of the setting's quantum.
        maxima: Truth and members, for annual maxima.
    """

    sums: Mapping[tuple[str, str], FieldSum]
    maps: Mapping[str, Int[np.ndarray, "height width"]]
    maxima: Float[np.ndarray, "one_and_member height width"] | None = None


class Scorecard:
    """Score one forecast (an ensemble, or one field as a single member) of one variable, case by case.

    Means run over points and cases; roots and ratios are taken after. The metrics are those of the registered
    measures (:mod:`~physicsnemo_fs.metrics.standard`) that the setting asks for; always:

    - ``rmse``, ``mae``, ``bias``: of the ensemble mean.
    - ``crps``, ``crps_biased``: CRPS of the empirical distribution; ``crps`` is CorrDiff's name for it.
    - ``crps_fair``: unbiased for any number of members.
    - ``std_dev``: mean ensemble standard deviation with ``ddof=0``, as CorrDiff has it.
    - ``spread``: root of the mean variance with ``ddof=1``; ``spread_skill``: corrected ratio to ``rmse``.
    - ``relative_l2``: rmse over the root mean square of the truth.
    - ``ece``: calibration error of the rank histogram.
    - ``spectrum_error_mean``, ``spectrum_error_max``, ``ralsd``: decibels, over wavenumber shells. Times with
      missing points are left out of spectra; masks and weights do not apply to them. Resampling noise adds to an
      absolute value, so that their intervals lean upwards.

    Args:
        grid: Grid of forecast and truth.
        members: Number of members.
        variable: Name of the variable; with ``seed`` and the case it seeds the random ties of ranks.
        seed: Seed of the random ties.
        kmax: Last wavenumber shell of the spectrum error; ``None`` takes the energetic shells.
        weights: Weight of each point (area), shape of the grid.
        mask: True where a point counts, shape of the grid.
        areas: Named parts of the domain: where they are, shape of the grid.
        setting: What to measure beyond the standard.
        unit: Unit of the variable, for words.

    Raises:
        InputError: If weights, mask or an area do not have the grid's shape.

    Example:
        >>> random = np.random.default_rng(0)
        >>> card = Scorecard(Grid((8, 8), (1.0, 1.0)), members=4)
        >>> card.add(np.datetime64("2020-01-01"), random.normal(size=(4, 8, 8)), random.normal(size=(8, 8)))
        >>> list(card.metrics)[:4]
        ['rmse', 'crps', 'std_dev', 'mae']
    """

    def __init__(
        self,
        grid: Grid,
        members: int,
        *,
        variable: str = "",
        seed: int = 0,
        kmax: int | None = None,
        weights: Float[np.ndarray, "height width"] | None = None,
        mask: Bool[np.ndarray, "height width"] | None = None,
        areas: Mapping[str, Bool[np.ndarray, "height width"]] | None = None,
        setting: Setting | None = None,
        unit: str = "",
    ):
        named = {f"area {name!r}": value for name, value in (areas or {}).items()}
        for name, value in {"weights": weights, "mask": mask, **named}.items():
            if value is not None and value.shape != grid.shape:
                raise InputError(f"{name} must have the grid's shape {grid.shape}: got {value.shape}")
        self.grid, self.members, self.variable, self.unit = grid, members, variable, unit
        self.setting = setting or Setting()
        self._seed, self.kmax = seed, kmax
        whole = Area("", mask, weights)
        self.areas = {"": whole} | {
            name: Area(name, where if mask is None else where & mask, weights) for name, where in (areas or {}).items()
        }
        self._arrays = (grid.latitude, grid.longitude, mask, weights, *(areas or {}).values())
        self.measures = measures_for(self.setting, grid)
        self._statistics: dict[tuple[str, str], Statistic] = {}
        self.maxima = AnnualMaxima()
        self.maps = Maps(self.setting.map_quantum)

    @cached_property
    def places(self) -> str:
        """A short mark of where points are and how much they count; equal for parts that merge."""
        return _digest(*self._arrays)

    @property
    def statistics(self) -> dict[str, Statistic]:
        """Statistics of the whole domain by name."""
        return self.statistics_of("")

    def statistics_of(self, area: str) -> dict[str, Statistic]:
        """Give the statistics of a named area."""
        return {name: value for (where, name), value in self._statistics.items() if where == area}

    def add(
        self,
        time: np.datetime64,
        forecast: Float[np.ndarray | torch.Tensor, "member height width"],
        truth: Float[np.ndarray | torch.Tensor, "height width"],
        region: int = 0,
        lead: float = 0.0,
    ) -> None:
        """Score one time, in one of several regions of equal shape, at one lead time in hours.

        Args:
            time: Valid time.
            forecast: Members, arrays or tensors (on any device), in the variable's unit; NaN is missing.
            truth: The truth, in the same unit.
            region: Number of the region.
            lead: Hours since the forecast started.

        Raises:
            InputError: If shapes do not fit, or the case was scored before.
        """
        case = Case.of(time, region, lead)
        self.take(case, self.contribution(case, forecast, truth))

    def contribution(
        self,
        case: Case,
        forecast: Float[np.ndarray | torch.Tensor, "member height width"],
        truth: Float[np.ndarray | torch.Tensor, "height width"],
    ) -> Contribution:
        """Give all that a case adds without keeping it, for :meth:`take` (in another process).

        Raises:
            InputError: If shapes do not fit.
        """
        forecast, truth = _array(forecast), _array(truth)
        if forecast.shape != (self.members, *self.grid.shape) or truth.shape != self.grid.shape:
            raise InputError(
                f"{self.variable!r} must have {self.members} members on grid {self.grid.shape}: got forecast "
                f"{forecast.shape} and truth {truth.shape}"
            )
        given = Forecast(case, forecast, truth, self.grid, self.setting, self._seed, self.variable)
        sums = {
            (area.name, name): value
            for area in self.areas.values()
            for measure in self.measures.values()
            for name, value in measure.sums(given, area)
        }
        maps = case_maps(given, self.setting.map_quantum) if self.setting.map_quantum and not case.region else {}
        return Contribution(sums, maps, maxima_of(forecast, truth) if self.setting.extremes else None)

    def take(self, case: Case, contribution: Contribution) -> None:
        """Keep what a case adds.

        Raises:
            InputError: If the case was scored before.
        """
        for key, value in contribution.sums.items():
            if key not in self._statistics:
                self._statistics[key] = Statistic(key[1])
            self._statistics[key].add_case(case, value)
        self.maps = self.maps.plus(contribution.maps)
        if contribution.maxima is not None:
            self.maxima.take(case, contribution.maxima)

    def merge(self, other: "Scorecard") -> "Scorecard":
        """Give the union of two partial results over disjoint cases, exactly as if scored at once.

        Raises:
            InputError: If they share a case, or score different things.
        """
        if (self.variable, self.grid, self.members) != (other.variable, other.grid, other.members):
            raise InputError(
                "partial results must be of one variable, grid and number of members: got "
                f"{(self.variable, self.grid.shape, self.members)} and "
                f"{(other.variable, other.grid.shape, other.members)}"
            )
        for name in ("unit", "kmax"):
            own, theirs = getattr(self, name), getattr(other, name)
            if own != theirs:
                raise InputError(
                    f"partial results of {self.variable!r} must have one {name}: got {own!r} and {theirs!r}"
                )
        if self.areas.keys() != other.areas.keys() or self.places != other.places:
            raise InputError(
                f"partial results of {self.variable!r} must be of the same places, masks, weights and areas: they are "
                "not; score regions together"
            )
        unequal = [f.name for f in fields(Setting) if getattr(self.setting, f.name) != getattr(other.setting, f.name)]
        if unequal:
            raise InputError(
                f"partial results of {self.variable!r} must have equal settings: {', '.join(unequal)} differ; give all "
                "parts the same thresholds and, for the edges of histograms, the same ranges"
            )
        merged = copy.copy(self)
        both = (self, other) if self._statistics else (other, self)
        merged._statistics = {
            name: value.merge(both[1]._statistics[name]) if both[1]._statistics else value
            for name, value in both[0]._statistics.items()
        }
        merged.maxima = self.maxima.merge(other.maxima)
        merged.maps = self.maps.plus(other.maps.sums)
        return merged

    def only(self, cases: Collection[Case]) -> "Scorecard":
        """Give the scores of some of the cases; maps and annual maxima are left out."""
        chosen = copy.copy(self)
        chosen._statistics = {key: statistic.only(cases) for key, statistic in self._statistics.items()}
        chosen.maxima, chosen.maps = AnnualMaxima(), Maps(self.setting.map_quantum)
        return chosen

    @property
    def _errors(self) -> Statistic:
        return self._statistics.get(("", "error"), Statistic("error"))

    @property
    def cases(self) -> list[Case]:
        """Scored cases in order."""
        return self._errors.cases

    @property
    def times(self) -> np.ndarray:
        """Scored times in order, region after region, ``datetime64[ns]``."""
        return self._errors.times

    @property
    def regions(self) -> np.ndarray:
        """Region of each of ``times``, int64."""
        return self._errors.regions

    @property
    def leads(self) -> np.ndarray:
        """Lead time of each of ``times`` in hours."""
        return self._errors.leads

    @property
    def missing(self) -> np.ndarray:
        """Points skipped at each time because forecast or truth is NaN, int64."""
        return self._errors.missing

    @cached_property
    def wavenumber(self) -> Float[np.ndarray, " shell"]:
        """Wavenumber of each shell in cycles per unit of the grid."""
        return wavenumber_shells(self.grid.shape, self.grid.extent).wavenumber

    @property
    def shells(self) -> np.ndarray:
        """Wavenumber shells that enter the spectrum error."""
        complete = wavenumber_shells(self.grid.shape, self.grid.extent).complete
        return energetic_shells(self.power("truth_power"), complete, self.kmax)

    def power(self, name: str = "power") -> Float[np.ndarray, " shell"]:
        """Give the mean power spectrum of the members, or of the truth (``"truth_power"``)."""
        return np.asarray(self.statistics[name].mean())

    def rank_frequencies(self) -> Float[np.ndarray, " rank"]:
        """Give the share of each rank; 1 / (m + 1) each if calibrated."""
        return np.asarray(self.statistics["rank"].mean())

    @property
    def metrics(self) -> dict[str, Metric]:
        """Metrics by name; those that need two members are absent for one."""
        return {metric.name: metric for metric in self.all_metrics() if self._is_defined(metric)}

    def _is_defined(self, metric: Metric, area: str = "") -> bool:
        return all((area, name) in self._statistics for name in metric.statistics)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics, defined or not, in order."""
        return tuple(metric.name for metric in self.all_metrics())

    def all_metrics(self, area: str = "") -> list[Metric]:
        """Give the metrics of an area, defined or not, in order.

        Raises:
            InputError: If nothing has been scored.
        """
        context = self.context(area)
        return [metric for measure in self.measures.values() for metric in measure.metrics(context)]

    def context(self, area: str = "") -> Context:
        """Give what metrics may depend on, beside means.

        Raises:
            InputError: If nothing has been scored.
        """
        if not len(self._errors):
            raise InputError("metrics need at least one scored time: got none")
        return Context(self.members, self.grid, self.setting, area, self.shells, self.unit)

    def metric(self, name: str, area: str = "") -> Metric:
        """Give a metric by name.

        Raises:
            InputError: If there is no such metric.
        """
        found = {metric.name: metric for metric in self.all_metrics(area)}.get(name)
        if found is None:
            raise InputError(f"no metric {name!r}: there are {list(self.metric_names)}")
        return found

    def estimator(self, name: str, area: str = "") -> str:
        """Say in words how a metric is made, or why it is undefined.

        Raises:
            InputError: If there is no such metric.
        """
        return self.words_of(self.metric(name, area), area)

    def words_of(self, metric: Metric, area: str = "") -> str:
        """Say in words how a metric is made, or why it is undefined."""
        return metric.estimator if self._is_defined(metric, area) else UNDEFINED

    def per_time(self, name: str) -> Float[np.ndarray, " time"]:
        """Give a metric of each time alone; NaN where undefined."""
        metric = self.metrics.get(name)
        return np.full(len(self.times), np.nan) if metric is None else metric.per_time(self.statistics)

    def series(self, metric: Metric, area: str = "", lead: float | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """Give sums and weights of a metric's statistics, of all cases or those of one lead time."""
        chosen = slice(None) if lead is None else self.leads == lead
        statistics = [self._statistics[area, name] for name in metric.statistics]
        return [(statistic.sums[chosen], statistic.weights[chosen]) for statistic in statistics]

    def interval(self, name: str, resampling: Resampling, area: str = "", lead: float | None = None) -> Interval:
        """Give a metric of all times with its confidence interval; NaN where undefined.

        Args:
            name: Name of the metric.
            resampling: How to resample; its blocks are those of ``cases``.
            area: Name of an area; empty for the whole domain.
            lead: Take the cases of this lead time only.
        """
        return self.interval_of(self.metric(name, area), resampling, area, lead)

    def interval_of(
        self, metric: Metric, resampling: Resampling, area: str = "", lead: float | None = None
    ) -> Interval:
        """Give what :meth:`interval` gives, of a metric."""
        if lead is not None:
            resampling = resampling.at(self.leads == lead)
        if not self._is_defined(metric, area):
            return Interval(np.nan, np.nan, np.nan, len(np.unique(resampling.blocks)))
        return block_bootstrap(metric.function, self.series(metric, area, lead), resampling)

    @property
    def crps_statistic(self) -> Statistic:
        """The CRPS of the forecast: fair for ensembles, the absolute error for a single forecast."""
        return self.statistics["crps_fair" if self.members > 1 else "absolute_error"]


def _array(values: np.ndarray | torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values


def _digest(*arrays: np.ndarray | None) -> str:
    """Give a short mark of where points are and how much they count; empty if nothing says so."""
    if all(each is None for each in arrays):
        return ""
    mark = hashlib.sha256()
    for each in arrays:
        mark.update(b"none" if each is None else np.ascontiguousarray(each, dtype=np.float64).tobytes())
    return mark.hexdigest()[:16]


def paired_crps_ratio(card: Scorecard, reference: Scorecard, resampling: Resampling) -> Interval:
    """Give the CRPS of one forecast over another's at the same times, with its paired interval.

    Example:
        >>> from physicsnemo_fs.metrics.bootstrap import Resampling
        >>> card = Scorecard(Grid((4, 4), (1.0, 1.0)), members=1)
        >>> card.add(np.datetime64("2020-01-01"), np.ones((1, 4, 4)), np.zeros((4, 4)))
        >>> paired_crps_ratio(card, card, Resampling(np.array([0]))).estimate
        1.0
    """
    series = [(each.crps_statistic.sums, each.crps_statistic.weights) for each in (card, reference)]
    return block_bootstrap(lambda own, other: own / other, series, resampling)
