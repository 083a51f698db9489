# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From the fields of some regions to the dataset of a split, the same for every source of gridded fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from physicsnemo_fs.data.datasets.gridded import GriddedDataset
from physicsnemo_fs.data.datasets.joined import JoinedDataset
from physicsnemo_fs.data.datasets.pairing import Uneven
from physicsnemo_fs.data.fields.missing import Missing
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.splits import own_windows, parse_duration
from physicsnemo_fs.data.types import Channel, DownscalingDataset, Fields
from physicsnemo_fs.errors import InputError


class PatchedConfig(Protocol):
    """The keys that every source of gridded fields has."""

    type: str
    patch_shape: list[int] | None
    patches_per_time: int
    block: str
    window_size: int
    cache_gib: float


@dataclass(frozen=True)
class Sources:
    """The fields of one region.

    Args:
        target: Truth, if there is any.
        coarse: Input; ``None`` averages the truth.
        invariants: Static fine fields, if there are any.
        labels: Split of each time of the truth, or without it of the input; ``None`` takes all times.
    """

    target: Fields | None
    coarse: Fields | None
    invariants: Fields | None = None
    labels: UInt8[np.ndarray, " time"] | None = None

    @property
    def input(self) -> Fields:
        """The fields that the input is made of."""
        fields = self.target if self.coarse is None else self.coarse
        assert fields is not None  # noqa: S101 - a region has one of them
        return fields


@dataclass(frozen=True)
class Variables:
    """The variables of all regions with their normalisation, and what to do where they are missing.

    Args:
        outputs: Of the truth.
        inputs: Of the input; ``None`` takes those of the truth.
        invariants: Of the static fields.
        missing: Rule by variable.
    """

    outputs: Sequence[Channel]
    inputs: Sequence[Channel] | None
    invariants: Sequence[Channel] = ()
    missing: Mapping[str, Missing] | None = None


def open_regions(
    config: PatchedConfig,
    opening: Opening,
    regions: Sequence[Sources],
    variables: Variables,
    *,
    factor: int = 1,
    uneven: Uneven = "refuse",
) -> DownscalingDataset:
    """Give the samples of a split, of all regions one after another.

    Whole fields are given where truth is not required, patches of ``patch_shape`` otherwise.

    Args:
        config: The dataset's configuration.
        opening: Which split is opened, and how.
        regions: Fields and splits of each region.
        variables: Their variables.
        factor: Fine cells along a coarse one, where the truth is averaged.
        uneven: What to do about windows of unevenly spaced frames.

    Raises:
        InputError: If the patch is none, the fields do not fit together, or another resolution is asked for.
    """
    shape = config.patch_shape if opening.truth_required else None
    if shape is not None and len(shape) not in (1, 2):
        raise InputError(f"dataset.patch_shape must be [rows, columns]: got {list(shape)}; correct it")
    datasets = [
        GriddedDataset(
            sources.target,
            sources.coarse,
            variables.outputs,
            variables.inputs,
            positions=_positions(sources, opening.split, config.window_size),
            factor=factor,
            invariants=sources.invariants,
            invariant_channels=variables.invariants,
            block=parse_duration(config.block),
            window_size=config.window_size,
            uneven=uneven,
            patch=None if shape is None else (shape[0], shape[-1]),
            patches_per_time=1 if shape is None else config.patches_per_time,
            missing=variables.missing,
            cache_bytes=int(config.cache_gib * 2**30 / len(regions)),
        )
        for sources in regions
    ]
    dataset = datasets[0] if len(datasets) == 1 else JoinedDataset(datasets)
    require_resolution(dataset, opening.resolution, config.type)
    return dataset


def require_resolution(dataset: DownscalingDataset, asked: int | None, name: str) -> None:
    """Refuse another resolution than the data has.

    Raises:
        InputError: If another one is asked for.
    """
    own = min(dataset.grid.shape)
    if asked not in (None, own):
        raise InputError(
            f"dataset={name} has the resolution of its data, {own} along the shorter side: got {asked}; leave "
            "resolution out"
        )


def _positions(sources: Sources, split: str, window_size: int) -> np.ndarray | None:
    return None if sources.labels is None else own_windows(sources.labels, split, window_size)
