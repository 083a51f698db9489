# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A program as several ranks of this machine."""

import sys

import pytest

from physicsnemo_fs import cli, executors, local_ranks
from physicsnemo_fs.local_ranks import run_ranks, worthwhile_ranks


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "script.py"
        path.write_text(f"import os, pathlib, sys\nrank = int(os.environ['RANK'])\n{text}")
        return [sys.executable, str(path)]

    return write


@pytest.mark.slow
def test_each_rank_runs_the_command_with_its_share_of_the_cores(script, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local_ranks, "usable_cores", lambda: 6)
    write = "pathlib.Path(sys.argv[1], str(rank)).write_text(os.environ['OMP_NUM_THREADS'] + os.environ['WORLD_SIZE'])"
    run_ranks([*script(write), str(tmp_path)], 2)
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["32", "32"]


@pytest.mark.slow
def test_the_status_of_a_rank_that_fails_is_kept(script):
    with pytest.raises(SystemExit) as ended:
        run_ranks(script("sys.exit(7 if rank == 1 else 0)"), 2)
    assert ended.value.code == 7


def test_ranks_share_a_batch_evenly():
    for batch in range(1, 40):
        for cores in range(1, 9):
            count = worthwhile_ranks(batch, cores)
            assert batch % count == 0
            assert 1 <= count <= min(cores, local_ranks.MOST)


@pytest.mark.parametrize(("limit", "cores"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 8)])
def test_a_container_that_limits_the_time_limits_the_cores(limit, cores, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(executors, "CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(executors.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert executors.usable_cores() == cores


def test_the_demo_starts_itself_as_ranks_unless_a_launcher_did(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(local_ranks, "run_ranks", lambda command, count: started.append((command[2:], count)))
    monkeypatch.setattr("physicsnemo_fs.pipelines.demo.demo", lambda config: started.append("here"))
    monkeypatch.setattr(sys, "argv", ["demo", "ranks=3", f"hydra.run.dir={tmp_path}"])
    cli.demo()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    cli.demo()
    assert started == [(["physicsnemo_fs.cli", "demo", "ranks=3", f"hydra.run.dir={tmp_path}"], 3), "here"]
