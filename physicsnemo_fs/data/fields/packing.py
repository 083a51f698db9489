# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""How a stored number becomes a value: scale, offset and missing values of the CF conventions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

ROUNDING = 1e-3
"""Share of a step of packed values by which the end of their valid range may have been rounded."""


@dataclass(frozen=True)
class Packing:
    """``value = stored * scale + offset``, NaN where the stored number is missing or outside the valid range.

    Args:
        scale: Factor.
        offset: Summand.
        missing: Stored numbers that mean no value, NaN excepted.
        unsigned: Whether stored integers are to be read without sign.
        valid: Least and greatest stored number that counts, ``valid_min``, ``valid_max`` or ``valid_range``.

    Example:
        >>> packing = Packing.of(np.dtype("i2"), {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -1})
        >>> packing.unpack(np.array([4, -1], "i2")).tolist()
        [12.0, nan]
    """

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()
    unsigned: bool = False
    valid: tuple[float, float] = (-np.inf, np.inf)

    @classmethod
    def of(
        cls, dtype: np.dtype, attributes: Mapping[str, Any], default_fills: Mapping[str, Any] | None = None
    ) -> "Packing":
        """Read the packing from a variable's attributes.

        Args:
            dtype: Type of the stored numbers.
            attributes: CF attributes.
            default_fills: What a format stores by type where nothing was written, if it does.
        """
        missing = [_numbers(attributes[name]) for name in ("_FillValue", "missing_value") if name in attributes]
        if dtype.itemsize > 1 and "_FillValue" not in attributes and default_fills is not None:
            missing.append(np.ravel(default_fills[dtype.str[1:]]))
        stored = np.concatenate([_held(values, dtype) for values in missing] or [np.empty(0, dtype)])
        scale, offset = float(attributes.get("scale_factor", 1.0)), float(attributes.get("add_offset", 0.0))
        unsigned = str(attributes.get("_Unsigned", "false")).lower() == "true"
        valid = _valid_range(dtype, attributes, scale, offset, unsigned)
        return cls(scale, offset, tuple(dict.fromkeys(stored.tolist())), unsigned, valid)

    def unpack(self, stored: np.ndarray) -> np.ndarray:
        """Give the values: of the stored type if that is floating-point and not packed, else float64."""
        stored = np.asarray(stored)
        numbers = _without_sign(stored) if self.unsigned else stored
        plain = stored.dtype.kind == "f" and self.scale == 1.0 and self.offset == 0.0
        values = numbers if plain else numbers.astype(np.float64) * self.scale + self.offset
        for number in self.missing:
            absent = stored == number
            if absent.any():
                values[absent] = np.nan
        if np.isfinite(self.valid).any():
            outside = (numbers < self.valid[0]) | (numbers > self.valid[1])
            if outside.any():
                values[outside] = np.nan
        return values


def _without_sign(numbers: np.ndarray) -> np.ndarray:
    return numbers.view(numbers.dtype.str.replace("i", "u")) if numbers.dtype.kind == "i" else numbers


def _numbers(attribute: Any) -> np.ndarray:
    """Give the numbers of an attribute, those written as text too; none of other text."""
    values = np.ravel(attribute)
    if values.dtype.kind in "iuf":
        return values
    try:
        return values.astype(np.float64)
    except (ValueError, TypeError):
        return np.empty(0)


def _held(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Give the numbers that a type can hold, in it; NaN is none."""
    if dtype.kind == "f":
        return values[~np.isnan(values.astype(np.float64))].astype(dtype)
    ends = np.iinfo(dtype)
    whole = values.astype(np.float64)
    return values[(whole >= ends.min) & (whole <= ends.max) & (whole == np.floor(whole))].astype(dtype)


def _valid_range(
    dtype: np.dtype, attributes: Mapping[str, Any], scale: float, offset: float, unsigned: bool
) -> tuple[float, float]:
    """Read the valid range of stored numbers; for packed integers a floating-point one is of the values (CF 2.5.1).

    One whose ends are no numbers of the stored type says nothing of them.
    """
    both = _numbers(attributes.get("valid_range", ()))
    given = dict(zip(("valid_min", "valid_max"), both, strict=True)) if len(both) == 2 else {}
    found = [-np.inf, np.inf]
    for end, name in enumerate(("valid_min", "valid_max")):
        number = _numbers(attributes.get(name, given.get(name, ())))
        if len(number) != 1 or np.isnan(number[0]):
            continue
        if dtype.kind in "iu" and number.dtype.kind == "f":
            packed = float((number[0] - offset) / scale)
            upper = bool(end) == (scale > 0)
            found[upper] = np.floor(packed + ROUNDING) if upper else np.ceil(packed - ROUNDING)
            continue
        held = _held(number, dtype)
        if not len(held):
            return -np.inf, np.inf
        found[end] = float((_without_sign(held) if unsigned else held)[0])
    return found[0], found[1]
