# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Published datasets, under the keys that CorrDiff gave them."""

from dataclasses import dataclass
from typing import Any

from physicsnemo_fs.config.datasets import DatasetConfig
from physicsnemo_fs.config.keys import key

SURFACE = ["u10m", "v10m", "t2m", "q2m", "sp", "msl", "precipitable_water"]
LEVELS = {
    "u": (1000, 925, 850, 700, 500, 250),
    "v": (1000, 925, 850, 700, 500, 250),
    "z": (1000, 925, 850, 700, 500, 200),
    "t": (1000, 925, 850, 700, 500, 100),
    "r": (1000, 925, 850, 700, 500, 100),
}
ISOBARIC = [f"{name}{level}" for name, levels in LEVELS.items() for level in levels]
CATEGORIES = ["cat_snow", "cat_ice", "cat_freez", "cat_rain"]


@dataclass
class PublishedDatasetConfig(DatasetConfig):
    """What the published datasets of weather share."""

    block: str = key("7d", "Length of the blocks of time that are held out, and that scores are bootstrapped over.")
    gap: str = key("24h", "Training times closer than this to a held-out one are not used.")
    validation_fraction: float = key(0.05, "Share of the training data's blocks for validation.", least=0, below=1)
    cache_gib: float = key(0.0, "Most memory, in GiB, that keeps fields read once.", least=0)


@dataclass
class HRRRMiniDatasetConfig(PublishedDatasetConfig):
    """CorrDiff-Mini's patches of HRRR."""

    type: str = key("hrrr_mini", "This source.")
    data_path: str | None = key(None, "Path of hrrr_mini_train.nc; must be given.")
    stats_path: str | None = key(None, "Path of the published stats.json; must be given.")
    input_variables: list[str] | None = key(None, "Coarse variables; null for all.")
    output_variables: list[str] | None = key(["10u", "10v"], "Fine variables; null for all.")
    invariant_variables: list[str] | None = key(["elev_mean", "lsm_mean"], "Static fine variables; null for all.")
    validation_data_path: str | None = key(None, "File of the validation samples; null holds out blocks of data_path.")
    test_data_path: str | None = key(None, "File of the test samples; null holds out blocks of data_path.")
    test_fraction: float = key(0.05, "Share of the blocks for testing, without a file of its own.", least=0, below=1)
    lowres_scale_factor: int = key(0, "0: given by the file; leave it out.", least=0)
    cache_gib: float = key(4.0, "Keep the samples in memory if they need no more than this, in GiB.", least=0)


@dataclass
class PatchedDatasetConfig(PublishedDatasetConfig):
    """What the published datasets of large domains share."""

    patch_shape: list[int] | None = key(None, "Fine rows and columns of training patches; null trains on whole fields.")
    patches_per_time: int = key(1, "Patches of each time in an epoch.", least=1)
    missing: Any = key(None, "Missing values by variable: refuse (default), mask, or a value to fill in.")


@dataclass
class CWADatasetConfig(PatchedDatasetConfig):
    """Analyses of Taiwan's Central Weather Administration, with ERA5 as input."""

    type: str = key("cwb", "This source.")
    data_path: str | None = key(None, "Zarr store, such as 2023-01-24-cwb-4years.zarr; must be given.")
    in_channels: list[int] = key([0, 1, 2, 3, 4, 9, 10, 11, 12, 17, 18, 19], "Positions of the ERA5 channels.")
    out_channels: list[int] = key([0, 1, 2, 3], "Positions of the CWA channels.")
    img_shape_x: int = key(448, "Columns that are used, from the first.", least=1)
    img_shape_y: int = key(448, "Rows that are used, from the first.", least=1)
    normalization: str = key(
        "v1", "v1 (the store's), or v2 (other scales of reflectivity and wind).", choices=("v1", "v2")
    )
    test_years: list[int] = key([2021], "Years for testing; the others are for training.")
    all_times: bool = key(False, "Give every time to the test split, to generate any of them.")
    lowres_scale_factor: int = key(1, "Points per coarse cell; 1 is the published input, on the fine grid.", least=1)
    uneven: str = key(
        "skip", "Windows of unevenly spaced frames: refuse, skip or keep.", choices=("refuse", "skip", "keep")
    )


@dataclass
class GEFSHRRRDatasetConfig(PatchedDatasetConfig):
    """HRRR forecasts over the United States, with GEFS forecasts as input."""

    type: str = key("gefs_hrrr", "This source.")
    data_path: str | None = key(None, "Folder of gefs/ and hrrr_forecast/; must be given.")
    stats_path: str | None = key(None, "Path of the published stats.json; must be given.")
    input_surface_variables: list[str] = key(SURFACE, "GEFS variables at the surface.")
    input_isobaric_variables: list[str] = key(ISOBARIC, "GEFS variables on pressure levels.")
    output_variables: list[str] = key(["u10m", "v10m", "t2m", "precip", *CATEGORIES, "cat_none"], "HRRR variables.")
    prob_variables: list[str] = key(CATEGORIES, "HRRR variables that are kinds of precipitation.")
    train_years: list[int] = key([2020, 2021, 2022, 2023], "Years whose forecasts are for training.")
    valid_years: list[int] = key([2024], "Years that CorrDiff validates on; they are the test split.")
    hrrr_window: Any = key([[1, 1057], [4, 1796]], "[[first row, end], [first column, end]]; null for all.")
    lowres_scale_factor: int = key(4, "Fine points per point that the input is interpolated to.", least=1)


@dataclass
class VolcanoDatasetConfig(DatasetConfig):
    """Interferograms of volcanoes."""

    type: str = key("volcano", "This source.")
    data_path: str | None = key(None, "Folder that holds the .int files at any depth; must be given.")
    resolution: int | None = key(None, "Fine grid (points along a side), a divisor of 120; null gives 120.", least=1)
    lowres_scale_factor: int = key(2, "Points per coarse cell along an axis at 120 points: 2 gives 60 cells.", least=1)
    train_fraction: float = key(0.8, "Share of the interferograms for training.", above=0, below=1)
    validation_fraction: float = key(0.1, "Share for validation; the rest is for testing.", above=0, below=1)
    missing: Any = key(None, "Unknown phase by variable (phase_cos, phase_sin): refuse (default) or mask.")
    cache_gib: float = key(0.5, "Most memory, in GiB, that keeps fields read once.", least=0)
