# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Further sections of a page of scores: distributions, events, maps, scores over time, comparisons."""

from collections.abc import Sequence

import numpy as np

from physicsnemo_fs.metrics.bootstrap import Interval
from physicsnemo_fs.pipelines import figures, score_figures
from physicsnemo_fs.pipelines.numerals import interval_text, number, unit_text
from physicsnemo_fs.pipelines.report import score_sentences
from physicsnemo_fs.pipelines.report.evidence import Evidence
from physicsnemo_fs.pipelines.report.page import Cell, folded, heading, paragraph, picture, side_by_side, table
from physicsnemo_fs.pipelines.report.sections import (
    axis_label,
    baselines,
    brackets,
    count_text,
    crps_name,
    model_label,
)
from physicsnemo_fs.pipelines.score_output import ScoreRow


def distribution(evidence: Evidence) -> list[str]:
    """Compare the distributions of values."""
    own = evidence.scores.models[evidence.ensemble]
    if not own.values.size:
        return []
    names = [*baselines(evidence), evidence.ensemble]
    colours = figures.model_colours(names)
    lines = {
        model_label(evidence, name): (
            evidence.scores.models[name].histogram,
            colours[name],
            "-" if name == evidence.ensemble else "--",
        )
        for name in names
    }
    sentence = score_sentences.tail_sentence(own.values, own.histogram, own.truth_histogram, unit_text(evidence.unit))
    figure = score_figures.distribution_figure(own.values, own.truth_histogram, lines, axis_label(evidence))
    return [
        heading("Do the extremes come as often as they should?"),
        paragraph(sentence),
        picture(
            figure,
            f"{evidence.tag}values",
            f"Distributions of {evidence.name} on a logarithmic axis. {sentence}",
            "How often each value comes, at all points and times, on a logarithmic axis: the tails are the extremes. "
            "The outermost bins also hold what lies beyond.",
        ),
    ]


def scatter(evidence: Evidence) -> list[str]:
    """Show the mean of the members against the truth, and the distribution of ranks."""
    if evidence.scatter is None:
        return []
    parts = [
        picture(
            score_figures.scatter_figure(evidence.scatter.edges, evidence.scatter.counts, axis_label(evidence)),
            f"{evidence.tag}scatter",
            f"Density of the mean of the members of {evidence.name} over the truth, with the diagonal.",
            f"All points of {count_text(evidence.scatter.times, 'time')}, on a logarithmic scale of colours. The "
            "mean of the members is smoother than the truth, so that its largest values are smaller.",
            wide=False,
        )
    ]
    if evidence.members > 1:
        ranks = evidence.scores.models[evidence.ensemble].ranks
        error = evidence.interval(evidence.ensemble, "ece")
        parts.append(
            picture(
                score_figures.rank_distribution_figure(ranks),
                f"{evidence.tag}rank-distribution",
                "How often the truth is below each quantile of the members, with the diagonal.",
                "How often the truth lies below each quantile of the members, against how often it should. Steeper "
                "than the diagonal in the middle: members too far apart; flatter: too alike. Mean distance from the "
                f"diagonal (calibration error): {number(error.estimate, 2)}.",
                wide=False,
            )
        )
    return [heading("How do forecast and truth meet?"), side_by_side(parts)]


def reliability(evidence: Evidence) -> list[str]:
    """Show whether probabilities of events can be taken at their word."""
    own = evidence.scores.models[evidence.ensemble]
    if not own.events or evidence.members < 2:
        return []
    unit = unit_text(evidence.unit)
    tables = {f"above {threshold:g} {unit}".strip(): found for threshold, found in own.events.items()}
    sentence = " ".join(score_sentences.event_sentence(label, found) for label, found in tables.items())
    return [
        heading("Can its probabilities be taken at their word?"),
        paragraph(sentence),
        picture(
            score_figures.reliability_figure(tables),
            f"{evidence.tag}reliability",
            f"Reliability diagram. {sentence}",
            "Left: of all points where a share of the members had the event, at how many it happened; on the dashed "
            "line probabilities are right, below it they are too high. Right: how often each share was forecast.",
        ),
    ]


def maps(evidence: Evidence) -> list[str]:
    """Show where the forecast is good."""
    own = evidence.scores.models[evidence.ensemble]
    if own.crps_map is None or own.error_map is None:
        return []
    fields = {"crps": (own.crps_map, "mean CRPS", "CRPS"), "error": (own.error_map, "mean error", "bias")}
    return [
        heading("Where is it good, where not?"),
        side_by_side(
            [
                picture(
                    score_figures.map_figure(field, name, f"{label} {brackets(evidence)}".strip()),
                    f"{evidence.tag}{key}-map",
                    f"Map of the {name} of {evidence.name}.",
                    f"{name[0].upper()}{name[1:]} at each point, over all times"
                    + (" of the first region." if evidence.regions > 1 else "."),
                    wide=False,
                )
                for key, (field, name, label) in fields.items()
            ]
        ),
    ]


def series(evidence: Evidence) -> list[str]:
    """Show the CRPS over time."""
    if evidence.times < 2:
        return []
    names = [*baselines(evidence), evidence.ensemble]
    colours, lines = figures.model_colours(names), {}
    for name in names:
        metrics = evidence.scores.models[name].metrics
        fair = metrics["crps_fair"]
        values = metrics["mae"] if np.isnan(fair).all() else fair
        lines[model_label(evidence, name)] = (values, evidence.interval(name, "crps"), colours[name])
    times = evidence.scores.models[evidence.ensemble].times
    label, own = f"{crps_name(evidence)} {brackets(evidence)}".strip(), evidence.scores.models[evidence.ensemble]
    joined = evidence.regions == 1 and not own.leads.size
    figure = score_figures.series_figure(times, lines, label[0].lower() + label[1:], joined)
    return [
        heading("Is it good all the time?"),
        picture(
            figure,
            f"{evidence.tag}series",
            f"Fair CRPS of {evidence.name} at each time.",
            "Fair CRPS at each time; of a single forecast its mean absolute error. Right: the mean over all times with "
            "its interval from resampling independent blocks.",
        ),
    ]


def bias(evidence: Evidence) -> str:
    """Say whether the forecast is biased."""
    row = evidence.result.row(evidence.ensemble, "bias", evidence.variable)
    return score_sentences.bias_sentence(
        evidence.interval(evidence.ensemble, "bias"), evidence.name, row.variable, unit_text(evidence.unit)
    )


def all_numbers(evidence: Evidence, rows: Sequence[ScoreRow]) -> list[str]:
    """Give every number of the judged model, of areas and lead times too."""
    own = [r for r in rows if r.model == evidence.ensemble and r.variable == evidence.variable and np.isfinite(r.value)]
    lines = []
    for row in own:
        where = " · ".join(filter(None, [row.area, f"{row.lead_time} h" if row.lead_time else ""]))
        name = f"{row.metric} ({where})" if where else row.metric
        interval = interval_text(evidence_interval(row))
        lines.append((name, [Cell(number(row.value), interval), Cell(row.estimator)]))
    caption = "The same as in scores_summary.csv, with its intervals."
    return [folded("Every number", table(["score", "value", "how it is made"], lines, caption))]


def evidence_interval(row: ScoreRow) -> Interval:
    """Give a row's value with its interval."""
    return Interval(row.value, row.ci_lo, row.ci_hi, 0)
