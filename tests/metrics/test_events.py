# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics import events
from physicsnemo_fs.metrics.distributions import (
    histogram,
    histogram_distance,
    histogram_edges,
    log_histogram_bias,
    sample_distance,
)
from physicsnemo_fs.metrics.pooling import pool

FEW = settings(max_examples=15, deadline=None)


def table_of(forecast, truth, threshold):
    count, happened = (forecast > threshold).sum(0), truth > threshold
    return events.event_table(count, happened, len(forecast), np.ones(truth.shape, dtype=bool)).total


def draw(seed=0, members=6, points=400):
    random = np.random.default_rng(seed)
    return random.normal(size=(members, points)), random.normal(size=points)


@given(st.integers(0, 2**31), st.floats(-1.0, 1.0))
@FEW
def test_scores_of_events_are_their_definitions(seed, threshold):
    forecast, truth = draw(seed)
    p, o = (forecast > threshold).mean(0), truth > threshold
    table = table_of(forecast, truth, threshold)
    assert events.brier_score(table) == pytest.approx(((p - o) ** 2).mean())
    assert events.brier_fair(table) == pytest.approx(((p - o) ** 2 - p * (1 - p) / 5).mean())
    assert events.event_ratio(table) == pytest.approx(p.sum() / o.sum())
    assert events.calm_ratio(table) == pytest.approx((1 - p).sum() / (~o).sum())
    expected = sum(abs((p[p == q] - o[p == q]).sum()) for q in np.unique(p)) / p.size
    assert events.reliability_error(table) == pytest.approx(expected)
    wins = (p[o][:, None] > p[~o]).mean() + (p[o][:, None] == p[~o]).mean() / 2
    assert events.roc_area(table) == pytest.approx(wins)


def test_the_fair_brier_score_does_not_depend_on_the_number_of_members():
    """p = 1/2 for all: the score of the distribution is 1/4; four standard errors."""
    for members in (2, 10):
        forecast, truth = draw(members=members, points=100_000)
        table = table_of(forecast, truth, 0.0)
        assert events.brier_fair(table) == pytest.approx(0.25, abs=0.004)
        assert events.brier_score(table) == pytest.approx(0.25 + 0.25 / members, abs=0.004)
    assert np.isnan(events.brier_fair(table_of(*draw(members=1), 0.0)))


def test_tables_of_parts_add_up():
    forecast, truth = draw()
    parts = [table_of(forecast[:, p], truth[p], 0.5) for p in (slice(0, 100), slice(100, None))]
    np.testing.assert_array_equal(sum(parts), table_of(forecast, truth, 0.5))


def test_an_event_that_never_happens_has_no_ratio():
    table = table_of(*draw(), 100.0)
    assert np.isnan(events.event_ratio(table))
    assert np.isnan(events.roc_area(table))
    assert events.brier_score(table) == 0.0


def test_classes_partition_what_happens():
    forecast, truth = draw(points=2000)
    low, high = (table_of(forecast, truth, t) for t in (0.0, 1.0))
    expected = ((forecast > 0) & (forecast <= 1)).mean() / ((truth > 0) & (truth <= 1)).mean()
    assert events.class_ratio(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("window", [1, 3, 7])
def test_neighbourhoods_are_means_cut_off_at_the_edge(window):
    field = (np.random.default_rng(0).random((9, 12)) > 0.6).astype(float)
    found, half = events.neighbourhood_fraction(field, window), window // 2
    for y, x in ((0, 0), (4, 5), (8, 11)):
        box = field[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
        assert found[y, x] == pytest.approx(box.mean())


def test_a_shifted_event_is_forgiven_by_wide_neighbourhoods():
    truth = np.zeros((40, 40))
    truth[10:14, 10:14] = 1.0
    shifted = np.roll(truth, 4, axis=1)
    scores = []
    for window in (1, 5, 17):
        f, o = (events.neighbourhood_fraction(field, window) for field in (shifted, truth))
        scores.append(events.fractions_skill_score(((f - o) ** 2).mean(), (f**2 + o**2).mean()))
    assert scores[0] == 0.0
    assert scores == sorted(scores)
    assert scores[-1] > 0.75


def test_pooling_is_the_mean_and_the_largest_of_blocks():
    field = np.random.default_rng(0).normal(280, 5, (3, 9, 14)).astype(np.float32)
    blocks = field[:, :8, :12].reshape(3, 2, 4, 3, 4)
    np.testing.assert_allclose(pool(field, 4, "mean"), blocks.astype(float).mean((2, 4)), rtol=1e-7)
    np.testing.assert_array_equal(pool(field, 4, "max"), blocks.max((2, 4)))
    field[0, 0, 0] = np.nan
    assert np.isnan(pool(field, 4, "max")).sum() == np.isnan(pool(field, 4, "mean")).sum() == 1
    with pytest.raises(InputError, match="1 to 9 points"):
        pool(field, 10, "mean")


def test_histograms_add_up_and_hold_everything():
    values = np.random.default_rng(0).normal(0, 3, (2, 20, 20))
    edges, valid = histogram_edges(-1.0, 1.0, 50), np.ones((20, 20), dtype=bool)
    whole = histogram(values, edges, valid)
    assert whole.total.sum() == whole.weight == 800
    np.testing.assert_array_equal(whole.total, sum(histogram(v, edges, valid).total for v in values))
    inner = np.histogram(values, edges)[0]
    np.testing.assert_array_equal(whole.total[1:-1], inner[1:-1])


def test_distances_of_gaussians_are_their_shift():
    """W1 of two distributions that differ by a shift is the shift; bins of 0.02."""
    values = np.random.default_rng(0).normal(size=(1, 300, 300))
    edges, valid = np.linspace(-6, 7, 651), np.ones((300, 300), dtype=bool)
    first, second = (histogram(v, edges, valid) for v in (values, values + 0.5))
    shares = [each.total / each.weight for each in (first, second)]
    assert histogram_distance(*shares, 0.02) == pytest.approx(0.5, abs=0.01)
    assert log_histogram_bias(shares[0], shares[0]) == 0.0
    assert sample_distance(values.ravel(), values.ravel() + 0.5) == pytest.approx(0.5)


def test_sample_distances_are_scipys():
    from scipy.stats import wasserstein_distance

    random = np.random.default_rng(0)
    first, second, weights = random.normal(size=40), random.gamma(1.0, 1.0, 70), random.random(70)
    expected = wasserstein_distance(first, second, None, weights)
    assert sample_distance(first, second, None, weights) == pytest.approx(expected)
    assert np.isnan(sample_distance(np.zeros(0), second))
