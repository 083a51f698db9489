# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A page that says who wins where."""

from collections.abc import Sequence
from pathlib import Path

from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.metrics.bootstrap import Interval
from physicsnemo_fs.pipelines.compare import NEITHER, Comparison
from physicsnemo_fs.pipelines.numerals import interval_text, number
from physicsnemo_fs.pipelines.report.page import Cell, heading, page, paragraph, table
from physicsnemo_fs.pipelines.report.sentences import enumeration


def write_comparison(output: Path, found: Sequence[Comparison]) -> Path:
    """Write comparisons as one HTML page.

    Args:
        output: The page.
        found: Comparisons with one reference.
    """
    reference = found[0].reference
    body = [heading(f"Compared with {reference}", 1)]
    for model, variable in dict.fromkeys((row.model, row.variable) for row in found):
        rows = [row for row in found if (row.model, row.variable) == (model, variable)]
        body += [heading(f"{variable}: {model}"), paragraph(verdict(rows)), _table(rows)]
    with atomic_path(output) as temporary:
        temporary.write_text(page(f"Compared with {reference}", body), encoding="utf-8")
    return output


def verdict(rows: Sequence[Comparison]) -> str:
    """Say who wins where.

    Args:
        rows: Comparisons of one run and variable.
    """
    said = []
    for name in (rows[0].model, rows[0].reference):
        won = [row.metric for row in rows if row.winner == name and not row.area]
        if won:
            said.append(f"{name} is better in {enumeration(won)}.")
    open_ones = sum(row.winner == NEITHER for row in rows)
    if open_ones:
        said.append(f"{open_ones} further scores cannot be told apart on {rows[0].n_blocks} independent blocks.")
    return " ".join(said)


def _table(rows: Sequence[Comparison]) -> str:
    lines = []
    for row in rows:
        name = f"{row.metric} ({row.area})" if row.area else row.metric
        change = Cell(number(row.difference), interval_text(Interval(row.difference, row.ci_lo, row.ci_hi, 0)))
        values = [
            Cell(number(value), best=row.winner == who)
            for value, who in ((row.reference_value, row.reference), (row.value, row.model))
        ]
        lines.append((name, [*values, change, Cell(row.winner)]))
    caption = (
        f"{rows[0].n_times} common times; the interval of the difference comes from resampling {rows[0].n_blocks} "
        "independent blocks, the same for both. Bold: better beyond that interval."
    )
    return table(["score", rows[0].reference, rows[0].model, "difference", "better"], lines, caption)
