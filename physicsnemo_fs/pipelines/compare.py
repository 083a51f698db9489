# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which of several runs is better, and how sure that is: paired differences of all scores."""

import csv
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import netCDF4
import numpy as np

from physicsnemo_fs.config.scores import CompareConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path, make_folder
from physicsnemo_fs.metrics.bootstrap import Interval, Resampling, block_bootstrap
from physicsnemo_fs.metrics.scorecard import Scorecard
from physicsnemo_fs.metrics.statistics import Case, Metric, distance_from_best, divide
from physicsnemo_fs.pipelines.numerals import number
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.score_files import block_numbers
from physicsnemo_fs.pipelines.score_output import aligned
from physicsnemo_fs.pipelines.score_store import read_sums
from physicsnemo_fs.pipelines.score_tasks import INTERPOLATION, REGRESSION

NEITHER = "neither"
TRUTH_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Comparison:
    """One score of one run beside the reference's.

    Args:
        metric: Name of the score.
        variable: Name of the variable.
        area: Named part of the domain; empty for all of it.
        reference: Name of the first run.
        model: Name of the other run.
        reference_value: Score of the reference at the common cases.
        value: Score of the other there.
        difference: Value minus reference value.
        ci_lo: Lower end of the interval of the difference; NaN with a single block.
        ci_hi: Upper end.
        winner: The better run, if the interval says so, else ``"neither"``; empty for scores without a best value.
        n_times: Number of common cases.
        n_blocks: Number of independent blocks.
    """

    metric: str
    variable: str
    area: str
    reference: str
    model: str
    reference_value: float
    value: float
    difference: float
    ci_lo: float
    ci_hi: float
    winner: str
    n_times: int
    n_blocks: int


Run = tuple[str, dict[str, tuple[Scorecard, dict[Case, int]]]]


def compare(
    paths: Sequence[Path | str], *, confidence: float = 0.95, bootstrap_samples: int = 1000, seed: int = 0
) -> list[Comparison]:
    """Compare runs at the cases that all of them have, the same resampled blocks for both of each pair.

    Args:
        paths: Two or more ``scores.nc`` (their first models are compared), or samples files; the first is the
            reference. One ``scores.nc`` of several ensembles is also enough.
        confidence: Level of the intervals.
        bootstrap_samples: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        InputError: If there are not two runs, or they have no variable, case or truth in common.
    """
    runs = _runs([Path(path) for path in paths])
    if len(runs) < 2:
        raise InputError(f"a comparison needs two runs or more: got {[name for name, _ in runs]}")
    (reference, cards), found = runs[0], []
    for name, others in runs[1:]:
        shared = [variable for variable in cards if variable in others]
        if not shared:
            raise InputError(f"{reference} and {name} must share variables: got {list(cards)} and {list(others)}")
        for variable in shared:
            found += _compare_cards(
                (reference, name), cards[variable], others[variable], confidence, bootstrap_samples, seed
            )
    return found


def _runs(paths: Sequence[Path]) -> list[Run]:
    kinds = {_holds_scores(path) for path in paths}
    if kinds == {True}:
        stored = [(path, read_sums(path)) for path in paths]
        if len(stored) == 1:
            return [(name, cards) for name, cards in stored[0][1].items() if name not in (INTERPOLATION, REGRESSION)]
        runs = [(path, *next(iter(models.items()))) for path, models in stored]
        names = [name for _, name, _ in runs]
        return [
            (name if names.count(name) == 1 else f"{name} ({path.parent.name}/{path.stem})", cards)
            for path, name, cards in runs
        ]
    if kinds == {False}:
        with tempfile.TemporaryDirectory() as folder:
            result = score(paths, folder, quiet=True, bootstrap_samples=1)
            if result.failures:
                raise InputError(result.failures[0][1])
            return _runs([result.scores_path])
    raise InputError("a comparison needs scores only or samples only: got both kinds; score the samples first")


def _holds_scores(path: Path) -> bool:
    if not path.exists():
        raise InputError(f"no such file: {path}")
    if path.is_dir():
        return False
    try:
        with netCDF4.Dataset(path) as dataset:
            return "models" in dataset.groups
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} is not a readable NetCDF-4 file ({error}); is it truncated?") from error


