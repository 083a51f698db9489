# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Opening the published datasets: paths, splits, and the normalisation that was published with them."""

from typing import Any, cast

import numpy as np

from physicsnemo_fs.config.published import (
    CWADatasetConfig,
    GEFSHRRRDatasetConfig,
    HRRRMiniDatasetConfig,
    PatchedDatasetConfig,
    VolcanoDatasetConfig,
)
from physicsnemo_fs.data.datasets.cwa import open_cwa
from physicsnemo_fs.data.datasets.gefs_hrrr import Window, open_gefs_hrrr
from physicsnemo_fs.data.datasets.gridded import GriddedDataset
from physicsnemo_fs.data.datasets.hrrr_mini import HRRRMiniDataset, sample_times
from physicsnemo_fs.data.datasets.pairing import Uneven
from physicsnemo_fs.data.datasets.published import Pair
from physicsnemo_fs.data.datasets.volcano import PHASE, SIDE, VolcanoFields, volcano_labels
from physicsnemo_fs.data.fields.missing import parse_missing
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.splits import parse_duration, positions_of, split_by_blocks
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.regions import Sources, Variables, open_regions, require_resolution

PublishedConfig = HRRRMiniDatasetConfig | CWADatasetConfig | GEFSHRRRDatasetConfig | VolcanoDatasetConfig


def open_published(config: PublishedConfig, opening: Opening) -> DownscalingDataset:
    """Open a split of a published dataset.

    The normalisation is the published one, whatever ``opening.channels`` knows. Patches of ``patch_shape`` are given
    where truth is required, whole fields otherwise.

    Raises:
        InputError: In one line what is missing or does not fit, and the remedy.
    """
    _check(config)
    dataset = _open(config, opening)
    require_resolution(dataset, opening.resolution or config.resolution, config.type)
    return dataset


def _open(config: PublishedConfig, opening: Opening) -> DownscalingDataset:
    if isinstance(config, HRRRMiniDatasetConfig):
        return _open_hrrr_mini(config, opening.split)
    if isinstance(config, VolcanoDatasetConfig):
        return _open_volcano(config, opening)
    pair = _open_cwa(config) if isinstance(config, CWADatasetConfig) else _open_gefs_hrrr(config)
    return _gridded(config, pair, opening)


def _check(config: PublishedConfig) -> None:
    name = f"dataset={config.type}"
    if config.data_path is None:
        raise InputError(f"{name} needs its data: set dataset.data_path; docs/datasets.md says where to download it")
    if config.coarsening != "cell_average":
        raise InputError(f"{name} has an input of its own or averages cells; leave coarsening out")
    if config.window_size and not isinstance(config, CWADatasetConfig):
        raise InputError(f"{name} has no frames before and after: got window_size {config.window_size}; leave it out")
    if isinstance(config, HRRRMiniDatasetConfig) and config.lowres_scale_factor:
        raise InputError(f"{name} has the coarse grid of its file; leave lowres_scale_factor out")


def _open_hrrr_mini(config: HRRRMiniDatasetConfig, split: str) -> HRRRMiniDataset:
    own = {"validation": config.validation_data_path, "test": config.test_data_path}
    path = str(own.get(split) or config.data_path)
    validation = 0.0 if own["validation"] else config.validation_fraction
    test = 0.0 if own["test"] else config.test_fraction
    positions = None
    if own.get(split) is None and validation + test > 0:
        block, gap = parse_duration(config.block), parse_duration(config.gap)
        positions = positions_of(split_by_blocks(sample_times(path), block, validation, test, gap), split)
    return HRRRMiniDataset(
        path,
        config.stats_path,
        config.input_variables,
        config.output_variables,
        config.invariant_variables,
        positions=positions,
        block=parse_duration(config.block),
        cache_bytes=int(config.cache_gib * 2**30),
    )


def _open_cwa(config: CWADatasetConfig) -> Pair:
    return open_cwa(
        str(config.data_path),
        config.in_channels,
        config.out_channels,
        (config.img_shape_y, config.img_shape_x),
        config.normalization,  # type: ignore[arg-type]
        config.lowres_scale_factor,
        test_years=config.test_years,
        all_times=config.all_times,
        validation=config.validation_fraction,
        block=parse_duration(config.block),
        gap=parse_duration(config.gap),
    )


def _open_gefs_hrrr(config: GEFSHRRRDatasetConfig) -> Pair:
    return open_gefs_hrrr(
        str(config.data_path),
        config.stats_path,
        input_surface_variables=config.input_surface_variables,
        input_isobaric_variables=config.input_isobaric_variables,
        output_variables=config.output_variables,
        prob_variables=config.prob_variables,
        train_years=config.train_years,
        valid_years=config.valid_years,
        window=_window(config.hrrr_window),
        factor=config.lowres_scale_factor,
        validation=config.validation_fraction,
        block=parse_duration(config.block),
        gap=parse_duration(config.gap),
    )


def _window(value: Any) -> Window | None:
    if value is None:
        return None
    try:
        (top, bottom), (left, right) = ((int(first), int(end)) for first, end in value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"dataset.hrrr_window must be [[first row, end], [first column, end]]: got {value}; write for example "
            "[[1, 1057], [4, 1796]]"
        ) from error
    return (top, bottom), (left, right)


def _gridded(config: PatchedDatasetConfig, pair: Pair, opening: Opening) -> DownscalingDataset:
    rules = parse_missing(config.missing, [*pair.target.channels, *pair.coarse.channels])
    variables = Variables(pair.output_channels, pair.input_channels, missing=rules)
    uneven = cast(Uneven, config.uneven) if isinstance(config, CWADatasetConfig) else "refuse"
    return open_regions(
        config, opening, [Sources(pair.target, pair.coarse, None, pair.labels)], variables, uneven=uneven
    )


def _open_volcano(config: VolcanoDatasetConfig, opening: Opening) -> GriddedDataset:
    resolution, cells = opening.resolution or config.resolution or SIDE, SIDE // config.lowres_scale_factor
    if SIDE % config.lowres_scale_factor or resolution % cells:
        raise InputError(
            f"dataset.lowres_scale_factor must divide {SIDE} and leave whole points per cell: got "
            f"{config.lowres_scale_factor} and resolution {resolution}; choose 2 or 4"
        )
    fields = VolcanoFields(str(config.data_path), resolution)
    labels = volcano_labels(fields.files, config.train_fraction, config.validation_fraction)
    return GriddedDataset(
        fields,
        None,
        PHASE,
        positions=positions_of(labels, opening.split),
        factor=resolution // cells,
        block=np.timedelta64(1, "D"),
        missing=parse_missing(config.missing, fields.channels),
        cache_bytes=int(config.cache_gib * 2**30),
    )
