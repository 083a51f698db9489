# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From what generation makes of a time to the single fields of a file, checked."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import EnsembleSpec

Array = np.ndarray | torch.Tensor


class Place(NamedTuple):
    """Where a field lies in a file.

    Args:
        group: Name of the group.
        variable: Name of the variable.
        position: Position along the leading dimensions: ``(time,)`` or ``(member, time)``.
    """

    group: str
    variable: str
    position: tuple[int, ...]


Field = tuple[Place, Float32[np.ndarray, "_ _"]]
Fields = list[Field]


def places_of(spec: EnsembleSpec, time_index: int, members: Sequence[int], whole: bool) -> list[Place]:
    """Give the places of some members of one time and, if ``whole``, of the fields that a time has once."""
    found = [Place("prediction", c.name, (m, time_index)) for m in members for c in spec.output_channels]
    if whole:
        found += [
            Place(group, c.name, (time_index,)) for group, channels in spec.field_groups.items() for c in channels
        ]
    return found


def fields_of(
    spec: EnsembleSpec,
    time_index: int,
    prediction: Array,
    members: Sequence[int],
    *,
    input: Array | None = None,
    input_native: Array | None = None,
    truth: Array | None = None,
    regression: Array | None = None,
) -> Fields:
    """Split the members of one time, and the fields they belong to, into single fields with their places.

    Args:
        spec: What the file holds.
        time_index: Position of the time in ``spec.times``.
        prediction: Members in physical units, ``[member, output channel, y, x]``, finite.
        members: Position of each of them.
        input: Coarse input on the output grid in physical units, ``[input channel, y, x]``.
        input_native: Coarse input on its own grid, ``[input channel, coarse y, coarse x]``.
        truth: ``[output channel, y, x]``; NaN where missing.
        regression: Regression mean, ``[output channel, y, x]``.

    Raises:
        InputError: If an index, a shape or a value does not fit.
    """
    count = spec.times.size
    if not 0 <= time_index < count:
        raise InputError(f"time_index must be 0 to {count - 1}: got {time_index}")
    found = _members(spec, int(time_index), prediction, members)
    given = {"input": input, "input_native": input_native, "truth": truth, "regression": regression}
    for group, values in given.items():
        if values is not None:
            found += _once(spec, int(time_index), group, values)
    return found


def _members(spec: EnsembleSpec, time_index: int, prediction: Array, members: Sequence[int]) -> Fields:
    values = _to_float32(prediction)
    _require_shape("prediction", values, (len(members), len(spec.output_channels), *spec.grid.shape))
    bad = ~np.isfinite(values).all(axis=(2, 3))
    if bad.any():
        row, c = np.argwhere(bad)[0]
        raise InputError(
            f"predictions must be finite: {spec.output_channels[c].name!r} at time index "
            f"{time_index} ({spec.times[time_index]}), member {members[row]} (seed "
            f"{spec.member_seeds[members[row]]}) is not; check the checkpoint and the precision"
        )
    return [
        (Place("prediction", channel.name, (member, time_index)), values[row, c])
        for row, member in enumerate(members)
        for c, channel in enumerate(spec.output_channels)
    ]


def _once(spec: EnsembleSpec, time_index: int, group: str, values: Array) -> Fields:
    if group not in spec.field_groups:
        raise InputError(f"{group} was given for a file declared without it; set has_{group}=True in the spec")
    array = _to_float32(values)
    coarse = group.startswith("input")
    grid = spec.coarse_grid if group == "input_native" else spec.grid
    selected: list[tuple[int, Channel]] = list(spec.current_inputs) if coarse else list(enumerate(spec.output_channels))
    count = len(spec.input_channels) if coarse else len(spec.output_channels)
    _require_shape(group, array, (count, *grid.shape))
    return [(Place(group, channel.name, (time_index,)), array[position]) for position, channel in selected]


def round_bits(field: Float32[np.ndarray, "y x"], bits: int | None) -> Float32[np.ndarray, "y x"]:
    """Round to so many mantissa bits, half to even; the relative error is at most ``2**-(bits + 1)``.

    Args:
        field: Finite values.
        bits: Mantissa bits kept, 1 to 23; ``None`` keeps all.

    Example:
        >>> round_bits(np.array([[1.0, 1.26, 3.9]], np.float32), 1)
        array([[1. , 1.5, 4. ]], dtype=float32)
    """
    if bits is None or bits == 23:
        return field
    dropped = np.uint32(23 - bits)
    words = np.ascontiguousarray(field).view(np.uint32)
    half = (np.uint32(1) << (dropped - np.uint32(1))) - np.uint32(1)
    rounded = words + half + ((words >> dropped) & np.uint32(1))
    return (rounded & ~((np.uint32(1) << dropped) - np.uint32(1))).view(np.float32)


def _to_float32(values: Array) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float32).numpy()
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float32)


def _require_shape(name: str, values: np.ndarray, expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise InputError(f"{name} must have shape {expected}: got {values.shape}")
