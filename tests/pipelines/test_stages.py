# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from physicsnemo_fs.data.types import Batch, Channel, Grid
from physicsnemo_fs.data.warps import Log1p
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.stages import DiffusionStage, Draw, RegressionStage, first_guess, truth_and_mean

SIZE = 16
DRAWS = [Draw(0, "test", 0, i) for i in range(2)]


def small(conditions):
    torch.manual_seed(conditions)
    return FSUNO(conditions, 1, model_channels=2, channel_mult=[1, 2], level_grid=[16, 8], n_modes=[0, 2])


class Patches:
    grid = Grid((SIZE, SIZE), (1.0, 1.0))
    coarse_grid = Grid((4, 4), (1.0, 1.0), registration="cell")

    def __init__(self, valid=None, unknown=0.0):
        draws = torch.Generator().manual_seed(0)
        target = torch.randn(2, 1, SIZE, SIZE, generator=draws)
        if valid is not None:
            target = torch.where(valid, target, unknown)
        coarse = torch.nn.functional.avg_pool2d(torch.randn(2, 1, SIZE, SIZE, generator=draws), 4)
        self.batch = Batch(coarse, torch.zeros(2, 0, SIZE, SIZE), target, torch.arange(2), valid)

    def fetch(self, indices, augmentation_keys=None):
        return self.batch


def stages(dataset):
    regression = FSRegressionSR(small(1)).eval()
    field = RandomField(Matern(1.0, 0.1))
    network = FSEDMPrecondSR(small(3), [1.0], 0.01, 20.0, field.to_dict()).eval()
    scheduler = FunctionSpaceScheduler(field, sigma_min=0.01, sigma_max=20.0, sigma_data=1.0)
    return RegressionStage(regression, dataset), DiffusionStage(network, regression, dataset, scheduler)


@pytest.mark.parametrize("which", [0, 1])
def test_what_stands_where_the_truth_is_unknown_changes_no_loss(which):
    valid = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) < 0.6
    losses = []
    for unknown in (0.0, 7.0):
        dataset = Patches(valid, unknown)
        stage = stages(dataset)[which]
        losses.append(stage.losses(stage.network, dataset.batch, DRAWS))
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)


@pytest.mark.parametrize("which", [0, 1])
def test_a_truth_known_everywhere_is_as_good_as_no_mask(which):
    dataset = Patches(torch.ones(2, 1, SIZE, SIZE, dtype=torch.bool))
    stage = stages(dataset)[which]
    masked = stage.losses(stage.network, dataset.batch, DRAWS)
    plain = stage.losses(stage.network, replace(dataset.batch, valid=None), DRAWS)
    torch.testing.assert_close(masked, plain)  # sums and means round differently


def test_nothing_is_missed_where_the_truth_is_unknown():
    valid = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.bool)
    valid[..., :4, :] = True
    dataset = Patches(valid, 7.0)
    (pair,) = truth_and_mean(FSRegressionSR(small(1)).eval(), dataset, [0, 1], 2, torch.device("cpu"))
    residual = pair[0] - pair[1]
    assert residual[..., 4:, :].abs().max() == 0
    assert residual[..., :4, :].abs().min() > 0


def test_an_input_of_another_normalisation_is_no_first_guess():
    rain = Channel("tp", "mm", 0.1, 0.5, warp=Log1p(0.1))
    for inputs, expected in (([Channel("t2m"), rain], [1]), ([replace(rain, warp=Log1p(1.0))], [-1])):
        assert first_guess(SimpleNamespace(input_channels=inputs, output_channels=[rain])) == expected
