# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The two stages as their configuration describes them, and what is measured between them."""

import copy
import logging
import math
from pathlib import Path
from typing import Any, cast

import torch

from physicsnemo_fs.config import TrainConfig, stage_hyperparameters, stage_patch
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.diffusion.calibration import Calibration, calibrate
from physicsnemo_fs.diffusion.modes import modes_below_nyquist, shell_count
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler, noise_level_distribution
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import read_record
from physicsnemo_fs.models.base import FSModule
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.models.warm_start import fits, start_from
from physicsnemo_fs.nn.conservation import Conservation
from physicsnemo_fs.pipelines.assembly import build_backbone, build_kernel, relative_extent
from physicsnemo_fs.pipelines.patch_stage import (
    PatchDiffusionStage,
    PatchRegressionStage,
    patch_channels,
    window_options,
)
from physicsnemo_fs.pipelines.stages import (
    DiffusionStage,
    RegressionStage,
    first_guess,
    regression_channels,
    require_grid,
    truth_and_mean,
)

log = logging.getLogger(__name__)

SIGMA_MIN = 0.002
CALIBRATION_BATCH, CALIBRATION_POINTS = 64, 2**20
"""Most samples, and most grid points, that are measured at once."""
OVERFIT = 1.5
"""Residual on the validation split, relative to that on the training split, from which a mean is said to overfit."""


def regression_stage(
    config: TrainConfig, training: DownscalingDataset, trained_on: dict[str, Any] | None = None
) -> RegressionStage:
    """Give the regression stage with its initial weights.

    Args:
        config: The whole configuration.
        training: The training split.
        trained_on: What the network says of its origin.
    """
    conditions, outputs = regression_channels(training)
    hp, patch = stage_hyperparameters(config.training, "regression"), stage_patch(config.training, "regression")
    options = _labels(config) | held_cells(config, training)
    if patch is not None:
        options |= window_options(patch, config.training.patches, training, 0)
    torch.manual_seed(config.seed)
    backbone = build_backbone(config.model, conditions + _beside(config, training, "regression"), outputs, bool(patch))
    network = FSRegressionSR(backbone, first_guess(training), trained_on=trained_on, **options)
    if patch is None:
        require_grid(backbone, training)
        return RegressionStage(network, training)
    return PatchRegressionStage(network, training, patch_num=hp.patch_num, max_patch_per_gpu=hp.max_patch_per_gpu)


def held_cells(config: TrainConfig, training: DownscalingDataset) -> dict[str, Any]:
    """Give the arguments that hold a mean to the averages of its input; none where it is not to be held.

    Raises:
        InputError: If ``training.conserve=true`` cannot be.
    """
    grid, coarse, extent = training.grid, training.coarse_grid, relative_extent(training)
    shells = len(shell_count(modes_below_nyquist(grid.shape), extent))
    highest = math.hypot(*(n / 2 / length for n, length in zip(coarse.shape, extent, strict=True)))
    possible = (
        getattr(training, "input_is_average", False)
        and (grid.boundary, grid.registration, coarse.registration) == ("periodic", "node", "cell")
        and grid.origin == coarse.origin
        and getattr(config.model, "boundary", "periodic") == "periodic"
        and highest <= shells - 1
        and -1 not in first_guess(training)
        and stage_patch(config.training, "regression") is None
    )
    if config.training.conserve and not possible:
        raise InputError(
            "training.conserve=true needs a mean of whole periodic fields and a dataset that says that its input is "
            "the truth's averages over the coarse cells; set training.conserve=null"
        )
    if not possible or config.training.conserve is False:
        return {}
    return {"cells": list(coarse.shape), "cell_shells": shells}


def _held(config: TrainConfig, regression: FSRegressionSR) -> Conservation | None:
    """Give what holds the mean to the averages of its input, if the residual's are to be held to zero by the same."""
    held = regression.conservation
    windows = stage_patch(config.training, "diffusion") is not None
    if config.training.conserve and (held is None or windows):
        raise InputError(
            "training.conserve=true needs a mean that is held to its input's averages and a diffusion of whole fields: "
            f"got {'windows' if windows else 'a mean that is not'}; set training.conserve=null"
        )
    return None if windows or config.training.conserve is False else held


def _labels(config: TrainConfig) -> dict[str, Any]:
    return {"lead_time_scale": config.training.lead_time_scale}


def _beside(config: TrainConfig, training: DownscalingDataset, stage: str) -> int:
    """Give the channels that a stage's network sees beside fields and conditions."""
    windows = stage_patch(config.training, stage) is not None
    return (config.training.lead_time_scale is not None) + windows * patch_channels(config.training.patches, training)


def diffusion_backbone(config: TrainConfig, training: DownscalingDataset, regression: FSRegressionSR) -> FSModule:
    """Give the denoiser's backbone with its initial weights: the mean's, where they fit and are asked for.

    It sees the noisy fields, the lead time, the mean and the conditions, in this order; the mean saw the conditions and
    the lead time.
    """
    conditions, outputs = regression_channels(training)
    lead = int(config.training.lead_time_scale is not None)
    before = outputs + lead + outputs * config.training.hr_mean_conditioning
    beside = _beside(config, training, "diffusion") - lead
    torch.manual_seed(config.seed)
    windows = stage_patch(config.training, "diffusion") is not None
    backbone = build_backbone(config.model, before + conditions + beside, outputs, windows)
    whole = not windows and regression.patch_shape is None
    if not windows:
        require_grid(backbone, training)
    if config.training.warm_start and whole and fits(backbone, regression.backbone):
        start_from(backbone, regression.backbone, [*range(before, before + conditions), *([outputs] if lead else [])])
        log.info("the denoiser starts from the mean's weights")
    return backbone


