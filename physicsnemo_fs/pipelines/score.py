# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scoring files of generated ensembles against their truth."""

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.executors import InThisProcess, usable_cores
from physicsnemo_fs.io.foreign import EnsembleSource
from physicsnemo_fs.metrics.bootstrap import Resampling
from physicsnemo_fs.metrics.statistics import Case
from physicsnemo_fs.pipelines.score_files import (
    FileFailure,
    blaming,
    block_labels,
    block_numbers,
    cases_of,
    check_cases,
    check_regions,
    fitting,
    open_source,
    path_list,
    region_files,
    region_numbers,
    scored_variables,
)
from physicsnemo_fs.pipelines.score_output import (
    Cards,
    ScoreRow,
    failure_row,
    format_table,
    output_paths,
    score_rows,
    write_scores,
    write_summary,
)
from physicsnemo_fs.pipelines.score_setting import Request, places_for, setting_for, windows_of
from physicsnemo_fs.pipelines.score_tasks import (
    INTERPOLATION,
    REGRESSION,
    Model,
    Piece,
    Plan,
    close_sources,
    do_piece,
    results,
)

TRUTHS_FOR_RANGE = 32


@dataclass(frozen=True)
class ScoreResult:
    """What scoring found and where it is.

    Args:
        rows: All numbers, as in ``scores_summary.csv``.
        table: The headline numbers as text.
        scores_path: ``scores.nc``.
        summary_path: ``scores_summary.csv``.
        failures: Files that could not be scored, and why.
        samples: The first file of the judged model.
        truth: File of the truth, if it is another.
        preset: The preset it was scored with.
        max_members: How many members were scored at most; ``None`` for all.
    """

    rows: tuple[ScoreRow, ...]
    table: str
    scores_path: Path
    summary_path: Path
    failures: tuple[tuple[Path, str], ...] = ()
    samples: Path = Path()
    truth: Path | None = None
    preset: str = "none"
    max_members: int | None = None

    def row(self, model: str, metric: str, variable: str, lead_time: str = "", area: str = "") -> ScoreRow:
        """Give one row.

        Raises:
            InputError: If there is none.
        """
        for row in self.rows:
            found = (row.model, row.metric, row.variable, row.lead_time, row.area)
            if found == (model, metric, variable, lead_time, area):
                return row
        raise InputError(
            f"no score {metric!r} of {variable!r} for {model!r}: models are "
            f"{sorted({r.model for r in self.rows})}, metrics {sorted({r.metric for r in self.rows})}"
        )


