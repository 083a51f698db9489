# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scores of whole samples that are no functions of means: distances of distributions, annual maxima."""

from dataclasses import replace

import numpy as np

from physicsnemo_fs.metrics.bootstrap import Interval, Resampling, block_bootstrap, interval_of
from physicsnemo_fs.metrics.distributions import sample_distance
from physicsnemo_fs.metrics.scorecard import Scorecard
from physicsnemo_fs.metrics.statistics import absolute_ratio

MOST_RESAMPLES = 200
"""A distance needs a pass over all values for each resample; more change an interval's ends by little."""


def distribution_scores(card: Scorecard, resampling: Resampling) -> dict[str, tuple[Interval, str]]:
    """Give the scores of a card that need more than means, with how each is made.

    - ``w_var``, ``w_skew``, ``w_total``: of phases, see :mod:`~physicsnemo_fs.metrics.phases`.
    - ``annual_maximum_bias``, ``annual_maximum_ratio``: mean annual maximum of the members at a point, minus and over
      the truth's; the blocks of the interval are years.

    Args:
        card: The scorecard.
        resampling: How to resample; its blocks are those of the card's cases.
    """
    found: dict[str, tuple[Interval, str]] = {}
    if card.setting.phases and "circular_variance" in card.statistics:
        found |= _phase_scores(card, resampling)
    if card.maxima.fields:
        found |= _maxima_scores(card, resampling)
    return found


def _phase_scores(card: Scorecard, resampling: Resampling) -> dict[str, tuple[Interval, str]]:
    repeats = resampling.repeats()[:MOST_RESAMPLES]
    blocks = len(np.unique(resampling.blocks))
    series = {}
    for name in ("variance", "skewness"):
        statistic = card.statistics[f"circular_{name}"]
        values, weights = statistic.sums, statistic.weights
        estimate = _distance(values, weights)
        resampled = [_distance(values, weights * repeat) for repeat in repeats] if blocks > 1 else []
        series[name] = (estimate, np.array(resampled))
    (variance, resampled_variance), (skewness, resampled_skewness) = series["variance"], series["skewness"]
    total = (variance + skewness, resampled_variance + resampled_skewness)
    words = "Wasserstein-1 between images of members and of truth"
    numbers = {"w_var": series["variance"], "w_skew": series["skewness"], "w_total": total}
    return {
        name: (interval_of(estimate, values, resampling.confidence, blocks), words)
        for name, (estimate, values) in numbers.items()
    }


def _distance(values: np.ndarray, weights: np.ndarray) -> float:
    kept = weights > 0
    truth, members = values[kept, 0], values[kept, 1:]
    repeated = np.repeat(weights[kept], members.shape[1])
    return sample_distance(truth, members.ravel(), weights[kept], repeated)


def _maxima_scores(card: Scorecard, resampling: Resampling) -> dict[str, tuple[Interval, str]]:
    pairs = card.maxima.pairs()
    forecast, truth = np.array(list(pairs.values())).T
    years = replace(resampling, blocks=np.array([year for _, year in pairs]))
    known = ~(np.isnan(forecast) | np.isnan(truth))
    series = [(np.where(known, values, 0.0), known.astype(np.float64)) for values in (forecast, truth)]
    words = f"mean over points, members and {len(np.unique(years.blocks))} years"
    return {
        "annual_maximum_bias": (block_bootstrap(lambda a, b: a - b, series, years), words),
        "annual_maximum_ratio": (block_bootstrap(absolute_ratio, series, years), words),
    }
