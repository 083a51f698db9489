# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The measures that come along; importing this module registers them."""

import json
from collections.abc import Iterator
from functools import partial

import numpy as np

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.metrics import events
from physicsnemo_fs.metrics.calibration import calibration_error, rank_sum, spread_skill_ratio
from physicsnemo_fs.metrics.crps import CRPSTerms
from physicsnemo_fs.metrics.distributions import histogram, histogram_distance, log_histogram_bias
from physicsnemo_fs.metrics.flow import energy_spectrum, enstrophy_spectrum
from physicsnemo_fs.metrics.measures import Area, Context, Forecast, Setting, Sums, identity, register, share_text
from physicsnemo_fs.metrics.members import member_sums
from physicsnemo_fs.metrics.phases import circular_moments
from physicsnemo_fs.metrics.pooling import Pooling, pool
from physicsnemo_fs.metrics.seams import Seams
from physicsnemo_fs.metrics.spectra import (
    log_spectral_distance,
    max_spectrum_error,
    mean_spectrum_error,
    radial_power_spectrum,
    wavenumber_shells,
    window_for,
)
from physicsnemo_fs.metrics.statistics import FieldSum, FloatArray, Metric
from physicsnemo_fs.nn.windows import WindowGrid


class Points:
    """Scores at points: CorrDiff's four first, under its names and with its meaning."""

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Sum fields of errors, spread and CRPS."""
        sums, m = forecast.sums, forecast.count
        crps = CRPSTerms(sums.accuracy, sums.pair_sum, m)
        truth = np.where(forecast.valid, forecast.truth.astype(np.float64), np.nan)
        fields = {
            "error": sums.error,
            "absolute_error": np.abs(sums.error),
            "squared_error": sums.error**2,
            "truth": truth,
            "truth_squared": truth**2,
            "std_dev": np.sqrt(sums.variance),
            "crps_biased": crps.biased,
        }
        if m > 1:
            fields |= {"variance": sums.variance * m / (m - 1), "crps_fair": crps.fair}
        for name, values in fields.items():
            yield name, area.sum(values)

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give errors, spread and CRPS."""
        ratio = partial(spread_skill_ratio, members=context.members)
        yield Metric("rmse", ("squared_error",), np.sqrt, "ensemble mean; root of the pooled mean")
        yield Metric("crps", ("crps_biased",), identity, "biased")
        yield Metric("std_dev", ("std_dev",), identity, "ddof 0; mean of standard deviations", best="none")
        yield Metric("mae", ("absolute_error",), identity, "ensemble mean")
        yield Metric("crps_fair", ("crps_fair",), identity, "fair")
        yield Metric("crps_biased", ("crps_biased",), identity, "biased")
        yield Metric("bias", ("error",), identity, "ensemble mean minus truth", best="zero")
        yield Metric("relative_bias", ("error", "truth"), _ratio, "bias over the mean truth; pooled", "1", "zero")
        yield Metric("spread", ("variance",), np.sqrt, "ddof 1; root of the pooled variance", best="none")
        yield Metric(
            "spread_skill", ("variance", "squared_error"), ratio, "ddof 1; times sqrt((m+1)/m)", "1", best="one"
        )
        yield Metric("relative_l2", ("squared_error", "truth_squared"), _root_ratio, "ensemble mean; pooled", "1")


class Ranks:
    """The rank histogram with random ties, and its calibration error."""

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Count ranks."""
        inside = area.inside(forecast.truth.shape)
        yield (
            "rank",
            rank_sum(
                forecast.sums.below,
                forecast.sums.ties,
                forecast.count,
                forecast.random("rank"),
                inside & forecast.valid,
                area.weights,
                int(inside.sum()),
            ),
        )

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give the calibration error, for two members or more."""
        names = ("rank",) if context.members > 1 else ("rank", "undefined")
        yield Metric("ece", names, calibration_error, "mean |observed - nominal| of the rank's distribution", "1")


class Spectra:
    """Power by scale, of the whole domain: areas have none."""

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Sum power spectra; cases with missing points are left out."""
        if area.name:
            return
        grid = forecast.grid
        shells = wavenumber_shells(grid.shape, grid.extent)
        if not forecast.complete:
            nothing = FieldSum(np.zeros(len(shells.wavenumber)), 0.0, missing=1)
            yield from (("power", nothing), ("truth_power", nothing), ("log_distance", FieldSum(0.0, 0.0, 1)))
            return
        window = window_for(grid)
        power = radial_power_spectrum(forecast.members, grid.extent, window)
        truth = radial_power_spectrum(forecast.truth, grid.extent, window)
        inside = np.arange(1, shells.complete + 1)
        distance = np.asarray(log_spectral_distance(power, np.broadcast_to(truth, power.shape), inside))
        known = distance[~np.isnan(distance)]
        yield "power", FieldSum(power.mean(0), 1.0)
        yield "truth_power", FieldSum(truth, 1.0)
        yield "log_distance", FieldSum(float(known.sum()), float(known.size), int(distance.size - known.size))

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give errors of the mean spectrum and the mean distance of single spectra."""
        if context.area:
            return
        shells = context.shells
        span = f"shells {shells[0]}-{shells[-1]}" if shells.size else "no shells"
        for kind, function in (("mean", mean_spectrum_error), ("max", max_spectrum_error)):
            yield Metric(
                f"spectrum_error_{kind}",
                ("power", "truth_power"),
                partial(function, shells=shells),
                f"{kind} |dB| of the mean spectrum, {span}",
                "dB",
            )
        yield Metric("ralsd", ("log_distance",), identity, "mean over members of the log-spectral distance", "dB")


