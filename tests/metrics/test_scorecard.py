# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.bootstrap import Resampling
from physicsnemo_fs.metrics.scorecard import Scorecard, paired_crps_ratio

GRID = Grid((16, 24), (2.0, 3.0), boundary="bounded")
TIMES = np.arange("2020-01-01", "2020-01-13", dtype="datetime64[D]").astype("datetime64[ns]")
BLOCKS = np.arange(12) // 3


def draw(members=5, seed=0):
    random = np.random.default_rng(seed)
    centre = random.normal(280.0, 5.0, (12, 1, *GRID.shape))
    forecasts = centre + random.normal(size=(12, members, *GRID.shape))
    return forecasts.astype(np.float32), (centre[:, 0] + random.normal(size=(12, *GRID.shape))).astype(np.float32)


def scored(forecasts, truths, chosen=range(12), **options):
    card = Scorecard(GRID, forecasts.shape[1], variable="t2m", **options)
    for index in chosen:
        card.add(TIMES[index], forecasts[index], truths[index])
    return card


def test_metrics_are_what_their_names_say():
    forecasts, truths = (values.astype(np.float64) for values in draw())
    card, resampling = scored(forecasts, truths), Resampling(BLOCKS)
    mean = forecasts.mean(1)
    expected = {
        "rmse": np.sqrt(((mean - truths) ** 2).mean()),
        "mae": np.abs(mean - truths).mean(),
        "bias": (mean - truths).mean(),
        "std_dev": forecasts.std(1).mean(),
        "spread": np.sqrt(forecasts.var(1, ddof=1).mean()),
        "relative_l2": np.linalg.norm(mean - truths) / np.linalg.norm(truths),
        "spread_skill": np.sqrt(6 / 5 * forecasts.var(1, ddof=1).mean() / ((mean - truths) ** 2).mean()),
    }
    for name, value in expected.items():
        assert card.interval(name, resampling).estimate == pytest.approx(value, rel=1e-12), name
    pairs = np.abs(forecasts[:, :, None] - forecasts[:, None]).mean((1, 2)).mean()
    accuracy = np.abs(forecasts - truths[:, None]).mean()
    for name, share in (("crps", 1.0), ("crps_biased", 1.0), ("crps_fair", 5 / 4)):
        value = card.interval(name, resampling).estimate
        assert value == pytest.approx(accuracy - share * pairs / 2, rel=1e-10), name


def test_an_exchangeable_ensemble_is_calibrated():
    """4608 points; standard error of the ratio about 1.5 %."""
    card = scored(*draw())
    interval = card.interval("spread_skill", Resampling(BLOCKS))
    assert interval.estimate == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(card.rank_frequencies(), 1 / 6, atol=0.02)


def test_merging_is_scoring_at_once_to_the_last_bit():
    forecasts, truths = draw()
    forecasts[4, 2, 0, 0] = np.nan
    at_once = scored(forecasts, truths)
    merged = scored(forecasts, truths, range(7, 12)).merge(scored(forecasts, truths, range(7)))
    resampling = Resampling(BLOCKS)
    for name in at_once.metric_names:
        assert merged.interval(name, resampling) == at_once.interval(name, resampling), name
        np.testing.assert_array_equal(merged.per_time(name), at_once.per_time(name))
    np.testing.assert_array_equal(merged.rank_frequencies(), at_once.rank_frequencies())
    np.testing.assert_array_equal(merged.missing, at_once.missing)


def test_missing_points_are_left_out_everywhere():
    forecasts, truths = draw()
    truths[3, :2] = np.nan
    forecasts[5, 1, 4, 4] = np.nan
    card = scored(forecasts, truths)
    assert card.missing.tolist() == [0, 0, 0, 48, 0, 1] + 6 * [0]
    assert all(np.isfinite(card.per_time(name)).all() for name in ("rmse", "crps_fair", "spread_skill"))
    assert card.statistics["power"].weights.sum() == 10
    assert np.isnan(card.per_time("spectrum_error_mean")[[3, 5]]).all()


def test_a_mask_is_the_score_of_the_region():
    forecasts, truths = draw()
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[:8] = True
    weights = np.where(mask, 1.0, 1e6)
    masked = scored(forecasts, truths, mask=mask, weights=weights)
    error = np.abs(forecasts.astype(float).mean(1) - truths)[:, :8].mean()
    assert masked.interval("mae", Resampling(BLOCKS)).estimate == pytest.approx(error, rel=1e-12)


def test_a_single_forecast_has_an_absolute_error_and_no_spread():
    forecasts, truths = draw(members=1)
    card, resampling = scored(forecasts, truths), Resampling(BLOCKS)
    assert card.interval("crps", resampling) == card.interval("mae", resampling)
    for name in ("crps_fair", "spread", "spread_skill"):
        assert np.isnan(card.interval(name, resampling).estimate)
        assert "one member" in card.estimator(name)


def test_the_pairing_of_two_forecasts():
    forecasts, truths = draw()
    ensemble, single = scored(forecasts, truths), scored(forecasts[:, :1], truths)
    ratio = paired_crps_ratio(single, ensemble, Resampling(BLOCKS))
    expected = single.interval("mae", Resampling(BLOCKS)).estimate
    expected /= ensemble.interval("crps_fair", Resampling(BLOCKS)).estimate
    assert ratio.estimate == pytest.approx(expected)
    assert 1 < ratio.low < ratio.high


def test_a_perfect_spectrum_has_no_error():
    _, truths = draw()
    card = scored(truths[:, None], truths, kmax=5)
    assert card.shells.tolist() == [1, 2, 3, 4, 5]
    assert card.interval("spectrum_error_max", Resampling(BLOCKS)).estimate == 0.0
    louder = scored(10**0.15 * (truths - 280)[:, None], truths - 280)
    assert louder.interval("spectrum_error_mean", Resampling(BLOCKS)).estimate == pytest.approx(3.0)


def test_random_ties_depend_on_their_coordinates_alone():
    zeros = np.zeros((5, *GRID.shape))
    first, second = (
        scored(np.broadcast_to(zeros, (12, *zeros.shape)), np.zeros((12, *GRID.shape)), chosen)
        for chosen in (range(12), reversed(range(12)))
    )
    np.testing.assert_array_equal(first.rank_frequencies(), second.rank_frequencies())


def test_what_does_not_fit_is_refused():
    forecasts, truths = draw()
    card = scored(forecasts, truths)
    with pytest.raises(InputError, match="scored once"):
        card.add(TIMES[0], forecasts[0], truths[0])
    with pytest.raises(InputError, match="must have 5 members"):
        card.add(TIMES[0], forecasts[0, :2], truths[0])
    with pytest.raises(InputError, match="mask must have the grid's shape"):
        Scorecard(GRID, 5, mask=np.ones((3, 3), dtype=bool))
    with pytest.raises(InputError, match="one variable, grid and number of members"):
        card.merge(Scorecard(GRID, 4, variable="t2m"))
    with pytest.raises(InputError, match="no metric 'crpss'"):
        card.estimator("crpss")
    with pytest.raises(InputError, match="at least one scored time"):
        _ = Scorecard(GRID, 5).metric_names
