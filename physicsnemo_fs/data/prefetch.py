# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Reading ahead on PhysicsNeMo's Reader, Dataset and DataLoader, which take seconds to import."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from physicsnemo.datapipes import DataLoader, Dataset
from physicsnemo.datapipes.readers.base import Reader
from tensordict import TensorDict
from torch import Tensor

from physicsnemo_fs.data.loader import LoadedBatch, Pieces
from physicsnemo_fs.data.types import Batch

MOST_STREAMS = 4


class BatchReader(Reader):
    """PhysicsNeMo's view of a downscaling dataset: item ``i`` is the i-th micro-batch of a schedule.

    Args:
        pieces: The micro-batches. Worker threads read them: one at a time, unless the dataset is ``thread_safe``.
        pin_memory: Put the tensors into page-locked memory, for copies to a GPU that overlap its work.
    """

    def __init__(self, pieces: Pieces, pin_memory: bool = False):
        super().__init__(pin_memory=pin_memory, include_index_in_metadata=False)
        self.pieces = pieces

    def __len__(self) -> int:
        return len(self.pieces.schedule)

    def _load_sample(self, index: int) -> dict[str, Tensor]:
        batch = self.pieces.read(index).batch
        return {name: value for name, value in vars(batch).items() if isinstance(value, Tensor) and name != "index"}

    def _get_sample_metadata(self, index: int) -> dict[str, Any]:
        return {"piece": self.pieces.schedule[index]}


def _unwrap(samples: Sequence[tuple[TensorDict, dict[str, Any]]]) -> LoadedBatch:
    ((tensors, about),) = samples
    piece = about["piece"]
    values = {f.name: tensors.get(f.name, None) for f in fields(Batch)}
    return LoadedBatch(Batch(**values | {"index": torch.tensor(piece.samples)}), piece)


@contextmanager
def read_ahead(pieces: Pieces, device: torch.device, prefetch: int, workers: int) -> Iterator[Iterator[LoadedBatch]]:
    """Read micro-batches by threads, see :func:`physicsnemo_fs.data.loader.batches`."""
    on_gpu = device.type == "cuda"
    source = Dataset(BatchReader(pieces, pin_memory=on_gpu), device=device if on_gpu else None, num_workers=workers)
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
        pieces.stop()
        iterator.close()
        source.close()
