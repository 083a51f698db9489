# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Opening ``dataset=netcdf``: files, splits, normalisation."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np

from physicsnemo_fs.config.gridded import NetCDFDatasetConfig
from physicsnemo_fs.data.datasets.pairing import Uneven, matching_times
from physicsnemo_fs.data.fields.array_files import list_files
from physicsnemo_fs.data.fields.catalogue import Wanted
from physicsnemo_fs.data.fields.gridded import GriddedFields, open_fields
from physicsnemo_fs.data.fields.missing import CheckedFields, Missing, parse_missing
from physicsnemo_fs.data.fields.origins import named_files, paths_of, place_of
from physicsnemo_fs.data.fields.placement import cells_inside
from physicsnemo_fs.data.fields.selection import check_known
from physicsnemo_fs.data.fields.views import CoarseFields, CutFields
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.signature import as_trained
from physicsnemo_fs.data.splits import (
    LABELS,
    parse_duration,
    positions_of,
    split_by_blocks,
    split_by_periods,
)
from physicsnemo_fs.data.statistics import parse_normalisations
from physicsnemo_fs.data.types import Channel, DownscalingDataset, Fields
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.regions import Sources, Variables, open_regions

log = logging.getLogger(__name__)


def open_gridded(config: NetCDFDatasetConfig, opening: Opening) -> DownscalingDataset:
    """Open a split of gridded files.

    Whole fields are given where truth is not required, patches of ``patch_shape`` otherwise.

    Raises:
        InputError: In one line the file, the variable and the remedy.
    """
    _check(config, opening)
    regions = [_sources(config, box, opening.truth_required) for box in _boxes(config, opening.split, opening.region)]
    for sources in regions:
        _require_times(sources.input if sources.target is None else sources.target)
        refuse_shared_cells(config, opening.split, sources.target or sources.input)
    rules = parse_missing(config.missing, _all_channels(regions[0]))
    outputs, inputs, invariants = _normalisation(config, opening, regions, rules)
    variables = Variables(outputs, None if regions[0].coarse is None else inputs, invariants, rules)
    labelled = [
        sources if sources.target is None else replace(sources, labels=_labels(config, sources.target, opening.split))
        for sources in regions
    ]
    uneven = cast(Uneven, config.uneven)
    return open_regions(config, opening, labelled, variables, factor=config.lowres_scale_factor, uneven=uneven)


def _check(config: NetCDFDatasetConfig, opening: Opening) -> None:
    name = f"dataset={config.type}"
    if not config.target:
        raise InputError(f"{name} needs the variables of the truth: set dataset.target=[t2m]")
    if config.data_path is None and (opening.truth_required or config.input_path is None):
        raise InputError(f"{name} needs files: set dataset.data_path='folder/*.nc'")
    if config.resolution is not None or config.coarsening != "cell_average":
        raise InputError(f"{name} has the grid of its files and averages cells; leave resolution and coarsening out")
    for key in ("regions", "periods", "transforms", "select", "missing"):
        given = getattr(config, key)
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"dataset.{key} must be a mapping such as {{a: ...}}: got {given!r}")
    if config.regions and config.periods:
        raise InputError(f"{name} is split by regions or by periods: got both; leave one out")


def _require_times(fields: Fields) -> None:
    if not len(fields.times):
        raise InputError(
            f"variable {fields.channels[0].name!r} must have times to be a sample of: it is static"
            f"{place_of(fields, 0, 0)}; give the file a time coordinate, or name it as dataset.invariants"
        )


def refuse_shared_cells(config: NetCDFDatasetConfig, split: str, fields: Fields) -> None:
    """Refuse a region of a split that has cells in a box of another split, an edge of the box included.

    Raises:
        InputError: Naming the box.
    """
    others = [
        (other, name, box)
        for other in config.regions or {}
        if other != split
        for name, box in region_boxes(config, other).items()
    ]
    for other, name, box in others:
        if cells_inside(fields.grid, box).any():
            raise InputError(
                f"regions of different splits must share no cell: {split} has cells in {name} of {other}; leave a cell "
                "between them"
            )


