# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The measures that come along; importing this module registers them."""

import json
from collections.abc import Iterator
from functools import partial

import numpy as np

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.metrics.calibration import calibration_error, rank_sum, spread_skill_ratio
from physicsnemo_fs.metrics.crps import CRPSTerms
from physicsnemo_fs.metrics.distribution_measures import Histograms, Phases
from physicsnemo_fs.metrics.event_measure import Events
from physicsnemo_fs.metrics.measures import Area, Context, Forecast, Setting, Sums, identity, register
from physicsnemo_fs.metrics.scale_measures import Flow, PooledCRPS, Spectra
from physicsnemo_fs.metrics.seams import Seams
from physicsnemo_fs.metrics.statistics import FloatArray, Metric, absolute_ratio
from physicsnemo_fs.nn.windows import WindowGrid


class Points:
    r"""Scores at points: CorrDiff's four first, under its names and with its meaning.

    With members :math:`x_i`, their mean :math:`\bar x`, the truth y and :math:`\overline{\cdot}` the weighted mean over
    points and cases:

    - ``rmse``: :math:`\sqrt{\overline{(\bar x - y)^2}}`; ``mae``: :math:`\overline{|\bar x - y|}`.
    - ``crps_fair``, ``crps_biased``: see :mod:`~physicsnemo_fs.metrics.crps`; ``crps`` is CorrDiff's name for it.
    - ``std_dev``: mean over points of the members' standard deviation with ``ddof=0``, as CorrDiff has it.
    - ``bias``: :math:`\overline{\bar x - y}`; ``relative_bias``: over :math:`|\bar y|`.
    - ``spread``: :math:`\sqrt{\overline{s^2}}` with ``ddof=1``; ``spread_skill``:
      :math:`\sqrt{(m + 1) / m}` ``spread / rmse``, 1 for members exchangeable with the truth.
    - ``relative_l2``: ``rmse`` over :math:`\sqrt{\overline{y^2}}`.

    Shapes: fields ``[member, height, width]`` and ``[height, width]``; one sum for each case.
    Units: that of the variable; 1 for ``relative_bias``, ``spread_skill`` and ``relative_l2``.
    Missing values: points with NaN in the truth or a member are skipped and counted.
    Estimator: sums are pooled over cases before roots and ratios; ``fair`` is unbiased for m >= 2 members, ``biased``
    scores the empirical distribution. With one member CRPS is ``mae``, spread and ``crps_fair`` are undefined.
    Reference: Ferro 2014, doi:10.1002/qj.2270; Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1.

    Example:
        >>> from physicsnemo_fs.metrics.scorecard import Scorecard
        >>> card = Scorecard(Grid((4, 4), (1.0, 1.0)), members=2)
        >>> card.add(np.datetime64("2020-01-01"), np.stack([np.ones((4, 4)), 3 * np.ones((4, 4))]), np.ones((4, 4)))
        >>> names = ("rmse", "std_dev", "crps_fair", "crps_biased")
        >>> [float(card.metrics[name].pooled(card.statistics)) for name in names]
        [1.0, 1.0, 0.0, 0.5]
    """

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
        yield Metric(
            "relative_bias", ("error", "truth"), absolute_ratio, "bias over the mean truth; pooled", "1", "zero"
        )
        yield Metric("spread", ("variance",), np.sqrt, "ddof 1; root of the pooled variance", best="none")
        yield Metric(
            "spread_skill", ("variance", "squared_error"), ratio, "ddof 1; times sqrt((m+1)/m)", "1", best="one"
        )
        yield Metric("relative_l2", ("squared_error", "truth_squared"), _root_ratio, "ensemble mean; pooled", "1")


class Ranks:
    r"""The rank histogram with random ties, and its calibration error.

    - ``ece``: :math:`\frac1m \sum_k |\hat F_k - k / (m + 1)|`, see
      :func:`~physicsnemo_fs.metrics.calibration.calibration_error`.

    Shapes: fields ``[member, height, width]`` and ``[height, width]``; counts ``[m + 1]`` add up over cases.
    Units: 1.
    Missing values: points with NaN in the truth or a member are skipped and counted.
    Estimator: counts are pooled over cases; ties are drawn evenly, keyed by seed, variable and case. Undefined for one
    member.
    Reference: Hamill 2001, doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2; Kuleshov et al. 2018, arXiv:1807.00263.

    Example:
        >>> from physicsnemo_fs.metrics.scorecard import Scorecard
        >>> card = Scorecard(Grid((4, 4), (1.0, 1.0)), members=1)
        >>> card.add(np.datetime64("2020-01-01"), np.zeros((1, 4, 4)), np.ones((4, 4)))
        >>> card.rank_frequencies().tolist()
        [0.0, 1.0]
    """

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


def _root_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.asarray(numerator) / np.asarray(denominator))


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
