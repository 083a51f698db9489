# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Process groups: one call that works under torchrun, mpirun, srun or alone, on CPUs and GPUs.

physicsnemo's DistributedManager passes ``device_id=cpu`` to torch and fails on CPU-only machines, so the group is
started here.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist

from physicsnemo_fs.errors import InputError

LONGEST_WAIT = timedelta(hours=12)
"""Other ranks wait while the main one simulates data or measures spectra."""


@dataclass(frozen=True)
class Ranks:
    """This process among its peers.

    Args:
        rank: Number of this process, from 0.
        world_size: Number of processes.
        local_rank: Number of this process on its machine.
        device: Device of this process.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for every process."""
        if self.world_size > 1:
            dist.barrier()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Give the sum of ``values`` over all processes."""
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values


def _environment() -> tuple[int, int, int]:
    """Give (rank, world size, local rank) from the launcher's environment."""
    for rank, size, local in (
        ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
        ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    ):
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size]), int(os.environ.get(local, 0))
    return 0, 1, 0


def _rendezvous(rank: int, world_size: int) -> None:
    """Set MASTER_ADDR and MASTER_PORT where the launcher did not: under mpirun through MPI itself."""
    if "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ:
        return
    if "OMPI_COMM_WORLD_RANK" not in os.environ and "PMI_RANK" not in os.environ:
        raise InputError(
            f"{world_size} processes need a meeting point: set MASTER_ADDR and MASTER_PORT, or start with torchrun"
        )
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InputError(f"mpirun needs an MPI library: install physicsnemo-fs[mpi] ({error})") from error
    address = None
    if rank == 0:
        with socket.socket() as probe:
            probe.bind(("", 0))
            address = (socket.gethostname(), probe.getsockname()[1])
    address = MPI.COMM_WORLD.bcast(address, root=0)
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address[0], str(address[1])


@contextmanager
def process_group(num_threads: int | None = None) -> Iterator[Ranks]:
    """Start the process group for the time of a ``with`` block and give this process's place in it.

    Args:
        num_threads: CPU threads of this process; ``None`` keeps torch's choice.

    Raises:
        InputError: If several processes were started without a meeting point, or more than there are GPUs.

    Example:
        >>> with process_group() as ranks:
        ...     ranks.world_size
        1
    """
    rank, world_size, local_rank = _environment()
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise InputError(
                f"one process a GPU: local rank {local_rank} has none of the {torch.cuda.device_count()} GPUs; "
                "start fewer processes"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if world_size == 1:
        yield Ranks(device=device)
        return
    _rendezvous(rank, world_size)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=world_size, timeout=LONGEST_WAIT)
    try:
        yield Ranks(rank, world_size, local_rank, device)
    finally:
        dist.destroy_process_group()
