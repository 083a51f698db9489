# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff's forecasts over the United States: HRRR at 3 km as truth, GEFS at 0.25 degrees as input."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.data.builder.geometry import coarsened
from physicsnemo_fs.data.datasets.forecast_stores import (
    ForecastStore,
    common_forecasts,
    forecast_times,
    lead_hours,
    list_stores,
)
from physicsnemo_fs.data.datasets.interpolation import Bilinear
from physicsnemo_fs.data.datasets.lambert import hrrr_grid
from physicsnemo_fs.data.datasets.published import (
    Pair,
    describe,
    labels_by_year,
    read_statistics,
    with_statistics,
)
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

NONE = "cat_none"

Window = tuple[tuple[int, int], tuple[int, int]]
Samples = Sequence[tuple[int, int]]


class HRRRFields:
    """HRRR forecasts of the published stores.

    ``cat_none`` is 1 where no category of precipitation is there; the categories are divided by their sum.

    Args:
        stores: One a half-year.
        samples: Store and position in it of each time.
        names: Forecasts, ``YYYYMMDDHHfLL``.
        variables: Which to give.
        categories: Those that are kinds of precipitation.
        window: Rows and columns ``((first, end), (first, end))``; ``None`` for all.

    Raises:
        InputError: If a variable is not there, or the window does not fit.
    """

    thread_safe = True

    def __init__(
        self,
        stores: Sequence[ForecastStore],
        samples: Samples,
        names: Sequence[str],
        variables: Sequence[str],
        categories: Sequence[str],
        window: Window | None,
    ):
        _check_categories(variables, categories)
        self._stores, self._samples = stores, samples
        self._variables, self._categories = tuple(variables), tuple(categories)
        for store in stores:
            store.positions([name for name in variables if name != NONE])
        self._descends = bool(stores[0].latitude[0, 0] > stores[0].latitude[-1, 0])
        self._window = _check_window(window, stores[0])
        self.grid = self._place()
        self.channels = tuple(describe(name) for name in variables)
        self.times = forecast_times(names)
        self.lead_hours: np.ndarray | None = lead_hours(names)

    def read(
        self, positions: Sequence[int] | np.ndarray, window: tuple[slice, slice] | None = None
    ) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields in physical units, rows from south to north."""
        rows, columns = window or (slice(None), slice(None))
        return np.stack([self._read_one(*self._samples[p], rows, columns) for p in positions])

    def _read_one(self, store: int, time: int, rows: slice, columns: slice) -> Float[np.ndarray, "channel y x"]:
        (first_row, end_row), (first_column, _) = self._window
        start, stop, _ = rows.indices(self.grid.shape[0])
        left, right, _ = columns.indices(self.grid.shape[1])
        stored = (
            slice(end_row - stop, end_row - start) if self._descends else slice(first_row + start, first_row + stop)
        )
        names = [name for name in self._variables if name != NONE]
        values = self._stores[store].read(time, names, stored, slice(first_column + left, first_column + right))
        values = np.ascontiguousarray(values[:, ::-1]) if self._descends else values
        return self._with_probabilities(dict(zip(names, values, strict=True)))

    def _with_probabilities(self, values: dict[str, np.ndarray]) -> Float[np.ndarray, "channel y x"]:
        if self._categories:
            total = sum(values[name] for name in self._categories) + np.float32(0)
            share = np.where(total == 0, np.float32(1), total)
            values |= {name: values[name] / share for name in self._categories}
            values[NONE] = np.where(np.isnan(total), total, (total == 0).astype(np.float32))
        return np.stack([values[name] for name in self._variables])

    def _place(self) -> Grid:
        (first_row, end_row), (first_column, end_column) = self._window
        rows, columns = slice(first_row, end_row), slice(first_column, end_column)
        latitude, longitude = (p[rows, columns] for p in (self._stores[0].latitude, self._stores[0].longitude))
        order = slice(None, None, -1 if self._descends else 1)
        return hrrr_grid(np.ascontiguousarray(latitude[order]), np.ascontiguousarray(longitude[order]))


class GEFSFields:
    """GEFS forecasts of the published stores, interpolated bilinearly in latitude and longitude.

    Args:
        surface: Stores of variables at the surface.
        isobaric: Stores of variables on pressure levels, in the same order.
        samples: Store and position in it of each time, for both.
        names: Forecasts, ``YYYYMMDDHHfLL``.
        variables: Which to give of each kind.
        grid: Where: the centres of its cells.

    Raises:
        InputError: If a variable is not there, or the grid reaches beyond the forecasts.
    """

    thread_safe = True

    def __init__(
        self,
        surface: Sequence[ForecastStore],
        isobaric: Sequence[ForecastStore],
        samples: tuple[Samples, Samples],
        names: Sequence[str],
        variables: tuple[Sequence[str], Sequence[str]],
        grid: Grid,
    ):
        parts = [(s, p, v) for s, p, v in zip((surface, isobaric), samples, variables, strict=True) if v]
        if not parts or grid.latitude is None or grid.longitude is None:
            raise InputError("the input must have a variable and a place: got none; name input_surface_variables")
        self._parts = parts
        for stores, _, wanted in parts:
            for store in stores:
                store.positions(wanted)
        self._bilinear = [
            Bilinear(stores[0].latitude[:, 0], stores[0].longitude[0], grid.latitude, grid.longitude)
            for stores, _, _ in parts
        ]
        self.grid = grid
        self.channels = tuple(describe(name) for _, _, wanted in parts for name in wanted)
        self.times = forecast_times(names)
        self.lead_hours: np.ndarray | None = lead_hours(names)

    def read(
        self, positions: Sequence[int] | np.ndarray, window: tuple[slice, slice] | None = None
    ) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields in physical units."""
        return np.stack([self._read_one(int(p), window or (slice(None), slice(None))) for p in positions])

    def _read_one(self, position: int, window: tuple[slice, slice]) -> Float[np.ndarray, "channel y x"]:
        fields = []
        for (stores, samples, wanted), bilinear in zip(self._parts, self._bilinear, strict=True):
            store, time = samples[position]
            fields.append(bilinear(partial(stores[store].read, time, wanted), window))
        return np.concatenate(fields)


