# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The file of CorrDiff-Mini: patches of the United States, each with its place in the fields that do not change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import netCDF4
import numpy as np
from jaxtyping import Float, Int

from physicsnemo_fs.config.keys import nearest
from physicsnemo_fs.data.cf_times import decode_times
from physicsnemo_fs.data.fields.array_files import OPEN_FILES
from physicsnemo_fs.errors import InputError


class Group(NamedTuple):
    """Variables of one group and their common shape."""

    names: tuple[str, ...]
    shape: tuple[int, ...]


class PatchFile:
    """A NetCDF file with the groups ``input``, ``output`` (``[sample, y, x]``) and ``invariant`` (``[y, x]``).

    Args:
        path: The file.
        variables: Which variables of each group; ``None`` for all.

    Attributes:
        groups: The chosen variables of each group.
        times: Time of each sample.
        places: Row and column of the invariants at which each patch starts.

    Raises:
        InputError: If the file is missing, damaged or of another kind, or lacks a variable.
    """

    def __init__(self, path: Path, variables: Mapping[str, Sequence[str] | None]):
        self.path = path
        if not path.is_file():
            raise InputError(f"the published file must exist: {path} does not; download it and set dataset.data_path")
        try:
            with netCDF4.Dataset(path) as file:
                self.groups = {name: _choose(file, name, wanted, path) for name, wanted in variables.items()}
                time, coord = (_variable(file, name, path) for name in ("time", "coord"))
                attributes = {key: time.getncattr(key) for key in time.ncattrs()}
                self.times = decode_times(np.asarray(time[:]), attributes, path)
                self.places: Int[np.ndarray, "sample 2"] = np.asarray(coord[:], np.int64)
        except OSError as error:
            raise InputError(f"{path} must be a whole NetCDF file: it is not ({error}); download it again") from error
        self._held: dict[str, np.ndarray] = {}
        self._check()
        self._held["invariant"] = self._read("invariant", None)

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Rows and columns of a patch of the output, or of the input if no output is asked for."""
        shape = self.groups["output" if "output" in self.groups else "input"].shape
        return shape[-2], shape[-1]

    @property
    def bytes_of_samples(self) -> int:
        """Memory that the samples need in float32."""
        groups = [group for name, group in self.groups.items() if name != "invariant"]
        return sum(4 * len(group.names) * int(np.prod(group.shape)) for group in groups)

    def hold(self) -> None:
        """Keep all samples in memory from now on."""
        self._held |= {name: self._read(name, None) for name in self.groups if name not in self._held}

    def read(self, group: str, samples: Int[np.ndarray, " sample"]) -> Float[np.ndarray, "sample channel y x"]:
        """Give samples of a group; of the invariants, their patches.

        Raises:
            InputError: If the file is damaged.
        """
        if group == "invariant":
            height, width = self.patch_shape
            whole = self._held[group]
            patches = [whole[:, i : i + height, j : j + width] for i, j in self.places[samples]]
            return np.stack(patches) if patches else np.zeros((0, len(whole), height, width), np.float32)
        return self._held[group][samples] if group in self._held else self._read(group, samples)

    def _read(self, group: str, samples: Int[np.ndarray, " sample"] | None) -> np.ndarray:
        names, shape = self.groups[group]
        keys: list[tuple[int | slice, ...]] = [(slice(None),) * len(shape)]
        if samples is not None:
            keys = [(int(sample), slice(None), slice(None)) for sample in samples]
        fields = np.zeros((len(names), len(keys), *shape[0 if samples is None else 1 :]), np.float32)
        try:
            with OPEN_FILES.reading(self.path, "netcdf4") as file:
                for n, name in enumerate(names):
                    for k, key in enumerate(keys):
                        fields[n, k] = file.read(f"{group}/{name}", key, None)
        except (OSError, RuntimeError) as error:
            raise InputError(f"{self.path} must be whole: it cannot be read ({error}); download it again") from error
        if samples is None:
            fields = fields[:, 0]
        return fields if group == "invariant" else fields.swapaxes(0, 1)

    def _check(self) -> None:
        counts = {name: group.shape[0] for name, group in self.groups.items() if name != "invariant"}
        counts |= {"time": len(self.times), "coord": len(self.places)}
        if len(set(counts.values())) > 1 or self.places.ndim != 2:
            raise InputError(
                f"{self.path} must have as many times and places as samples: got {counts}; download it again"
            )
        (height, width), coarse = self.patch_shape, self.groups["input"].shape[-2:]
        if height % coarse[0] or width % coarse[1]:
            raise InputError(
                f"cells of the input must be blocks of the output's: got {coarse} and {(height, width)} in "
                f"{self.path}; give the published file"
            )
        ends = self.places + np.array([height, width])
        whole = self.groups["invariant"].shape
        if self.groups["invariant"].names and ((self.places < 0) | (ends > whole)).any():
            raise InputError(
                f"patches must lie within the invariants {whole}: one of {self.path} does not; download it again"
            )


def _variable(file: netCDF4.Dataset, name: str, path: Path) -> netCDF4.Variable:
    if name not in file.variables:
        raise InputError(
            f"{path} must hold {name!r} at its root, as hrrr_mini_train.nc does: it does not; give that file"
        )
    return file.variables[name]


def _choose(file: netCDF4.Dataset, group: str, wanted: Sequence[str] | None, path: Path) -> Group:
    if group not in file.groups:
        raise InputError(
            f"{path} must have the group {group!r}, as hrrr_mini_train.nc has: it does not; give that file"
        )
    known = list(file[group].variables)
    names = tuple(known if wanted is None else wanted)
    if group == "input" and not names:
        raise InputError(f"the input must have a variable: got none for {path}; set dataset.input_variables")
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(
            f"{path} must hold {missing[0]!r} in its group {group!r}: it has {', '.join(known)}"
            f"{nearest(missing[0], known)}; change dataset.{group}_variables"
        )
    shapes = {tuple(file[group][name].shape) for name in names or known}
    (shape, *others) = shapes or {(0, 0)}
    if others or len(shape) != (2 if group == "invariant" else 3):
        raise InputError(f"variables of {group!r} must share a shape in {path}: got {sorted(shapes)}; choose others")
    return Group(names, shape)
