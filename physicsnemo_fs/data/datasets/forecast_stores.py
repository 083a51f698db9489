# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Zarr stores of forecasts as CorrDiff's GEFS-HRRR data has them: ``values[time, channel, y, x]``, one a half-year."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.datasets.published import open_zarr, read_zarr
from physicsnemo_fs.errors import InputError

HALF_YEAR = re.compile(r"(\d{4})_\d{2}_\d{2}\.zarr")
FORECAST = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2})f(\d{2,3})")
OTHER_LEVELS = {"z200": "z250", "t100": "t250", "r100": "q250"}


def stored_name(name: str, available: Collection[str]) -> str:
    """Give the name under which a store holds a variable.

    In the published GEFS stores relative humidity ``r`` is called ``q``, and ``z200``, ``t100`` and ``r100`` are
    called ``z250``, ``t250`` and ``q250``; the statistics file has the true names.

    Example:
        >>> stored_name("r850", ["q850"]), stored_name("z200", ["z250"]), stored_name("r850", ["r850"])
        ('q850', 'z250', 'r850')
    """
    if name in available:
        return name
    return OTHER_LEVELS.get(name, re.sub(r"^r(?=\d+$)", "q", name))


def forecast_times(names: Sequence[str]) -> np.ndarray:
    """Give the times of forecasts ``YYYYMMDDHHfLL``: their valid times, and the lead in microseconds.

    Several forecasts are valid at one time; the microseconds tell them apart.

    Raises:
        InputError: If a name is of another form.

    Example:
        >>> str(forecast_times(["2024011212f03"])[0])
        '2024-01-12T15:00:00.000003000'
    """
    leads = lead_hours(names).astype(np.int64)
    starts = np.array([f"{n[:4]}-{n[4:6]}-{n[6:8]}T{n[8:10]}" for n in names], "datetime64[ns]")
    return starts + leads * np.timedelta64(3600 * 10**6 + 1, "us")


def lead_hours(names: Sequence[str]) -> Float[np.ndarray, " forecast"]:
    """Give the hours since the start of each forecast.

    Raises:
        InputError: If a name is of another form.

    Example:
        >>> lead_hours(["2024011212f00", "2024011212f24"]).tolist()
        [0.0, 24.0]
    """
    found = [FORECAST.fullmatch(name) for name in names]
    if None in found:
        bad = names[found.index(None)]
        raise InputError(f"forecasts must be named YYYYMMDDHHfLL, start and lead: got {bad!r}; write 2024011212f03")
    return np.array([float(match[5]) for match in found if match])


class ForecastStore:
    """One store.

    Args:
        path: The Zarr folder.

    Raises:
        InputError: If it is no such store.
    """

    def __init__(self, path: Path):
        arrays = open_zarr(path, ("values", "lat", "lon", "channel", "time"), "the forecasts")
        self.path = path
        self._values = arrays["values"]
        self._names = [str(name) for name in np.asarray(arrays["channel"][:])]
        self.latitude = np.asarray(arrays["lat"][:], np.float64)
        self.longitude = np.asarray(arrays["lon"][:], np.float64) % 360
        self.forecasts = [str(name) for name in np.asarray(arrays["time"][:])]
        shape = (len(self.forecasts), len(self._names), *self.latitude.shape)
        if self._values.shape != shape or self.latitude.ndim != 2:
            raise InputError(
                f"{path} must hold values[time, channel, y, x] with lat[y, x]: got {self._values.shape} for {shape}; "
                "give the published stores"
            )

    def positions(self, variables: Sequence[str]) -> list[int]:
        """Give the positions of variables.

        Raises:
            InputError: If one is not there.
        """
        stored = [stored_name(name, self._names) for name in variables]
        missing = [name for name, kept in zip(variables, stored, strict=True) if kept not in self._names]
        if missing:
            raise InputError(
                f"{self.path} must hold {missing[0]!r}: it has {', '.join(self._names)}; choose one of them"
            )
        return [self._names.index(name) for name in stored]

    def read(
        self, time: int, variables: Sequence[str], rows: slice, columns: slice
    ) -> Float[np.ndarray, "channel y x"]:
        """Give variables of one forecast, rows and columns as stored.

        Raises:
            InputError: If a chunk is damaged.
        """
        try:
            return read_zarr(self._values, time, self.positions(variables), rows, columns)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.path} must be whole: {self.forecasts[time]} cannot be read ({error}); download it again"
            ) from error


def list_stores(folder: Path, pattern: str, years: Collection[int]) -> list[ForecastStore]:
    """Open the stores ``<pattern>YYYY_MM_MM.zarr`` of some years, by half-year.

    Raises:
        InputError: If there are none.
    """
    found = {}
    for path in folder.glob(f"{pattern}.zarr"):
        match = HALF_YEAR.search(path.name)
        if match and int(match[1]) in years:
            found[match[0]] = path
    if not found:
        raise InputError(
            f"{folder} must hold stores {pattern}YYYY_MM_MM.zarr of the years {sorted(years)}: it has none; set "
            "dataset.data_path to the folder above"
        )
    return [ForecastStore(found[key]) for key in sorted(found)]


def common_forecasts(
    stores: Sequence[Sequence[ForecastStore]], path: Path
) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Find the forecasts that every kind of store holds, in the order of :func:`forecast_times`.

    A forecast that is there twice counts once, the first time.

    Returns:
        Their names, and for each kind the store and the position in it of each.

    Raises:
        InputError: If there are none.
    """
    places: list[dict[str, tuple[int, int]]] = []
    for kind in stores:
        found: dict[str, tuple[int, int]] = {}
        for s, store in enumerate(kind):
            for t, name in enumerate(store.forecasts):
                found.setdefault(name, (s, t))
        places.append(found)
    shared = sorted(set.intersection(*(set(found) for found in places)))
    if not shared:
        raise InputError(
            f"the stores below {path} must share forecasts: GEFS surface, GEFS isobaric and HRRR have none in common; "
            "download the same half-years of each"
        )
    names = [shared[i] for i in np.argsort(forecast_times(shared), kind="stable")]
    return names, [[found[name] for name in names] for found in places]
