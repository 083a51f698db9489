# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any instant: the same command then ends with the bits of the run that was never killed."""

import json
import os
import random
import re
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from harness import KILLS, command, counts_changes, dies_at_change, forked, survive
from omegaconf import OmegaConf
from ranks import on_ranks
from small_run import small_config

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.checkpoints import load_network
from physicsnemo_fs.pipelines.train import train
from physicsnemo_fs.pipelines.trainer import Trainer

SCRIPT = Path(__file__).parents[2] / "examples" / "corrdiff_fs" / "train.py"
SECONDS_TO_IMPORT = 8
pytestmark = pytest.mark.faults


def finished_with(run_dir):
    """Give what a finished run must have in common with another: weights, and every line of its logs but the times."""
    found = {}
    for stage, kind in (("regression", FSRegressionSR), ("diffusion", FSEDMPrecondSR)):
        folder = run_dir / stage
        mark = json.loads((folder / "finished.json").read_text())
        found[stage] = load_network(folder / mark["network"], kind).state_dict()
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        found[f"{stage} log"] = [
            {k: v for k, v in line.items() if k not in ("time", "images_per_second")} for line in lines
        ]
        found[f"{stage} files"] = sorted(p.name for p in folder.glob("*") if p.is_file())
    return found


def assert_equal_bits(run_dir, other):
    here, there = finished_with(run_dir), finished_with(other)
    for stage in ("regression", "diffusion"):
        assert here[stage].keys() == there[stage].keys()
        assert all(torch.equal(here[stage][name], there[stage][name]) for name in there[stage])
        assert here[f"{stage} log"] == there[f"{stage} log"]
        assert here[f"{stage} files"] == there[f"{stage} files"]
    assert not list(run_dir.rglob("*.partial*"))
    assert not (run_dir / "lock").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def whole(folder):
    """A run that nobody disturbs, with its seconds and its number of changes of its folder."""

    def counted():
        counts_changes(run_dir, folder / "changes")
        train(small_config(folder / "data", run_dir))

    run_dir = folder / "whole"
    forked(train, small_config(folder / "data", folder / "first")).wait(300)
    started = time.monotonic()
    assert forked(counted).wait(300) == 0
    return run_dir, time.monotonic() - started, int((folder / "changes").read_text())


def kill_in_turn(start, kills, seconds, draws, run_dirs, other):
    """Kill runs, one after another, until ``kills`` processes have been killed."""
    done = 0
    while done < kills:
        run_dir = next(run_dirs)
        found = survive(lambda run_dir=run_dir: start(run_dir), kills - done, seconds, draws)
        assert found.statuses[-1] == 0, found
        assert_equal_bits(run_dir, other)
        done += found.kills


def numbered(folder):
    number = 0
    while True:
        yield folder / f"run_{number}"
        number += 1


