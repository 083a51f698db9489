# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The training loop of one stage."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nvtx
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from physicsnemo_fs.config import HyperParameters, TrainingConfig
from physicsnemo_fs.data.loader import READING, LoadedBatch, batches
from physicsnemo_fs.data.sampler import EpochSampler, evenly_spread
from physicsnemo_fs.data.schedule import Piece, Schedule, TrainingSchedule, pieces_of
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError, TrainingDiverged
from physicsnemo_fs.files import make_folder
from physicsnemo_fs.pipelines.checkpoints import load_state, network_path, newest, save_network, save_state
from physicsnemo_fs.pipelines.optimisation import MovingAverage, build_optimizer, learning_rate
from physicsnemo_fs.pipelines.stages import Draw, Stage
from physicsnemo_fs.precision import autocast
from physicsnemo_fs.random import derive_key

STATE_PATTERN = "checkpoint.0.*.pt"


def crossed(before: int, after: int, every: int) -> bool:
    """Tell whether a multiple of ``every`` lies in (before, after].

    Example:
        >>> crossed(10, 26, 16), crossed(16, 31, 16)
        (True, False)
    """
    return before // every < after // every


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

    def __post_init__(self):
        if self.hp.total_batch_size < self.ranks.world_size:
            raise InputError(
                f"training.hp.total_batch_size must be at least the number of ranks, {self.ranks.world_size}: got "
                f"{self.hp.total_batch_size}"
            )
        make_folder(self.folder)
        self.network = self.stage.network.to(self.ranks.device)
        self.average = MovingAverage(self.network, self.hp.ema_halflife)
        self.optimizer = build_optimizer(self.network, self.hp)
        self.sampler = EpochSampler(len(self.dataset), self.seed)
        self.images = 0
        self.best = math.inf
        self.bad_validations = 0
        self.stopped_early = False

    # --- state -------------------------------------------------------------------------------------------------

    def resume(self) -> bool:
        """Continue from the newest training state of the folder; tell whether there was one."""
        path = newest(self.folder, STATE_PATTERN)
        if path is None:
            return False
        state = load_state(path, self.ranks.device)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = state["average_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.images, self.best = state["images"], state["best"]
        self.bad_validations, self.stopped_early = state["bad_validations"], state["stopped_early"]
        return True

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.stopped_early or self.images >= self.hp.training_duration

    def save(self) -> Path:
        """Write the averaged network and the training state; drop all but the newest few."""
        path = network_path(self.folder, type(self.network).__name__, self.images)
        if self.ranks.is_main:
            save_network(self.average.network, path)
            save_state(self._state(), self.folder / f"checkpoint.0.{self.images}.pt")
            for pattern in (STATE_PATTERN, f"{type(self.network).__name__}.0.*.mdlus"):
                files = sorted(self.folder.glob(pattern), key=lambda p: int(p.name.split(".")[-2]))
                for old in files[: -max(1, self.config.io.save_n_recent_checkpoints)]:
                    old.unlink()
        self.ranks.barrier()
        return path

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "average_updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "images": self.images,
            "best": self.best,
            "bad_validations": self.bad_validations,
            "stopped_early": self.stopped_early,
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
        # what dropout draws is a function of the step and the rank, so that a resumed run draws the same
        torch.manual_seed(derive_key(self.seed, self.stage.name, "dropout", self.images, self.ranks.rank))
        self.optimizer.zero_grad(set_to_none=True)
        count = self._schedule().pieces_per_step
        total = torch.zeros((), device=self.ranks.device)
        for number in range(count):
            with nvtx.annotate("data"):
                loaded = next(self._loaded)
            batch, draws = loaded.batch, self._draws(self.stage.name, loaded.piece)
            last = number == count - 1
            with nullcontext() if last or not isinstance(network, DistributedDataParallel) else network.no_sync():
                with nvtx.annotate("forward"), autocast(self.ranks.device, self.config.perf.fp_optimizations):
                    loss = self.stage.losses(network, batch, draws).sum() / self.hp.total_batch_size
                self._require_finite(loss, "loss", draws)
                with nvtx.annotate("backward"):
                    (loss * self.ranks.world_size).backward()
            total += loss.detach()
        with nvtx.annotate("optimizer"):
            norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.hp.grad_clip_threshold or math.inf)
            self._require_finite(norm, "gradient", draws)
            self.optimizer.step()
            self.average.update(self.network, self.hp.total_batch_size)
        return float(self.ranks.sum(total)), float(norm)

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
        total, number = self.ranks.sum(sums).tolist()
        return total / number

    def run(self) -> Path:
        """Train to the end; give the path of the final network."""
        if self.finished:
            return network_path(self.folder, type(self.network).__name__, self.images)
        network: torch.nn.Module = self.network.train()
        if self.config.perf.torch_compile:
            network = torch.compile(network)  # type: ignore[assignment]
        if self.ranks.world_size > 1:
            network = DistributedDataParallel(network)
        key = self._augmentation_key if self.config.augment else None
        with self._logs() as log, self._loading(self.dataset, self._schedule(), key) as self._loaded:
            while not self.finished:
                self._advance(network, log)
        self.network.eval()
        return self.save()

    def _advance(self, network: torch.nn.Module, log: "_Log") -> None:
        before = self.images
        loss, norm = self._step(network)
        self.images += self.hp.total_batch_size
        log.step(self.images, loss, norm, learning_rate(self.hp, before))
        io = self.config.io
        if crossed(before, self.images, io.validation_freq) or self.images >= self.hp.training_duration:
            value = self.validate()
            log.validation(self.images, value)
            self.bad_validations = 0 if value < self.best else self.bad_validations + 1
            self.best = min(self.best, value)
            self.stopped_early = self.hp.patience is not None and self.bad_validations >= self.hp.patience
            if self.picture and io.sample_pictures and self.ranks.is_main:
                with READING:
                    self.picture(self.average.network, self.folder / "pictures" / f"validation.0.{self.images}.png")
        if crossed(before, self.images, io.save_checkpoint_freq) and not self.finished:
            self.save()

    @contextmanager
    def _logs(self) -> Iterator["_Log"]:
        if not self.ranks.is_main:
            yield _Log(None, None, None, self.hp.training_duration)
            return
        writer = SummaryWriter(str(self.folder / "tensorboard"))
        bar = tqdm(
            total=self.hp.training_duration, initial=self.images, unit="img", desc=self.stage.name, smoothing=0.05
        )
        with writer, bar, open(self.folder / "log.jsonl", "a", encoding="utf-8") as lines:
            yield _Log(lines, writer, bar, self.config.io.print_progress_freq)


