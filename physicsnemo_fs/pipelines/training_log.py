# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a training tells: progress bar, ``log.jsonl`` and TensorBoard, each continued where the checkpoint is."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from physicsnemo_fs.files import atomic_path

NAME = "log.jsonl"


def crossed(before: int, after: int, every: int) -> bool:
    """Tell whether a multiple of ``every`` lies in (before, after].

    Example:
        >>> crossed(10, 26, 16), crossed(16, 31, 16)
        (True, False)
    """
    return before // every < after // every


def cut_log(path: Path, images: int) -> None:
    """Drop what a log says of later images than ``images``, and a line that was not written to its end."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if _images(line) <= images]
    if kept != lines:
        with atomic_path(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def _images(line: str) -> float:
    try:
        return json.loads(line)["images"] if line.endswith("\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")


class TrainingLog:
    """Progress bar, ``log.jsonl`` and TensorBoard of the main rank; nothing elsewhere.

    Args:
        every: Images between records of progress.
        images: Images so far.
        running: Sum and number of the losses since the last record.
    """

    def __init__(self, every: int, images: int = 0, running: tuple[float, int] = (0.0, 0)):
        self.every, self.images = every, images
        self.loss_sum, self.loss_count = running
        self._lines: IO[str] | None = None
        self._writer: SummaryWriter | None = None
        self._bar: tqdm | None = None
        self._started, self._last_images = time.perf_counter(), images

    @property
    def running(self) -> tuple[float, int]:
        """Sum and number of the losses since the last record."""
        return self.loss_sum, self.loss_count

    @contextmanager
    def opened(self, folder: Path, total: int, title: str) -> Iterator[None]:
        """Write to a folder for the time of a ``with`` block, from the present image count on.

        Args:
            folder: Where ``log.jsonl`` and ``tensorboard/`` lie.
            total: Images of the whole training.
            title: Name of the progress bar.
        """
        cut_log(folder / NAME, self.images)
        writer = SummaryWriter(str(folder / "tensorboard"), purge_step=self.images + 1)
        bar = tqdm(total=total, initial=self.images, unit="img", desc=title, smoothing=0.05)
        self._started, self._last_images = time.perf_counter(), self.images
        with writer, bar, open(folder / NAME, "a", encoding="utf-8") as lines:
            self._lines, self._writer, self._bar = lines, writer, bar
            try:
                yield
            finally:
                self._lines = self._writer = self._bar = None

    def step(self, images: int, loss: float, norm: float, rate: float) -> None:
        """Record one step."""
        before, self.images = self.images, images
        self.loss_sum, self.loss_count = self.loss_sum + loss, self.loss_count + 1
        if self._bar is not None:
            self._bar.update(images - before)
        if not crossed(before, images, self.every):
            return
        now = time.perf_counter()
        speed = (images - self._last_images) / max(now - self._started, 1e-9)
        mean = self.loss_sum / self.loss_count
        self._write(images, {"loss": mean, "lr": rate, "grad_norm": norm, "images_per_second": speed})
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{mean:.4g}", refresh=False)
        self.loss_sum, self.loss_count, self._started, self._last_images = 0.0, 0, now, images

    def validation(self, images: int, value: float) -> None:
        """Record a validation."""
        self._write(images, {"validation_loss": value})

    def _write(self, images: int, values: dict[str, Any]) -> None:
        if self._lines is None or self._writer is None:
            return
        self._lines.write(json.dumps({"time": time.time(), "images": images, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)
