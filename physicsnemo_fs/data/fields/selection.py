# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Choices along the dimensions of a variable that are neither time, rows nor columns."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr

from physicsnemo_fs.data.fields.kinds import LEAD_TIME, LEVEL, TIME
from physicsnemo_fs.data.fields.moments import hours
from physicsnemo_fs.data.splits import parse_duration, require_fixed
from physicsnemo_fs.errors import InputError

MOST_LISTED = 8


def selectable(array: xr.DataArray) -> frozenset[str]:
    """Give the names that a choice may be of: dimensions, and coordinates that have one value."""
    return frozenset(map(str, array.dims)) | {str(name) for name, c in array.coords.items() if c.ndim == 0}


def check_known(select: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse choices along dimensions that no variable has.

    Raises:
        InputError: Naming the most similar dimension.

    Example:
        >>> check_known({"number": 0}, {"time", "number"})
    """
    for name in select:
        if name not in known:
            close = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.4)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"select must name dimensions: no variable has {name!r}{hint} ({', '.join(sorted(known))})"
            )


def check_single(array: xr.DataArray, select: Mapping[str, Any]) -> None:
    """Refuse a choice that is not the one value of a coordinate without a dimension.

    Raises:
        InputError: If there is one.
    """
    for name in map(str, set(select) & set(map(str, array.coords))):
        if array[name].ndim == 0 and not len(_matching(array[name], select[name])):
            raise InputError(
                f"{name!r} of {array.name!r} is {_text(array[name])[0]} only: got {select[name]!r}; correct it"
            )


def position_of(array: xr.DataArray, dim: str, select: Mapping[str, Any]) -> int:
    """Give the position along a dimension that is chosen, or the only one.

    Raises:
        InputError: If the choice is open, or of none of the values.
    """
    coordinate = array[dim] if dim in array.coords else xr.DataArray(np.arange(array.sizes[dim]), dims=dim, name=dim)
    if dim not in select:
        if array.sizes[dim] == 1:
            return 0
        others = sorted(set(map(str, select)) - selectable(array))
        raise InputError(_open_choice(array, coordinate) + (f"; it has no {others[0]!r}" if others else ""))
    match = _matching(coordinate, select[dim])
    if not len(match):
        texts = _text(coordinate)
        raise InputError(
            f"dimension {dim!r} of {array.name!r} has no {select[dim]!r}{_nearest(coordinate, select[dim])}; choose "
            f"from {texts[0]} to {texts[-1]}"
        )
    return int(match[0])


def _open_choice(array: xr.DataArray, coordinate: xr.DataArray) -> str:
    dim, texts = coordinate.name, _text(coordinate)
    listed = ", ".join(texts[:MOST_LISTED]) + (", ..." if len(texts) > MOST_LISTED else "")
    if coordinate.dtype.kind in "iuf" and TIME.likeness(dim, coordinate.variable):
        return (
            f"the times {dim!r} of {array.name!r} are numbers without a beginning ({listed}); give them units such as "
            f"'hours since 2000-01-01', or choose one by select={{{dim}: {texts[0]}}}"
        )
    is_level = coordinate.dtype.kind in "iuf" and LEVEL.likeness(dim, coordinate.variable)
    by_level = f"by a level, as in {array.name}@{texts[0]}, or " if is_level else ""
    return (
        f"variable {array.name!r} has a dimension {dim!r} ({listed}); choose from it {by_level}by "
        f"select={{{dim}: {texts[0]}}}"
    )


def _matching(coordinate: xr.DataArray, wanted: Any) -> np.ndarray:
    """Give the positions at which a coordinate has a value; none if it cannot have it."""
    values = np.atleast_1d(coordinate.values)
    if LEAD_TIME.likeness(coordinate.name, coordinate.variable) and isinstance(wanted, str):
        length = require_fixed(parse_duration(wanted), "a lead time")
        return np.flatnonzero(np.isclose(np.atleast_1d(hours(coordinate).values), length / np.timedelta64(1, "h")))
    if values.dtype.kind == "m":
        return np.flatnonzero(values == require_fixed(parse_duration(str(wanted)), "a choice"))
    if values.dtype.kind not in "iufM" or isinstance(wanted, bool):
        return np.flatnonzero([str(value) == str(wanted) for value in values])
    try:
        if values.dtype.kind == "M":
            return np.flatnonzero(values == np.datetime64(str(wanted)))
        return np.flatnonzero(np.isclose(values, float(wanted), rtol=1e-5, atol=1e-12))
    except (ValueError, TypeError):
        return np.empty(0, int)


def _nearest(coordinate: xr.DataArray, wanted: Any) -> str:
    values, texts = np.atleast_1d(coordinate.values), _text(coordinate)
    if values.dtype.kind in "iuf" and isinstance(wanted, int | float):
        return f": the nearest is {texts[int(np.abs(values.astype(np.float64) - wanted).argmin())]}"
    close = difflib.get_close_matches(str(wanted), texts, n=1, cutoff=0.4) if values.dtype.kind not in "iufmM" else []
    return f": did you mean {close[0]!r}?" if close else ""


def _text(coordinate: xr.DataArray) -> list[str]:
    values = np.atleast_1d(coordinate.values)
    if values.dtype.kind == "m":
        return [f"{step:g}h" for step in (values / np.timedelta64(1, "h")).tolist()]
    if values.dtype.kind == "f":
        return [f"{value:g}" for value in values.tolist()]
    return [str(value) for value in values]
