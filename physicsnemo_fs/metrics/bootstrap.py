# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals by resampling independent blocks.

Neighbouring times of one trajectory or day are correlated; treating them as independent makes intervals too
short. Whole blocks are resampled with replacement (Künsch 1989, doi:10.1214/aos/1176347265; percentile
interval of Efron & Tibshirani 1993), the same blocks for all series: comparisons are paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.statistics import FloatArray, divide


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Args:
        estimate: Value from all blocks.
        low: Lower end; NaN with a single block.
        high: Upper end; NaN with a single block.
        blocks: Number of independent blocks.
    """

    estimate: float
    low: float
    high: float
    blocks: int


@dataclass(frozen=True)
class Resampling:
    """How to resample.

    Args:
        blocks: Label of the independent block of each time.
        confidence: Coverage of the interval, between 0 and 1.
        samples: Number of resamples.
        seed: Seed; equal seeds resample equal blocks, so that separate calls stay paired.

    Raises:
        InputError: If confidence or samples are out of range.
    """

    blocks: np.ndarray
    confidence: float = 0.95
    samples: int = 1000
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence must be between 0 and 1: got {self.confidence}")
        if self.samples < 1:
            raise InputError(f"bootstrap samples must be at least 1: got {self.samples}")

    def at(self, chosen: np.ndarray) -> "Resampling":
        """Give the same resampling of some of the times."""
        return replace(self, blocks=self.blocks[chosen])

    def repeats(self) -> Float[np.ndarray, "sample time"]:
        """Give how often each time is drawn in each resample.

        Example:
            >>> repeats = Resampling(np.array([0, 0, 1]), samples=100).repeats()
            >>> repeats.shape, bool((repeats[:, 0] == repeats[:, 1]).all())
            ((100, 3), True)
        """
        _, codes = np.unique(self.blocks, return_inverse=True)
        return _repeats(self, int(codes.max()) + 1)[:, codes]


def block_bootstrap(
    function: Callable[..., FloatArray],
    series: Sequence[tuple[Float[np.ndarray, " time *value"], Float[np.ndarray, " time"]]],
    resampling: Resampling,
) -> Interval:
    """Give the interval of a function of means, by paired resampling of blocks.

    Args:
        function: Takes the mean of each series (vectorised over a leading axis), gives one number for each.
        series: Sums and weights of each time; a mean is the ratio of their totals.
        resampling: Blocks, confidence, number of samples, seed.

    Example:
        >>> values = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
        >>> blocks = Resampling(np.array([0, 0, 1, 1, 2, 2]))
        >>> block_bootstrap(lambda mean: mean, [(values, np.ones(6))], blocks)
        Interval(estimate=2.0, low=1.0, high=3.0, blocks=3)
    """
    _, codes = np.unique(resampling.blocks, return_inverse=True)
    count = int(codes.max()) + 1
    for sums, weights in series:
        if not len(sums) == len(weights) == codes.size:
            raise InputError(
                f"series and blocks must have equal times: got {len(sums)}, {len(weights)} and {codes.size}"
            )
    estimate = float(function(*(divide(sums.sum(0), weights.sum()) for sums, weights in series)))
    if count < 2:
        return Interval(estimate, np.nan, np.nan, count)
    repeats = _repeats(resampling, count)
    means = (divide(_resample(repeats, codes, sums), _resample(repeats, codes, weights)) for sums, weights in series)
    return interval_of(estimate, np.asarray(function(*means)), resampling.confidence, count)


def interval_of(estimate: float, values: Float[np.ndarray, " sample"], confidence: float, blocks: int) -> Interval:
    """Give the percentile interval of resampled values; NaN ones are left out.

    Example:
        >>> interval_of(1.0, np.array([0.0, 1.0, 2.0]), 0.5, blocks=3)
        Interval(estimate=1.0, low=0.5, high=1.5, blocks=3)
    """
    values = values[~np.isnan(values)]
    if not values.size:
        return Interval(estimate, np.nan, np.nan, blocks)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), blocks)


def _repeats(resampling: Resampling, blocks: int) -> Float[np.ndarray, "sample block"]:
    random = np.random.default_rng(resampling.seed)
    return random.multinomial(blocks, np.full(blocks, 1 / blocks), size=resampling.samples).astype(np.float64)


def _resample(
    repeats: Float[np.ndarray, "sample block"], codes: np.ndarray, sums: Float[np.ndarray, " time *value"]
) -> Float[np.ndarray, " sample *value"]:
    block_sums = np.zeros((repeats.shape[1], *sums.shape[1:]))
    np.add.at(block_sums, codes, sums)
    return np.tensordot(repeats, block_sums, axes=1)


def bootstrap_mean(values: Float[np.ndarray, " time"], resampling: Resampling) -> Interval:
    """Give the mean of a series with its interval.

    Example:
        >>> bootstrap_mean(np.array([1.0, 3.0]), Resampling(np.array([0, 1]))).estimate
        2.0
    """
    return block_bootstrap(lambda mean: mean, [(values, np.ones(len(values)))], resampling)


def bootstrap_ratio(
    numerator: Float[np.ndarray, " time"], denominator: Float[np.ndarray, " time"], resampling: Resampling
) -> Interval:
    """Give the ratio of the means of two paired series with its interval.

    Example:
        >>> bootstrap_ratio(np.array([1.0, 3.0]), np.array([2.0, 6.0]), Resampling(np.array([0, 1])))
        Interval(estimate=0.5, low=0.5, high=0.5, blocks=2)
    """
    ones = np.ones(len(numerator))
    return block_bootstrap(lambda a, b: a / b, [(numerator, ones), (denominator, ones)], resampling)
