# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Does the ensemble's spread mean what it says: spread-skill ratio and rank histogram."""

import numpy as np
from jaxtyping import Bool, Float

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
    below = (ensemble < truth).sum(0)
    ties = (ensemble == truth).sum(0)
    ranks = below + random.integers(0, ties, endpoint=True)
    inside = np.ones(truth.shape, dtype=bool) if mask is None else mask
    valid = inside & ~np.isnan(truth) & ~np.isnan(ensemble).any(0)
    counts = np.bincount(ranks[valid], None if weights is None else weights[valid], minlength=len(ensemble) + 1).astype(
        np.float64
    )
    return FieldSum(counts, float(counts.sum()), int(inside.sum() - valid.sum()))
