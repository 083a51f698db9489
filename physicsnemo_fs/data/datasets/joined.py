# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Datasets of several regions as one."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from physicsnemo_fs.data.types import Batch, DownscalingDataset, Grid
from physicsnemo_fs.errors import InputError


class JoinedDataset:
    """Several datasets, such as regions, one after another.

    Their patches must have the same shape and channels. Times of the n-th dataset are n microseconds later, so that
    each sample has a time of its own; blocks of different datasets differ.

    Args:
        datasets: The datasets.

    Raises:
        InputError: If there is none, or shapes or channels differ.

    Example:
        >>> from physicsnemo_fs.data.datasets.gridded import GriddedDataset
        >>> from physicsnemo_fs.data.fields.views import ArrayFields
        >>> regions = [ArrayFields.random(("t2m",), times=3, shape=(16, 16), seed=seed) for seed in (0, 1)]
        >>> joined = JoinedDataset([GriddedDataset(region, None, region.channels) for region in regions])
        >>> len(joined), joined.fetch([5, 0]).index.tolist()
        (6, [5, 0])
    """

    def __init__(self, datasets: Sequence[DownscalingDataset]):
        if not datasets:
            raise InputError("a joined dataset needs a dataset: got none; name a region")
        first = datasets[0]
        for other in datasets[1:]:
            _check_alike(first, other)
        self.datasets = tuple(datasets)
        self.input_channels, self.output_channels = first.input_channels, first.output_channels
        self.invariant_channels = first.invariant_channels
        alone = len(datasets) == 1
        self.grid = first.grid if alone else _nowhere(first.grid)
        self.coarse_grid = first.coarse_grid if alone else _nowhere(first.coarse_grid)
        shifts = np.arange(len(datasets)).astype("timedelta64[us]")
        self.times = np.concatenate([d.times + shift for d, shift in zip(datasets, shifts, strict=True)])
        labels = np.concatenate([np.stack([np.full(len(d), n), d.blocks]) for n, d in enumerate(datasets)], axis=1)
        self.blocks = np.unique(labels, axis=1, return_inverse=True)[1].ravel()
        self.thread_safe = all(getattr(d, "thread_safe", False) for d in datasets)
        self._starts = np.cumsum([0, *(len(d) for d in datasets)])

    def __len__(self) -> int:
        return len(self.times)

    def fetch(self, indices: Sequence[int], augmentation_keys: Sequence[int] | None = None) -> Batch:
        """Give samples, each from its dataset; see :meth:`GriddedDataset.fetch`."""
        ids = np.asarray(indices, dtype=np.int64)
        owner = np.searchsorted(self._starts, ids, side="right") - 1
        batches, places = [], []
        for number in np.unique(owner).tolist():
            own = np.flatnonzero(owner == number)
            keys = None if augmentation_keys is None else [augmentation_keys[int(i)] for i in own]
            batches.append(self.datasets[number].fetch((ids[own] - self._starts[number]).tolist(), keys))
            places.append(own)
        order = torch.from_numpy(np.argsort(np.concatenate(places), kind="stable"))
        return replace(_concatenated(batches, order), index=torch.from_numpy(ids))


def _concatenated(batches: Sequence[Batch], order: Tensor) -> Batch:
    def joined(name: str) -> Tensor | None:
        parts = [getattr(batch, name) for batch in batches]
        return None if any(part is None for part in parts) else torch.cat(parts)[order]

    return Batch(**{field.name: joined(field.name) for field in fields(Batch)})  # type: ignore[arg-type]


def _nowhere(grid: Grid) -> Grid:
    return replace(grid, origin=(0.0, 0.0), latitude=None, longitude=None)


def _check_alike(first: DownscalingDataset, other: DownscalingDataset) -> None:
    shapes = [(d.grid.shape, d.coarse_grid.shape) for d in (first, other)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"regions must have samples of one shape: got fine and coarse {shapes[0]} and {shapes[1]}; set "
            "dataset.patch_shape"
        )
    for name in ("input_channels", "output_channels", "invariant_channels"):
        if getattr(first, name) != getattr(other, name):
            raise InputError(f"regions must share their {name} and normalisation: they differ; use the same variables")
