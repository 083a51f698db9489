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

FORMAT = "physicsnemo_fs store 1"
Part = Literal["fine", "coarse", "invariants"]
PARTS: tuple[Part, ...] = ("fine", "coarse", "invariants")
LONGEST_CHUNK = 512


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
