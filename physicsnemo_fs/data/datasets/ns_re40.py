# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The published Kolmogorov flow at Re 40, ``2D_NS_Re40.npy`` (Zenodo record 7495555), as a source of
fields."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physicsnemo_fs.data.flow.store import Split
from physicsnemo_fs.data.normalize import Moments
from physicsnemo_fs.errors import InputError

FORCING_MODE = 4
"""The published flow is forced by -4 cos(4 y)."""

STATISTICS_STRIDE = 10
"""Every so-many-th frame enters the training statistics."""

PROBE_FRAMES = 32
"""Frames that are looked at to find the axis along which the force varies."""


class NSRe40Source:
    """Trajectories of the published file, split by trajectory, read through a memory map.

    The file holds vorticity ``[trajectory, step, x, y]`` (200 x 500 x 64 x 64), the force varying along its
    last axis; frames are given as ``[y, x]``. Values are checked when they are read.

    Args:
        path: The file.
        split: ``"train"``, ``"validation"`` or ``"test"``: the first, next and last trajectories.
        train_fraction: Share of the trajectories for training.
        validation_fraction: Share for validation; the rest is for testing.
        skip_steps: Steps at the start of each trajectory that are left out; the first is a random field.
        stride: Take every so-many-th step.
        interval: Flow time between steps of the file.
        axes: Order of the file's last two axes.

    Attributes:
        grid_size: Nodes along each axis.
        trajectory_ids: Position of each trajectory in the file.
        seconds: Time of each frame since the start of its trajectory.
        training_interval: Time between the frames that are taken.
        forcing_mode: Wavenumber of the force, 4.
        moments: Moments of the training split, from every tenth frame.

    Raises:
        InputError: If the file is missing or not of this kind, a split is empty, or the force varies along
            the other axis.
    """

    def __init__(
        self,
        path: str | Path,
        split: Split,
        train_fraction: float = 0.8,
        validation_fraction: float = 0.1,
        skip_steps: int = 1,
        stride: int = 1,
        interval: float = 1.0,
        axes: Literal["xy", "yx"] = "xy",
    ):
        self.path = Path(path)
        self.axes = axes
        self._fields = _memory_map(self.path)
        trajectories, steps, self.grid_size = self._fields.shape[:3]
        bounds = _split_bounds(trajectories, train_fraction, validation_fraction)
        self.trajectory_ids: Int[np.ndarray, " trajectory"] = np.arange(*bounds[split])
        self._steps = _taken_steps(steps, skip_steps, stride)
        self.seconds: Float[np.ndarray, " time"] = interval * self._steps
        self.training_interval = interval * stride
        self.forcing_mode = FORCING_MODE
        self._check_axes()
        self.moments = self._training_moments(range(*bounds["train"]))

    def read(
        self, trajectories: Int[np.ndarray, " sample"], frames: Int[np.ndarray, "sample frame"]
    ) -> Float[Tensor, "sample frame y x"]:
        """Give frames by their position in the split.

        Raises:
            InputError: If a value is not finite.
        """
        return self._read_file(self.trajectory_ids[trajectories], self._steps[frames])

    def _read_file(self, trajectories: np.ndarray, steps: np.ndarray) -> Float[Tensor, "sample frame y x"]:
        values = np.asarray(self._fields[trajectories[:, None], steps], dtype=np.float32)
        finite = np.isfinite(values.sum(axis=(-2, -1)))
        if not finite.all():
            sample, frame = np.argwhere(~finite)[0]
            raise InputError(
                f"vorticity must be finite: {self.path} has other values in trajectory "
                f"{trajectories[sample]}, step {steps[sample, frame]}; download it again"
            )
        fields = torch.from_numpy(values)
        return fields.transpose(-1, -2).contiguous() if self.axes == "xy" else fields

    def _check_axes(self) -> None:
        trajectories = self.trajectory_ids[:PROBE_FRAMES]
        late_steps = self._steps[-max(1, PROBE_FRAMES // len(trajectories)) :]
        mean = self._read_file(trajectories, np.tile(late_steps, (len(trajectories), 1))).mean(dim=(0, 1))
        spectrum = torch.fft.fft2(mean).abs()
        if spectrum[FORCING_MODE, 0] < spectrum[0, FORCING_MODE]:
            other = "yx" if self.axes == "xy" else "xy"
            raise InputError(
                f"the mean flow must vary along y as cos({FORCING_MODE} y): in {self.path} read with axes="
                f"{self.axes!r} it varies along x; set axes={other!r}"
            )

    def _training_moments(self, trajectories: range) -> Moments:
        steps = self._steps[None, ::STATISTICS_STRIDE]
        moments = Moments()
        for trajectory in trajectories:
            moments = moments.updated(self._read_file(np.array([trajectory]), steps))
        return moments


def _memory_map(path: Path) -> np.ndarray:
    if not path.is_file():
        raise InputError(
            f"the published data must exist: {path} does not; download 2D_NS_Re40.npy from Zenodo record 7495555"
        )
    try:
        fields = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"the published data must be a whole .npy array: {path} is not ({error}); download it again"
        ) from error
    if fields.ndim != 4 or fields.shape[2] != fields.shape[3] or fields.dtype.kind != "f":
        raise InputError(
            "the published data must be floating-point [trajectory, step, 64, 64]: "
            f"{path} is {fields.dtype} {fields.shape}; give 2D_NS_Re40.npy"
        )
    return fields


def _split_bounds(trajectories: int, train: float, validation: float) -> dict[Split, tuple[int, int]]:
    first, second = round(trajectories * train), round(trajectories * (train + validation))
    bounds: dict[Split, tuple[int, int]] = {
        "train": (0, first),
        "validation": (first, second),
        "test": (second, trajectories),
    }
    if not all(0 <= start < stop for start, stop in bounds.values()):
        raise InputError(
            f"every split needs a trajectory: fractions {train} and {validation} of {trajectories} give "
            f"{bounds}; choose others"
        )
    return bounds


def _taken_steps(steps: int, skip: int, stride: int) -> Int[np.ndarray, " frame"]:
    if stride < 1 or not 0 <= skip < steps:
        raise InputError(
            f"skip_steps must be below the {steps} steps of a trajectory and stride positive: got {skip} and "
            f"{stride}; reduce skip_steps"
        )
    return np.arange(skip, steps, stride)
