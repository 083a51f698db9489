# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Gridded files as readers of PhysicsNeMo's datapipes, registered under their class names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from physicsnemo.datapipes.readers.base import Reader
from physicsnemo.datapipes.registry import register
from torch import Tensor

from physicsnemo_fs.data.fields.gridded import open_fields


@register()
class FSNetCDFReader(Reader):
    """One sample a time of NetCDF, Zarr or GRIB files: ``{variable: field}`` in physical units, NaN where missing.

    In a configuration ``_target_: ${dp:FSNetCDFReader}``.

    Args:
        paths: See :func:`physicsnemo_fs.data.fields.gridded.open_fields`.
        variables: Likewise.
        pin_memory: Give page-locked memory.
        include_index_in_metadata: Give the sample's index with it.
        options: Further arguments of :func:`physicsnemo_fs.data.fields.gridded.open_fields`, such as ``region``.

    Raises:
        InputError: As there.

    Example:
        >>> import tempfile, numpy as np, xarray as xr
        >>> path = Path(tempfile.mkdtemp()) / "t2m.nc"
        >>> coordinates = {"time": np.array(["2020-01-01"], "datetime64[ns]"), "lat": [50.0, 51.0], "lon": [0.0, 1.0]}
        >>> xr.Dataset({"t2m": (tuple(coordinates), np.ones((1, 2, 2)))}, coordinates).to_netcdf(path)
        >>> sample, metadata = FSNetCDFReader(path, ["t2m"])[0]
        >>> tuple(sample["t2m"].shape), metadata["time"]
        ((2, 2), '2020-01-01T00:00:00.000000000')
    """

    engine: str | None = None

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        variables: Sequence[str],
        *,
        pin_memory: bool = False,
        include_index_in_metadata: bool = True,
        **options: Any,
    ):
        super().__init__(pin_memory=pin_memory, include_index_in_metadata=include_index_in_metadata)
        self.fields = open_fields(paths, variables, **{"engine": self.engine, **options})

    def __len__(self) -> int:
        return max(1, len(self.fields.times))

    def _load_sample(self, index: int) -> dict[str, Float[Tensor, "y x"]]:
        values = torch.from_numpy(self.fields.read([index])[0])
        return {channel.name: field for channel, field in zip(self.fields.channels, values, strict=True)}

    def _get_field_names(self) -> list[str]:
        return [channel.name for channel in self.fields.channels]

    def _get_sample_metadata(self, index: int) -> dict[str, Any]:
        return {"time": str(self.fields.times[index])} if len(self.fields.times) else {}


@register()
class FSZarrReader(FSNetCDFReader):
    """The same of Zarr stores, version 2 or 3."""

    engine = "zarr"
