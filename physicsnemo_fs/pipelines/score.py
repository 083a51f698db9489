# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scoring files of generated ensembles against their truth."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.bootstrap import Resampling
from physicsnemo_fs.metrics.scorecard import Scorecard, paired_crps_ratio
from physicsnemo_fs.pipelines.score_output import (
    MISSING_POINTS,
    Cards,
    ScoreRow,
    format_table,
    write_scores,
    write_summary,
)

INTERPOLATION = "interpolation"
REGRESSION = "regression"
TRUTH_TOLERANCE = 1e-5
"""Largest difference of two files' truths, relative to the largest truth, that counts as rounding."""


@dataclass(frozen=True)
class ScoreResult:
    """What scoring found and where it is.

    Args:
        rows: All numbers, as in ``scores_summary.csv``.
        table: The headline numbers as text.
        scores_path: ``scores.nc``.
        summary_path: ``scores_summary.csv``.
    """

    rows: tuple[ScoreRow, ...]
    table: str
    scores_path: Path
    summary_path: Path

    def row(self, model: str, metric: str, variable: str) -> ScoreRow:
        """Give one row.

        Raises:
            InputError: If there is none.
        """
        for row in self.rows:
            if (row.model, row.metric, row.variable) == (model, metric, variable):
                return row
        raise InputError(
            f"no score {metric!r} of {variable!r} for {model!r}: models are "
            f"{sorted({r.model for r in self.rows})}, metrics {sorted({r.metric for r in self.rows})}"
        )


@dataclass(frozen=True)
class _Forecast:
    """One row of the comparison: where its fields come from."""

    name: str
    members: int
    variables: tuple[str, ...]
    read: Callable[[str, np.datetime64], np.ndarray]


def score(
    paths: Sequence[Path | str],
    output: Path | str,
    *,
    kmax: int | None = None,
    confidence: float = 0.95,
    bootstrap_samples: int = 1000,
    seed: int = 0,
    max_members: int | None = None,
    quiet: bool = False,
) -> ScoreResult:
    """Score ensembles, and the baselines in the first file, against the truth of the first file.

    The models are: the ensemble of each file (named by the model in its provenance, or by the file), then
    ``interpolation`` (the first file's input as a forecast, for the variables it has) and ``regression`` (its
    regression mean). Baselines are single forecasts: their CRPS is their MAE. Every further model also gets
    ``crps_ratio``, its CRPS over that of the first, from the same times and blocks. Fields are read one time
    at a time.

    Args:
        paths: Files of ensembles; the first one must hold truth, the others its times and variables.
        output: Folder for ``scores.nc`` and ``scores_summary.csv``; or the name of the ``.nc`` file.
        kmax: Last wavenumber shell of the spectrum error; ``None`` takes the energetic shells.
        confidence: Coverage of the intervals, by a bootstrap over independent blocks.
        bootstrap_samples: Number of resamples.
        seed: Seed of bootstrap and random ties.
        max_members: Score the first members only; ``None`` takes all.
        quiet: No progress bar and no table.

    Returns:
        Rows, table and the paths written.

    Raises:
        InputError: If files lack truth, do not belong together, or an argument is out of range.
    """
    scores_path, summary_path = _output_paths(Path(output))
    for path in _path_list(paths):
        if Path(path).resolve() in (scores_path.resolve(), summary_path.resolve()):
            raise InputError(f"the scores must not replace what they score: output={output} would overwrite {path}")
    with ExitStack() as stack:
        files = [stack.enter_context(EnsembleFile(path)) for path in _path_list(paths)]
        truth = files[0]
        variables = _scored_variables(truth)
        order = np.argsort(truth.times)
        resampling = Resampling(truth.blocks[order], confidence, bootstrap_samples, seed)
        forecasts = _forecasts(files, variables, max_members)
        cards = {
            forecast.name: {
                variable: Scorecard(truth.grid, forecast.members, variable=variable, seed=seed, kmax=kmax)
                for variable in forecast.variables
            }
            for forecast in forecasts
        }
        _check_truths(files, variables)
        for index in tqdm(order, desc="scoring", unit="time", disable=True if quiet else None):
            _score_time(truth, int(index), variables, forecasts, cards)
        units = {variable: truth.channel(variable).unit for variable in variables}
    return _finish(cards, units, resampling, scores_path, summary_path, quiet)


def _path_list(paths: Sequence[Path | str]) -> list[Path]:
    if isinstance(paths, str | Path):
        return [Path(paths)]
    if not paths:
        raise InputError("scoring needs at least one file: got none")
    return [Path(path) for path in paths]


def _scored_variables(file: EnsembleFile) -> tuple[str, ...]:
    if not file.has_truth:
        raise InputError(f"scoring needs truth: {file.path.name} has only the groups {list(file.groups)}")
    known = file.fields("truth")
    variables = tuple(variable for variable in file.variables if variable in known)
    if not variables:
        raise InputError(
            f"prediction and truth of {file.path.name} must share variables: got {list(file.variables)} and "
            f"{list(known)}"
        )
    return variables


def _forecasts(files: Sequence[EnsembleFile], variables: tuple[str, ...], max_members: int | None) -> list[_Forecast]:
    names = _distinct_names(files)
    forecasts = [_ensemble(name, file, variables, max_members) for name, file in zip(names, files, strict=True)]
    first = files[0]
    interpolated = tuple(variable for variable in variables if variable in first.input_variables)
    if interpolated:
        forecasts.append(_Forecast(INTERPOLATION, 1, interpolated, _single(first, first.input)))
    if first.has_regression:
        forecasts.append(_Forecast(REGRESSION, 1, variables, _single(first, first.regression)))
    return forecasts


