# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop: SIGTERM and SIGUSR1 end a training with a checkpoint and a status that says "start me again"."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from physicsnemo_fs.errors import START_AGAIN

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

log = logging.getLogger(__name__)


class StopRequest:
    """Whether, and by which signal, this process was asked to stop.

    Outside :meth:`deferred` a request ends the process at once, like an exception; within, it only sets :attr:`came` to
    the signal.
    """

    def __init__(self):
        self.came: signal.Signals | None = None
        self._deferred = 0

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note requests for the time of a ``with`` block."""
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1

    def __call__(self, number: int, frame: Any) -> None:
        """Take a signal."""
        self.came = signal.Signals(number)
        if not self._deferred:
            raise SystemExit(START_AGAIN)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Take SIGTERM and SIGUSR1 as requests to stop for the time of a ``with`` block, if this is the main thread.

    Example:
        >>> import os
        >>> with stop_requests() as request, request.deferred():
        ...     os.kill(os.getpid(), signal.SIGUSR1)
        ...     request.came.name
        'SIGUSR1'
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if request.came:
            log.warning("stopped by %s; the same command continues", request.came.name)
