# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What scoring leaves behind: ``scores.nc``, ``scores_summary.csv`` and a table to read."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import netCDF4
import numpy as np

import physicsnemo_fs
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.io.layout import CALENDAR, encode_times
from physicsnemo_fs.metrics.bootstrap import Interval, Resampling
from physicsnemo_fs.metrics.scorecard import Scorecard, paired_crps_ratio
from physicsnemo_fs.metrics.special import distribution_scores
from physicsnemo_fs.metrics.statistics import Case
from physicsnemo_fs.pipelines.score_store import write_sums

MISSING_POINTS = "missing_points"
FAILED = "failed"
"""Metric of the row of a file that could not be scored."""


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
        estimator: How the number is made; why it failed.
        area: Named part of the domain; empty for all of it.
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
    area: str = ""


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


def failure_row(path: Path, message: str) -> ScoreRow:
    """Give the row of a file that could not be scored."""
    return ScoreRow(path.name, FAILED, "", "", np.nan, np.nan, np.nan, 0, 0, message)


def score_rows(cards: Cards, resampling: Resampling) -> list[ScoreRow]:
    """Give every number with its interval: of the whole domain, of its areas, and at each lead time."""
    reference = next(iter(cards))
    rows = []
    for model, by_variable in cards.items():
        for variable, card in by_variable.items():
            for area in card.areas:
                rows += _metric_rows(model, variable, card, resampling, area)
            leads = np.unique(card.leads)
            for lead in leads if leads.size > 1 else ():
                rows += _metric_rows(model, variable, card, resampling, "", float(lead))
            rows += _special_rows(model, variable, card, resampling)
            if model != reference:
                ratio = paired_crps_ratio(card, cards[reference][variable], resampling)
                words = f"CRPS over that of {reference}, paired"
                rows.append(_row(model, "crps_ratio", variable, card, ratio, words))
            missing = Interval(float(card.missing.sum()), np.nan, np.nan, 0)
            rows.append(_row(model, MISSING_POINTS, variable, card, missing, "count"))
    return rows


def _row(
    model: str, metric: str, variable: str, card: Scorecard, value: Interval, words: str, area: str = "", lead: str = ""
) -> ScoreRow:
    ends = (value.estimate, value.low, value.high)
    return ScoreRow(model, metric, variable, lead, *ends, len(card.times), card.members, words, area)


def _metric_rows(
    model: str, variable: str, card: Scorecard, resampling: Resampling, area: str, lead: float | None = None
) -> list[ScoreRow]:
    text = "" if lead is None else f"{lead:g}"
    rows = []
    for metric in card.all_metrics(area):
        value = card.interval_of(metric, resampling, area, lead)
        words = card.words_of(metric, area)
        row = _row(model, metric.name, variable, card, value, words, area, text)
        rows.append(row if lead is None else replace(row, n_times=int((card.leads == lead).sum())))
    return rows


def _special_rows(model: str, variable: str, card: Scorecard, resampling: Resampling) -> list[ScoreRow]:
    found = distribution_scores(card, resampling)
    return [_row(model, name, variable, card, value, words) for name, (value, words) in found.items()]


def output_paths(output: Path) -> tuple[Path, Path]:
    """Give the paths of the scores and of their summary, from a folder or from the name of the ``.nc`` file.

    Raises:
        InputError: If there is a file of that name that holds no scores, such as samples.
    """
    scores_path = output if output.suffix == ".nc" else output / "scores.nc"
    if scores_path.is_file() and not _are_scores(scores_path):
        raise InputError(
            f"the scores must not replace what they score, nor other data: output={output} would overwrite "
            f"{scores_path}, which holds no scores; give another name, or several samples as path='[a.nc,b.nc]'"
        )
    return scores_path, scores_path.with_name(f"{scores_path.stem}_summary.csv")


def _are_scores(path: Path) -> bool:
    try:
        with netCDF4.Dataset(path) as dataset:
            return "metric" in dataset.dimensions
    except (OSError, RuntimeError):
        return False


