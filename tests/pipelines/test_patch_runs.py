# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training on windows and generating from them, through the same commands as whole fields."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranks import on_ranks
from small_run import small_config
from test_train import assert_same, losses

from physicsnemo_fs.config import FSUNOConfig, GenerateConfig, SamplerConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.seams import seam_ratio
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.nn.windows import WindowGrid
from physicsnemo_fs.pipelines.checkpoints import load_network, newest
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.generation import sampling
from physicsnemo_fs.pipelines.generation.teams import team_size
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


def generation(run, data, path, **options):
    config = GenerateConfig(run_dir=str(run), dataset=patched_config(data, run).dataset)
    config.sampler = SamplerConfig(num_steps=2)
    options = {"num_ensembles": 2, "max_times": 2, "picture": False} | options
    config.generation = replace(config.generation, **options)
    config.generation.io = replace(config.generation.io, output_filename=str(path))
    config.perf.num_threads = 1
    return config


def generated(run, data, path, **options):
    with EnsembleFile(generate(generation(run, data, path, **options))) as file:
        return file.prediction("vorticity", 0), file.provenance


def fields(path):
    """Give members, means and inputs of all times."""
    with EnsembleFile(path) as file:
        times = range(len(file.times))
        return [
            np.stack([read("vorticity", t) for t in times]) for read in (file.prediction, file.regression, file.input)
        ]


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


@pytest.mark.parametrize("run", ["patched_run", "means_run"])
def test_bfloat16_changes_the_denoiser_of_windows_only(run, data, tmp_path, request):
    config = generation(request.getfixturevalue(run), data, tmp_path / "a.nc")
    half = generation(request.getfixturevalue(run), data, tmp_path / "b.nc")
    half.perf.fp_optimizations = "amp-bf16"
    with EnsembleFile(generate(config)) as exact, EnsembleFile(generate(half)) as rough:
        np.testing.assert_array_equal(rough.regression("vorticity", 0), exact.regression("vorticity", 0))
        members = exact.prediction("vorticity", 0)
        difference = np.abs(rough.prediction("vorticity", 0) - members).max()
    assert 1e-5 * members.std() < difference < 0.1 * members.std()


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


def test_a_denoiser_that_sees_the_mean_does_not_generate_without(patched_run, data, tmp_path):
    with pytest.raises(InputError, match=r"takes 4 condition channels, 1 of them .*hr_mean_conditioning=false"):
        generate(generation(patched_run, data, tmp_path / "a.nc", inference_mode="diffusion"))


@pytest.fixture(scope="module")
def means_run(data, tmp_path_factory):
    """Mean and diffusion of windows."""
    folder = tmp_path_factory.mktemp("means")
    train(means_config(data, folder))
    return folder


def means_config(data, folder):
    config = patched_config(data, folder, training_duration=16)
    config.training.patches.mean, config.training.hr_mean_conditioning = True, False
    config.model.coord_features = "periodic"
    return config


def test_two_ranks_train_on_windows_what_one_does(means_run, data, tmp_path):
    assert on_ranks(2, train, means_config(data, tmp_path)) == [0, 0]
    for stage, kind in (("regression", FSRegressionSR), ("diffusion", FSEDMPrecondSR)):
        assert np.allclose(losses(tmp_path, stage), losses(means_run, stage), rtol=1e-4)
        (two, one) = (load_network(next(Path(d, stage).glob("*.0.16.mdlus")), kind) for d in (tmp_path, means_run))
        assert two.patch_shape == (16, 20)
        for a, b in zip(two.parameters(), one.parameters(), strict=True):
            assert float((a - b).detach().square().sum()) <= 1e-4 * float(b.detach().square().sum() + 1e-6)


@pytest.mark.parametrize("run", ["patched_run", "means_run"], ids=["mean of the whole", "mean of windows"])
def test_any_number_of_ranks_a_member_gives_the_same_bits(run, data, tmp_path, request):
    run = request.getfixturevalue(run)
    generate(generation(run, data, tmp_path / "1.nc"))
    for ranks, a_member in ((2, 2), (3, 3), (4, 2)):
        config = generation(run, data, tmp_path / f"{ranks}.nc", ranks_per_member=a_member)
        assert on_ranks(ranks, generate, config) == [0] * ranks
        for one, many in zip(fields(tmp_path / "1.nc"), fields(tmp_path / f"{ranks}.nc"), strict=True):
            assert np.array_equal(one, many)


def test_processes_without_a_piece_of_their_own_share_a_member(means_run, data, tmp_path):
    def told(config):
        gathered = sampling.Strips.gathered

        def recorded(self, field):
            (tmp_path / f"{self.team.rank} of {self.team.size}").touch()
            return gathered(self, field)

        sampling.Strips.gathered = recorded
        generate(config)

    config = generation(means_run, data, tmp_path / "s.nc", num_ensembles=1, max_times=1)
    assert on_ranks(2, told, config) == [0, 0]
    assert {path.name for path in tmp_path.glob("* of *")} == {"0 of 2", "1 of 2"}


def test_conditions_of_windows_are_never_made_on_the_whole_domain(means_run, data, tmp_path, monkeypatch):
    def refused(*given):
        raise AssertionError("the whole condition was made")

    monkeypatch.setattr(sampling, "assemble_condition", refused)
    values, _ = generated(means_run, data, tmp_path / "a.nc")
    residual, _ = generated(means_run, data, tmp_path / "d.nc", inference_mode="diffusion")
    assert residual.shape == values.shape
    mean, provenance = generated(means_run, data, tmp_path / "m.nc", inference_mode="regression")
    assert WindowGrid.from_dict(provenance["patches"]).patch == (16, 20)
    assert mean.shape[0] == 1
    assert np.isfinite(values).all()


def test_ranks_that_cannot_share_a_member_are_refused():
    with pytest.raises(InputError, match="must divide the number of processes: got 2 and 3"):
        team_size(2, 3, 1, WindowGrid((32, 32), (16, 16), (4, 4)))
    with pytest.raises(InputError, match="ranks_per_member=2 needs networks of windows"):
        team_size(2, 2, 1, None)


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
