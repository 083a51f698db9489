# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training on windows and generating from them, through the same commands as whole fields."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_run import small_config
from test_train import assert_same

from physicsnemo_fs.config import FSUNOConfig, GenerateConfig, SamplerConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.seams import seam_ratio
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.nn.windows import WindowGrid
from physicsnemo_fs.pipelines.checkpoints import load_network, newest
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.train import train
from physicsnemo_fs.pipelines.trainer import Trainer


def patched_config(data, folder, **hp):
    config = small_config(data, folder)
    options = {"patch_shape_x": 20, "patch_shape_y": 16, "patch_num": 3, "max_patch_per_gpu": 5} | hp
    config.training.hp = replace(config.training.hp, **options)
    config.model = FSUNOConfig(
        model_channels=4, channel_mult=[1, 2], level_grid=[16, 8], n_modes=[0, 3], boundary="pad"
    )
    return config


@pytest.fixture(scope="module")
def patched_run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patched")
    train(patched_config(data, folder))
    return folder


def weights(run_dir):
    path = newest(Path(run_dir, "diffusion"), "FSPatchedEDMPrecondSR.0.*.mdlus")
    return load_network(path, FSEDMPrecondSR).state_dict()


def generated(patched_run, data, path, **options):
    config = GenerateConfig(run_dir=str(patched_run), dataset=patched_config(data, patched_run).dataset)
    config.sampler = SamplerConfig(num_steps=2)
    config.generation = replace(config.generation, num_ensembles=2, max_times=2, picture=False, **options)
    config.generation.io = replace(config.generation.io, output_filename=str(path))
    with EnsembleFile(generate(config)) as file:
        return file.prediction("vorticity", 0), file.provenance


def test_a_run_on_windows_leaves_a_denoiser_of_windows(patched_run, data, tmp_path):
    assert list(Path(patched_run, "diffusion").glob("FSPatchedEDMPrecondSR.0.48.mdlus"))
    values, provenance = generated(patched_run, data, tmp_path / "a.nc")
    windows = WindowGrid.from_dict(provenance["patches"])
    assert (windows.shape, windows.patch, windows.overlap, windows.boundary) == ((32, 32), (16, 20), (4, 5), "periodic")
    assert np.isfinite(values).all()
    assert 0.5 < seam_ratio(values.reshape(-1, 32, 32), windows) < 2


def test_windows_at_once_change_rounding_only_and_the_overlap_is_a_choice(patched_run, data, tmp_path):
    first, _ = generated(patched_run, data, tmp_path / "a.nc", max_patch_per_gpu=1)
    again, _ = generated(patched_run, data, tmp_path / "b.nc", max_patch_per_gpu=50)
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-4 * first.std())
    other, provenance = generated(patched_run, data, tmp_path / "c.nc", overlap_pix=8, boundary_pix=0)
    assert provenance["patches"]["overlap"] == [8, 8]
    assert provenance["patches"]["margin"] == [0, 0]
    assert not np.allclose(other, first)


def diffusion_only(config, patched_run):
    config.training.io.regression_checkpoint_path = str(next(Path(patched_run, "regression").glob("*.48.mdlus")))
    return replace(config, stage="diffusion")


def test_an_interrupted_run_on_windows_resumes_bit_for_bit(patched_run, data, tmp_path, monkeypatch):
    config, step, taken = diffusion_only(patched_config(data, tmp_path), patched_run), Trainer._step, []

    def counted(self, network):
        taken.append(self.images)
        if len(taken) == 4:
            raise SystemExit(5)
        return step(self, network)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", counted)
        with pytest.raises(SystemExit):
            train(config)
    train(config)
    assert_same(weights(tmp_path), weights(patched_run))


@pytest.mark.parametrize(
    ("hp", "model", "message"),
    [
        ({"patch_shape_x": 48}, {}, r"a patch must fit the domain: got 48 columns in 32; give at most 32"),
        ({}, {"boundary": "periodic"}, r"FSUNO wraps at its edges; give model.boundary=pad"),
        ({}, {"level_grid": [24, 8]}, r"got 16 x 20 samples for model.level_grid=\[24, 8\]"),
    ],
)
def test_windows_that_do_not_fit_are_refused_by_training(hp, model, message, patched_run, data, tmp_path):
    config = patched_config(data, tmp_path, **hp)
    config.model = replace(config.model, **model)
    with pytest.raises(InputError, match=message):
        train(diffusion_only(config, patched_run))
