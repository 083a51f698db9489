# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""When a field is valid, and how long after the start of its forecast."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from physicsnemo_fs.data.fields.kinds import LEAD_TIME, START, TIME, find_coordinate
from physicsnemo_fs.errors import InputError

CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
HOURS_PER_UNIT = {"h": 1.0, "hour": 1.0, "hr": 1.0, "d": 24.0, "day": 24.0, "min": 1 / 60, "minute": 1 / 60}
VALID_NAMES = ("valid_time",)
"""Names that mean the valid time whatever the attributes say."""


def find_times(dataset: xr.Dataset, array: xr.DataArray) -> tuple[xr.DataArray | None, xr.DataArray | None]:
    """Find the valid times and the lead times of a variable; ``None`` where there are none.

    Where a file has the start of a forecast and its lead times only, the valid time is their sum. A coordinate ``time``
    without a standard name is the start if the lead times have a dimension of their own.

    Raises:
        InputError: If the calendar is not the usual one, or the valid time cannot be told.
    """
    time, start = _moments(dataset, array)
    for moments in (time, start):
        _check_calendar(moments)
    lead = find_coordinate(dataset, array, LEAD_TIME)
    if time is None or time.dtype.kind != "M":
        return _from_start(array, start, lead)
    if lead is None or _is_valid_time(time, lead, start):
        return time, lead
    if set(lead.dims) - set(time.dims):
        return _after(time, lead), lead
    raise InputError(
        f"{time.name!r} of {array.name!r} may be the start of a forecast or the valid time, "
        f"{float(hours(lead).max()):g} h later; set its attribute standard_name to forecast_reference_time or time"
    )


def refuse_undated(dataset: xr.Dataset, array: xr.DataArray, select: Mapping[str, Any]) -> None:
    """Refuse a coordinate that should be the times but holds text, or years that do not fit 64 bits of nanoseconds.

    Raises:
        InputError: If the variable has such a one and nothing is chosen from it.
    """
    time = find_coordinate(dataset, array, TIME)
    if time is None or time.dtype.kind not in "OSU" or not time.size or set(map(str, time.dims)) & set(select):
        return
    raise InputError(
        f"times must be numbers as in 'hours since 2000-01-01', of years from 1678 to 2261: {time.name!r} of "
        f"{array.name!r} begins with {time.values.ravel()[0]!s}; write them so, or choose one by "
        f"select={{{time.name}: x}}"
    )


def _moments(dataset: xr.Dataset, array: xr.DataArray) -> tuple[xr.DataArray | None, xr.DataArray | None]:
    """Give the coordinate most like a valid time and the one most like a start, never the same."""
    time, start = (find_coordinate(dataset, array, kind) for kind in (TIME, START))
    if time is not None and START.likeness(time.name, time.variable) > TIME.likeness(time.name, time.variable):
        others = dataset.drop_vars([time.name])
        return find_coordinate(others, array, TIME), start
    return time, None if start is None or (time is not None and start.name == time.name) else start


def _check_calendar(time: xr.DataArray | None) -> None:
    calendar = "standard" if time is None else str(time.encoding.get("calendar", "standard")).lower()
    if time is not None and calendar not in CALENDARS:
        raise InputError(
            f"times must be of the standard calendar, but {time.name!r} is of {calendar!r}; convert the file by "
            "xarray's Dataset.convert_calendar('standard', align_on='date')"
        )


def _from_start(
    array: xr.DataArray, start: xr.DataArray | None, lead: xr.DataArray | None
) -> tuple[xr.DataArray | None, xr.DataArray | None]:
    if start is None or start.dtype.kind != "M":
        return None, None
    if lead is not None:
        return _after(start, lead), lead
    if start.size == 1:
        return None, None
    raise InputError(
        f"variable {array.name!r} has the start of its forecasts, {start.name!r}, but neither lead nor valid times; "
        "add a coordinate valid_time to the file"
    )


def _is_valid_time(time: xr.DataArray, lead: xr.DataArray, start: xr.DataArray | None) -> bool:
    """Say whether a coordinate is surely the valid time.

    It is where the file says so, has the start beside it, or has lead times that vary along with it or are all 0.
    """
    if str(time.attrs.get("standard_name", "")) == "time" or str(time.name).lower() in VALID_NAMES:
        return True
    if set(lead.dims) - set(time.dims):
        return False
    ahead = hours(lead).values
    return start is not None or not ahead.any() or bool(np.ptp(ahead) > 0)


def _after(start: xr.DataArray, lead: xr.DataArray) -> xr.DataArray:
    return start + (hours(lead) * 3.6e12).round().astype("timedelta64[ns]")


def hours(lead: xr.DataArray) -> xr.DataArray:
    """Give lead times in hours.

    Raises:
        InputError: If their unit is unknown.
    """
    if lead.dtype.kind == "m":
        return lead / np.timedelta64(1, "h")
    unit = str(lead.attrs.get("units", "h")).lower().rstrip("s")
    if unit not in HOURS_PER_UNIT:
        raise InputError(f"lead times must be in hours, days or minutes: {lead.name!r} is in {unit!r}; correct it")
    return lead.astype(np.float64) * HOURS_PER_UNIT[unit]
