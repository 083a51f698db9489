# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Launchers: each is recognised, finds its meeting point, and starts every script."""

import logging
import os
import socket
import subprocess
import sys
from contextlib import nullcontext

import pytest

from physicsnemo_fs import cli
from physicsnemo_fs.launchers import Launch, detect, first_host, meeting_point, prefixed_logs

SUM = """
import logging, torch
from physicsnemo_fs.distributed import process_group
logging.basicConfig(level=logging.INFO, format="%(message)s")
with process_group(1) as ranks:
    logging.info("total %s", float(ranks.sum(torch.tensor(ranks.rank + 1.0))))
"""
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
SRUN = {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0"}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, Launch()),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, Launch("torchrun", 1, 2, 1)),
        (OPEN_MPI, Launch("mpirun", 3, 4, 1)),
        (MPICH, Launch("mpirun", 5, 8, 1)),
        (SRUN, Launch("srun", 2, 4, 0)),
        (SRUN | {"PMI_RANK": "2", "PMI_SIZE": "4"}, Launch("srun", 2, 4, 0)),
        (SRUN | MPICH, Launch("mpirun", 5, 8, 1)),
        (SRUN | OPEN_MPI, Launch("mpirun", 3, 4, 1)),
        (SRUN | {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}, Launch("torchrun", 0, 8, 0)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Launch()),
    ],
)
def test_each_launcher_is_recognised(environment, found):
    assert detect(environment) == found


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[09-12,14],m1", "n09"),
        ("n[5,7]", "n5"),
        ("r[1-2]c[3-4]", "r1c3"),
        ("a-b[1]", "a-b1"),
    ],
)
def test_the_first_machine_of_a_slurm_list(nodes, first):
    assert first_host(nodes) == first


def test_where_processes_meet():
    step = {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NODELIST": "n[0-2]", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "1"}
    assert meeting_point("srun", step) == ("n1", 15050)
    assert meeting_point("srun", step | {"MASTER_PORT": "1234"}) == ("n1", 1234)
    assert meeting_point("srun", step | {"MASTER_ADDR": "head"}) == ("head", 29500)
    assert meeting_point("mpirun", step) is None
    assert meeting_point("srun", {}) is None


def test_every_line_of_a_log_names_its_rank(capsys):
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with prefixed_logs(Launch("srun", 3, 4).prefix):
            root.warning("one\ntwo")
        root.warning("three")
    finally:
        root.removeHandler(handler)
    assert capsys.readouterr().out == "[rank 3] WARNING one\n[rank 3] two\nWARNING three\n"


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_", "PMI_", "MASTER_"))}
    return kept | {"OMP_NUM_THREADS": "1"} | more


def both_ranks(out):
    for rank in range(2):
        assert f"[rank {rank}] total 3.0" in out


@pytest.mark.slow
def test_torchrun_starts_a_process_group(tmp_path):
    (tmp_path / "sum.py").write_text(SUM)
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    run = subprocess.run([*command, "sum.py"], cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stderr[-2000:]
    both_ranks(run.stdout + run.stderr)


@pytest.mark.slow
def test_srun_starts_a_process_group_without_a_master_address(tmp_path):
    (tmp_path / "sum.py").write_text(SUM)
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": str(free_port())}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "sum.py"],
            cwd=tmp_path,
            env=environment(SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), **step),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    both_ranks("".join(task.communicate(timeout=120)[0] for task in tasks))


@pytest.mark.slow
def test_mpirun_starts_a_process_group(tmp_path, mpirun):
    (tmp_path / "sum.py").write_text(SUM)
    command = mpirun(2, "-W", "ignore", "sum.py")
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stderr[-2000:]
    both_ranks(run.stdout + run.stderr)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize(
    "command",
    [
        ("score", "path=absent.nc"),
        ("build", "fine.data_path=absent.nc", "fine.variables=[t2m]"),
        ("export", "run=absent", "package=made"),
        ("compare", "path=[absent.nc]"),
    ],
    ids=lambda command: command[0],
)
def test_work_that_is_not_shared_is_done_by_the_first_process(command, rank, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(command))
    for name, value in {**SRUN, "SLURM_PROCID": str(rank)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) if rank == 0 else nullcontext():
        cli.COMMANDS[command[0]]()
    printed = capsys.readouterr()
    assert ("is the work of one process: the other 3 leave now" in printed.out) == (rank == 0)
    assert printed.err.startswith("[rank 0] error: ") == (rank == 0)
