# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scores beside those of other libraries, to 1e-6, where one has them and is installed (extra ``verification``)."""

import operator
import sys

import numpy as np
import pytest
import xarray as xr
from scipy import fft, stats

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.metrics import events
from physicsnemo_fs.metrics.bootstrap import Resampling
from physicsnemo_fs.metrics.calibration import calibration_error, rank_histogram
from physicsnemo_fs.metrics.crps import crps_biased, crps_fair, threshold_weighted_crps
from physicsnemo_fs.metrics.measures import Setting
from physicsnemo_fs.metrics.scorecard import Scorecard
from physicsnemo_fs.metrics.spectra import radial_power_spectrum

NEEDED = "needs {}: install physicsnemo-fs[verification]"
GRID = Grid((24, 30), (24.0, 30.0), boundary="bounded")
THRESHOLD = 2.0
ONE = Resampling(np.zeros(1, dtype=int))


@pytest.fixture(scope="module")
def xskillscore():
    return pytest.importorskip("xskillscore", reason=NEEDED.format("xskillscore"))


@pytest.fixture(scope="module")
def rules():
    return pytest.importorskip("scoringrules", reason=NEEDED.format("scoringrules"))


@pytest.fixture(scope="module")
def scores():
    for part in ("scores.probability", "scores.spatial"):
        pytest.importorskip(part, reason=NEEDED.format("scores"))
    return sys.modules["scores"]


def draw(members=9, seed=0):
    random = np.random.default_rng(seed)
    return random.gamma(0.6, 3.0, (members, *GRID.shape)), random.gamma(0.6, 3.0, GRID.shape)


def labelled(forecast, truth):
    return xr.DataArray(forecast, dims=("member", "y", "x")), xr.DataArray(truth, dims=("y", "x"))


def table(forecast, truth):
    valid = np.ones(truth.shape, dtype=bool)
    return events.event_table((forecast > THRESHOLD).sum(0), truth > THRESHOLD, len(forecast), valid).total


@pytest.mark.parametrize("members", [2, 5, 32])
def test_crps_is_that_of_scoringrules(rules, members):
    forecast, truth = draw(members)
    options = {"m_axis": 0, "backend": "numpy"}
    for ours, theirs in ((crps_fair, "fair"), (crps_biased, "nrg")):
        expected = rules.crps_ensemble(truth, forecast, estimator=theirs, **options)
        np.testing.assert_allclose(ours(forecast, truth), expected, atol=1e-6)
    for tail, theirs in (("fair", "fair"), ("biased", "nrg")):
        expected = rules.twcrps_ensemble(truth, forecast, a=4.0, b=float("inf"), estimator=theirs, **options)
        np.testing.assert_allclose(getattr(threshold_weighted_crps(forecast, truth, 4.0), tail), expected, atol=1e-6)


def test_crps_is_that_of_scores(scores):
    forecast, truth = draw()
    arguments = (*labelled(forecast, truth), "member")
    for ours, theirs in ((crps_fair, "fair"), (crps_biased, "ecdf")):
        expected = scores.probability.crps_for_ensemble(*arguments, method=theirs)
        assert ours(forecast, truth).mean() == pytest.approx(float(expected), abs=1e-6)
    expected = scores.probability.tail_tw_crps_for_ensemble(*arguments, THRESHOLD, tail="upper", method="ecdf")
    assert threshold_weighted_crps(forecast, truth, THRESHOLD).biased.mean() == pytest.approx(float(expected), abs=1e-6)


def test_point_scores_with_area_weights_are_xskillscores(xskillscore):
    forecast, truth = draw()
    weights = np.cos(np.linspace(0.1, 1.4, 24))[:, None] * np.ones(GRID.shape)
    card = Scorecard(GRID, 9, weights=weights)
    card.add(np.datetime64("2020-01-01"), forecast, truth)
    members, observed = labelled(forecast, truth)
    options = {"dim": ["y", "x"], "weights": xr.DataArray(weights, dims=("y", "x"))}
    expected = {
        "rmse": xskillscore.rmse(observed, members.mean("member"), **options),
        "mae": xskillscore.mae(observed, members.mean("member"), **options),
        "bias": xskillscore.me(members.mean("member"), observed, **options),
        "crps_biased": xskillscore.crps_ensemble(observed, members, member_dim="member", **options),
    }
    for name, value in expected.items():
        assert card.interval(name, ONE).estimate == pytest.approx(float(value), abs=1e-6), name


