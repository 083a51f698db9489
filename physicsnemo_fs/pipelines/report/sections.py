# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The sections of a report, each a list of HTML parts made from the evidence."""

from collections.abc import Mapping

import numpy as np

import physicsnemo_fs
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.metrics.bootstrap import Interval
from physicsnemo_fs.metrics.spectra import spectrum_error_db, wavenumber_shells
from physicsnemo_fs.pipelines import figures
from physicsnemo_fs.pipelines.figures import Line, Panel
from physicsnemo_fs.pipelines.generate import MODEL_NAMES
from physicsnemo_fs.pipelines.numerals import duration, interval_text, number, unit_text
from physicsnemo_fs.pipelines.report import sentences
from physicsnemo_fs.pipelines.report.evidence import Evidence, crps_ratio
from physicsnemo_fs.pipelines.report.page import (
    Cell,
    Tile,
    bullets,
    facts_list,
    heading,
    paragraph,
    picture,
    side_by_side,
    stage_times,
    table,
    tiles,
)
from physicsnemo_fs.pipelines.score import INTERPOLATION, REGRESSION

DRESSED = MODEL_NAMES["dressed"]
LABELS = {INTERPOLATION: "Interpolation", REGRESSION: "Regression", DRESSED: "Regression + Gaussian field"}
NOUNS = {
    INTERPOLATION: "interpolation",
    REGRESSION: "the regression",
    DRESSED: "the regression dressed with a Gaussian field",
}
LINES = {
    INTERPOLATION: (figures.GREEN, ":"),
    REGRESSION: (figures.VERMILLION, "--"),
    DRESSED: (figures.PURPLE, "-."),
}
COLUMNS = {
    "crps": "fair CRPS",
    "crps_ratio": "CRPS ratio to ensemble",
    "rmse": "RMSE of the mean",
    "relative_l2": "relative L2",
    "spread_skill": "spread-skill ratio",
    "spectrum_error_mean": "spectrum error",
    "spectrum_error_max": "largest",
}
DIGITS = {"spectrum_error_mean": 2, "spectrum_error_max": 2}
DECIBELS_TOLD = 30.0
FINER_CHANGE = 0.01


def headline(evidence: Evidence, title: str) -> list[str]:
    """Say in plain words what was reached, and give the numbers that matter."""
    size = (
        f"{count_text(evidence.members, 'member')}, {count_text(evidence.times, 'time')} from "
        f"{count_text(evidence.scores.blocks, 'independent block')}"
    )
    said = [
        sentences.crps_sentence(_crps_ratios(evidence)),
        _spread_sentence(evidence),
        _consistency_sentence(evidence),
    ]
    title = title[:1].upper() + title[1:]
    return [
        paragraph(f"{evidence.name} · {shape_text(evidence.grid)} · {size}", "over"),
        heading(title, 1),
        paragraph(" ".join(filter(None, said)), "lead"),
        tiles(_tiles(evidence)),
    ]


def one_time(evidence: Evidence) -> list[str]:
    """Show the fields of one time."""
    moment = evidence.moment
    when = np.datetime_as_string(moment.time, unit="s").replace("T", " ")
    among = f" of the {few} drawn on both grids" if (few := _finer_times(evidence)) else ""
    caption = f"{when}, the time with the median CRPS{among}: neither the best nor the worst."
    if evidence.members > 1:
        caption += f" Spread is the standard deviation of all {evidence.members} members."
    said = (
        "Every member is one possible fine field. The members share what the coarse input fixes and differ where it "
        "leaves room; the spread shows where."
    )
    return [
        heading("One time: what goes in, what comes out"),
        paragraph(said if evidence.members > 1 else ""),
        picture(
            figures.panel_figure(_panels(evidence), size=2.0),
            f"{evidence.tag}fields",
            f"Fields of {evidence.name} at one time: what there is of coarse input, interpolation, regression mean, "
            "truth, members, their mean and their spread.",
            caption,
        ),
    ]


