# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The page that scoring writes: every variable of the first ensemble, with figures and plain sentences."""

from contextlib import closing
from pathlib import Path

from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.pipelines.report import extreme_sections, score_sections, sections
from physicsnemo_fs.pipelines.report.evidence import Evidence, gather
from physicsnemo_fs.pipelines.report.page import bullets, heading, page, paragraph
from physicsnemo_fs.pipelines.report.score_sentences import dispersion_sentence
from physicsnemo_fs.pipelines.score import ScoreResult
from physicsnemo_fs.pipelines.score_files import open_source

TIMES_AGAIN = 8
"""Times whose samples are read once more for the calibration figures."""


def write_scores_report(output: Path, result: ScoreResult) -> Path:
    """Write what scoring found as one HTML page that needs nothing else.

    Args:
        output: The page.
        result: Scores; the samples they are of are read for pictures.

    Returns:
        ``output``.

    Raises:
        InputError: If the samples or the scores cannot be read any more.
    """
    models = [row.model for row in result.rows if row.n_members]
    judged = models[0]
    variables = list(dict.fromkeys(row.variable for row in result.rows if row.model == judged))
    body: list[str] = []
    with closing(open_source(result.samples, result.truth, result.preset, result.max_members)) as samples:
        for place, variable in enumerate(variables):
            tag = f"v{place}-" if place else ""
            body += _variable(gather(samples, result, variable=variable, tag=tag, most_times=TIMES_AGAIN), result)
    if result.failures:
        body += [heading("Files that could not be scored"), bullets([message for _, message in result.failures])]
    with atomic_path(output) as temporary:
        temporary.write_text(page(f"Scores of {judged}", body), encoding="utf-8")
    return output


def _variable(evidence: Evidence, result: ScoreResult) -> list[str]:
    ranks = evidence.scores.models[evidence.ensemble].ranks
    said = [score_sections.bias(evidence), dispersion_sentence(ranks) if evidence.members > 1 else ""]
    return [
        *sections.headline(evidence, f"{evidence.name}: scores of {evidence.ensemble}"),
        paragraph(" ".join(filter(None, said)), "lead"),
        *sections.one_time(evidence),
        *sections.comparison(evidence),
        *score_sections.series(evidence),
        *extreme_sections.leads(evidence),
        *score_sections.maps(evidence),
        *sections.spectrum(evidence),
        *score_sections.distribution(evidence),
        *extreme_sections.maxima(evidence),
        *score_sections.scatter(evidence),
        *sections.calibration(evidence),
        *score_sections.reliability(evidence),
        *sections.limits(evidence),
        *score_sections.all_numbers(evidence, result.rows),
    ]
