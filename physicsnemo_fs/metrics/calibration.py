# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Does the ensemble's spread mean what it says: spread-skill ratio and rank histogram."""

import numpy as np
from jaxtyping import Bool, Float, Int

from physicsnemo_fs.metrics.members import member_sums
from physicsnemo_fs.metrics.statistics import FieldSum, FloatArray


def spread_skill_ratio(variance: FloatArray, squared_error: FloatArray, members: int) -> FloatArray:
    r"""Give the corrected ratio of spread and skill, one for members exchangeable with the truth.

    .. math:: \sqrt{\frac{m + 1}{m} \frac{\overline{s^2}}{\overline{(\bar x - y)^2}}}

    (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1). Below one the ensemble is overconfident.

    Args:
        variance: Mean ensemble variance with ``ddof=1``.
        squared_error: Mean squared error of the ensemble mean.
        members: Number of members m.

    Example:
        >>> round(float(spread_skill_ratio(np.float64(1.0), np.float64(1.25), members=4)), 6)
        1.0
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((members + 1) / members * np.asarray(variance) / np.asarray(squared_error))


def rank_histogram(
    ensemble: Float[np.ndarray, "member height width"],
    truth: Float[np.ndarray, "height width"],
    random: np.random.Generator,
    weights: Float[np.ndarray, "height width"] | None = None,
    mask: Bool[np.ndarray, "height width"] | None = None,
) -> FieldSum:
    """Count the truth's rank among the members: flat if calibrated, U-shaped if there is too little spread.

    Where the truth equals members (dry points), its rank is drawn evenly from the tied ones (Hamill 2001,
    doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2).

    Args:
        ensemble: Members.
        truth: Truth; points with NaN in the truth or a member are skipped and counted.
        random: Source of the random ties.
        weights: Weight of each point; one by default.
        mask: True where a point counts.

    Returns:
        Counts of the m + 1 ranks, their sum as weight.

    Example:
        >>> truth = np.array([[0.0, 2.5]])
        >>> rank_histogram(np.array([[[1.0, 1.0]], [[2.0, 2.0]]]), truth, np.random.default_rng(0)).total
        array([1., 0., 1.])
    """
    sums = member_sums(ensemble, truth)
    inside = np.ones(truth.shape, dtype=bool) if mask is None else mask
    valid = inside & ~np.isnan(sums.error)
    return rank_sum(sums.below, sums.ties, len(ensemble), random, valid, weights, int(inside.sum()))


def rank_sum(
    below: Int[np.ndarray, "height width"],
    ties: Int[np.ndarray, "height width"],
    members: int,
    random: np.random.Generator,
    valid: Bool[np.ndarray, "height width"],
    weights: Float[np.ndarray, "height width"] | None = None,
    inside: int | None = None,
) -> FieldSum:
    """Count ranks from the number of members below the truth and equal to it.

    Args:
        below: Members below the truth.
        ties: Members equal to it.
        members: Number of members m.
        random: Source of the random ties.
        valid: Points that count.
        weights: Weight of each point; one by default.
        inside: Number of points that would count without NaN; ``None`` for those of ``valid``.

    Returns:
        Counts of the m + 1 ranks, their sum as weight.
    """
    ranks, tied = below[valid], ties[valid]
    chosen = np.flatnonzero(tied)
    ranks[chosen] += random.integers(0, tied[chosen], endpoint=True, dtype=np.int32)
    weight = None if weights is None else weights[valid]
    counts = np.bincount(ranks, weight, minlength=members + 1).astype(np.float64)
    missing = 0 if inside is None else inside - int(np.count_nonzero(valid))
    return FieldSum(counts, float(counts.sum()), missing)


def calibration_error(share: Float[np.ndarray, "*lead rank"]) -> FloatArray:
    r"""Give the expected calibration error (ECE) of the predictive distribution, from the rank histogram.

    .. math:: \mathrm{ECE} = \frac1m \sum_{k=1}^{m} \left| \hat F_k - \frac{k}{m + 1} \right|

    :math:`\hat F_k` is how often the truth's rank is below k, which should be the k-th of m + 1 equal parts
    (Kuleshov et al. 2018, arXiv:1807.00263). Without unit; 0 is calibrated.

    Args:
        share: Share of each of the m + 1 ranks; leading axes are kept.

    Example:
        >>> round(float(calibration_error(np.array([0.5, 0.0, 0.5]))), 6), float(calibration_error(np.full(4, 0.25)))
        (0.166667, 0.0)
    """
    ranks = share.shape[-1]
    gap = np.abs(np.cumsum(share, axis=-1)[..., :-1] - np.arange(1, ranks) / ranks)
    return gap.mean(-1)
