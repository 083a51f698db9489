# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Train the mean, then the diffusion of what it misses."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from physicsnemo.core.module import Module

from physicsnemo_fs.config import TrainConfig, stage_hyperparameters
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.signature import data_signature, normalisation
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.distributed import Ranks, process_group
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import exclusive, read_record, told_if_full, write_json
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.models.windowed import has_windows
from physicsnemo_fs.pipelines.assembly import open_dataset
from physicsnemo_fs.pipelines.checkpoints import damage, load_network, newest, save_network
from physicsnemo_fs.pipelines.interruption import StopRequest, stop_requests
from physicsnemo_fs.pipelines.pictures import ensemble_picture
from physicsnemo_fs.pipelines.run_record import (
    FINISHED,
    claim_folder,
    continued,
    record_start,
    require_room,
    require_same_data,
    stage_record,
    state_identity,
    trained_on,
)
from physicsnemo_fs.pipelines.stage_building import (
    diffusion_backbone,
    diffusion_stage,
    measure,
    measured_noise,
    overfit,
    read_noise,
    regression_stage,
)
from physicsnemo_fs.pipelines.stages import Stage
from physicsnemo_fs.pipelines.trainer import Trainer
from physicsnemo_fs.pipelines.training_plan import describe, kept_statistics
from physicsnemo_fs.pipelines.training_state import States

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """Paths of the trained networks; ``None`` for a stage that was not run, and after a dry run."""

    regression: Path | None
    diffusion: Path | None


def train(config: TrainConfig) -> TrainResult:
    """Train the stages that ``config.stage`` names, continuing what an interrupted run left, or say what that takes.

    Args:
        config: The whole configuration.

    Raises:
        InputError: If the data, the folder or a checkpoint does not fit, or another process trains there.
        TrainingDiverged: If the loss is not finite.
        RankLost: If another rank ended.
        SystemExit: With status ``START_AGAIN`` after SIGTERM or SIGUSR1.
    """
    with stop_requests() as stop, process_group(config.training.perf.num_threads) as ranks, ExitStack() as stack:
        run_dir = Path(config.run_dir)
        if config.training.dry_run:
            _say_plan(config, run_dir, ranks)
            return TrainResult(None, None)
        with ranks.main_first():
            if ranks.is_main:
                stack.enter_context(exclusive(run_dir / "lock", "one training a run_dir"))
        ranks.barrier()
        require_room(config, run_dir)
        torch.manual_seed(config.seed)
        stack.enter_context(told_if_full(run_dir, "the last checkpoint is kept"))
        run = _Run(config, run_dir, *open_splits(config, ranks, run_dir / "statistics.json"), ranks, stop)
        paths: dict[str, Path | None] = {"regression": None, "diffusion": None}
        if config.stage in ("regression", "all"):
            paths["regression"] = _train_regression(run)
        if config.stage in ("diffusion", "all"):
            source = config.training.io.regression_checkpoint_path
            mean = Path(source) if source else _finished_regression(run_dir / "regression")
            paths["diffusion"] = _train_diffusion(run, mean)
        return TrainResult(**paths)


def _say_plan(config: TrainConfig, run_dir: Path, ranks: Ranks) -> None:
    require_room(config, run_dir)
    with kept_statistics(run_dir / "statistics.json") as statistics:
        text = describe(config, *open_splits(config, ranks, statistics, simulate=False), ranks)
    if ranks.is_main:
        print(text)  # noqa: T201


def open_splits(
    config: TrainConfig, ranks: Ranks, statistics: Path | None, simulate: bool = True
) -> tuple[DownscalingDataset, DownscalingDataset]:
    """Open the training split, and the validation split on its grid with its normalisation."""
    training = open_dataset(config.dataset, Opening("train", ranks=ranks, statistics=statistics, simulate=simulate))
    channels = normalisation(data_signature(training))
    return training, open_dataset(
        config.dataset, Opening("validation", min(training.grid.shape), channels, ranks=ranks, simulate=simulate)
    )


