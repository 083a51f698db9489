# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Observations at points: what stations, buoys and satellites report, one row an observation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from physicsnemo_fs.errors import InputError


@dataclass(frozen=True)
class Observed:
    """How one variable stands in a table.

    Args:
        column: Column (or xarray variable) that holds the values.
        error: Standard deviation of the observation error in the variable's unit, or the column that holds it;
            ``None`` where it is unknown.
        unit: Unit of the values; ``None`` takes the table's own, if it says one.
    """

    column: str
    error: float | str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class PointTable:
    """Observations in the order of their times.

    Args:
        time: ``datetime64[ns]``, ascending, shape ``(row,)``.
        latitude: Degrees north.
        longitude: Degrees east, in [-180, 180).
        value: What was observed, in the unit of its variable; finite.
        error: Standard deviation of the observation error, NaN where it is unknown.
        variable: Position in ``variables``.
        variables: Names.
        units: Unit of each variable, empty where unknown.
        dropped: Values that the source had, but without a number, a place or a time.

    Raises:
        InputError: If the columns differ in length, times descend, or a place is not on the globe.

    Example:
        >>> days = np.array(["2021-01-01", "2021-01-03"], "datetime64[ns]")
        >>> table = PointTable(days, np.array([50.0, -10.0]), np.array([7.0, 20.0]), np.array([280.0, 300.0], "f4"),
        ...                    np.full(2, np.nan, "f4"), np.array([0, 0]), ("t2m",), ("K",))
        >>> table.window("2021-01-01", "2021-01-02").value.tolist()
        [280.0]
    """

    time: np.ndarray
    latitude: Float[np.ndarray, " row"]
    longitude: Float[np.ndarray, " row"]
    value: Float[np.ndarray, " row"]
    error: Float[np.ndarray, " row"]
    variable: Int[np.ndarray, " row"]
    variables: tuple[str, ...]
    units: tuple[str, ...]
    dropped: int = 0

    def __post_init__(self):
        lengths = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise InputError(f"columns of a table must have one length: got {lengths}")
        if len(self) and not (np.diff(self.time) >= np.timedelta64(0)).all():
            raise InputError("times of a table must ascend: they do not; sort its rows by time")
        off = ~(np.abs(self.latitude) <= 90) | ~(np.abs(self.longitude) <= 180)
        if off.any():
            row = int(np.argmax(off))
            raise InputError(
                f"places must have latitude in [-90, 90] and longitude in [-180, 180]: row {row} has "
                f"{self.latitude[row]:g}, {self.longitude[row]:g}; are the columns exchanged?"
            )

    def __len__(self) -> int:
        return len(self.time)

    def where(self, keep: Bool[np.ndarray, " row"]) -> "PointTable":
        """Give the rows where ``keep`` is true."""
        return replace(self, **{name: getattr(self, name)[keep] for name in COLUMNS})

    def window(
        self, start: str | np.datetime64, end: str | np.datetime64, region: Sequence[float] | None = None
    ) -> "PointTable":
        """Give the rows of ``start <= time < end``, within a region.

        Args:
            start: First moment, ISO 8601.
            end: First moment after the window.
            region: ``[south, north, west, east]`` in degrees, edges included; west may be above east, across the
                date line, and either convention of longitudes serves.

        Raises:
            InputError: If the window ends before it starts, or the region is none.
        """
        first, last = (np.datetime64(moment).astype("datetime64[ns]") for moment in (start, end))
        if not first <= last:
            raise InputError(f"a window must end after it starts: got {start} and {end}; exchange them")
        rows = slice(*np.searchsorted(self.time, [first, last]))
        part = replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})
        return part if region is None else part.where(in_region(part.latitude, part.longitude, region))

    def of(self, variable: str) -> "PointTable":
        """Give the rows of one variable.

        Raises:
            InputError: If the table has no such variable.
        """
        if variable not in self.variables:
            raise InputError(f"the table must hold {variable!r}: it has {', '.join(self.variables)}; choose one")
        return self.where(self.variable == self.variables.index(variable))


COLUMNS = ("time", "latitude", "longitude", "value", "error", "variable")


def in_region(
    latitude: Float[np.ndarray, " row"], longitude: Float[np.ndarray, " row"], region: Sequence[float]
) -> Bool[np.ndarray, " row"]:
    """Give which places lie in ``[south, north, west, east]``, edges included.

    Raises:
        InputError: If the region is no such list.

    Example:
        >>> in_region(np.array([0.0, 0.0, 0.0]), np.array([-179.0, 175.0, 0.0]), [-10, 10, 170, 190]).tolist()
        [True, True, False]
    """
    if len(region) != 4 or not -90 <= region[0] < region[1] <= 90:
        raise InputError(
            f"a region must be [south, north, west, east] in degrees: got {list(region)}; write for example "
            "[49, 61, -11, 2]"
        )
    south, north, west, east = region
    width = 360.0 if east - west >= 360 else (east - west) % 360
    return (latitude >= south) & (latitude <= north) & ((longitude - west) % 360 <= width)


def assemble(
    time: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
    columns: Mapping[str, tuple[np.ndarray, np.ndarray, str]],
) -> PointTable:
    """Make a table from reports that each hold several variables.

    Args:
        time: Time of each report.
        latitude: Degrees north of each report.
        longitude: Degrees east, in either convention.
        columns: Values, errors and unit of each variable, one entry per report, NaN where missing.

    Raises:
        InputError: If a report's place is not on the globe, or a variable has no value at all.

    Example:
        >>> day = np.array(["2021-01-01"] * 2, "datetime64[ns]")
        >>> wind = np.array([3.0, np.nan], "f4")
        >>> table = assemble(day, np.zeros(2), np.array([350.0, 0.0]), {"u10": (wind, 0 * wind + 1, "m s-1")})
        >>> len(table), table.longitude.tolist(), table.dropped
        (1, [-10.0], 1)
    """
    placed = ~np.isnat(time) & np.isfinite(latitude) & np.isfinite(longitude)
    parts, dropped = [], 0
    for code, (name, (value, error, _)) in enumerate(columns.items()):
        kept = placed & np.isfinite(value)
        if len(value) and not kept.any():
            raise InputError(f"observations of {name!r} must hold a value: all {len(value)} are missing; leave it out")
        dropped += int(len(value) - kept.sum())
        rows = np.flatnonzero(kept)
        parts.append((rows, value[rows], error[rows], np.full(len(rows), code)))
    rows, value, error, variable = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(time[rows], kind="stable")
    rows = rows[order]
    return PointTable(
        time=time[rows].astype("datetime64[ns]"),
        latitude=latitude[rows].astype(np.float64),
        longitude=(longitude[rows].astype(np.float64) + 180) % 360 - 180,
        value=value[order].astype(np.float32),
        error=error[order].astype(np.float32),
        variable=variable[order],
        variables=tuple(columns),
        units=tuple(unit for _, _, unit in columns.values()),
        dropped=dropped,
    )
