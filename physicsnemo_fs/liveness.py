# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Lost ranks: processes that wait for each other notice within a minute when one is killed, stopped or cut off.

Collective calls may wait for hours while one rank simulates data, so their time limit says nothing. Each rank therefore
has a thread that counts up a number in the group's store every few seconds and watches the others' numbers.
"""

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from physicsnemo_fs.errors import RankLost

INTERVAL = 3.0
"""Seconds between beats."""
SILENCE = 40.0
"""Seconds without a beat after which a rank counts as lost."""
LONGEST_START = 600.0
"""Seconds within which all ranks must have met."""
GRACE = 10.0
"""Seconds that a rank has to end by itself after another one has failed."""
FAILED, LEFT = 1 << 40, 1 << 41
BROKEN = re.compile(
    r"connection (closed|reset|refused)|broken pipe|socket|timed out|NCCL|failed to recv|recvValue|sendBytes|gloo", re.I
)
STATUS = 2


class Store(Protocol):
    """The part of torch's Store that beats need."""

    def add(self, key: str, amount: int) -> int:
        """Add to a number, 0 at first, and give the sum."""
        ...


class Pulse:
    """Beats for this rank and listens to the others'.

    Args:
        store: A connection to the group's store that nothing else uses.
        rank: This rank.
        world_size: Number of ranks.
    """

    def __init__(self, store: Store, rank: int, world_size: int):
        self.store, self.rank = store, rank
        self.beats = {other: 0 for other in range(world_size) if other != rank}
        self._heard = dict.fromkeys(self.beats, time.monotonic())
        self._judged = time.monotonic()

    def beat(self, amount: int = 1) -> None:
        """Count up this rank's number and read the others'; blocks while the store's process is stopped."""
        self.store.add(f"beat {self.rank}", amount)
        for other, before in self.beats.items():
            self.beats[other] = self.store.add(f"beat {other}", 0)
            if self.beats[other] != before:
                self._heard[other] = time.monotonic()

    def waits(self) -> bool:
        """Whether some rank has not ended yet."""
        return any(count < FAILED for count in self.beats.values())

    def verdict(self) -> str | None:
        """Say which rank is lost, if one is."""
        now = time.monotonic()
        slept, self._judged = now - self._judged > SILENCE / 2, now
        if slept:  # this process itself was stopped: nobody is judged by that time
            self._heard = dict.fromkeys(self.beats, now)
        failed = [other for other, count in self.beats.items() if FAILED <= count < LEFT]
        if failed:
            return f"{_ranks(failed)} failed; see the message there"
        silent = [r for r, count in self.beats.items() if count < LEFT and now - self._heard[r] > SILENCE]
        if silent:
            return (
                f"no sign of life of {_ranks(silent)} for {SILENCE:.0f} s: killed, hanging or cut off; the same "
                "command continues from what is finished"
            )
        return None


def _ranks(numbers: list[int]) -> str:
    """Name some ranks.

    Example:
        >>> _ranks([3]), _ranks([0, 2])
        ('rank 3', 'ranks 0, 2')
    """
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


@contextmanager
def meeting(rank: int, world_size: int) -> Iterator[None]:
    """End this process with one line of text when a ``with`` block, in which the ranks find each other, takes too long.

    Args:
        rank: This rank.
        world_size: Number of ranks.
    """
    text = f"not all {world_size} ranks have met within {LONGEST_START:.0f} s; see what the others say, start again"
    timer = threading.Timer(LONGEST_START, end_process, (f"[rank {rank}] ", text))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def end_process(prefix: str, text: str) -> None:
    """End this process at once with a line of text, whatever its main thread does."""
    print(f"{prefix}error: {text}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(STATUS)


@contextmanager
def watched(store: Store, rank: int, world_size: int) -> Iterator[None]:
    """End this process with one line of text when another rank is lost during a ``with`` block.

    Args:
        store: A connection to the group's store that nothing else uses.
        rank: This rank.
        world_size: Number of ranks.

    Raises:
        RankLost: If the connection to another rank broke.
    """
    pulse, done, mark = Pulse(store, rank, world_size), threading.Event(), [FAILED]

    def beat() -> None:
        try:
            while not done.wait(INTERVAL):
                pulse.beat()
            pulse.beat(mark[0])
        except RuntimeError:
            pass  # the process with the store is gone: silence, for the judge

    def judge() -> None:
        while not done.wait(INTERVAL):
            lost = pulse.verdict()
            if lost and not done.wait(GRACE):
                end_process(f"[rank {rank}] ", lost)

    threads = [threading.Thread(target=task, daemon=True, name=f"liveness {task.__name__}") for task in (beat, judge)]
    for thread in threads:
        thread.start()
    try:
        yield
        mark[0] = LEFT
    except RuntimeError as error:
        if isinstance(error, RankLost) or not BROKEN.search(str(error)):
            raise
        raise RankLost(
            f"the connection to another rank broke ({str(error).splitlines()[0][:200]}): a rank ended or its machine "
            "is lost; the same command continues from what is finished"
        ) from error
    finally:
        done.set()
        for thread in threads:
            thread.join(2 * INTERVAL)
        if rank == 0 and mark[0] == LEFT:
            _leave_last(pulse)


def _leave_last(pulse: Pulse) -> None:
    """Wait for the others: this process may hold the store, without which they would think themselves alone."""
    while pulse.waits() and pulse.verdict() is None:
        time.sleep(INTERVAL / 20)
        pulse.beat()
