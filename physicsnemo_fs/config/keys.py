# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Declaring and checking configuration keys."""

import difflib
import operator
from dataclasses import field, fields, is_dataclass
from typing import Any


def key(
    default: Any,
    help: str,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
) -> Any:
    """Declare a configuration key with its default, a line of documentation, and what its value may be.

    ``words`` are texts that a number may be replaced by.
    """
    bounds = {"at least": least, "above": above, "below": below}
    bounds = {k: v for k, v in bounds.items() if v is not None}
    metadata = {"help": help, "bounds": bounds, "choices": choices, "words": words}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def nearest(word: str, words: list[str] | tuple[str, ...]) -> str:
    """Give ``"; did you mean 'x'?"`` for the most similar known word, or nothing.

    Example:
        >>> nearest("solvr", ["solver", "schedule"])
        "; did you mean 'solver'?"
    """
    matches = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


WITHIN = {"at least": operator.ge, "above": operator.gt, "below": operator.lt}


def check_values(config: Any, prefix: str = "") -> None:
    """Require every enumerated key to have one of its values, and every bounded one to keep to its bounds.

    Raises:
        ValueError: Naming the key, what it may be, and the nearest choice.
    """
    for f in fields(config):
        value = getattr(config, f.name)
        choices, bounds = f.metadata.get("choices", ()), f.metadata.get("bounds", {})
        if is_dataclass(value):
            check_values(value, f"{prefix}{f.name}.")
        elif value is None:
            continue
        elif choices and value not in choices:
            raise ValueError(
                f"{prefix}{f.name} must be one of {', '.join(choices)}: got {value!r}{nearest(str(value), choices)}"
            )
        elif value not in f.metadata.get("words", ()) and not _within(value, bounds):
            meaning = " and ".join(f"{word} {limit}" for word, limit in bounds.items())
            names = "".join(f" or {word}" for word in f.metadata.get("words", ()))
            raise ValueError(f"{prefix}{f.name} must be {meaning}{names}: got {value}")


def _within(value: Any, bounds: dict[str, float]) -> bool:
    numbers = isinstance(value, int | float)
    return not bounds or (numbers and all(WITHIN[word](value, limit) for word, limit in bounds.items()))
