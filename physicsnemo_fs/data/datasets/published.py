# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What the published formats share: statistics files, names of variables, samples of one time, held-out years."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import UInt8

from physicsnemo_fs.data.splits import LABELS, NO_GAP, UNUSED, split_by_blocks
from physicsnemo_fs.data.types import Channel, Fields
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import read_json

WIND, KELVIN, SHARE = "m s-1", "K", "1"
VARIABLES = {
    "10u": (WIND, "eastward wind at 10 m", "eastward_wind"),
    "10v": (WIND, "northward wind at 10 m", "northward_wind"),
    "u10m": (WIND, "eastward wind at 10 m", "eastward_wind"),
    "v10m": (WIND, "northward wind at 10 m", "northward_wind"),
    "eastward_wind_10m": (WIND, "eastward wind at 10 m", "eastward_wind"),
    "northward_wind_10m": (WIND, "northward wind at 10 m", "northward_wind"),
    "2t": (KELVIN, "temperature at 2 m", "air_temperature"),
    "t2m": (KELVIN, "temperature at 2 m", "air_temperature"),
    "temperature_2m": (KELVIN, "temperature at 2 m", "air_temperature"),
    "q2m": ("kg kg-1", "specific humidity at 2 m", "specific_humidity"),
    "sp": ("Pa", "surface pressure", "surface_air_pressure"),
    "msl": ("Pa", "pressure at mean sea level", "air_pressure_at_mean_sea_level"),
    "refc": ("dBZ", "composite radar reflectivity", ""),
    "maximum_radar_reflectivity": ("dBZ", "maximum radar reflectivity", ""),
    "eastward_wind": (WIND, "eastward wind", "eastward_wind"),
    "northward_wind": (WIND, "northward wind", "northward_wind"),
    "temperature": (KELVIN, "temperature", "air_temperature"),
    "cat_snow": (SHARE, "probability of snow", ""),
    "cat_ice": (SHARE, "probability of ice pellets", ""),
    "cat_freez": (SHARE, "probability of freezing rain", ""),
    "cat_rain": (SHARE, "probability of rain", ""),
    "cat_none": (SHARE, "probability of no precipitation", ""),
    "precip": ("", "precipitation", ""),
    "precipitable_water": ("kg m-2", "precipitable water", "atmosphere_mass_content_of_water_vapor"),
    "elev_mean": ("m", "surface height", "surface_altitude"),
    "lsm_mean": (SHARE, "share of land", "land_area_fraction"),
}
"""Unit, long name and CF standard name of variables whose files say none; the unit of others stays empty."""

NEVER_NEGATIVE = {"precip", "cat_snow", "cat_ice", "cat_freez", "cat_rain", "cat_none"}
LEVEL_VARIABLES = {"u": "eastward_wind", "v": "northward_wind", "t": "temperature"}


@dataclass(frozen=True)
class Pair:
    """A published source of truth and input, with the normalisation that was published with it.

    Args:
        target: Fine truth.
        coarse: Input, on a grid whose edges are those of the truth's.
        output_channels: Channels of the target, normalised.
        input_channels: Channels of the input, normalised.
        labels: Split of each time of ``target``, see :mod:`physicsnemo_fs.data.splits`.
    """

    target: Fields
    coarse: Fields
    output_channels: tuple[Channel, ...]
    input_channels: tuple[Channel, ...]
    labels: UInt8[np.ndarray, " time"]


def describe(name: str, level: float = math.nan) -> Channel:
    """Give the channel of a variable, ``name@level`` on a pressure level in hPa, not normalised.

    Example:
        >>> describe("temperature", 500.0).name, describe("u850").unit, describe("slipperiness").unit
        ('temperature@500', 'm s-1', '')
    """
    on_level = re.fullmatch(r"([uvt])(\d+)", name)
    known = VARIABLES.get(LEVEL_VARIABLES[on_level[1]] if on_level else name)
    unit, long_name, standard_name = known or ("", name.replace("_", " "), "")
    if on_level:
        long_name = f"{long_name} on {on_level[2]} hPa"
    if math.isnan(level):
        least = 0.0 if name in NEVER_NEGATIVE else None
        return Channel(name, unit, long_name=long_name, standard_name=standard_name, minimum=least)
    return Channel(f"{name}@{level:g}", unit, long_name=f"{long_name} on {level:g} hPa", standard_name=standard_name)


def read_statistics(path: str | Path | None) -> dict[str, dict[str, dict[str, float]]]:
    """Read a statistics file: ``{group: {variable: {"mean": m, "std": s}}}``.

    Raises:
        InputError: If there is no such file, or it is none.
    """
    if path is None or not Path(path).is_file():
        raise InputError(f"the published statistics must exist: {path} does not; set dataset.stats_path=.../stats.json")
    statistics = read_json(Path(path))
    if not isinstance(statistics, dict) or not all(isinstance(group, dict) for group in statistics.values()):
        raise InputError(
            f"{path} must hold statistics by group and variable: it does not; give the published stats.json"
        )
    return statistics


