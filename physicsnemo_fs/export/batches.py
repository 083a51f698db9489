# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What the entries of a batch are: valid time, lead time, and the other leading coordinates of earth2studio."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physicsnemo_fs.errors import InputError

Coordinates = OrderedDict
LAST = ("variable", "lat", "lon")
"""Dimensions of a field; those before them are batch dimensions."""


def batch_places(coords: Coordinates, shape: Sequence[int]) -> list[tuple[str, ...]]:
    """Give for each entry of the batch what its noise belongs to: the valid time, then other leading coordinates.

    Without a time the first place is empty. The order is that of the flattened leading dimensions; a coordinate without
    values counts from 0.

    Args:
        coords: Coordinates of an input.
        shape: Its shape.

    Raises:
        InputError: If a coordinate has another number of values than its dimension entries.

    Example:
        >>> hours = np.array([0, 6], "timedelta64[h]")
        >>> days = np.array(["2020-01-01"], "datetime64[ns]")
        >>> rest = {"variable": np.array(["t2m"]), "lat": np.zeros(2), "lon": np.zeros(2)}
        >>> batch_places(OrderedDict(time=days, lead_time=hours, **rest), (1, 2, 1, 2, 2))[1]
        ('2020-01-01T06:00:00.000000000',)
    """
    return [_place(entry) for entry in _entries(coords, shape)]


def lead_hours(coords: Coordinates, shape: Sequence[int]) -> np.ndarray | None:
    """Give the lead time of each entry of the batch in hours; ``None`` without such a coordinate.

    Args:
        coords: Coordinates of an input.
        shape: Its shape.

    Raises:
        InputError: If they are no time differences.

    Example:
        >>> hours = np.array([0, 90], "timedelta64[m]")
        >>> lead_hours(OrderedDict(lead_time=hours, variable=np.array(["t2m"])), (2, 1))
        array([0. , 1.5])
    """
    if "lead_time" not in coords:
        return None
    if not np.issubdtype(np.asarray(coords["lead_time"]).dtype, np.timedelta64):
        raise InputError(f"lead_time must hold timedelta64 values: got {np.asarray(coords['lead_time'])!r}")
    return np.array([entry["lead_time"] / np.timedelta64(1, "h") for entry in _entries(coords, shape)])


def _entries(coords: Coordinates, shape: Sequence[int]) -> list[dict[str, Any]]:
    """Give the leading coordinates of each entry of the batch, in the order of the flattened dimensions."""
    leading = [
        (name, _values(name, values, size))
        for (name, values), size in zip(coords.items(), shape, strict=False)
        if name not in LAST
    ]
    sizes = [len(values) for _, values in leading]
    indices = [np.unravel_index(flat, sizes) if sizes else () for flat in range(math.prod(sizes))]
    return [{name: values[i] for (name, values), i in zip(leading, index, strict=True)} for index in indices]


def _values(name: str, values: Any, size: int) -> np.ndarray:
    found = np.asarray(values)
    if len(found) not in (0, size):
        raise InputError(
            f"the coordinate {name} must have a value for each of the {size} entries of its dimension: got "
            f"{len(found)} values; give one for each"
        )
    return found if len(found) else np.arange(size)


def _place(entry: dict[str, Any]) -> tuple[str, ...]:
    time = entry.pop("time", None)
    if time is None:
        return ("", *(f"{name}={value}" for name, value in entry.items()))
    valid = np.datetime64(time, "ns") + np.timedelta64(entry.pop("lead_time", np.timedelta64(0, "ns")), "ns")
    return (str(valid), *(f"{name}={value}" for name, value in entry.items()))


def require_same(given: Coordinates, wanted: Coordinates) -> None:
    """Refuse an input of other variables, in another order, or on another grid; dimensions are left to earth2studio.

    Raises:
        InputError: Saying what is wanted and what is given.
    """
    here, there = (", ".join(map(str, v)) for v in (wanted["variable"], given.get("variable", wanted["variable"])))
    if here != there:
        raise InputError(
            f"the input must have the variables {here}, in this order: got {there}; choose and order them by "
            "earth2studio.utils.coords.map_coords"
        )
    for name in ("lat", "lon"):
        own, other = np.asarray(wanted[name]), np.asarray(given.get(name, wanted[name]))
        if not np.array_equal(own, other):
            raise InputError(
                f"the input must be on the model's grid, input_coords()[{name!r}], {_range(own)}: got {_range(other)}; "
                "interpolate it by physicsnemo_fs.export.workflow.on_grid"
            )


def require_fields(shape: Sequence[int], coords: Coordinates, wanted: Coordinates) -> None:
    """Refuse fields whose shape is not that of the model's variables and grid: interpolated, they would be wrong.

    Args:
        shape: Shape of the input.
        coords: Its coordinates.
        wanted: The model's input coordinates.

    Raises:
        InputError: Giving both shapes.
    """
    last = (len(wanted["variable"]), np.shape(wanted["lat"])[0], np.shape(wanted["lon"])[-1])
    if len(shape) != len(coords) or tuple(shape[-3:]) != last:
        names = [name for name in coords if name not in LAST] + [f"{n}={m}" for n, m in zip(LAST, last, strict=True)]
        raise InputError(
            f"the input must be of shape [{', '.join(names)}]: got shape {tuple(shape)}; interpolate it by "
            "physicsnemo_fs.export.workflow.on_grid"
        )


def require_whole(x: Tensor, variables: Sequence[str]) -> None:
    """Refuse an input with missing values, which would spread over the whole domain.

    Raises:
        InputError: Naming the variables.
    """
    missing = (~torch.isfinite(x)).flatten(2).any(dim=2).any(dim=0).tolist()
    if names := [name for name, absent in zip(variables, missing, strict=True) if absent]:
        raise InputError(
            f"the input must have a value at every point: got NaN or infinity in {', '.join(names)}; fill them in, as "
            "in the training"
        )


def _range(places: np.ndarray) -> str:
    if not places.size:
        return "none"
    return f"{' x '.join(map(str, places.shape))} from {places.flat[0]:.9g} to {places.flat[-1]:.9g}"
