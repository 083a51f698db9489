# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scores against closed forms, and the properties that define them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.crps import crps_biased, crps_fair, threshold_weighted_crps
from physicsnemo_fs.metrics.members import VALUES_AT_ONCE, member_sums

FEW = settings(max_examples=15, deadline=None)
POINTS = 60_000


def gaussian_crps(mean, spread, truth):
    z = (truth - mean) / spread
    return spread * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


@pytest.mark.parametrize(
    ("draw", "closed"),
    [
        (lambda r, n: r.normal(1.0, 2.0, n), lambda y: gaussian_crps(1.0, 2.0, y)),
        (lambda r, n: r.exponential(1.0, n), lambda y: y - 2 * (1 - math.exp(-y)) + 0.5),
        (lambda r, n: r.uniform(0.0, 1.0, n), lambda y: y**2 - y + 1 / 3),
    ],
    ids=["Gaussian", "exponential", "uniform"],
)
def test_the_fair_crps_estimates_the_closed_form(draw, closed):
    """Its mean over many ensembles of 4 is the score of the distribution, within four standard errors."""
    for truth in (0.2, 0.7):
        values = crps_fair(draw(np.random.default_rng(0), (4, POINTS)), np.full(POINTS, truth))
        assert values.mean() == pytest.approx(closed(truth), abs=4 * values.std() / np.sqrt(POINTS))


def test_quantiles_of_a_distribution_give_its_closed_form():
    """The empirical distribution of 2000 mid-quantiles is within 1/(2 m) of the distribution."""
    levels = (np.arange(2000) + 0.5) / 2000
    for truth in (-1.0, 0.3, 2.5):
        found = crps_biased(norm.ppf(levels)[:, None], np.array([truth]))[0]
        assert found == pytest.approx(gaussian_crps(0.0, 1.0, truth), abs=2e-4)


def test_the_tail_crps_is_the_integral_above_the_threshold():
    random = np.random.default_rng(0)
    members, truth = random.normal(size=(7, 5)), random.normal(size=5)
    z = np.linspace(0.4, 8.0, 200_001)
    for point in range(5):
        cdf = np.searchsorted(np.sort(members[:, point]), z, side="right") / 7
        integral = np.trapezoid((cdf - (truth[point] <= z)) ** 2, z)
        found = threshold_weighted_crps(members, truth, 0.4).biased[point]
        assert found == pytest.approx(integral, abs=2e-4)


def test_tail_scores_below_everything_are_the_crps():
    random = np.random.default_rng(0)
    members, truth = random.normal(size=(7, 50)), random.normal(size=50)
    terms = threshold_weighted_crps(members, truth, -1e3)
    np.testing.assert_allclose(terms.fair, crps_fair(members, truth), rtol=1e-10)


@given(st.integers(0, 2**31), st.integers(2, 12), st.floats(0.1, 100.0), st.floats(-50.0, 50.0))
@FEW
def test_scores_scale_and_shift_with_the_values(seed, members, scale, shift):
    random = np.random.default_rng(seed)
    forecast, truth = random.normal(size=(members, 40)), random.normal(size=40)
    for function in (crps_fair, crps_biased):
        expected = scale * function(forecast, truth)
        np.testing.assert_allclose(function(scale * forecast + shift, scale * truth + shift), expected, atol=1e-10)


@given(st.integers(0, 2**31))
@FEW
def test_the_order_of_members_changes_no_bit(seed):
    random = np.random.default_rng(seed)
    forecast, truth = random.normal(size=(9, 40)).astype(np.float32), random.normal(size=40).astype(np.float32)
    first, second = (member_sums(f, truth, (0.3,)) for f in (forecast, random.permutation(forecast)))
    for name in ("error", "accuracy", "pair_sum", "variance", "below", "ties", "above", "tail_pair_sum"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def test_the_fair_crps_is_proper():
    """Forecasting the truth's own distribution scores best in the mean: biased and wrongly spread ones are worse."""
    random = np.random.default_rng(0)
    truth = random.normal(size=POINTS)
    honest = crps_fair(random.normal(size=(5, POINTS)), truth)
    for mean, spread in ((0.3, 1.0), (0.0, 0.6), (0.0, 1.6)):
        other = crps_fair(mean + spread * random.normal(size=(5, POINTS)), truth)
        gap = other - honest
        assert gap.mean() > 3 * gap.std() / np.sqrt(POINTS)


def test_single_precision_loses_nothing_that_matters():
    """float32 files of kelvins: relative difference to float64 of the same numbers 3e-8 measured."""
    random = np.random.default_rng(0)
    forecast = random.normal(280.0, 5.0, (16, 4000)).astype(np.float32)
    truth = random.normal(280.0, 5.0, 4000).astype(np.float32)
    single, double = crps_fair(forecast, truth), crps_fair(forecast.astype(float), truth.astype(float))
    assert single.mean() == pytest.approx(double.mean(), rel=1e-7)


def test_many_points_are_as_few_points():
    members, points = 3, VALUES_AT_ONCE // 3 + 17
    random = np.random.default_rng(0)
    forecast, truth = random.normal(size=(members, points)), random.normal(size=points)
    whole = member_sums(forecast, truth).pair_sum
    parts = [member_sums(forecast[:, p], truth[p]).pair_sum for p in (slice(0, 1000), slice(1000, None))]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-12)


def test_one_member_and_no_member():
    truth = np.array([1.0, 2.0])
    assert crps_biased(np.array([[3.0, 2.0]]), truth).tolist() == [2.0, 0.0]
    with pytest.raises(InputError, match="at least 2 members: got 1"):
        crps_fair(np.array([[3.0, 2.0]]), truth)
    with pytest.raises(InputError, match=r"must be \[member"):
        crps_biased(np.zeros((0, 2)), truth)


def test_nan_stays_at_its_point():
    random = np.random.default_rng(0)
    forecast, truth = random.normal(size=(5, 4)), random.normal(size=4)
    forecast[2, 1], truth[3] = np.nan, np.nan
    for function in (crps_fair, crps_biased):
        assert np.isnan(function(forecast, truth)).tolist() == [False, True, False, True]


def test_tensors_give_what_arrays_give_and_a_gradient():
    random = np.random.default_rng(0)
    forecast, truth = random.normal(size=(6, 3, 4)), random.normal(size=(3, 4))
    tensor = torch.tensor(forecast, requires_grad=True)
    for function in (crps_fair, crps_biased):
        found = function(tensor, torch.tensor(truth))
        np.testing.assert_allclose(found.detach().numpy(), function(forecast, truth), rtol=1e-12)
    crps_fair(tensor, torch.tensor(truth)).sum().backward()
    assert torch.isfinite(tensor.grad).all()
