# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The training loop of one stage."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nvtx
import torch
from torch.nn.parallel import DistributedDataParallel

from physicsnemo_fs.config import HyperParameters, TrainingConfig
from physicsnemo_fs.data.loader import READING, LoadedBatch, batches
from physicsnemo_fs.data.sampler import EpochSampler, evenly_spread
from physicsnemo_fs.data.schedule import Piece, Schedule, TrainingSchedule, pieces_of
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import START_AGAIN, InputError, TrainingDiverged
from physicsnemo_fs.files import make_folder, told_if_full
from physicsnemo_fs.nn.dropout import unkeyed_dropout
from physicsnemo_fs.pipelines.checkpoints import damage, network_path, save_network
from physicsnemo_fs.pipelines.interruption import StopRequest
from physicsnemo_fs.pipelines.optimisation import MovingAverage, build_optimizer, learning_rate
from physicsnemo_fs.pipelines.stages import Draw, Stage
from physicsnemo_fs.pipelines.training_log import TrainingLog, crossed
from physicsnemo_fs.pipelines.training_state import States, keep_networks, save_state
from physicsnemo_fs.precision import autocast

log = logging.getLogger(__name__)


@dataclass
class Trainer:
    """Train one stage and keep its files.

    Args:
        stage: Network and loss.
        dataset: Training split.
        validation: Validation split.
        config: Training configuration.
        hp: Hyperparameters of this stage.
        seed: Seed of the run.
        folder: Where checkpoints, log and pictures go.
        ranks: This process among its peers.
        picture: Draws validation samples with the averaged network to a path.
        run_id: What the training states must have been written for.
        stop: Whether this process was asked to stop.
    """

    stage: Stage
    dataset: DownscalingDataset
    validation: DownscalingDataset
    config: TrainingConfig
    hp: HyperParameters
    seed: int
    folder: Path
    ranks: Ranks
    picture: Callable[[Any, Path], None] | None = None
    run_id: str = ""
    stop: StopRequest = field(default_factory=StopRequest)

    def __post_init__(self):
        if self.hp.total_batch_size < self.ranks.world_size:
            raise InputError(
                f"training.hp.total_batch_size must be at least the number of ranks, {self.ranks.world_size}: got "
                f"{self.hp.total_batch_size}"
            )
        if layer := unkeyed_dropout(self.stage.network):
            raise InputError(
                f"dropout must be keyed by sample, so that restarts and other ranks draw the same: {layer} of the "
                f"{self.stage.name} network is not; use physicsnemo_fs.nn.dropout.KeyedDropout"
            )
        self.network = self.stage.network.to(self.ranks.device)
        self.average = MovingAverage(self.network, self.hp.ema_halflife)
        self.optimizer = build_optimizer(self.network, self.hp)
        self.sampler = EpochSampler(len(self.dataset), self.seed)
        self.states = States(self.folder, self.config.io.resume, self.run_id)
        self.log = TrainingLog(self.config.io.print_progress_freq)
        self._asked = False
        self._network_at: int | None = None
        self.images = 0
        self.best, self.best_images = math.inf, 0
        self.bad_validations = 0
        self.stopped_early = False
        self._pieces = self._schedule().pieces_per_step

    # --- state -------------------------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Continue from a training state of the folder, as ``training.io.resume`` says; tell whether there was one.

        Raises:
            InputError: If the state is damaged or of another run.
        """
        with self.ranks.main_first():
            if self.ranks.is_main:
                self.states.set_aside_damaged()
        state = self.states.load(self.ranks.device)
        if state is None:
            return False
        try:
            self._restore(state)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise InputError(
                f"the newest training state in {self.folder} does not fit the {self.stage.name} stage "
                f"({str(error).splitlines()[0]}); remove it or choose another run_dir"
            ) from error
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = state["average_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.images = state["images"]
        self.best, self.best_images = state["best"], state["best_images"]
        self.bad_validations, self.stopped_early = state["bad_validations"], state["stopped_early"]
        self.log = TrainingLog(self.config.io.print_progress_freq, self.images, tuple(state["running_loss"]))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.stopped_early or self.images >= self.hp.training_duration

    @property
    def final_path(self) -> Path:
        """The network that the training ends with: the last one, after an early stop the best one."""
        return self._path(self.best_images if self._ends_with_best else self.images)

    @property
    def _ends_with_best(self) -> bool:
        return self.stopped_early and self.best_images > 0

    def _path(self, images: int) -> Path:
        return network_path(self.folder, type(self.network).__name__, images)

    def save(self) -> None:
        """Write the averaged network and the training state; drop all but the newest few and the best.

        The network comes first, so that a state never lies without it; what an older state needs is dropped only when
        the new one is whole.
        """
        if self.ranks.is_main:
            if not self._ends_with_best:
                self._save_network()
            save_state(self.state(), self.states.path(self.images))
            self.states.keep(self.config.io.save_n_recent_checkpoints)
            kept = {self.best_images} if self._ends_with_best else {self.best_images, *self.states.image_counts()}
            keep_networks(self.folder, type(self.network).__name__, kept)
            self._progressed("the checkpoint")
        self.ranks.barrier()

    def _save_network(self) -> None:
        if self._network_at != self.images:
            save_network(self.average.network, self._path(self.images))
            self._network_at = self.images

    def state(self) -> dict[str, Any]:
        """Give all that a training continues from, as tensors and plain types."""
        return {
            "run": self.run_id,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "average_updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "images": self.images,
            "best": self.best,
            "best_images": self.best_images,
            "bad_validations": self.bad_validations,
            "stopped_early": self.stopped_early,
            "running_loss": self.log.running,
        }

    # --- one step ----------------------------------------------------------------------------------------------

    def _schedule(self) -> TrainingSchedule:
        """Give this rank's micro-batches of the steps that are left."""
        hp, ranks = self.hp, self.ranks
        return TrainingSchedule(
            self.sampler,
            self.images,
            hp.training_duration,
            hp.total_batch_size,
            hp.batch_size_per_gpu,
            ranks.rank,
            ranks.world_size,
        )

    def _loading(
        self, dataset: DownscalingDataset, schedule: Schedule, key: Callable[[int, int], int] | None = None
    ) -> AbstractContextManager[Iterator[LoadedBatch]]:
        perf, device = self.config.perf, self.ranks.device
        ahead = perf.prefetch
        if ahead is None:  # two threads of torch on two cores wait for each other
            ahead = 2 if device.type == "cuda" else 0
        return batches(dataset, schedule, key=key, device=device, prefetch=ahead, workers=perf.data_workers)

    def _augmentation_key(self, epoch: int, sample: int) -> int:
        return Draw(self.seed, self.stage.name, epoch, sample).key("augmentation")

    def _draws(self, purpose: str, piece: Piece) -> list[Draw]:
        return [Draw(self.seed, purpose, e, i) for e, i in zip(piece.epochs, piece.samples, strict=True)]

    def _step(self, network: torch.nn.Module) -> tuple[float, float]:
        rate = learning_rate(self.hp, self.images)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        together = isinstance(network, DistributedDataParallel)  # each part then waits for the other ranks
        for number in range(self._pieces):
            with nvtx.annotate("data"):
                loaded = next(self._loaded)
            batch, draws = loaded.batch, self._draws(self.stage.name, loaded.piece)
            with autocast(self.ranks.device, self.config.perf.fp_optimizations):
                parts = self.stage.pieces(network, batch, draws)
            for position, part in enumerate(parts):
                last = number == self._pieces - 1 and position == len(parts) - 1
                with (
                    self.ranks.progress.waiting() if together else nullcontext(),
                    network.no_sync() if together and not last else nullcontext(),  # type: ignore[operator]
                ):
                    with nvtx.annotate("forward"), autocast(self.ranks.device, self.config.perf.fp_optimizations):
                        loss = part().sum() / self.hp.total_batch_size
                    self._require_finite(loss, "loss", draws)
                    with nvtx.annotate("backward"):
                        (loss * self.ranks.world_size).backward()
                total += loss.detach()
                self._progressed("a micro-batch")
        with nvtx.annotate("optimizer"):
            norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.hp.grad_clip_threshold or math.inf)
            self._require_finite(norm, "gradient", draws)
            self.optimizer.step()
            self.average.update(self.network, self.hp.total_batch_size)
        loss, asked = self.ranks.sum(torch.stack([total, torch.full_like(total, float(bool(self.stop.came)))])).tolist()
        self._asked = asked > 0
        return loss, float(norm)

    def _progressed(self, done: str) -> None:
        self.ranks.progress.made(f"{done} at image {self.images} of the {self.stage.name} stage")

    def _require_finite(self, value: torch.Tensor, what: str, draws: list[Draw]) -> None:
        if not torch.isfinite(value):
            raise TrainingDiverged(
                f"the {what} of the {self.stage.name} stage is {float(value.detach())} at image {self.images} "
                f"(step {self.images // self.hp.total_batch_size}) on rank {self.ranks.rank}, "
                f"{self.stage.describe(draws)}; lower training.hp.lr or check the data of these samples"
            )

    # --- the loop ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self) -> float:
        """Give the validation loss of the averaged network, with fixed noise, over all ranks."""
        count = min(len(self.validation), self.config.io.validation_samples)
        ids = evenly_spread(len(self.validation), count)
        ids = ids[self.ranks.rank :: self.ranks.world_size]
        sums = torch.zeros(2, dtype=torch.float64, device=self.ranks.device)
        batch_size = self.hp.batch_size_per_gpu or self.hp.total_batch_size
        with self._loading(self.validation, pieces_of(ids, batch_size)) as loaded:
            for one in loaded:
                draws = self._draws("validation-" + self.stage.name, one.piece)
                losses = self.stage.losses(self.average.network, one.batch, draws)
                sums += torch.stack([losses.double().sum(), torch.tensor(float(len(draws)), device=losses.device)])
                self._progressed("a batch of the validation")
        total, number = self.ranks.sum(sums).tolist()
        return total / number

    def run(self) -> Path:
        """Train to the end; give the path of the final network.

        Raises:
            SystemExit: With status ``START_AGAIN``, after a checkpoint, if any rank was asked to stop.
        """
        if self.finished:
            if self.ranks.is_main and (reason := self._final_damage()):
                self._save_final_again(reason)
            self.ranks.barrier()
            return self.final_path
        make_folder(self.folder)
        with told_if_full(self.folder, "the last checkpoint is kept"):
            self._run(self._wrapped(), self._augmentation_key if self.config.augment else None)
        self.network.eval()
        if self._asked or self._agreed(self.stop.came):
            log.warning("the %s stage has a checkpoint at image %d", self.stage.name, self.images)
            raise SystemExit(START_AGAIN)
        return self.final_path

    def _run(self, network: torch.nn.Module, key: Callable[[int, int], int] | None) -> None:
        with self.stop.deferred(), self._logging(), self._loading(self.dataset, self._schedule(), key) as self._loaded:
            with self.ranks.progress.expected(self.config.perf.longest_pause):
                while not (self.finished or self._asked):
                    self._advance(network)
            self.save()

    def _final_damage(self) -> str | None:
        own = {type(module).__module__.split(".")[0] for module in self.network.modules()}
        return damage(self.final_path, type(self.network), sorted(own))

    def _save_final_again(self, reason: str) -> None:
        if self._ends_with_best:
            raise InputError(
                f"{reason}; no training state holds the best network: remove {self.folder} to train it again"
            )
        self._save_network()

    def _agreed(self, asked: object) -> bool:
        return bool(self.ranks.sum(torch.tensor(float(bool(asked)))))

    def _wrapped(self) -> torch.nn.Module:
        network: torch.nn.Module = self.network.train()
        if self.config.perf.torch_compile:
            network = torch.compile(network)  # type: ignore[assignment]
        if self.ranks.world_size > 1:
            network = DistributedDataParallel(network)
        return network

    def rehearse(self, steps: int) -> float:
        """Take steps that are not kept: nothing is written. Give the seconds of the fastest.

        Args:
            steps: How many, at least 2: the first one is slower than the others.
        """
        network, key = self._wrapped(), self._augmentation_key if self.config.augment else None
        schedule = replace(self._schedule(), start=0, stop=steps * self.hp.total_batch_size)
        seconds = []
        with self._loading(self.dataset, schedule, key) as self._loaded:
            for _ in range(steps):
                started = time.perf_counter()
                self._step(network)
                seconds.append(time.perf_counter() - started)
        return min(seconds)

    def _advance(self, network: torch.nn.Module) -> None:
        before = self.images
        loss, norm = self._step(network)
        self.images += self.hp.total_batch_size
        self.log.step(self.images, loss, norm, learning_rate(self.hp, before))
        io = self.config.io
        if crossed(before, self.images, io.validation_freq) or self.images >= self.hp.training_duration:
            self._judge(self.validate())
            if self.picture and io.sample_pictures and self.ranks.is_main:
                self.ranks.progress.unknown()
                with READING:
                    self.picture(self.average.network, self.folder / "pictures" / f"validation.0.{self.images}.png")
        if crossed(before, self.images, io.save_checkpoint_freq) and not (self.finished or self._asked):
            self.save()

    def _judge(self, value: float) -> None:
        """Take a validation loss: keep the best network, stop early without improvement."""
        self.log.validation(self.images, value)
        self.bad_validations += 1
        if value < self.best:
            self.best, self.best_images, self.bad_validations = value, self.images, 0
            if self.ranks.is_main:
                self._save_network()
        self.stopped_early = self.hp.patience is not None and self.bad_validations >= self.hp.patience

    def _logging(self) -> AbstractContextManager[None]:
        if not self.ranks.is_main:
            return nullcontext()
        return self.log.opened(self.folder, self.hp.training_duration, self.stage.name)