def comparison(evidence: Evidence) -> list[str]:
    """Compare the ensemble with forecasts that cost less."""
    models = [*baselines(evidence), evidence.ensemble]
    scores = {model_label(evidence, model): evidence.interval(model, "crps") for model in models}
    told = "; ".join(f"{label} {number(score.estimate)}" for label, score in scores.items())
    caption = (
        f"Means over {count_text(evidence.times, 'time')}, with {_percent(evidence)} intervals from resampling "
        "independent blocks; the best estimate of each column is bold. Fair CRPS is unbiased for any number of "
        "members; of a single forecast it is the mean absolute error. Its ratio to the ensemble's is paired: both "
        "are resampled together. The spread-skill ratio is 1 if calibrated. Spectrum error: "
        f"{evidence.result.row(evidence.ensemble, 'spectrum_error_mean', evidence.variable).estimator}, and the "
        "largest."
    )
    units = {"crps": brackets(evidence), "rmse": brackets(evidence)}
    units |= {"spectrum_error_mean": "[dB]", "spectrum_error_max": "[dB]"}
    names = COLUMNS if evidence.members > 1 else {**COLUMNS, "crps": "mean absolute error", "crps_ratio": "ratio to it"}
    heads = ["", *(f"{head} {units.get(metric, '')}".strip() for metric, head in names.items())]
    bars = picture(
        figures.crps_figure(scores, brackets(evidence)), f"{evidence.tag}crps", f"Bars of the fair CRPS: {told}."
    )
    return [
        heading(_comparison_title(models)),
        bars if len(models) > 1 else "",
        table(heads, _table_rows(evidence, models), caption, judged=model_label(evidence, evidence.ensemble)),
    ]


def _comparison_title(models: list[str]) -> str:
    if len(models) == 1:
        return "Scores"
    known = all(model in LABELS for model in models[:-1])
    return "Scores against forecasts that cost less" if known else "Scores beside other forecasts"


def spectrum(evidence: Evidence) -> list[str]:
    """Compare power spectra."""
    own = evidence.scores.models[evidence.ensemble]
    title = heading("Do the members look like the truth at every scale?")
    if not (own.truth_power[1:] > 0).any():
        reason = "the truth does not vary" if np.isfinite(own.truth_power).all() else "at every time points are missing"
        return [title, paragraph(f"There are no spectra: {reason}.")]
    shells, error = _spectrum_error(evidence)
    lines = [Line("Members", own.power, figures.BLUE)]
    colours = figures.model_colours([*baselines(evidence), evidence.ensemble])
    for model in baselines(evidence):
        colour, style = LINES.get(model, (colours[model], "-"))
        lines.append(Line(model_label(evidence, model), evidence.scores.models[model].power, colour, style))
    told = (
        sentences.reach_sentence(error, shells, own.truth_power),
        sentences.small_scale_sentence(error, shells, evidence.members),
    )
    sentence = " ".join(filter(None, told))
    return [
        title,
        paragraph(sentence),
        picture(
            figures.spectrum_figure(own.truth_power, lines, shells[-1], _finer_lines(evidence)),
            f"{evidence.tag}spectrum",
            f"Radial power spectra of {evidence.name}, and their ratio to the truth's in decibels. {sentence}",
            "Mean power in each wavenumber shell. Below: its ratio to the truth's; the grey band is ± 1 dB, and curves "
            f"leave the frame beyond {figures.DECIBELS_SHOWN:g} dB.",
        ),
    ]


def calibration(evidence: Evidence) -> list[str]:
    """Show ranks and spread against error."""
    if evidence.calibration is None:
        return []
    ranks, band = evidence.scores.models[evidence.ensemble].ranks, evidence.calibration.rank_band
    sentence = sentences.rank_sentence(ranks, band)
    return [
        heading("Can the spread be trusted?"),
        paragraph(sentence),
        side_by_side(
            [
                picture(
                    figures.rank_figure(ranks, band),
                    f"{evidence.tag}ranks",
                    f"Histogram of the truth's rank among the members. {sentence}",
                    "Rank of the truth among the members: flat if calibrated, a bowl if the members are too alike. The "
                    "grey band holds 95 % of what a truth exchangeable with the members would give: each member in "
                    "turn takes the truth's place.",
                    wide=False,
                ),
                picture(
                    figures.spread_skill_figure(
                        evidence.calibration.spread, evidence.calibration.error, brackets(evidence)
                    ),
                    f"{evidence.tag}spread",
                    "Error of the ensemble mean over the spread in classes of points, with the diagonal.",
                    "Points sorted into ten classes by their spread: root mean square error of the ensemble mean "
                    "against spread. On the dashed line the ensemble knows how wrong it is; above, it is too sure.",
                    wide=False,
                ),
            ]
        ),
    ]