def score(
    paths: Sequence[Path | str],
    output: Path | str,
    *,
    request: Request | None = None,
    truth: Path | str | None = None,
    kmax: int | None = None,
    confidence: float = 0.95,
    bootstrap_samples: int = 1000,
    seed: int = 0,
    max_members: int | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    quiet: bool = False,
) -> ScoreResult:
    """Score ensembles, and the baselines in the first file, against the truth of the first file.

    The models are: the ensemble of each entry of ``paths`` (named by the model in its provenance, or by the file), then
    ``interpolation`` (the first entry's input as a forecast, for the variables it has) and ``regression`` (its
    regression mean). An entry with wildcards stands for several files of one model: regions of equal shape, which are
    scored together and resampled as independent blocks. Baselines are single forecasts: their CRPS is their MAE. Every
    further model also gets ``crps_ratio``, its CRPS over that of the first, from the same times and blocks. Fields are
    read one time at a time. A file that cannot be scored is left out and listed; the others are scored.

    Args:
        paths: Files of ensembles; those of the first entry must hold truth, the others its times and variables.
        output: Folder for ``scores.nc`` and ``scores_summary.csv``; or the name of the ``.nc`` file.
        request: What to measure; ``None`` for the standard.
        truth: File with the truth, for samples without.
        kmax: Last wavenumber shell of the spectrum error; ``None`` takes the energetic shells.
        confidence: Coverage of the intervals, by a bootstrap over independent blocks.
        bootstrap_samples: Number of resamples.
        seed: Seed of bootstrap and random ties.
        max_members: Score the first members only; ``None`` takes all.
        executor: Who works; ``None`` for this process.
        workers: Number of workers of the executor.
        quiet: No progress bar and no table.

    Returns:
        Rows, table, the paths written, and the files that failed.

    Raises:
        InputError: If no file can be scored, or an argument is out of range.
    """
    scores_path, summary_path = output_paths(Path(output))
    resampling = Resampling(np.zeros(1, dtype=np.int64), confidence, bootstrap_samples, seed)
    failures: list[tuple[Path, str]] = []
    entries: list[list[Path]] = []
    for path in path_list(paths):
        try:
            files = region_files(path)
            given = {file.resolve() for entry in entries for file in entry}
            if any(file.resolve() in given for file in files):
                raise InputError(f"each file must be given once: {path} is given twice")
            entries.append(files)
        except InputError as error:
            failures.append((path, str(error)))
    if not entries:
        raise InputError("; ".join(message for _, message in failures))
    for path in (path for entry in entries for path in entry):
        if path.resolve() in (scores_path.resolve(), summary_path.resolve()):
            raise InputError(f"the scores must not replace what they score: output={output} would overwrite {path}")
    job = _Job(
        request or Request(),
        None if truth is None else Path(truth),
        kmax,
        seed,
        max_members,
        executor or InThisProcess(),
        (workers or usable_cores()) if executor else 1,
        quiet,
    )
    while True:
        try:
            cards, labels = job.run(entries)
            break
        except FileFailure as failure:
            failures.append((failure.path, str(failure)))
            entries = _without(entries, failure)
            if not entries:
                raise InputError("; ".join(message for _, message in failures)) from failure
        finally:
            close_sources()
    resampling = replace(resampling, blocks=block_numbers(labels))
    rows = (*score_rows(cards, resampling), *(failure_row(path, message) for path, message in failures))
    table = format_table(rows, resampling.confidence)
    write_scores(scores_path, cards, resampling, labels)
    write_summary(summary_path, rows)
    if not quiet:
        tqdm.write(table)
    about = (entries[0][0], job.truth, job.request.preset, max_members)
    return ScoreResult(rows, table, scores_path, summary_path, tuple(failures), *about)


def _without(entries: list[list[Path]], failure: FileFailure) -> list[list[Path]]:
    """Leave out a file: the whole entry if it is alone there, else that region of all entries with regions."""
    path = failure.path
    if failure.whole_entry:
        return [entry for entry in entries if path not in entry]
    place = next((entry.index(path) for entry in entries if path in entry and len(entry) > 1), None)
    if place is None:
        return [entry for entry in entries if path not in entry]
    count = next(len(entry) for entry in entries if path in entry)
    return [[p for i, p in enumerate(entry) if i != place or len(entry) != count] for entry in entries]


