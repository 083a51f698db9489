# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scores of events ``x > threshold``: from a table of forecast probabilities against what happened.

All follow from one table, summed over points: entry ``[k, 0]`` is the weight of the points where ``k`` of ``m``
members had the event, entry ``[k, 1]`` the weight of those where it happened. Tables add up, so that parts merge.
Leading axes (times, bootstrap samples) are kept.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from physicsnemo_fs.metrics.statistics import FieldSum, FloatArray

Table = Float[np.ndarray, "*lead count 2"]


def event_table(
    count: Int[np.ndarray, "*point"],
    happened: Bool[np.ndarray, "*point"],
    members: int,
    valid: Bool[np.ndarray, "*point"],
    weights: Float[np.ndarray, "*point"] | None = None,
) -> FieldSum:
    """Count forecasts and occurrences for each number of members that had the event.

    Args:
        count: Members with the event.
        happened: Whether the truth had it.
        members: Number of members m.
        valid: Points that count; elsewhere (NaN, outside a mask) they are left out.
        weights: Weight of each point; one by default.

    Returns:
        The table ``[m + 1, 2]`` and its weight.

    Example:
        >>> count, happened = np.array([0, 2, 2]), np.array([False, True, False])
        >>> event_table(count, happened, 2, np.ones(3, dtype=bool)).total.tolist()
        [[1.0, 0.0], [0.0, 0.0], [2.0, 1.0]]
    """
    chosen = count[valid]
    weight = np.ones(chosen.size) if weights is None else weights[valid].astype(np.float64)
    total = np.bincount(chosen, weight, minlength=members + 1)
    hits = np.bincount(chosen, weight * happened[valid], minlength=members + 1)
    return FieldSum(np.stack([total, hits], axis=-1).astype(np.float64), float(total.sum()))


def _probability(table: Table) -> Float[np.ndarray, " count"]:
    return np.linspace(0.0, 1.0, table.shape[-2])


def brier_score(table: Table) -> FloatArray:
    r"""Give the mean squared error of the probabilities, :math:`\overline{(k/m - o)^2}`; 0 is perfect.

    The probability is the share of members (Brier 1950); no correction for few members is made.

    Example:
        >>> float(brier_score(np.array([[0.5, 0.0], [0.0, 0.0], [0.5, 0.25]])))
        0.25
    """
    total, hits = table[..., 0], table[..., 1]
    p = _probability(table)
    return _over((p**2 * (total - hits) + (1 - p) ** 2 * hits).sum(-1), total.sum(-1))


def brier_fair(table: Table) -> FloatArray:
    r"""Give the Brier score that is unbiased for m members: :math:`-\overline{p(1-p)}/(m-1)` is added.

    (Ferro 2014, doi:10.1002/qj.2270.) Undefined (NaN) for one member.

    Example:
        >>> float(brier_fair(np.array([[0.0, 0.0], [1.0, 0.5], [0.0, 0.0]])))
        0.0
    """
    members = table.shape[-2] - 1
    if members < 2:
        return np.full(table.shape[:-2], np.nan)[()]
    p, total = _probability(table), table[..., 0]
    return brier_score(table) - _over((p * (1 - p) * total).sum(-1), total.sum(-1)) / (members - 1)


def reliability_curve(table: Table) -> Float[np.ndarray, "*lead count"]:
    """Give how often the event happened at each forecast probability k / m; NaN where it was never forecast.

    Example:
        >>> reliability_curve(np.array([[2.0, 0.0], [0.0, 0.0], [4.0, 3.0]])).tolist()
        [0.0, nan, 0.75]
    """
    return np.asarray(_over(table[..., 1], table[..., 0]))


def reliability_error(table: Table) -> FloatArray:
    r"""Give the expected calibration error :math:`\sum_k w_k |k/m - \bar o_k| / \sum_k w_k`; 0 is reliable.

    (Naeini et al. 2015; the bins are the probabilities that m members can give.)

    Example:
        >>> float(reliability_error(np.array([[2.0, 0.0], [2.0, 1.0]])))
        0.25
    """
    total, hits = table[..., 0], table[..., 1]
    return _over(np.abs(_probability(table) * total - hits).sum(-1), total.sum(-1))


