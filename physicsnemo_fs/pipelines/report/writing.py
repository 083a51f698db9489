# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From files and scores to the page."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.consistency import Consistency
from physicsnemo_fs.pipelines.report import sections
from physicsnemo_fs.pipelines.report.evidence import gather
from physicsnemo_fs.pipelines.report.page import page
from physicsnemo_fs.pipelines.score import ScoreResult


def write_report(
    output: Path,
    *,
    title: str,
    samples: Path,
    scores: ScoreResult,
    fine_samples: Path | None = None,
    fine_scores: ScoreResult | None = None,
    consistency: Consistency | None = None,
    timings: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write what a run has reached as one HTML page that needs nothing else.

    The first variable is shown. The first model in the scores is the ensemble; ``interpolation``,
    ``regression`` and ``dressed regression`` are known, further ones appear under their own names.

    Args:
        output: The page.
        title: Title, plain text.
        samples: The ensemble, with truth.
        scores: What scoring it beside its baselines found; ``scores.scores_path`` is read.
        fine_samples: The same members (seeds) on a finer grid of the same torus, at some of the times; shown if
            ``consistency`` is given too.
        fine_scores: What scoring those found.
        consistency: How well the two agree.
        timings: Seconds of each stage, in order.
        facts: What else to say of the run (hardware, versions, parameters ...); ``command`` is set as code.

    Returns:
        ``output``.

    Raises:
        InputError: If files lack truth, a time or a seed, or do not fit the scores.
    """
    with ExitStack() as stack:
        coarse = stack.enter_context(EnsembleFile(samples))
        fine = None if fine_samples is None else stack.enter_context(EnsembleFile(fine_samples))
        evidence = gather(coarse, scores, fine, fine_scores, consistency)
    body = [
        *sections.headline(evidence, title),
        *sections.one_time(evidence),
        *sections.comparison(evidence),
        *sections.spectrum(evidence),
        *sections.calibration(evidence),
        *sections.same_seed(evidence),
        *sections.limits(evidence),
        *sections.making(timings or {}, facts or {}),
    ]
    with atomic_path(output) as temporary:
        temporary.write_text(page(title, body), encoding="utf-8")
    return output
