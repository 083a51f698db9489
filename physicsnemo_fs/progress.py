# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Hanging: a process whose main thread gets nowhere for a long time says where it stands and ends.

:mod:`liveness` notices processes that are gone; their threads beat on while a main thread waits in a deadlock, for a
file system that does not answer, or runs in an endless loop. How long a piece of work may take is known only where it
is one of many: a micro-batch, a batch of a validation, a network evaluation. Nothing is judged elsewhere, where data is
simulated, networks compile or files are put together, nor before the first piece is done.
"""

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from physicsnemo_fs.launchers import detect
from physicsnemo_fs.liveness import end_process

MOST_LOOKS = 5.0
"""Seconds between looks at the main thread, at most."""
PACKAGE = str(Path(__file__).parent)


class Progress:
    """The last sign of progress of this process's main thread.

    Example:
        >>> progress = Progress()
        >>> with progress.expected(within=60.0):
        ...     for step in range(3):
        ...         progress.made(f"step {step}")
        >>> progress.last
        'step 2'
    """

    def __init__(self):
        self.last = ""
        self._at: float | None = None
        self._waiting = False

    def made(self, what: str) -> None:
        """Say that a piece of work is done."""
        self.last, self._at = what, time.monotonic()

    def unknown(self) -> None:
        """Judge nothing until the next sign of progress: what follows may take any time."""
        self._at = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for other processes in a ``with`` block: they may take as long as this one, which then waits twice."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False
            if self._at is not None:
                self._at = time.monotonic()

    @contextmanager
    def expected(self, within: float | None) -> Iterator[None]:
        """End this process with a line of text if progress stops for ``within`` seconds in a ``with`` block.

        The time counts from the first sign of progress in the block on, and doubles while this process waits for
        others.

        Args:
            within: Seconds; ``None`` judges nothing.
        """
        self._at = None
        if within is None:
            yield
            return
        done = threading.Event()
        thread = threading.Thread(target=self._judge, args=(within, done), daemon=True, name="progress")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._at = None

    def _judge(self, within: float, done: threading.Event) -> None:
        pause = min(MOST_LOOKS, within / 4)
        looked = time.monotonic()
        while not done.wait(pause):
            now = time.monotonic()
            if now - looked > within / 2 and self._at is not None:  # this process itself was stopped
                self._at = now
            looked, since = now, self._at
            if since is not None and now - since > within * (1 + self._waiting):
                end_process(
                    detect().prefix,
                    f"no progress for {now - since:.0f} s since {self.last}; the main thread is {_place()}: a "
                    "deadlock, an endless loop or files that cannot be reached; the same command continues from what "
                    "is finished, and perf.longest_pause allows for longer pauses",
                )


def _place() -> str:
    """Say where the main thread stands."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    stack = traceback.extract_stack(frame)
    own = [entry for entry in stack if entry.filename.startswith(PACKAGE)]
    shown = [(own or stack)[-1], stack[-1]]
    places = [f"in {entry.name} ({Path(entry.filename).name}, line {entry.lineno})" for entry in shown]
    return ", ".join(dict.fromkeys(places))
