# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The pieces of work of scoring: one case of one variable each, done by any process, one field at a time."""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.foreign import EnsembleSource
from physicsnemo_fs.metrics.measures import Setting
from physicsnemo_fs.metrics.scorecard import Contribution, Scorecard
from physicsnemo_fs.metrics.statistics import Case
from physicsnemo_fs.pipelines.score_files import FileFailure, blaming, cases_of, check_truth, open_source
from physicsnemo_fs.pipelines.score_setting import Places

INTERPOLATION = "interpolation"
REGRESSION = "regression"
AT_ONCE = 2
"""Pieces handed over for each worker beyond those being worked on."""


@dataclass(frozen=True)
class Model:
    """One row of the comparison.

    Args:
        name: Its name.
        members: Members to score.
        variables: Its variables.
        group: Where in its files the fields are: ``prediction``, ``input`` or ``regression``.
        files: Its files.
        regions: Region of each.
    """

    name: str
    members: int
    variables: tuple[str, ...]
    group: str
    files: tuple[Path, ...]
    regions: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What all pieces of work share.

    Args:
        models: The rows; truth is that of the first one's files.
        settings: What to measure, by variable.
        units: Unit of each variable.
        places: Masks, weights and areas.
        seed: Seed of random ties.
        kmax: Last wavenumber shell of the spectrum error.
        truth: File of the truth, if it is not in the samples.
        preset: Preset, for derived variables.
        run: Different for each scoring: workers that outlive one open their files anew for the next.
    """

    models: tuple[Model, ...]
    settings: dict[str, Setting]
    units: dict[str, str]
    places: Places
    seed: int
    kmax: int | None
    truth: Path | None
    preset: str
    run: str = field(default_factory=lambda: uuid.uuid4().hex)

    def card(self, model: Model, variable: str, source: EnsembleSource) -> Scorecard:
        """Give an empty scorecard."""
        return Scorecard(
            source.grid,
            model.members,
            variable=variable,
            seed=self.seed,
            kmax=self.kmax,
            weights=self.places.weights,
            mask=self.places.mask,
            areas=self.places.areas,
            setting=self.settings[variable],
            unit=self.units[variable],
        )


@dataclass(frozen=True)
class Piece:
    """One case of one variable.

    Args:
        variable: Its name.
        file: Which of the first model's files.
        index: Position of the case there.
    """

    variable: str
    file: int
    index: int


class Sources:
    """Files kept open between pieces of work of one scoring."""

    def __init__(self):
        self._run = ""
        self._open: dict[tuple[Path, Path | None], EnsembleSource] = {}
        self._places: dict[int, dict[Case, int]] = {}

    def get(self, plan: Plan, path: Path) -> EnsembleSource:
        """Open a file or give it if it is open; that of another scoring may have been replaced since."""
        if plan.run != self._run:
            self.close()
            self._run = plan.run
        key = (path, plan.truth if path in plan.models[0].files else None)
        if key not in self._open:
            self._open[key] = open_source(*key, plan.preset)
        return self._open[key]

    def find(self, plan: Plan, model: Model, case: Case) -> tuple[Path, EnsembleSource, int]:
        """Give the file of a model that holds a case, opened, and the case's position there."""
        for path, region in zip(model.files, model.regions, strict=True):
            if region == case.region:
                with blaming(path):
                    source = self.get(plan, path)
                if id(source) not in self._places:
                    self._places[id(source)] = {found: index for index, found in enumerate(cases_of(source))}
                index = self._places[id(source)].get(case._replace(region=0))
                if index is not None:
                    return path, source, index
        raise FileFailure(
            model.files[0], f"{model.name} must hold {np.datetime64(case.time, 'ns')}: none of its files does"
        )

    def close(self) -> None:
        """Close all of them."""
        for source in self._open.values():
            source.close()
        self._open.clear()
        self._places.clear()


_SOURCES = Sources()
_READING = threading.Lock()
"""NetCDF's library takes one thread at a time; Dask's workers have several."""


def close_sources() -> None:
    """Close the files that this process has open for scoring."""
    with _READING:
        _SOURCES.close()


def do_piece(plan: Plan, piece: Piece) -> tuple[Case, dict[str, Contribution]]:
    """Score every model at one case of one variable.

    Raises:
        FileFailure: If a file cannot be read there, or has another truth.
    """
    judged = plan.models[0].files[piece.file]
    with _READING, blaming(judged):
        first = _SOURCES.get(plan, judged)
        case = cases_of(first, plan.models[0].regions[piece.file])[piece.index]
        truth = first.truth(piece.variable, piece.index)
    found = {}
    for model in plan.models:
        if piece.variable not in model.variables:
            continue
        with _READING:
            path, source, index = _SOURCES.find(plan, model, case)
            with blaming(path):
                if path != judged and source.has_truth and piece.variable in source.fields("truth"):
                    theirs = source.truth(piece.variable, index)
                    check_truth(truth, theirs, piece.variable, path, np.datetime64(case.time, "ns"))
                forecast = _read(source, model, piece.variable, index)
        with blaming(path):
            _check_finite(forecast, truth, piece.variable, path, case)
            found[model.name] = plan.card(model, piece.variable, source).contribution(case, forecast, truth)
    return case, found


def _check_finite(forecast: np.ndarray, truth: np.ndarray, variable: str, path: Path, case: Case) -> None:
    """Refuse infinite values, which no score can weigh; NaN is missing."""
    for what, values in (("forecast", forecast), ("truth", truth)):
        if np.isinf(values).any():
            time = np.datetime64(case.time, "ns")
            raise InputError(
                f"{path.name} must hold finite values or NaN: the {what} of {variable!r} at {time} has infinite ones"
            )


def _read(source: EnsembleSource, model: Model, variable: str, index: int) -> np.ndarray:
    if model.group == "input":
        return source.input(variable, index)[None]
    if model.group == "regression":
        return source.regression(variable, index)[None]
    return source.prediction(variable, index)[: model.members]


def results(
    function: Callable[..., tuple], shared: object, pieces: Sequence[Piece], executor: Executor, workers: int
) -> Iterator[tuple[Piece, tuple]]:
    """Hand pieces over and give what comes back, in any order, with few of them under way at a time."""
    waiting: Iterable[Piece] = iter(pieces)
    under_way: dict[Future, Piece] = {}
    try:
        while True:
            for piece in waiting:
                under_way[executor.submit(function, shared, piece)] = piece
                if len(under_way) >= workers + AT_ONCE or all(future.done() for future in under_way):
                    break
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield under_way.pop(future), future.result()
    finally:
        for future in under_way:
            future.cancel()
