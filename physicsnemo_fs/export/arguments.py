# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers that users set on a model."""

import operator
from typing import Any

from physicsnemo_fs.errors import InputError


def whole(name: str, value: Any, least: int | None = None) -> int:
    """Give a whole number, of numpy or torch too, as one of Python.

    Args:
        name: What it is, for the message.
        value: The number.
        least: The least that it may be.

    Raises:
        InputError: If it is no integer or too small.

    Example:
        >>> import numpy as np
        >>> whole("number_of_samples", np.int64(3), 1)
        3
    """
    try:
        found = operator.index(value)
    except TypeError:
        found = None
    if found is None or (least is not None and found < least):
        bound = "" if least is None else f" of {least} or more"
        raise InputError(f"{name} must be a whole number{bound}: got {value!r}; set another")
    return found
