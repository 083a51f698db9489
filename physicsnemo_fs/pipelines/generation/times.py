# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which times of a split are generated."""

import re
from datetime import timedelta
from typing import Any

import numpy as np

from physicsnemo_fs.config import GenerationConfig
from physicsnemo_fs.data.datasets.forecast_stores import forecast_times
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError

FORECAST_NAME = re.compile(r"\d{10}f\d{2,3}")


def choose_times(dataset: DownscalingDataset, generation: GenerationConfig) -> np.ndarray:
    """Give the positions of the wanted times in the dataset, ascending.

    Raises:
        InputError: If a time is not in the split, naming the first and last ones there.
    """
    if generation.times is not None and generation.times_range is not None:
        raise InputError("generation.times and generation.times_range exclude each other: got both; leave one out")
    if generation.times is None and generation.times_range is None:
        most = generation.max_times
        count = len(dataset) if most is None else min(most, len(dataset))
        return np.array(evenly_spread(len(dataset), count), dtype=np.int64)
    if generation.times is None:
        wanted = _in_range(generation.times_range, len(dataset) + 1)
    else:
        wanted = _parse_times(generation.times)
    if not wanted:
        raise InputError(f"generation.times must name a time: got {generation.times}")
    positions = {t: i for i, t in enumerate(dataset.times)}
    missing = [str(t) for t in wanted if t not in positions]
    if missing:
        raise InputError(
            f"{missing[0]} is not among the {len(dataset)} times of the split, which run from "
            f"{dataset.times[0]} to {dataset.times[-1]}"
        )
    return np.array(sorted({positions[t] for t in wanted}))


def _in_range(given: list[Any] | None, most: int) -> list[np.datetime64]:
    """Give the first ``most`` times from start to end, both included.

    Example:
        >>> [str(t)[:13] for t in _in_range(["2020-01-01", "2020-01-01T12", 6], 10)]
        ['2020-01-01T00', '2020-01-01T06', '2020-01-01T12']
    """
    try:
        first, last, *rest = given or []
        start, end = _parse_times([str(first), str(last)])
        (hours,) = rest or (1,)
        step = np.timedelta64(1000 * round(timedelta(hours=float(hours)) / timedelta(microseconds=1)), "ns")
        if step <= np.timedelta64(0, "ns") or end < start:
            raise ValueError("the end before the start, or no step")
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"generation.times_range must be [start, end, hours], the start first and hours above 0: got {given}"
        ) from error
    return list(start + step * np.arange(min(int((end - start) // step) + 1, most)))


def _parse_times(times: list[str]) -> list[np.datetime64]:
    try:
        return [forecast_times([t])[0] if FORECAST_NAME.fullmatch(t) else _parse_time(t) for t in times]
    except ValueError as error:
        raise InputError(
            f"generation.times must be ISO times (2000-01-01T00:00:10) or forecasts (2024011212f03): {error}"
        ) from error


def _parse_time(text: str) -> np.datetime64:
    """Give an ISO time; numpy wraps years that nanoseconds do not reach."""
    year = np.datetime64(text, "Y")
    if np.isnat(year) or not np.datetime64("1678") <= year < np.datetime64("2262"):
        raise ValueError(f"{text!r} is not one from 1678 to 2261")
    return np.datetime64(text, "ns")
