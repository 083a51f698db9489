# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Reading a training store: its regions, splits, statistics and fields."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from jaxtyping import Float, Int64, UInt8

from physicsnemo_fs.data.cf_times import decode_times
from physicsnemo_fs.data.splits import LABELS, positions_of
from physicsnemo_fs.data.store_layout import FORMAT, PARTS, Part, grid_of
from physicsnemo_fs.data.types import Channel, Fields, Grid
from physicsnemo_fs.errors import InputError


@dataclass(frozen=True)
class Store:
    """What a store says about itself.

    Args:
        path: Its folder.
        attributes: The root's attributes: configuration, sources, code version, channels.
        regions: Names of its regions, in the order of the configuration.
        channels: Variables of each part, with the normalisation measured on the training samples.
    """

    path: Path
    attributes: dict[str, Any]
    regions: tuple[str, ...]
    channels: dict[Part, tuple[Channel, ...]]

    def fields(self, region: str, part: Part) -> Fields:
        """Open the fields of a region."""
        return cast(Fields, StoreFields(self, region, part))

    def labels(self, region: str) -> UInt8[np.ndarray, " time"]:
        """Give the split of each sample of a region: 0 training, 1 validation, 2 testing, 255 unused."""
        return np.asarray(_array(_group(self.path, region), "split", self.path)[...])

    def blocks(self, region: str) -> Int64[np.ndarray, " time"]:
        """Give the number of the block of time of each sample of a region."""
        return np.asarray(_array(_group(self.path, region), "block", self.path)[...])

    def positions(self, region: str, split: str) -> Int64[np.ndarray, " sample"]:
        """Give the times of a region that belong to a split.

        Raises:
            InputError: If there are none.
        """
        return positions_of(self.labels(region), split)

    def regions_of(self, split: str) -> tuple[str, ...]:
        """Give the regions that have samples of a split."""
        return tuple(region for region in self.regions if LABELS[split] in self.labels(region))


def open_store(path: str | Path) -> Store:
    """Open a store that ``physicsnemo-fs build`` made.

    Raises:
        InputError: If it is missing, of another kind, or not complete.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"a store must exist: {path} does not; build it or correct the path")
    attributes: dict[str, Any] = dict(_group(path).attrs)
    if attributes.get("format") != FORMAT:
        raise InputError(
            f"a store must have the attribute format = {FORMAT!r}: {path} has {attributes.get('format')!r}; build it "
            "again, or open other Zarr data as dataset=zarr"
        )
    if not attributes.get("complete"):
        raise InputError(f"a store must be complete: {path} is not; run the build command again")
    described = attributes["channels"]
    channels: dict[Part, tuple[Channel, ...]] = {
        part: tuple(Channel.from_dict(record) for record in described.get(part, ())) for part in PARTS
    }
    return Store(path, attributes, tuple(attributes["regions"]), channels)


class StoreFields:
    """The fields of one part of a region, as :class:`physicsnemo_fs.data.types.Fields`.

    Args:
        store: The store.
        region: Name of the region.
        part: ``"fine"``, ``"coarse"`` or ``"invariants"``.

    Raises:
        InputError: If the region or the part is not there.
    """

    def __init__(self, store: Store, region: str, part: Part):
        if region not in store.regions:
            raise InputError(f"{store.path} has no region {region!r}: there are {', '.join(store.regions)}; choose one")
        if not store.channels.get(part):
            raise InputError(f"{store.path} has no {part} fields; add them to the build")
        self.path, self.region, self.part = store.path, region, part
        self.channels = tuple(
            replace(Channel(c.name, c.unit), long_name=c.long_name, standard_name=c.standard_name)
            for c in store.channels[part]
        )
        group = _group(self.path, f"{region}/{part}")
        self.times = _times(group, self.path) if part != "invariants" else np.empty(0, "datetime64[ns]")
        self.lead_hours = np.asarray(_array(group, "lead_hours", self.path)[...]) if "lead_hours" in group else None
        self._arrays: list[zarr.Array] | None = None
        self._whole: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "grid"} | {"_arrays": None}

    @cached_property
    def grid(self) -> Grid:
        """Grid of the fields, with latitude and longitude."""
        group = _group(self.path, f"{self.region}/{self.part}")
        latitude, longitude = (
            np.asarray(_array(group, name, self.path)[...]) if name in group else None
            for name in ("latitude", "longitude")
        )
        record: Any = group.attrs["grid"]
        return grid_of(record, latitude, longitude)

    def read(
        self, positions: Sequence[int], window: tuple[slice, slice] | None = None
    ) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields at positions of ``times`` (``[0]`` for static ones), float32, whole or in a window.

        Raises:
            InputError: If a chunk is damaged or lost.
        """
        if self._arrays is None:
            group = _group(self.path, f"{self.region}/{self.part}")
            self._arrays = [_array(group, c.name, self.path) for c in self.channels]
        rows, columns = window or (slice(None), slice(None))
        height, width = (len(range(*s.indices(n))) for s, n in zip((rows, columns), self.grid.shape, strict=True))
        values = np.empty((len(positions), len(self._arrays), height, width), np.float32)
        for i, position in enumerate(positions):
            key = (rows, columns) if self.part == "invariants" else (int(position), rows, columns)
            for j, array in enumerate(self._arrays):
                values[i, j] = self._part(array, f"{self.region}/{self.part}/{self.channels[j].name}", key)
        return values

    def _part(self, array: zarr.Array, name: str, key: tuple[Any, ...]) -> np.ndarray:
        try:
            values = np.asarray(array[key])
        except Exception as error:
            raise InputError(
                f"{self.path}: {name} is damaged at {key[0]} ({_first_line(error)}); build the store again"
            ) from error
        if name not in self._whole and np.isnan(values).all():
            if array.nchunks_initialized < array.nchunks:
                raise InputError(f"{self.path}: {name} lacks chunks; copy the store again or build it again")
            self._whole.add(name)
        return values


def _times(group: zarr.Group, path: Path) -> np.ndarray:
    times = _array(group, "time", path)
    return decode_times(np.asarray(times[...]), times.attrs, path)


def _group(path: Path, name: str = "") -> zarr.Group:
    try:
        return zarr.open_group(path / name, mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"a store must be a Zarr 3 folder: {path / name} is not ({_first_line(error)}); build it again"
        ) from error


def _array(group: zarr.Group, name: str, path: Path) -> zarr.Array:
    try:
        array = group[name]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} must hold {group.path}/{name}: it does not; build the store again") from error
    assert isinstance(array, zarr.Array)  # noqa: S101 - a name of an array in the layout
    return array


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
