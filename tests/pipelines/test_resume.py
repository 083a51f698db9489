# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a training continues from: damaged and foreign states, kept files, logs, longer trainings, saved settings."""

import errno
import json
import shutil
import sys
from dataclasses import replace

import netCDF4
import pytest
import torch
from small_run import small_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_train import assert_equal_up_to_rounding, assert_same, weights

from physicsnemo_fs import cli
from physicsnemo_fs.config import HyperParameters, TrainConfig
from physicsnemo_fs.data.flow.store import store_path
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.assembly import kolmogorov_splits
from physicsnemo_fs.pipelines.checkpoints import image_count
from physicsnemo_fs.pipelines.train import train
from physicsnemo_fs.pipelines.trainer import Trainer
from physicsnemo_fs.pipelines.training_log import cut_log
from physicsnemo_fs.pipelines.training_state import load_state, save_state


def interrupted_at(images, stage="regression"):
    """Let training fail before the step after so many images; what it undoes is given."""
    patch, step = pytest.MonkeyPatch(), Trainer._step

    def interrupted(self, network):
        if (self.stage.name, self.images) == (stage, images):
            raise KeyboardInterrupt
        return step(self, network)

    patch.setattr(Trainer, "_step", interrupted)
    return patch


@pytest.fixture(scope="module")
def half(data, tmp_path_factory):
    """A regression that was interrupted at image 40, with states at 16 and 32."""
    folder = tmp_path_factory.mktemp("half")
    patch = interrupted_at(40)
    with pytest.raises(KeyboardInterrupt):
        train(replace(small_config(data, folder), stage="regression"))
    patch.undo()
    return folder


@pytest.fixture
def run(data, half, tmp_path):
    shutil.copytree(half, tmp_path / "run")
    return replace(small_config(data, tmp_path / "run"), stage="regression")


def with_resume(config, resume):
    return replace(config, training=replace(config.training, io=replace(config.training.io, resume=resume)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes().replace(b"\x3f", b"\x3e", 50)),
        lambda path: torch.save({"network": {}}, path),
    ],
    ids=["truncated", "empty", "flipped", "foreign"],
)
def test_a_damaged_state_is_named_with_the_last_good_one_which_is_used_on_purpose(damage, run, run_dir, tmp_path):
    folder = tmp_path / "run" / "regression"
    damage(folder / "checkpoint.0.32.pt")
    with pytest.raises(InputError) as error:
        train(run)
    assert "checkpoint.0.32.pt" in str(error.value)
    assert "the last good one is" in str(error.value)
    assert "checkpoint.0.16.pt: training.io.resume=latest_good continues from it" in str(error.value)
    train(with_resume(run, "latest_good"))
    assert (folder / "checkpoint.0.32.pt.damaged").exists()
    assert_same(weights(tmp_path / "run", "regression"), weights(run_dir, "regression"))


def test_data_may_move_while_a_training_is_stopped(run, data, run_dir, tmp_path):
    shutil.copytree(data, tmp_path / "moved")
    moved = replace(run, dataset=replace(run.dataset, data_path=str(tmp_path / "moved")))
    train(moved)
    assert_same(weights(tmp_path / "run", "regression"), weights(run_dir, "regression"))
    train(replace(moved, stage="all"))
    assert_same(weights(tmp_path / "run", "diffusion"), weights(run_dir, "diffusion"))


def test_a_finished_run_is_tested_on_other_trajectories(run, run_dir, tmp_path):
    more = replace(run, dataset=replace(run.dataset, test_trajectories=3))
    train(more)
    assert_same(weights(tmp_path / "run", "regression"), weights(run_dir, "regression"))
    other = replace(run, dataset=replace(run.dataset, train_trajectories=1))
    with pytest.raises(InputError, match=r"another dataset\.train_trajectories"):
        train(other)


