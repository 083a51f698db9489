# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Knowing data again wherever it lies: by what some of its samples hold, not by their path."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.signature import NORMALISATION_TOLERANCE, first_difference
from physicsnemo_fs.data.types import DownscalingDataset

SAMPLES = "samples"
"""Entry of a record with :func:`sample_numbers`."""
MOST = 8
"""Samples that are looked at."""
NOT_DATA = ("cache_gib",)
"""Keys of a dataset's configuration that change no value."""


def sample_numbers(dataset: DownscalingDataset, positions: Sequence[int]) -> list[list[float]]:
    """Give a few numbers of each of at most 8 samples, spread over some positions, that tell data apart.

    These are mean, root mean square and a sum with cosine weights, which feels where a value stands, of each field;
    rounding on another machine changes them far less than :data:`NORMALISATION_TOLERANCE`.
    """
    chosen = [int(positions[i]) for i in evenly_spread(len(positions), min(len(positions), MOST))]
    found = []
    for position in chosen:
        batch = dataset.fetch([position])
        fields = [f for f in (batch.coarse, batch.invariants, batch.target) if f is not None and f.numel()]
        found.append([round(number, 9) for field in fields for number in _numbers(field)])
    return found


def _numbers(field: Tensor) -> list[float]:
    values = field.detach().double().cpu().nan_to_num().flatten()
    weights = torch.arange(len(values), dtype=torch.float64).cos()
    return [float(values.mean()), float(values.square().mean().sqrt()), float(values @ weights) / len(values) ** 0.5]


def data_difference(
    old: Mapping[str, Any], new: Mapping[str, Any], old_samples: Any, new_samples: Any, name: str = "dataset"
) -> str | None:
    """Name the first difference between two datasets; paths may differ where their samples are known to be equal.

    Args:
        old: Configuration of the one.
        new: Configuration of the other.
        old_samples: Its :func:`sample_numbers`; ``None`` if they are not known.
        new_samples: Those of the other.
        name: What the configuration is called.

    Example:
        >>> a, b = {"data_path": "a"}, {"data_path": "b"}
        >>> data_difference(a, b, [[1.0]], [[1.0]]), data_difference(a, b, [[1.0]], [[2.0]])
        (None, 'dataset.samples[0][0] (1.0 there, 2.0 here)')
        >>> data_difference(a, b, None, [[1.0]])
        'dataset.data_path (a there, b here)'
    """
    if difference := first_difference(_without_paths(old), _without_paths(new), name=name):
        return difference
    if old_samples is None or new_samples is None:
        return first_difference(_paths(old), _paths(new), name=name)
    return first_difference(old_samples, new_samples, NORMALISATION_TOLERANCE, f"{name}.samples")


def _without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if not name.endswith("path") and name not in NOT_DATA}


def _paths(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name.endswith("path")}