def test_killed_at_random_times(folder, whole, tmp_path):
    run_dir, seconds, _ = whole

    def start(there):
        return forked(train, small_config(folder / "data", there))

    kill_in_turn(start, KILLS // 2, seconds, random.Random(1), numbered(tmp_path), run_dir)


def test_killed_before_a_change_of_its_folder(folder, whole, tmp_path):
    run_dir, _, changes = whole
    draws = random.Random(2)

    def killed(there, number):
        dies_at_change(there, number)
        train(small_config(folder / "data", there))

    for kill in range(KILLS - KILLS // 2):
        there = tmp_path / f"run_{kill}"
        assert forked(killed, there, draws.randrange(changes)).wait(300) == -9
        assert forked(train, small_config(folder / "data", there)).wait(300) == 0
        assert_equal_bits(there, run_dir)


@pytest.mark.skipif(KILLS < 20, reason="make test-faults")
def test_killed_while_the_data_is_simulated(whole, tmp_path):
    run_dir, seconds, _ = whole

    def start(there):
        return forked(train, small_config(there / "data", there))

    kill_in_turn(start, 2, seconds / 4, random.Random(3), numbered(tmp_path), run_dir)


@pytest.mark.skipif(KILLS < 20, reason="make test-faults")
def test_two_ranks_killed_at_random_times(folder, whole, tmp_path):
    def both(there):
        sys.exit(max(on_ranks(2, train, small_config(folder / "data", there))))

    started = time.monotonic()
    assert forked(both, tmp_path / "whole").wait(300) == 0
    seconds = time.monotonic() - started
    kill_in_turn(
        lambda there: forked(both, there), 4, seconds, random.Random(4), numbered(tmp_path), tmp_path / "whole"
    )


@pytest.mark.skipif(KILLS < 20, reason="make test-faults")
def test_the_command_line_killed_at_random_times(folder, whole, tmp_path):
    run_dir, seconds, _ = whole
    flat = yaml.safe_load(OmegaConf.to_yaml(OmegaConf.structured(small_config(folder / "data", tmp_path))))
    header = {"defaults": ["config_train", "_self_"]}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(header | flat, sort_keys=False))
    chosen = ["--config-dir", tmp_path, "--config-name", "small"]

    def start(there):
        return command([sys.executable, SCRIPT, *chosen, f"run_dir={there}", "training.perf.num_threads=1"])

    kill_in_turn(start, 4, seconds + SECONDS_TO_IMPORT, random.Random(5), numbered(tmp_path), run_dir)


@pytest.mark.skipif(KILLS < 20, reason="make test-faults")
def test_a_compiled_training_killed_with_a_warm_cache(folder, tmp_path, monkeypatch):
    """Every start compiles anew, from the cache of the first one."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))

    def compiled(there, last=None):
        step = Trainer._step

        def killed(self, network):
            if self.images == last:
                os.kill(os.getpid(), 9)
            return step(self, network)

        Trainer._step = killed
        config = replace(small_config(folder / "data", there), stage="regression")
        config.training.perf.torch_compile, config.model.dropout = True, 0.3
        train(config)

    def weights(there):
        mark = json.loads((there / "regression" / "finished.json").read_text())
        return load_network(there / "regression" / mark["network"], FSRegressionSR).state_dict()

    assert forked(compiled, tmp_path / "cold").wait(1200) == 0
    assert forked(compiled, tmp_path / "killed", 24).wait(600) == -9
    assert forked(compiled, tmp_path / "killed").wait(600) == 0
    whole, resumed = weights(tmp_path / "cold"), weights(tmp_path / "killed")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize("size", [3_000, 30_000])
def test_a_full_disk_keeps_the_last_checkpoint(size, folder, whole, tmp_path):
    """Room for the first checkpoint only, whatever is written when the disk is full."""
    run_dir, *_ = whole

    def on_a_full_disk():
        step = Trainer._step

        def limited(self, network):
            if self.images == 24:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            return step(self, network)

        Trainer._step = limited
        try:
            train(small_config(folder / "data", tmp_path / "run"))
        except InputError as error:
            (tmp_path / "error").write_text(str(error))
            os._exit(2)

    assert forked(on_a_full_disk).wait(300) == 2
    said = (tmp_path / "error").read_text()
    assert re.match(r"could not write below .*/regression \(.*\); the last checkpoint is kept: make space", said)
    assert forked(train, small_config(folder / "data", tmp_path / "run")).wait(300) == 0
    assert_equal_bits(tmp_path / "run", run_dir)


def test_leftovers_of_a_killed_process_go_with_the_next_write(tmp_path):
    from physicsnemo_fs.files import atomic_path

    def killed():
        with atomic_path(tmp_path / "x.json") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), 9)

    assert forked(killed).wait(30) == -9
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_path(tmp_path / "x.json") as mine, atomic_path(tmp_path / "x.json") as other:
        mine.write_text("1")
        other.write_text("2")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "1"
