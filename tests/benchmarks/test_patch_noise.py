# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
from patch_noise import PATCH, noises, seconds, statistics

from physicsnemo_fs.diffusion.noise import RandomField


def test_the_covariances_are_those_of_the_fields():
    import patch_noise
    import torch

    draws = RandomField(patch_noise.NOISE).sample(range(4000), 1, (64, 64), dtype=torch.float64)
    crops = draws[:, 0, 5 : 5 + PATCH, 9 : 9 + PATCH].flatten(1)
    assert (crops.T @ crops / 4000 - noises()["crop"]).abs().max() < 0.1


def test_noise_of_a_windows_own_wraps_and_costs():
    crop, window, squeezed = statistics()
    assert crop["edge_to_edge"] < 0.2 < 0.6 < min(window["edge_to_edge"], squeezed["edge_to_edge"])
    assert crop["excess_loss"] == 0
    assert min(window["excess_loss"], squeezed["excess_loss"]) > 0.1


def test_both_ways_are_timed():
    assert [row["noise"] for row in seconds(96, 1, 2, patch=32)] == ["crop of the whole", "window evaluated"]
