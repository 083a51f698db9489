# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which file holds which times of a variable."""

import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physicsnemo_fs.data.fields.array_files import OPEN_FILES, check_engine, find_engine
from physicsnemo_fs.data.fields.layout import Layout, find_layout
from physicsnemo_fs.data.fields.moments import find_times, hours
from physicsnemo_fs.data.fields.parts import GroupedParts, variable_of
from physicsnemo_fs.data.fields.placement import Coordinates, find_coordinates
from physicsnemo_fs.data.fields.selection import check_single, selectable
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.data.vocabulary import same_unit
from physicsnemo_fs.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A variable as it is asked for: ``[name=][group/]source[@level]``.

    Example:
        >>> Wanted.parse("z@500"), Wanted.parse("rain=fine/unknown")
        (Wanted(name='z@500', source='z', level=500.0), Wanted(name='rain', source='fine/unknown', level=None))
        >>> Wanted.parse("fine/t2m").name
        't2m'
    """

    name: str
    source: str
    level: float | None

    @classmethod
    def parse(cls, text: str) -> "Wanted":
        """Read a request.

        Raises:
            InputError: If it is none.
        """
        found = re.fullmatch(r"(?:([^=@]+)=)?([^=@]+)(?:@(-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?))?", str(text))
        if found is None:
            raise InputError(
                f"a variable must be name, name@level or new=name@level: got {text!r}; write for example z@500"
            )
        level = None if found[3] is None else float(found[3])
        return cls(found[1] or str(text).rpartition("/")[2], found[2], level)


@dataclass(frozen=True)
class Part:
    """The times of a variable in one file.

    Args:
        path: The file.
        engine: Its xarray engine.
        layout: What the variable's dimensions are.
        chunk: Times that are stored together.
        ranged: Whether the file says which numbers are valid.
    """

    path: Path
    engine: str
    layout: Layout
    chunk: int
    ranged: bool


@dataclass(frozen=True)
class Record:
    """A variable over all files.

    Args:
        channel: Name as asked for, unit and long name.
        name: Name in the files.
        coordinates: Of its rows and columns.
        parts: The files in order of time.
        starts: First position of each part in ``times``.
        times: All times; empty for a static variable.
        lead_hours: Lead time of each, if there are any.
        selectable: Names that a choice of :func:`find_records` may be of.
    """

    channel: Channel
    name: str
    coordinates: Coordinates
    parts: tuple[Part, ...]
    starts: np.ndarray
    times: np.ndarray
    lead_hours: np.ndarray | None
    selectable: frozenset[str]

    def located(self, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Give, file by file, the number of the part, the places in ``positions``, and the ascending times within."""
        order = np.argsort(positions, kind="stable")
        part = np.searchsorted(self.starts, positions[order], side="right") - 1
        for number in np.unique(part).tolist():
            slots = order[part == number]
            yield number, slots, positions[slots] - self.starts[number]


@dataclass(frozen=True)
class _Found:
    part: Part
    channel: Channel
    times: np.ndarray | None
    leads: np.ndarray | None
    selectable: frozenset[str]


@dataclass(frozen=True)
class _Unused:
    """A file that holds none of the variables asked for."""

    path: Path
    names: list[str]
    times: np.ndarray

    def check(self, wanted: Sequence[Wanted], record: Record) -> None:
        """Refuse it if it has one under its name in other letters; say so if it has times that the record lacks."""
        asked = {request.source.lower(): request.source for request in wanted}
        for name in self.names:
            if name.lower() in asked:
                raise InputError(
                    f"files must give a variable one name: {self.path} has {name!r}, not {asked[name.lower()]!r}; "
                    "rename it there or leave the file out"
                )
        lacking = np.setdiff1d(self.times, record.times)
        if len(lacking) and len(record.times):
            text = "%s has %d further times from %s on, but no %r: they are left out"
            log.warning(text, self.path, len(lacking), lacking[0], record.name)


