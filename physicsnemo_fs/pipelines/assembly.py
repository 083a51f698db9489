# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From configuration to objects: the one place that knows which class a name means."""

from pathlib import Path
from typing import Any

from physicsnemo_fs.config import (
    ConvUNetConfig,
    CorrDiffUNetConfig,
    DatasetConfig,
    FSUNOConfig,
    KolmogorovDatasetConfig,
    ModelConfig,
    NetCDFDatasetConfig,
    NoiseConfig,
    NSRe40DatasetConfig,
    PluginDatasetConfig,
    StoreDatasetConfig,
)
from physicsnemo_fs.data.datasets.kolmogorov import FieldSource, KolmogorovDataset
from physicsnemo_fs.data.datasets.ns_re40 import NSRe40Source
from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig
from physicsnemo_fs.data.flow.store import KolmogorovSplits, open_split
from physicsnemo_fs.data.flow.unsimulated import Unsimulated, needs_simulation
from physicsnemo_fs.data.normalize import Moments
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.plugins import load_plugin, plugin_options
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.diffusion.calibration import Calibration
from physicsnemo_fs.diffusion.kernel import Kernel
from physicsnemo_fs.diffusion.matched import Matched
from physicsnemo_fs.diffusion.spectra import LegacyRBF, Matern, White
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.base import FSModule
from physicsnemo_fs.models.conv_unet import FSConvUNet
from physicsnemo_fs.models.corrdiff_unet import FSCorrDiffUNet
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.pipelines.gridded import open_gridded, region_boxes
from physicsnemo_fs.pipelines.published import PublishedConfig, open_published
from physicsnemo_fs.pipelines.stored import open_stored, store_regions


def kolmogorov_splits(config: KolmogorovDatasetConfig) -> KolmogorovSplits:
    """Give the flows that the configuration describes."""

    evaluation_interval = config.evaluation_interval or config.interval

    def flow(trajectories: int, frames: int, interval: float, test: bool = False) -> KolmogorovConfig:
        return KolmogorovConfig(
            reynolds=config.reynolds,
            forcing_mode=config.forcing_mode,
            forcing_amplitude=config.forcing_amplitude,
            drag=config.drag,
            grid=config.test_grid if test else config.grid,
            dt=None if config.dt is None else config.dt * (config.grid / config.test_grid if test else 1.0),
            spin_up=tuple(tuple(stage) for stage in (config.test_spin_up if test else config.spin_up)),
            interval=interval,
            frames=frames,
            trajectories=trajectories,
            store_grid=config.test_store_grid if test else config.store_grid,
        )

    return KolmogorovSplits(
        flow(config.train_trajectories, config.train_frames, config.interval),
        flow(config.validation_trajectories, config.validation_frames, evaluation_interval),
        flow(config.test_trajectories, config.test_frames, evaluation_interval, test=True),
        config.seed,
    )


def knows_its_statistics(config: DatasetConfig) -> bool:
    """Whether the data itself says how its training split is normalised, so that a network of other data is found."""
    return isinstance(config, KolmogorovDatasetConfig | NSRe40DatasetConfig | PublishedConfig)


def is_unsimulated(dataset: DownscalingDataset) -> bool:
    """Whether noise stands for data that is to be simulated."""
    return isinstance(dataset, KolmogorovDataset) and isinstance(dataset.source, Unsimulated)


def region_names(config: DatasetConfig, split: str) -> tuple[str, ...]:
    """Give the names of the regions that have samples of a split; none where a dataset is not made of regions."""
    if isinstance(config, NetCDFDatasetConfig):
        return tuple(region_boxes(config, split))
    return store_regions(config, split) if isinstance(config, StoreDatasetConfig) else ()


def open_dataset(config: DatasetConfig, opening: Opening) -> DownscalingDataset:
    """Open a split of the dataset that ``dataset=...`` names.

    Raises:
        InputError: If the data is missing, damaged, or not what was asked for.
    """
    if isinstance(config, PluginDatasetConfig):
        plugin = load_plugin(config.type)
        return plugin.open(plugin_options(plugin, config.options or {}), opening)
    if isinstance(config, KolmogorovDatasetConfig | NSRe40DatasetConfig):
        return _open_flow(config, opening)
    if isinstance(config, NetCDFDatasetConfig):
        return open_gridded(config, opening)
    if isinstance(config, StoreDatasetConfig):
        return open_stored(config, opening)
    if isinstance(config, PublishedConfig):
        return open_published(config, opening)
    raise InputError(f"no dataset is opened from {type(config).__name__}; choose dataset=<name>")


