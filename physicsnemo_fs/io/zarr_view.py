# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A Zarr folder of ensembles seen as a NetCDF file: the part of netCDF4's interface that readers use."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr


class ZarrVariable:
    """A Zarr array with the interface of ``netCDF4.Variable``.

    Args:
        array: The array; its attributes and dimension names are those that the layout writes.
    """

    def __init__(self, array: zarr.Array):
        self.__dict__.update({k: np.array(v) if isinstance(v, list) else v for k, v in array.attrs.asdict().items()})
        self._array = array
        metadata: Any = array.metadata
        self.dimensions: tuple[str, ...] = tuple(name or "" for name in metadata.dimension_names or ())
        if len(self.dimensions) != array.ndim:
            raise ValueError(f"{array.path} must name its {array.ndim} dimensions: it names {self.dimensions}")
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self._array.path} has no attribute {name!r}")

    def ncattrs(self) -> list[str]:
        """Give the names of the attributes."""
        return list(self._array.attrs)

    def getncattr(self, name: str) -> Any:
        """Give an attribute."""
        return getattr(self, name)

    def __getitem__(self, key: Any) -> np.ma.MaskedArray:
        try:
            values = np.asarray(self._array[key])
        except Exception as error:  # codecs raise what they like
            raise OSError(" ".join(str(error).split()) or type(error).__name__) from error
        absent = values.dtype.kind == "f" and values.ndim > 1 and np.isnan(values).all(axis=(-2, -1)).any()
        if absent and self._array.nchunks_initialized < self._array.nchunks:
            raise OSError("files of it are lost")
        return np.ma.asarray(values)


class ZarrView:
    """A Zarr group with the interface of ``netCDF4.Dataset``.

    Args:
        place: The folder, or a group of it.

    Raises:
        OSError: If there is no readable Zarr 3 group.
    """

    def __init__(self, place: Path | zarr.Group):
        try:
            group = place if isinstance(place, zarr.Group) else zarr.open_group(place, mode="r", zarr_format=3)
            self.__dict__.update(group.attrs.asdict())
            members = dict(group.members())
            self.name = group.basename
            self.groups = {name: ZarrView(child) for name, child in members.items() if isinstance(child, zarr.Group)}
            arrays = {name: child for name, child in members.items() if isinstance(child, zarr.Array)}
            self.variables = {name: ZarrVariable(child) for name, child in arrays.items()}
        except OSError:
            raise
        except Exception as error:  # damaged metadata
            raise OSError(" ".join(str(error).split()) or type(error).__name__) from error
        self._attributes = list(group.attrs)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.name or 'the root'} has no attribute {name!r}")

    def ncattrs(self) -> list[str]:
        """Give the names of the attributes."""
        return self._attributes

    def isopen(self) -> bool:
        """Whether there is something to close: never."""
        return False

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