def test_other_data_elsewhere_is_refused(run, data, tmp_path):
    shutil.copytree(data, tmp_path / "moved")
    with netCDF4.Dataset(store_path(tmp_path / "moved", kolmogorov_splits(run.dataset), "train"), "a") as file:
        file["vorticity"][0, 0, 5, 5] += 1.0
    moved = replace(run, dataset=replace(run.dataset, data_path=str(tmp_path / "moved")))
    with pytest.raises(InputError, match=r"holds a run with another dataset\.samples\[0\]"):
        train(moved)


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"network": 5, "hp": 3, "sigma_data": 1}', "half"])
@pytest.mark.parametrize("name", ["regression/run.json", "regression/finished.json", "diffusion/noise.json"])
def test_a_damaged_record_is_named(name, content, data, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    if "noise" in name:
        (tmp_path / "run" / "diffusion" / "finished.json").unlink()
    with pytest.raises(InputError, match=rf"{name} is damaged \(.*\); remove the folder or restore the file"):
        train(replace(small_config(data, tmp_path / "run"), stage="diffusion" if "finished" in name else "all"))


def test_without_a_good_state_nothing_is_trained_over(run, tmp_path):
    for path in (tmp_path / "run" / "regression").glob("*.pt"):
        path.write_bytes(b"x")
    with pytest.raises(InputError, match="there is no older one: remove the folder"):
        train(run)
    with pytest.raises(InputError, match=r"none of the 2 training states .* is good; remove the folder"):
        train(with_resume(run, "latest_good"))


def test_a_start_that_may_not_continue_refuses(run):
    with pytest.raises(InputError, match=r"resume=never, but .* holds a training as far as image 32; choose another"):
        train(with_resume(run, "never"))


def test_a_run_moves_to_a_smaller_device(run, run_dir, tmp_path):
    hp = replace(run.training.hp, batch_size_per_gpu=3)
    train(replace(run, training=replace(run.training, hp=hp)))
    assert_equal_up_to_rounding(tmp_path / "run", run_dir, "regression")


def of_another_run(path, other):
    shutil.copy(other / "diffusion" / "checkpoint.0.48.pt", path)


def incomplete(path, other):
    state = load_state(path.with_name("checkpoint.0.32.pt"), torch.device("cpu"))
    del state["optimizer"]
    save_state(state, path)


@pytest.mark.parametrize(
    ("foreign", "reason"),
    [
        (of_another_run, "is of another run"),
        (incomplete, "is incomplete: it holds no optimizer"),
        (lambda path, other: path.mkdir(), "is no file"),
    ],
)
def test_a_foreign_state_is_named_with_the_last_good_one(foreign, reason, run, run_dir, tmp_path):
    folder = tmp_path / "run" / "regression"
    foreign(folder / "checkpoint.0.40.pt", run_dir)
    advice = r"the last good one is .*checkpoint\.0\.32\.pt: training\.io\.resume=latest_good"
    with pytest.raises(InputError, match=rf"checkpoint\.0\.40\.pt {reason}.*; {advice}"):
        train(run)
    train(with_resume(run, "latest_good"))
    assert (folder / "checkpoint.0.40.pt.damaged").exists()
    assert_same(weights(tmp_path / "run", "regression"), weights(run_dir, "regression"))


@pytest.fixture
def done(data, run_dir, tmp_path):
    """The configuration of a finished run of both stages, whose folder may be changed."""
    shutil.copytree(run_dir, tmp_path / "run")
    return small_config(data, tmp_path / "run")


@pytest.mark.parametrize("loss", ["deleted", "damaged"])
@pytest.mark.parametrize(("stage", "name"), [("regression", "FSRegressionSR"), ("diffusion", "FSEDMPrecondSR")])
def test_a_lost_network_is_made_again_from_the_state(stage, name, loss, done, run_dir, tmp_path, caplog):
    path = tmp_path / "run" / stage / f"{name}.0.48.mdlus"
    if loss == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:1000])
    train(done)
    assert f"{path.name}" in caplog.text
    assert "made again" in caplog.text
    assert_same(weights(tmp_path / "run", stage), weights(run_dir, stage))


def test_a_finished_run_needs_no_states(done, run_dir, tmp_path):
    before = {}
    for stage in ("regression", "diffusion"):
        for path in (tmp_path / "run" / stage).glob("*.pt"):
            path.unlink()
        before |= {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / stage).glob("*.mdlus")}
    result = train(done)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (result.regression.parent.name, result.diffusion.parent.name) == ("regression", "diffusion")
    result.diffusion.unlink()
    with pytest.raises(InputError, match=r"FSEDMPrecondSR\.0\.48\.mdlus.*no training state is left to make it from"):
        train(done)
    with pytest.raises(InputError, match=r"resume=never, but .*regression holds a finished training"):
        train(with_resume(done, "never"))


