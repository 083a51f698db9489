# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Readers of point observations: parquet files (as NNJA-AI publishes them) and tables that xarray opens."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from physicsnemo_fs.data.observations import Observed, PointTable, assemble, in_region
from physicsnemo_fs.data.splits import parse_period
from physicsnemo_fs.errors import InputError

if TYPE_CHECKING:
    import pyarrow.dataset

TIME_NAMES = ("OBS_TIMESTAMP", "time", "time_utc", "timestamp", "datetime", "valid_time")
LATITUDE_NAMES = ("LAT", "latitude", "lat", "CLAT", "CLATH")
LONGITUDE_NAMES = ("LON", "longitude", "lon", "CLON", "CLONH")
STANDARD_NAMES = {"time": TIME_NAMES, "latitude": LATITUDE_NAMES, "longitude": LONGITUDE_NAMES}


def read_parquet(
    path: str | Path,
    variables: Mapping[str, Observed],
    period: Sequence[str] | None = None,
    region: Sequence[float] | None = None,
    names: Mapping[str, str] | None = None,
) -> PointTable:
    """Read observations from a parquet file, or from a folder of them, partitioned as ``KEY=value`` or not.

    Only the columns that are needed are read, and of them only the row groups that may hold the period.

    Args:
        path: File or folder, for example a copy of NNJA-AI's ``conv-adpsfc-NC000001``.
        variables: Our name of each variable and how it stands in the table, for example
            ``{"t2m": Observed("TMPSQ1.TMDB", error=1.0, unit="K")}``.
        period: ``[start, end]`` in ISO 8601, both included.
        region: ``[south, north, west, east]`` in degrees.
        names: Columns of ``time``, ``latitude`` and ``longitude``, where they have unusual names.

    Raises:
        InputError: If pyarrow is not installed, the path holds no whole parquet file, a column is missing, or nothing
            lies in the period and region.
    """
    _require_variables(variables, path)
    dataset = _open_parquet(Path(path))
    available = dataset.schema.names
    place = _placed(available, names, path)
    errors = {observed.error for observed in variables.values() if isinstance(observed.error, str)}
    wanted = list(dict.fromkeys([*place.values(), *(observed.column for observed in variables.values()), *errors]))
    _require(wanted, available, path)
    table = _read_columns(dataset, wanted, place["time"], period, path)
    columns = {name: table.column(name).to_numpy() for name in wanted if name != place["time"]}
    time = _arrow_instants(table.column(place["time"]), path)
    return _select(
        time,
        {role: columns[place[role]] for role in ("latitude", "longitude")},
        {
            name: (columns[o.column], columns[o.error] if isinstance(o.error, str) else o.error, o.unit or "")
            for name, o in variables.items()
        },
        period,
        region,
        path,
    )


def read_table(
    source: str | Path | xr.Dataset,
    variables: Mapping[str, Observed],
    period: Sequence[str] | None = None,
    region: Sequence[float] | None = None,
    names: Mapping[str, str] | None = None,
) -> PointTable:
    """Read observations from a table that xarray opens: along one dimension, or by station and time.

    Time, latitude and longitude are found by CF standard name, then by common names; they are broadcast against each
    variable.

    Args:
        source: NetCDF file, Zarr store, or a dataset that is open.
        variables: As in :func:`read_parquet`; units come from the variables' attributes.
        period: ``[start, end]`` in ISO 8601, both included.
        region: ``[south, north, west, east]`` in degrees.
        names: Variables of ``time``, ``latitude`` and ``longitude``, where they have unusual names.

    Raises:
        InputError: If the table cannot be opened, a variable is missing, or nothing lies in the period and region.

    Example:
        >>> stations = xr.Dataset(
        ...     {"t2m": (("station", "time"), [[280.0, 281.0]], {"units": "K"})},
        ...     {"time": np.array(["2021-01-01", "2021-01-02"], "datetime64[ns]"),
        ...      "lat": ("station", [52.0]), "lon": ("station", [13.0])},
        ... )
        >>> table = read_table(stations, {"t2m": Observed("t2m", error=0.5)})
        >>> table.value.tolist(), table.units
        ([280.0, 281.0], ('K',))
    """
    if isinstance(source, xr.Dataset):
        return _from_dataset(source, variables, period, region, names, "the table")
    try:
        with xr.open_dataset(source) as dataset:
            return _from_dataset(dataset, variables, period, region, names, source)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source} must be a table that xarray opens: it is not ({_first_line(error)})") from error


def _from_dataset(
    dataset: xr.Dataset,
    variables: Mapping[str, Observed],
    period: Sequence[str] | None,
    region: Sequence[float] | None,
    names: Mapping[str, str] | None,
    source: Any,
) -> PointTable:
    _require_variables(variables, source)
    known = {str(v.attrs.get("standard_name")): str(name) for name, v in dataset.variables.items()}
    standard = {role: known[role] for role in STANDARD_NAMES if role in known}
    available = [str(name) for name in dataset.variables]
    place = _placed(available, {**standard, **(names or {})}, source)
    errors = [o.error for o in variables.values() if isinstance(o.error, str)]
    _require([*(o.column for o in variables.values()), *errors], available, source)
    wanted = [*place.values(), *(o.column for o in variables.values()), *errors]
    arrays = dict(zip(wanted, xr.broadcast(*(dataset[name] for name in wanted)), strict=True))
    flat = {name: array.values.ravel() for name, array in arrays.items()}
    return _select(
        _instants(flat[place["time"]], source),
        {role: flat[place[role]] for role in ("latitude", "longitude")},
        {
            name: (
                flat[o.column],
                flat[o.error] if isinstance(o.error, str) else o.error,
                o.unit or str(dataset[o.column].attrs.get("units", "")),
            )
            for name, o in variables.items()
        },
        period,
        region,
        source,
    )


