# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which micro-batches a rank works through: planned from the stream of samples, without state."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from physicsnemo_fs.data.sampler import EpochSampler, rank_share


@dataclass(frozen=True)
class Piece:
    """One micro-batch.

    Args:
        samples: Sample ids.
        epochs: Epoch of each sample.
    """

    samples: tuple[int, ...]
    epochs: tuple[int, ...]


class Schedule(Protocol):
    """The micro-batches to read, in order."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Piece: ...


@dataclass(frozen=True)
class TrainingSchedule:
    """This rank's share of every global batch from image ``start`` on, in micro-batches.

    The images ``[i, i + total_batch_size)`` of the stream make one global batch; the ranks share it in contiguous
    parts. A schedule that starts at any image, on any number of ranks, continues the same global batches.

    Args:
        sampler: The stream of samples.
        start: Images before the first global batch.
        stop: The last global batch is the first one that reaches this image.
        total_batch_size: Images of a global batch, at least ``world_size``.
        micro_batch_size: Most images of a micro-batch; ``None`` for the whole share.
        rank: This rank.
        world_size: Number of ranks.

    Example:
        >>> schedule = TrainingSchedule(EpochSampler(4, seed=0, shuffle=False), 0, 8, 4, micro_batch_size=1, rank=1,
        ...                             world_size=2)
        >>> [piece.samples for piece in (schedule[i] for i in range(len(schedule)))]
        [(2,), (3,), (2,), (3,)]
    """

    sampler: EpochSampler
    start: int
    stop: int
    total_batch_size: int
    micro_batch_size: int | None = None
    rank: int = 0
    world_size: int = 1

    @property
    def share(self) -> range:
        """This rank's images of a global batch."""
        return rank_share(self.total_batch_size, self.rank, self.world_size)

    @property
    def pieces_per_step(self) -> int:
        """Micro-batches of this rank's share."""
        return math.ceil(len(self.share) / (self.micro_batch_size or len(self.share)))

    def __len__(self) -> int:
        steps = math.ceil(max(0, self.stop - self.start) / self.total_batch_size)
        return steps * self.pieces_per_step

    def __getitem__(self, position: int) -> Piece:
        step, number = divmod(position, self.pieces_per_step)
        size = self.micro_batch_size or len(self.share)
        images = self.share[number * size : (number + 1) * size]
        ids, epochs = self.sampler.indices(self.start + step * self.total_batch_size + images.start, len(images))
        return Piece(tuple(ids.tolist()), tuple(epochs.tolist()))


def pieces_of(samples: Sequence[int], batch_size: int) -> list[Piece]:
    """Cut a list of samples, each read once, into micro-batches.

    Example:
        >>> [piece.samples for piece in pieces_of([3, 1, 2], 2)]
        [(3, 1), (2,)]
    """
    cut = [tuple(samples[start : start + batch_size]) for start in range(0, len(samples), batch_size)]
    return [Piece(part, (0,) * len(part)) for part in cut]
