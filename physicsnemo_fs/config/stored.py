# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Datasets of stores that ``physicsnemo-fs build`` made."""

from dataclasses import dataclass
from typing import Any

from physicsnemo_fs.config.datasets import DatasetConfig
from physicsnemo_fs.config.keys import key


@dataclass
class StoreDatasetConfig(DatasetConfig):
    """A store that ``physicsnemo-fs build`` made, with its splits and its normalisation."""

    type: str = key("store", "This source.")
    data_path: str | None = key(None, "Folder of the store; must be given.")
    regions: Any = key(
        None,
        "Names of the regions to use, or by split {test: [east]}; null, or a split without names, takes all that have "
        "samples of it.",
    )
    patch_shape: list[int] | None = key(None, "Fine rows and columns of training patches; null trains on whole fields.")
    patches_per_time: int = key(1, "Patches of each time in an epoch.", least=1)
    uneven: str = key(
        "refuse", "Windows of unevenly spaced frames: refuse, skip or keep.", choices=("refuse", "skip", "keep")
    )
    missing: Any = key(None, "Missing values by variable: refuse (default), mask, or a value to fill in.")
    block: str = key("1d", "Length of time that counts as one independent block in scores.")
    cache_gib: float = key(0.0, "Most memory, in GiB, that keeps fields read once.", least=0)