def roc_area(table: Table) -> FloatArray:
    """Give the area under the curve of hit rate over false alarm rate; 1 separates perfectly, 0.5 not at all.

    Trapezoids between the m + 2 warning levels (Mason 1982). NaN where the event never or always happened.

    Example:
        >>> float(roc_area(np.array([[1.0, 0.0], [1.0, 1.0]])))
        1.0
    """
    hits, alarms = table[..., 1], table[..., 0] - table[..., 1]
    hit_rate = np.asarray(_over(_from_top(hits), hits.sum(-1)[..., None]))
    false_rate = np.asarray(_over(_from_top(alarms), alarms.sum(-1)[..., None]))
    return (np.diff(false_rate, axis=-1) * (hit_rate[..., 1:] + hit_rate[..., :-1]) / 2).sum(-1)


def _from_top(values: np.ndarray) -> np.ndarray:
    sums = np.cumsum(values[..., ::-1], axis=-1)
    return np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)


def event_ratio(table: Table) -> FloatArray:
    """Give how often members have the event over how often it happens; 1 is right. NaN if it never happens.

    Example:
        >>> float(event_ratio(np.array([[1.0, 1.0], [1.0, 0.0]])))
        1.0
    """
    return _over((_probability(table) * table[..., 0]).sum(-1), table[..., 1].sum(-1))


def calm_ratio(table: Table) -> FloatArray:
    """Give how often members are without the event over how often the truth is; 1 is right.

    Example:
        >>> float(calm_ratio(np.array([[0.5, 0.0], [0.5, 0.0]])))
        0.5
    """
    total = table[..., 0].sum(-1)
    return _over(total - (_probability(table) * table[..., 0]).sum(-1), total - table[..., 1].sum(-1))


def class_ratio(table: Table, higher: Table) -> FloatArray:
    """Give how often members lie between two thresholds over how often the truth does; 1 is right.

    Args:
        table: Table of the lower threshold.
        higher: Table of the higher one.

    Example:
        >>> low, high = np.array([[0.5, 0.2], [0.5, 0.4]]), np.array([[0.9, 0.1], [0.1, 0.1]])
        >>> round(float(class_ratio(low, high)), 12)
        1.0
    """
    forecast = [(_probability(t) * t[..., 0]).sum(-1) for t in (table, higher)]
    happened = [t[..., 1].sum(-1) for t in (table, higher)]
    return _over(forecast[0] - forecast[1], happened[0] - happened[1])


def _over(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(denominator) > 0, np.asarray(numerator) / np.asarray(denominator), np.nan)[()]


def neighbourhood_fraction(
    event: Float[np.ndarray, "*lead height width"], window: int
) -> Float[np.ndarray, "*lead height width"]:
    """Give the mean over a square of ``window`` points round each point, cut off at the edges of the field.

    Args:
        event: Share of the event at each point, finite.
        window: Odd number of points along the side.

    Example:
        >>> neighbourhood_fraction(np.array([[0.0, 1.0, 0.0]]), 3).round(3).tolist()
        [[0.5, 0.333, 0.5]]
    """
    return _box_sum(event.astype(np.float64), window) / _box_sum(np.ones(event.shape[-2:]), window)


def _box_sum(field: np.ndarray, window: int) -> np.ndarray:
    for axis in (-2, -1):
        size = field.shape[axis]
        sums = np.concatenate([np.zeros_like(field.take([0], axis)), np.cumsum(field, axis)], axis)
        place = np.arange(size)
        high, low = np.minimum(place + window // 2 + 1, size), np.maximum(place - window // 2, 0)
        field = sums.take(high, axis) - sums.take(low, axis)
    return field


def fractions_skill_score(squared_difference: FloatArray, squares: FloatArray) -> FloatArray:
    r"""Give the fractions skill score :math:`1 - \overline{(P_f - P_o)^2} / (\overline{P_f^2} + \overline{P_o^2})`.

    :math:`P` is the share of a neighbourhood with the event; for an ensemble the mean of the members' (Roberts &
    Lean 2008, doi:10.1175/2007MWR2123.1). 1 is perfect; means are pooled before the ratio. NaN if the event never
    happens and is never forecast.

    Example:
        >>> float(fractions_skill_score(np.float64(0.5), np.float64(2.0)))
        0.75
    """
    return 1 - _over(squared_difference, squares)