@dataclass
class _Run:
    """What both stages share."""

    config: TrainConfig
    run_dir: Path
    training: DownscalingDataset
    validation: DownscalingDataset
    ranks: Ranks
    stop: StopRequest
    recorded: bool = field(default=False, init=False)

    def claim(self, folder: Path, record: dict[str, Any]) -> None:
        """Take a stage's folder; the first one leaves the record of this start."""
        claim_folder(self.config, folder, record, self.ranks)
        if not self.recorded:
            record_start(self.config, self.run_dir, self.ranks)
            self.recorded = True

    def finished(self, folder: Path, kind: type[Module]) -> Path | None:
        """Give the network of a finished stage; ``None`` for one that is to be trained, or whose network is lost.

        Raises:
            InputError: If the network is lost with all training states, or ``training.io.resume`` is ``never``.
        """
        mark = folder / FINISHED
        with self.ranks.main_first():
            if self.ranks.is_main and mark.exists():
                if self.config.training.io.resume == "never":
                    raise InputError(
                        f"training.io.resume=never, but {folder} holds a finished training; choose another run_dir"
                    )
                _require_network(folder, kind, self.config.trusted_packages)
        return folder / read_record(mark, network=str)["network"] if mark.exists() else None

    def trained(self, stage: Stage, folder: Path, record: dict[str, Any]) -> Path:
        """Train a stage to its end and give its network's path."""

        def picture(averaged: Any, path: Path) -> None:
            regression, denoiser = (averaged, None) if stage.name == "regression" else (stage.regression, averaged)  # type: ignore[attr-defined]
            ensemble_picture(self.validation, regression, denoiser, path)

        trainer = Trainer(
            stage,
            self.training,
            self.validation,
            self.config.training,
            stage_hyperparameters(self.config.training, stage.name),
            self.config.seed,
            folder,
            self.ranks,
            picture,
            state_identity(record),
            self.stop,
        )
        trainer.resume()
        return trainer.run()


def _require_network(folder: Path, kind: type[Module], trusted: Sequence[str]) -> None:
    """Take the mark from a finished stage whose network is lost or damaged, if a training state can make it again."""
    path = folder / read_record(folder / FINISHED, network=str)["network"]
    if (reason := damage(path, kind, trusted)) is None:
        return
    if not States(folder).image_counts():
        raise InputError(f"{reason}; no training state is left to make it from: remove {folder} to train it again")
    log.warning("%s: it is made again from the last training state", reason)
    (folder / FINISHED).unlink()


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
    return folder / read_record(mark, network=str)["network"]


def _train_regression(run: _Run) -> Path:
    folder = run.run_dir / "regression"
    record = continued(folder, stage_record(run.config, "regression", run.training))
    stage = regression_stage(run.config, run.training, trained_on(record, run.training))
    run.claim(folder, record)
    if (finished := run.finished(folder, FSRegressionSR)) is not None:
        return finished
    path = run.trained(stage, folder, record)
    network = load_network(path, FSRegressionSR, run.config.trusted_packages).to(run.ranks.device)
    run.ranks.barrier()
    if not has_windows(network):
        _complete(run, network)
        if run.ranks.is_main:
            save_network(network, path)
    if run.ranks.is_main:
        write_json({"network": path.name}, folder / FINISHED)
    run.ranks.barrier()
    return path


def _complete(run: _Run, network: FSRegressionSR) -> None:
    """Fit what a trained mean has beside its weights, of modes of the whole domain: its gain, the residual's power."""
    network.set_gain(torch.ones_like(network.gain))  # it was fitted already if a kill came before the mark
    if run.config.training.shrink_mean:
        network.set_gain(measure(run.config, network, run.training, run.ranks).gain)
    if network.conservation is not None:
        network.conservation.set_power(measure(run.config, network, run.training, run.ranks).residual_power)


def _noise(run: _Run, regression: FSRegressionSR, path: Path) -> dict[str, Any]:
    """Give the residual's scale, noise field and levels: those of an earlier start, or as all ranks measure them."""
    ranks, config = run.ranks, run.config
    kept = ranks.tell(read_noise(path) if ranks.is_main and path.exists() else None)
    if kept is not None:
        return kept
    found = measure(config, regression, run.training, ranks)
    beyond = measure(config, regression, run.validation, ranks)
    noise = measured_noise(config, found, run.training)
    if ranks.is_main:
        if warning := overfit(found, beyond):
            log.warning(warning)
        write_json(noise, path)
    return ranks.tell(noise)


def _train_diffusion(run: _Run, regression_path: Path) -> Path:
    config, training, folder = run.config, run.training, run.run_dir / "diffusion"
    regression = load_network(regression_path, FSRegressionSR, config.trusted_packages)
    regression.to(run.ranks.device).requires_grad_(False)
    require_same_data(regression, "regression checkpoint", training)
    record = continued(folder, stage_record(config, "diffusion", training, regression.trained_on))
    backbone = diffusion_backbone(config, training, regression)
    run.claim(folder, record)
    if (finished := run.finished(folder, FSEDMPrecondSR)) is not None:
        return finished
    noise = _noise(run, regression, folder / "noise.json")
    origin = trained_on(record, training, regression.trained_on)
    stage = diffusion_stage(config, training, regression, backbone, noise, origin)
    path = run.trained(stage, folder, record)
    if run.ranks.is_main:
        write_json({"network": path.name}, folder / FINISHED)
    return path
