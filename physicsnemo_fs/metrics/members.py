# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What one pass over sorted members gives at every point: the sums that scores of an ensemble share.

Members are sorted a few thousand points at a time, so that everything stays in the processor's cache: O(m log m)
for m members, and no copy of the ensemble. Sums over members are in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from physicsnemo_fs.errors import InputError

Ensemble = Float[np.ndarray, "member *point"]
Points = Float[np.ndarray, "*point"]

VALUES_AT_ONCE = 65536


@dataclass(frozen=True)
class MemberSums:
    r"""Sums over the members :math:`x_i` at every point, with :math:`d_i = x_i - y`.

    Args:
        members: Number of members m.
        error: :math:`\frac1m \sum_i d_i`.
        accuracy: :math:`\frac1m \sum_i |d_i|`.
        pair_sum: :math:`\sum_{i<j} |x_i - x_j|`.
        variance: :math:`\frac1m \sum_i (x_i - \bar x)^2`, ``ddof=0``.
        below: Number of members below the truth.
        ties: Number of members equal to the truth.
        above: Number of members above each threshold, thresholds first.
        tail_accuracy: ``accuracy`` of :math:`\max(x_i, t)` and :math:`\max(y, t)`, thresholds first.
        tail_pair_sum: ``pair_sum`` of the same.
    """

    members: int
    error: Points
    accuracy: Points
    pair_sum: Points
    variance: Points
    below: Int[np.ndarray, "*point"]
    ties: Int[np.ndarray, "*point"]
    above: Int[np.ndarray, "threshold ..."]
    tail_accuracy: Float[np.ndarray, "threshold ..."]
    tail_pair_sum: Float[np.ndarray, "threshold ..."]


def member_sums(ensemble: Ensemble, truth: Points, thresholds: Sequence[float] = ()) -> MemberSums:
    """Sum over the members at every point.

    Args:
        ensemble: Members first, float32 or float64, any unit.
        truth: One value for each point, in the same unit.
        thresholds: Values t of events ``x > t``.

    Returns:
        Float64 sums; NaN where a member or the truth is NaN, counts are meaningless there.

    Raises:
        InputError: If shapes do not fit or there is no member.

    Example:
        >>> sums = member_sums(np.array([[1.0], [3.0]]), np.array([2.0]), thresholds=[2.5])
        >>> sums.accuracy.tolist(), sums.pair_sum.tolist(), sums.variance.tolist(), sums.above.tolist()
        ([1.0], [2.0], [1.0], [[1]])
    """
    if ensemble.shape[1:] != truth.shape or ensemble.shape[0] == 0:
        raise InputError(f"an ensemble must be [member, *truth shape]: got {ensemble.shape} and {truth.shape}")
    members, points, events = len(ensemble), truth.size, len(thresholds)
    flat, observed = ensemble.reshape(members, points), truth.reshape(points)
    values = np.empty((4 + 2 * events, points))
    counts = np.empty((2 + events, points), dtype=np.int32)
    step = max(VALUES_AT_ONCE // members, 1)
    for start in range(0, points, step):
        part = slice(start, start + step)
        _sum_part(flat[:, part], observed[part], thresholds, values[:, part], counts[:, part])
    shape = truth.shape
    error, accuracy, pair_sum, variance = (values[i].reshape(shape) for i in range(4))
    below, ties = counts[0].reshape(shape), counts[1].reshape(shape)
    tails = values[4:].reshape(2, events, *shape)
    return MemberSums(
        members, error, accuracy, pair_sum, variance, below, ties, counts[2:].reshape(events, *shape), *tails
    )


def _sum_part(
    ensemble: Float[np.ndarray, "member part"],
    truth: Float[np.ndarray, " part"],
    thresholds: Sequence[float],
    values: Float[np.ndarray, "value part"],
    counts: Int[np.ndarray, "count part"],
) -> None:
    members, events = len(ensemble), len(thresholds)
    ordered = np.ascontiguousarray(ensemble.T)
    ordered.sort(axis=1)  # NaN comes last and makes every sum NaN
    deviation = (ordered - truth[:, None]).astype(np.float64)
    weights = np.stack([np.full(members, 1 / members), pair_weights(members)])
    values[0], values[2] = weights @ deviation.T
    values[1] = np.abs(deviation).mean(1)
    counts[0] = np.count_nonzero(deviation < 0, axis=1)
    counts[1] = np.count_nonzero(deviation == 0, axis=1)
    deviation -= values[0][:, None]
    values[3] = np.einsum("pm,pm->p", deviation, deviation) / members
    for i, threshold in enumerate(thresholds):
        counts[2 + i] = np.count_nonzero(ordered > threshold, axis=1)
        tail = (np.maximum(ordered, threshold) - np.maximum(truth, threshold)[:, None]).astype(np.float64)
        values[4 + i] = np.abs(tail).mean(1)
        values[4 + events + i] = tail @ weights[1]


def pair_weights(members: int) -> Float[np.ndarray, " member"]:
    r"""Give the weights of sorted members in :math:`\sum_{i<j} |x_i - x_j| = \sum_k (2 k - m - 1) x_{(k)}`.

    Example:
        >>> pair_weights(3).tolist()
        [-2.0, 0.0, 2.0]
    """
    return 2.0 * np.arange(1, members + 1) - members - 1