def find_records(
    paths: Sequence[Path],
    variables: Sequence[str],
    engine: str | None,
    select: Mapping[str, Any],
    single_values: bool = True,
) -> tuple[Record, ...]:
    """Find the variables in the files and check that the files of each fit together; arguments as of ``open_fields``.

    Raises:
        InputError: Naming the file, the variable and the remedy.
    """
    wanted = [Wanted.parse(text) for text in variables]
    if engine is not None:
        check_engine(engine)
    names = [request.name for request in wanted]
    if len(set(names)) < len(names):
        raise InputError(f"variables must differ: got {names}; name each once")
    found: list[list[_Found]] = [[] for _ in wanted]
    reference: list[Coordinates | None] = [None] * len(wanted)
    absent: list[InputError | None] = [None] * len(wanted)
    unused: list[_Unused] = []
    for path in paths:
        OPEN_FILES.forget(path)
        kind = engine or find_engine(path)
        parts = GroupedParts(path, kind)
        for i, request in enumerate(wanted):
            try:
                dataset = parts.find(request.source, request.level)
            except InputError as error:
                absent[i] = absent[i] or InputError(f"{path}: {error}")
                continue
            here = _describe(path, kind, dataset, request, select, single_values)
            reference[i] = _same_grid(reference[i], here[1], request.name, found[i], path)
            found[i].append(here[0])
        if not any(files and files[-1].part.path == path for files in found):
            unused.append(_Unused(path, parts.names(), parts.times()))
        parts.close()
    records = tuple(
        _joined(request, files, coordinates, error)
        for request, files, coordinates, error in zip(wanted, found, reference, absent, strict=True)
    )
    for file in unused:
        file.check(wanted, records[0])
    return records


def _describe(
    path: Path,
    engine: str,
    dataset: xr.Dataset,
    request: Wanted,
    select: Mapping[str, Any],
    single_values: bool,
) -> tuple[_Found, Coordinates]:
    array = dataset[variable_of(request.source)]
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{path}: variable {request.source!r} must hold numbers: it is of type {array.dtype}; choose another"
        )
    try:
        if single_values:
            check_single(array, select)
        layout = find_layout(dataset, array, request.level, select)
        coordinates = find_coordinates(dataset, array, layout)
        times, leads = _times(dataset, array, layout)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    stored = array.encoding.get("preferred_chunks") or {}
    sizes = array.encoding.get("chunksizes") or array.encoding.get("chunks")
    if not stored and sizes:
        stored = dict(zip(array.dims, sizes, strict=False))
    ranged = any(name in array.attrs for name in ("valid_min", "valid_max", "valid_range"))
    part = Part(path, engine, layout, int(stored.get(layout.time, 1) or 1), ranged)
    return _Found(part, _channel(array, request), times, leads, selectable(array)), coordinates


def _times(dataset: xr.Dataset, array: xr.DataArray, layout: Layout) -> tuple[np.ndarray | None, np.ndarray | None]:
    time, lead = find_times(dataset, array)
    if time is None:
        return None, None
    chosen = {dim: at for dim, at in layout.fixed.items() if dim in time.dims}
    times = np.atleast_1d(time.isel(chosen).values).astype("datetime64[ns]")
    if lead is None:
        return times, None
    chosen = {dim: at for dim, at in layout.fixed.items() if dim in lead.dims}
    hours_ahead = np.broadcast_to(hours(lead).isel(chosen).values, times.shape).astype(np.float64)
    return times, hours_ahead


def _channel(array: xr.DataArray, request: Wanted) -> Channel:
    attributes = {key: str(array.attrs.get(key, "")) for key in ("units", "long_name", "standard_name")}
    standard = attributes["standard_name"]
    level = "" if request.level is None else f" at {request.level:g}"
    return Channel(
        request.name,
        attributes["units"] or "1",
        long_name=(attributes["long_name"] or variable_of(request.source)) + level,
        standard_name="" if standard == "unknown" else standard,
    )


