# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.measures import Setting
from physicsnemo_fs.metrics.scorecard import Scorecard
from physicsnemo_fs.metrics.seams import seam_ratio, seam_sums
from physicsnemo_fs.nn.windows import WindowGrid

WINDOWS = WindowGrid((48, 64), (16, 24), (4, 8))


def white(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("boundary", ["bounded", "periodic"])
def test_a_stationary_field_has_no_seams(boundary):
    windows = WindowGrid((48, 64), (16, 24), (4, 8), boundary=boundary)
    assert abs(seam_ratio(white(400, 48, 64), windows) - 1) < 0.01


def test_a_step_at_every_border_counts_as_its_size():
    """White noise has jumps of variance 2; steps of s at borders add s^2 there, and nothing between."""
    windows = WindowGrid((30, 64), (30, 16), (0, 0))
    steps = 1.5 * np.repeat(np.arange(4.0), 16)
    assert windows.columns.borders == (16, 32, 48)
    assert abs(seam_ratio(white(800, 30, 64) + steps, windows) - np.sqrt((2 + 1.5**2) / 2)) < 0.01


def test_independent_windows_of_a_smooth_field_show():
    patches = [np.full((16, 16), value) for value in white(8)]
    field = np.block([patches[:4], patches[4:]]) + 1e-3 * white(32, 64)
    assert seam_ratio(field, WindowGrid((32, 64), (16, 16), (0, 0))) > 100


def test_roughness_that_varies_over_the_domain_is_no_seam():
    scale = np.exp(np.linspace(0, 3, 64))
    assert abs(seam_ratio(white(400, 48, 64) * scale, WINDOWS) - 1) < 0.02


def test_values_that_are_missing_are_left_out():
    field = np.broadcast_to(np.arange(64.0), (48, 64)).copy()
    windows = WindowGrid((48, 64), (48, 16), (0, 0))
    field[10:20, 30:] = np.nan
    assert seam_ratio(field, windows) == 1


def test_sums_are_given_for_each_field():
    across, near = seam_sums(white(3, 2, 48, 64), WINDOWS)
    assert across.shape == near.shape == (3, 2)
    one = seam_sums(white(3, 2, 48, 64)[1, 1], WINDOWS)
    np.testing.assert_allclose([one[0], one[1]], [across[1, 1], near[1, 1]])


def test_one_window_has_no_borders():
    whole = WindowGrid((8, 8), (8, 8), (0, 0))
    assert np.isnan(seam_ratio(white(8, 8), whole))


def test_another_domain_is_refused():
    with pytest.raises(InputError, match=r"of the windows' domain: got \(8, 8\) and \(48, 64\)"):
        seam_ratio(white(8, 8), WINDOWS)


def test_scores_judge_members_at_the_borders_by_the_truth():
    windows = WindowGrid((24, 24), (12, 12), (0, 0))
    setting = Setting(patches=json.dumps(windows.to_dict()))
    draws = np.random.default_rng(3)
    truth = draws.standard_normal((24, 24))
    members = draws.standard_normal((400, 24, 24))
    torn = members + 3.0 * (np.arange(24) >= 12)
    for made, expected in ((members, 1.0), (torn, np.sqrt((2 + 9 / 2) / 2))):
        card = Scorecard(Grid((24, 24), (1.0, 1.0), boundary="bounded"), len(made), setting=setting)
        card.add(np.datetime64("2000-01-01", "ns"), made, truth)
        found = card.metric("seam_ratio").pooled(card.statistics)
        across, near = seam_sums(truth, windows)
        assert found * np.sqrt(across / near) == pytest.approx(expected, rel=0.02)
