# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Missing and infinite values of fields: refused, masked or filled, as a configuration declares by variable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.fields.origins import place_of
from physicsnemo_fs.data.fields.views import FieldView, Window
from physicsnemo_fs.data.types import Channel, Fields
from physicsnemo_fs.errors import InputError


@dataclass(frozen=True)
class Missing:
    """What to do about missing values of a variable.

    Args:
        rule: ``"refuse"`` (an error), ``"mask"`` (left out of the loss; a masked input comes with a channel that says
            where it is known) or ``"fill"``.
        value: Physical value to fill in.

    Example:
        >>> Missing.parse("sst", {"fill": 271.35}), Missing.parse("tp", "mask").rule
        (Missing(rule='fill', value=271.35), 'mask')
    """

    rule: Literal["refuse", "mask", "fill"] = "refuse"
    value: float = 0.0

    @classmethod
    def parse(cls, name: str, declared: Any) -> "Missing":
        """Read a declaration of the configuration: ``refuse``, ``mask``, ``{fill: value}`` or a value to fill in.

        Raises:
            InputError: If it is none of these.
        """
        if declared in ("refuse", "mask"):
            return cls(declared)
        value = declared.get("fill") if isinstance(declared, Mapping) and set(declared) == {"fill"} else declared
        if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
            return cls("fill", float(value))
        raise InputError(
            f"missing values of {name!r} must be refused, masked or filled: got {declared!r}; write refuse, mask or "
            "{fill: 0}"
        )


def parse_missing(declared: Mapping[str, Any] | None, known: Sequence[Channel]) -> dict[str, Missing]:
    """Read the rules of a configuration by variable; one that is not named is refused.

    Raises:
        InputError: If a rule is none or names no variable.
    """
    names = [channel.name for channel in known]
    if declared is not None and not isinstance(declared, Mapping):
        raise InputError(f"rules for missing values must be a mapping such as {{sst: mask}}: got {declared!r}")
    if foreign := sorted(set(declared or {}) - set(names)):
        raise InputError(
            f"rules for missing values must be of the dataset's variables: got {foreign[0]!r}, not {names}"
        )
    return {name: Missing.parse(name, rule) for name, rule in (declared or {}).items()}


def refuse_infinite(fields: Fields, values: Float[np.ndarray, "channel y x"], position: int, key: str) -> None:
    """Refuse infinite values of one time.

    Args:
        fields: Where they were read.
        values: What was read.
        position: The time's position.
        key: The configuration that they can be declared missing in.

    Raises:
        InputError: Naming the variable.
    """
    for channel, field in enumerate(values):
        if np.isinf(field).any():
            raise InputError(
                f"variable {fields.channels[channel].name!r} must be finite: it is infinite"
                f"{place_of(fields, channel, position)}; repair the file, or set {key}.missing_value=inf to take such "
                "values as missing"
            )


class CheckedFields(FieldView):
    """Fields whose missing values are refused, filled, or left as NaN where that is declared.

    Args:
        source: The fields.
        missing: Rule by variable; a variable without one is refused.
        static: Whether they are fields of no time, which have no mask: networks see them as they are.
    """

    def __init__(self, source: Fields, missing: Mapping[str, Missing], static: bool = False):
        super().__init__(source)
        self.static = static
        self.rules = tuple(missing.get(channel.name, Missing()) for channel in self.channels)

    def read(self, positions: Sequence[int], window: Window | None = None) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields at some times.

        Raises:
            InputError: If a value is infinite, or missing where that is refused.
        """
        values = self.source.read(positions, window)
        for time, channel in np.argwhere(~np.isfinite(values.sum(axis=(-2, -1)))):
            refuse_infinite(self.source, values[time], int(positions[time]), "dataset")
            self._treat(values[time, channel], int(channel), int(positions[time]))
        return values

    def _treat(self, field: np.ndarray, channel: int, position: int) -> None:
        name, rule = self.channels[channel].name, self.rules[channel]
        missing = np.isnan(field)
        refused = ("refuse", "mask") if self.static else ("refuse",)
        if rule.rule in refused and missing.any():
            place = place_of(self.source, channel, position)
            remedy = " to a value that is filled in" if self.static else "=mask, or to a value that is filled in"
            raise InputError(
                f"variable {name!r} must have values everywhere: {missing.mean():.2%} are missing{place}; set "
                f"dataset.missing.{name}{remedy}"
            )
        if rule.rule == "fill":
            field[missing] = rule.value
