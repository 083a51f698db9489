# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Variables of NetCDF, Zarr and GRIB files as one lazy record over time."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.fields.array_files import OPEN_FILES, list_files
from physicsnemo_fs.data.fields.catalogue import Record, find_records
from physicsnemo_fs.data.fields.geography import runs_of
from physicsnemo_fs.data.fields.placement import Placement, place
from physicsnemo_fs.data.fields.selection import check_known
from physicsnemo_fs.data.splits import parse_period
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError


def open_fields(
    paths: str | Path | Sequence[str | Path],
    variables: Sequence[str],
    *,
    engine: str | None = None,
    period: Sequence[str] | None = None,
    region: Sequence[float] | None = None,
    missing_value: float | None = None,
    select: Mapping[str, Any] | None = None,
    even_spacing: bool = True,
    probes: int = 3,
    select_known: bool = True,
    single_values: bool = True,
) -> "GriddedFields":
    """Open variables of one or many files as one record; nothing but coordinates and a few probes is read.

    Time, latitude, longitude and map projections are found as the CF conventions and common usage mark them. Rows are
    given from south to north, columns from west to east, whatever the files do. The variables may lie in different
    files, each of which may hold one time or many.

    Args:
        paths: File, pattern, folder or Zarr store, or a list of them.
        variables: ``name``, ``name@level`` as in ``z@500``, ``group/name``, or ``new=name`` to rename.
        engine: xarray engine; ``None`` finds it by the files.
        period: ``[start, end]`` in ISO 8601, both included to their own precision.
        region: ``[south, north, west, east]`` in degrees, also across the date line. Cells with their centre in it are
            taken; it must not leave the files by more than a cell.
        missing_value: A further value that means none, in physical units; ``inf`` for infinite ones of either sign.
        select: Choice along further dimensions by coordinate, for example ``{"number": 0, "step": "6h"}``.
        even_spacing: Refuse coordinates that are not evenly spaced, such as Gaussian latitudes.
        probes: Times that are looked at for variables without any value; 0 for none.
        select_known: Refuse choices along dimensions that none of the variables has.
        single_values: Refuse a choice that is not the value of a coordinate without a dimension, as cfgrib gives them.

    Returns:
        The record, a :class:`physicsnemo_fs.data.types.Fields`.

    Raises:
        InputError: In one line the file, the variable and the remedy: if there are no files, a file is damaged, a
            variable is not there, times are of another calendar, unsorted or repeated, grids differ between files, the
            period or the region is empty, or a variable has no values.

    Example:
        >>> import tempfile, xarray as xr
        >>> path = Path(tempfile.mkdtemp()) / "t2m.nc"
        >>> times = np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]")
        >>> coordinates = {"time": times, "latitude": [51.0, 50.0], "longitude": [359.0, 0.0, 1.0]}
        >>> values = np.arange(12.0).reshape(2, 2, 3)
        >>> xr.Dataset({"t2m": (tuple(coordinates), values, {"units": "K"})}, coordinates).to_netcdf(path)
        >>> fields = open_fields(path, ["t2m"], period=["2020-01-02", "2020"])
        >>> fields.read([0])[0, 0].tolist(), fields.grid.x.tolist(), fields.channels[0].unit
        ([[9.0, 10.0, 11.0], [6.0, 7.0, 8.0]], [-1.0, 0.0, 1.0], 'K')
    """
    if not variables:
        raise InputError("variables must be named: got none; set for example dataset.target=[t2m]")
    if select is not None and not isinstance(select, Mapping):
        raise InputError(f"select must be a mapping by dimension: got {select!r}; write for example {{number: 0}}")
    records = find_records(list_files(paths), list(variables), engine, select or {}, single_values)
    if select_known:
        check_known(select or {}, frozenset().union(*(record.selectable for record in records)))
    _check_same_times(records)
    times = records[0].times
    first, count = _period(records[0], period)
    try:
        placement = place(records[0].coordinates, region, even_spacing)
    except InputError as error:
        raise InputError(f"{records[0].parts[0].path}: {error}") from error
    fields = GriddedFields(records, times[first : first + count], first, placement, missing_value)
    if probes:
        _check_values(fields, probes)
    return fields