def _open_flow(config: KolmogorovDatasetConfig | NSRe40DatasetConfig, opening: Opening) -> KolmogorovDataset:
    if config.reference_resolution % config.lowres_scale_factor:
        raise InputError(
            "dataset.lowres_scale_factor must divide dataset.reference_resolution: got "
            f"{config.lowres_scale_factor} and {config.reference_resolution}"
        )
    if isinstance(config, KolmogorovDatasetConfig) and config.window_size:
        _require_windows(config, opening.split)
    return KolmogorovDataset(
        _flow_source(config, opening),
        opening.resolution or config.resolution or config.reference_resolution,
        coarse_size=config.reference_resolution // config.lowres_scale_factor,
        coarsening=config.coarsening,  # type: ignore[arg-type]
        window_size=config.window_size,
        truth_required=opening.truth_required,
    )


def _require_windows(config: KolmogorovDatasetConfig, split: str) -> None:
    """Refuse trajectories without room for a window before anything is simulated; training also opens validation."""
    for name in ("train", "validation") if split == "train" else (split,):
        frames, needed = getattr(config, f"{name}_frames"), 2 * config.window_size + 1
        if frames < needed:
            raise InputError(
                f"dataset.window_size={config.window_size} needs {needed} frames a trajectory: got "
                f"dataset.{name}_frames={frames}; give {needed} or more"
            )
        if name != "train" and config.evaluation_interval not in (None, config.interval):
            raise InputError(
                f"with dataset.window_size={config.window_size} frames must be dataset.interval={config.interval:g} "
                f"apart: got dataset.evaluation_interval={config.evaluation_interval:g}; set it to null"
            )


def _flow_source(config: KolmogorovDatasetConfig | NSRe40DatasetConfig, opening: Opening) -> FieldSource:
    if isinstance(config, KolmogorovDatasetConfig):
        known = None if opening.channels is None else opening.channels["vorticity"]
        moments = None if known is None else Moments(1, known.mean, known.std**2)
        folder, splits = config.data_path or "outputs/data", kolmogorov_splits(config)
        if not opening.simulate and needs_simulation(folder, splits, opening.split, moments):
            return Unsimulated(splits, opening.split, moments or Moments(1, 0.0, 1.0))
        with opening.ranks.main_first():
            return open_split(folder, splits, opening.split, moments, opening.ranks.device)
    if config.data_path is None:
        raise InputError("dataset=ns_re40 needs the file: set dataset.data_path=.../2D_NS_Re40.npy")
    return NSRe40Source(
        Path(config.data_path),
        opening.split,
        train_fraction=config.train_fraction,
        validation_fraction=config.validation_fraction,
        skip_steps=config.skip_steps,
        stride=config.stride,
        axes=config.axes,  # type: ignore[arg-type]
    )


def relative_extent(dataset: DownscalingDataset) -> tuple[float, float]:
    """Give the domain's lengths in units of its shorter side."""
    short = min(dataset.grid.extent)
    return dataset.grid.extent[0] / short, dataset.grid.extent[1] / short


def build_kernel(config: NoiseConfig, found: Calibration, length: float) -> Kernel:
    """Build the noise covariance that ``noise.kernel`` names.

    The matched kernel has the training residual's spectrum, and beyond it the tail of the field itself: what the
    regression leaves of the smallest scales is rounding, and the noise must never be smoother than the data.
    """
    if config.kernel == "matched":
        return Matched.fit(found.residual_power, tail_power=found.field_power, length=length)
    if config.kernel == "matern":
        return Matern(config.nu, config.length_scale)
    if config.kernel == "legacy_rbf":
        return LegacyRBF(config.scale, config.eps)
    return White()


def build_backbone(config: ModelConfig, in_channels: int, out_channels: int, on_windows: bool = False) -> FSModule:
    """Build the backbone that ``model=...`` names; one for windows has no positions of its own."""
    common: dict[str, Any] = {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "model_channels": config.model_channels,
        "channel_mult": list(config.channel_mult),
        "num_blocks": config.num_blocks,
        "embedding_channels": config.embedding_channels,
        "dropout": config.dropout,
    }
    if isinstance(config, FSUNOConfig):
        return FSUNO(
            **common,
            level_grid=None if config.level_grid is None else list(config.level_grid),
            n_modes=list(config.n_modes),
            local_kernel=config.local_kernel,
            attn_levels=list(config.attn_levels),
            coord_features="none" if on_windows else config.coord_features,
            boundary=config.boundary,
            activation=config.activation,
            factorization=config.factorization,
            rank=config.rank,
        )
    if isinstance(config, ConvUNetConfig):
        return FSConvUNet(**common)
    if isinstance(config, CorrDiffUNetConfig):
        return FSCorrDiffUNet(
            in_channels,
            out_channels,
            config.model_channels,
            list(config.channel_mult),
            config.num_blocks,
            list(config.attn_resolutions),
            config.resolution,
            config.dropout,
            config.positions and not on_windows,
        )
    raise InputError(
        f"no backbone is built from {type(config).__name__}; choose model=fsuno, conv_unet or corrdiff_unet"
    )
