# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scores of events above thresholds, as a measure."""

from collections.abc import Iterator

import numpy as np

from physicsnemo_fs.metrics import events
from physicsnemo_fs.metrics.crps import CRPSTerms
from physicsnemo_fs.metrics.measures import Area, Context, Forecast, Sums, identity, share_text
from physicsnemo_fs.metrics.statistics import Metric


class Events:
    r"""Scores of events :math:`x > t`, with their threshold t in their names.

    With p the share of members with the event, o whether it happened, and :math:`\overline{\cdot}` the weighted mean
    over points and cases:

    - ``brier_<t>``: :math:`\overline{(p - o)^2}`; ``brier_fair_<t>``: less :math:`\overline{p (1 - p)} / (m - 1)`.
    - ``reliability_error_<t>``: :math:`\sum_k w_k |k/m - \bar o_k| / \sum_k w_k` over the m + 1 probabilities.
    - ``roc_area_<t>``: area under hit rate over false alarm rate, by trapezoids.
    - ``event_ratio_<t>``: :math:`\bar p / \bar o`; ``class_ratio_<s>_<t>``: the same of values from s to t, of
      values up to the least threshold for ``class_ratio_0_<t>``.
    - ``twcrps_fair_<t>``, ``twcrps_biased_<t>``: CRPS of :math:`\max(x_i, t)` and :math:`\max(y, t)`.
    - ``fss_<n>_<t>``: :math:`1 - \overline{(P_f - P_o)^2} / (\overline{P_f^2} + \overline{P_o^2})` with P the share of
      the event in n x n points; for the ensemble the mean of p.

    Shapes: fields ``[member, height, width]`` and ``[height, width]``; tables ``[m + 1, 2]`` add up over cases.
    Units: 1; ``twcrps`` that of the variable.
    Missing values: points with NaN in the truth or a member are skipped; neighbourhoods are means over the others.
    Estimator: tables and fractions are pooled over cases before ratios; ``fair`` is unbiased for m >= 2 members.
    Reference: Brier 1950; Ferro 2014, doi:10.1002/qj.2270; Mason 1982; Naeini et al. 2015; Gneiting & Ranjan 2011,
    doi:10.1198/jbes.2010.08110; Roberts & Lean 2008, doi:10.1175/2007MWR2123.1.

    Example:
        >>> from physicsnemo_fs.data.types import Grid
        >>> from physicsnemo_fs.metrics.measures import Setting
        >>> from physicsnemo_fs.metrics.scorecard import Scorecard
        >>> card = Scorecard(Grid((4, 4), (1.0, 1.0)), members=2, setting=Setting(thresholds=(0.5,)))
        >>> card.add(np.datetime64("2020-01-01"), np.stack([np.zeros((4, 4)), np.ones((4, 4))]), np.ones((4, 4)))
        >>> float(card.metrics["brier_0.5"].pooled(card.statistics))
        0.25
    """

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
