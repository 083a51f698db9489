# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training states: what a training continues from, which of them are kept, and what to do about damaged ones."""

import hashlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.pipelines.archives import load_tensors
from physicsnemo_fs.pipelines.checkpoints import image_count, newest_first

FORMAT = "physicsnemo_fs training state 1"
PATTERN = "checkpoint.0.*.pt"
KEYS = (
    "run",
    "network",
    "average",
    "average_updates",
    "optimizer",
    "images",
    "best",
    "best_images",
    "bad_validations",
    "stopped_early",
    "running_loss",
)
"""What a training state holds."""
DAMAGED = ".damaged"

log = logging.getLogger(__name__)


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state (tensors and plain types) atomically, with a checksum of its content."""
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, "sha256": digest(state), "state": state}, temporary)


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a training state.

    Raises:
        InputError: If the file is damaged, is no training state, or holds anything but tensors and plain types.
    """
    if not path.is_file():
        raise InputError(f"the training state {path} is no file")
    found = load_tensors(path, f"the training state {path}", device)
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("state"), dict):
        raise InputError(f"{path} is no training state of this program ({FORMAT}); remove it")
    if digest(found["state"]) != found.get("sha256"):
        raise InputError(f"the training state {path} is damaged: its checksum differs")
    return found["state"]


def digest(value: Any) -> str:
    """Give the SHA-256 of nested dictionaries, lists and tuples of tensors and plain values.

    Example:
        >>> digest({"a": torch.zeros(2)}) == digest({"a": torch.zeros(2)}) != digest({"a": torch.zeros(3)})
        True
    """
    found = hashlib.sha256()
    for part in _parts(value):
        found.update(part)
    return found.hexdigest()


def _parts(value: Any) -> Iterator[bytes | memoryview]:
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(value, dict):
        yield f"{{{len(value)}".encode()
        for key, entry in value.items():
            yield f"{key!r}:".encode()
            yield from _parts(entry)
    elif isinstance(value, list | tuple):
        yield f"[{len(value)}".encode()
        for entry in value:
            yield from _parts(entry)
    else:
        yield f"{value!r},".encode()


@dataclass(frozen=True)
class States:
    """The training states of one stage's folder.

    Args:
        folder: Where they lie.
        resume: ``auto`` continues from the newest, ``latest_good`` from the newest that is good, ``never`` from none.
        run: What they must have been written for.
    """

    folder: Path
    resume: str = "auto"
    run: str = ""

    def path(self, images: int) -> Path:
        """Give the path of the state after ``images`` images."""
        return self.folder / f"checkpoint.0.{images}.pt"

    def set_aside_damaged(self) -> None:
        """With ``resume=latest_good``, rename the states that are newer than the last good one.

        Raises:
            InputError: If there are states, but none is whole and of this run.
        """
        if self.resume != "latest_good":
            return
        there = newest_first(self.folder, PATTERN)
        bad = []
        for path in there:
            if self._is_good(path):
                break
            bad.append(path)
        if there and len(bad) == len(there):
            raise InputError(f"none of the {len(there)} training states in {self.folder} is good; remove the folder")
        for path in bad:
            path.replace(path.with_name(path.name + DAMAGED))
            log.warning("%s is damaged or of another run: set aside as %s%s", path, path.name, DAMAGED)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Give the newest state, or nothing if there is none.

        Raises:
            InputError: If it is damaged, incomplete or of another run, naming the last good one; or if there is one and
                ``resume=never``.
        """
        there = newest_first(self.folder, PATTERN)
        if not there:
            return None
        if self.resume == "never":
            raise InputError(
                f"training.io.resume=never, but {self.folder} holds a training as far as image "
                f"{image_count(there[0])}; choose another run_dir"
            )
        try:
            return self._read(there[0], device)
        except InputError as error:
            good = next((path for path in there[1:] if self._is_good(path)), None)
            advice = f"the last good one is {good}: training.io.resume=latest_good continues from it"
            raise InputError(f"{error}; {advice if good else 'there is no older one: remove the folder'}") from error

    def _read(self, path: Path, device: torch.device) -> dict[str, Any]:
        state = load_state(path, device)
        if missing := [key for key in KEYS if key not in state]:
            raise InputError(f"the training state {path} is incomplete: it holds no {missing[0]}")
        if state["run"] != self.run:
            raise InputError(f"the training state {path} is of another run ({state['run']}, not {self.run})")
        return state

    def _is_good(self, path: Path) -> bool:
        try:
            self._read(path, torch.device("cpu"))
        except InputError:
            return False
        return True

    def image_counts(self) -> list[int]:
        """Give the image counts of the states that are there."""
        return [count for path in newest_first(self.folder, PATTERN) if (count := image_count(path)) is not None]

    def keep(self, count: int) -> None:
        """Remove all but the ``count`` newest states."""
        for path in newest_first(self.folder, PATTERN)[count:]:
            path.unlink()


def keep_networks(folder: Path, name: str, images: Collection[int]) -> None:
    """Remove the networks of class ``name`` whose image counts are not among ``images``."""
    for path in newest_first(folder, f"{name}.0.*.mdlus"):
        if image_count(path) not in images:
            path.unlink()