class PooledCRPS:
    """CRPS of fields pooled over blocks: from which scale on is the forecast right?"""

    KINDS: tuple[Pooling, ...] = ("mean", "max")

    def __init__(self, sizes: tuple[int, ...]):
        self.sizes = sizes

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Sum the CRPS of pooled fields, both estimators."""
        for size in self.sizes:
            blocks = area.pooled(size)
            for kind in self.KINDS:
                sums = _pooled_sums(forecast, size, kind)
                crps = CRPSTerms(sums.accuracy, sums.pair_sum, forecast.count)
                yield f"crps_biased_{kind}{size}", blocks.sum(crps.biased)
                if forecast.count > 1:
                    yield f"crps_fair_{kind}{size}", blocks.sum(crps.fair)

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give them."""
        for size in self.sizes:
            for kind in self.KINDS:
                for estimator in ("fair", "biased"):
                    name = f"crps_{estimator}_{kind}{size}"
                    yield Metric(name, (name,), identity, f"{estimator}; {kind} over {size} x {size} points")


def _pooled_sums(forecast: Forecast, size: int, kind: Pooling):
    return member_sums(pool(forecast.members, size, kind), pool(forecast.truth, size, kind))


class Events:
    """Scores of events above thresholds."""

    def __init__(self, thresholds: tuple[float, ...], windows: tuple[int, ...]):
        self.thresholds, self.windows = thresholds, windows

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Sum the table of probabilities, tail CRPS and neighbourhood fractions of each threshold."""
        sums, m = forecast.sums, forecast.count
        valid = area.inside(forecast.truth.shape) & forecast.valid
        for i, threshold in enumerate(self.thresholds):
            label = share_text(threshold)
            happened = forecast.truth > threshold
            yield f"event_{label}", events.event_table(sums.above[i], happened, m, valid, area.weights)
            crps = CRPSTerms(sums.tail_accuracy[i], sums.tail_pair_sum[i], m)
            yield f"twcrps_biased_{label}", area.sum(crps.biased)
            if m > 1:
                yield f"twcrps_fair_{label}", area.sum(crps.fair)
            for window in self.windows:
                yield from self._fractions(forecast, area, i, window)

    def _fractions(self, forecast: Forecast, area: Area, index: int, window: int) -> Sums:
        known = np.where(forecast.valid, 1.0, 0.0)
        chance = forecast.sums.above[index] / forecast.count * known
        happened = (forecast.truth > self.thresholds[index]) * known
        share = events.neighbourhood_fraction(np.stack([chance, happened]), window)
        if not forecast.complete:
            with np.errstate(invalid="ignore"):
                share = share / events.neighbourhood_fraction(known, window)
            share[:, ~forecast.valid] = np.nan
        label = f"{window}_{share_text(self.thresholds[index])}"
        yield f"fss_difference_{label}", area.sum((share[0] - share[1]) ** 2)
        yield f"fss_squares_{label}", area.sum(share[0] ** 2 + share[1] ** 2)

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give them, each with its threshold in its name."""
        for threshold in self.thresholds:
            label = share_text(threshold)
            what = f"events above {label} {context.unit}".strip()
            table = (f"event_{label}",)
            fair = table if context.members > 1 else (*table, "undefined")
            yield Metric(f"brier_{label}", table, events.brier_score, what, "1")
            yield Metric(f"brier_fair_{label}", fair, events.brier_fair, f"{what}; fair", "1")
            yield Metric(f"reliability_error_{label}", table, events.reliability_error, what, "1")
            yield Metric(f"roc_area_{label}", table, events.roc_area, what, "1", "high")
            yield Metric(f"event_ratio_{label}", table, events.event_ratio, what, "1", "one")
            for estimator in ("fair", "biased"):
                name = f"twcrps_{estimator}_{label}"
                yield Metric(name, (name,), identity, f"{estimator}; {what}")
            yield from self._class_ratio(label, context)
            for window in self.windows:
                names = (f"fss_difference_{window}_{label}", f"fss_squares_{window}_{label}")
                words = f"{what}; neighbourhood of {window} x {window} points"
                yield Metric(f"fss_{window}_{label}", names, events.fractions_skill_score, words, "1", "high")

    def _class_ratio(self, label: str, context: Context) -> Iterator[Metric]:
        ordered = sorted(self.thresholds)
        place = [share_text(threshold) for threshold in ordered].index(label)
        if place == 0:
            what = f"values up to {label} {context.unit}".strip()
            yield Metric(f"class_ratio_0_{label}", (f"event_{label}",), events.calm_ratio, what, "1", "one")
        if place + 1 < len(ordered):
            top = share_text(ordered[place + 1])
            names, what = (f"event_{label}", f"event_{top}"), f"values from {label} to {top} {context.unit}".strip()
            yield Metric(f"class_ratio_{label}_{top}", names, events.class_ratio, what, "1", "one")


