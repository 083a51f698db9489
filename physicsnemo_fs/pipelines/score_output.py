# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What scoring leaves behind: ``scores.nc``, ``scores_summary.csv`` and a table to read."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import netCDF4
import numpy as np

import physicsnemo_fs
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.io.layout import CALENDAR, encode_times
from physicsnemo_fs.metrics.scorecard import Scorecard

MISSING_POINTS = "missing_points"


@dataclass(frozen=True)
class ScoreRow:
    """One line of ``scores_summary.csv``.

    Args:
        model: Name of the forecast.
        metric: Name of the metric.
        variable: Name of the variable.
        lead_time: Lead time; empty if the file has none.
        value: The metric over all times.
        ci_lo: Lower end of the interval; NaN with a single independent block.
        ci_hi: Upper end.
        n_times: Number of times.
        n_members: Number of members.
        estimator: How the number is made.
    """

    model: str
    metric: str
    variable: str
    lead_time: str
    value: float
    ci_lo: float
    ci_hi: float
    n_times: int
    n_members: int
    estimator: str


Cards = Mapping[str, Mapping[str, Scorecard]]
"""Scorecards by model and variable; the first model is the one that is judged."""


def write_summary(path: Path, rows: Sequence[ScoreRow]) -> None:
    """Write the rows as CSV, whole or not at all."""
    with atomic_path(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow([field.name for field in fields(ScoreRow)])
            for row in rows:
                table.writerow([f"{value:.9g}" if isinstance(value, float) else value for value in astuple(row)])


def write_scores(path: Path, cards: Cards, units: Mapping[str, str], attributes: Mapping[str, object]) -> None:
    """Write the scores of each time as NetCDF, whole or not at all.

    The root holds one variable ``(metric, time)`` for each variable of the first model, as CorrDiff's scorer
    writes it (``rmse``, ``crps``, ``std_dev``, ``mae`` first, with CorrDiff's meaning). Each group
    ``/models/<name>`` holds the same for one model, with power spectra and rank histograms.

    Args:
        path: Final name.
        cards: Scorecards by model and variable.
        units: Unit of each variable.
        attributes: Further attributes of the root.
    """
    first = next(iter(cards))
    with atomic_path(path) as temporary, netCDF4.Dataset(temporary, "w", format="NETCDF4") as dataset:
        source = f"physicsnemo_fs {physicsnemo_fs.__version__}"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        dataset.setncatts(
            {
                "title": f"Scores of {first}",
                "model": first,
                "source": source,
                "history": f"{now} {source}",
                **attributes,
            }
        )
        _write_metrics(dataset, cards[first], units)
        for model, by_variable in cards.items():
            group = dataset.createGroup(f"models/{model.replace('/', '_')}")
            group.setncatts({"model": model, "n_ensemble": next(iter(by_variable.values())).members})
            _write_metrics(group, by_variable, units)
            for variable, card in by_variable.items():
                _write_distributions(group, variable, card, units[variable])


def _write_metrics(
    group: netCDF4.Dataset | netCDF4.Group, cards: Mapping[str, Scorecard], units: Mapping[str, str]
) -> None:
    card = next(iter(cards.values()))
    names = (*card.metric_names, MISSING_POINTS)
    group.createDimension("metric", len(names))
    group.createDimension("time", len(card.times))
    letters = np.array([name.encode() for name in names])
    group.createDimension("name_length", letters.itemsize)
    metric = group.createVariable("metric", "S1", ("metric", "name_length"))
    estimators = {name: card.estimator(name) for name in card.metric_names}
    metric.setncatts({"long_name": "metric", "_Encoding": "utf-8", "comment": json.dumps(estimators)})
    metric[:] = letters.view("S1").reshape(len(names), -1)
    values, time_units = encode_times(card.times)
    time = group.createVariable("time", np.int64, ("time",))
    time.setncatts({"standard_name": "time", "units": time_units, "calendar": CALENDAR})
    time[:] = values
    if card.regions.any():
        region = group.createVariable("region", np.int64, ("time",))
        region.setncatts({"long_name": "region of each time, in the order of the files"})
        region[:] = card.regions
    for variable, each in cards.items():
        field = group.createVariable(variable, np.float64, ("metric", "time"), fill_value=np.nan)
        field.setncatts({"units": units[variable], "long_name": f"scores of {variable}"})
        field[:] = np.stack([*(each.per_time(name) for name in card.metric_names), each.missing])


def _write_distributions(group: netCDF4.Group, variable: str, card: Scorecard, unit: str) -> None:
    if "shell" not in group.dimensions:
        group.createDimension("shell", len(card.wavenumber))
        group.createDimension("rank", card.members + 1)
        wavenumber = group.createVariable("wavenumber", np.float64, ("shell",))
        wavenumber.setncatts({"long_name": "wavenumber of the shell", "units": f"cycles per {card.grid.unit}"})
        wavenumber[:] = card.wavenumber
    for suffix, name in (("power", "power"), ("truth_power", "truth_power")):
        spectrum = group.createVariable(f"{variable}_{suffix}", np.float64, ("shell",), fill_value=np.nan)
        spectrum.setncatts({"long_name": f"mean power in the shell ({suffix})", "units": f"({unit})2"})
        spectrum[:] = card.power(name)
    histogram = group.createVariable(f"{variable}_rank_histogram", np.float64, ("rank",), fill_value=np.nan)
    histogram.setncatts({"long_name": "share of the truth's rank among the members", "units": "1"})
    histogram[:] = card.rank_frequencies()


def format_table(rows: Sequence[ScoreRow], confidence: float) -> str:
    """Give the headline numbers as plain text, one line for each model and variable."""
    found = {(row.model, row.variable, row.metric): row for row in rows}
    heads = ["model", "variable", "CRPS", f"{100 * confidence:g} % interval", "MAE", "RMSE", "rel. L2"]
    heads += ["spread/skill", "spectrum dB mean", "max"]
    lines = [heads]
    for model, variable in dict.fromkeys((row.model, row.variable) for row in rows):
        cells = {metric: found[model, variable, metric] for m, v, metric in found if (m, v) == (model, variable)}
        crps = cells["crps_fair"] if cells["crps_fair"].n_members > 1 else cells["mae"]
        names = ("mae", "rmse", "relative_l2", "spread_skill", "spectrum_error_mean", "spectrum_error_max")
        numbers = [_number(cells[name].value) for name in names]
        interval = f"{_number(crps.ci_lo)} .. {_number(crps.ci_hi)}"
        lines.append([model, variable, _number(crps.value), interval, *numbers])
    note = "CRPS: fair; of a single forecast its MAE. Spread/skill: 1 is calibrated."
    return "\n".join([*_aligned(lines), note])


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