def diffusion_stage(
    config: TrainConfig,
    training: DownscalingDataset,
    regression: FSRegressionSR,
    backbone: FSModule,
    noise: dict[str, Any],
    trained_on: dict[str, Any] | None = None,
) -> DiffusionStage:
    """Give the diffusion stage.

    Args:
        config: The whole configuration.
        training: The training split.
        regression: The frozen mean.
        backbone: As :func:`diffusion_backbone` gives it.
        noise: As :func:`measured_noise` gives it.
        trained_on: What the network says of its origin.
    """
    hp, with_mean = stage_hyperparameters(config.training, "diffusion"), config.training.hr_mean_conditioning
    patch = stage_patch(config.training, "diffusion")
    levels = {name: noise[name] for name in ("sigma_data", "sigma_min", "sigma_max")}
    options = {**levels, "noise": noise["field"], "trained_on": trained_on, **_labels(config)}
    held = _held(config, regression)
    if held is not None:
        network = FSEDMPrecondSR(backbone, **options, cells=list(held.cells), cell_shells=held.power.shape[1])
        cast(Conservation, network.conservation).set_power(held.power)
    elif patch is None:
        network = FSEDMPrecondSR(backbone, **options)
    else:
        first = regression_channels(training)[1] if with_mean else 0
        windows = window_options(patch, config.training.patches, training, first)
        network = FSPatchedEDMPrecondSR(backbone, **windows, **options)
    scheduler = FunctionSpaceScheduler(
        RandomField.from_dict(noise["field"]),
        sigma_min=noise["sigma_min"],
        sigma_max=noise["sigma_max"],
        sigma_data=noise["sigma_data"] if len(noise["sigma_data"]) > 1 else noise["sigma_data"][0],
        P_mean=noise["P_mean"],
        P_std=noise["P_std"],
    )
    stage = DiffusionStage(network, regression, training, scheduler, with_mean)
    if patch is None:
        return stage
    return PatchDiffusionStage(**vars(stage), patch_num=hp.patch_num, max_patch_per_gpu=hp.max_patch_per_gpu)


def measure(config: TrainConfig, regression: FSRegressionSR, dataset: DownscalingDataset, ranks: Ranks) -> Calibration:
    """Measure truth and mean, before it is held to averages, over evenly spread samples that all ranks share."""
    if regression.conservation is not None:
        regression = copy.deepcopy(regression)
        cast(Conservation, regression.conservation).release()
    ids = evenly_spread(len(dataset), min(config.training.calibration_samples, len(dataset)))
    sharing = ranks if len(ids) >= ranks.world_size else Ranks(device=ranks.device)
    batch = max(1, min(CALIBRATION_BATCH, CALIBRATION_POINTS // math.prod(dataset.grid.shape)))
    pairs = truth_and_mean(regression, dataset, ids[sharing.rank :: sharing.world_size], batch, ranks.device)
    return calibrate(pairs, regression.gain.shape[1], relative_extent(dataset), sharing.sum)


def overfit(training: Calibration, validation: Calibration) -> str | None:
    """Say that a mean misses much more of the validation than of the training split, if it does.

    The diffusion learns the residuals of the training split: an ensemble about an overfitted mean is too narrow by the
    same factor.
    """
    ratio = float((validation.residual_std / training.residual_std).max())
    if ratio < OVERFIT:
        return None
    return (
        f"the mean overfits: its residual on the validation split is {ratio:.1f} times that on the training split, and "
        "the ensemble will be too narrow by about that factor; train the regression on fewer images "
        "(training.regression_hp.training_duration), with model.dropout, or on more data"
    )


def read_noise(path: Path) -> dict[str, Any]:
    """Read what :func:`measured_noise` gave.

    Raises:
        InputError: If the file is damaged.
    """
    levels = dict.fromkeys(("sigma_min", "sigma_max", "P_mean", "P_std"), float | int)
    return read_record(path, sigma_data=list, field=dict, **levels)


def measured_noise(config: TrainConfig, found: Calibration, training: DownscalingDataset) -> dict[str, Any]:
    """Give the residual's scale, the noise field and the noise levels as JSON types."""
    extent = relative_extent(training)
    kernel = build_kernel(config.noise, found, min(extent))
    field = RandomField(kernel, extent, training.grid.boundary, registration=training.grid.registration)
    levels = noise_level_distribution(
        found.residual_power,
        kernel,
        shape=training.grid.shape,
        extent=extent,
        scale_shift=found.scale_shift,
        scale_spread=found.scale_spread,
    )
    middle = float(found.residual_std.log().mean().exp())
    P_mean = levels.P_mean if config.noise.P_mean is None else config.noise.P_mean
    return {
        "sigma_data": found.residual_std.tolist(),
        "sigma_min": SIGMA_MIN * middle,
        "sigma_max": levels.sigma_max * middle,
        "P_mean": P_mean + math.log(middle),
        "P_std": levels.P_std if config.noise.P_std is None else config.noise.P_std,
        "field": field.to_dict(),
        "residual_power": found.residual_power.tolist(),
        "samples": found.count,
    }