def write_scores(path: Path, cards: Cards, resampling: Resampling, labels: Mapping[Case, int]) -> None:
    """Write the scores of each time as NetCDF, whole or not at all.

    The root holds one variable ``(metric, time)`` for each variable of the first model, as CorrDiff's scorer
    writes it (``rmse``, ``crps``, ``std_dev``, ``mae`` first, with CorrDiff's meaning). Each group
    ``/models/<name>`` holds the same for one model, with power spectra, rank histograms, distributions and maps,
    and below it ``sums`` with all that scores of other times can be merged or compared with.

    Args:
        path: Final name.
        cards: Scorecards by model and variable.
        resampling: How intervals were made.
        labels: Block of each case.
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
                "n_ensemble": next(iter(cards[first].values())).members,
                "confidence": resampling.confidence,
                "bootstrap_samples": resampling.samples,
                "independent_blocks": len(np.unique(resampling.blocks)),
                "seed": resampling.seed,
            }
        )
        _write_metrics(dataset, cards[first])
        for number, (model, by_variable) in enumerate(cards.items()):
            group = dataset.createGroup(f"models/{model.replace('/', '_')}")
            card = next(iter(by_variable.values()))
            group.setncatts({"model": model, "n_ensemble": card.members, "position": number})
            _write_metrics(group, by_variable)
            for variable, each in by_variable.items():
                _write_distributions(group, variable, each)
                write_sums(group.createGroup(f"sums/{variable}"), each, labels)


def _write_metrics(group: netCDF4.Dataset | netCDF4.Group, cards: Mapping[str, Scorecard]) -> None:
    card = next(iter(cards.values()))
    known = {metric.name: each.words_of(metric) for each in cards.values() for metric in each.all_metrics()}
    names = (*known, MISSING_POINTS)
    group.createDimension("metric", len(names))
    group.createDimension("time", len(card.times))
    letters = np.array([name.encode() for name in names])
    group.createDimension("name_length", letters.itemsize)
    metric = group.createVariable("metric", "S1", ("metric", "name_length"))
    metric.setncatts({"long_name": "metric", "_Encoding": "utf-8", "comment": json.dumps(known)})
    metric[:] = letters.view("S1").reshape(len(names), -1)
    values, time_units = encode_times(card.times)
    time = group.createVariable("time", np.int64, ("time",))
    time.setncatts({"standard_name": "time", "units": time_units, "calendar": CALENDAR})
    time[:] = values
    if card.leads.any():
        lead = group.createVariable("lead_time", np.float64, ("time",))
        lead.setncatts({"standard_name": "forecast_period", "units": "hours"})
        lead[:] = card.leads
    if card.regions.any():
        region = group.createVariable("region", np.int64, ("time",))
        region.setncatts({"long_name": "region of each time, in the order of the files"})
        region[:] = card.regions
    for variable, each in cards.items():
        field = group.createVariable(variable, np.float64, ("metric", "time"), fill_value=np.nan)
        field.setncatts({"units": each.unit, "long_name": f"scores of {variable}"})
        own, nothing = each.metrics, np.full(len(each.times), np.nan)
        series = [own[name].per_time(each.statistics) if name in own else nothing for name in known]
        field[:] = np.stack([*series, each.missing])


def _write_distributions(group: netCDF4.Group, variable: str, card: Scorecard) -> None:
    unit = card.unit
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
    if card.setting.edges:
        _write_values(group, variable, card)
    fields = {
        f"{name}_map": (card.maps.mean(name), f"{words}, first region")
        for name, words in (("crps", "mean CRPS (fair; of one member its absolute error)"), ("error", "mean error"))
        if name in card.maps.sums
    }
    maxima = card.maxima.maps()
    if maxima is not None:
        words = "annual maximum, mean over years"
        fields["annual_maximum_map"] = (maxima[0], f"{words} and members, first region")
        fields["truth_annual_maximum_map"] = (maxima[1], f"{words}, of the truth, first region")
    _write_maps(group, variable, card, fields)


def _write_values(group: netCDF4.Group, variable: str, card: Scorecard) -> None:
    if "bin" not in group.dimensions:
        group.createDimension("bin", len(card.setting.edges) - 1)
    edges = np.asarray(card.setting.edges)
    middles = group.createVariable(f"{variable}_values", np.float64, ("bin",))
    middles.setncatts({"long_name": "middle of each bin of values; the outer ones are open", "units": card.unit})
    middles[:] = (edges[1:] + edges[:-1]) / 2
    for name in ("histogram", "truth_histogram"):
        share = group.createVariable(f"{variable}_{name}", np.float64, ("bin",), fill_value=np.nan)
        share.setncatts({"long_name": f"share of values in the bin ({name})", "units": "1"})
        share[:] = card.statistics[name].mean()
    for threshold in card.setting.thresholds:
        _write_table(group, variable, card, threshold)


def _write_table(group: netCDF4.Group, variable: str, card: Scorecard, threshold: float) -> None:
    if "forecast" not in group.dimensions:
        group.createDimension("forecast", card.members + 1)
        group.createDimension("outcome", 2)
    table = group.createVariable(f"{variable}_event_{threshold:g}", np.float64, ("forecast", "outcome"))
    words = "share of points where k members had the event, and of those where it happened too"
    table.setncatts({"long_name": words, "threshold": threshold, "threshold_units": card.unit})
    table[:] = card.statistics[f"event_{threshold:g}"].mean()


def _write_maps(
    group: netCDF4.Group, variable: str, card: Scorecard, fields: Mapping[str, tuple[np.ndarray, str]]
) -> None:
    if fields and "y" not in group.dimensions:
        group.createDimension("y", card.grid.shape[0])
        group.createDimension("x", card.grid.shape[1])
    for name, (values, words) in fields.items():
        field = group.createVariable(
            f"{variable}_{name}", np.float32, ("y", "x"), compression="zlib", complevel=1, fill_value=np.nan
        )
        field.setncatts({"units": card.unit, "long_name": words})
        field[:] = values


def format_table(rows: Sequence[ScoreRow], confidence: float) -> str:
    """Give the headline numbers as plain text, one line for each model and variable."""
    rows = [row for row in rows if not row.lead_time and not row.area and row.metric != FAILED]
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
    return "\n".join([*aligned(lines), note])


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Give lines of cells in columns: names to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