class Histograms:
    """Distributions of values of members and truth."""

    def __init__(self, edges: tuple[float, ...]):
        self.edges = np.asarray(edges)

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Count values in bins."""
        valid = area.inside(forecast.truth.shape) & forecast.valid
        yield "histogram", histogram(forecast.members, self.edges, valid, area.weights)
        yield "truth_histogram", histogram(forecast.truth[None], self.edges, valid, area.weights)

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give distances of the two distributions."""
        both, width = ("histogram", "truth_histogram"), float(self.edges[1] - self.edges[0])
        distance = partial(histogram_distance, width=width)
        yield Metric("wasserstein", both, distance, f"distributions of all values, to {width:.3g}")
        yield Metric("log_histogram_bias", both, log_histogram_bias, "mean |log10| over bins of values", "1")


class Flow:
    """Energy and enstrophy by scale, of a vorticity."""

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Need no sums but the power spectra."""
        yield from ()

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give errors of both spectra's totals and of their shells."""
        if context.area:
            return
        wavenumber = wavenumber_shells(context.grid.shape, context.grid.extent).wavenumber
        energy = partial(_total_ratio, spectrum=partial(energy_spectrum, wavenumber=wavenumber))
        enstrophy = partial(_total_ratio, spectrum=enstrophy_spectrum)
        both = ("power", "truth_power")
        yield Metric("energy_ratio", both, energy, "members' kinetic energy over the truth's", "1", "one")
        yield Metric("enstrophy_ratio", both, enstrophy, "members' enstrophy over the truth's", "1", "one")


class Phases:
    """Circular variance and skewness of each image: values are kept, not only their mean."""

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Keep one value for the truth and one for each member."""
        if area.name:
            return
        images = np.concatenate([forecast.truth[None], forecast.members])
        for name, values in zip(("circular_variance", "circular_skewness"), circular_moments(images), strict=True):
            lacking = bool(np.isnan(values).any())
            kept = np.zeros_like(values) if lacking else values
            yield name, FieldSum(kept, 0.0 if lacking else 1.0, int(lacking))

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Have metrics of distributions only (see :class:`~physicsnemo_fs.metrics.scorecard.Scorecard`)."""
        yield from ()


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator) / np.abs(np.asarray(denominator))


def _root_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.asarray(numerator) / np.asarray(denominator))


def _total_ratio(power: np.ndarray, truth_power: np.ndarray, spectrum) -> FloatArray:
    return _ratio(spectrum(power)[..., 1:].sum(-1), spectrum(truth_power)[..., 1:].sum(-1))


@register("points")
def _points(setting: Setting, grid: Grid) -> Points:
    return Points()


@register("ranks")
def _ranks(setting: Setting, grid: Grid) -> Ranks:
    return Ranks()


@register("spectra")
def _spectra(setting: Setting, grid: Grid) -> Spectra:
    return Spectra()


@register("flow")
def _flow(setting: Setting, grid: Grid) -> Flow | None:
    return Flow() if setting.flow else None


@register("seams")
def _seams(setting: Setting, grid: Grid) -> Seams | None:
    return Seams(WindowGrid.from_dict(json.loads(setting.patches))) if setting.patches else None


@register("pooled")
def _pooled(setting: Setting, grid: Grid) -> PooledCRPS | None:
    sizes = tuple(size for size in setting.pooling if size <= min(grid.shape))
    return PooledCRPS(sizes) if sizes else None


@register("events")
def _events(setting: Setting, grid: Grid) -> Events | None:
    return Events(setting.thresholds, setting.windows) if setting.thresholds else None


@register("histograms")
def _histograms(setting: Setting, grid: Grid) -> Histograms | None:
    return Histograms(setting.edges) if setting.edges else None


@register("phases")
def _phases(setting: Setting, grid: Grid) -> Phases | None:
    return Phases() if setting.phases else None