def with_statistics(
    channels: Sequence[Channel], statistics: Mapping[str, Any], group: str, path: str | Path | None
) -> tuple[Channel, ...]:
    """Give channels the mean and standard deviation of a group of a statistics file.

    Raises:
        InputError: If the file has none for a channel, or unusable ones.
    """
    known = statistics.get(group, {})
    normalized = []
    for channel in channels:
        entry = known.get(channel.name)
        if not isinstance(entry, dict) or not {"mean", "std"} <= set(entry):
            raise InputError(
                f"{path} must hold mean and std of {channel.name!r} in its group {group!r}: it has "
                f"{', '.join(known) or 'nothing'}; choose other variables or another statistics file"
            )
        normalized.append(replace(channel, mean=float(entry["mean"]), std=float(entry["std"])))
    return tuple(normalized)


def distinct_times(times: np.ndarray) -> np.ndarray:
    """Tell samples of one time apart: the k-th one of them comes k microseconds later.

    Example:
        >>> day = np.datetime64("2020-02-02", "ns")
        >>> (distinct_times(np.array([day, day + 10, day])) - day).astype(int).tolist()
        [0, 10, 1000]
    """
    order = np.argsort(times, kind="stable")
    _, first, counts = np.unique(times[order], return_index=True, return_counts=True)
    distinct = times.astype("datetime64[ns]")
    distinct[order] += (np.arange(len(times)) - np.repeat(first, counts)) * np.timedelta64(1, "us")
    return distinct


def labels_by_year(
    times: np.ndarray,
    train_years: Collection[int] | None,
    test_years: Collection[int],
    validation: float,
    block: np.timedelta64,
    gap: np.timedelta64 = NO_GAP,
) -> UInt8[np.ndarray, " time"]:
    """Label times: some years for testing, the others for training, of which some blocks are for validation.

    Args:
        times: ``datetime64[ns]``, increasing.
        train_years: Years for training; ``None`` takes all that are not for testing.
        test_years: Years for testing.
        validation: Share of the training years' blocks for validation.
        block: Length of a block.
        gap: Training times closer than this to a validation time are not used.

    Raises:
        InputError: If a year serves twice, or no training or test time is there.

    Example:
        >>> days = np.arange("2019-12-01", "2021-02-01", dtype="datetime64[D]").astype("datetime64[ns]")
        >>> np.bincount(labels_by_year(days, None, [2021], 0.1, np.timedelta64(7, "D"))).tolist()
        [355, 42, 31]
    """
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    both = sorted(set(train_years or ()) & set(test_years))
    if both:
        raise InputError(f"years for training and testing must differ: {both} are for both; take them out of one")
    tests = np.isin(years, list(test_years))
    trains = ~tests if train_years is None else np.isin(years, list(train_years))
    for split, chosen, asked in (("training", trains, train_years), ("test", tests, test_years)):
        if not chosen.any():
            raise InputError(
                f"the {split} years must hold data: {list(asked or [])} hold none of {len(times)} times from "
                f"{years.min()} to {years.max()}; choose other years"
            )
    labels = np.full(len(times), UNUSED, np.uint8)
    labels[tests] = LABELS["test"]
    labels[trains] = split_by_blocks(times[trains], block, validation, 0.0, gap)
    return labels


def open_zarr(path: Path, needed: Sequence[str], what: str) -> Mapping[str, Any]:
    """Open a Zarr group that must hold some arrays.

    Args:
        path: The store.
        needed: Names of the arrays.
        what: What the store is, for messages.

    Raises:
        InputError: If the path is no Zarr group, or an array is missing.
    """
    try:
        store = zarr.open_group(path, mode="r")
        arrays = dict(store.arrays())
    except Exception as error:
        raise InputError(
            f"{what} must be a Zarr store: {path} is none ({type(error).__name__}); unpack it and set dataset.data_path"
        ) from error
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise InputError(f"{path} must be {what} as published: it has no {', '.join(missing)}; give its .zarr folder")
    return arrays


def read_zarr(array: Any, time: int, channels: Sequence[int], rows: slice, columns: slice) -> np.ndarray:
    """Give channels of one time of an array ``[time, channel, y, x]``, float32, each chunk decoded once."""
    if array.chunks[1] == 1:
        return np.stack([np.asarray(array[time, c, rows, columns], np.float32) for c in channels])
    low = min(channels)
    block = np.asarray(array[time, low : max(channels) + 1, rows, columns], np.float32)
    return block[[c - low for c in channels]]
