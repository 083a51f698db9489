# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Datasets."""

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from physicsnemo_fs.config.keys import key


@dataclass
class DatasetConfig:
    """What every dataset accepts.

    Attributes:
        test_only: Keys that no training or validation sample depends on: a run takes others later.
    """

    test_only: ClassVar[tuple[str, ...]] = ()

    type: str = key(MISSING, "Which source.")
    data_path: Any = key(None, "File or folder of the data; null uses the source's default place.")
    resolution: int | None = key(None, "Fine grid (points along a side); null takes reference_resolution.", least=1)
    lowres_scale_factor: int = key(8, "Fine points per coarse cell along an axis, at `reference_resolution`.", least=1)
    window_size: int = key(0, "k: the coarse input holds the 2k+1 frames t-k ... t+k.", least=0)
    coarsening: str = key(
        "cell_average",
        "How the coarse field is made: cell_average, pixel_average or spectral.",
        choices=("cell_average", "pixel_average", "spectral"),
    )


@dataclass
class KolmogorovDatasetConfig(DatasetConfig):
    """Forced two-dimensional turbulence, simulated on first use."""

    test_only: ClassVar[tuple[str, ...]] = (
        "test_grid",
        "test_store_grid",
        "test_spin_up",
        "test_trajectories",
        "test_frames",
    )

    type: str = key("kolmogorov", "This source.")
    data_path: str | None = key("outputs/data", "Folder of the simulated files; they are made if they are missing.")
    reynolds: float = key(40.0, "Reynolds number 1/viscosity.", above=0)
    forcing_mode: int = key(4, "Wavenumber n of the body force, whose curl is -n cos(n y).")
    forcing_amplitude: float = key(1.0, "Amplitude of the body force.")
    drag: float = key(0.0, "Linear drag.")
    grid: int = key(64, "Grid that training and validation trajectories are simulated on.")
    dt: float | None = key(None, "Longest time step on `grid`; null gives 2.56 / grid.")
    store_grid: int | None = key(None, "Grid that training and validation frames are stored on; null is `grid`.")
    spin_up: list[Any] = key([[32, 15.0], [64, 10.0]], "Stages [grid, flow time units] before the first frame.")
    test_grid: int = key(128, "Grid that test trajectories are simulated on.")
    test_store_grid: int | None = key(None, "Grid that test frames are stored on; null is `test_grid`.")
    test_spin_up: list[Any] = key([[32, 15.0], [64, 23.0], [128, 2.0]], "The same for test trajectories.")
    interval: float = key(2.0, "Flow time units between the frames of a training trajectory.", above=0)
    evaluation_interval: float | None = key(15.0, "The same for validation and test; null is `interval`.", above=0)
    train_trajectories: int = key(384, "Training trajectories.", least=1)
    train_frames: int = key(12, "Frames a training trajectory.", least=1)
    validation_trajectories: int = key(64, "Validation trajectories.", least=1)
    validation_frames: int = key(2, "Frames a validation trajectory.", least=1)
    test_trajectories: int = key(128, "Test trajectories.", least=1)
    test_frames: int = key(1, "Frames a test trajectory.", least=1)
    reference_resolution: int = key(
        64, "Grid that lowres_scale_factor refers to: coarse cells = this / factor.", least=1
    )
    seed: int = key(0, "Seed of the initial conditions.")


@dataclass
class NSRe40DatasetConfig(DatasetConfig):
    """The published 2D_NS_Re40.npy (Zenodo record 7495555)."""

    type: str = key("ns_re40", "This source.")
    data_path: str | None = key(None, "Path of 2D_NS_Re40.npy; must be given.")
    reference_resolution: int = key(
        64, "Grid that lowres_scale_factor refers to: coarse cells = this / factor.", least=1
    )
    skip_steps: int = key(50, "Steps at the start of each trajectory that are left out as transient.")
    axes: str = key("xy", "Order of the file's last two axes: xy or yx.")
    stride: int = key(1, "Take every stride-th step.")
    train_fraction: float = key(0.8, "Share of the trajectories for training.")
    validation_fraction: float = key(0.1, "Share of the trajectories for validation; the rest is for testing.")


@dataclass
class PluginDatasetConfig(DatasetConfig):
    """A dataset of another package: an installed plugin, or one named here."""

    type: str = key(MISSING, "Installed plugin's name, package.module:Plugin, or path/to/file.py:Plugin.")
    options: Any = key(None, "The plugin's own options.")
