# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""All statistics of one forecast of one variable, and the metrics that follow from them."""

import copy
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.bootstrap import Interval, Resampling, block_bootstrap
from physicsnemo_fs.metrics.calibration import rank_histogram, spread_skill_ratio
from physicsnemo_fs.metrics.crps import crps_terms
from physicsnemo_fs.metrics.spectra import (
    energetic_shells,
    max_spectrum_error,
    mean_spectrum_error,
    radial_power_spectrum,
    wavenumber_shells,
    window_for,
)
from physicsnemo_fs.metrics.statistics import FieldSum, FloatArray, Metric, Statistic, weighted_sum
from physicsnemo_fs.random import derive_key

POINT_STATISTICS = ("error", "absolute_error", "squared_error", "truth_squared", "std_dev", "crps_biased")
ENSEMBLE_STATISTICS = ("variance", "crps_fair")
UNDEFINED = "undefined for one member; see mae, which is its CRPS"


class Scorecard:
    """Score one forecast (an ensemble, or one field as a single member) of one variable, time by time.

    Means run over points and times; roots and ratios are taken after. The metrics are:

    - ``rmse``, ``mae``, ``bias``: of the ensemble mean.
    - ``crps``, ``crps_biased``: CRPS of the empirical distribution; ``crps`` is CorrDiff's name for it.
    - ``crps_fair``: unbiased for any number of members.
    - ``std_dev``: mean ensemble standard deviation with ``ddof=0``, as CorrDiff has it.
    - ``spread``: root of the mean variance with ``ddof=1``; ``spread_skill``: corrected ratio to ``rmse``.
    - ``relative_l2``: rmse over the root mean square of the truth.
    - ``spectrum_error_mean``, ``spectrum_error_max``: decibels, over wavenumber shells. Times with missing
      points are left out of spectra; masks and weights do not apply to them. Resampling noise adds to an
      absolute value, so that their intervals lean upwards.

    Args:
        grid: Grid of forecast and truth.
        members: Number of members.
        variable: Name of the variable; with ``seed`` and the time it seeds the random ties of ranks.
        seed: Seed of the random ties.
        kmax: Last wavenumber shell of the spectrum error; ``None`` takes the energetic shells.
        weights: Weight of each point (area), shape of the grid.
        mask: True where a point counts, shape of the grid.

    Raises:
        InputError: If weights or mask do not have the grid's shape.

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
    ):
        for name, value in (("weights", weights), ("mask", mask)):
            if value is not None and value.shape != grid.shape:
                raise InputError(f"{name} must have the grid's shape {grid.shape}: got {value.shape}")
        self.grid, self.members, self.variable = grid, members, variable
        self._seed, self._kmax, self._weights, self._mask = seed, kmax, weights, mask
        names = [*POINT_STATISTICS, "rank", "power", "truth_power"]
        names += ENSEMBLE_STATISTICS if members > 1 else ()
        self.statistics = {name: Statistic(name) for name in names}

    def add(
        self,
        time: np.datetime64,
        forecast: Float[np.ndarray, "member height width"],
        truth: Float[np.ndarray, "height width"],
        region: int = 0,
    ) -> None:
        """Score one time, in one of several regions of equal shape.

        Raises:
            InputError: If shapes do not fit, or the time was scored before.
        """
        if forecast.shape != (self.members, *self.grid.shape) or truth.shape != self.grid.shape:
            raise InputError(
                f"{self.variable!r} must have {self.members} members on grid {self.grid.shape}: got forecast "
                f"{forecast.shape} and truth {truth.shape}"
            )
        for name, field in _point_fields(forecast, truth).items():
            self.statistics[name].add(time, weighted_sum(field, self._weights, self._mask), region)
        self.statistics["rank"].add(time, self._ranks(time, forecast, truth, region), region)
        self._add_spectra(time, forecast, truth, region)

    def _ranks(self, time: np.datetime64, forecast: np.ndarray, truth: np.ndarray, region: int) -> FieldSum:
        stamp = int(time.astype("datetime64[ns]").astype(np.int64))
        random = np.random.default_rng(derive_key(self._seed, "rank", self.variable, stamp, region))
        return rank_histogram(forecast, truth, random, self._weights, self._mask)

    def _add_spectra(self, time: np.datetime64, forecast: np.ndarray, truth: np.ndarray, region: int) -> None:
        window, extent = window_for(self.grid), self.grid.extent
        if np.isnan(truth).any() or np.isnan(forecast).any():
            nothing = np.zeros(len(self.wavenumber))
            sums = {name: FieldSum(nothing, 0.0, missing=1) for name in ("power", "truth_power")}
        else:
            power = radial_power_spectrum(forecast, extent, window).mean(0)
            truth_power = radial_power_spectrum(truth, extent, window)
            sums = {"power": FieldSum(power, 1.0), "truth_power": FieldSum(truth_power, 1.0)}
        for name, value in sums.items():
            self.statistics[name].add(time, value, region)

    def merge(self, other: "Scorecard") -> "Scorecard":
        """Give the union of two partial results over disjoint times, exactly as if scored at once.

        Raises:
            InputError: If they share a time, or score different things.
        """
        if (self.variable, self.grid, self.members) != (other.variable, other.grid, other.members):
            raise InputError(
                "partial results must be of one variable, grid and number of members: got "
                f"{(self.variable, self.grid.shape, self.members)} and "
                f"{(other.variable, other.grid.shape, other.members)}"
            )
        merged = copy.copy(self)
        merged.statistics = {name: value.merge(other.statistics[name]) for name, value in self.statistics.items()}
        return merged

    @property
    def times(self) -> np.ndarray:
        """Scored times in order, region after region, ``datetime64[ns]``."""
        return self.statistics["error"].times

    @property
    def regions(self) -> np.ndarray:
        """Region of each of ``times``, int64."""
        return self.statistics["error"].regions

    @property
    def missing(self) -> np.ndarray:
        """Points skipped at each time because forecast or truth is NaN, int64."""
        return self.statistics["error"].missing

    @property
    def wavenumber(self) -> Float[np.ndarray, " shell"]:
        """Wavenumber of each shell in cycles per unit of the grid."""
        return wavenumber_shells(self.grid.shape, self.grid.extent).wavenumber

    @property
    def shells(self) -> np.ndarray:
        """Wavenumber shells that enter the spectrum error."""
        complete = wavenumber_shells(self.grid.shape, self.grid.extent).complete
        return energetic_shells(self.power("truth_power"), complete, self._kmax)

    def power(self, name: str = "power") -> Float[np.ndarray, " shell"]:
        """Give the mean power spectrum of the members, or of the truth (``"truth_power"``)."""
        return np.asarray(self.statistics[name].mean())

    def rank_frequencies(self) -> Float[np.ndarray, " rank"]:
        """Give the share of each rank; 1 / (m + 1) each if calibrated."""
        return np.asarray(self.statistics["rank"].mean())

    @property
    def metrics(self) -> dict[str, Metric]:
        """Metrics by name; those that need two members are absent for one."""
        defined = [metric for metric in self._all_metrics() if self._is_defined(metric)]
        return {metric.name: metric for metric in defined}

    def _is_defined(self, metric: Metric) -> bool:
        return all(name in self.statistics for name in metric.statistics)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics, defined or not, in order."""
        return tuple(metric.name for metric in self._all_metrics())

    def _all_metrics(self) -> list[Metric]:
        if not len(self.statistics["error"]):
            raise InputError("metrics need at least one scored time: got none")
        shells = self.shells
        ratio = partial(spread_skill_ratio, members=self.members)
        span = f"shells {shells[0]}-{shells[-1]}" if shells.size else "no shells"
        return [
            Metric("rmse", ("squared_error",), np.sqrt, "ensemble mean; root of the pooled mean"),
            Metric("crps", ("crps_biased",), _identity, "biased"),
            Metric("std_dev", ("std_dev",), _identity, "ddof 0; mean of standard deviations"),
            Metric("mae", ("absolute_error",), _identity, "ensemble mean"),
            Metric("crps_fair", ("crps_fair",), _identity, "fair"),
            Metric("crps_biased", ("crps_biased",), _identity, "biased"),
            Metric("bias", ("error",), _identity, "ensemble mean minus truth"),
            Metric("spread", ("variance",), np.sqrt, "ddof 1; root of the pooled variance"),
            Metric("spread_skill", ("variance", "squared_error"), ratio, "ddof 1; times sqrt((m+1)/m)", "1"),
            Metric("relative_l2", ("squared_error", "truth_squared"), _root_ratio, "ensemble mean; pooled", "1"),
            Metric(
                "spectrum_error_mean",
                ("power", "truth_power"),
                partial(mean_spectrum_error, shells=shells),
                f"mean |dB| of the mean spectrum, {span}",
                "dB",
            ),
            Metric(
                "spectrum_error_max",
                ("power", "truth_power"),
                partial(max_spectrum_error, shells=shells),
                f"max |dB| of the mean spectrum, {span}",
                "dB",
            ),
        ]

    def estimator(self, name: str) -> str:
        """Say in words how a metric is made, or why it is undefined.

        Raises:
            InputError: If there is no such metric.
        """
        metric = {metric.name: metric for metric in self._all_metrics()}.get(name)
        if metric is None:
            raise InputError(f"no metric {name!r}: there are {list(self.metric_names)}")
        return metric.estimator if self._is_defined(metric) else UNDEFINED

    def per_time(self, name: str) -> Float[np.ndarray, " time"]:
        """Give a metric of each time alone; NaN where undefined."""
        metric = self.metrics.get(name)
        return np.full(len(self.times), np.nan) if metric is None else metric.per_time(self.statistics)

    def interval(self, name: str, resampling: Resampling) -> Interval:
        """Give a metric of all times with its confidence interval; NaN where undefined."""
        metric = self.metrics.get(name)
        if metric is None:
            return Interval(np.nan, np.nan, np.nan, len(np.unique(resampling.blocks)))
        series = [(self.statistics[s].sums, self.statistics[s].weights) for s in metric.statistics]
        return block_bootstrap(metric.function, series, resampling)

    @property
    def crps_statistic(self) -> Statistic:
        """The CRPS of the forecast: fair for ensembles, the absolute error for a single forecast."""
        return self.statistics["crps_fair" if self.members > 1 else "absolute_error"]


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


def _point_fields(forecast: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Give each point statistic as a field, NaN wherever a member or the truth is."""
    deviation = forecast.astype(np.float64) - truth.astype(np.float64)
    error, variance, members = deviation.mean(0), deviation.var(0), len(forecast)
    terms = crps_terms(forecast, truth)
    fields = {
        "error": error,
        "absolute_error": np.abs(error),
        "squared_error": error**2,
        "truth_squared": np.where(np.isnan(error), np.nan, truth.astype(np.float64) ** 2),
        "std_dev": np.sqrt(variance),
        "crps_biased": terms.biased,
    }
    if members > 1:
        fields |= {"variance": variance * members / (members - 1), "crps_fair": terms.fair}
    return fields


def _identity(mean: FloatArray) -> FloatArray:
    return mean


def _root_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.asarray(numerator) / np.asarray(denominator))
