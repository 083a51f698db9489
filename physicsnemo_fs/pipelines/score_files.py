# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which files are scored together: regions of a model, models of one truth."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.data.vocabulary import same_unit
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.foreign import EnsembleSource, WithTruth, lead_hours, open_ensemble, same_grid_positions
from physicsnemo_fs.metrics.statistics import Case
from physicsnemo_fs.pipelines.score_setting import DERIVED

TRUTH_TOLERANCE = 1e-5
"""Largest difference of two files' truths, relative to the largest truth, that counts as rounding."""


class FileFailure(InputError):
    """One file of a batch cannot be scored.

    Args:
        path: The file.
        message: Why, in one line.
        whole_entry: Whether the other files of its entry cannot be scored either.
    """

    def __init__(self, path: Path, message: str, whole_entry: bool = False):
        super().__init__(message)
        self.path, self.whole_entry = path, whole_entry


def fitting(file: EnsembleSource, group: str, variables: Sequence[str]) -> tuple[str, ...]:
    """Give the variables of which a group holds what may be scored as a forecast: at the same places, in the same unit.

    Args:
        file: A file.
        group: ``input`` or ``regression``.
        variables: Variables of the prediction.
    """
    if group not in file.groups or not file.same_places(group):
        return ()
    known = [variable for variable in variables if variable in file.fields(group)]
    return tuple(
        variable
        for variable in known
        if not _told_apart(*(file.channel(variable, each).unit for each in ("prediction", group)))
        and getattr(file, group)(variable, 0).shape == file.grid.shape
    )


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


class _FirstMembers:
    """A source of which only the first members are seen."""

    def __init__(self, source: EnsembleSource, count: int):
        self._source, self._count = source, count
        self.members = source.members[:count]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def prediction(self, variable: str, index: int) -> np.ndarray:
        return self._source.prediction(variable, index)[: self._count]


