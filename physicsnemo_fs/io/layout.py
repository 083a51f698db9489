# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The layout of files of generated ensembles, NetCDF or Zarr, version 1.1.

===================  =================================================================================
``/``                ``lat(y, x)``, ``lon(y, x)``, ``time(time)``, ``y(y)``, ``x(x)`` and nothing else
``/input``           coarse fields of the valid time on the output grid, ``(time, y, x)``
``/input_native``    the same fields on their own grid, with their own ``y`` and ``x``
``/truth``           ``(time, y, x)``, if there is truth
``/regression``      regression mean, ``(time, y, x)``, if there is one
``/prediction``      ``(ensemble, time, y, x)``, with ``ensemble(ensemble)`` and, if known, ``seed(ensemble)``
``/provenance``      ``block(time)``, ``crs`` (grid and reference system), attributes ``record`` (JSON), ``complete``
===================  =================================================================================

The groups ``input``, ``truth`` and ``prediction`` and the content of the root follow CorrDiff, whose scorer
merges the root into each group and fails on anything else there. Attributes follow CF-1.11 and ACDD-1.3. No
variable is a string: opening a file with one twice crashes the NetCDF library (netcdf4-python issue 1444).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physicsnemo_fs.data.fields.kinds import LEAD_TIME
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError

LAYOUT_VERSION = "1.1"
LAYOUT_ATTRIBUTE = "physicsnemo_fs_layout"
COMPLETE = "complete"
"""Attribute of ``/provenance`` that is 1 once every member of every time is there."""
ENSEMBLE_ALIASES = ("ensemble", "sample", "member", "number", "realization")
X_NAMES = ("x", "xc", "lon", "lons", "longitude", "ilon", "rlon", "easting", "west_east")
"""Names of a dimension from west to east, which comes last in fields that are read."""
RESERVED_NAMES = frozenset({"time", "y", "x", "lat", "lon", "seed", *ENSEMBLE_ALIASES})
CALENDAR = "proleptic_gregorian"
TIME_UNITS = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}

OTHER_FRAME = re.compile(r"@[+-]\d+$")
"""Ends the name of an input at another time of the window; a level is written ``z@500``."""


