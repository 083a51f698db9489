# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which files are scored together: regions of a model, models of one truth."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.foreign import EnsembleSource, WithTruth, lead_hours, open_ensemble
from physicsnemo_fs.metrics.statistics import Case
from physicsnemo_fs.pipelines.score_setting import DERIVED

TRUTH_TOLERANCE = 1e-5
"""Largest difference of two files' truths, relative to the largest truth, that counts as rounding."""


class FileFailure(InputError):
    """One file of a batch cannot be scored.

    Args:
        path: The file.
        message: Why, in one line.
    """

    def __init__(self, path: Path, message: str):
        super().__init__(message)
        self.path = path


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Turn a mistake in what a file holds into the failure of that file."""
    try:
        yield
    except FileFailure:
        raise
    except InputError as error:
        raise FileFailure(path, str(error)) from error


def path_list(paths: Path | str | Sequence[Path | str]) -> list[Path]:
    """Give one or several entries as paths.

    Raises:
        InputError: If there is none.
    """
    if isinstance(paths, str | Path):
        return [Path(paths)]
    if not paths:
        raise InputError("scoring needs at least one file: got none")
    return [Path(path) for path in paths]


def region_files(path: Path) -> list[Path]:
    """Give the files that a path with wildcards stands for, in the order of their names."""
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path)))
    if not found:
        raise InputError(f"no file matches {path}; check the folder and the name")
    return found


class _Derived:
    """A source with one more variable, made of two of its own."""

    def __init__(self, source: EnsembleSource, name: str, preset: str):
        self._source, self._name = source, name
        self._parts, self._unit, self._derive = DERIVED[preset][name]
        self.variables = (*source.variables, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def fields(self, group: str) -> tuple[str, ...]:
        names = self._source.fields(group)
        return (*names, self._name) if all(part in names for part in self._parts) else names

    @property
    def input_variables(self) -> tuple[str, ...]:
        return self.fields("input") if "input" in self._source.groups else ()

    def channel(self, variable: str, group: str = "prediction") -> Channel:
        if variable != self._name:
            return self._source.channel(variable, group)
        return Channel(variable, self._unit, long_name=f"{variable} of {' and '.join(self._parts)}")

    def _made(self, read, variable: str, index: int) -> np.ndarray:
        if variable != self._name:
            return read(variable, index)
        first, second = (read(part, index) for part in self._parts)
        return np.asarray(self._derive(first, second, self._source.grid), dtype=np.float32)

    def prediction(self, variable: str, index: int) -> np.ndarray:
        return self._made(self._source.prediction, variable, index)

    def truth(self, variable: str, index: int) -> np.ndarray:
        return self._made(self._source.truth, variable, index)

    def regression(self, variable: str, index: int) -> np.ndarray:
        return self._made(self._source.regression, variable, index)

    def input(self, variable: str, index: int) -> np.ndarray:
        return self._made(self._source.input, variable, index)


def open_source(path: Path, truth: Path | None = None, preset: str = "none") -> EnsembleSource:
    """Open a file to score, with the truth of another file if one is given, and the preset's own variables.

    Raises:
        FileFailure: If it cannot be read, has no members, or does not fit the truth.
    """
    with blaming(path):
        source: Any = open_ensemble(path)
        if not len(source.members):
            raise InputError(f"{path.name} must hold one member or more: it holds none")
        if truth is not None:
            source = WithTruth(source, open_ensemble(truth))
        for name, (parts, _, _) in DERIVED.get(preset, {}).items():
            if name not in source.variables and all(part in source.variables for part in parts):
                source = _Derived(source, name, preset)
        return source


def check_regions(models: Sequence[Sequence[EnsembleSource]], variables: tuple[str, ...]) -> None:
    """Require every model to have as many regions, and all of them one shape, spacing and set of members.

    Raises:
        FileFailure: Naming the first that does not fit.
    """
    first = models[0][0]
    for files in models:
        if len(files) != len(models[0]):
            raise InputError(
                f"every model must have the same regions: got {len(models[0])} files with {first.path.name} and "
                f"{len(files)} with {files[0].path.name}"
            )
        for file in files:
            if file.grid.shape != first.grid.shape or not np.allclose(file.grid.extent, first.grid.extent, rtol=1e-3):
                raise FileFailure(
                    file.path,
                    f"{file.path.name} must have the grid {first.grid.shape} of {first.path.name} and its spacing: got "
                    f"{file.grid.shape}",
                )
            if len(file.members) != len(files[0].members):
                raise FileFailure(
                    file.path,
                    f"all regions must have the {len(files[0].members)} members of {files[0].path.name}: "
                    f"{file.path.name} has {len(file.members)}",
                )
            absent = [variable for variable in variables if variable not in file.variables]
            if absent:
                raise FileFailure(file.path, f"{file.path.name} must predict {list(variables)}: {absent} are missing")
    for file in models[0][1:]:
        if scored_variables(file) != variables:
            raise FileFailure(file.path, f"{file.path.name} must predict {list(variables)}, as {first.path.name} does")


def scored_variables(file: EnsembleSource) -> tuple[str, ...]:
    """Give the variables that prediction and truth share.

    Raises:
        FileFailure: If there is no truth, no such variable, or truth on another grid.
    """
    with blaming(file.path):
        if not file.has_truth:
            raise InputError(f"scoring needs truth: {file.path.name} has only the groups {list(file.groups)}")
        known = file.fields("truth")
        variables = tuple(variable for variable in file.variables if variable in known)
        if not variables:
            raise InputError(
                f"prediction and truth of {file.path.name} must share variables: got {list(file.variables)} and "
                f"{list(known)}"
            )
        if not file.times.size:
            raise InputError(f"{file.path.name} must hold one time or more: it holds none")
        for variable in variables:
            shape = file.truth(variable, 0).shape
            if shape != file.grid.shape:
                raise InputError(
                    f"prediction and truth of {file.path.name} must have one grid: {variable!r} has "
                    f"{file.grid.shape} and {shape}"
                )
    return variables


def cases_of(file: EnsembleSource, region: int = 0) -> list[Case]:
    """Give the case of each position in a file."""
    return [Case.of(time, region, lead) for time, lead in zip(file.times, lead_hours(file), strict=True)]


def independent_blocks(files: Sequence[EnsembleSource]) -> Mapping[Case, int]:
    """Number the block of each case; those of different regions differ."""
    labels = {
        case: (region, int(block))
        for region, file in enumerate(files)
        for case, block in zip(cases_of(file, region), file.blocks, strict=True)
    }
    numbers = {label: number for number, label in enumerate(sorted(set(labels.values())))}
    return {case: numbers[label] for case, label in labels.items()}


def check_cases(files: Sequence[EnsembleSource]) -> None:
    """Require further files to have the cases of the first.

    Raises:
        FileFailure: Naming the first that lacks some.
    """
    first = files[0]
    for file in files[1:]:
        known = set(cases_of(file))
        absent = [case for case in cases_of(first) if case not in known]
        if absent:
            raise FileFailure(
                file.path,
                f"{file.path.name} must have the times of {first.path.name}: {len(absent)} of "
                f"{first.times.size} are missing, first {np.datetime64(absent[0].time, 'ns')}",
            )


def check_truth(expected: np.ndarray, found: np.ndarray, variable: str, path: Path, time: np.datetime64) -> None:
    """Refuse a file whose truth differs from the first file's by more than rounding."""
    scale = np.nanmax(np.abs(expected), initial=0.0)
    if not np.allclose(found, expected, rtol=0.0, atol=TRUTH_TOLERANCE * scale, equal_nan=True):
        raise FileFailure(
            path,
            f"files must have one truth: {variable!r} of {path.name} at {time} differs from the first "
            "file's; were they made from different data?",
        )
