# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Kolmogorov flow as a downscaling problem: windows of coarse vorticity in, fine vorticity out."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physicsnemo_fs.data.flow.coarsening import Coarsening, check_coarsening, coarse_grid, coarsen
from physicsnemo_fs.data.flow.symmetry import KolmogorovSymmetry, apply_symmetries
from physicsnemo_fs.data.normalize import Moments
from physicsnemo_fs.data.types import Batch, Channel, Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.resample import fourier_resample

EPOCH = np.datetime64("2000-01-01", "ns")
"""Start of trajectory 0; each trajectory starts a day after the one before, and a flow time unit is a
second."""

DAY_SECONDS = 86400


@runtime_checkable
class FieldSource(Protocol):
    """Where vorticity trajectories come from.

    Attributes:
        grid_size: Nodes along each axis of the stored fields.
        trajectory_ids: Label of each trajectory.
        seconds: Time of each frame within its trajectory, in flow time units.
        training_interval: Time between frames of the training split.
        forcing_mode: Wavenumber of the force.
        moments: Moments of the stored values of the training split.
    """

    grid_size: int
    trajectory_ids: Int[np.ndarray, " trajectory"]
    seconds: Float[np.ndarray, " time"]
    training_interval: float
    forcing_mode: int
    moments: Moments

    def read(
        self, trajectories: Int[np.ndarray, " sample"], frames: Int[np.ndarray, "sample frame"]
    ) -> Float[Tensor, "sample frame y x"]:
        """Give frames, float32, rows along y."""
        ...


class KolmogorovDataset:
    r"""Pairs of a window of coarse frames and the fine frame in its middle.

    Everything is a view of one stored truth :math:`\omega`: the fine field at any resolution is its spectral
    truncation, and the coarse frames are computed from the stored grid, so that they are the same whatever
    the resolution asked for. Normalisation uses the training split's mean and standard deviation on its
    stored grid, which by Parseval's identity do not depend on the grid either.

    Args:
        source: Stored trajectories, for example :class:`physicsnemo_fs.data.flow.store.KolmogorovStore`.
        resolution: Fine grid size; ``None`` is the stored one.
        coarse_size: Coarse grid size.
        coarsening: How the coarse frames are made, see :func:`physicsnemo_fs.data.flow.coarsening.coarsen`.
        window_size: Frames ``k`` on either side of the middle one.
        sample_stride: Take every so-many-th frame as the middle of a sample.
        truth_required: Refuse a resolution beyond the stored one; otherwise its samples come without target.

    Raises:
        InputError: If the sizes do not fit the stored fields, or the frames are spaced otherwise than in
            training.

    Example:
        >>> import tempfile
        >>> from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig
        >>> from physicsnemo_fs.data.flow.store import KolmogorovSplits, prepare
        >>> from physicsnemo_fs.data.flow.store_file import KolmogorovStore
        >>> flow = KolmogorovConfig(grid=32, spin_up=(), trajectories=2, frames=4)
        >>> paths = prepare(tempfile.mkdtemp(), KolmogorovSplits(flow, flow, flow), progress=False)
        >>> dataset = KolmogorovDataset(KolmogorovStore(paths["train"]), 16, coarse_size=4, window_size=1)
        >>> batch = dataset.fetch([0, 3])
        >>> len(dataset), tuple(batch.coarse.shape), tuple(batch.target.shape)
        (4, (2, 3, 4, 4), (2, 1, 16, 16))
    """

    thread_safe = True

    def __init__(
        self,
        source: FieldSource,
        resolution: int | None = None,
        coarse_size: int = 8,
        coarsening: Coarsening = "cell_average",
        window_size: int = 0,
        sample_stride: int = 1,
        truth_required: bool = True,
    ):
        resolution = source.grid_size if resolution is None else resolution
        check_coarsening(coarsening, coarse_size, source.grid_size)
        _check_sizes(source, resolution, coarse_size, window_size, sample_stride, truth_required)
        self.source = source
        self.coarsening = coarsening
        self.coarse_size = coarse_size
        self.window_size = window_size
        self._middle_frames = np.arange(window_size, len(source.seconds) - window_size, sample_stride)
        stored = Grid((source.grid_size,) * 2, (2 * math.pi, 2 * math.pi))
        self.grid = stored.at((resolution, resolution))
        self.coarse_grid = coarse_grid(stored, coarse_size, coarsening)
        self.input_is_average = coarsening == "cell_average"
        self.output_channels: tuple[Channel, ...] = (_vorticity(source.moments, 0),)
        self.input_channels = tuple(
            _vorticity(source.moments, offset) for offset in range(-window_size, window_size + 1)
        )
        self.invariant_channels: tuple[Channel, ...] = (
            Channel("forcing_cos", long_name=f"cos({source.forcing_mode} y)"),
            Channel("forcing_sin", long_name=f"sin({source.forcing_mode} y)"),
        )
        self.times = _times(source.trajectory_ids, source.seconds[self._middle_frames])
        self.blocks = np.repeat(source.trajectory_ids, len(self._middle_frames))
        self._invariants = self._forcing()

    def __len__(self) -> int:
        return len(self.times)

    def fetch(self, indices: Sequence[int], augmentation_keys: Sequence[int] | None = None) -> Batch:
        """Give the samples of ``indices``, each under a symmetry of the flow drawn from its own key, if
        given.

        Args:
            indices: Sample ids, ordered by trajectory, then time.
            augmentation_keys: One integer per sample; the same key is the same symmetry for any resolution.

        Raises:
            InputError: If augmentation is asked for and half a forcing period is no whole number of stored
                nodes.
        """
        ids = np.asarray(indices, dtype=np.int64)
        window = self._windows(ids)
        if augmentation_keys is not None:
            window = self._augment(window, augmentation_keys)
        coarse = coarsen(window, self.coarse_size, self.coarsening)
        channel = self.output_channels[0]
        target = self._truth(window[:, self.window_size : self.window_size + 1])
        return Batch(
            coarse=channel.normalize(coarse),
            invariants=self._invariants.expand(len(ids), -1, -1, -1),
            target=None if target is None else channel.normalize(target),
            index=torch.from_numpy(ids),
        )

    def _truth(self, stored: Float[Tensor, "sample 1 y x"]) -> Float[Tensor, "sample 1 new_y new_x"] | None:
        if self.grid.shape[0] > self.source.grid_size:
            return None
        return stored if self.grid.shape == stored.shape[-2:] else fourier_resample(stored, self.grid.shape)

    def _windows(self, ids: Int[np.ndarray, " sample"]) -> Float[Tensor, "sample frame y x"]:
        trajectories, positions = np.divmod(ids, len(self._middle_frames))
        offsets = np.arange(-self.window_size, self.window_size + 1)
        return self.source.read(trajectories, self._middle_frames[positions][:, None] + offsets)

    def _augment(self, window: Tensor, keys: Sequence[int]) -> Float[Tensor, "sample frame y x"]:
        mode = self.source.forcing_mode
        symmetries = [KolmogorovSymmetry.draw(int(key), self.source.grid_size, mode) for key in keys]
        return apply_symmetries(window, symmetries, mode)

    def _forcing(self) -> Float[Tensor, "1 2 y x"]:
        phase = torch.from_numpy(self.source.forcing_mode * self.grid.y)
        waves = torch.stack([phase.cos(), phase.sin()]).float()
        return waves[None, :, :, None].expand(1, 2, *self.grid.shape).contiguous()


