# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Micro-batches for the network, read when they are asked for or ahead of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import nvtx
import torch

from physicsnemo_fs.data.schedule import Piece, Schedule
from physicsnemo_fs.data.types import Batch, DownscalingDataset

READING = threading.RLock()
"""Held while a dataset that is not ``thread_safe`` is read: at most one such read at a time in this process."""


@dataclass(frozen=True)
class LoadedBatch:
    """A micro-batch on its device, and what it was made of.

    Args:
        batch: The samples; their ids stay on the CPU.
        piece: Their ids and epochs.
    """

    batch: Batch
    piece: Piece


class _Stopped(RuntimeError):
    """The reader was stopped; nobody waits for this batch."""


class Pieces:
    """The micro-batches of a schedule, read one by one from any thread.

    Args:
        dataset: Where the samples come from. Its ``fetch`` is called by one thread at a time, unless the dataset has an
            attribute ``thread_safe`` that is true.
        schedule: The micro-batches.
        key: Gives the augmentation key of (epoch, sample); ``None`` for samples as they are.
    """

    def __init__(self, dataset: DownscalingDataset, schedule: Schedule, key: Callable[[int, int], int] | None = None):
        self.dataset, self.schedule, self.key = dataset, schedule, key
        self._turn = nullcontext() if getattr(dataset, "thread_safe", False) else READING
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let reads that have not begun fail at once."""
        self._stopped.set()

    def read(self, position: int) -> LoadedBatch:
        """Give a micro-batch on the CPU.

        Raises:
            Exception: Whatever the dataset raises, with a note that names the samples.
        """
        piece = self.schedule[position]
        keys = None
        if self.key is not None:
            keys = [self.key(epoch, sample) for epoch, sample in zip(piece.epochs, piece.samples, strict=True)]
        with self._turn, nvtx.annotate("read"):
            if self._stopped.is_set():
                raise _Stopped
            try:
                return LoadedBatch(self.dataset.fetch(list(piece.samples), keys), piece)
            except Exception as error:
                error.add_note(f"while reading the samples {list(piece.samples)} of epochs {list(piece.epochs)}")
                raise


@contextmanager
def batches(
    dataset: DownscalingDataset,
    schedule: Schedule,
    *,
    key: Callable[[int, int], int] | None = None,
    device: torch.device | str = "cpu",
    prefetch: int = 2,
    workers: int = 1,
) -> Iterator[Iterator[LoadedBatch]]:
    """Read the micro-batches of a schedule ahead of their use, for the time of a ``with`` block.

    Threads read up to ``prefetch`` micro-batches ahead; their copies to a GPU go through page-locked memory on streams
    of their own, beside the work of the micro-batch before. At most ``prefetch + 2`` are held at once. Nothing of the
    bytes or their order depends on ``prefetch`` or ``workers``. An error of a read is raised where the next
    micro-batch is asked for, with the worker's traceback; leaving the block ends every thread.

    Args:
        dataset: Where the samples come from, see :class:`Pieces`.
        schedule: The micro-batches.
        key: Gives the augmentation key of (epoch, sample); ``None`` for samples as they are.
        device: Where the micro-batches are wanted.
        prefetch: Micro-batches read ahead; 0 reads each when it is asked for, in the calling thread, and on a CPU does
            without PhysicsNeMo's loader and the seconds of its import.
        workers: Threads that read.

    Example:
        >>> from physicsnemo_fs.data.schedule import pieces_of
        >>> class Ramp:
        ...     def fetch(self, indices, augmentation_keys=None):
        ...         value = torch.tensor(indices).float()[:, None, None, None]
        ...         return Batch(value, value, None, torch.tensor(indices))
        >>> with batches(Ramp(), pieces_of([3, 1, 2], 2)) as loaded:
        ...     [one.batch.coarse.flatten().tolist() for one in loaded]
        [[3.0, 1.0], [2.0]]
    """
    pieces = Pieces(dataset, schedule, key)
    if prefetch == 0 and torch.device(device).type == "cpu":
        yield (pieces.read(position) for position in range(len(schedule)))
        return
    from physicsnemo_fs.data.prefetch import read_ahead

    with read_ahead(pieces, torch.device(device), prefetch, workers) as loaded:
        yield loaded