@dataclass(frozen=True)
class EnsembleSpec:
    """Everything about a file of generated ensembles that is known before the first sample.

    Args:
        grid: Grid of the output.
        coarse_grid: Grid of the coarse input.
        times: Valid times, ``datetime64``, strictly increasing, shape ``(time,)``.
        blocks: Integer label of the statistically independent block (trajectory, day) of each time.
        output_channels: Generated variables.
        input_channels: Coarse channels; those of other frames (``name@-1``) are not written.
        member_seeds: Seed of each ensemble member, all different.
        provenance: What made the file (resolved config, checkpoint hashes, sampler, versions), in JSON
            types. ``"model_name"`` names the model in tables of scores.
        has_truth: Whether truth is written for every time.
        has_regression: Whether the regression mean is written for every time.
        seeds_known: Whether ``member_seeds`` are seeds; otherwise they number the members and are not written.

    Raises:
        InputError: If times, blocks, seeds, names or provenance break the rules above.

    Example:
        >>> days = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]")
        >>> spec = EnsembleSpec(
        ...     Grid((8, 8), (1.0, 1.0)), Grid((2, 2), (1.0, 1.0)), days, np.array([0, 1]),
        ...     (Channel("t2m", "K"),), (Channel("t2m", "K"), Channel("t2m@-1", "K")), (0, 1, 2),
        ... )
        >>> spec.shape, [channel.name for _, channel in spec.current_inputs]
        ((3, 2, 8, 8), ['t2m'])
    """

    grid: Grid
    coarse_grid: Grid
    times: np.ndarray
    blocks: np.ndarray
    output_channels: tuple[Channel, ...]
    input_channels: tuple[Channel, ...]
    member_seeds: tuple[int, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    has_truth: bool = True
    has_regression: bool = True
    seeds_known: bool = True

    def __post_init__(self):
        object.__setattr__(self, "times", np.asarray(self.times))
        object.__setattr__(self, "blocks", np.asarray(self.blocks))
        object.__setattr__(self, "member_seeds", tuple(int(seed) for seed in self.member_seeds))
        self._check_times()
        self._check_members()
        _check_names([channel.name for channel in self.output_channels], "output")
        _check_names([channel.name for _, channel in self.current_inputs], "input")
        _check_positions(self.grid)
        encode_provenance(self.provenance)

    def _check_times(self) -> None:
        if self.times.ndim != 1 or self.times.size == 0 or self.times.dtype.kind != "M":
            raise InputError(
                "times must be one or more datetime64 values on one axis: got dtype "
                f"{self.times.dtype}, shape {self.times.shape}"
            )
        if np.isnat(self.times).any() or not (np.diff(self.times.astype("datetime64[ns]").astype(np.int64)) > 0).all():
            raise InputError("times must be strictly increasing: got unsorted or repeated times; sort them")
        if self.blocks.shape != self.times.shape or self.blocks.dtype.kind not in "iu":
            raise InputError(
                f"blocks must hold one integer for each of {self.times.size} times: got dtype "
                f"{self.blocks.dtype}, shape {self.blocks.shape}"
            )

    def _check_members(self) -> None:
        if not self.member_seeds or len(set(self.member_seeds)) != len(self.member_seeds):
            raise InputError(
                f"member seeds must be one or more and all different: got {list(self.member_seeds)}; "
                "equal seeds make equal members"
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape ``(ensemble, time, y, x)`` of a predicted variable."""
        return len(self.member_seeds), self.times.size, *self.grid.shape

    @property
    def current_inputs(self) -> tuple[tuple[int, Channel], ...]:
        """Position and channel of each coarse input at the valid time itself."""
        return tuple((i, c) for i, c in enumerate(self.input_channels) if not OTHER_FRAME.search(c.name))

    @property
    def field_groups(self) -> dict[str, tuple[Channel, ...]]:
        """The ``(time, y, x)`` groups of the file and their variables."""
        inputs = tuple(channel for _, channel in self.current_inputs)
        groups = {"input": inputs, "input_native": inputs}
        if self.has_truth:
            groups["truth"] = self.output_channels
        if self.has_regression:
            groups["regression"] = self.output_channels
        return groups


def _check_names(names: list[str], kind: str) -> None:
    bad = [name for name in names if not name or "/" in name or name in RESERVED_NAMES]
    if bad or len(set(names)) != len(names):
        raise InputError(
            f"{kind} variables need different names without '/' and other than {sorted(RESERVED_NAMES)}: got {names}"
        )


def _check_positions(grid: Grid) -> None:
    for name, value in (("latitude", grid.latitude), ("longitude", grid.longitude)):
        if (value is None) != (grid.latitude is None):
            raise InputError("a geographic grid needs both latitude and longitude: got one of them")
        if value is not None and (value.shape != grid.shape or not np.isfinite(value).all()):
            raise InputError(f"{name} must be finite and of the grid's shape {grid.shape}: got shape {value.shape}")


def encode_provenance(provenance: Mapping[str, Any]) -> str:
    """Give the JSON text of a provenance record, with sorted keys.

    Raises:
        InputError: If a value is not of a JSON type.
    """
    try:
        return json.dumps(dict(provenance), sort_keys=True, allow_nan=False, indent=1)
    except (TypeError, ValueError) as error:
        raise InputError(f"provenance must hold finite JSON values only: {error}") from error


def field_order(dimensions: Sequence[str]) -> tuple[str, ...]:
    """Give the dimensions of a field in the order in which it is read: those beside y and x as they come, then y and x.

    Example:
        >>> field_order(("x", "y", "number", "time")), field_order(("time", "lat", "lon"))
        (('number', 'time', 'y', 'x'), ('time', 'lat', 'lon'))
    """
    others = [name for name in dimensions if name in ("time", *ENSEMBLE_ALIASES) or name in LEAD_TIME.names]
    plane = [name for name in dimensions if name not in others]
    if len(plane) == 2 and plane[0].lower() in X_NAMES and plane[1].lower() not in X_NAMES:
        plane.reverse()
    return (*others, *plane)


def encode_times(times: np.ndarray) -> tuple[np.ndarray, str]:
    """Give int64 CF times in the coarsest unit that is exact, and the CF unit.

    Example:
        >>> encode_times(np.array(["1970-01-01T00:01", "1970-01-01T00:00:02"], dtype="datetime64[ns]"))
        (array([60,  2]), 'seconds since 1970-01-01 00:00:00')
    """
    nanoseconds = times.astype("datetime64[ns]").astype(np.int64)
    unit = next(name for name, size in TIME_UNITS.items() if not (nanoseconds % size).any())
    return nanoseconds // TIME_UNITS[unit], f"{unit} since 1970-01-01 00:00:00"
