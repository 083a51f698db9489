# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Distributions of values: histograms that add up, and the distance between two distributions."""

import numpy as np
from jaxtyping import Bool, Float

from physicsnemo_fs.metrics.statistics import FieldSum, FloatArray


def histogram_edges(low: float, high: float, bins: int = 200) -> Float[np.ndarray, " edge"]:
    """Give even edges that reach a quarter of the range beyond it on both sides, for tails that only members have.

    Args:
        low: Least value of the truth.
        high: Largest value of the truth.
        bins: Number of bins.

    Example:
        >>> histogram_edges(0.0, 4.0, 6).tolist()
        [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    margin = 0.25 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, bins + 1)


def histogram(
    fields: Float[np.ndarray, "*lead height width"],
    edges: Float[np.ndarray, " edge"],
    valid: Bool[np.ndarray, "height width"],
    weights: Float[np.ndarray, "height width"] | None = None,
) -> FieldSum:
    """Count values in bins; the first and the last bin also hold what lies beyond them.

    Args:
        fields: Values; leading axes (members) are counted together.
        edges: Even, increasing edges of the bins.
        valid: Points that count.
        weights: Weight of each point; one by default.

    Returns:
        Weight in each bin, and the sum of weights: means are shares.

    Example:
        >>> histogram(np.array([[0.1, 0.9, 7.0]]), np.array([0.0, 0.5, 1.0]), np.ones((1, 3), dtype=bool)).total
        array([1., 2.])
    """
    bins = len(edges) - 1
    scale, total = bins / (edges[-1] - edges[0]), np.zeros(len(edges) - 1)
    weight = None if weights is None else weights[valid].astype(np.float64)
    for field in fields.reshape(-1, *valid.shape):  # one at a time: an ensemble of doubles is large
        place = np.clip((field[valid] - edges[0]) * scale, 0, bins - 1).astype(np.int64)
        total += np.bincount(place, weight, minlength=bins)
    return FieldSum(total, float(total.sum()))


def histogram_distance(share: FloatArray, other: FloatArray, width: float) -> FloatArray:
    r"""Give the Wasserstein-1 distance of two histograms, :math:`\int |F(z) - G(z)| dz`, in the values' unit.

    Args:
        share: Share of each bin, last axis.
        other: The other's.
        width: Width of a bin; distances below it are not resolved.

    Example:
        >>> float(histogram_distance(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0]), 0.5))
        1.0
    """
    return np.abs(np.cumsum(np.asarray(share) - np.asarray(other), axis=-1)).sum(-1) * width


def log_histogram_bias(share: FloatArray, other: FloatArray, floor: float = 1e-7) -> FloatArray:
    r"""Give the mean over bins of :math:`|\log_{10} (p / q)|`: tails count as much as the bulk.

    Args:
        share: Share of each bin, last axis.
        other: The truth's; bins where both are below the floor are left out.
        floor: Least share that counts; smaller ones are set to it.

    Example:
        >>> float(log_histogram_bias(np.array([0.9, 0.1]), np.array([0.99, 0.01]))) > 0.5
        True
    """
    p, q = np.asarray(share), np.asarray(other)
    used = (p >= floor) | (q >= floor)
    gap = np.abs(np.log10(np.maximum(p, floor)) - np.log10(np.maximum(q, floor)))
    with np.errstate(invalid="ignore"):
        return np.where(used, gap, 0.0).sum(-1) / used.sum(-1)


def sample_distance(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " k"],
    first_weights: Float[np.ndarray, " n"] | None = None,
    second_weights: Float[np.ndarray, " k"] | None = None,
) -> float:
    r"""Give the Wasserstein-1 distance of two weighted samples, :math:`\int |F(z) - G(z)| dz`, in their unit.

    Args:
        first: Values.
        second: Values.
        first_weights: Their weights; one by default.
        second_weights: Their weights; one by default.

    Returns:
        The distance; NaN if a sample is empty or has a NaN.

    Example:
        >>> sample_distance(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
        2.0
    """
    values = np.concatenate([first, second])
    weights = [
        np.ones(len(sample)) if weight is None else weight
        for sample, weight in ((first, first_weights), (second, second_weights))
    ]
    sums = [weight.sum() for weight in weights]
    if not min(sums) > 0 or np.isnan(values).any():
        return float("nan")
    order = np.argsort(values, kind="stable")
    signed = np.concatenate([weights[0] / sums[0], -weights[1] / sums[1]])[order]
    return float((np.abs(np.cumsum(signed)[:-1]) * np.diff(values[order])).sum())