def same_seed(evidence: Evidence) -> list[str]:
    """Show one member at two resolutions."""
    pair, consistency = evidence.pair, evidence.consistency
    if pair is None or consistency is None:
        return []
    names = shape_text(pair.coarse_grid), shape_text(pair.fine_grid)
    return [
        heading(f"The same seed at {names[0]} and at {names[1]}"),
        paragraph(" ".join(filter(None, [_consistency_sentence(evidence), _finer_sentence(evidence)]))),
        picture(
            figures.same_seed_figure(
                (pair.coarse, pair.fine),
                (pair.coarse_grid, pair.fine_grid),
                pair.difference,
                pair.window,
                axis_label(evidence),
                f"difference: {number(consistency.field, 2)}",
            ),
            f"{evidence.tag}seed",
            f"One member drawn at {names[0]} and at {names[1]}, a window of each, and their difference after low-pass.",
            f"Seed {pair.seed} at the time above. The difference is taken in the band of wavenumbers that both grids "
            "carry and has its own colours; the number is its relative size over all compared members. Noise drawn "
            "pixel by pixel would give two unrelated fields.",
        ),
    ]


def limits(evidence: Evidence) -> list[str]:
    """Say what was not reached and what the numbers cannot tell."""
    own = evidence.scores.models[evidence.ensemble]
    shells, error = _spectrum_error(evidence)
    said = [
        sentences.spectrum_limit(error, shells, own.truth_power, shape_text(evidence.grid)),
        *_finer_limits(evidence),
    ]
    spread = evidence.interval(evidence.ensemble, "spread_skill")
    if not spread.low <= 1 <= spread.high:
        said.append(_spread_sentence(evidence))
    if evidence.rmse_ratio is not None and not evidence.rmse_ratio.high < 1:
        said.append(sentences.mean_sentence(evidence.rmse_ratio))
    missing = evidence.interval(evidence.ensemble, "missing_points").estimate
    said.append(f"{missing:.0f} points without truth or forecast are left out." if missing else "")
    said.append(sentences.evidence_sentence(evidence.times, evidence.scores.blocks, evidence.scores.confidence))
    return [heading("Limits"), bullets(said)]


def making(timings: Mapping[str, float], facts: Mapping[str, str]) -> list[str]:
    """Say how long each stage took, and with what."""
    longest = max(timings.values(), default=0.0)
    rows = [(name, duration(seconds), seconds / longest if longest else 0.0) for name, seconds in timings.items()]
    total = f"All stages together took {duration(sum(timings.values()))}." if rows else ""
    return [
        heading("How it was made"),
        paragraph(total),
        stage_times(rows),
        facts_list(list(facts.items())),
        f"<footer>physicsnemo_fs {physicsnemo_fs.__version__}. This page needs no other file.</footer>",
    ]


def shape_text(grid: Grid) -> str:
    """Write the shape of a grid."""
    return f"{grid.shape[0]} × {grid.shape[1]}"


