# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A NetCDF file of ensembles that is filled with chunks compressed elsewhere.

The chunks are compressed by zlib, which lets other threads run, and go into the file as they are: writing a chunk is a
copy. Only one thread may use this class at a time: the HDF5 library is not thread-safe.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

import h5py
import netCDF4
import numpy as np
from jaxtyping import Float32

from physicsnemo_fs.io.contents import Group, Variable, contents
from physicsnemo_fs.io.fields import Place
from physicsnemo_fs.io.layout import COMPLETE, EnsembleSpec

LEVEL: Final = 1


def deflate(field: Float32[np.ndarray, "y x"]) -> bytes:
    """Compress a field as HDF5's filters shuffle and deflate do.

    Example:
        >>> len(deflate(np.zeros((64, 64), np.float32))) < 200
        True
    """
    words = np.ascontiguousarray(field, "<f4")
    return zlib.compress(words.view(np.uint8).reshape(-1, 4).T.tobytes(), LEVEL)


class NetCDFFile:
    """A new file in the layout of :mod:`physicsnemo_fs.io.layout`, open for its fields.

    Args:
        path: The file; what lies there is lost.
        spec: What the file will hold.
        significant_bits: Mantissa bits kept of predicted values, for the attribute that says so.
    """

    def __init__(self, path: Path, spec: EnsembleSpec, significant_bits: int | None = None):
        self.path = path
        with netCDF4.Dataset(path, "w", format="NETCDF4") as dataset:
            groups = contents(spec, significant_bits)
            for group in groups:
                _define(dataset if not group.name else dataset.createGroup(group.name), group, spec)
        self._file = h5py.File(path, "r+")
        self._variables: dict[tuple[str, str], h5py.h5d.DatasetID] = {}

    def __enter__(self) -> "NetCDFFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(RuntimeError) if error is not None else _writing():
            self._file.close()

    def put(self, place: Place, chunk: bytes) -> None:
        """Write a compressed field.

        Raises:
            OSError: If the disk is full.
        """
        name = place.group, place.variable
        with _writing():
            if name not in self._variables:  # looking one up takes as long as writing a small chunk
                self._variables[name] = self._file["/".join(name)].id
            self._variables[name].write_direct_chunk((*place.position, 0, 0), chunk)

    def finish(self) -> None:
        """Close the file and say in it that it is complete.

        Raises:
            OSError: If the disk is full.
        """
        with _writing():
            self._file.close()
        with _writing(), netCDF4.Dataset(self.path, "a") as dataset:
            dataset["provenance"].setncattr(COMPLETE, np.int32(1))


@contextmanager
def _writing() -> Iterator[None]:
    """Let failures of the HDF5 library be errors of the operating system, which they are."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(" ".join(str(error).split())) from error


def _define(place: netCDF4.Dataset | netCDF4.Group, group: Group, spec: EnsembleSpec) -> None:
    for name, size in group.dimensions.items():
        place.createDimension(name, size)
    for variable in group.variables:
        if variable.values is None:
            _define_field(place, group, variable, spec)
            continue
        zlib: Literal["zlib"] | None = "zlib" if variable.values.ndim > 1 else None
        made = place.createVariable(
            variable.name, str(variable.values.dtype), variable.dimensions, compression=zlib, complevel=LEVEL
        )
        made.setncatts(variable.attributes)
        made[...] = variable.values
    place.setncatts(group.attributes)


def _define_field(place: netCDF4.Dataset | netCDF4.Group, group: Group, variable: Variable, spec: EnsembleSpec) -> None:
    grid = spec.coarse_grid if group.name == "input_native" else spec.grid
    made = place.createVariable(
        variable.name,
        "float32",
        variable.dimensions,
        chunksizes=(1,) * (len(variable.dimensions) - 2) + grid.shape,
        compression="zlib",
        complevel=LEVEL,
        shuffle=True,
        fill_value=float("nan"),
    )
    made.setncatts(variable.attributes)
