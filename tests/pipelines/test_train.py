# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training: resumes exactly, refuses what does not fit, stops when it diverges."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from small_run import small_config

from physicsnemo_fs.config import HyperParameters, StageHyperParameters, TrainingConfig, TrainingIOConfig
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.diffusion.calibration import Calibration
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import build_backbone, open_dataset
from physicsnemo_fs.pipelines.checkpoints import image_count, load_network, newest
from physicsnemo_fs.pipelines.stage_building import diffusion_backbone, diffusion_stage, overfit, read_noise
from physicsnemo_fs.pipelines.train import train
from physicsnemo_fs.pipelines.trainer import Trainer, TrainingDiverged

SCRIPT = Path(__file__).parents[2] / "examples" / "corrdiff_fs" / "train.py"


def weights(run_dir, stage):
    kind = FSRegressionSR if stage == "regression" else FSEDMPrecondSR
    return load_network(newest(run_dir / stage, f"{kind.__name__}.0.*.mdlus"), kind).state_dict()


def losses(run_dir, stage):
    records = [json.loads(line) for line in (run_dir / stage / "log.jsonl").read_text().splitlines()]
    return np.array([r["loss"] for r in records if "loss" in r])


def assert_equal_up_to_rounding(run_dir, other, stage):
    """Sums in another order differ by rounding, which Adam's first steps blow up where gradients nearly vanish."""
    assert np.allclose(losses(run_dir, stage), losses(other, stage), rtol=1e-4)
    a, b = weights(run_dir, stage), weights(other, stage)
    difference = sum(float((a[k] - b[k]).square().sum()) for k in a)
    assert difference < 1e-4 * sum(float(b[k].square().sum()) for k in b)


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_run_leaves_networks_logs_and_pictures(run_dir):
    for stage in ("regression", "diffusion"):
        folder = run_dir / stage
        records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert {"loss", "lr", "grad_norm", "images_per_second"} < set(records[0])
        assert [r["images"] for r in records if "validation_loss" in r] == [24, 48]
        assert len(list((folder / "pictures").glob("*.png"))) == 2
        assert list((folder / "tensorboard").iterdir())
        assert {image_count(p) for p in folder.glob("*.mdlus")} == {32, 48}
    denoiser = load_network(newest(run_dir / "diffusion", "*.mdlus"), FSEDMPrecondSR)
    assert denoiser.noise["kernel"]["kind"] == "matched"
    assert denoiser.img_in_channels == 1 + 1 + 2


@pytest.mark.parametrize("stage", ["regression", "diffusion"])
def test_an_interrupted_run_resumes_bit_for_bit(stage, data, run_dir, tmp_path, monkeypatch):
    config = small_config(data, tmp_path)
    taken = {"steps": 0}
    step = Trainer._step

    def interrupted(self, network):
        if self.stage.name == stage:
            taken["steps"] += 1
            if taken["steps"] == 4:
                raise KeyboardInterrupt
        return step(self, network)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    train(config)
    assert_same(weights(tmp_path, stage), weights(run_dir, stage))


def test_a_finished_run_is_reused(data, run_dir):
    before = {p: p.stat().st_mtime_ns for p in run_dir.glob("*/*.mdlus")}
    train(small_config(data, run_dir))
    assert {p: p.stat().st_mtime_ns for p in run_dir.glob("*/*.mdlus")} == before


def test_a_folder_of_another_run_is_refused(data, run_dir):
    config = replace(small_config(data, run_dir), seed=1)
    with pytest.raises(InputError, match=r"another seed \(0 there, 1 here\); choose another run_dir"):
        train(config)


def test_a_mistake_in_the_model_claims_no_folder(data, tmp_path):
    config = small_config(data, tmp_path)
    wrong = replace(config, model=replace(config.model, n_modes=[0]))
    with pytest.raises(ValueError, match="n_modes needs one entry a level"):
        train(wrong)
    assert not (tmp_path / "regression").exists()


def test_a_gain_that_was_not_fitted_is_fitted_on_resuming(data, run_dir, tmp_path, monkeypatch):
    config = replace(small_config(data, tmp_path), stage="regression")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("physicsnemo_fs.pipelines.train.measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    train(config)
    assert_same(weights(tmp_path, "regression"), weights(run_dir, "regression"))


def test_an_unfinished_mean_is_refused(data, tmp_path, monkeypatch):
    config, step = small_config(data, tmp_path), Trainer._step

    def interrupted(self, network):
        if self.images == 32:
            raise KeyboardInterrupt
        return step(self, network)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"stopped at FSRegressionSR\.0\.32\.mdlus; finish it with stage=regression"):
        train(replace(config, stage="diffusion"))