def count_text(count: int, noun: str) -> str:
    """Write a number of things."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def brackets(evidence: Evidence) -> str:
    """Write the unit in brackets; nothing without one."""
    unit = unit_text(evidence.unit)
    return f"[{unit}]" if unit else ""


def crps_name(evidence: Evidence) -> str:
    """Name the headline score: of a single member it is the mean absolute error."""
    return "Fair CRPS" if evidence.members > 1 else "Mean absolute error"


def axis_label(evidence: Evidence) -> str:
    """Write the variable with its unit."""
    return f"{evidence.name} {brackets(evidence)}".strip()


def _percent(evidence: Evidence) -> str:
    return f"{100 * evidence.scores.confidence:g} %"


def model_label(evidence: Evidence, model: str) -> str:
    """Give what a model is called on the page."""
    own = "Ensemble" if evidence.members > 1 else "Forecast"
    return own if model == evidence.ensemble else LABELS.get(model, model)


def baselines(evidence: Evidence) -> list[str]:
    """Give the other models, the simplest first."""
    known = [model for model in LABELS if model in evidence.scores.models]
    return [model for model in (*known, *evidence.scores.models) if model != evidence.ensemble][
        : len(evidence.scores.models) - 1
    ]


def _crps_ratios(evidence: Evidence) -> dict[str, Interval]:
    """Give the ensemble's CRPS over each baseline's, by the baseline's name in a sentence."""
    ratios = {}
    for model in baselines(evidence):
        ratio = evidence.interval(model, "crps_ratio")
        if ratio.estimate > 0:
            ends = 1 / ratio.high, 1 / ratio.low
            ratios[NOUNS.get(model, model)] = Interval(1 / ratio.estimate, *ends, evidence.scores.blocks)
    return ratios


def _spread_sentence(evidence: Evidence) -> str:
    spread = evidence.interval(evidence.ensemble, "spread_skill")
    return sentences.spread_sentence(spread.estimate, spread.low, spread.high)


def _consistency_sentence(evidence: Evidence) -> str:
    if evidence.consistency is None or evidence.pair is None:
        return ""
    return sentences.consistency_sentence(
        evidence.consistency, shape_text(evidence.pair.coarse_grid), shape_text(evidence.pair.fine_grid)
    )


def _tiles(evidence: Evidence) -> list[Tile]:
    crps, spread, error = (
        evidence.interval(evidence.ensemble, metric) for metric in ("crps", "spread_skill", "spectrum_error_mean")
    )
    estimator = evidence.result.row(evidence.ensemble, "spectrum_error_mean", evidence.variable).estimator
    shells = estimator.rpartition(", ")[2].replace("shells", "wavenumbers").replace("-", "–")
    result = [
        Tile(
            crps_name(evidence),
            number(crps.estimate),
            unit_text(evidence.unit),
            _note(evidence, crps, "less is better"),
        ),
        Tile("Spread-skill ratio", number(spread.estimate), "", _note(evidence, spread, "1 is calibrated")),
        Tile("Spectrum error", number(error.estimate, 2), "dB", _note(evidence, error, f"mean over {shells}", 2)),
    ]
    if evidence.consistency is not None and evidence.pair is not None:
        residual = evidence.consistency.residual
        note = f"relative difference, {shape_text(evidence.pair.coarse_grid)} and {shape_text(evidence.pair.fine_grid)}"
        if residual is not None:
            note += f"; residual alone {number(residual, 2)}"
        result.append(Tile("Same seed, two grids", number(evidence.consistency.field, 2), "", note))
    return result


def _note(evidence: Evidence, interval: Interval, meaning: str, digits: int = 3) -> str:
    ends = interval_text(interval, digits)
    return f"{_percent(evidence)} interval {ends}; {meaning}" if ends else meaning


def _panels(evidence: Evidence) -> list[list[Panel]]:
    moment = evidence.moment
    given = {
        "coarse input": moment.coarse,
        "interpolation": moment.interpolation,
        "regression mean": moment.regression,
        "truth": moment.truth,
    }
    scale = figures.field_scale([moment.truth, *moment.members], axis_label(evidence))
    if evidence.members > 1:
        given[f"mean of all {evidence.members}"] = moment.mean
    above = [Panel(title, field, scale) for title, field in given.items() if field is not None]
    below = [Panel(f"member {i + 1}", member, scale) for i, member in enumerate(moment.members)]
    if evidence.members > 1:
        spread = figures.spread_scale(moment.spread, f"spread {brackets(evidence)}".strip())
        below.append(Panel("spread", moment.spread, spread))
    return [above, below] if evidence.members > 1 else [[*above, *below]]


def _table_rows(evidence: Evidence, models: list[str]) -> list[tuple[str, list[Cell]]]:
    best = {metric: _best(evidence, models, metric) for metric in COLUMNS}
    return [
        (model_label(evidence, model), [_cell(evidence, model, metric, model == best[metric]) for metric in COLUMNS])
        for model in models
    ]


