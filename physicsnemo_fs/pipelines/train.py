# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Train the mean, then the diffusion of what it misses."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from physicsnemo_fs import __version__
from physicsnemo_fs.config import TrainConfig, stage_hyperparameters
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.diffusion.calibration import Calibration, calibrate
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler, noise_level_distribution
from physicsnemo_fs.distributed import Ranks, process_group
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path, make_folder
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import build_backbone, build_kernel, open_dataset, relative_extent
from physicsnemo_fs.pipelines.checkpoints import load_network, newest, save_network
from physicsnemo_fs.pipelines.pictures import ensemble_picture
from physicsnemo_fs.pipelines.stages import (
    DiffusionStage,
    RegressionStage,
    first_guess,
    regression_channels,
    truth_and_mean,
)
from physicsnemo_fs.pipelines.trainer import Trainer

SIGMA_MIN = 0.002
CALIBRATION_BATCH = 64


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
        if not ranks.is_main:
            ranks.barrier()
        training = open_dataset(config.dataset, "train", None)
        validation = open_dataset(config.dataset, "validation", training.grid.shape[0])
        if ranks.is_main:
            ranks.barrier()
        paths: dict[str, Path | None] = {"regression": None, "diffusion": None}
        if config.stage in ("regression", "all"):
            paths["regression"] = _train_regression(config, run_dir / "regression", training, validation, ranks)
        if config.stage in ("diffusion", "all"):
            source = config.training.io.regression_checkpoint_path
            mean = Path(source) if source else newest(run_dir / "regression", "FSRegressionSR.0.*.mdlus")
            if mean is None:
                raise InputError(
                    f"the diffusion stage needs a regression checkpoint: none in {run_dir / 'regression'}; train with "
                    "stage=regression first or set training.io.regression_checkpoint_path"
                )
            paths["diffusion"] = _train_diffusion(config, run_dir / "diffusion", mean, training, validation, ranks)
        return TrainResult(**paths)


def _train_regression(
    config: TrainConfig, folder: Path, training: DownscalingDataset, validation: DownscalingDataset, ranks: Ranks
) -> Path:
    _claim_folder(config, folder, "regression", training, ranks)
    conditions, outputs = regression_channels(training)
    torch.manual_seed(config.seed)
    network = FSRegressionSR(build_backbone(config.model, conditions, outputs), first_guess(training))
    stage = RegressionStage(network, training)
    hp = stage_hyperparameters(config.training, "regression")

    def picture(averaged: Any, path: Path) -> None:
        ensemble_picture(validation, averaged, None, path)

    trainer = Trainer(stage, training, validation, config.training, hp, config.seed, folder, ranks, picture)
    trainer.resume()
    already = trainer.finished
    path = trainer.run()
    if config.training.shrink_mean and not already:
        if ranks.is_main:
            averaged = trainer.average.network
            averaged.set_gain(_measure(config, averaged, training, ranks).gain)  # type: ignore[operator,arg-type]
            save_network(averaged, path)
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
    _claim_folder(config, folder, "diffusion", training, ranks)
    regression = load_network(regression_path, FSRegressionSR).to(ranks.device).requires_grad_(False)
    if ranks.is_main and not (folder / "noise.json").exists():
        _write_json(_calibrate_noise(config, regression, training, ranks), folder / "noise.json")
    ranks.barrier()
    noise = json.loads((folder / "noise.json").read_text())
    conditions, outputs = regression_channels(training)
    conditions += outputs if config.training.hr_mean_conditioning else 0
    torch.manual_seed(config.seed)
    network = FSEDMPrecondSR(
        build_backbone(config.model, conditions + outputs, outputs),
        noise["sigma_data"],
        noise["sigma_min"],
        noise["sigma_max"],
        noise["field"],
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


def _measure(
    config: TrainConfig, regression: FSRegressionSR, training: DownscalingDataset, ranks: Ranks
) -> Calibration:
    """Measure truth and mean over evenly spread training samples."""
    count = min(config.training.calibration_samples, len(training))
    ids = evenly_spread(len(training), count)
    pairs = truth_and_mean(regression, training, ids, CALIBRATION_BATCH, ranks.device)
    return calibrate(pairs, regression.gain.shape[1], relative_extent(training))


def _calibrate_noise(
    config: TrainConfig, regression: FSRegressionSR, training: DownscalingDataset, ranks: Ranks
) -> dict[str, Any]:
    """Measure the training residual; give its scale, the noise field and the noise levels as JSON types."""
    found = _measure(config, regression, training, ranks)
    extent = relative_extent(training)
    kernel = build_kernel(config.noise, found, min(extent))
    field = RandomField(kernel, extent, training.grid.boundary, registration=training.grid.registration)
    levels = noise_level_distribution(found.residual_power, kernel, shape=training.grid.shape, extent=extent)
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


def _claim_folder(config: TrainConfig, folder: Path, stage: str, training: DownscalingDataset, ranks: Ranks) -> None:
    """Record what determines the stage's result; refuse a folder that holds another run.

    Raises:
        InputError: If the folder's record differs, naming the first key that does.
    """
    determining = {
        "physicsnemo_fs": __version__,
        "seed": config.seed,
        "dataset": asdict(config.dataset),
        "model": asdict(config.model),
        "hp": asdict(stage_hyperparameters(config.training, stage)),
        "augment": config.training.augment,
        "calibration_samples": config.training.calibration_samples,
        "shrink_mean": config.training.shrink_mean,
        "normalization": {c.name: [c.mean, c.std] for c in (*training.input_channels, *training.output_channels)},
    }
    if stage == "diffusion":
        determining["noise"] = asdict(config.noise)
        determining["hr_mean_conditioning"] = config.training.hr_mean_conditioning
    record = folder / "run.json"
    if record.exists():
        difference = _first_difference(json.loads(record.read_text()), json.loads(json.dumps(determining)))
        if difference:
            raise InputError(
                f"{folder} holds a run with another {difference}; choose another run_dir or remove the folder"
            )
    elif ranks.is_main:
        make_folder(folder)
        _write_json(determining, record)
        with atomic_path(folder / "config.yaml") as temporary:
            OmegaConf.save(OmegaConf.structured(config), temporary)
    ranks.barrier()


def _first_difference(old: Any, new: Any, name: str = "") -> str | None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            found = _first_difference(old.get(key), new.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    return None if old == new else f"{name} ({old} there, {new} here)"


def _write_json(value: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1))
