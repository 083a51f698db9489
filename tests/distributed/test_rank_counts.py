# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The losses of 1, 2, 3 and 4 ranks agree: to rounding in both precisions."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from ranks import on_ranks
from small_run import small_config

from physicsnemo_fs.distributed import process_group
from physicsnemo_fs.pipelines.stage_building import diffusion_backbone, diffusion_stage, regression_stage
from physicsnemo_fs.pipelines.train import open_splits
from physicsnemo_fs.pipelines.trainer import Trainer
from physicsnemo_fs.pipelines.training_plan import _noise

STEPS, BATCH = 20, 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("counts")


def losses(folder, path, dtype, dropout):
    """Take 20 steps of both stages and write the losses from the main rank."""
    config = small_config(folder / "data", folder / "run")
    config.model.dropout = dropout
    hp = config.training.hp
    hp.total_batch_size, hp.training_duration, hp.optimizer, hp.lr = BATCH, STEPS * BATCH, "adamw", 1e-3
    with process_group() as ranks:
        training, validation = open_splits(config, ranks, None)
        regression = regression_stage(config, training)
        noise = _noise(folder / "none", training)
        frozen = regression_stage(config, training).network.requires_grad_(False)
        diffusion = diffusion_stage(config, training, frozen, diffusion_backbone(config, training, frozen), noise)
        found = []
        for stage in (regression, diffusion):
            stage.network.to(dtype)
            trainer = Trainer(stage, training, validation, config.training, hp, config.seed, folder / "run", ranks)
            network = trainer._wrapped()
            with trainer._loading(training, trainer._schedule()) as trainer._loaded:
                for _ in range(STEPS):
                    found.append(trainer._step(network)[0])
                    trainer.images += BATCH
        with open(path, "w") if ranks.is_main else nullcontext() as file:
            if file:
                np.savetxt(file, found, "%.17g")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "tolerance", "dropout"),
    [(torch.float64, 1e-6, 0.0), (torch.float64, 1e-6, 0.3), (torch.float32, 1e-4, 0.0)],
)
def test_one_to_four_ranks_have_the_same_losses(dtype, tolerance, dropout, folder):
    found = []
    for ranks in (1, 2, 3, 4):
        path = folder / f"{ranks}_{dtype}_{dropout}.txt"
        assert on_ranks(ranks, losses, folder, path, dtype, dropout) == [0] * ranks
        found.append(np.loadtxt(path))
    assert len(found[0]) == 2 * STEPS
    assert found[0][STEPS - 1] < 0.99 * found[0][0]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=tolerance)
