# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A process that gets nowhere ends and says where it stands; one that is slow but gets on does not."""

import os
import re
import signal
import time
from dataclasses import replace

import pytest
from generated import configuration
from harness import forked
from ranks import on_ranks
from small_run import small_config

from physicsnemo_fs.diffusion.sampling import ResidualSampler
from physicsnemo_fs.liveness import STATUS
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.train import train
from physicsnemo_fs.pipelines.trainer import Trainer
from physicsnemo_fs.progress import Progress

PAUSE = 1.0


def ends(task):
    """Give the exit status of a task in a process of its own."""
    process = forked(task)
    status = process.wait(20)
    process.kill()
    return status


def hang():
    while True:
        time.sleep(0.01)


def test_a_hanging_process_ends_and_says_where(capfd):
    def task():
        progress = Progress()
        with progress.expected(PAUSE):
            progress.made("step 7")
            hang()

    assert ends(task) == STATUS
    error = capfd.readouterr().err
    assert re.match(
        r"error: no progress for \d+ s since step 7; the main thread is in hang \(test_progress.py, line", error
    )
    assert "perf.longest_pause" in error


def working(before=0.0, pauses=(), within=PAUSE):
    progress = Progress()
    with progress.expected(within):
        time.sleep(before)
        for pause in pauses:
            progress.made("a step")
            time.sleep(pause)
    time.sleep(2 * PAUSE)
    os._exit(0)


@pytest.mark.parametrize(
    "given",
    [
        {"before": 2 * PAUSE},
        {"pauses": [PAUSE / 3] * 6},
        {"pauses": [2 * PAUSE], "within": None},
    ],
    ids=["a long first step", "slow steps", "no limit"],
)
def test_what_is_slow_is_no_hanging(given):
    assert ends(lambda: working(**given)) == 0


def test_a_process_that_was_stopped_goes_on():
    process = forked(working, 0.0, [PAUSE / 2] * 4)
    time.sleep(PAUSE / 2)
    process.signal(signal.SIGSTOP)
    time.sleep(2 * PAUSE)
    process.signal(signal.SIGCONT)
    assert process.wait(20) == 0


def test_what_may_take_any_time_is_not_judged():
    def task():
        progress = Progress()
        with progress.expected(PAUSE):
            progress.made("a step")
            progress.unknown()
            time.sleep(2 * PAUSE)
        os._exit(0)

    assert ends(task) == 0


def test_one_that_waits_for_others_has_twice_the_time():
    def task(seconds):
        progress = Progress()
        with progress.expected(PAUSE):
            progress.made("a step")
            with progress.waiting():
                time.sleep(seconds)
        os._exit(0)

    assert ends(lambda: task(1.5 * PAUSE)) == 0
    assert ends(lambda: task(9 * PAUSE)) == STATUS


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_rank_that_hangs_in_training_ends_the_run(ranks, data, tmp_path, capfd):
    def hanging(config):
        step = Trainer._step

        def stuck(self, network):
            if (self.ranks.rank, self.images) == (ranks - 1, 16):
                hang()
            return step(self, network)

        Trainer._step = stuck
        train(config)

    config = replace(small_config(data, tmp_path), stage="regression")
    config.training.perf.longest_pause = 3.0
    statuses = on_ranks(ranks, hanging, config, longest=30)
    assert statuses[-1] == STATUS
    assert 0 not in statuses
    assert -9 not in statuses
    error = capfd.readouterr().err
    last = "the checkpoint at image 16" if ranks == 1 else "a micro-batch at image 8"
    place = "" if ranks == 1 else r"\[rank 1\] "
    assert re.search(rf"{place}error: no progress for \d+ s since {last} of the regression stage", error)
    assert "[rank 0] error: no progress" not in error
    config.training.perf.longest_pause = None
    assert on_ranks(ranks, train, config) == [0] * ranks


def test_a_hanging_generation_ends_and_continues(data, run_dir, tmp_path, capfd):
    def hanging(config):
        sample, calls = ResidualSampler.sample, []

        def stuck(self, *given):
            calls.append(given)
            if len(calls) == 3:
                hang()
            return sample(self, *given)

        ResidualSampler.sample = stuck
        generate(config)

    config = configuration(data, run_dir, tmp_path / "s.nc", seed_batch_size=2)
    config.perf.longest_pause = PAUSE
    assert ends(lambda: hanging(config)) == STATUS
    assert (
        "since an evaluation of the denoiser; the main thread is in members (member_sources.py"
        in capfd.readouterr().err
    )
    config.perf.longest_pause = None
    assert generate(config).exists()