def test_another_mean_in_the_same_folder_is_refused(data, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    train(replace(small_config(data, tmp_path / "other"), seed=1, stage="regression"))
    mean = newest(tmp_path / "other" / "regression", "*.mdlus")
    io = replace(small_config(data, run_dir).training.io, regression_checkpoint_path=str(mean))
    config = replace(small_config(data, tmp_path / "run", io=io), stage="diffusion")
    with pytest.raises(InputError, match=r"holds a run with another regression"):
        train(config)


def test_dropout_resumes_bit_for_bit(data, tmp_path, monkeypatch):
    def config(folder):
        whole = small_config(data, folder)
        return replace(whole, stage="regression", model=replace(whole.model, dropout=0.3))

    step, taken = Trainer._step, []

    def interrupted(self, network):
        taken.append(self.images)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return step(self, network)

    train(config(tmp_path / "whole"))
    monkeypatch.setattr(Trainer, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path / "resumed"))
    monkeypatch.undo()
    train(config(tmp_path / "resumed"))
    assert_same(weights(tmp_path / "resumed", "regression"), weights(tmp_path / "whole", "regression"))


def test_nothing_is_drawn_from_torchs_generator_in_a_training(data, tmp_path, monkeypatch):
    whole = small_config(data, tmp_path)
    config = replace(whole, model=replace(whole.model, dropout=0.3))
    step, states = Trainer._step, []

    def watched(self, network):
        before = torch.get_rng_state()
        loss = step(self, network)
        states.append(torch.equal(torch.get_rng_state(), before))
        return loss

    monkeypatch.setattr(Trainer, "_step", watched)
    train(config)
    assert states == [True] * 12


def test_dropout_that_is_not_keyed_is_refused(data, tmp_path, monkeypatch):
    def backbone(*arguments, **options):
        made = build_backbone(*arguments, **options)
        made.stack.middle.dropout = torch.nn.Dropout(0.2)
        return made

    monkeypatch.setattr("physicsnemo_fs.pipelines.stage_building.build_backbone", backbone)
    with pytest.raises(InputError, match=r"keyed by sample.*middle\.dropout \(Dropout\) of the regression network"):
        train(small_config(data, tmp_path))


def test_more_ranks_than_images_a_step_are_refused(data, run_dir):
    class Many:
        world_size = 16

    hp = HyperParameters(total_batch_size=8)
    with pytest.raises(InputError, match=r"total_batch_size must be at least the number of ranks, 16: got 8"):
        Trainer(None, None, None, TrainingConfig(), hp, 0, run_dir, Many())


@pytest.mark.parametrize("stage", ["regression", "diffusion"])
def test_a_grid_too_small_for_the_network_is_refused_before_a_folder_is_taken(stage, data, run_dir, tmp_path):
    mean = newest(run_dir / "regression", "*.mdlus")
    config = small_config(data, tmp_path / "run", io=TrainingIOConfig(regression_checkpoint_path=str(mean)))
    config = replace(config, stage=stage, dataset=replace(config.dataset, resolution=8))
    with pytest.raises(
        InputError, match=r"at least 16 x 16 points: got a fine grid of 8 x 8; raise dataset\.resolution"
    ):
        train(config)
    assert not (tmp_path / "run" / stage).exists()


def test_the_diffusion_stage_needs_a_mean(data, tmp_path):
    with pytest.raises(InputError, match="needs a regression checkpoint"):
        train(replace(small_config(data, tmp_path), stage="diffusion"))


def test_a_foreign_or_damaged_mean_is_refused(data, run_dir, tmp_path):
    denoiser = newest(run_dir / "diffusion", "*.mdlus")
    io = TrainingIOConfig(regression_checkpoint_path=str(denoiser))
    config = replace(small_config(data, tmp_path, io=io), stage="diffusion")
    with pytest.raises(InputError, match="holds a FSEDMPrecondSR, but a FSRegressionSR is needed"):
        train(config)
    damaged = tmp_path / "FSRegressionSR.0.1.mdlus"
    damaged.write_bytes(denoiser.read_bytes()[:1000])
    io.regression_checkpoint_path = str(damaged)
    with pytest.raises(InputError, match="truncated or damaged"):
        train(config)
    io.regression_checkpoint_path = str(tmp_path / "absent.mdlus")
    with pytest.raises(InputError, match=r"no checkpoint at .*absent\.mdlus"):
        train(config)


def test_gradient_accumulation_gives_the_full_batch(data, run_dir, tmp_path):
    hp = HyperParameters(training_duration=48, total_batch_size=8, lr_rampup=8, ema_halflife=16, batch_size_per_gpu=3)
    train(replace(small_config(data, tmp_path, hp=hp), stage="regression"))
    assert_equal_up_to_rounding(tmp_path, run_dir, "regression")


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(data, tmp_path):
    training = {"diffusion_hp": StageHyperParameters(lr=1e30, lr_rampup=0, grad_clip_threshold=1e30)}
    with pytest.raises(TrainingDiverged, match=r"diffusion stage is .* on rank 0, noise levels \["):
        train(small_config(data, tmp_path, **training))


@pytest.mark.parametrize(("name", "content"), [("model.pt", b"garbage"), ("args.json", b"[]")])
def test_a_checkpoint_with_a_damaged_entry_is_refused(run_dir, tmp_path, name, content):
    source = newest(run_dir / "regression", "*.mdlus")
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(tmp_path / source.name, "w") as damaged:
        for entry in archive.namelist():
            damaged.writestr(entry, content if entry == name else archive.read(entry))
    with pytest.raises(InputError, match=source.name):
        load_network(tmp_path / source.name, FSRegressionSR)


