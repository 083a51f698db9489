# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Names and records of a training store: a Zarr 3 folder with one group a region.

``<region>/fine``, ``<region>/coarse`` and ``<region>/invariants`` hold the fields, each a group that xarray opens;
``<region>`` itself holds ``time``, ``split`` and ``block``.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

FORMAT = "physicsnemo_fs store 1"
Part = Literal["fine", "coarse", "invariants"]
PARTS: tuple[Part, ...] = ("fine", "coarse", "invariants")
LONGEST_CHUNK = 512
EPOCH = np.datetime64("1970-01-01", "ns")


def grid_record(grid: Grid) -> dict[str, Any]:
    """Give a grid as JSON types, without its geographic coordinates."""
    return {
        "shape": [int(n) for n in grid.shape],
        "extent": [float(v) for v in grid.extent],
        "origin": [float(v) for v in grid.origin],
        "registration": grid.registration,
        "boundary": grid.boundary,
        "unit": grid.unit,
        "projection": None if grid.projection is None else {k: _plain(v) for k, v in grid.projection.items()},
    }


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def grid_of(record: Mapping[str, Any], latitude: np.ndarray | None, longitude: np.ndarray | None) -> Grid:
    """Give the grid that :func:`grid_record` described.

    Example:
        >>> grid = Grid((2, 3), (2.0, 3.0))
        >>> grid_of(grid_record(grid), None, None) == grid
        True
    """
    pairs: dict[str, Any] = {name: tuple(record[name]) for name in ("shape", "extent", "origin")}
    rest = {name: record[name] for name in ("registration", "boundary", "unit", "projection")}
    return Grid(**pairs, **rest, latitude=latitude, longitude=longitude)


def encode_times(times: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
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


def decode_times(values: np.ndarray, units: str) -> np.ndarray:
    """Give the times that :func:`encode_times` wrote, ``datetime64[ns]``.

    Example:
        >>> times = np.array(["2019-06-10T00:04"], "datetime64[ns]")
        >>> values, attributes = encode_times(times)
        >>> bool((decode_times(values, attributes["units"]) == times).all())
        True
    """
    scale = {"seconds": 10**9, "nanoseconds": 1}.get(units.split(" since ")[0])
    if scale is None:
        raise InputError(f"times of a store must be in seconds or nanoseconds: got {units!r}; build the store again")
    return EPOCH + (np.asarray(values, np.int64) * scale).astype("timedelta64[ns]")