def test_brier_scores_are_xskillscores(xskillscore):
    forecast, truth = draw()
    members, observed = labelled(forecast > THRESHOLD, truth > THRESHOLD)
    for ours, fair in ((events.brier_score, False), (events.brier_fair, True)):
        expected = xskillscore.brier_score(observed, members, member_dim="member", fair=fair)
        assert ours(table(forecast, truth)) == pytest.approx(float(expected), abs=1e-6)


def test_brier_scores_are_those_of_scores(scores):
    forecast, truth = draw()
    for ours, fair in ((events.brier_score, False), (events.brier_fair, True)):
        expected = scores.probability.brier_score_for_ensemble(
            *labelled(forecast, truth), "member", THRESHOLD, fair_correction=fair, event_threshold_operator=operator.gt
        )
        assert ours(table(forecast, truth)) == pytest.approx(expected.item(), abs=1e-6)


def test_the_roc_area_is_xskillscores(xskillscore):
    forecast, truth = draw()
    members, observed = labelled(forecast > THRESHOLD, truth > THRESHOLD)
    levels = (np.arange(10) - 0.5) / 9
    expected = xskillscore.roc(observed, members.mean("member"), bin_edges=levels, return_results="area")
    assert events.roc_area(table(forecast, truth)) == pytest.approx(float(expected), abs=1e-6)


def test_reliability_is_xskillscores(xskillscore):
    forecast, truth = draw(members=4)
    members, observed = labelled(forecast > THRESHOLD, truth > THRESHOLD)
    edges = np.array([-0.125, 0.125, 0.375, 0.625, 0.875, 1.125])
    expected = xskillscore.reliability(observed, members.mean("member"), probability_bin_edges=edges)
    np.testing.assert_allclose(events.reliability_curve(table(forecast, truth)), expected, atol=1e-6)


def test_rank_histograms_are_xskillscores(xskillscore):
    forecast, truth = draw()
    members, observed = labelled(forecast, truth)
    expected = xskillscore.rank_histogram(observed, members, member_dim="member")
    found = rank_histogram(forecast, truth, np.random.default_rng(0))
    np.testing.assert_array_equal(found.total, expected)
    below = np.cumsum(expected.values)[:-1] / truth.size
    assert calibration_error(found.total / found.weight) == pytest.approx(np.abs(below - np.arange(1, 10) / 10).mean())


@pytest.mark.parametrize("window", [3, 7])
def test_fractions_skill_scores_are_those_of_scores(scores, window):
    """That library takes the windows that lie in the field whole, which a mask of the inner points leaves."""
    forecast, truth = draw(members=1)
    inner = np.zeros(GRID.shape, dtype=bool)
    inner[window // 2 : -(window // 2), window // 2 : -(window // 2)] = True
    card = Scorecard(GRID, 1, mask=inner, setting=Setting(thresholds=(THRESHOLD,), windows=(window,)))
    card.add(np.datetime64("2020-01-01"), forecast, truth)
    expected = scores.spatial.fss_2d(
        xr.DataArray(forecast[0], dims=("y", "x")),
        xr.DataArray(truth, dims=("y", "x")),
        event_threshold=THRESHOLD,
        window_size=(window, window),
        spatial_dims=("y", "x"),
    )
    assert card.interval(f"fss_{window}_2", ONE).estimate == pytest.approx(float(expected), abs=1e-6)


def test_radial_spectra_are_scipys():
    """Binned power of scipy's full transform."""
    field = np.random.default_rng(0).normal(size=GRID.shape)
    power = np.abs(fft.fft2(field)) ** 2 / field.size**2
    wavenumber = np.hypot(fft.fftfreq(24, 1.0)[:, None], fft.fftfreq(30, 1.0)) * 24
    last = int(np.rint(wavenumber).max())
    edges = np.arange(last + 2) - 0.5
    expected = stats.binned_statistic(wavenumber.ravel(), power.ravel(), "sum", edges).statistic
    np.testing.assert_allclose(radial_power_spectrum(field, GRID.extent), expected, atol=1e-12)


def test_spreads_are_scipys():
    forecast, truth = draw()
    card = Scorecard(GRID, 9)
    card.add(np.datetime64("2020-01-01"), forecast, truth)
    assert card.interval("std_dev", ONE).estimate == pytest.approx(stats.tstd(forecast, axis=0, ddof=0).mean())
    assert card.interval("spread", ONE).estimate == pytest.approx(np.sqrt(stats.tvar(forecast, axis=0).mean()))
