# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop, and losing a rank."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from harness import forked, until
from ranks import on_ranks
from small_run import small_config
from test_killed_training import assert_equal_bits

from physicsnemo_fs import liveness
from physicsnemo_fs.distributed import process_group
from physicsnemo_fs.errors import START_AGAIN, InputError, RankLost, TrainingDiverged
from physicsnemo_fs.files import exclusive
from physicsnemo_fs.pipelines.stages import RegressionStage
from physicsnemo_fs.pipelines.train import train
from physicsnemo_fs.pipelines.trainer import Trainer

PATIENCE = 60
"""Seconds within which other ranks must notice."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("signals") / "data"


@pytest.fixture(scope="module")
def whole(data):
    assert forked(train, small_config(data, data.parent / "whole")).wait(120) == 0
    return data.parent / "whole"


def exit_status(error):
    """Give the status that the command line would end with."""
    return error.code if isinstance(error, SystemExit) else 2


def trained(config, before_step=lambda trainer: None):
    """Train with ``before_step`` before each step; end as the command line does, its message in a file."""
    step = Trainer._step

    def watched(self, network):
        before_step(self)
        return step(self, network)

    Trainer._step = watched
    try:
        train(config)
    except (SystemExit, InputError, RankLost, TrainingDiverged) as error:
        Path(config.run_dir).mkdir(exist_ok=True)
        (Path(config.run_dir) / f"error_{os.environ.get('RANK', 0)}").write_text(f"{type(error).__name__}: {error}")
        sys.stdout.flush()
        os._exit(int(exit_status(error)))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_writes_a_checkpoint_and_the_run_goes_on_with_the_same_bits(number, data, whole, tmp_path):
    def signalled(trainer):
        if (trainer.stage.name, trainer.images) == ("diffusion", 24):
            os.kill(os.getpid(), number)

    assert forked(trained, small_config(data, tmp_path / "run"), signalled).wait(120) == START_AGAIN == 75
    assert (tmp_path / "run" / "diffusion" / "checkpoint.0.32.pt").exists()
    (tmp_path / "run" / "error_0").unlink()
    assert forked(trained, small_config(data, tmp_path / "run")).wait(120) == 0
    assert_equal_bits(tmp_path / "run", whole)


def test_a_signal_to_one_rank_stops_all_at_the_same_step(data, tmp_path):
    def signalled(trainer):
        if (trainer.ranks.rank, trainer.images) == (1, 16):
            os.kill(os.getpid(), signal.SIGUSR1)

    config = replace(small_config(data, tmp_path / "run"), stage="regression")
    assert on_ranks(3, trained, config, signalled) == [START_AGAIN] * 3
    assert (tmp_path / "run" / "regression" / "checkpoint.0.24.pt").exists()


def test_a_signal_outside_the_steps_stops_at_once(data, tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("physicsnemo_fs.pipelines.train.measure", signalled)
        with pytest.raises(SystemExit) as stopped:
            train(replace(small_config(data, tmp_path), stage="regression"))
    assert stopped.value.code == START_AGAIN
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "lock").exists()


@pytest.mark.slow
def test_a_terminated_command_line_says_what_happened(data, tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from small_run import small_config\n"
        "from physicsnemo_fs.cli import one_line_errors\n"
        "from physicsnemo_fs.config import HyperParameters\n"
        "from physicsnemo_fs.pipelines.train import train\n"
        "hp = HyperParameters(training_duration=800000, total_batch_size=8)\n"
        "with one_line_errors(False):\n"
        "    train(small_config(Path(sys.argv[2]), Path(sys.argv[3]), hp=hp))\n"
    )
    pipelines = Path(__file__).parents[1] / "pipelines"
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(pipelines), str(data), str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    until((tmp_path / "run" / "regression" / "checkpoint.0.16.pt").exists, longest=180)
    assert forked(trained, small_config(data, tmp_path / "run")).wait(60) == 2
    assert "InputError: one training a run_dir: another process" in (tmp_path / "run" / "error_0").read_text()
    child.send_signal(signal.SIGUSR1)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == START_AGAIN
    assert "Traceback" not in errors
    assert "stopped by SIGUSR1; the same command continues" in errors


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(liveness, "INTERVAL", 0.2)
    monkeypatch.setattr(liveness, "SILENCE", 3.0)
    monkeypatch.setattr(liveness, "GRACE", 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_rank_ends_the_others(number, victim, data, tmp_path, quick, capfd):
    def lost(trainer):
        if (trainer.ranks.rank, trainer.images) == (victim, 16):
            os.kill(os.getpid(), number)

    started = time.monotonic()
    config = replace(small_config(data, tmp_path / "run"), stage="regression")
    statuses = on_ranks(3, trained, config, lost, longest=9)
    assert time.monotonic() - started < PATIENCE
    assert statuses[victim] == -9
    assert statuses[:victim] + statuses[victim + 1 :] == [2, 2]
    text = capfd.readouterr().err + "".join(p.read_text() for p in (tmp_path / "run").glob("error_*"))
    if number == signal.SIGSTOP:
        assert re.search(rf"no sign of life of ranks? [\d, ]*{victim}[\d, ]* for 3 s: killed, hanging or cut off", text)
    else:
        assert "a rank ended or its machine is lost" in text
    assert on_ranks(3, trained, config) == [0, 0, 0]


def test_a_rank_that_does_not_start_is_named(quick, monkeypatch, capfd):
    monkeypatch.setattr(liveness, "LONGEST_START", 2.0)

    def missing():
        if os.environ["RANK"] == "1":
            return
        with process_group():
            pass

    assert on_ranks(2, missing) == [2, 0]
    assert "[rank 0] error: not all 2 ranks have met within 2 s" in capfd.readouterr().err


@pytest.mark.slow
def test_a_rank_that_hangs_while_others_wait_for_the_data_is_noticed(quick, capfd):
    def waiting():
        with process_group() as ranks, ranks.main_first():
            if ranks.rank == 0:
                time.sleep(1)
                os.kill(os.getpid(), signal.SIGSTOP)

    assert on_ranks(2, waiting, longest=10) == [-9, 2]
    assert "[rank 1] error: no sign of life of rank 0" in capfd.readouterr().err


def test_a_long_wait_for_a_living_rank_is_no_loss(quick):
    def working():
        with process_group() as ranks, ranks.main_first():
            time.sleep(4 if ranks.is_main else 0)

    assert on_ranks(2, working) == [0, 0]


@pytest.mark.slow
def test_ranks_that_were_all_stopped_go_on(quick):
    def job():
        def working():
            with process_group() as ranks:
                for _ in range(20):
                    ranks.barrier()
                    time.sleep(0.1)

        sys.exit(max(on_ranks(2, working)))

    process = forked(job)
    time.sleep(1)
    process.signal(signal.SIGSTOP)
    time.sleep(4)
    process.signal(signal.SIGCONT)
    assert process.wait(30) == 0


def test_a_rank_that_ends_early_and_well_is_no_loss(quick):
    def leaving():
        with process_group() as ranks:
            time.sleep(0 if ranks.rank == 1 else 4)

    assert on_ranks(2, leaving) == [0, 0]


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_loss_that_is_not_finite_stops_every_rank(ranks, data, tmp_path, quick):
    losses = RegressionStage.losses

    def poisoned(self, network, batch, draws):
        found = losses(self, network, batch, draws)
        bad = ranks == 1 or any(draw.sample == 3 and draw.epoch == 0 for draw in draws)
        return found * torch.nan if bad else found

    def diverging(config):
        RegressionStage.losses = poisoned
        trained(config)

    config = replace(small_config(data, tmp_path / "run"), stage="regression")
    assert on_ranks(ranks, diverging, config, longest=9) == [2] * ranks
    messages = [p.read_text() for p in (tmp_path / "run").glob("error_*")]
    assert any("TrainingDiverged: the loss of the regression stage is nan at image" in m for m in messages)


def test_a_lock_ends_with_its_process_and_leaves_nothing(tmp_path):
    path = tmp_path / "run" / "lock"

    def holding():
        with exclusive(path, "one at a time"):
            time.sleep(30)

    process = forked(holding)
    until(path.exists)
    with pytest.raises(InputError, match=r"one at a time: another process is at work in .*run"):
        until(lambda: exclusive(path, "one at a time").__enter__())
    process.kill()
    with exclusive(path, "one at a time"):
        pass
    assert path.parent.exists()
    path.parent.rmdir()
    with exclusive(path, "one at a time"):
        assert path.exists()
    assert not path.parent.exists()
