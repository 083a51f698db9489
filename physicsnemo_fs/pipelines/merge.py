# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scores of parts, made by several jobs, merged to what one pass over everything gives, in every bit."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from physicsnemo_fs.config.scores import MergeConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.bootstrap import Resampling
from physicsnemo_fs.metrics.scorecard import Scorecard
from physicsnemo_fs.metrics.statistics import Case
from physicsnemo_fs.pipelines.score_files import block_numbers
from physicsnemo_fs.pipelines.score_output import (
    Cards,
    format_table,
    output_paths,
    score_rows,
    write_scores,
    write_summary,
)
from physicsnemo_fs.pipelines.score_store import Stored, read_sums


def merge(
    paths: Sequence[Path | str],
    output: Path | str,
    *,
    confidence: float = 0.95,
    bootstrap_samples: int = 1000,
    seed: int = 0,
) -> tuple[Path, Path, str]:
    """Merge scores of disjoint times of the same models.

    Args:
        paths: Two or more ``scores.nc``; models and their order are those of the first.
        output: Folder for ``scores.nc`` and ``scores_summary.csv``; or the name of the ``.nc`` file.
        confidence: Coverage of the intervals.
        bootstrap_samples: Number of resamples.
        seed: Seed of the bootstrap.

    Returns:
        The two paths and the table to read.

    Raises:
        InputError: If there are not two, they share a time, or they score different things.
    """
    if len(paths) < 2:
        raise InputError(f"merging needs two scores.nc or more: got {len(paths)}")
    scores_path, summary_path = output_paths(Path(output))
    if scores_path.resolve() in {Path(path).resolve() for path in paths}:
        raise InputError(
            f"merged scores must not replace what they merge: output={output} would overwrite {scores_path}"
        )
    parts = [(Path(path), read_sums(Path(path))) for path in paths]
    cards = merged_cards(parts)
    labels: dict[Case, int] = {}
    for _, stored in parts:
        labels |= next(iter(next(iter(stored.values())).values()))[1]
    resampling = Resampling(block_numbers(labels), confidence, bootstrap_samples, seed)
    rows = score_rows(cards, resampling)
    write_scores(scores_path, cards, resampling, labels)
    write_summary(summary_path, rows)
    return scores_path, summary_path, format_table(rows, confidence)


def merged_cards(parts: Sequence[tuple[Path, Stored]]) -> Cards:
    """Merge the scorecards of each model and variable.

    Raises:
        InputError: If a part has other models or variables, or they do not merge.
    """
    (first, known), *_ = parts
    for path, stored in parts:
        have, want = (sorted((m, v) for m, variables in s.items() for v in variables) for s in (stored, known))
        if have != want:
            unequal = sorted(set(have) ^ set(want))
            raise InputError(
                f"parts must score the same models and variables: {path} and {first} differ in "
                + ", ".join(f"{model} {variable}" for model, variable in unequal)
            )
    return {
        model: {
            variable: reduce(Scorecard.merge, (stored[model][variable][0] for _, stored in parts))
            for variable in variables
        }
        for model, variables in known.items()
    }


def run_merge(config: MergeConfig) -> None:
    """Merge, print the table and say where the results are."""
    paths = config.path if isinstance(config.path, list) else [config.path]
    *written, table = merge(
        paths,
        config.output,
        confidence=config.confidence,
        bootstrap_samples=config.bootstrap_samples,
        seed=config.seed,
    )
    print(table, *written, sep="\n")  # noqa: T201