def test_a_full_disk_while_the_mean_is_completed_says_what_is_kept(run, tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("physicsnemo_fs.pipelines.train._complete", full)
    with pytest.raises(InputError, match=r"could not write below .*run \(No space left on device\); .* is kept"):
        train(run)


def test_kept_are_the_newest_and_the_best(data, tmp_path):
    hp = HyperParameters(training_duration=96, total_batch_size=8, lr=0.0)
    config = small_config(data, tmp_path, hp=hp)
    train(replace(config, stage="regression"))
    folder = tmp_path / "regression"
    assert {image_count(p) for p in folder.glob("*.mdlus")} == {24, 80, 96}
    assert {image_count(p) for p in folder.glob("*.pt")} == {80, 96}


def test_a_log_continues_where_the_checkpoint_is(run, run_dir, tmp_path):
    folder = tmp_path / "run" / "regression"
    with open(folder / "log.jsonl", "a") as lines:
        lines.write('{"time": 1.0, "images": 40, "loss"')
    train(run)

    def told(folder):
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k not in ("time", "images_per_second")} for line in lines]

    def drawn(folder):
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in ("loss", "validation_loss", "lr")}

    assert told(folder) == told(run_dir / "regression")
    assert drawn(folder) == drawn(run_dir / "regression")


def test_cutting_a_log_keeps_whole_lines_up_to_the_checkpoint(tmp_path):
    path = tmp_path / "log.jsonl"
    cut_log(path, 3)
    good = '{"images": 1}\n{"images": 3}\n'
    path.write_text(good + 'nonsense\n[1]\n{"images": 4}\n{"images": 2}')
    cut_log(path, 3)
    assert path.read_text() == good


@pytest.mark.parametrize("finished", [True, False])
def test_a_constant_rate_trains_longer(finished, data, tmp_path):
    def config(folder, duration):
        hp = HyperParameters(
            training_duration=duration, total_batch_size=8, lr_rampup=8, ema_halflife=16, lr_decay="constant"
        )
        return replace(small_config(data, tmp_path / folder, hp=hp), stage="regression")

    train(config("whole", 64))
    patch = interrupted_at(48 if finished else 40)
    if finished:
        train(config("run", 48))
    else:
        with pytest.raises(KeyboardInterrupt):
            train(config("run", 48))
    patch.undo()
    path = train(config("run", 64)).regression
    assert path.name == "FSRegressionSR.0.64.mdlus"
    whole, longer = (json.loads((tmp_path / f / "regression" / "run.json").read_text()) for f in ("whole", "run"))
    assert whole == longer
    assert_same(weights(tmp_path / "run", "regression"), weights(tmp_path / "whole", "regression"))
    with pytest.raises(InputError, match="training_duration=64, got 48: only a longer training"):
        train(config("run", 48))


def test_a_cosine_is_not_trained_longer(data, run_dir):
    hp = replace(small_config(data, run_dir).training.hp, training_duration=96)
    with pytest.raises(InputError, match="training_duration=48, got 96: only a longer training with lr_decay=constant"):
        train(small_config(data, run_dir, hp=hp))


def test_a_mean_whose_residuals_were_learnt_is_not_trained_longer(data, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    for stage in ("regression", "diffusion"):
        path = tmp_path / "run" / stage / "run.json"
        record = json.loads(path.read_text())
        record["hp"]["lr_decay"] = "constant"
        path.write_text(json.dumps(record))
    hp = replace(small_config(data, run_dir).training.hp, training_duration=96, lr_decay="constant")
    with pytest.raises(InputError, match=r"has learnt the residuals of its mean.*diffusion_hp\.training_duration"):
        train(small_config(data, tmp_path / "run", hp=hp))


def test_a_refused_training_leaves_nothing(data, run_dir, tmp_path):
    config = small_config(data, tmp_path / "run")
    with pytest.raises(InputError, match="lowres_scale_factor must divide"):
        train(replace(config, dataset=replace(config.dataset, lowres_scale_factor=5)))
    with pytest.raises(ValueError, match="n_modes needs one entry a level"):
        train(replace(config, model=replace(config.model, n_modes=[0])))
    assert not (tmp_path / "run").exists()
    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=r"another model\.model_channels"):
        train(replace(small_config(data, run_dir), model=replace(config.model, model_channels=5)))
    assert {p: p.stat().st_mtime_ns for p in run_dir.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("stage", ["regression", "diffusion"])
def test_a_saved_configuration_is_given_back(stage, data, run_dir, monkeypatch):
    taken = []
    monkeypatch.setattr(cli, "_train", taken.append)
    arguments = ["--config-dir", str(run_dir / stage), "--config-name", "config", "training.io.resume=latest_good"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    cli.application("train", taken.append)()
    assert taken == [with_resume(small_config(data, run_dir), "latest_good")]
    assert isinstance(taken[0], TrainConfig)
