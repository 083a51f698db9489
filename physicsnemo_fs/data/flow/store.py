# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Kolmogorov-flow data on disk: one NetCDF4 file per split, named by the configuration that made it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from tqdm import tqdm

from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig
from physicsnemo_fs.data.flow.store_file import KolmogorovStore, read_header, store_key, write_store
from physicsnemo_fs.data.normalize import Moments
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import NETCDF_WRITES, told_if_full
from physicsnemo_fs.random import derive_key

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class KolmogorovSplits:
    """The flows of a training, a validation and a test set: the same physics, different trajectories.

    At Re 40 statistics are stationary from about 80 flow time units on, and the largest scales remember some
    50 units, so that many short trajectories say more than a few long ones.

    Args:
        train: Training flow; its seed is replaced by one derived from ``seed``, as in the others.
        validation: Validation flow.
        test: Test flow.
        seed: Seed of all initial conditions.

    Raises:
        InputError: If the splits differ in their physics.

    Example:
        >>> splits = KolmogorovSplits(*[KolmogorovConfig()] * 3, seed=1)
        >>> splits.flow("train").seed != splits.flow("test").seed
        True
    """

    train: KolmogorovConfig
    validation: KolmogorovConfig
    test: KolmogorovConfig
    seed: int = 0

    def __post_init__(self):
        for name in ("reynolds", "forcing_mode", "forcing_amplitude", "drag"):
            values = {split: getattr(getattr(self, split), name) for split in get_args(Split)}
            if len(set(values.values())) > 1:
                raise InputError(f"all splits must have the same {name}: got {values}; use one value")

    def flow(self, split: Split) -> KolmogorovConfig:
        """Give the configuration of a split, with its own seed."""
        return replace(getattr(self, split), seed=derive_key(self.seed, "kolmogorov-split", split))


def store_path(folder: str | Path, splits: KolmogorovSplits, split: Split) -> Path:
    """Give the path of a split's file within ``folder``."""
    flow = splits.flow(split)
    key = store_key(flow, splits.flow("train"))
    return Path(folder) / f"kolmogorov_re{flow.reynolds:g}_{split}_{flow.stored}_{key}.nc"


def prepare(
    folder: str | Path,
    splits: KolmogorovSplits,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> dict[Split, Path]:
    """Make sure that the files of all splits exist, simulating what is missing.

    Files appear whole or not at all, so that several processes may prepare the same folder.

    Args:
        folder: Where the files are; it is made if it is missing.
        splits: What they hold.
        device: Where to simulate.
        progress: Whether to show a progress bar.

    Returns:
        The path of each split.

    Raises:
        InputError: If an existing file is damaged, the folder cannot be written or the flow is unstable.
    """
    return {split: prepare_split(folder, splits, split, device, progress) for split in get_args(Split)}


def prepare_split(
    folder: str | Path,
    splits: KolmogorovSplits,
    split: Split,
    device: torch.device | str = "cpu",
    progress: bool = True,
    moments_needed: bool = True,
) -> Path:
    """Make sure that one split's file exists; the arguments are those of :func:`prepare`.

    A missing file is made with the moments of the training split, which is simulated too if it is missing, unless
    ``moments_needed`` is false.
    """
    path = store_path(folder, splits, split)
    if path.exists():
        read_header(path, expected_key=store_key(splits.flow(split), splits.flow("train")))
        return path
    moments = None
    if split != "train" and moments_needed:
        moments = training_moments(folder, splits, device, progress)
    with (
        _bar(f"simulating {path.name}", progress) as report,
        told_if_full(path.parent, "nothing half-written is left", NETCDF_WRITES),
    ):
        write_store(path, splits.flow(split), splits.flow("train"), moments, device, report)
    return path


def training_moments(
    folder: str | Path, splits: KolmogorovSplits, device: torch.device | str = "cpu", progress: bool = True
) -> Moments:
    """Give the moments of the training split, simulating it if it is missing."""
    moments = read_header(prepare_split(folder, splits, "train", device, progress)).moments
    assert moments is not None  # noqa: S101 - a training split holds its own
    return moments


def open_split(
    folder: str | Path,
    splits: KolmogorovSplits,
    split: Split,
    moments: Moments | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> KolmogorovStore:
    """Open one split, simulating what is missing; the other arguments are those of :func:`prepare`.

    ``moments``, from a checkpoint, are used for this opening and never kept in the file.
    """
    path = prepare_split(folder, splits, split, device, progress, moments_needed=moments is None)
    moments = moments or read_header(path).moments or training_moments(folder, splits, device, progress)
    return KolmogorovStore(path, moments)


@contextmanager
def _bar(title: str, shown: bool) -> Iterator[Callable[[float], None]]:
    layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
    with tqdm(desc=title, total=1.0, bar_format=layout, disable=not shown) as bar:
        yield lambda share: _advance(bar, share)


def _advance(bar: tqdm, share: float) -> None:
    bar.update(min(share, bar.total - bar.n))
