# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A Zarr 3 folder of ensembles: the groups and variables of the NetCDF layout, one file a field.

Processes may fill different fields at once.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float32
from zarr.codecs import BloscCodec, Crc32cCodec

from physicsnemo_fs.io.contents import Variable, contents, sizes
from physicsnemo_fs.io.fields import Place
from physicsnemo_fs.io.layout import COMPLETE, EnsembleSpec


def define(path: Path, spec: EnsembleSpec, significant_bits: int | None = None) -> None:
    """Make the folder with everything but its fields; what lies there is lost."""
    root = zarr.open_group(path, mode="w", zarr_format=3)
    groups = contents(spec, significant_bits)
    for group in groups:
        place = root.create_group(group.name) if group.name else root
        place.attrs.update({name: _plain(value) for name, value in group.attributes.items()})
        for variable in group.variables:
            _define(place, variable, sizes(groups, group))


class ZarrFolder:
    """The fields of a folder that :func:`define` made.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._root = zarr.open_group(path, mode="r+", zarr_format=3)
        self._arrays: dict[tuple[str, str], Any] = {}

    def put(self, place: Place, field: Float32[np.ndarray, "y x"]) -> Path:
        """Write a field and give the path of its file."""
        key = place.group, place.variable
        if key not in self._arrays:
            self._arrays[key] = self._root["/".join(key)]
        self._arrays[key][place.position] = field
        return self.path / chunk_path(place)


def chunk_path(place: Place) -> Path:
    """Give the path of a field's file below the folder.

    Example:
        >>> str(chunk_path(Place("truth", "t2m", (3,))))
        'truth/t2m/c/3/0/0'
    """
    return Path(place.group, place.variable, "c", *map(str, place.position), "0", "0")


def finish(path: Path) -> None:
    """Say in the folder that it is complete, and gather its metadata in one place."""
    root = zarr.open_group(path, mode="r+", zarr_format=3)
    provenance = root["provenance"]
    provenance.attrs[COMPLETE] = 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        for name in sorted(root.group_keys()):
            zarr.consolidate_metadata(path / name, zarr_format=3)
        zarr.consolidate_metadata(path, zarr_format=3)


def _define(group: zarr.Group, variable: Variable, dimensions: dict[str, int]) -> None:
    shape = tuple(dimensions[name] for name in variable.dimensions)
    values, attributes = variable.values, {name: _plain(value) for name, value in variable.attributes.items()}
    if values is None:
        chunks, dtype, fill = (1,) * (len(shape) - 2) + shape[-2:], np.dtype(np.float32), np.float32(np.nan)
    else:
        chunks, dtype, fill = tuple(max(n, 1) for n in shape), values.dtype, values.dtype.type(0)
    array = group.create_array(
        variable.name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=fill,
        dimension_names=variable.dimensions,
        compressors=(BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=dtype.itemsize), Crc32cCodec()),
        attributes=attributes,
        config={"write_empty_chunks": True},
    )
    if values is not None:
        array[...] = values


def _plain(value: Any) -> Any:
    """Give an attribute as a JSON type."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
