# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a network was trained on, as JSON types: channels with their normalisation, and the coarse grid."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from physicsnemo_fs.data.types import Channel, DownscalingDataset
from physicsnemo_fs.data.vocabulary import same_unit
from physicsnemo_fs.errors import InputError

NORMALISATION_TOLERANCE = 1e-5


def data_signature(dataset: DownscalingDataset) -> dict[str, Any]:
    """Give what a dataset must share with the one that a network was trained on; the fine resolution is free.

    The domain's extent is part of it: an operator's modes and pinned grids are lengths on the domain it has learnt.
    """
    coarse = dataset.coarse_grid
    return {
        "input_channels": [_described(c) for c in dataset.input_channels],
        "invariant_channels": [c.name for c in dataset.invariant_channels],
        "invariants": [_described(c) for c in dataset.invariant_channels],
        "output_channels": [_described(c) for c in dataset.output_channels],
        "coarse_spacing": [float(s) for s in coarse.spacing],
        "coarse_registration": coarse.registration,
        "boundary": coarse.boundary,
        "extent": [round(float(length), 9) for length in dataset.grid.extent],
    }


DESCRIBED = ("name", "unit", "mean", "std")
"""Entries of every described channel; the others are there where they differ from their defaults."""


def _described(channel: Channel) -> dict[str, Any]:
    record, plain = channel.to_dict(), Channel("").to_dict()
    shown = (*DESCRIBED, *(name for name in ("warp", "minimum") if record[name] != plain[name]))
    return {name: record[name] for name in shown}


def normalisation(signature: dict[str, Any]) -> dict[str, Channel]:
    """Give the channels that a network was trained on, by name, with their normalisation.

    Example:
        >>> normalisation({"input_channels": [], "output_channels": [Channel("t", "K", 280.0, 9.0).to_dict()]})["t"].std
        9.0
    """
    records = [*signature.get("invariants", ()), *signature["input_channels"], *signature["output_channels"]]
    return {record["name"]: Channel.from_dict(record) for record in records}


def first_difference(old: Any, new: Any, tolerance: float = 0.0, name: str = "") -> str | None:
    """Name the first entry in which two records of JSON types differ, with both values; ``None`` if there is none.

    Example:
        >>> first_difference({"a": {"b": 1.0}}, {"a": {"b": 2.0}})
        'a.b (1.0 there, 2.0 here)'
        >>> first_difference([1.0], [1.0 + 1e-9], tolerance=1e-6) is None
        True
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        found = (first_difference(old.get(k), new.get(k), tolerance, f"{name}.{k}" if name else k) for k in keys)
        return next((f for f in found if f), None)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        found = (first_difference(a, b, tolerance, f"{name}[{i}]") for i, (a, b) in pairs)
        return next((f for f in found if f), None)
    if isinstance(old, float) and isinstance(new, float):
        same = old == new or math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance)
    else:
        same = old == new
    return None if same else f"{name} ({old} there, {new} here)"


def as_trained(channel: Channel, known: Mapping[str, Channel], unit_given: bool = True) -> Channel:
    """Give a variable of some files with the normalisation that a network was trained with.

    Args:
        channel: The variable.
        known: Channels of the training by name; one without a unit takes that of the files.
        unit_given: Whether the files say the unit, which must then be that of the training.

    Raises:
        InputError: If the network does not know the variable, or knows it in another unit.

    Example:
        >>> as_trained(Channel("t", "K"), {"t": Channel("t", "K", 280.0, 9.0)}).std
        9.0
    """
    if channel.name not in known:
        raise InputError(
            f"the checkpoint must know the variable {channel.name!r}: it was trained on {', '.join(known)}; give those"
        )
    found = known[channel.name]
    if unit_given and found.unit and same_unit(found.unit) != same_unit(channel.unit):
        here = f"the file has it in {channel.unit}; convert it"
        if channel.unit == "1":
            here = "the file gives it no unit; set its attribute units, once its values are in that unit"
        raise InputError(f"variable {channel.name!r} must be in {found.unit}, as in training: {here}")
    return replace(
        found,
        unit=found.unit or channel.unit,
        long_name=channel.long_name or found.long_name,
        standard_name=channel.standard_name or found.standard_name,
    )