def region_boxes(config: NetCDFDatasetConfig, split: str) -> dict[str, list[float]]:
    """Give the boxes of a split by name; none where the data is not split by region.

    Raises:
        InputError: If the split has no box, or they have no names.
    """
    if not config.regions:
        return {}
    boxes = config.regions.get(split)
    if not boxes or not isinstance(boxes, Mapping):
        raise InputError(
            f"dataset.regions must name boxes for {split}: got {boxes or ', '.join(config.regions)}; write "
            f"{{{split}: {{alps: [44, 48, 6, 14]}}}}"
        )
    return dict(zip(map(str, boxes), boxes.values(), strict=True))


def _boxes(config: NetCDFDatasetConfig, split: str, region: str | None = None) -> list[list[float] | None]:
    boxes = region_boxes(config, split)
    if region is not None and region not in boxes:
        raise InputError(f"the {split} split must have the region {region!r}: it has {', '.join(boxes) or 'none'}")
    if not boxes:
        return [config.region]
    return [box for name, box in boxes.items() if region in (None, name)]


def _sources(config: NetCDFDatasetConfig, box: list[float] | None, truth_required: bool = True) -> Sources:
    known: set[str] = set()

    def opened(paths: Any, variables: Sequence[str], period: list[str] | None, chosen: bool = False) -> GriddedFields:
        fields = open_fields(
            paths,
            variables,
            engine=config.engine,
            period=period,
            region=box,
            missing_value=config.missing_value,
            select=config.select,
            select_known=False,
            single_values=chosen,
        )
        known.update(fields.selectable)
        return fields

    factor = config.lowres_scale_factor
    target = None if config.data_path is None else opened(config.data_path, config.target, config.period, chosen=True)
    coarse: Fields | None = None
    if config.input_path is not None:
        coarse = opened(config.input_path, config.input or config.target, config.period)
    elif config.input and list(config.input) != list(config.target):
        coarse = CoarseFields(_whole_blocks(opened(config.data_path, config.input, config.period), factor), factor)
    invariants: GriddedFields | None = None
    if config.invariants:
        if config.invariants_path is None and config.data_path is None:
            raise InputError("static fields need a file without dataset.data_path: set dataset.invariants_path")
        invariants = _static_source(config, lambda path: opened(path, config.invariants, None))
    check_known(config.select or {}, known)
    if config.input_path is not None or target is None:
        return Sources(target, coarse, invariants)
    static = None if invariants is None else _whole_blocks(invariants, factor)
    return Sources(_whole_blocks(target, factor), coarse, static)


def _static_source(config: NetCDFDatasetConfig, opened: Callable[[Any], GriddedFields]) -> GriddedFields:
    if config.invariants_path is not None:
        fields = opened(config.invariants_path)
    else:
        try:
            fields = opened(list_files(config.data_path)[0])
        except InputError as error:
            raise InputError(
                f"{error}; static fields are sought in the first file of dataset.data_path: name their own by "
                "dataset.invariants_path"
            ) from error
    if len(fields.times) > 1:
        raise InputError(
            f"static fields must have one time or none: {fields.paths[0]} has {fields.channels[0].name!r} at "
            f"{len(fields.times)}; keep one, by xarray's isel(time=0), and name that file by dataset.invariants_path"
        )
    return fields


@cache
def _say_left_out(paths: tuple[str, ...], kept: tuple[int, int], shape: tuple[int, int]) -> None:
    """Say it once in a process of the same files."""
    log.warning(
        "rows and columns beyond %d x %d of %s in %s fill no coarse cell and are left out", *kept, shape, paths[0]
    )


def _whole_blocks(fields: GriddedFields, factor: int) -> Fields:
    """Leave out the last rows and columns that fill no whole coarse cell."""
    height, width = (size - size % factor for size in fields.grid.shape)
    if (height, width) == fields.grid.shape:
        return fields
    if not height or not width:
        raise InputError(
            f"the grid must hold a coarse cell of {factor} x {factor}: its shape is {fields.grid.shape}; reduce "
            "dataset.lowres_scale_factor"
        )
    _say_left_out(tuple(map(str, fields.paths)), (height, width), fields.grid.shape)
    return CutFields(fields, (slice(0, height), slice(0, width)))


def _labels(config: NetCDFDatasetConfig, target: Fields, split: str) -> np.ndarray:
    if config.regions:
        return np.full(len(target.times), LABELS[split], np.uint8)
    gap = parse_duration(config.gap)
    if config.periods:
        return split_by_periods(target.times, config.periods, gap)
    shares = (config.validation_fraction, config.test_fraction)
    return split_by_blocks(target.times, parse_duration(config.block), *shares, gap)


