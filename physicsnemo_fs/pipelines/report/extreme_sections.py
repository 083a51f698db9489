# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Sections of a page of scores that only some data have: annual maxima, lead times."""

import numpy as np

from physicsnemo_fs.metrics.bootstrap import Interval
from physicsnemo_fs.pipelines import figures, score_figures
from physicsnemo_fs.pipelines.numerals import interval_text
from physicsnemo_fs.pipelines.report.evidence import Evidence
from physicsnemo_fs.pipelines.report.page import heading, paragraph, picture, side_by_side
from physicsnemo_fs.pipelines.report.sections import axis_label, brackets

LEAD_SCORES = {
    "crps_fair": ("fair CRPS", figures.BLUE),
    "rmse": ("error of the mean (RMSE)", figures.VERMILLION),
    "spread": ("spread", figures.GREEN),
}


def maxima(evidence: Evidence) -> list[str]:
    """Compare annual maxima, where they were kept."""
    own = evidence.scores.models[evidence.ensemble]
    if own.maxima is None or not np.isfinite(own.maxima[0] - own.maxima[1]).any():
        return []
    row = evidence.result.row(evidence.ensemble, "annual_maximum_ratio", evidence.variable)
    sentence = maxima_sentence(Interval(row.value, row.ci_lo, row.ci_hi, 0))
    drawn = score_figures.maxima_figures(*own.maxima, axis_label(evidence), brackets(evidence))
    kinds = ("the truth", "the members, their mean", "the members minus that of the truth")
    where = ", mean over years" + (", in the first region" if evidence.regions > 1 else "")
    return [
        heading("Are the annual maxima right?"),
        paragraph(sentence),
        side_by_side(
            [
                picture(
                    figure,
                    f"{evidence.tag}maxima-{number}",
                    f"Map of the annual maximum of {evidence.name}, {what}.",
                    f"Annual maximum of {what}{where}.",
                    wide=False,
                )
                for number, (figure, what) in enumerate(zip(drawn, kinds, strict=True))
            ]
        ),
    ]


def maxima_sentence(ratio: Interval) -> str:
    """Say whether annual maxima are too high or too low.

    Args:
        ratio: Mean annual maximum of the members over the truth's.

    Example:
        >>> maxima_sentence(Interval(0.8, 0.7, 0.9, 5))
        'The annual maxima of the members are 20 % too low on average (interval of the ratio 0.700–0.900).'
    """
    if np.isnan(ratio.estimate):
        return ""
    text = interval_text(ratio)
    ends = f" (interval of the ratio {text})" if text else " (one year gives no interval)"
    if ratio.low <= 1 <= ratio.high or abs(ratio.estimate - 1) < 0.005:
        return f"The annual maxima of the members are those of the truth on average{ends}."
    side = "high" if ratio.estimate > 1 else "low"
    return f"The annual maxima of the members are {100 * abs(ratio.estimate - 1):.0f} % too {side} on average{ends}."


def leads(evidence: Evidence) -> list[str]:
    """Show how scores change with lead time, where there are several."""
    rows = [r for r in evidence.result.rows if (r.model, r.variable) == (evidence.ensemble, evidence.variable)]
    lines = {}
    for metric, (label, colour) in LEAD_SCORES.items():
        found = sorted((float(r.lead_time), r) for r in rows if r.metric == metric and r.lead_time and not r.area)
        if len(found) > 1 and np.isfinite([r.value for _, r in found]).any():
            values = [Interval(r.value, r.ci_lo, r.ci_hi, 0) for _, r in found]
            lines[label] = ([hours for hours, _ in found], values, colour)
    if not lines:
        return []
    return [
        heading("How does it age with lead time?"),
        picture(
            score_figures.lead_figure(lines, f"score {brackets(evidence)}".strip()),
            f"{evidence.tag}leads",
            f"Scores of {evidence.name} over lead time.",
            "Scores at each lead time, with intervals from resampling independent blocks. Spread and error of the mean "
            "should grow together.",
        ),
    ]