def open_gefs_hrrr(
    path: str | Path,
    stats_path: str | Path | None,
    *,
    input_surface_variables: Sequence[str],
    input_isobaric_variables: Sequence[str],
    output_variables: Sequence[str],
    prob_variables: Sequence[str],
    train_years: Collection[int],
    valid_years: Collection[int],
    window: Window | None = None,
    factor: int = 1,
    validation: float,
    block: np.timedelta64,
    gap: np.timedelta64,
) -> Pair:
    """Open the published stores below ``gefs/`` and ``hrrr_forecast/``.

    Samples are the forecasts that all stores hold. Splits go by the start of the forecast.

    Args:
        path: Folder of both.
        stats_path: The published ``stats.json``.
        input_surface_variables: GEFS variables at the surface.
        input_isobaric_variables: GEFS variables on pressure levels.
        output_variables: HRRR variables.
        prob_variables: HRRR variables that are kinds of precipitation.
        train_years: Years for training.
        valid_years: Years that CorrDiff validates on; they are for testing.
        window: Rows and columns of HRRR's grid; ``None`` for all.
        factor: Points of HRRR per point of the input along an axis: the input is interpolated to the centres of such
            blocks.
        validation: Share of the training years' blocks that are for validation.
        block: Length of a block.
        gap: Forecasts for training that start closer than this to one for validation are not used.

    Raises:
        InputError: If a store, a variable, a statistic or a year is missing.
    """
    path = Path(path)
    statistics = read_statistics(stats_path)
    years = set(train_years) | set(valid_years)
    stores = [
        list_stores(path / folder, pattern, years)
        for folder, pattern in (("gefs", "*surface*"), ("gefs", "*isobaric*"), ("hrrr_forecast", "*"))
    ]
    names, samples = common_forecasts(stores, path)
    target = HRRRFields(stores[2], samples[2], names, output_variables, prob_variables, window)
    wanted = (tuple(input_surface_variables), tuple(input_isobaric_variables))
    coarse_grid = target.grid if factor == 1 else coarsened(target.grid, factor)
    coarse = GEFSFields(stores[0], stores[1], (samples[0], samples[1]), names, wanted, coarse_grid)
    outputs = with_statistics(target.channels, statistics, "output", stats_path)
    inputs = with_statistics(coarse.channels, statistics, "input", stats_path)
    starts = target.times - (lead_hours(names) * 3600e9).astype("timedelta64[ns]")
    order = np.argsort(starts, kind="stable")
    labels = np.empty(len(names), np.uint8)
    labels[order] = labels_by_year(starts[order], train_years, valid_years, validation, block, gap)
    return Pair(target, coarse, outputs, inputs, labels)


def _check_categories(variables: Sequence[str], categories: Sequence[str]) -> None:
    missing = [name for name in categories if name not in variables]
    if missing or (NONE in variables and not categories) or NONE in categories:
        raise InputError(
            f"kinds of precipitation must be among the outputs, and {NONE} needs them: got prob_variables "
            f"{list(categories)} and output_variables {list(variables)}; correct one"
        )


def _check_window(window: Window | None, store: ForecastStore) -> Window:
    height, width = store.latitude.shape
    chosen = window or ((0, height), (0, width))
    (first_row, end_row), (first_column, end_column) = chosen
    if not (0 <= first_row < end_row <= height and 0 <= first_column < end_column <= width):
        raise InputError(
            f"the window must lie within {height} x {width} points: got {list(map(list, chosen))}; change "
            "dataset.hrrr_window"
        )
    return chosen