@dataclass(frozen=True)
class _Job:
    request: Request
    truth: Path | None
    kmax: int | None
    seed: int
    max_members: int | None
    executor: Executor
    workers: int
    quiet: bool

    def run(self, entries: list[list[Path]]) -> tuple[Cards, dict[Case, int]]:
        """Score what all files of the entries hold; give the scorecards and the block of each case.

        Raises:
            FileFailure: At the first file that cannot be scored.
        """
        with ExitStack() as stack:
            sources = [[self._open(path, stack) for path in entry] for entry in entries]
            first = sources[0]
            variables = scored_variables(first[0])
            check_regions(sources, variables)
            check_cases(sources)
            plan = self._plan(sources, variables)
            labels = block_labels(first, plan.models[0].regions)
            cards = {
                model.name: {name: plan.card(model, name, first[0]) for name in model.variables}
                for model in plan.models
            }
            pieces = [
                Piece(variable, number, int(index))
                for number, file in enumerate(first)
                for index in np.argsort(file.times, kind="stable")
                for variable in variables
            ]
        bar = tqdm(total=len(pieces), desc="scoring", unit="field", disable=True if self.quiet else None)
        with bar:
            for piece, (case, found) in results(do_piece, plan, pieces, self.executor, self.workers):
                for name, contribution in found.items():
                    cards[name][piece.variable].take(case, contribution)
                bar.update()
        _check_anything_counts(cards, plan)
        return cards, labels

    def _open(self, path: Path, stack: ExitStack) -> EnsembleSource:
        truth = self.truth
        source = open_source(path, truth, self.request.preset)
        stack.callback(source.close)
        return source

    def _plan(self, sources: Sequence[Sequence[EnsembleSource]], variables: tuple[str, ...]) -> Plan:
        first = sources[0]
        for what, given in (("thresholds", self.request.thresholds), ("ranges", self.request.ranges)):
            unknown = [name for name in given if name not in variables]
            if unknown:
                raise InputError(f"{what} are for scored variables: got {unknown}, there are {list(variables)}")
        regions = region_numbers(first)
        names = _distinct_names([files[0] for files in sources])
        models = [
            Model(
                name,
                self._members(files[0]),
                variables,
                "prediction",
                tuple(file.path for file in files),
                region_numbers(files),
            )
            for name, files in zip(names, sources, strict=True)
        ]
        paths = tuple(file.path for file in first)
        for name, group in ((INTERPOLATION, "input"), (REGRESSION, "regression")):
            found = self._baseline(first, group, variables)
            if found:
                models.append(Model(name, 1, found, group, paths, regions))
        channels = {variable: first[0].channel(variable) for variable in variables}
        ranges = {
            variable: self.request.range_of(variable) or _range(first, regions, variable) for variable in variables
        }
        grid = first[0].grid
        patches = windows_of([file for files in sources for file in files], grid.shape)
        settings = {
            name: setting_for(self.request, channel, grid, *ranges[name], patches) for name, channel in channels.items()
        }
        units = {name: channel.unit for name, channel in channels.items()}
        places = places_for(self.request, grid)
        return Plan(tuple(models), settings, units, places, self.seed, self.kmax, self.truth, self.request.preset)

    def _baseline(self, files: Sequence[EnsembleSource], group: str, variables: tuple[str, ...]) -> tuple[str, ...]:
        """Give the variables of which all files have a baseline, and tell of those that are no such forecast."""
        named = [v for v in variables if all(group in file.groups and v in file.fields(group) for file in files)]
        for file in files:
            with blaming(file.path):
                found = fitting(file, group, named)
            if len(found) < len(named) and not self.quiet:
                absent = [variable for variable in named if variable not in found]
                tqdm.write(f"{group!r} of {file.path.name} is not scored: {absent} on another grid or in another unit")
            named = list(found)
        return tuple(named)

    def _members(self, file: EnsembleSource) -> int:
        available = len(file.members)
        members = available if self.max_members is None else self.max_members
        if not 1 <= members <= available:
            raise FileFailure(
                file.path,
                f"max_members must be 1 to {available} for {file.path.name}: got {self.max_members}",
                whole_entry=True,
            )
        return members


def _range(files: Sequence[EnsembleSource], regions: Sequence[int], variable: str) -> tuple[float, float]:
    """Give the least and the largest value of the truth at some times, however they are split into files.

    Without any value the range is 0 to 1.
    """
    cases = sorted(
        (case, number, index)
        for number, (file, region) in enumerate(zip(files, regions, strict=True))
        for index, case in enumerate(cases_of(file, region))
    )
    ends = []
    for region in sorted(set(regions)):
        own = [place for place in cases if place[0].region == region]
        for chosen in np.unique(np.linspace(0, len(own) - 1, TRUTHS_FOR_RANGE).astype(int)):
            _, number, index = own[chosen]
            with blaming(files[number].path):
                values = files[number].truth(variable, index)
            if np.isfinite(values).any():
                ends.append((float(np.nanmin(values)), float(np.nanmax(values))))
    if not ends:
        return 0.0, 1.0
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    around = max(0.5, 1e-6 * abs(low))
    return (low, high) if high > low else (low - around, high + around)


def _check_anything_counts(cards: Cards, plan: Plan) -> None:
    for model in plan.models:
        if not any(card.statistics["error"].weights.sum() > 0 for card in cards[model.name].values()):
            path = model.files[0]
            message = f"{path.name} must hold values where the truth has some: at every time all of {model.name} or of "
            raise FileFailure(path, message + "the truth is missing or masked")


def _distinct_names(files: Sequence[EnsembleSource]) -> list[str]:
    names = [file.model_name for file in files]
    taken = [*names, INTERPOLATION, REGRESSION]
    for told in (lambda path: path.stem, lambda path: f"{path.parent.name}/{path.stem}", str):
        longer = [f"{name} ({told(file.path)})" for name, file in zip(names, files, strict=True)]
        tried = [long if taken.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
        if len(set(tried)) == len(tried):
            break
    return tried


__all__ = ["INTERPOLATION", "REGRESSION", "ScoreResult", "score"]
