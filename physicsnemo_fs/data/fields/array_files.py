# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Arrays in NetCDF, Zarr and GRIB files: which files, which kind, and reading parts of them fast."""

import difflib
import glob
import importlib.util
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import netCDF4
import numpy as np
import xarray as xr

from physicsnemo_fs.data.fields.packing import Packing
from physicsnemo_fs.data.fields.parts import GroupedParts, variable_of
from physicsnemo_fs.errors import InputError

SUFFIXES = {
    **dict.fromkeys((".nc", ".nc3", ".nc4", ".cdf", ".h5", ".hdf5", ".he5"), "netcdf4"),
    **dict.fromkeys((".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2", ".gb2"), "cfgrib"),
    ".zarr": "zarr",
}
MAGIC = {b"CDF": "netcdf4", b"\x89HDF": "netcdf4", b"GRIB": "cfgrib"}
ZARR_MARKERS = ("zarr.json", ".zgroup", ".zmetadata")
EXTRAS = {"cfgrib": ("cfgrib", "grib"), "zarr": ("zarr", "zarr")}
MOST_OPEN_FILES = 64
CHUNK_CACHE_BYTES = 64 * 2**20


class ArrayFile(Protocol):
    """An open file."""

    def read(self, name: str, key: tuple[int | slice, ...], level: float | None) -> np.ndarray:
        """Give a part of a variable, floating-point, NaN where a value is missing."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def list_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Expand patterns and folders; a Zarr store is one file, another folder stands for the data files in it.

    Raises:
        InputError: If nothing matches.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.nc", "a.nc", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in list_files(folder)], [path.name for path in list_files(f"{folder}/b*")]
        (['a.nc', 'b.nc'], ['b.nc'])
    """
    asked = [paths] if isinstance(paths, str | Path) else paths
    if not isinstance(asked, Sequence) or not all(isinstance(path, str | Path) for path in asked):
        raise InputError(f"data files must be a path or a list of paths: got {paths!r}; correct it")
    found = dict.fromkeys(path for pattern in asked for path in _expand(str(pattern)))
    if not found:
        raise InputError(f"data files must exist: {', '.join(map(str, asked)) or 'an empty list'} holds none; check it")
    return list(found)


def _expand(pattern: str) -> Iterator[Path]:
    pattern = os.path.expanduser(pattern)
    matches = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise InputError(f"data files must exist: nothing matches {pattern}; check dataset.data_path")
    for match in map(Path, matches):
        if match.is_dir() and not _is_zarr(match):
            yield from sorted(path for path in match.iterdir() if path.suffix in SUFFIXES)
        else:
            yield match


def _is_zarr(path: Path) -> bool:
    return any((path / marker).exists() for marker in ZARR_MARKERS)


def find_engine(path: Path) -> str:
    """Give the xarray engine of a file: by what it holds, or else by its suffix.

    Raises:
        InputError: If the kind is unknown or the package that reads it is absent.
    """
    if path.is_dir():
        engine = "zarr" if _is_zarr(path) else None
    else:
        try:
            with open(path, "rb") as file:
                start = file.read(4)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); restore, remove or leave it out") from error
        known = [engine for magic, engine in MAGIC.items() if start.startswith(magic)]
        engine = known[0] if known else SUFFIXES.get(path.suffix)
    if engine is None:
        raise InputError(f"data files must be NetCDF, Zarr or GRIB: {path} is none; name its xarray engine")
    package, extra = EXTRAS.get(engine, ("xarray", ""))
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{path} needs the package {package}: install physicsnemo-fs[{extra}]")
    return engine


def check_engine(engine: str) -> None:
    """Refuse an engine that xarray does not have.

    Raises:
        InputError: Naming the engines there are, or the package that is absent.
    """
    package, extra = EXTRAS.get(engine, ("xarray", ""))
    if importlib.util.find_spec(package) is None:
        raise InputError(f"engine={engine} needs the package {package}: install physicsnemo-fs[{extra}]")
    known = sorted(xr.backends.list_engines())
    if engine not in known:
        close = difflib.get_close_matches(engine, known, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"engine must be one of xarray's that are installed, {', '.join(known)}: got {engine!r}{hint}; leave it "
            "out to let the files decide"
        )


