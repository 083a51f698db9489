# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The parts of a file that hold variables: groups of NetCDF and Zarr, kinds of levels in GRIB."""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from physicsnemo_fs.data.fields.levels import find_variable
from physicsnemo_fs.data.fields.moments import find_times
from physicsnemo_fs.errors import InputError


def variable_of(source: str) -> str:
    """Give the name of a variable without its group.

    Example:
        >>> variable_of("fine/t2m"), variable_of("t2m")
        ('t2m', 't2m')
    """
    return source.rpartition("/")[2]


class GroupedParts:
    """A file, whose groups are opened when a variable of theirs is asked for.

    Args:
        path: The file.
        engine: Its xarray engine.
        decode: Whether values are decoded.
    """

    def __init__(self, path: Path, engine: str, decode: bool = True):
        self.path, self.engine, self.decode = path, engine, decode
        self._open: dict[str, list[xr.Dataset]] = {}
        self._parts = {"": self._as_stored("")}

    def find(self, source: str, level: float | None = None) -> xr.Dataset:
        """Give the part that holds ``name`` or ``group/name``, with the coordinates of the groups around it.

        Raises:
            InputError: Naming what there is instead.
        """
        group, _, name = source.rpartition("/")
        if group and group not in self._parts:
            self._parts[group] = self._opened(group)
        try:
            return find_variable(self._parts[group], name, level)
        except InputError as error:
            holding = (
                [] if group else [f"{g}/{name}" for g, v in groups_of(self.path, self.engine).items() if name in v]
            )
            if not holding:
                raise
            raise InputError(f"{error}; it lies in a group: write {' or '.join(sorted(holding))}") from error

    def _opened(self, group: str) -> list[xr.Dataset]:
        groups = groups_of(self.path, self.engine)
        if group not in groups:
            raise InputError(f"no group {group!r} (groups: {', '.join(sorted(groups)) or 'none'})")
        (found,) = self._as_stored(group)
        while group:
            group = group.rpartition("/")[0]
            (outer,) = self._as_stored(group)
            found = _with_coordinates(found, outer)
        return [found]

    def _as_stored(self, group: str) -> list[xr.Dataset]:
        if group not in self._open:
            self._open[group] = open_parts(self.path, self.engine, self.decode, group)
        return self._open[group]

    def names(self) -> list[str]:
        """Give the variables that are no coordinates, those in groups with their group."""
        own = [str(name) for part in self._parts[""] for name in part.data_vars]
        return own + [f"{group}/{name}" for group, held in groups_of(self.path, self.engine).items() for name in held]

    def times(self) -> np.ndarray:
        """Give the valid times of the variables of the root, all together, as far as they can be told."""
        found: dict[tuple, xr.DataArray] = {}
        for part in self._parts[""]:
            for array in part.data_vars.values():
                with suppress(InputError):  # nobody asked for this one
                    if (time := find_times(part, array)[0]) is not None:
                        found.setdefault((id(part), time.name, time.dims), time)  # read once for all variables
        dated = [np.ravel(time.values).astype("datetime64[ns]") for time in found.values()]
        return np.unique(np.concatenate([np.empty(0, "datetime64[ns]"), *dated]))

    def close(self) -> None:
        """Let go of the file."""
        for parts in self._open.values():
            for part in parts:
                part.close()


def _with_coordinates(part: xr.Dataset, outer: xr.Dataset) -> xr.Dataset:
    """Add the variables of the group around that lie along a group's dimensions, coordinates as such."""
    fitting = {
        name: variable
        for name, variable in outer.variables.items()
        if name not in part.variables and variable.dims and set(variable.dims) <= set(part.dims)
    }
    return part.assign(fitting).set_coords([name for name in fitting if name in outer.coords])


def groups_of(path: Path, engine: str) -> dict[str, set[str]]:
    """Give the variables of each group of a file by its path; nothing where its kind has no groups."""
    if engine in ("netcdf4", "h5netcdf"):
        with netCDF4.Dataset(path) as file:
            return _nested(file)
    if engine == "zarr":
        import zarr

        members = zarr.open_group(path, mode="r").members(max_depth=None)
        return {name: set(member.array_keys()) for name, member in members if isinstance(member, zarr.Group)}
    return {}


def _nested(group: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, inner in group.groups.items():
        found[name] = set(inner.variables)
        found |= {f"{name}/{further}": variables for further, variables in _nested(inner).items()}
    return found


def open_parts(path: Path, engine: str, decode: bool = True, group: str = "") -> list[xr.Dataset]:
    """Open a file or a group of it lazily; a GRIB file whose messages lie on several kinds of levels has several parts.

    Raises:
        InputError: If the file is damaged or of another kind, or its times cannot be decoded.
    """
    options: dict[str, Any] = {"engine": engine, "chunks": None, "cache": False}
    options |= {"group": group} if group else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if engine == "cfgrib":
                return _open_grib(path)
            return [xr.open_dataset(path, mask_and_scale=decode, decode_times=decode, **options)]
    except ValueError as error:
        if "decode time" not in str(error):
            raise _damaged(path, engine, error) from error
        raise InputError(
            f"times must follow CF, as in 'hours since 2000-01-01': those of {path} do not; correct their units"
        ) from error
    except Exception as error:
        raise _damaged(path, engine, error) from error


def _open_grib(path: Path) -> list[xr.Dataset]:
    import cfgrib

    return cfgrib.open_datasets(str(path), backend_kwargs={"indexpath": "", "errors": "raise"}, cache=False)


def _damaged(path: Path, engine: str, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{path} must be a whole {engine} file: it cannot be opened ({reason}); restore or remove it")
