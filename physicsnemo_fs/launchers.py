# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Who started this process: torchrun, mpirun, srun or nobody, read from the environment."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

log = logging.getLogger(__name__)

DEFAULT_PORT = 29500
SLURM_PORTS = range(15000, 32000)
"""Below the ports that Linux hands out by itself."""


@dataclass(frozen=True)
class Launch:
    """This process among those that one launcher started.

    Args:
        launcher: ``"torchrun"``, ``"mpirun"``, ``"srun"``, or empty for a process started alone.
        rank: Number of this process, from 0.
        world_size: Number of processes.
        local_rank: Number of this process on its machine.
    """

    launcher: str = ""
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def prefix(self) -> str:
        """What this process puts before its lines of text: nothing if it is alone."""
        return f"[rank {self.rank}] " if self.world_size > 1 else ""


KNOWN = (
    ("torchrun", "RANK", "WORLD_SIZE", ("LOCAL_RANK",)),
    ("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ("OMPI_COMM_WORLD_LOCAL_RANK",)),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ("SLURM_LOCALID",)),
    ("mpirun", "PMI_RANK", "PMI_SIZE", ("MPI_LOCALRANKID", "PALS_LOCAL_RANKID")),
)
"""Launcher, and its variables for rank, world size and local rank."""


def detect(environment: Mapping[str, str] = os.environ) -> Launch:
    """Find this process's place.

    Example:
        >>> detect({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"})
        Launch(launcher='srun', rank=5, world_size=8, local_rank=1)
        >>> detect({})
        Launch(launcher='', rank=0, world_size=1, local_rank=0)
    """
    for launcher, rank, size, locals_ in KNOWN:
        if rank in environment and size in environment:
            if launcher == "srun" and environment.get("PMI_SIZE", environment[size]) != environment[size]:
                continue  # MPICH's mpirun starts its helpers with srun
            local = next((int(environment[name]) for name in locals_ if name in environment), 0)
            return Launch(launcher, int(environment[rank]), int(environment[size]), local)
    return Launch()


def meeting_point(launcher: str, environment: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """Give the address and port where the processes meet, if the environment says so.

    That is ``MASTER_ADDR`` and ``MASTER_PORT``; under srun otherwise the first node of the job step, and a port made
    of the numbers of job and step.

    Example:
        >>> step = {"SLURM_STEP_NODELIST": "gpu[03-05]", "SLURM_JOB_ID": "70001", "SLURM_STEP_ID": "0"}
        >>> meeting_point("srun", step)
        ('gpu03', 29007)
    """
    address, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if address:
        return address, int(port or DEFAULT_PORT)
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST")
    if launcher != "srun" or not nodes or "SLURM_JOB_ID" not in environment:
        return None
    number = 7 * int(environment["SLURM_JOB_ID"]) + int(environment.get("SLURM_STEP_ID", 0))
    return first_host(nodes), int(port) if port else SLURM_PORTS[number % len(SLURM_PORTS)]


def first_host(nodes: str) -> str:
    """Give the first machine of Slurm's list.

    Example:
        >>> first_host("gpu[03-05,07],login1"), first_host("rack[2,4]-n[001-016]"), first_host("a,b")
        ('gpu03', 'rack2-n001', 'a')
    """
    head = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^,\-\]]*)[^\]]*\]", r"\1", head[0] if head else nodes)


def leads(what: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether this process is the one to do work that is not shared; the first one says that the others leave.

    Example:
        >>> leads("drawing", {}), leads("drawing", {"RANK": "1", "WORLD_SIZE": "2"})
        (True, False)
    """
    launch = detect(environment)
    if launch.rank == 0 and launch.world_size > 1:
        log.warning("%s is the work of one process: the other %d leave now", what, launch.world_size - 1)
    return launch.rank == 0


class _Prefixed(logging.Formatter):
    def __init__(self, inner: logging.Formatter, prefix: str):
        super().__init__()
        self.inner, self.prefix = inner, prefix

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(self.prefix + line for line in self.inner.format(record).splitlines())


@contextmanager
def prefixed_logs(prefix: str) -> Iterator[None]:
    """Put ``prefix`` before every line that the root logger's handlers write, for the time of a ``with`` block."""
    handlers = logging.getLogger().handlers[:] if prefix else []
    formatters = [handler.formatter for handler in handlers]
    for handler, formatter in zip(handlers, formatters, strict=True):
        handler.setFormatter(_Prefixed(formatter or logging.Formatter(), prefix))
    try:
        yield
    finally:
        for handler, formatter in zip(handlers, formatters, strict=True):
            handler.setFormatter(formatter)