def open_source(
    path: Path, truth: Path | None = None, preset: str = "none", max_members: int | None = None
) -> EnsembleSource:
    """Open a file to score, with the truth of another file if one is given, and the preset's own variables.

    Args:
        path: The file.
        truth: File with the truth, or ``None`` for the file's own.
        preset: Preset of scores.
        max_members: How many members to see; ``None`` for all.

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
        return source if max_members is None else cast(EnsembleSource, _FirstMembers(source, max_members))


def region_numbers(files: Sequence[EnsembleSource]) -> tuple[int, ...]:
    """Number the region of each file: files at the same places with different times are parts of one region.

    Places are those of geographic grids; files of planes are regions of their own.
    """
    numbers: list[int] = []
    known: list[tuple[Grid, set[Case]]] = []
    for file in files:
        cases = set(cases_of(file))
        place = next(
            (n for n, (grid, seen) in enumerate(known) if _same_place(grid, file.grid) and not seen & cases), None
        )
        if place is None:
            place = len(known)
            known.append((file.grid, set()))
        known[place][1].update(cases)
        numbers.append(place)
    return tuple(numbers)


def _same_place(first: Grid, second: Grid) -> bool:
    positions = [(grid.latitude, grid.longitude) for grid in (first, second)]
    if first.shape != second.shape or any(part is None for pair in positions for part in pair):
        return False
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(*positions, strict=True))


def check_regions(models: Sequence[Sequence[EnsembleSource]], variables: tuple[str, ...]) -> None:
    """Require every model to have as many regions, and all of them one shape, spacing and set of members.

    Raises:
        FileFailure: Naming the first that does not fit.
    """
    first = models[0][0]
    counts = [1 + max(region_numbers(files)) for files in models]
    for files, count in zip(models, counts, strict=True):
        if count != counts[0]:
            raise FileFailure(
                files[0].path,
                f"every model must have the same regions: got {counts[0]} with {first.path.name} and {count} with "
                f"{files[0].path.name}",
                whole_entry=True,
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
            if not any(same_grid_positions(file.grid, other.grid) for other in models[0]):
                raise FileFailure(
                    file.path,
                    f"{file.path.name} must lie where {first.path.name} does: latitudes or longitudes differ; regrid "
                    "one of them, or turn its rows",
                )
            absent = [variable for variable in variables if variable not in file.variables]
            if absent:
                raise FileFailure(file.path, f"{file.path.name} must predict {list(variables)}: {absent} are missing")
            for variable in variables:
                own, theirs = (each.channel(variable).unit for each in (file, first))
                if _told_apart(own, theirs):
                    raise FileFailure(
                        file.path,
                        f"{file.path.name} must have the units of {first.path.name}: {variable!r} is in {own!r} and in "
                        f"{theirs!r}; convert one of them",
                    )
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
        if not file.same_places("truth"):
            raise InputError(
                f"prediction and truth of {file.path.name} must have one grid: their latitudes or longitudes differ; "
                "regrid one of them, or turn its rows"
            )
        known = file.fields("truth")
        variables = tuple(variable for variable in file.variables if variable in known)
        if not variables:
            raise InputError(
                f"prediction and truth of {file.path.name} must share variables: got {list(file.variables)} and "
                f"{list(known)}"
            )
        if not file.times.size:
            raise InputError(f"{file.path.name} must hold one time or more: it holds none")
        cases = cases_of(file)
        if len(set(cases)) < len(cases):
            twice = next(case for case in cases if cases.count(case) > 1)
            raise InputError(
                f"{file.path.name} must hold each time once: {np.datetime64(twice.time, 'ns')} is there twice"
            )
        for variable in variables:
            shape = file.truth(variable, 0).shape
            if shape != file.grid.shape:
                raise InputError(
                    f"prediction and truth of {file.path.name} must have one grid: {variable!r} has "
                    f"{file.grid.shape} and {shape}"
                )
            units = [file.channel(variable, group).unit for group in ("prediction", "truth")]
            if _told_apart(*units):
                raise InputError(
                    f"prediction and truth of {file.path.name} must have one unit: {variable!r} is in {units[0]!r} and "
                    f"in {units[1]!r}; convert one of them"
                )
    return variables


def _told_apart(first: str, second: str) -> bool:
    """Say whether two units differ; the unit of files without one is 1, which says nothing."""
    return "1" not in (first, second) and same_unit(first) != same_unit(second)


def cases_of(file: EnsembleSource, region: int = 0) -> list[Case]:
    """Give the case of each position in a file."""
    return [Case.of(time, region, lead) for time, lead in zip(file.times, lead_hours(file), strict=True)]


def block_labels(files: Sequence[EnsembleSource], regions: Sequence[int]) -> dict[Case, int]:
    """Give the label of the block of each case, as the files have it."""
    return {
        case: int(block)
        for file, region in zip(files, regions, strict=True)
        for case, block in zip(cases_of(file, region), file.blocks, strict=True)
    }


def block_numbers(labels: Mapping[Case, int]) -> np.ndarray:
    """Number the independent blocks of cases, in the order of the cases; those of different regions differ.

    Example:
        >>> block_numbers({Case(0, 2): 7, Case(1, 0): 5, Case(0, 1): 5, Case(0, 3): 7}).tolist()
        [0, 1, 1, 2]
    """
    pairs = [(case.region, labels[case]) for case in sorted(labels)]
    known = {pair: number for number, pair in enumerate(sorted(set(pairs)))}
    return np.array([known[pair] for pair in pairs], dtype=np.int64)


def check_cases(models: Sequence[Sequence[EnsembleSource]]) -> None:
    """Require further models to have the cases of the first.

    Raises:
        FileFailure: Naming the first that lacks some.
    """
    first = _cases_of_model(models[0])
    for files in models[1:]:
        known = set(_cases_of_model(files))
        absent = [case for case in first if case not in known]
        if absent:
            named = next(file for file, n in zip(files, region_numbers(files), strict=True) if n == absent[0].region)
            raise FileFailure(
                named.path,
                f"{named.path.name} must have the times of {models[0][0].path.name}: {len(absent)} of {len(first)} are "
                f"missing, first {np.datetime64(absent[0].time, 'ns')}",
            )


def _cases_of_model(files: Sequence[EnsembleSource]) -> list[Case]:
    return [case for file, region in zip(files, region_numbers(files), strict=True) for case in cases_of(file, region)]


def check_truth(expected: np.ndarray, found: np.ndarray, variable: str, path: Path, time: np.datetime64) -> None:
    """Refuse a file whose truth differs from the first file's by more than rounding."""
    scale = np.nanmax(np.abs(expected), initial=0.0)
    if not np.allclose(found, expected, rtol=0.0, atol=TRUTH_TOLERANCE * scale, equal_nan=True):
        raise FileFailure(
            path,
            f"files must have one truth: {variable!r} of {path.name} at {time} differs from the first "
            "file's; were they made from different data?",
        )