def _vorticity(moments: Moments, offset: int) -> Channel:
    name = f"vorticity@{offset:+d}" if offset else "vorticity"
    return Channel(name, "s-1", moments.mean, moments.std, long_name="vorticity")


def _times(trajectory_ids: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    days = trajectory_ids.astype("timedelta64[D]")
    within_day = np.round(seconds * 1e9).astype("timedelta64[ns]")
    return (EPOCH + days[:, None] + within_day[None, :]).ravel()


def _check_sizes(
    source: FieldSource, resolution: int, coarse_size: int, window: int, stride: int, truth_required: bool
) -> None:
    if resolution < coarse_size or (truth_required and resolution > source.grid_size):
        raise InputError(
            f"resolution must lie between the coarse grid {coarse_size} and the stored grid "
            f"{source.grid_size}: got {resolution}; reduce it or store a finer truth"
        )
    if window < 0 or 2 * window >= len(source.seconds) or stride < 1:
        raise InputError(
            f"2 * window_size must be below the {len(source.seconds)} frames of a trajectory, and "
            f"sample_stride positive: got window_size {window} and sample_stride {stride}; reduce window_size"
        )
    interval = float(np.diff(source.seconds[:2])[0]) if window else source.training_interval
    if not math.isclose(interval, source.training_interval):
        raise InputError(
            f"frames of a window must be spaced as in training, {source.training_interval:g} apart: got "
            f"{interval:g}; give all splits the same interval or set window_size=0"
        )
    if source.seconds[-1] >= DAY_SECONDS:
        raise InputError(
            f"a trajectory must be shorter than {DAY_SECONDS} flow time units, one day: got "
            f"{source.seconds[-1]:g}; record fewer frames"
        )
