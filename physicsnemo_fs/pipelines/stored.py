# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Opening ``dataset=store``: the regions, splits and normalisation that were built."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from physicsnemo_fs.config.stored import StoreDatasetConfig
from physicsnemo_fs.data.datasets.pairing import Uneven
from physicsnemo_fs.data.fields.missing import parse_missing
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.signature import as_trained
from physicsnemo_fs.data.splits import LABELS
from physicsnemo_fs.data.store_reader import Store, open_store
from physicsnemo_fs.data.types import Channel, DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.regions import Sources, Variables, open_regions


def open_stored(config: StoreDatasetConfig, opening: Opening) -> DownscalingDataset:
    """Open a split of a store.

    Whole fields are given where truth is not required, patches of ``patch_shape`` otherwise.

    Raises:
        InputError: If the store, a region or the split is not there, or the checkpoint knows other variables.
    """
    store = _opened(config)
    channels = {part: _normalised(found, opening.channels) for part, found in store.channels.items()}
    rules = parse_missing(config.missing, [c for found in channels.values() for c in found])
    regions = store_regions(config, opening.split) if opening.region is None else (opening.region,)
    sources = [
        Sources(
            store.fields(region, "fine"),
            store.fields(region, "coarse"),
            store.fields(region, "invariants") if channels["invariants"] else None,
            store.labels(region),
        )
        for region in regions
    ]
    variables = Variables(channels["fine"], channels["coarse"], channels["invariants"], rules)
    return open_regions(config, opening, sources, variables, uneven=cast(Uneven, config.uneven))


def store_regions(config: StoreDatasetConfig, split: str) -> tuple[str, ...]:
    """Give the names of the regions that have samples of a split.

    Raises:
        InputError: If there are none, or a name is none of the store's.
    """
    store = _opened(config)
    wanted = _wanted(config.regions, split)
    unknown = [name for name in wanted or () if name not in store.regions]
    if unknown:
        raise InputError(f"{store.path} has no region {unknown[0]!r}: there are {', '.join(store.regions)}; choose one")
    found = tuple(
        region
        for region in store.regions
        if (wanted is None or region in wanted) and LABELS[split] in store.labels(region)
    )
    if not found:
        raise InputError(f"{store.path} must have {split} samples in the regions that are used; build it with some")
    return found


def _wanted(regions: Any, split: str) -> Sequence[str] | None:
    """Give the names that a configuration chooses of a split; ``None`` takes all."""
    chosen = regions.get(split) if isinstance(regions, Mapping) else regions
    foreign = set(regions) - set(LABELS) if isinstance(regions, Mapping) else set()
    if foreign or isinstance(chosen, str) or not isinstance(chosen, Sequence | None):
        raise InputError(
            f"dataset.regions must be names, or lists of names by split ({', '.join(LABELS)}): got {regions!r}; write "
            "[east] or {test: [east]}"
        )
    return chosen


def _opened(config: StoreDatasetConfig) -> Store:
    if config.data_path is None:
        raise InputError("dataset=store needs the folder: set dataset.data_path=outputs/store.zarr")
    if config.resolution is not None or config.coarsening != "cell_average":
        raise InputError("dataset=store has the grids it was built with; leave resolution and coarsening out")
    return open_store(config.data_path)


def _normalised(channels: Sequence[Channel], known: Mapping[str, Channel] | None) -> tuple[Channel, ...]:
    """Give the checkpoint's normalisation, where there is one, or else the store's."""
    if known is None:
        return tuple(channels)
    return tuple(as_trained(channel, known) for channel in channels)