def _compare_cards(
    names: tuple[str, str],
    first: tuple[Scorecard, dict[Case, int]],
    second: tuple[Scorecard, dict[Case, int]],
    confidence: float,
    samples: int,
    seed: int,
) -> list[Comparison]:
    cases = sorted(set(first[0].cases) & set(second[0].cases))
    if not cases:
        raise InputError(f"{names[0]} and {names[1]} must share times: none is in both")
    cards = first[0].only(cases), second[0].only(cases)
    _check_truth(names, cards)
    resampling = Resampling(block_numbers({case: first[1][case] for case in cases}), confidence, samples, seed)
    found = []
    for area in cards[0].areas:
        others = {metric.name: metric for metric in cards[1].all_metrics(area)} if area in cards[1].areas else {}
        for metric in cards[0].all_metrics(area):
            other = others.get(metric.name)
            if other and _defined(cards[0], metric, area) and _defined(cards[1], other, area):
                found.append(_compare_metric(names, cards, (metric, other), area, resampling))
    return found


def _defined(card: Scorecard, metric: Metric, area: str) -> bool:
    return all(name in card.statistics_of(area) for name in metric.statistics)


def _compare_metric(
    names: tuple[str, str],
    cards: tuple[Scorecard, Scorecard],
    metrics: tuple[Metric, Metric],
    area: str,
    resampling: Resampling,
) -> Comparison:
    count = len(metrics[0].statistics)
    series = [entry for card, metric in zip(cards, metrics, strict=True) for entry in card.series(metric, area)]
    best = metrics[0].best

    def values(*means):
        return metrics[0].function(*means[:count]), metrics[1].function(*means[count:])

    def difference(*means):
        own, other = values(*means)
        return np.asarray(other) - np.asarray(own)

    def advantage(*means):
        own, other = values(*means)
        return distance_from_best(other, best) - distance_from_best(own, best)

    gap = block_bootstrap(difference, series, resampling)
    own, other = (
        float(metric.function(*(divide(sums.sum(0), weights.sum()) for sums, weights in part)))
        for metric, part in zip(metrics, (series[:count], series[count:]), strict=True)
    )
    winner = "" if best == "none" else _winner(names, block_bootstrap(advantage, series, resampling))
    interval = (gap.estimate, gap.low, gap.high)
    card = cards[0]
    return Comparison(
        metrics[0].name, card.variable, area, *names, own, other, *interval, winner, len(card.cases), gap.blocks
    )


def _winner(names: tuple[str, str], advantage: Interval) -> str:
    if advantage.low > 0:
        return names[0]
    return names[1] if advantage.high < 0 else NEITHER


def _check_truth(names: tuple[str, str], cards: tuple[Scorecard, Scorecard]) -> None:
    for area in [area for area in cards[0].areas if area in cards[1].areas]:
        first, second = (card.statistics_of(area)["truth_squared"] for card in cards)
        if not np.allclose(first.means(), second.means(), rtol=TRUTH_TOLERANCE, equal_nan=True):
            where = f" in {area!r}" if area else ""
            raise InputError(
                f"runs must be scored against one truth: that of {cards[0].variable!r}{where} differs between "
                f"{names[0]} and {names[1]}; were they made from different data, masks, areas or missing points?"
            )


def run_compare(config: CompareConfig) -> None:
    """Print the comparison, and write it if an output folder is given."""
    paths = config.path if isinstance(config.path, list) else [config.path]
    found = compare(paths, confidence=config.confidence, bootstrap_samples=config.bootstrap_samples, seed=config.seed)
    print(comparison_table(found, config.confidence))  # noqa: T201
    if config.output is None:
        return
    from physicsnemo_fs.pipelines.report.compare_page import write_comparison

    folder = make_folder(config.output)
    write_comparisons(folder / "comparison.csv", found)
    print(folder / "comparison.csv", write_comparison(folder / "comparison.html", found), sep="\n")  # noqa: T201


def write_comparisons(path: Path, found: Sequence[Comparison]) -> None:
    """Write comparisons as CSV, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow([field.name for field in fields(Comparison)])
        for row in found:
            table.writerow([f"{value:.9g}" if isinstance(value, float) else value for value in astuple(row)])


def comparison_table(found: Sequence[Comparison], confidence: float) -> str:
    """Give comparisons as text, one line each, with who wins."""
    lines = [["variable", "score", "reference", "other", "difference", f"{100 * confidence:g} % interval", "better"]]
    for row in found:
        interval = "-" if np.isnan(row.ci_lo) else f"{number(row.ci_lo)} .. {number(row.ci_hi)}"
        name = f"{row.metric} ({row.area})" if row.area else row.metric
        numbers = [number(value) for value in (row.reference_value, row.value, row.difference)]
        lines.append([row.variable, name, *numbers, interval, row.winner])
    first = found[0]
    pairs = ", ".join(dict.fromkeys(row.model for row in found))
    note = (
        f"Reference: {first.reference}; other: {pairs}; {first.n_times} common times, {first.n_blocks} blocks, paired."
    )
    return "\n".join([*aligned(lines), note])