class _Log:
    """Progress bar, ``log.jsonl`` and TensorBoard of the main rank; nothing elsewhere."""

    def __init__(self, lines, writer, bar, every: int):
        self.lines, self.writer, self.bar, self.every = lines, writer, bar, every
        self.loss_sum, self.loss_count = 0.0, 0
        self.started, self.last_images = time.perf_counter(), bar.n if bar is not None else 0

    def step(self, images: int, loss: float, norm: float, rate: float) -> None:
        """Record one step."""
        if self.bar is None:
            return
        before = self.bar.n
        self.bar.update(images - before)
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1
        if not crossed(before, images, self.every):
            return
        now = time.perf_counter()
        speed = (images - self.last_images) / max(now - self.started, 1e-9)
        mean = self.loss_sum / self.loss_count
        self._write(images, {"loss": mean, "lr": rate, "grad_norm": norm, "images_per_second": speed})
        self.bar.set_postfix(loss=f"{mean:.4g}", refresh=False)
        self.loss_sum, self.loss_count, self.started, self.last_images = 0.0, 0, now, images

    def validation(self, images: int, value: float) -> None:
        """Record a validation."""
        if self.bar is not None:
            self._write(images, {"validation_loss": value})

    def _write(self, images: int, values: dict[str, float]) -> None:
        record = {"time": time.time(), "images": images, **values}
        self.lines.write(json.dumps(record) + "\n")
        self.lines.flush()
        for name, value in values.items():
            self.writer.add_scalar(name, value, images)
