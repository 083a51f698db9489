# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.bootstrap import Resampling, block_bootstrap, bootstrap_mean, bootstrap_ratio


def blocked_series(random, blocks=40, length=10):
    """Series with one common value in each block, and its block labels."""
    return np.repeat(random.normal(size=blocks), length), np.repeat(np.arange(blocks), length)


def test_blocks_give_the_standard_error_of_independent_blocks():
    values, labels = blocked_series(np.random.default_rng(0))
    interval = bootstrap_mean(values, Resampling(labels, samples=4000))
    half_width = 1.96 * values[::10].std() / np.sqrt(40)
    assert interval.blocks == 40
    assert (interval.high - interval.low) / 2 == pytest.approx(half_width, rel=0.1)
    too_short = bootstrap_mean(values, Resampling(np.arange(400), samples=4000))
    assert (too_short.high - too_short.low) < 0.5 * (interval.high - interval.low)


def test_coverage():
    """90 % intervals of 40 blocks hold the true mean in 90 % of 300 trials, up to 3 standard errors (5 %)."""
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        values, labels = blocked_series(random, length=2)
        interval = bootstrap_mean(values, Resampling(labels, confidence=0.9, samples=300))
        hits += interval.low <= 0.0 <= interval.high
    assert hits / 300 == pytest.approx(0.9, abs=0.06)


def test_pairing_removes_what_both_series_share():
    random = np.random.default_rng(2)
    shared = np.exp(random.normal(size=30))
    resampling = Resampling(np.arange(30))
    paired = bootstrap_ratio(0.9 * shared, shared, resampling)
    assert (paired.low, paired.estimate, paired.high) == pytest.approx((0.9, 0.9, 0.9))
    unpaired = bootstrap_ratio(0.9 * random.permutation(shared), shared, resampling)
    assert unpaired.high - unpaired.low > 0.3


def test_sums_with_unequal_weights_are_pooled():
    sums, weights = np.array([2.0, 12.0]), np.array([1.0, 3.0])
    assert block_bootstrap(lambda m: m, [(sums, weights)], Resampling(np.array([0, 1]))).estimate == 3.5


def test_functions_of_vectors():
    spectra = np.random.default_rng(3).uniform(1, 2, (6, 4))
    series = [(spectra, np.ones(6)), (2 * spectra, np.ones(6))]
    interval = block_bootstrap(lambda a, b: (a / b).max(-1), series, Resampling(np.arange(6)))
    assert (interval.low, interval.estimate, interval.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_seed_decides():
    values = np.random.default_rng(4).normal(size=12)
    first, second, third = (bootstrap_mean(values, Resampling(np.arange(12), seed=s)) for s in (0, 0, 1))
    assert first == second != third


def test_the_order_of_times_does_not_matter_within_blocks():
    values, labels = np.arange(6.0), np.array([5, 5, 5, 2, 2, 2])
    interval = bootstrap_mean(values, Resampling(labels))
    assert interval == bootstrap_mean(values[[2, 1, 0, 5, 4, 3]], Resampling(labels))
    assert (interval.low, interval.high) == (1.0, 4.0)


def test_one_block_has_no_interval():
    interval = bootstrap_mean(np.arange(4.0), Resampling(np.zeros(4, dtype=int)))
    assert interval.estimate == 1.5
    assert np.isnan([interval.low, interval.high]).all()


def test_empty_resamples_are_left_out():
    weights = np.array([1.0, 0.0, 0.0])
    interval = block_bootstrap(lambda m: m, [(2 * weights, weights)], Resampling(np.arange(3)))
    assert (interval.low, interval.estimate, interval.high) == (2.0, 2.0, 2.0)
    nothing = block_bootstrap(lambda m: m, [(0 * weights, 0 * weights)], Resampling(np.arange(3)))
    assert np.isnan([nothing.low, nothing.estimate, nothing.high]).all()


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="between 0 and 1: got 95"):
        Resampling(np.arange(3), confidence=95.0)
    with pytest.raises(InputError, match="at least 1: got 0"):
        Resampling(np.arange(3), samples=0)
    with pytest.raises(InputError, match="equal times"):
        bootstrap_mean(np.arange(4.0), Resampling(np.arange(3)))
