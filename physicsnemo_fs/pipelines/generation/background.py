# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Finished work is compressed and written by a thread while the next samples are made."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
WAITING = 2
"""Finished items that wait at most; further ones hold the work up."""


class Background(Generic[Item]):
    """Hand items to one thread, in order.

    An error of the thread is raised by the next call of :meth:`put` or :meth:`check`, or at the end of the ``with``
    block, which waits for all items. An exception in the block drops those that wait.

    Args:
        work: What the thread does with each item.

    Attributes:
        waited: Seconds that this side has waited for the thread.

    Example:
        >>> done = []
        >>> with Background(done.append) as background:
        ...     background.put(1)
        ...     background.put(2)
        >>> done
        [1, 2]
    """

    def __init__(self, work: Callable[[Item], object]):
        self.waited = 0.0
        self._work = work
        self._items: queue.Queue[tuple[Item] | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writing", daemon=True)

    def __enter__(self) -> "Background[Item]":
        self._thread.start()
        return self

    def __exit__(self, kind, error: BaseException | None, traceback) -> None:
        if error is not None:
            self._stopped.set()
        self._hand_over(None)
        start = time.perf_counter()
        self._thread.join()
        self.waited += time.perf_counter() - start
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise the thread's error, if there is one."""
        if self._error is not None:
            raise self._error

    def put(self, item: Item) -> None:
        """Hand over an item; waits while too many wait already."""
        start = time.perf_counter()
        self._hand_over((item,))
        self.waited += time.perf_counter() - start
        self.check()

    def _hand_over(self, item: tuple[Item] | None) -> None:
        while self._thread.is_alive():
            try:
                self._items.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def _run(self) -> None:
        while (item := self._items.get()) is not None and not self._stopped.is_set():
            try:
                self._work(item[0])
            except BaseException as error:
                self._error = error
                return
