# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Process groups: one call that works under torchrun, mpirun, srun or alone, on CPUs and GPUs.

physicsnemo's DistributedManager passes ``device_id=cpu`` to torch and fails on CPU-only machines, so the group is
started here.
"""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

import torch
import torch.distributed as dist

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.launchers import Launch, detect, meeting_point, prefixed_logs
from physicsnemo_fs.liveness import meeting, watched
from physicsnemo_fs.progress import Progress

logger = logging.getLogger(__name__)

LONGEST_WAIT = timedelta(hours=12)
"""Other ranks wait while the main one simulates data; :mod:`liveness` finds those that are lost."""


@dataclass(frozen=True)
class Ranks:
    """This process among its peers.

    Args:
        rank: Number of this process, from 0.
        world_size: Number of processes.
        local_rank: Number of this process on its machine.
        device: Device of this process.
        progress: Whether this process gets on.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: Progress = field(default_factory=Progress, compare=False, repr=False)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for every process."""
        if self.world_size > 1:
            with self.progress.waiting():
                dist.barrier()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Give the sum of ``values`` over all processes, where they are."""
        if self.world_size == 1:
            return values
        total = values.to(self.device, copy=True)
        with self.progress.waiting():
            dist.all_reduce(total)
        return total.to(values.device)

    def tell(self, value: Any) -> Any:
        """Give every process what the main one says.

        Args:
            value: What this process says, of JSON's types; only the main one's counts.

        Example:
            >>> Ranks().tell({"go": True})
            {'go': True}
        """
        if self.world_size == 1:
            return json.loads(json.dumps(value))
        text = json.dumps(value).encode() if self.is_main else b""
        words = torch.tensor(list(text), dtype=torch.uint8, device=self.device)
        length = torch.tensor([len(words)], device=self.device)
        with self.progress.waiting():
            dist.broadcast(length, 0)
            words = words if self.is_main else words.new_empty(int(length))
            dist.broadcast(words, 0)
        return json.loads(bytes(words.tolist()))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the main process go through a ``with`` block, free of collective calls, before the others do."""
        if not self.is_main:
            self.barrier()
        try:
            yield
        finally:
            if self.is_main:
                self.barrier()


def _meet(launch: Launch) -> tuple[str, int]:
    """Give where the processes meet: what the environment says, or what MPI tells them."""
    found = meeting_point(launch.launcher)
    if found is not None:
        return found
    if launch.launcher != "mpirun":
        raise InputError(
            f"{launch.world_size} processes need a meeting point: set MASTER_ADDR and MASTER_PORT, or start with "
            "torchrun"
        )
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InputError(f"mpirun needs an MPI library: install physicsnemo-fs[mpi] ({error})") from error
    address = None
    if launch.rank == 0:
        with socket.socket() as probe:
            probe.bind(("", 0))
            address = (socket.gethostname(), probe.getsockname()[1])
    return MPI.COMM_WORLD.bcast(address, root=0)


_groups = count()


@cache
def _store(launch: Launch) -> dist.Store:
    """Give what the processes meet in; one for all groups, as a second one on the same port could meet the first."""
    address, port = _meet(launch)
    host = f"[{address}]" if ":" in address else address
    place = f"tcp://{host}:{port}?rank={launch.rank}&world_size={launch.world_size}"
    store, _, _ = next(dist.rendezvous(place, timeout=LONGEST_WAIT))
    return store


def _choose_device(launch: Launch) -> torch.device:
    """Give this process's GPU; one that sees a single GPU under srun was bound to it."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    there = torch.cuda.device_count()
    number = 0 if launch.launcher == "srun" and there == 1 else launch.local_rank
    if number >= there:
        raise InputError(f"one process a GPU: local rank {number} has none of the {there} GPUs; start fewer processes")
    return torch.device("cuda", number)


@contextmanager
def process_group(num_threads: int | None = None) -> Iterator[Ranks]:
    """Start the process group for the time of a ``with`` block and give this process's place in it.

    Within another such block the group is there already and outlives the inner block.

    Args:
        num_threads: CPU threads of this process; ``None`` keeps torch's choice.

    Raises:
        InputError: If several processes were started without a meeting point, or more than there are GPUs.

    Example:
        >>> with process_group() as ranks:
        ...     ranks.world_size
        1
    """
    launch = detect()
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    device = _choose_device(launch)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if launch.world_size == 1 or dist.is_initialized():
        yield Ranks(launch.rank, launch.world_size, launch.local_rank, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    with meeting(launch.rank, launch.world_size):
        common = dist.PrefixStore(f"group {next(_groups)}", _store(launch))
        dist.init_process_group(backend, None, LONGEST_WAIT, launch.world_size, launch.rank, common)
        store = common.clone()
    with prefixed_logs(launch.prefix):
        logger.info("%s of %d on %s: %s, %s", launch.launcher, launch.world_size, socket.gethostname(), device, backend)
        try:
            with watched(store, launch.rank, launch.world_size):
                yield Ranks(launch.rank, launch.world_size, launch.local_rank, device)
        finally:
            dist.destroy_process_group()