def test_a_checkpoint_with_flipped_bytes_is_refused(run_dir, tmp_path):
    source = newest(run_dir / "regression", "*.mdlus")
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64 * [0xA5])
    (tmp_path / source.name).write_bytes(content)
    with pytest.raises(InputError, match=source.name):
        load_network(tmp_path / source.name, FSRegressionSR)


def test_training_that_stops_early_ends_with_the_best_network(data, tmp_path):
    hp = HyperParameters(training_duration=480, total_batch_size=8, lr=0.0, patience=2)
    config = replace(small_config(data, tmp_path, hp=hp), stage="regression")
    path = train(config).regression
    assert path.name == "FSRegressionSR.0.24.mdlus"
    assert list((tmp_path / "regression").glob("*.mdlus")) == [path]
    assert newest(tmp_path / "regression", "*.pt").name == "checkpoint.0.72.pt"
    assert train(config).regression == path


def test_two_ranks_train_what_one_does(data, run_dir, tmp_path):
    config = OmegaConf.structured(small_config(data, tmp_path))
    flat = yaml.safe_load(OmegaConf.to_yaml(config))
    (tmp_path / "conf").mkdir()
    header = {"defaults": ["config_train", "_self_"]}
    (tmp_path / "conf" / "small.yaml").write_text(yaml.safe_dump(header | flat, sort_keys=False))
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = [str(SCRIPT), "--config-dir", str(tmp_path / "conf"), "--config-name", "small"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    for stage in ("regression", "diffusion"):
        assert_equal_up_to_rounding(tmp_path, run_dir, stage)


def test_the_mean_carries_its_gain(run_dir):
    regression = load_network(newest(run_dir / "regression", "*.mdlus"), FSRegressionSR)
    assert float(regression.gain[0, 0]) == 1.0
    assert float((regression.gain - 1).abs().max()) > 1e-3


def test_both_networks_carry_the_spectrum_that_holds_averages(run_dir):
    networks = [
        load_network(newest(run_dir / stage, "*.mdlus"), kind)
        for stage, kind in (("regression", FSRegressionSR), ("diffusion", FSEDMPrecondSR))
    ]
    for network in networks:
        assert network.conservation.cells == (4, 4)
        assert network.conservation.power.shape == (1, 16)
    assert torch.equal(*(network.conservation.power for network in networks))
    assert float(networks[0].conservation.power.max()) == 1.0


def test_beside_a_mean_that_was_released_the_denoiser_is_free(data, run_dir):
    regression = load_network(newest(run_dir / "regression", "*.mdlus"), FSRegressionSR)
    regression.conservation.release()
    config = small_config(data, run_dir)
    training = open_dataset(config.dataset, Opening("train"))
    noise = read_noise(run_dir / "diffusion" / "noise.json")
    backbone = diffusion_backbone(config, training, regression)
    network = diffusion_stage(config, training, regression, backbone, noise).network
    x = torch.randn(2, 1, *training.grid.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.conservation(x), x)


def test_conservation_may_be_left_out_and_is_refused_where_it_cannot_be(data, tmp_path):
    free = small_config(data, tmp_path / "free", conserve=False)
    assert load_network(train(replace(free, stage="regression")).regression, FSRegressionSR).conservation is None
    assert load_network(train(free).diffusion, FSEDMPrecondSR).conservation is None
    asked = small_config(data, tmp_path / "asked", conserve=True)
    given = replace(asked.training.io, regression_checkpoint_path=str(train(free).regression))
    with pytest.raises(InputError, match="needs a mean that is held"):
        train(replace(asked, stage="diffusion", training=replace(asked.training, io=given)))
    other = replace(asked, run_dir=str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"training\.conserve=true needs"):
        train(replace(other, dataset=replace(other.dataset, coarsening="pixel_average")))


def test_the_denoiser_starts_from_the_mean_if_it_is_asked_to(data, run_dir):
    regression = load_network(newest(run_dir / "regression", "*.mdlus"), FSRegressionSR)
    config = small_config(data, run_dir)
    training = open_dataset(config.dataset, Opening("train"))
    name = "stack.middle.local_in.conv.weight"
    source = regression.backbone.state_dict()[name]
    for warm in (True, False):
        asked = replace(config, training=replace(config.training, warm_start=warm))
        assert torch.equal(diffusion_backbone(asked, training, regression).state_dict()[name], source) == warm


def test_training_config_defaults_are_the_shared_ones():
    assert TrainingConfig().hp == HyperParameters()


def test_a_mean_that_overfits_is_named():
    def measured(residual):
        none = torch.zeros(1, 1)
        return Calibration(1, torch.tensor([residual]), none, none, none)

    assert overfit(measured(1.0), measured(1.4)) is None
    assert "3.0 times that on the training split" in overfit(measured(0.1), measured(0.3))
