# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which part of a file holds a variable, and at which of its levels."""

import difflib
from collections.abc import Sequence

import numpy as np
import xarray as xr

from physicsnemo_fs.data.fields.kinds import LATITUDE, LEAD_TIME, LEVEL, LONGITUDE, MEMBER, START, TIME, X, Y
from physicsnemo_fs.errors import InputError

NO_LEVELS = (LATITUDE, LONGITUDE, Y, X, TIME, START, LEAD_TIME, MEMBER)
PASCAL_PER_HPA = 100.0


def find_variable(parts: Sequence[xr.Dataset], name: str, level: float | None = None) -> xr.Dataset:
    """Find the part of a file that holds a variable, at a level if one is asked for.

    Raises:
        InputError: Naming the most similar variable if there is none of this name, or the levels there are.
    """
    found = [part for part in parts if name in part.data_vars]
    if not found:
        known = sorted({str(known) for part in parts for known in part.data_vars})
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        close = [other for other in known if other.lower() == name.lower()] or close
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"no variable {name!r}{hint} (variables: {', '.join(known) or 'none'})")
    if level is None:
        return found[0]
    for part in found:
        if level_dimension(part[name], level) is not None or _scalar_level(part[name], level):
            return part
    raise InputError(_no_level(name, level, [c for part in found for c in level_coordinates(part[name])]))


def level_dimension(array: xr.DataArray, level: float) -> tuple[str, int] | None:
    """Give the dimension whose coordinate holds a level, and where."""
    for coordinate in level_coordinates(array):
        near = np.isclose(np.atleast_1d(coordinate.values), level, rtol=1e-5)
        if coordinate.ndim == 1 and near.any():
            return str(coordinate.dims[0]), int(np.flatnonzero(near)[0])
    return None


def level_coordinates(array: xr.DataArray) -> list[xr.DataArray]:
    """Give the numeric coordinates of a variable that may be levels: those that surely are, if there are any."""
    possible = [
        coordinate
        for name, coordinate in array.coords.items()
        if coordinate.ndim < 2
        and coordinate.dtype.kind in "iuf"
        and not any(kind.likeness(name, coordinate.variable) for kind in NO_LEVELS)
    ]
    sure = [c for c in possible if LEVEL.likeness(c.name, c.variable)]
    return sure or possible


def _scalar_level(array: xr.DataArray, level: float) -> bool:
    return any(c.ndim == 0 and np.isclose(float(c.values), level, rtol=1e-5) for c in level_coordinates(array))


def _no_level(name: str, level: float, coordinates: Sequence[xr.DataArray]) -> str:
    """Say which levels there are, and which of them is meant if the unit may have been mistaken."""
    levels = sorted({float(v) for c in coordinates for v in np.atleast_1d(c.values)})
    if not levels:
        return f"variable {name!r} has no levels: got {name}@{level:g}; write {name}"
    unit = next((str(c.attrs["units"]) for c in coordinates if c.attrs.get("units") not in (None, "", "1")), "")
    listed = ", ".join(f"{known:g}" for known in levels) + (f" {unit}" if unit else "")
    for factor in (PASCAL_PER_HPA, 1 / PASCAL_PER_HPA):
        meant = [known for known in levels if np.isclose(known, level * factor, rtol=1e-5)]
        if meant:
            return f"variable {name!r} has no level {level:g}: its levels are {listed}; write {name}@{meant[0]:g}"
    return f"variable {name!r} has no level {level:g}; choose one of its levels ({listed})"
