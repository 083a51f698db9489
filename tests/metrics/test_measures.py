# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The measures that are registered: sums that merge, areas, presets' scores, several lead times."""

import numpy as np
import pytest

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.bootstrap import Resampling
from physicsnemo_fs.metrics.distributions import histogram_edges
from physicsnemo_fs.metrics.flow import energy_spectrum, vorticity
from physicsnemo_fs.metrics.measures import REGISTRY, Setting, register
from physicsnemo_fs.metrics.phases import circular_moments, phase_of
from physicsnemo_fs.metrics.scorecard import Scorecard
from physicsnemo_fs.metrics.special import distribution_scores
from physicsnemo_fs.metrics.spectra import radial_power_spectrum, wavenumber_shells

GRID = Grid((16, 20), (1.6, 2.0), boundary="bounded")
TIMES = np.arange("2020-12-28", "2021-01-05", dtype="datetime64[D]").astype("datetime64[ns]")
EVERYTHING = Setting(
    thresholds=(0.5, 2.0),
    pooling=(4, 16),
    windows=(3, 5),
    edges=tuple(histogram_edges(0.0, 10.0)),
    extremes=True,
    flow=True,
    phases=True,
    map_quantum=2.0**-20,
)
WEST = np.broadcast_to(np.arange(20) < 8, GRID.shape)
ONE_BLOCK = Resampling(np.zeros(8, dtype=int))


def draw(seed=0, members=5):
    random = np.random.default_rng(seed)
    values = random.gamma(0.5, 2.0, (8, members + 1, *GRID.shape)).astype(np.float32)
    return values[:, 1:], values[:, 0]


def scored(chosen=range(8), gaps=False, **options):
    forecasts, truths = draw()
    if gaps:
        truths[2, :3], forecasts[4, 1, 5, 5] = np.nan, np.nan
    card = Scorecard(GRID, 5, variable="tp", setting=EVERYTHING, areas={"west": WEST}, **options)
    for index in chosen:
        card.add(TIMES[index], forecasts[index], truths[index])
    return card