def _same_grid(
    reference: Coordinates | None, here: Coordinates, name: str, before: Sequence[_Found], path: Path
) -> Coordinates:
    if reference is None:
        return here
    if reference.differs(here):
        if reference.runs_otherwise(here):
            raise InputError(
                f"files must have rows and columns in one order: those of {name!r} run otherwise in {path} than in "
                f"{before[0].part.path}; sort all of them alike by xarray's sortby(['latitude', 'longitude'])"
            )
        raise InputError(
            f"files must lie on one grid: {name!r} has another in {path} than in {before[0].part.path}; leave one "
            "out or regrid it with physicsnemo-fs build"
        )
    return reference


def _joined(request: Wanted, files: list[_Found], coordinates: Coordinates | None, absent: InputError | None) -> Record:
    if not files or coordinates is None:
        raise absent or InputError(f"variable {request.name!r} must be in a file; check dataset.data_path")
    choices = frozenset().union(*(file.selectable for file in files))
    static = [file.times is None for file in files]
    if any(static):
        if len(files) > 1:
            raise InputError(
                f"variable {request.name!r} must have times to be joined over files: "
                f"{files[static.index(True)].part.path} has none; give it a time coordinate or choose one file"
            )
        empty = np.empty(0, "datetime64[ns]")
        parts, starts = (files[0].part,), np.zeros(1, int)
        return Record(files[0].channel, request.source, coordinates, parts, starts, empty, None, choices)
    for file in files:
        _check_increasing(file, request.name)
    files = sorted(files, key=lambda file: _moments(file)[0])
    for earlier, later in itertools.pairwise(files):
        _check_follows(earlier, later, request.name)
    counts = [len(_moments(file)) for file in files]
    leads = [file.leads for file in files if file.leads is not None]
    joined_leads = np.concatenate(leads) if len(leads) == len(files) else None
    return Record(
        files[0].channel,
        request.source,
        coordinates,
        tuple(file.part for file in files),
        np.concatenate([[0], np.cumsum(counts)[:-1]]),
        np.concatenate([_moments(file) for file in files]),
        joined_leads if joined_leads is not None and joined_leads.any() else None,
        choices,
    )


def _moments(file: _Found) -> np.ndarray:
    return np.empty(0, "datetime64[ns]") if file.times is None else file.times


def _check_increasing(file: _Found, name: str) -> None:
    times = _moments(file)
    if not len(times) or np.isnat(times).any():
        raise InputError(
            f"{file.part.path}: variable {name!r} must have a time at every step; remove or repair the file"
        )
    wrong = np.flatnonzero(np.diff(times) <= np.timedelta64(0))
    if len(wrong):
        before, after = times[wrong[0]], times[wrong[0] + 1]
        what = "repeated" if before == after else "not sorted"
        raise InputError(
            f"{file.part.path}: times of {name!r} must increase, but are {what} at {after} after {before}; use "
            "xarray's sortby('time').drop_duplicates('time')"
        )


def _check_follows(earlier: _Found, later: _Found, name: str) -> None:
    if same_unit(earlier.channel.unit) != same_unit(later.channel.unit):
        raise InputError(
            f"files must give {name!r} in one unit: {earlier.part.path} has {earlier.channel.unit!r}, "
            f"{later.part.path} {later.channel.unit!r}; convert one"
        )
    if _moments(later)[0] <= _moments(earlier)[-1]:
        repeated = len(np.intersect1d(_moments(earlier), _moments(later)))
        remedy = f"remove {repeated} repeated times" if repeated else "join them, as xarray's concat and sortby do"
        raise InputError(
            f"files must not overlap in time: {later.part.path} begins at {_moments(later)[0]}, "
            f"{earlier.part.path} ends at {_moments(earlier)[-1]} with {name!r}; {remedy}"
        )
