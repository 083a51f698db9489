# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""How a stored number becomes a value: scale, offset and missing values of the CF conventions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Packing:
    """``value = stored * scale + offset``, NaN where the stored number is one of ``missing``.

    Args:
        scale: Factor.
        offset: Summand.
        missing: Stored numbers that mean no value, NaN excepted.
        unsigned: Whether stored integers are to be read without sign.

    Example:
        >>> packing = Packing.of(np.dtype("i2"), {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -1})
        >>> packing.unpack(np.array([4, -1], "i2")).tolist()
        [12.0, nan]
    """

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()
    unsigned: bool = False

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
        missing = [attributes[name] for name in ("_FillValue", "missing_value") if name in attributes]
        if dtype.kind == "f" and "_FillValue" not in attributes and default_fills is not None:
            missing.append(default_fills[dtype.str[1:]])
        numbers = np.concatenate([np.atleast_1d(np.asarray(value)).ravel() for value in missing] or [np.empty(0)])
        kept = numbers[~np.isnan(numbers.astype(np.float64))]
        stored = kept[np.isfinite(kept) | (dtype.kind == "f")].astype(dtype)
        return cls(
            float(attributes.get("scale_factor", 1.0)),
            float(attributes.get("add_offset", 0.0)),
            tuple(dict.fromkeys(stored.tolist())),
            str(attributes.get("_Unsigned", "false")).lower() == "true",
        )

    def unpack(self, stored: np.ndarray) -> np.ndarray:
        """Give the values: of the stored type if that is floating-point and not packed, else float64."""
        stored = np.asarray(stored)
        plain = stored.dtype.kind == "f" and self.scale == 1.0 and self.offset == 0.0
        if self.unsigned and stored.dtype.kind == "i":
            values = stored.view(stored.dtype.str.replace("i", "u")) * self.scale + self.offset
        else:
            values = stored if plain else stored.astype(np.float64) * self.scale + self.offset
        for number in self.missing:
            absent = stored == number
            if absent.any():
                values[absent] = np.nan
        return values