def _distinct_names(files: Sequence[EnsembleFile]) -> list[str]:
    names = [file.model_name for file in files]
    taken = [*names, INTERPOLATION, REGRESSION]
    names = [
        f"{name} ({file.path.stem})" if taken.count(name) > 1 else name for name, file in zip(names, files, strict=True)
    ]
    if len(set(names)) < len(names):
        raise InputError(f"scored files must differ in model name or file name: got {names}")
    return names


def _ensemble(name: str, file: EnsembleFile, variables: tuple[str, ...], max_members: int | None) -> _Forecast:
    absent = [variable for variable in variables if variable not in file.variables]
    if absent:
        raise InputError(f"{file.path.name} must predict {list(variables)}: {absent} are missing")
    available = len(file.members)
    members = available if max_members is None else max_members
    if not 1 <= members <= available:
        raise InputError(f"max_members must be 1 to {available} for {file.path.name}: got {max_members}")
    index = _time_index(file)
    return _Forecast(name, members, variables, lambda variable, time: file.prediction(variable, index[time])[:members])


def _single(file: EnsembleFile, read: Callable[[str, int], np.ndarray]) -> Callable[[str, np.datetime64], np.ndarray]:
    index = _time_index(file)
    return lambda variable, time: read(variable, index[time])[None]


def _time_index(file: EnsembleFile) -> dict[np.datetime64, int]:
    return {time: index for index, time in enumerate(file.times)}


def _check_truths(files: Sequence[EnsembleFile], variables: tuple[str, ...]) -> None:
    """Refuse further files of other times, grids or truths than the first."""
    first = files[0]
    for file in files[1:]:
        index = _time_index(file)
        absent = [time for time in first.times if time not in index]
        if absent:
            raise InputError(
                f"{file.path.name} must have the times of {first.path.name}: {len(absent)} of "
                f"{first.times.size} are missing, first {absent[0]}"
            )
        if file.grid.shape != first.grid.shape:
            raise InputError(
                f"{file.path.name} must have the grid {first.grid.shape} of {first.path.name}: got {file.grid.shape}"
            )
        for variable in variables if file.has_truth else ():
            for position, time in enumerate(first.times):
                _check_truth(first.truth(variable, position), file.truth(variable, index[time]), variable, file, time)


def _check_truth(
    expected: np.ndarray, found: np.ndarray, variable: str, file: EnsembleFile, time: np.datetime64
) -> None:
    scale = np.nanmax(np.abs(expected), initial=0.0)
    if not np.allclose(found, expected, rtol=0.0, atol=TRUTH_TOLERANCE * scale, equal_nan=True):
        raise InputError(
            f"files must have one truth: {variable!r} of {file.path.name} at {time} differs from the first "
            "file's; were they made from different data?"
        )


def _score_time(
    file: EnsembleFile, index: int, variables: tuple[str, ...], forecasts: Sequence[_Forecast], cards: Cards
) -> None:
    time = file.times[index]
    for variable in variables:
        truth = file.truth(variable, index)
        for forecast in forecasts:
            if variable in forecast.variables:
                cards[forecast.name][variable].add(time, forecast.read(variable, time), truth)


def _output_paths(output: Path) -> tuple[Path, Path]:
    """Give the paths of the scores and of their summary."""
    scores_path = output if output.suffix == ".nc" else output / "scores.nc"
    return scores_path, scores_path.with_name(f"{scores_path.stem}_summary.csv")


def _finish(
    cards: Cards, units: dict[str, str], resampling: Resampling, scores_path: Path, summary_path: Path, quiet: bool
) -> ScoreResult:
    rows = tuple(_rows(cards, resampling))
    table = format_table(rows, resampling.confidence)
    attributes = {
        "n_ensemble": rows[0].n_members,
        "confidence": resampling.confidence,
        "bootstrap_samples": resampling.samples,
        "independent_blocks": len(np.unique(resampling.blocks)),
        "seed": resampling.seed,
    }
    write_scores(scores_path, cards, units, attributes)
    write_summary(summary_path, rows)
    if not quiet:
        tqdm.write(table)
    return ScoreResult(rows, table, scores_path, summary_path)


def _rows(cards: Cards, resampling: Resampling) -> list[ScoreRow]:
    reference = next(iter(cards))
    rows = []
    for model, by_variable in cards.items():
        for variable, card in by_variable.items():
            numbers = [(name, card.interval(name, resampling), card.estimator(name)) for name in card.metric_names]
            if model != reference:
                ratio = paired_crps_ratio(card, cards[reference][variable], resampling)
                numbers.append(("crps_ratio", ratio, f"CRPS over that of {reference}, paired"))
            for metric, interval, estimator in numbers:
                ends = (interval.estimate, interval.low, interval.high)
                rows.append(ScoreRow(model, metric, variable, "", *ends, len(card.times), card.members, estimator))
            missing = float(card.missing.sum())
            rows.append(
                ScoreRow(
                    model,
                    MISSING_POINTS,
                    variable,
                    "",
                    missing,
                    np.nan,
                    np.nan,
                    len(card.times),
                    card.members,
                    "count",
                )
            )
    return rows
