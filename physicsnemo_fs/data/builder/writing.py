# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Writing a training store: its groups, coordinates and arrays; workers fill in the chunks."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float
from zarr.codecs import BloscCodec, Crc32cCodec

from physicsnemo_fs.data.builder.frames import geographic
from physicsnemo_fs.data.builder.plan import Plan
from physicsnemo_fs.data.cf_times import encode_times
from physicsnemo_fs.data.splits import LABELS, UNUSED
from physicsnemo_fs.data.store_layout import FORMAT, LONGEST_CHUNK, Part, grid_record
from physicsnemo_fs.data.types import Channel, Grid

Values = Float[np.ndarray, "channel y x"]
STATIC_DIMENSIONS = ("y", "x")
DIMENSIONS = ("time", "y", "x")


def define_store(path: Path, plan: Plan) -> None:
    """Make the folder with everything but the values of fields that change in time."""
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs.update({"format": FORMAT, "complete": False})
    for place, labels in zip(plan.places, plan.labels, strict=True):
        group = root.create_group(place.region.name)
        _write_times(group, plan.times)
        meanings = {"flag_values": [*LABELS.values(), UNUSED], "flag_meanings": " ".join([*LABELS, "unused"])}
        _write(group, "split", labels, ("time",), {"long_name": "split of the sample", **meanings})
        _write(group, "block", plan.blocks, ("time",), {"long_name": "number of the block of time"})
        leads = plan.lead_hours
        _define_part(group, "fine", place.fine, plan.fine.channels, plan, leads["fine"])
        _define_part(group, "coarse", place.coarse, plan.channels("coarse"), plan, leads["coarse"])
        if plan.invariants is not None:
            _define_part(group, "invariants", place.fine, plan.invariants.channels, None)


class StoreArrays:
    """The arrays of a store that :func:`define_store` made, opened once each.

    Args:
        path: The store's folder.
    """

    def __init__(self, path: Path):
        self._root = zarr.open_group(path, mode="r+", zarr_format=3)
        self._arrays: dict[tuple[str, str, str], Any] = {}

    def fill(self, region: str, part: Part, position: int | None, channels: Sequence[Channel], values: Values) -> None:
        """Write the fields of one time (``None`` for static ones), one a channel."""
        for channel, field in zip(channels, values, strict=True):
            key = (region, part, channel.name)
            if key not in self._arrays:
                self._arrays[key] = self._root["/".join(key)]
            self._arrays[key][... if position is None else position] = field


def finish_store(path: Path, attributes: Mapping[str, Any]) -> None:
    """Say what was built, and that it is complete."""
    root = zarr.open_group(path, mode="r+", zarr_format=3)
    root.attrs.update({**attributes, "complete": True})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        for region in sorted(root.group_keys()):
            for part in sorted(zarr.open_group(path / region, mode="r").group_keys()):
                zarr.consolidate_metadata(path / region / part, zarr_format=3)
            zarr.consolidate_metadata(path / region, zarr_format=3)


def _define_part(
    group: zarr.Group,
    part: Part,
    grid: Grid,
    channels: Sequence[Channel],
    plan: Plan | None,
    lead_hours: np.ndarray | None = None,
) -> None:
    child = group.create_group(part)
    child.attrs["grid"] = grid_record(grid)
    if plan is not None:
        _write_times(child, plan.times)
        if lead_hours is not None:
            lead = np.asarray(lead_hours, np.float64)
            _write(child, "lead_hours", lead, ("time",), {"units": "h", "long_name": "time since the forecast began"})
    _write_coordinates(child, grid)
    chunk = tuple(min(n, LONGEST_CHUNK) for n in grid.shape)
    for channel in channels:
        child.create_array(
            channel.name,
            shape=grid.shape if plan is None else (len(plan.times), *grid.shape),
            chunks=chunk if plan is None else (1, *chunk),
            dtype="float32",
            fill_value=np.nan,
            dimension_names=STATIC_DIMENSIONS if plan is None else DIMENSIONS,
            compressors=_compressors(4),
            attributes=_attributes(channel, grid),
            config={"write_empty_chunks": True},
        )


def _attributes(channel: Channel, grid: Grid) -> dict[str, Any]:
    texts = {"units": channel.unit, "long_name": channel.long_name, "standard_name": channel.standard_name}
    attributes: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if grid.latitude is not None:
        attributes["coordinates"] = "latitude longitude"
    if grid.projection is not None:
        attributes["grid_mapping"] = "crs"
    return attributes


def _write_times(group: zarr.Group, times: np.ndarray) -> None:
    values, attributes = encode_times(times)
    _write(group, "time", values, ("time",), attributes)


def _write_coordinates(group: zarr.Group, grid: Grid) -> None:
    for name, axis, along in (("y", "Y", "north"), ("x", "X", "east")):
        attributes = {"units": f"degrees_{along}" if geographic(grid) else grid.unit, "axis": axis}
        if grid.projection is not None:
            attributes["standard_name"] = f"projection_{name}_coordinate"
        _write(group, name, getattr(grid, name), (name,), attributes)
    for name, along in (("latitude", "north"), ("longitude", "east")):
        if getattr(grid, name) is not None:
            attributes = {"units": f"degrees_{along}", "standard_name": name, "long_name": name}
            _write(group, name, np.asarray(getattr(grid, name), np.float64), STATIC_DIMENSIONS, attributes)
    if grid.projection is not None:
        _write(group, "crs", np.zeros((), np.int8), (), grid_record(grid)["projection"])


def _write(group: zarr.Group, name: str, values: np.ndarray, dimensions: Sequence[str], attributes: Any) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(n, 1) for n in values.shape),
        dtype=values.dtype,
        dimension_names=tuple(dimensions),
        compressors=_compressors(values.dtype.itemsize),
        attributes=dict(attributes),
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _compressors(size: int) -> tuple[Any, ...]:
    """Bytes are shuffled and compressed, and carry a checksum."""
    return BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=size), Crc32cCodec()