class GriddedFields:
    """Variables on one grid over time, read from files when they are asked for; made by :func:`open_fields`.

    Safe to use from several threads and processes, and to pickle.

    Attributes:
        channels: The variables.
        grid: The grid; rows and columns ascend.
        selectable: Names that ``select`` may be of.
        times: Valid times; empty for static fields.
        lead_hours: Lead time of each time in hours, if the source has them.
    """

    thread_safe = True

    def __init__(
        self,
        records: Sequence[Record],
        times: np.ndarray,
        first: int,
        placement: Placement,
        missing_value: float | None,
    ):
        self.channels: tuple[Channel, ...] = tuple(record.channel for record in records)
        self.times = times
        leads = records[0].lead_hours
        self.lead_hours = None if leads is None else leads[first : first + len(times)]
        self._records = tuple(records)
        self.selectable: frozenset[str] = frozenset().union(*(record.selectable for record in records))
        self._first = first
        self._placement = placement
        self.grid: Grid = placement.grid()
        self._missing = missing_value

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "grid"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.grid = self._placement.grid()

    @property
    def paths(self) -> list[Path]:
        """The files, in order of time."""
        return list(dict.fromkeys(part.path for record in self._records for part in record.parts))

    def file_of(self, channel: int, position: int) -> str:
        """Name the file that holds a variable at a position in ``times``, and say if it limits its numbers."""
        record = self._records[channel]
        ((part, _, _),) = record.located(np.array([position + self._first]))
        ranged = ", whose valid_min, valid_max or valid_range count too" if record.parts[part].ranged else ""
        return f"{record.parts[part].path}{ranged}"

    def read(
        self, positions: Sequence[int], window: tuple[slice, slice] | None = None
    ) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields at some times in physical units, NaN where missing.

        Each chunk of a file is read once, whatever the order of the positions.

        Args:
            positions: Positions in ``times``; ``[0]`` for static fields.
            window: Rows and columns; ``None`` for all.

        Raises:
            InputError: If a file cannot be read.
            IndexError: If a position or the window lies outside.
        """
        wanted = np.asarray(positions, np.int64).reshape(-1)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < max(1, len(self.times)):
            raise IndexError(f"positions must lie in 0 ... {max(1, len(self.times)) - 1}: got {wanted.tolist()}")
        rows, columns = self._window(window)
        values = np.empty((len(wanted), len(self.channels), len(rows), len(columns)), np.float32)
        pieces = [(y, x) for y in _file_pieces(rows) for x in _file_pieces(columns)]
        for record, channel, part, start, stop, slots, local in self._tasks(wanted):
            for y, x in pieces:
                block = self._read_block(record, part, slice(start, stop), y[1], x[1])
                chosen = block[_compact(local - start)]
                values[_compact(slots), channel, y[0], x[0]] = _reordered(chosen, y[2], x[2])
        if self._missing is not None:
            missing = np.isinf(values) if np.isinf(self._missing) else values == np.float32(self._missing)
            values[missing] = np.nan
        return values

    def _window(self, window: tuple[slice, slice] | None) -> tuple[np.ndarray, np.ndarray]:
        orders = self._placement.rows.order, self._placement.columns.order
        if window is None:
            return orders
        for part, order in zip(window, orders, strict=True):
            if part.step not in (None, 1) or not 0 <= (part.start or 0) < (part.stop or len(order)) <= len(order):
                raise IndexError(f"a window must lie within the grid {tuple(map(len, orders))}: got {window}")
        return orders[0][window[0]], orders[1][window[1]]

    def _tasks(self, wanted: np.ndarray) -> list[tuple[Record, int, int, int, int, np.ndarray, np.ndarray]]:
        """Split a request into reads of one chunk each, file after file."""
        tasks = []
        for channel, record in enumerate(self._records):
            for part, slots, local in record.located(wanted + self._first):
                chunk = record.parts[part].chunk
                for own in np.split(np.arange(len(local)), np.flatnonzero(np.diff(local // chunk)) + 1):
                    span = int(local[own[0]]), int(local[own[-1]]) + 1
                    tasks.append((record, channel, part, *span, slots[own], local[own]))
        return sorted(tasks, key=lambda task: str(task[0].parts[task[2]].path))

    def _read_block(self, record: Record, part: int, times: slice, y: slice, x: slice) -> np.ndarray:
        """Read a box of one file, shape ``(time, y, x)``."""
        source = record.parts[part]
        layout = source.layout
        slices = {layout.time: times, layout.y: y, layout.x: x}
        key = tuple(slices[dim] if dim in slices else layout.fixed[dim] for dim in layout.dims)
        try:
            with OPEN_FILES.reading(source.path, source.engine) as file:
                block = file.read(record.name, key, layout.level)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            moment = f" at {record.times[record.starts[part] + times.start]}" if len(record.times) else ""
            raise InputError(
                f"{source.path}: variable {record.name!r} cannot be read{moment} ({reason}); is the file "
                "truncated? Restore it"
            ) from error
        if layout.time is None:
            block = block[None]
        return block if layout.ordered else block.transpose(layout.to_time_y_x)


def _file_pieces(order: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray | slice]]:
    """Give how to read positions of an axis: place here, part of the file, order within that part."""
    low, high = int(order.min()), int(order.max()) + 1
    runs = runs_of(order)
    if len(runs) > 1 and 2 * len(order) >= high - low:
        yield slice(0, len(order)), slice(low, high), order - low
        return
    for here, start, length, step in runs:
        low = start if step > 0 else start - length + 1
        yield slice(here, here + length), slice(low, low + length), slice(None, None, step)


def _reordered(block: np.ndarray, rows: np.ndarray | slice, columns: np.ndarray | slice) -> np.ndarray:
    return block[:, rows][:, :, columns]


def _compact(places: np.ndarray) -> slice | np.ndarray:
    """Give ascending neighbours as a slice, which needs no copy."""
    neighbours = len(places) == 1 or bool((np.diff(places) == 1).all())
    return slice(int(places[0]), int(places[-1]) + 1) if neighbours else places


def _period(record: Record, period: Sequence[str] | None) -> tuple[int, int]:
    times = record.times
    if period is None or not len(times):
        return 0, len(times)
    first, last = np.searchsorted(times, np.array(parse_period(period)))
    if first == last:
        raise InputError(
            f"period must hold a time of {record.name!r}: none of {times[0]} to {times[-1]} in {record.parts[0].path}"
            f"{' and further files' if len(record.parts) > 1 else ''} lies in {list(period)}; correct dataset.period"
        )
    return int(first), int(last - first)


def _check_same_times(records: Sequence[Record]) -> None:
    first = records[0]
    for other in records[1:]:
        if first.coordinates.differs(other.coordinates):
            raise InputError(
                f"variables must lie on one grid: {first.name!r} of {first.parts[0].path} and {other.name!r} of "
                f"{other.parts[0].path} do not; regrid them with physicsnemo-fs build"
            )
        if not np.array_equal(first.times, other.times):
            differing = np.setxor1d(first.times, other.times)
            raise InputError(
                f"variables must have the same times: {first.name!r} of {first.parts[0].path} has {len(first.times)}, "
                f"{other.name!r} of {other.parts[0].path} {len(other.times)}, and only one has {differing[0]}; add or "
                "remove files"
            )


def _check_values(fields: GriddedFields, probes: int) -> None:
    """Refuse a variable that has no value at any of a few times."""
    count = max(1, len(fields.times))
    missing = np.ones(len(fields.channels), bool)
    probed = np.unique(np.linspace(0, count - 1, min(probes, count)).round().astype(int))
    for position in probed.tolist():
        missing &= np.isnan(fields.read([position])[0]).all(axis=(-2, -1))
        if not missing.any():
            return
    name = fields.channels[int(np.flatnonzero(missing)[0])].name
    raise InputError(
        f"variable {name!r} must have values: all are missing at {len(probed)} probed times of {fields.paths[0]}"
        f"{' and further files' if len(fields.paths) > 1 else ''}; correct missing_value or region, or leave it out"
    )
