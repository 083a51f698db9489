# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.crps import crps_biased, crps_fair, crps_terms

ENSEMBLES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 9), st.integers(1, 6)),
    elements=st.floats(-1e3, 1e3, width=32),
)


def by_definition(ensemble, truth, pairs):
    """All pairs of members, O(m²)."""
    accuracy = np.abs(ensemble - truth).mean(0)
    return accuracy - np.abs(ensemble[:, None] - ensemble).sum((0, 1)) / (2 * pairs)


def gaussian_crps(truth):
    """CRPS of the standard normal distribution (Gneiting et al. 2005, doi:10.1175/MWR2904.1)."""
    cdf = 0.5 * (1 + np.vectorize(math.erf)(truth / math.sqrt(2)))
    pdf = np.exp(-(truth**2) / 2) / math.sqrt(2 * math.pi)
    return truth * (2 * cdf - 1) + 2 * pdf - 1 / math.sqrt(math.pi)


@given(ENSEMBLES, st.floats(-1e3, 1e3, width=32))
@settings(max_examples=15, deadline=None)
def test_sorting_equals_all_pairs(ensemble, value):
    truth = np.full(ensemble.shape[1], value)
    m = len(ensemble)
    np.testing.assert_allclose(crps_biased(ensemble, truth), by_definition(ensemble, truth, m**2), atol=1e-10)
    np.testing.assert_allclose(crps_fair(ensemble, truth), by_definition(ensemble, truth, m * (m - 1)), atol=1e-10)


@given(ENSEMBLES, st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_order_of_members_does_not_matter(ensemble, random):
    truth = np.zeros(ensemble.shape[1])
    order = list(range(len(ensemble)))
    random.shuffle(order)
    np.testing.assert_allclose(crps_fair(ensemble[order], truth), crps_fair(ensemble, truth), atol=1e-10)


def test_one_member_scores_its_absolute_error():
    random = np.random.default_rng(0)
    member, truth = random.normal(size=(1, 5, 5)), random.normal(size=(5, 5))
    np.testing.assert_array_equal(crps_biased(member, truth), np.abs(member[0] - truth))
    with pytest.raises(InputError, match="at least 2 members"):
        crps_fair(member, truth)


def test_a_gaussian_ensemble_reaches_the_closed_form():
    """Standard error of the fair estimate with 4000 members: below 0.02 at each of the points."""
    truth = np.array([-2.0, 0.0, 0.5, 3.0])
    members = np.random.default_rng(1).normal(size=(4000, 4))
    np.testing.assert_allclose(crps_fair(members, truth), gaussian_crps(truth), atol=0.04)


@pytest.mark.parametrize("members", [2, 5, 20])
def test_fair_is_unbiased_in_the_number_of_members(members):
    """The truth is one more draw; the expected score of N(0, 1) is 1/sqrt(pi). 200,000 points: error 1e-3."""
    random = np.random.default_rng(members)
    ensemble, truth = random.normal(size=(members, 200_000)), random.normal(size=200_000)
    expected = 1 / math.sqrt(math.pi)
    assert crps_fair(ensemble, truth).mean() == pytest.approx(expected, abs=6e-3)
    assert crps_biased(ensemble, truth).mean() == pytest.approx(expected * (1 + 1 / members), abs=6e-3)


def test_a_large_offset_costs_no_digits():
    random = np.random.default_rng(2)
    ensemble = random.integers(-512, 512, (6, 100)) / 256.0
    truth = random.integers(-512, 512, 100) / 256.0
    shifted = crps_fair((ensemble + 8192).astype(np.float32), (truth + 8192).astype(np.float32))
    np.testing.assert_allclose(shifted, crps_fair(ensemble, truth), atol=1e-14)


def test_missing_values_stay_missing():
    ensemble, truth = np.zeros((3, 4)), np.zeros(4)
    ensemble[1, 0] = truth[2] = np.nan
    np.testing.assert_array_equal(np.isnan(crps_fair(ensemble, truth)), [True, False, True, False])


def test_no_members_are_refused():
    with pytest.raises(InputError, match="must be"):
        crps_terms(np.zeros((0, 4)), np.zeros(4))
