# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Times as numbers with a unit and a beginning, as the CF conventions have them, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int64

from physicsnemo_fs.errors import InputError

EPOCH = np.datetime64("1970-01-01", "ns")


def encode_times(times: np.ndarray) -> tuple[Int64[np.ndarray, " time"], dict[str, str]]:
    """Give times as whole seconds, or nanoseconds where they are finer, with their CF attributes."""
    nanoseconds = (times.astype("datetime64[ns]") - EPOCH).astype(np.int64)
    whole = not (nanoseconds % 10**9).any()
    unit = "seconds" if whole else "nanoseconds"
    attributes = {
        "units": f"{unit} since 1970-01-01",
        "calendar": "proleptic_gregorian",
        "standard_name": "time",
        "axis": "T",
    }
    return (nanoseconds // 10**9 if whole else nanoseconds), attributes


def decode_times(values: np.ndarray, attributes: Mapping[str, Any], where: Any) -> np.ndarray:
    """Give CF times as ``datetime64[ns]``.

    Args:
        values: The numbers.
        attributes: Attributes of their variable.
        where: The file, for messages.

    Raises:
        InputError: If they are none in the standard calendar.

    Example:
        >>> times = np.array(["2019-06-10T00:04", "2019-06-10T00:04:00.000000001"], "datetime64[ns]")
        >>> bool((decode_times(*encode_times(times), "a.zarr") == times).all())
        True
    """
    try:
        times = xr.decode_cf(xr.Dataset({"time": xr.Variable("time", values, dict(attributes))}))["time"].values
    except ValueError as error:
        raise InputError(
            f"times of {where} must follow CF: they do not ({error}); restore the file from where it came"
        ) from error
    if times.dtype.kind != "M" or np.isnat(times).any():
        raise InputError(
            f"times of {where} must be in the standard calendar: got {times.dtype}; restore the file from where it came"
        )
    return times.astype("datetime64[ns]")
