# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which files are scored together: regions of a model, models of one truth."""

import glob
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile

TRUTH_TOLERANCE = 1e-5
"""Largest difference of two files' truths, relative to the largest truth, that counts as rounding."""


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


def check_regions(models: Sequence[Sequence[EnsembleFile]], variables: tuple[str, ...]) -> None:
    """Require every model to have as many regions, and all of them one shape, spacing and set of members."""
    first = models[0][0]
    for files in models:
        if len(files) != len(models[0]):
            raise InputError(
                f"every model must have the same regions: got {len(models[0])} files with {first.path.name} and "
                f"{len(files)} with {files[0].path.name}"
            )
        for file in files:
            if file.grid.shape != first.grid.shape or not np.allclose(file.grid.extent, first.grid.extent, rtol=1e-3):
                raise InputError(
                    f"{file.path.name} must have the grid {first.grid.shape} of {first.path.name} and its spacing: got "
                    f"{file.grid.shape}"
                )
            if len(file.members) != len(files[0].members):
                raise InputError(
                    f"all regions must have the {len(files[0].members)} members of {files[0].path.name}: "
                    f"{file.path.name} has {len(file.members)}"
                )
    for file in models[0][1:]:
        if scored_variables(file) != variables:
            raise InputError(f"{file.path.name} must predict {list(variables)}, as {first.path.name} does")


def independent_blocks(files: Sequence[EnsembleFile]) -> np.ndarray:
    """Label the blocks of all regions, in the order of scoring: those of different regions differ."""
    labels = [(region, int(block)) for region, f in enumerate(files) for block in f.blocks[np.argsort(f.times)]]
    numbers = {label: number for number, label in enumerate(sorted(set(labels)))}
    return np.array([numbers[label] for label in labels], dtype=np.int64)


def scored_variables(file: EnsembleFile) -> tuple[str, ...]:
    """Give the variables that prediction and truth share.

    Raises:
        InputError: If there is no truth, or no such variable.
    """
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


def time_index(file: EnsembleFile) -> dict[np.datetime64, int]:
    """Give the position of each time in a file."""
    return {time: index for index, time in enumerate(file.times)}


def check_truths(files: Sequence[EnsembleFile], variables: tuple[str, ...]) -> None:
    """Refuse further files of other times or truths than the first."""
    first = files[0]
    for file in files[1:]:
        index = time_index(file)
        absent = [time for time in first.times if time not in index]
        if absent:
            raise InputError(
                f"{file.path.name} must have the times of {first.path.name}: {len(absent)} of "
                f"{first.times.size} are missing, first {absent[0]}"
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