@pytest.mark.parametrize("gaps", [False, True])
def test_parts_merge_to_the_whole_in_every_bit(gaps):
    whole = scored(gaps=gaps)
    parts = [scored(chosen, gaps) for chosen in ((5, 0), (2, 7, 1), (3, 4, 6))]
    for merged in (parts[0].merge(parts[1]).merge(parts[2]), parts[2].merge(parts[0].merge(parts[1]))):
        resampling = Resampling(np.arange(8) // 2, samples=50)
        for area in ("", "west"):
            for metric in whole.all_metrics(area):
                expected = whole.interval(metric.name, resampling, area)
                assert str(merged.interval(metric.name, resampling, area)) == str(expected), metric.name
        assert str(distribution_scores(merged, resampling)) == str(distribution_scores(whole, resampling))
        for name in ("crps", "error"):
            np.testing.assert_array_equal(merged.maps.mean(name), whole.maps.mean(name))


def test_an_area_is_scored_like_a_mask():
    area = scored()
    mask = area.areas["west"].mask
    masked = scored(mask=mask)
    for metric in area.all_metrics("west"):
        found = area.interval(metric.name, ONE_BLOCK, "west").estimate
        expected = masked.interval(metric.name, ONE_BLOCK).estimate
        assert found == pytest.approx(expected, nan_ok=True), metric.name


def test_pooled_scores_are_scores_of_pooled_fields():
    forecasts, truths = draw()
    card = scored()
    blocks = forecasts[:, :, :16, :20].reshape(8, 5, 4, 4, 5, 4).astype(float)
    truth = truths.reshape(8, 4, 4, 5, 4).astype(float)
    for kind, function in (("mean", np.mean), ("max", np.max)):
        f, t = function(blocks, axis=(3, 5)), function(truth, axis=(2, 4))
        pairs = np.abs(f[:, :, None] - f[:, None]).sum((1, 2)) / 20
        expected = (np.abs(f - t[:, None]).mean(1) - pairs / 2).mean()
        assert card.interval(f"crps_fair_{kind}4", ONE_BLOCK).estimate == pytest.approx(expected, rel=1e-6)


def test_events_are_counted_where_they_are():
    forecasts, truths = draw()
    card = scored()
    p, o = (forecasts > 2.0).mean(1), truths > 2.0
    assert card.interval("brier_2", ONE_BLOCK).estimate == pytest.approx(((p - o) ** 2).mean())
    assert card.interval("event_ratio_2", ONE_BLOCK).estimate == pytest.approx(p.sum() / o.sum())
    between = ((forecasts > 0.5) & (forecasts <= 2)).mean() / ((truths > 0.5) & (truths <= 2)).mean()
    assert card.interval("class_ratio_0.5_2", ONE_BLOCK).estimate == pytest.approx(between)
    assert 0 < card.interval("fss_3_2", ONE_BLOCK).estimate < card.interval("fss_5_2", ONE_BLOCK).estimate < 1


def test_annual_maxima_are_of_calendar_years():
    forecasts, truths = draw()
    found = distribution_scores(scored(), ONE_BLOCK)["annual_maximum_bias"][0]
    years = [slice(0, 4), slice(4, 8)]
    expected = [forecasts[y].max(0).astype(float).mean() - truths[y].max(0).astype(float).mean() for y in years]
    assert found.estimate == pytest.approx(np.mean(expected))
    assert found.blocks == 2


def test_lead_times_are_told_apart():
    forecasts, truths = draw()
    card = Scorecard(GRID, 5)
    for index in range(8):
        card.add(TIMES[index // 2], forecasts[index], truths[index], lead=6.0 * (index % 2))
    error = np.abs(forecasts.astype(float).mean(1) - truths)
    for lead, first in ((0.0, 0), (6.0, 1)):
        assert card.interval("mae", ONE_BLOCK, lead=lead).estimate == pytest.approx(error[first::2].mean(), rel=1e-6)
    with pytest.raises(InputError, match="scored once"):
        card.add(TIMES[0], forecasts[0], truths[0], lead=6.0)


def test_one_member_says_what_is_undefined():
    card = Scorecard(GRID, 1, setting=EVERYTHING)
    card.add(TIMES[0], draw(members=1)[0][0], draw(members=1)[1][0])
    for name in ("crps_fair", "crps_fair_mean4", "brier_fair_2", "twcrps_fair_2", "spread_skill", "ece"):
        assert "undefined for one member" in card.estimator(name), name
        assert np.isnan(card.interval(name, Resampling(np.zeros(1))).estimate), name
    assert np.isfinite(card.interval("crps_biased_mean4", Resampling(np.zeros(1))).estimate)


def test_a_user_can_register_a_measure():
    from physicsnemo_fs.metrics.measures import identity
    from physicsnemo_fs.metrics.statistics import Metric

    class Largest:
        def sums(self, forecast, area):
            yield "largest", area.sum(np.full(forecast.truth.shape, float(forecast.members.max())))

        def metrics(self, context):
            yield Metric("largest", ("largest",), identity, "mean largest value")

    register("largest")(lambda setting, grid: Largest())
    try:
        assert scored().interval("largest", ONE_BLOCK).estimate == pytest.approx(draw()[0].max((1, 2, 3)).mean())
        with pytest.raises(InputError, match="'largest' already"):
            register("largest")(lambda setting, grid: None)
    finally:
        del REGISTRY["largest"]


def test_settings_that_make_no_sense_are_refused():
    for options, message in (
        ({"windows": (4,)}, "odd"),
        ({"thresholds": (1.0, 1.0)}, "all different"),
        ({"pooling": (1,)}, "2 or more"),
    ):
        with pytest.raises(InputError, match=message):
            Setting(**options)


def test_energy_and_enstrophy_of_a_known_flow():
    """u = -cos(3 y), v = 0: vorticity -3 sin(3 y), energy 1/4, enstrophy 9/4."""
    grid = Grid((32, 32), (2 * np.pi, 2 * np.pi))
    u = -np.cos(3 * grid.y)[:, None] * np.ones(32)
    omega = vorticity(u, np.zeros_like(u), grid)
    np.testing.assert_allclose(omega, -3 * np.sin(3 * grid.y)[:, None] * np.ones(32), atol=1e-12)
    power = radial_power_spectrum(omega, grid.extent)
    energy = energy_spectrum(power, wavenumber_shells(grid.shape, grid.extent).wavenumber)
    assert energy.sum() == pytest.approx(0.25)
    assert power.sum() / 2 == pytest.approx(9 / 4)


def test_circular_moments_are_those_of_the_wrapped_normal():
    """Variance 1 - exp(-s²/2), skewness 0; 10⁶ points."""
    phase = np.random.default_rng(0).normal(2.0, 0.7, (1000, 1000))
    variance, skewness = circular_moments(phase)
    assert variance == pytest.approx(1 - np.exp(-(0.7**2) / 2), abs=2e-3)
    assert skewness == pytest.approx(0.0, abs=0.02)
    np.testing.assert_allclose(phase_of(2 * np.cos(phase), 2 * np.sin(phase)), np.angle(np.exp(1j * phase)), atol=1e-12)


def test_equal_distributions_of_phases_have_no_distance():
    images = np.random.default_rng(0).vonmises(0.0, 2.0, (8, *GRID.shape))
    card = Scorecard(GRID, 2, setting=Setting(phases=True))
    for index in range(8):
        card.add(TIMES[index], np.stack([images[index], images[index]]), images[index])
    for name, (interval, _) in distribution_scores(card, Resampling(np.arange(8) // 2, samples=20)).items():
        assert interval.estimate == pytest.approx(0.0, abs=1e-12), name
