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
from physicsnemo_fs.pipelines.score_files import (
    check_regions,
    check_truths,
    independent_blocks,
    path_list,
    region_files,
    scored_variables,
    time_index,
)
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
    """One row of the comparison: where its fields come from, region by region."""

    name: str
    members: int
    variables: tuple[str, ...]
    read: tuple[Callable[[str, np.datetime64], np.ndarray], ...]


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

    The models are: the ensemble of each entry of ``paths`` (named by the model in its provenance, or by the file), then
    ``interpolation`` (the first entry's input as a forecast, for the variables it has) and ``regression`` (its
    regression mean). An entry with wildcards stands for several files of one model: regions of equal shape, which are
    scored together and resampled as independent blocks. Baselines are single forecasts: their CRPS is their MAE. Every
    further model also gets ``crps_ratio``, its CRPS over that of the first, from the same times and blocks. Fields are
    read one time at a time.

    Args:
        paths: Files of ensembles; those of the first entry must hold truth, the others its times and variables.
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
    entries = [region_files(path) for path in path_list(paths)]
    for path in (path for entry in entries for path in entry):
        if path.resolve() in (scores_path.resolve(), summary_path.resolve()):
            raise InputError(f"the scores must not replace what they score: output={output} would overwrite {path}")
    with ExitStack() as stack:
        models = [[stack.enter_context(EnsembleFile(path)) for path in entry] for entry in entries]
        truths = models[0]
        variables = scored_variables(truths[0])
        check_regions(models, variables)
        resampling = Resampling(independent_blocks(truths), confidence, bootstrap_samples, seed)
        forecasts = _forecasts(models, variables, max_members)
        cards = {
            forecast.name: {
                variable: Scorecard(truths[0].grid, forecast.members, variable=variable, seed=seed, kmax=kmax)
                for variable in forecast.variables
            }
            for forecast in forecasts
        }
        for region, truth in enumerate(truths):
            check_truths([model[region] for model in models], variables)
            name = "scoring" if len(truths) == 1 else f"scoring {truth.path.name}"
            for index in tqdm(np.argsort(truth.times), desc=name, unit="time", disable=True if quiet else None):
                _score_time(truth, int(index), variables, forecasts, cards, region)
        units = {variable: truths[0].channel(variable).unit for variable in variables}
    return _finish(cards, units, resampling, scores_path, summary_path, quiet)


def _forecasts(
    models: Sequence[Sequence[EnsembleFile]], variables: tuple[str, ...], max_members: int | None
) -> list[_Forecast]:
    names = _distinct_names([files[0] for files in models])
    forecasts = [_ensemble(name, files, variables, max_members) for name, files in zip(names, models, strict=True)]
    first = models[0]
    interpolated = tuple(v for v in variables if all(v in file.input_variables for file in first))
    if interpolated:
        forecasts.append(_Forecast(INTERPOLATION, 1, interpolated, tuple(_single(f, f.input) for f in first)))
    if all(file.has_regression for file in first):
        forecasts.append(_Forecast(REGRESSION, 1, variables, tuple(_single(f, f.regression) for f in first)))
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


def _ensemble(
    name: str, files: Sequence[EnsembleFile], variables: tuple[str, ...], max_members: int | None
) -> _Forecast:
    for file in files:
        absent = [variable for variable in variables if variable not in file.variables]
        if absent:
            raise InputError(f"{file.path.name} must predict {list(variables)}: {absent} are missing")
    available = len(files[0].members)
    members = available if max_members is None else max_members
    if not 1 <= members <= available:
        raise InputError(f"max_members must be 1 to {available} for {files[0].path.name}: got {max_members}")
    return _Forecast(name, members, variables, tuple(_first_members(file, members) for file in files))


def _first_members(file: EnsembleFile, members: int) -> Callable[[str, np.datetime64], np.ndarray]:
    index = time_index(file)
    return lambda variable, time: file.prediction(variable, index[time])[:members]


def _single(file: EnsembleFile, read: Callable[[str, int], np.ndarray]) -> Callable[[str, np.datetime64], np.ndarray]:
    index = time_index(file)
    return lambda variable, time: read(variable, index[time])[None]


def _score_time(
    file: EnsembleFile,
    index: int,
    variables: tuple[str, ...],
    forecasts: Sequence[_Forecast],
    cards: Cards,
    region: int,
) -> None:
    time = file.times[index]
    for variable in variables:
        truth = file.truth(variable, index)
        for forecast in forecasts:
            if variable in forecast.variables:
                cards[forecast.name][variable].add(time, forecast.read[region](variable, time), truth, region)


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
