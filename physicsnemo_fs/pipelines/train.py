# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Train the mean, then the diffusion of what it misses."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from physicsnemo_fs.config import TrainConfig, stage_hyperparameters
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.signature import data_signature, normalisation
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.diffusion.calibration import Calibration, calibrate
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler, noise_level_distribution
from physicsnemo_fs.distributed import Ranks, process_group
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import make_folder, read_json, write_json
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import build_backbone, build_kernel, open_dataset, relative_extent
from physicsnemo_fs.pipelines.checkpoints import load_network, newest, save_network
from physicsnemo_fs.pipelines.pictures import ensemble_picture
from physicsnemo_fs.pipelines.run_record import (
    FINISHED,
    claim_folder,
    record_start,
    require_same_data,
    stage_record,
    trained_on,
)
from physicsnemo_fs.pipelines.stages import (
    DiffusionStage,
    RegressionStage,
    first_guess,
    regression_channels,
    truth_and_mean,
)
from physicsnemo_fs.pipelines.trainer import Trainer

log = logging.getLogger(__name__)

SIGMA_MIN = 0.002
CALIBRATION_BATCH = 64
OVERFIT = 1.5
"""Residual on the validation split, relative to that on the training split, from which a mean is said to overfit."""


@dataclass(frozen=True)
class TrainResult:
    """Paths of the trained networks; ``None`` for a stage that was not run."""

    regression: Path | None
    diffusion: Path | None


def train(config: TrainConfig) -> TrainResult:
    """Train the stages that ``config.stage`` names, continuing what an interrupted run left.

    Args:
        config: The whole configuration.

    Raises:
        InputError: If the data, the folder or a checkpoint does not fit.
        TrainingDiverged: If the loss is not finite.
    """
    with process_group(config.training.perf.num_threads) as ranks:
        torch.manual_seed(config.seed)
        run_dir = make_folder(config.run_dir)
        record_start(config, run_dir, ranks)
        training = open_dataset(config.dataset, Opening("train", ranks=ranks, statistics=run_dir / "statistics.json"))
        channels = normalisation(data_signature(training))
        validation = open_dataset(
            config.dataset, Opening("validation", min(training.grid.shape), channels, ranks=ranks)
        )
        paths: dict[str, Path | None] = {"regression": None, "diffusion": None}
        if config.stage in ("regression", "all"):
            paths["regression"] = _train_regression(config, run_dir / "regression", training, validation, ranks)
        if config.stage in ("diffusion", "all"):
            source = config.training.io.regression_checkpoint_path
            mean = Path(source) if source else _finished_regression(run_dir / "regression")
            paths["diffusion"] = _train_diffusion(config, run_dir / "diffusion", mean, training, validation, ranks)
        return TrainResult(**paths)


def _finished_regression(folder: Path) -> Path:
    """Give the network of a finished regression stage.

    Raises:
        InputError: If there is none, or its training was interrupted.
    """
    mark = folder / FINISHED
    if not mark.exists():
        there = newest(folder, "FSRegressionSR.0.*.mdlus")
        raise InputError(
            "the diffusion stage needs a regression checkpoint: "
            + (f"the training in {folder} stopped at {there.name}" if there else f"none in {folder}")
            + "; finish it with stage=regression or set training.io.regression_checkpoint_path"
        )
    return folder / read_json(mark)["network"]


def _train_regression(
    config: TrainConfig, folder: Path, training: DownscalingDataset, validation: DownscalingDataset, ranks: Ranks
) -> Path:
    record = stage_record(config, "regression", training)
    conditions, outputs = regression_channels(training)
    torch.manual_seed(config.seed)
    network = FSRegressionSR(
        build_backbone(config.model, conditions, outputs),
        first_guess(training),
        trained_on=trained_on(record, training),
    )
    claim_folder(config, folder, record, ranks)
    stage = RegressionStage(network, training)
    hp = stage_hyperparameters(config.training, "regression")

    def picture(averaged: Any, path: Path) -> None:
        ensemble_picture(validation, averaged, None, path)

    trainer = Trainer(stage, training, validation, config.training, hp, config.seed, folder, ranks, picture)
    trainer.resume()
    path = trainer.run()
    if not (folder / FINISHED).exists():
        if config.training.shrink_mean and ranks.is_main:
            averaged = trainer.average.network
            averaged.set_gain(_measure(config, averaged, training, ranks).gain)  # type: ignore[operator,arg-type]
            save_network(averaged, path)
        ranks.barrier()
        if ranks.is_main:
            write_json({"network": path.name}, folder / FINISHED)
        ranks.barrier()
    return path


def _train_diffusion(
    config: TrainConfig,
    folder: Path,
    regression_path: Path,
    training: DownscalingDataset,
    validation: DownscalingDataset,
    ranks: Ranks,
) -> Path:
    regression = load_network(regression_path, FSRegressionSR).to(ranks.device).requires_grad_(False)
    require_same_data(regression, "regression checkpoint", training)
    record = stage_record(config, "diffusion", training, regression.trained_on)
    conditions, outputs = regression_channels(training)
    conditions += outputs if config.training.hr_mean_conditioning else 0
    torch.manual_seed(config.seed)
    backbone = build_backbone(config.model, conditions + outputs, outputs)
    claim_folder(config, folder, record, ranks)
    if ranks.is_main and not (folder / "noise.json").exists():
        found = _measure(config, regression, training, ranks)
        if warning := overfit(found, _measure(config, regression, validation, ranks)):
            log.warning(warning)
        write_json(_noise(config, found, training), folder / "noise.json")
    ranks.barrier()
    noise = read_json(folder / "noise.json")
    network = FSEDMPrecondSR(
        backbone,
        noise["sigma_data"],
        noise["sigma_min"],
        noise["sigma_max"],
        noise["field"],
        trained_on(record, training, regression.trained_on),
    )
    scheduler = FunctionSpaceScheduler(
        RandomField.from_dict(noise["field"]),
        sigma_min=noise["sigma_min"],
        sigma_max=noise["sigma_max"],
        sigma_data=noise["sigma_data"] if len(noise["sigma_data"]) > 1 else noise["sigma_data"][0],
        P_mean=noise["P_mean"],
        P_std=noise["P_std"],
    )
    stage = DiffusionStage(network, regression, training, scheduler, config.training.hr_mean_conditioning)
    hp = stage_hyperparameters(config.training, "diffusion")

    def picture(averaged: Any, path: Path) -> None:
        ensemble_picture(validation, regression, averaged, path)

    trainer = Trainer(stage, training, validation, config.training, hp, config.seed, folder, ranks, picture)
    trainer.resume()
    return trainer.run()


def _measure(config: TrainConfig, regression: FSRegressionSR, dataset: DownscalingDataset, ranks: Ranks) -> Calibration:
    """Measure truth and mean over evenly spread samples."""
    count = min(config.training.calibration_samples, len(dataset))
    ids = evenly_spread(len(dataset), count)
    pairs = truth_and_mean(regression, dataset, ids, CALIBRATION_BATCH, ranks.device)
    return calibrate(pairs, regression.gain.shape[1], relative_extent(dataset))


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


def _noise(config: TrainConfig, found: Calibration, training: DownscalingDataset) -> dict[str, Any]:
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
