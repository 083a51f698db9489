# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Micro-batches read ahead of the network, on PhysicsNeMo's Reader, Dataset and DataLoader."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import nvtx
import torch
from physicsnemo.datapipes import DataLoader, Dataset
from physicsnemo.datapipes.readers.base import Reader
from tensordict import TensorDict
from torch import Tensor

from physicsnemo_fs.data.schedule import Piece, Schedule
from physicsnemo_fs.data.types import Batch, DownscalingDataset

READING = threading.RLock()
"""Held while a dataset that is not ``thread_safe`` is read: at most one such read at a time in this process."""

MOST_STREAMS = 4


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


class BatchReader(Reader):
    """PhysicsNeMo's view of a downscaling dataset: item ``i`` is the i-th micro-batch of a schedule.

    Args:
        dataset: Where the samples come from. Worker threads call its ``fetch``: one at a time, unless the dataset has
            an attribute ``thread_safe`` that is true.
        schedule: The micro-batches.
        key: Gives the augmentation key of (epoch, sample); ``None`` for samples as they are.
        pin_memory: Put the tensors into page-locked memory, for copies to a GPU that overlap its work.
    """

    def __init__(
        self,
        dataset: DownscalingDataset,
        schedule: Schedule,
        key: Callable[[int, int], int] | None = None,
        pin_memory: bool = False,
    ):
        super().__init__(pin_memory=pin_memory, include_index_in_metadata=False)
        self.dataset, self.schedule, self.key = dataset, schedule, key
        self._turn = nullcontext() if getattr(dataset, "thread_safe", False) else READING
        self._stopped = threading.Event()

    def __len__(self) -> int:
        return len(self.schedule)

    def stop(self) -> None:
        """Let reads that have not begun fail at once."""
        self._stopped.set()

    def _load_sample(self, index: int) -> dict[str, Tensor]:
        piece = self.schedule[index]
        keys = None
        if self.key is not None:
            keys = [self.key(epoch, sample) for epoch, sample in zip(piece.epochs, piece.samples, strict=True)]
        with self._turn, nvtx.annotate("read"):
            if self._stopped.is_set():
                raise _Stopped
            try:
                batch = self.dataset.fetch(list(piece.samples), keys)
            except Exception as error:
                error.add_note(f"while reading the samples {list(piece.samples)} of epochs {list(piece.epochs)}")
                raise
        return {name: value for name, value in vars(batch).items() if isinstance(value, Tensor) and name != "index"}

    def _get_sample_metadata(self, index: int) -> dict[str, Any]:
        return {"piece": self.schedule[index]}


def _unwrap(samples: Sequence[tuple[TensorDict, dict[str, Any]]]) -> LoadedBatch:
    ((tensors, about),) = samples
    piece = about["piece"]
    values = {f.name: tensors.get(f.name, None) for f in fields(Batch)}
    return LoadedBatch(Batch(**values | {"index": torch.tensor(piece.samples)}), piece)


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
        dataset: Where the samples come from, see :class:`BatchReader`.
        schedule: The micro-batches.
        key: Gives the augmentation key of (epoch, sample); ``None`` for samples as they are.
        device: Where the micro-batches are wanted.
        prefetch: Micro-batches read ahead; 0 reads each when it is asked for, in the calling thread.
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
    on_gpu = torch.device(device).type == "cuda"
    reader = BatchReader(dataset, schedule, key, pin_memory=on_gpu)
    source = Dataset(reader, device=device if on_gpu else None, num_workers=workers)
    loader = DataLoader(
        source,
        collate_fn=_unwrap,
        prefetch_factor=prefetch,
        num_streams=max(1, min(prefetch, MOST_STREAMS)),
        use_streams=on_gpu and prefetch > 0,
    )
    iterator = iter(loader)
    try:
        yield iterator
    finally:
        reader.stop()
        iterator.close()
        source.close()