def _all_channels(sources: Sources) -> list[Channel]:
    fields = (sources.target, sources.coarse, sources.invariants)
    return [channel for source in fields if source is not None for channel in source.channels]


def _normalisation(
    config: NetCDFDatasetConfig, opening: Opening, regions: Sequence[Sources], rules: dict[str, Missing]
) -> tuple[tuple[Channel, ...], tuple[Channel, ...], tuple[Channel, ...]]:
    """Give the normalised channels of truth, input and invariants: the known ones, or measured in training."""
    if opening.channels is not None:
        known = opening.channels
        target = regions[0].target
        wanted = [Channel(Wanted.parse(name).name) for name in config.target] if target is None else target.channels
        return (
            tuple(as_trained(channel, known, unit_given=target is not None) for channel in wanted),
            tuple(as_trained(channel, known) for channel in regions[0].input.channels),
            _static(config, opening, regions, rules),
        )
    training = (
        regions
        if opening.split == "train" and opening.region is None
        else [_sources(config, box) for box in _boxes(config, "train")]
    )
    transforms = config.transforms or {}
    foreign = set(transforms) - {channel.name for channel in _all_channels(training[0])}
    if foreign:
        raise InputError(f"dataset.transforms must be of variables of the dataset: got {min(foreign)!r}; correct it")
    truths = [sources.target for sources in training if sources.target is not None]
    places = [positions_of(_labels(config, truth, "train"), "train") for truth in truths]
    outputs = _measured(config, opening, "target", truths, places, rules)
    inputs = outputs
    coarse = [sources.coarse for sources in training if sources.coarse is not None]
    if coarse:
        found = []
        for fields, truth, place in zip(coarse, truths, places, strict=True):
            with named_files(target=truth, input=fields):
                found.append(matching_times(truth.times[place], fields.times))
        inputs = _measured(config, opening, "input", coarse, found, rules)
    return outputs, inputs, _static(config, opening, training, rules)


def _measured(
    config: NetCDFDatasetConfig,
    opening: Opening,
    name: str,
    regions: Sequence[Fields],
    places: Sequence[np.ndarray],
    rules: dict[str, Missing],
) -> tuple[Channel, ...]:
    chain = ChainedFields([CheckedFields(fields, rules, static=name == "invariants") for fields in regions])
    positions = np.concatenate([start + place for start, place in zip(chain.starts, places, strict=False)])
    chosen = positions[evenly_spread(len(positions), min(len(positions), config.statistics_times))].tolist()
    own = {c.name: kind for c in chain.channels if (kind := (config.transforms or {}).get(c.name))}
    kinds = parse_normalisations(own, chain.channels)
    with named_files(of=regions[0]):
        return opening.measured(name, config, chain, chosen, kinds)


def _static(
    config: NetCDFDatasetConfig, opening: Opening, regions: Sequence[Sources], rules: dict[str, Missing]
) -> tuple[Channel, ...]:
    fields = [sources.invariants for sources in regions if sources.invariants is not None]
    if not fields:
        return ()
    known = opening.channels or {}
    if all(channel.name in known for channel in fields[0].channels):
        return tuple(as_trained(channel, known) for channel in fields[0].channels)
    return _measured(config, opening, "invariants", fields, [np.zeros(1, int)] * len(fields), rules)


class ChainedFields:
    """Regions one after another as if they were further times, for statistics.

    Args:
        regions: Fields with the same variables.
    """

    def __init__(self, regions: Sequence[Fields]):
        self.regions = tuple(regions)
        self.channels, self.grid = regions[0].channels, regions[0].grid
        self.lead_hours: np.ndarray | None = None
        self.times = np.concatenate([fields.times for fields in regions])
        self.paths = list(dict.fromkeys(path for fields in regions for path in paths_of(fields)))
        self.starts = np.cumsum([0, *(max(1, len(fields.times)) for fields in regions)]).tolist()

    def read(self, positions: Sequence[int], window: tuple[slice, slice] | None = None) -> np.ndarray:
        """Give the fields of one position."""
        (position,) = positions
        region = int(np.searchsorted(self.starts, position, side="right")) - 1
        return self.regions[region].read([position - self.starts[region]], window)