class NetCDFFile:
    """A NetCDF file read through netCDF4 without its masked arrays."""

    def __init__(self, path: Path):
        self._file = netCDF4.Dataset(path)
        self._file.set_auto_maskandscale(False)
        self._variables: dict[str, tuple[netCDF4.Variable, Packing]] = {}

    def read(self, name: str, key: tuple[int | slice, ...], level: float | None) -> np.ndarray:
        """Give a part of a variable."""
        if name not in self._variables:
            self._variables[name] = self._prepare(name)
        variable, packing = self._variables[name]
        return packing.unpack(variable[key])

    def _prepare(self, name: str) -> tuple[netCDF4.Variable, Packing]:
        variable = self._file[name]
        chunks = variable.chunking()
        if chunks is not None and chunks != "contiguous":
            # One chunk and no more: neighbours are read together, and many files are open at once.
            size = int(np.prod(chunks)) * variable.dtype.itemsize
            variable.set_var_chunk_cache(size=min(max(size + 1, 2**20), CHUNK_CACHE_BYTES))
        attributes = {key: variable.getncattr(key) for key in variable.ncattrs()}
        return variable, Packing.of(variable.dtype, attributes, netCDF4.default_fillvals)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class ZarrFile:
    """A Zarr group, version 2 or 3, read chunk by chunk without xarray's indexing."""

    def __init__(self, path: Path):
        import zarr

        self._group = zarr.open_group(path, mode="r")
        self._parts = GroupedParts(path, "zarr", decode=False)
        self._variables: dict[str, tuple[Any, Packing]] = {}

    def read(self, name: str, key: tuple[int | slice, ...], level: float | None) -> np.ndarray:
        """Give a part of a variable."""
        if name not in self._variables:
            array: Any = self._group[name]
            attributes = self._parts.find(name)[variable_of(name)].attrs
            self._variables[name] = array, Packing.of(array.dtype, attributes)
        array, packing = self._variables[name]
        return packing.unpack(array[key])

    def close(self) -> None:
        """Let go of the group."""
        self._parts.close()


class XarrayFile:
    """Any other file, read through its xarray engine; NetCDF by another engine is unpacked as by netCDF4."""

    def __init__(self, path: Path, engine: str):
        self._packed = engine in ("scipy", "h5netcdf")
        self._parts = GroupedParts(path, engine, decode=not self._packed)

    def read(self, name: str, key: tuple[int | slice, ...], level: float | None) -> np.ndarray:
        """Give a part of a variable."""
        variable = self._parts.find(name, level)[variable_of(name)].variable
        values = np.asarray(variable[key].values)
        if not self._packed:
            return values
        return Packing.of(variable.dtype, variable.attrs, netCDF4.default_fillvals).unpack(values)

    def close(self) -> None:
        """Let go of the file."""
        self._parts.close()


class OpenFiles:
    """The files that this process holds open: the most recently used ones, one reader at a time for each library.

    A process that was forked opens its own.

    Args:
        most: Files held open at once.
    """

    def __init__(self, most: int = MOST_OPEN_FILES):
        self.most = most
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._inherited = getattr(self, "_files", None)
        self._files: OrderedDict[tuple[Path, str], ArrayFile] = OrderedDict()
        self._lock = threading.RLock()

    @contextmanager
    def reading(self, path: Path, engine: str) -> Iterator[ArrayFile]:
        """Give an open file, alone.

        The NetCDF and GRIB libraries know no threads; Zarr waits here for its metadata only.
        """
        with self._lock:
            file = self._get(path, engine)
            if engine != "zarr":
                yield file
                return
        yield file

    def _get(self, path: Path, engine: str) -> ArrayFile:
        if (path, engine) not in self._files:
            while len(self._files) >= self.most:
                self._files.popitem(last=False)[1].close()
            self._files[path, engine] = _open(path, engine)
        self._files.move_to_end((path, engine))
        return self._files[path, engine]

    def forget(self, path: Path) -> None:
        """Close a file, which may have been written anew."""
        with self._lock:
            for key in [key for key in self._files if key[0] == path]:
                self._files.pop(key).close()

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            while self._files:
                with suppress(OSError, RuntimeError):
                    self._files.popitem()[1].close()


def _open(path: Path, engine: str) -> ArrayFile:
    if engine == "netcdf4":
        return NetCDFFile(path)
    return ZarrFile(path) if engine == "zarr" else XarrayFile(path, engine)


OPEN_FILES = OpenFiles()
"""The open files of this process."""
