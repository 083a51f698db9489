# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Noise in place of a flow that is not simulated yet, for what is planned with it."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physicsnemo_fs.data.flow.store import KolmogorovSplits, Split, read_header, store_path
from physicsnemo_fs.data.normalize import Moments


class Unsimulated:
    """White noise of the shape of a split.

    Args:
        splits: The flows.
        split: Which of them.
        moments: What it says of the training split.

    Example:
        >>> from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig
        >>> flow = KolmogorovConfig(grid=32, spin_up=(), trajectories=2, frames=4)
        >>> source = Unsimulated(KolmogorovSplits(flow, flow, flow), "test", Moments(1, 0.0, 1.0))
        >>> source.read(np.array([0]), np.array([[1, 2]])).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(self, splits: KolmogorovSplits, split: Split, moments: Moments):
        flow = splits.flow(split)
        self.grid_size, self.forcing_mode = flow.stored, flow.forcing_mode
        self.trajectory_ids = np.arange(flow.trajectories)
        self.seconds = flow.interval * np.arange(flow.frames)
        self.training_interval, self.moments = splits.flow("train").interval, moments

    def read(
        self, trajectories: Int[np.ndarray, " sample"], frames: Int[np.ndarray, "sample frame"]
    ) -> Float[Tensor, "sample frame y x"]:
        """Give noise."""
        return torch.randn(len(trajectories), frames.shape[1], self.grid_size, self.grid_size)


def needs_simulation(folder: str | Path, splits: KolmogorovSplits, split: Split, moments: Moments | None) -> bool:
    """Whether opening a split would simulate anything.

    Args:
        folder: Where the files are.
        splits: The flows.
        split: Which of them.
        moments: Moments of the training split, where they are known.
    """
    path = store_path(folder, splits, split)
    if not path.exists():
        return True
    known = moments is not None or read_header(path).moments is not None
    return not (known or store_path(folder, splits, "train").exists())