def _select(
    time: np.ndarray,
    place: Mapping[str, np.ndarray],
    columns: Mapping[str, tuple[np.ndarray, Any, str]],
    period: Sequence[str] | None,
    region: Sequence[float] | None,
    source: Any,
) -> PointTable:
    latitude, longitude = (_numbers(place[role], f"the {role}s of {source}") for role in ("latitude", "longitude"))
    kept = np.ones(len(time), bool)
    if period is not None:
        first, last = parse_period(period)
        kept &= (time >= first) & (time < last)
    if region is not None:
        kept &= in_region(latitude, longitude, region)
    if not kept.any():
        raise InputError(
            f"{source} must hold a report in the period and region: none of {len(time)} lies in "
            f"{_named(period)} and {_named(region)}; widen them"
        )
    values = {name: _values(value, error, kept, f"{name!r} of {source}") for name, (value, error, _) in columns.items()}
    reports = {name: (*values[name], unit) for name, (_, _, unit) in columns.items()}
    try:
        return assemble(time[kept], latitude[kept], longitude[kept], reports)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _values(value: np.ndarray, error: Any, kept: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    numbers = _numbers(value, what)[kept]
    if isinstance(error, np.ndarray):
        return numbers, _numbers(error, f"errors of {what}")[kept]
    return numbers, np.full(len(numbers), np.nan if error is None else float(error))


def _numbers(values: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise InputError(f"{what} must be numbers: got {values.dtype}; name another column")
    return values.astype(np.float64)


def _require_variables(variables: Mapping[str, Observed], source: Any) -> None:
    if not variables:
        raise InputError(f"{source} must be asked for variables: got none; give {{'t2m': Observed('TMDB')}}")


def _open_parquet(path: Path) -> "pyarrow.dataset.Dataset":
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise InputError(
            "parquet files need pyarrow: it is not installed; pip install 'physicsnemo-fs[observations]'"
        ) from error
    if not path.exists():
        raise InputError(f"observations must exist: {path} does not; correct the path")
    try:
        dataset = pyarrow.dataset.dataset(path, format="parquet", partitioning="hive", exclude_invalid_files=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must hold whole parquet files: {_first_line(error)}; download it again") from error
    if not dataset.files:
        raise InputError(f"{path} must hold parquet files: there is none; correct the path")
    return dataset


def _read_columns(dataset: Any, wanted: list[str], time: str, period: Sequence[str] | None, path: str | Path) -> Any:
    import pyarrow
    import pyarrow.dataset

    kind, chosen = dataset.schema.field(time).type, None
    if period is not None and pyarrow.types.is_timestamp(kind):
        size = int(np.timedelta64(1, kind.unit) / np.timedelta64(1, "ns"))
        first, last = (pyarrow.scalar(-(-int(end.astype(np.int64)) // size), kind) for end in parse_period(period))
        chosen = (pyarrow.dataset.field(time) >= first) & (pyarrow.dataset.field(time) < last)
    try:
        return dataset.to_table(columns=wanted, filter=chosen)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must hold whole parquet files: {_first_line(error)}; download it again") from error


def _arrow_instants(column: Any, source: Any) -> np.ndarray:
    import pyarrow

    if pyarrow.types.is_integer(column.type):
        raise InputError(f"{source} must hold times with a beginning: got {column.type}; write them as timestamps")
    try:
        return column.cast(pyarrow.timestamp("ns")).to_numpy()
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise InputError(f"{source} must hold times: {_first_line(error)}; name the column of time") from error


def _instants(values: np.ndarray, source: Any) -> np.ndarray:
    if values.dtype.kind != "M":
        raise InputError(f"{source} must hold times: got {values.dtype}; name the variable of time")
    return values.astype("datetime64[ns]")


def _placed(available: Iterable[str], names: Mapping[str, str] | None, source: Any) -> dict[str, str]:
    available = list(available)
    place = {}
    for role, usual in STANDARD_NAMES.items():
        found = [(names or {}).get(role), *(name for name in usual if name in available)]
        name = next((name for name in found if name is not None), None)
        if name is None or name not in available:
            raise InputError(
                f"{source} must hold the {role} of its observations: it has no {name or ' or '.join(usual)}; name the "
                f"column of {role}, one of {', '.join(sorted(available)[:12])} ..."
            )
        place[role] = name
    return place


def _require(wanted: Iterable[str], available: Sequence[str], source: Any) -> None:
    for name in wanted:
        if name not in available:
            word = name.rsplit(".", 1)[-1]
            similar = [other for other in available if word.lower() in other.lower()] or sorted(available)
            raise InputError(f"{source} must hold the column {name!r}: it does not; is it {' or '.join(similar[:5])}?")


def _named(limits: Sequence[Any] | None) -> str:
    return "any" if limits is None else str(list(limits))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
