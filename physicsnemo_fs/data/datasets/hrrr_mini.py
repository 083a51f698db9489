# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff-Mini's data: patches of HRRR over the United States with coarse input, each at its own place."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physicsnemo_fs.data.datasets.pairing import shared_normalization
from physicsnemo_fs.data.datasets.patch_file import PatchFile
from physicsnemo_fs.data.datasets.published import (
    describe,
    distinct_times,
    read_statistics,
    with_statistics,
)
from physicsnemo_fs.data.splits import block_numbers
from physicsnemo_fs.data.types import Batch, Channel, Grid
from physicsnemo_fs.errors import InputError


class HRRRMiniDataset:
    """The samples of a published file, in the order of their times.

    The input's cells are blocks of the output's. Samples of one time are told apart by microseconds. Where a patch
    lies in degrees is not published; its invariants are those of its place.

    Args:
        path: The file, such as ``hrrr_mini_train.nc``; see :class:`physicsnemo_fs.data.datasets.patch_file.PatchFile`.
        stats_path: The published ``stats.json``.
        input_variables: Coarse variables; ``None`` for all.
        output_variables: Fine variables; ``None`` for all.
        invariant_variables: Static fine variables; ``None`` for all.
        positions: Samples to use, as positions in the order of time; ``None`` for all.
        block: Length of time that counts as one independent block.
        cache_bytes: Keep the file's samples in memory if they need no more than this.

    Raises:
        InputError: If the file, a variable or a statistic is missing or does not fit.
    """

    thread_safe = True

    def __init__(
        self,
        path: str | Path,
        stats_path: str | Path | None,
        input_variables: Sequence[str] | None = None,
        output_variables: Sequence[str] | None = None,
        invariant_variables: Sequence[str] | None = None,
        *,
        positions: Sequence[int] | np.ndarray | None = None,
        block: np.timedelta64 = np.timedelta64(7, "D"),  # noqa: B008 - immutable
        cache_bytes: int = 0,
    ):
        statistics = read_statistics(stats_path)
        chosen = {"input": input_variables, "output": output_variables, "invariant": invariant_variables}
        self._file = PatchFile(Path(path), chosen)
        self.input_channels, self.output_channels, self.invariant_channels = (
            with_statistics([describe(name) for name in self._file.groups[group].names], statistics, group, stats_path)
            for group in chosen
        )
        self.input_channels = shared_normalization(self.input_channels, self.output_channels)
        height, width = self._file.patch_shape
        extent = (float(height), float(width))
        self.grid = Grid((height, width), extent, registration="cell", boundary="bounded")
        self.coarse_grid = self.grid.at((self._file.groups["input"].shape[1], self._file.groups["input"].shape[2]))
        times = distinct_times(self._file.times)
        order = np.argsort(times, kind="stable")
        self._samples: Int[np.ndarray, " sample"] = (
            order if positions is None else order[np.asarray(positions, np.int64)]
        )
        self.times = times[self._samples]
        self.blocks = block_numbers(self.times, block)
        if self._file.bytes_of_samples <= cache_bytes:
            self._file.hold()

    def __len__(self) -> int:
        return len(self.times)

    def fetch(self, indices: Sequence[int], augmentation_keys: Sequence[int] | None = None) -> Batch:
        """Give the samples of ``indices``; there are no symmetries, so that keys change nothing.

        Raises:
            InputError: If a value is missing, or the file is damaged.
        """
        ids = np.asarray(indices, dtype=np.int64)
        samples = self._samples[ids]
        return Batch(
            coarse=self._read("input", samples, self.input_channels),
            invariants=self._read("invariant", samples, self.invariant_channels),
            target=self._read("output", samples, self.output_channels),
            index=torch.from_numpy(ids),
        )

    def _read(
        self, group: str, samples: Int[np.ndarray, " sample"], channels: tuple[Channel, ...]
    ) -> Float[Tensor, "sample channel y x"]:
        values = self._file.read(group, samples)
        bad = ~np.isfinite(values).all(axis=(2, 3))
        if bad.any():
            sample, channel = np.argwhere(bad)[0]
            raise InputError(
                f"values must be finite: {channels[channel].name!r} of the sample at position {samples[sample]} in "
                f"{self._file.path} has missing ones; download the file again"
            )
        fields = torch.from_numpy(values)
        normalized = [channel.normalize(fields[:, c]) for c, channel in enumerate(channels)]
        return torch.stack(normalized, dim=1) if normalized else fields


def sample_times(path: str | Path) -> np.ndarray:
    """Give the times of a file's samples, increasing, as :class:`HRRRMiniDataset` has them.

    Raises:
        InputError: If the file is missing, damaged or of another kind.
    """
    return np.sort(distinct_times(PatchFile(Path(path), {"input": None, "invariant": []}).times))
