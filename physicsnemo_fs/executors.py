# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Engines that work is handed to, all through the Executor interface of ``concurrent.futures``."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.launchers import detect

Engine = Literal["auto", "processes", "mpi", "dask", "none"]
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class InThisProcess(Executor):
    """Does each piece of work when it is handed over."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Do the work and give its result as a future."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def usable_cores() -> int:
    """Give the number of cores that this process may use: those it is bound to, or a container's share of time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *_granted_cores()]))


def _granted_cores() -> list[int]:
    """Give the whole cores' worth of time that the control group grants, if it limits it."""
    if not CPU_LIMIT.is_file():
        return []
    time, period = CPU_LIMIT.read_text().split()
    return [] if time == "max" else [int(time) // int(period)]


@contextmanager
def open_threads(count: int, each: int = 1) -> Iterator[Executor]:
    """Give threads for the time of a ``with`` block, for operations of torch too small to be shared by all cores.

    The number of threads of an operation is the whole process's: blocks must not overlap.

    Args:
        count: Threads of the executor.
        each: Threads of an operation in one of these.

    Example:
        >>> with open_threads(2) as executor:
        ...     [float(total) for total in executor.map(torch.sum, [torch.ones(3), torch.ones(4)])]
        [3.0, 4.0]
    """
    before = torch.get_num_threads()
    torch.set_num_threads(each)
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


@contextmanager
def open_executor(
    engine: Engine = "auto", workers: int | None = None, address: str | None = None
) -> Iterator[Executor | None]:
    """Give an executor for the time of a ``with`` block.

    Args:
        engine: ``"processes"`` of this machine, each with one thread; ``"mpi"``: the other ranks of ``mpirun``;
            ``"dask"``: a cluster that runs already; ``"none"``: this process. ``"auto"`` takes Dask if there is an
            address, MPI under ``mpirun``, else processes.
        workers: Processes; ``None`` for one a usable core.
        address: Of Dask's scheduler, such as ``tcp://host:8786``.

    Returns:
        The executor; ``None`` on the MPI ranks that have served as workers until the block of rank 0 ended.

    Raises:
        InputError: If the engine is not there.

    Example:
        >>> with open_executor("none") as executor:
        ...     executor.submit(pow, 2, 5).result()
        32
    """
    if engine not in get_args(Engine):
        raise InputError(f"executor must be one of {', '.join(get_args(Engine))}: got {engine!r}; choose one")
    if engine == "auto":
        engine = "dask" if address else "mpi" if _mpi_size() > 1 else "processes"
    if engine == "none":
        yield InThisProcess()
    elif engine == "processes":
        with _processes(workers or usable_cores()) as pool:
            yield pool
    elif engine == "mpi":
        with _mpi() as pool:
            yield pool
    else:
        with _dask(address) as pool:
            yield pool


def _mpi_size() -> int:
    launch = detect()
    return launch.world_size if launch.launcher == "mpirun" else 1


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    # One thread each: as many as there are cores do not get in each other's way, and sums keep their order.
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    """Let a worker end when the process that started it is killed."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _mpi() -> Iterator[Any]:
    if _mpi_size() < 2:
        raise InputError("executor=mpi needs mpirun with two or more processes: write mpirun -n 4 before the command")
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPICommExecutor
    except (ImportError, RuntimeError) as error:
        raise InputError(f"mpirun needs an MPI library: install physicsnemo-fs[mpi] ({error})") from error
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
        yield pool


@contextmanager
def _dask(address: str | None) -> Iterator[Executor]:
    if address is None:
        raise InputError("executor=dask needs the scheduler's address: add dask_address=tcp://host:8786")
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("a Dask cluster needs dask: install physicsnemo-fs[dask]") from error
    try:
        client = Client(address, timeout="20s")
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); start one or correct the address"
        ) from error
    with client:
        yield client.get_executor(pure=False)
