# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.statistics import FieldSum, Metric, Statistic, weighted_sum

TIMES = np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]").astype("datetime64[ns]")


def filled(times, values):
    statistic = Statistic("error")
    for time, value in zip(times, values, strict=True):
        statistic.add(time, weighted_sum(value))
    return statistic


@given(st.integers(0, 2**31), st.lists(st.integers(0, 19), min_size=1, max_size=19, unique=True))
@settings(max_examples=15, deadline=None)
def test_merging_is_scoring_at_once_to_the_last_bit(seed, chosen):
    values = np.random.default_rng(seed).normal(1e3, 1.0, (20, 5, 7)).astype(np.float32)
    rest = [index for index in range(20) if index not in chosen]
    at_once = filled(TIMES, values)
    first, second = filled(TIMES[chosen], values[chosen]), filled(TIMES[rest], values[rest])
    for merged in (first.merge(second), second.merge(first)):
        assert merged.mean() == at_once.mean()
        np.testing.assert_array_equal(merged.means(), at_once.means())
        np.testing.assert_array_equal(merged.times, TIMES)


def test_missing_points_are_skipped_and_counted():
    field = np.arange(6.0).reshape(2, 3)
    field[0, 1] = np.nan
    assert weighted_sum(field) == FieldSum(14.0, 5.0, 1)
    weights = np.array([[1.0, 1.0, 2.0], [0.0, 1.0, 1.0]])
    mask = np.array([[True, True, True], [True, True, False]])
    assert weighted_sum(field, weights, mask) == FieldSum(8.0, 4.0, 1)


def test_area_weights_give_the_mean_over_the_sphere():
    """The mean of sin² of latitude over a sphere is 1/3; without weights it is 1/2."""
    latitude = np.radians(np.linspace(-89.5, 89.5, 180))[:, None] * np.ones((1, 4))
    total = weighted_sum(np.sin(latitude) ** 2, np.cos(latitude))
    assert total.total / total.weight == pytest.approx(1 / 3, abs=1e-4)


def test_a_time_without_points_weighs_nothing():
    values = np.ones((2, 2, 2))
    values[1] = np.nan
    statistic = filled(TIMES[:2], values)
    assert statistic.mean() == 1.0
    assert np.isnan(statistic.means()[1])
    assert statistic.missing.tolist() == [0, 4]


def test_metrics_are_functions_of_means():
    statistic = filled(TIMES[:2], np.stack([np.full((2, 2), 9.0), np.full((2, 2), 16.0)]))
    rmse = Metric("rmse", ("error",), np.sqrt, "root of the pooled mean")
    assert rmse.pooled({"error": statistic}) == np.sqrt(12.5)
    assert rmse.per_time({"error": statistic}).tolist() == [3.0, 4.0]


def test_double_counting_is_refused():
    statistic = filled(TIMES[:2], np.ones((2, 2, 2)))
    with pytest.raises(InputError, match="scored once"):
        statistic.add(TIMES[0], FieldSum(1.0, 1.0))
    with pytest.raises(InputError, match="different times: 1"):
        statistic.merge(filled(TIMES[1:2], np.ones((1, 2, 2))))
    with pytest.raises(InputError, match="'error' and 'bias'"):
        statistic.merge(Statistic("bias"))
