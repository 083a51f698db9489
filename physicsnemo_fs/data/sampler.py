# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which sample comes when: an endless shuffled stream without state."""

import functools

import numpy as np
from jaxtyping import Int

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.random import derive_key


class EpochSampler:
    """An endless stream of sample ids: one seeded permutation of all samples after another.

    The id of image ``i`` depends on the seed and on ``i`` alone. A run that resumes at any image count, or
    that is split over any number of ranks, therefore sees the same samples.

    Args:
        num_samples: Samples of an epoch.
        seed: Seed of the permutations.
        shuffle: Whether to permute; otherwise every epoch runs from 0 up.

    Raises:
        InputError: If there are no samples.

    Example:
        >>> ids, epochs = EpochSampler(3, seed=0).indices(0, 6)
        >>> sorted(ids[:3].tolist()), epochs.tolist()
        ([0, 1, 2], [0, 0, 0, 1, 1, 1])
    """

    def __init__(self, num_samples: int, seed: int, shuffle: bool = True):
        if num_samples < 1:
            raise InputError(f"a sampler needs at least one sample: got {num_samples}; check the split and window_size")
        self.num_samples = num_samples
        self.seed = seed
        self.shuffle = shuffle
        self._order = functools.lru_cache(maxsize=2)(self._draw_order)

    def indices(self, position: int, count: int) -> tuple[Int[np.ndarray, " count"], Int[np.ndarray, " count"]]:
        """Give the images ``[position, position + count)`` of the stream.

        Args:
            position: Images before the first one, at least 0.
            count: How many.

        Returns:
            Sample ids and the epoch of each, int64.
        """
        epochs, offsets = np.divmod(np.arange(position, position + count, dtype=np.int64), self.num_samples)
        ids = np.empty_like(offsets)
        for epoch in np.unique(epochs).tolist():
            chosen = epochs == epoch
            ids[chosen] = self._order(epoch)[offsets[chosen]]
        return ids, epochs

    def _draw_order(self, epoch: int) -> Int[np.ndarray, " sample"]:
        if not self.shuffle:
            return np.arange(self.num_samples)
        draws = np.random.Generator(np.random.Philox(derive_key(self.seed, "epoch-order", epoch)))
        return draws.permutation(self.num_samples)


def evenly_spread(total: int, count: int) -> list[int]:
    """Give ``count`` ids spread evenly over ``range(total)``, the first always 0.

    Example:
        >>> evenly_spread(10, 4)
        [0, 2, 5, 7]
    """
    return [i * total // count for i in range(count)]


def rank_share(total: int, rank: int, world_size: int) -> range:
    """Give the contiguous part of a global batch that one rank computes; all ranks together cover it once.

    Args:
        total: Images of the global batch.
        rank: This rank.
        world_size: Number of ranks.

    Example:
        >>> [list(rank_share(5, rank, 2)) for rank in range(2)]
        [[0, 1], [2, 3, 4]]
    """
    return range(rank * total // world_size, (rank + 1) * total // world_size)
