# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What every score must do: prefer the true distribution, not see the order of members, follow a change of unit."""

import inspect

import numpy as np
import pytest
import torch

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.metrics import events
from physicsnemo_fs.metrics.bootstrap import Resampling
from physicsnemo_fs.metrics.crps import crps_biased, threshold_weighted_crps
from physicsnemo_fs.metrics.distributions import histogram_edges
from physicsnemo_fs.metrics.measures import Setting, measures_for
from physicsnemo_fs.metrics.scorecard import Scorecard

GRID = Grid((16, 20), (1.6, 2.0), boundary="bounded")
ONE = Resampling(np.zeros(2, dtype=int))
TIMES = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]")
POINTS = 60_000


def setting(scale=1.0):
    return Setting(
        thresholds=(0.5 * scale, 2.0 * scale),
        pooling=(4,),
        windows=(5,),
        edges=tuple(scale * histogram_edges(0.0, 10.0)),
        extremes=True,
        flow=True,
        phases=True,
        map_quantum=2.0**-20 * scale,
    )


def draw(members=5):
    values = np.random.default_rng(0).gamma(0.5, 2.0, (2, members + 1, *GRID.shape))
    return values[:, 1:].astype(np.float32), values[:, 0].astype(np.float32)


def scored(forecasts, truths, options=None, **more):
    card = Scorecard(GRID, len(forecasts[0]), setting=options or setting(), **more)
    for time, forecast, truth in zip(TIMES, forecasts, truths, strict=True):
        card.add(time, forecast, truth)
    return {metric.name: (card.interval(metric.name, ONE).estimate, metric.unit) for metric in card.all_metrics()}


def test_no_score_sees_the_order_of_members():
    """To the last bit at points, in tables and counts; sums over members of spectra to rounding."""
    forecasts, truths = draw()
    first, second = scored(forecasts, truths), scored(forecasts[:, [3, 0, 4, 1, 2]], truths)
    for name, (value, _) in first.items():
        exact = not name.startswith(("spectrum", "ralsd", "energy", "enstrophy"))
        assert second[name][0] == pytest.approx(value, rel=0 if exact else 1e-12, abs=0, nan_ok=True), name


def test_every_score_follows_a_change_of_unit():
    """Four times the values: scores in the variable's unit are four times as large, those without unit the same."""
    forecasts, truths = draw()
    first, second = scored(forecasts, truths), scored(4 * forecasts, 4 * truths, setting(4.0))
    for (name, (value, unit)), (found, _) in zip(first.items(), second.values(), strict=True):
        assert found == pytest.approx(value if unit else 4 * value, rel=1e-9, nan_ok=True), name


def test_tensors_are_scored_like_arrays():
    forecasts, truths = draw()
    found = scored(torch.from_numpy(forecasts), torch.from_numpy(truths))
    assert str(found) == str(scored(forecasts, truths))


@pytest.mark.parametrize(
    "score",
    [
        lambda forecast, truth: threshold_weighted_crps(forecast, truth, 0.5).fair,
        lambda forecast, truth: _brier(forecast, truth, events.brier_fair),
    ],
    ids=["tail CRPS", "Brier"],
)
def test_fair_scores_are_proper(score):
    """Few members of the truth's own distribution score best in the mean; gaps are tens of standard errors."""
    random = np.random.default_rng(0)
    truth = random.normal(size=POINTS)
    honest = np.mean(score(random.normal(size=(4, POINTS)), truth))
    for mean, spread in ((0.5, 1.0), (-0.5, 1.0), (0.0, 0.4), (0.0, 2.0)):
        assert np.mean(score(mean + spread * random.normal(size=(4, POINTS)), truth)) > honest


def test_the_biased_crps_is_proper_for_many_members():
    random = np.random.default_rng(0)
    truth = random.normal(size=4000)
    honest = crps_biased(random.normal(size=(200, 4000)), truth).mean()
    for mean, spread in ((0.3, 1.0), (0.0, 0.6), (0.0, 1.6)):
        assert crps_biased(mean + spread * random.normal(size=(200, 4000)), truth).mean() > honest


def test_the_biased_crps_of_few_members_prefers_too_little_spread():
    """Why it is named: with two members a spread of .7 scores better than the truth's own (.78 against .85)."""
    random = np.random.default_rng(0)
    truth, noise = random.normal(size=POINTS), random.normal(size=(2, POINTS))
    assert crps_biased(0.7 * noise, truth).mean() < crps_biased(noise, truth).mean()


def _brier(forecast, truth, function):
    happened = (truth > 0.3, np.ones(truth.shape, dtype=bool))
    return function(events.event_table((forecast > 0.3).sum(0), happened[0], len(forecast), happened[1]).total)


def test_missing_points_are_left_out_of_every_score():
    """A gap in the truth, and one in a single member, count like a mask there."""
    forecasts, truths = draw()
    mask = np.ones(GRID.shape, dtype=bool)
    mask[:4] = mask[9, 9] = False
    holes, holed = truths.copy(), forecasts.copy()
    holes[:, :4], holed[:, 2, 9, 9] = np.nan, np.nan
    expected = scored(forecasts, truths, mask=mask)
    skipped = ("spectrum", "ralsd", "energy", "enstrophy", "fss")  # masks leave those alone; FSS sees the values beside
    for name, (value, _) in scored(holed, holes).items():
        if not name.startswith(skipped):
            assert value == pytest.approx(expected[name][0], rel=1e-12, nan_ok=True), name


def test_a_time_without_any_value_changes_nothing():
    forecasts, truths = draw()
    card, both = (Scorecard(GRID, 5, setting=setting()) for _ in range(2))
    card.add(TIMES[0], forecasts[0], truths[0])
    both.add(TIMES[0], forecasts[0], truths[0])
    both.add(TIMES[1], forecasts[1], np.full(GRID.shape, np.nan, dtype=np.float32))
    for metric in card.all_metrics():
        expected = card.interval(metric.name, Resampling(np.zeros(1, dtype=int))).estimate
        assert both.interval(metric.name, ONE).estimate == pytest.approx(expected, nan_ok=True), metric.name


PARTS = ("Shapes:", "Units:", "Missing values:", "Estimator:", "Reference:", "Example:")


def test_every_metric_is_explained():
    """Formula or words for each name, and shapes, units, missing values, estimator, reference and an example."""
    card = Scorecard(GRID, 3, setting=setting())
    forecasts, truths = draw(3)
    card.add(TIMES[0], forecasts[0], truths[0])
    for name, measure in measures_for(setting(), GRID).items():
        text = inspect.getdoc(type(measure)) or ""
        assert [part for part in PARTS if part not in text] == [], name
        context = card.context()
        for metric in measure.metrics(context):
            known = [stem for stem in (metric.name, *_stems(metric.name)) if f"``{stem}``" in text]
            assert known, f"{metric.name} is not in the docstring of {type(measure).__name__}"


def _stems(name):
    """Names with numbers are explained with letters in their places."""
    parts = name.split("_")
    yield name.rstrip("0123456789") + "<n>"
    yield "_".join(parts[:-1]) + "_<t>"
    yield "_".join(parts[:-2]) + "_<s>_<t>"
    yield "_".join(parts[:-2]) + "_<n>_<t>"
    yield "_".join(parts[:-1]) + "_<t>" if parts[-2:-1] != ["0"] else "class_ratio_0_<t>"