def _value(evidence: Evidence, model: str, metric: str) -> Interval:
    if metric == "crps_ratio" and model == evidence.ensemble:
        return Interval(1.0, np.nan, np.nan, evidence.scores.blocks)
    return evidence.interval(model, metric)


def _best(evidence: Evidence, models: list[str], metric: str) -> str | None:
    values = {model: _value(evidence, model, metric).estimate for model in models}
    known = {model: value for model, value in values.items() if np.isfinite(value)}
    if len(known) < 2 or metric == "crps_ratio":
        return None
    ideal = 1.0 if metric == "spread_skill" else 0.0
    return min(known, key=lambda model: abs(known[model] - ideal))


def _cell(evidence: Evidence, model: str, metric: str, best: bool) -> Cell:
    value, digits = _value(evidence, model, metric), DIGITS.get(metric, 3)
    if metric in DIGITS and value.estimate > DECIBELS_TOLD:
        return Cell(f"> {DECIBELS_TOLD:g}")
    return Cell(number(value.estimate, digits), interval_text(value, digits), best)


def _last_shell(grid: Grid) -> int:
    return wavenumber_shells(grid.shape, grid.extent).complete


def _spectrum_error(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Give the complete shells and the members' error in decibels there."""
    own = evidence.scores.models[evidence.ensemble]
    shells = np.arange(1, _last_shell(evidence.grid) + 1)
    return shells, spectrum_error_db(own.power, own.truth_power, shells)


def _finer_lines(evidence: Evidence) -> list[Line]:
    if evidence.fine is None or evidence.pair is None:
        return []
    fine, grid = next(iter(evidence.fine.models.values())), evidence.pair.fine_grid
    last, times = _last_shell(grid), _finer_times(evidence)
    on = shape_text(grid) + (f" ({times} times)" if times else "")
    return [
        Line(f"Truth, {on}", fine.truth_power[: last + 1], figures.MUTED),
        Line(f"Members, {on}", fine.power[: last + 1], figures.SKY),
    ]


def _finer_ratio(evidence: Evidence) -> float:
    """Give the CRPS on the finer grid over that on the coarser one, at the times both have."""
    if evidence.fine is None:
        return np.nan
    fine, own = (next(iter(scores.models.values())) for scores in (evidence.fine, evidence.scores))
    return crps_ratio(fine, own)


def _finer_sentence(evidence: Evidence) -> str:
    ratio = _finer_ratio(evidence)
    if evidence.pair is None or np.isnan(ratio):
        return ""
    coarse, fine = shape_text(evidence.pair.coarse_grid), shape_text(evidence.pair.fine_grid)
    return sentences.finer_sentence(ratio, coarse, fine, _finer_times(evidence))


def _finer_times(evidence: Evidence) -> int:
    """Give how many times were drawn on both grids; 0 if all were, or if there is one grid."""
    if evidence.fine is None:
        return 0
    own, fine = (next(iter(scores.models.values())).times for scores in (evidence.scores, evidence.fine))
    shared = len(np.intersect1d(own, fine))
    return 0 if shared == len(own) == len(fine) else shared


def _finer_limits(evidence: Evidence) -> list[str]:
    if evidence.pair is None or evidence.consistency is None:
        return []
    coarse, fine = evidence.pair.coarse_grid, evidence.pair.fine_grid
    said = []
    if evidence.fine is not None:
        own = next(iter(evidence.fine.models.values()))
        beyond = np.arange(_last_shell(coarse) + 1, _last_shell(fine) + 1)
        error = spectrum_error_db(own.power, own.truth_power, beyond)
        said.append(sentences.spectrum_limit(error, beyond, own.truth_power, shape_text(fine)))
        said.append(sentences.detail_limit(own.truth_power, _last_shell(coarse), shape_text(coarse), shape_text(fine)))
    if abs(_finer_ratio(evidence) - 1) > FINER_CHANGE:
        said.append(_finer_sentence(evidence))
    if evidence.consistency.field > sentences.SAME_FIELD:
        said.append(_consistency_sentence(evidence))
    return said
