# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed and started again until they are done.

A *start* is a function that begins the work in a process of its own and gives it. :func:`survive` kills what it starts
at seeded random times and starts it again; :func:`dies_at_change` lets a process kill itself just before its n-th
change of a folder, which reaches every instant between two files.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

KILLS = int(os.environ.get("PHYSICSNEMO_FS_KILLS", "2"))
"""Kills a test shares out; ``make test-faults`` sets 20."""

CHANGES = {"os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.link": (0, 1)}
"""Audit events of Python that change a folder, and which of their arguments are paths."""


class Process:
    """A process with its children, in a session of its own.

    Args:
        wait: Gives the exit status after at most so many seconds, ``None`` while it runs.
        pid: Leader of the session.
    """

    def __init__(self, pid: int, wait: Callable[[float], int | None]):
        self.pid, self.wait = pid, wait

    def signal(self, number: int) -> None:
        """Send a signal to the process and all its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """End the process and its children, as ``kill -9`` does."""
        self.signal(signal.SIGKILL)
        self.wait(30)


def command(arguments: Sequence[str | Path], log: Path | None = None) -> Process:
    """Start a command line; its output is appended to ``log``."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with open(log or os.devnull, "ab") as output:
        child = subprocess.Popen(
            [str(a) for a in arguments], stdout=output, stderr=output, env=environment, start_new_session=True
        )

    def wait(seconds: float) -> int | None:
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    return Process(child.pid, wait)


def forked(task: Callable[..., Any], *arguments: Any) -> Process:
    """Run ``task(*arguments)`` in a fork of this process, which need import nothing again."""

    def run() -> None:
        os.setsid()
        tqdm.set_lock(threading.RLock())  # the lock that forks share would outlive a killed holder
        ready.set()
        torch.set_num_threads(1)  # makes torch's thread pool anew, before several threads of the fork would
        task(*arguments)

    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=run)
    child.start()
    ready.wait(30)

    def wait(seconds: float) -> int | None:
        child.join(seconds)
        return child.exitcode

    return Process(child.pid or 0, wait)


@dataclass
class Survived:
    """What happened.

    Args:
        kills: Processes that were killed while they ran.
        statuses: Exit status of each start.
    """

    kills: int = 0
    statuses: list[int | None] = field(default_factory=list)


def survive(
    start: Callable[[], Process], kills: int, seconds: float, draws: random.Random, longest: float = 300
) -> Survived:
    """Start, kill and start again, ``kills`` times if the work lasts; then let it end.

    Args:
        start: Begins the work, or continues it.
        kills: Most kills.
        seconds: Each kill comes after a time drawn uniformly from 0 to this.
        draws: The draws.
        longest: Seconds that the last start may take.
    """
    found = Survived()
    while found.kills < kills:
        process = start()
        status = process.wait(draws.uniform(0, seconds))
        if status is not None:
            found.statuses.append(status)
            return found
        process.kill()
        found.kills += 1
        found.statuses.append(process.wait(0))
    process = start()
    found.statuses.append(process.wait(longest))
    process.kill()
    return found


def until(condition: Callable[[], Any], longest: float = 60) -> Any:
    """Wait until ``condition()`` is true and give what it gave."""
    end = time.monotonic() + longest
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {longest} s")
        time.sleep(0.02)
    return found


def dies_at_change(folder: Path, number: int) -> None:
    """Let this process kill itself just before its ``number``-th change of what lies below ``folder``, from 0."""
    _on_change(folder, lambda count: count == number and os.kill(os.getpid(), signal.SIGKILL))


def counts_changes(folder: Path, record: Path) -> None:
    """Let this process keep the number of its changes of ``folder`` in the file ``record``."""
    _on_change(folder, lambda count: record.write_text(str(count + 1)))


def _on_change(folder: Path, act: Callable[[int], Any]) -> None:
    inside, count, busy = str(folder.resolve()) + os.sep, [0], [False]

    def changes(event: str, arguments: tuple) -> bool:
        if event == "open":
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            return _lies(arguments[0], inside) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        return event in CHANGES and any(_lies(arguments[i], inside) for i in CHANGES[event])

    def hook(event: str, arguments: tuple) -> None:
        if not busy[0] and changes(event, arguments):
            busy[0] = True
            act(count[0])
            count[0] += 1
            busy[0] = False

    sys.addaudithook(hook)


def _lies(path: Any, inside: str) -> bool:
    return isinstance(path, str | os.PathLike) and os.path.abspath(os.fspath(path)).startswith(inside)
