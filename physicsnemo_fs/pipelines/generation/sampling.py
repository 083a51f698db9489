# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From a piece of work to its fields."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import nvtx
import torch
from torch import Tensor

from physicsnemo_fs.data.types import Batch, Channel, DownscalingDataset
from physicsnemo_fs.diffusion.patching import ALONE, LazyCondition, chosen
from physicsnemo_fs.diffusion.residual import assemble_condition, interpolate_coarse
from physicsnemo_fs.diffusion.strips import Strips, Team
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.fields import Field, fields_of
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.models.windowed import has_windows
from physicsnemo_fs.pipelines.generation.memory import Portions
from physicsnemo_fs.pipelines.generation.plan import Piece
from physicsnemo_fs.pipelines.member_sources import Condition, MemberSource, mean_windows
from physicsnemo_fs.pipelines.stages import Mean, labels_of, to_device
from physicsnemo_fs.precision import autocast
from physicsnemo_fs.random import member_key


@dataclass(frozen=True)
class Job:
    """What is generated: one file.

    Args:
        dataset: The data.
        chosen: Positions of the times in the dataset.
        spec: What the file holds.
        mean: The mean, if there is one.
        source: What makes the members.
        region: Name of the region, which the noise depends on.
        precision: ``perf.fp_optimizations``.
        ranks: This process.
    """

    dataset: DownscalingDataset
    chosen: np.ndarray
    spec: EnsembleSpec
    mean: Mean | None
    source: MemberSource
    region: str | None
    precision: str
    ranks: Ranks

    def keys(self, piece: Piece) -> list[int]:
        """Give the key of each sample of a piece: a function of seed, time and region."""
        place = () if self.region is None else (self.region,)
        return [
            member_key(self.spec.member_seeds[member], str(self.dataset.times[self.chosen[time]]), *place)
            for time in piece.times
            for member in piece.members
        ]


@dataclass(frozen=True)
class Situation:
    """What the members of some times have in common.

    Args:
        times: The times.
        condition: Conditions of both networks, as a field where one of them needs it.
        mean: The mean, if there is one; of a team this process's rows.
        encoded: What the source of members makes of both, once for all members.
        lead_time: Lead time of each time, if the data has one.
    """

    times: range
    condition: Condition
    mean: Tensor | None
    encoded: Tensor | None
    lead_time: Tensor | None


@dataclass(frozen=True)
class Made:
    """A sampled piece, still normalised.

    Args:
        piece: The piece.
        members: Its members, time by time, ``[sample, channel, y, x]``.
        batch: Samples of the dataset at its times, if it holds what a time has once; not kept beside windows, whose
            domain has no room for it: it is read again.
        mean: The mean of each time, if it holds that too.
    """

    piece: Piece
    members: Tensor
    batch: Batch | None = None
    mean: Tensor | None = None


class PieceSampler:
    """Samples pieces one after the other. Neighbours of one time share its conditions and its mean.

    Args:
        job: What is generated.
        batch: Samples a network call; halved when the memory is exhausted, unless processes work together.
        team: Processes that make every piece together.
    """

    def __init__(self, job: Job, batch: int, team: Team = ALONE):
        self.job, self.portions, self.team = job, Portions(batch), team
        self.source = job.source.shared_by(team)
        self._last: Situation | None = None

    @torch.no_grad()
    def sample(self, piece: Piece, watch: Callable[[], None] | None = None) -> Made | None:
        """Make the members of a piece; ``None`` on a process whose team's first one has them.

        Args:
            piece: The piece.
            watch: Called before every evaluation of the network; what it raises ends the sampling.
        """
        job = self.job
        with nvtx.annotate("condition"):
            situation, batch = self._situation(piece)
        keys = job.keys(piece)
        which = torch.arange(len(keys), device=job.ranks.device) // len(piece.members)

        def members(part: slice) -> Tensor:
            rows = which[part]
            shared = (situation.mean, situation.encoded, situation.lead_time)
            mean, encoded, hours = (None if one is None else chosen(one, rows) for one in shared)
            return self.source.members(mean, situation.condition[rows], keys[part], watch, encoded, hours)

        with nvtx.annotate("sample"):
            with autocast(job.ranks.device, job.precision):
                made = self._run(members, len(keys))
            mean = situation.mean if piece.has_fields else None
            return self._gathered(Made(piece, made, batch, mean))

    def fields(self, made: Made) -> Iterator[Field]:
        """Give the fields of a piece in physical units, with their places. May run in another thread."""
        job, piece = self.job, made.piece
        outputs = job.dataset.output_channels
        nothing = np.empty((0, len(outputs), *job.spec.grid.shape), np.float32)
        for i, time in enumerate(piece.times):
            for j, member in enumerate(piece.members):
                values = _physical(made.members[i * len(piece.members) + j], outputs)
                yield from fields_of(job.spec, time, values[None], [member])
        if not piece.has_fields:
            return
        batch = self._fetched(piece.times) if made.batch is None else made.batch
        for i, time in enumerate(piece.times):
            for name in job.spec.field_groups:
                yield from fields_of(job.spec, time, nothing, (), **{name: self._once(name, batch, made, i)})

    def _fetched(self, times: range) -> Batch:
        return self.job.dataset.fetch([int(self.job.chosen[t]) for t in times])

    def _once(self, name: str, batch: Batch, made: Made, i: int) -> np.ndarray | None:
        """Give one of the groups of fields that a time has once."""
        dataset = self.job.dataset
        if name == "truth":
            return _truth(batch, i, dataset.output_channels)
        if name == "regression":
            return None if made.mean is None else _physical(made.mean[i], dataset.output_channels)
        coarse = batch.coarse[i : i + 1]
        if name == "input":
            coarse = interpolate_coarse(coarse, dataset.coarse_grid, dataset.grid)
        return _physical(coarse[0], dataset.input_channels)

    def _situation(self, piece: Piece) -> tuple[Situation, Batch | None]:
        """Give what members of a piece's times have in common, and the samples if they are written with it."""
        job, times = self.job, piece.times
        if self._last is not None and self._last.times == times and not piece.has_fields:
            return self._last, None
        batch = to_device(self._fetched(times), job.ranks.device)
        if self._last is None or self._last.times != times:
            self._last = None
            self._last = self._made_situation(times, batch)
        in_windows = job.source.windows(job.dataset.grid.shape) is not None
        return self._last, batch if piece.has_fields and not in_windows else None

    def _made_situation(self, times: range, batch: Batch) -> Situation:
        job, dataset = self.job, self.job.dataset
        lazy = LazyCondition.on_grids(batch.coarse, batch.invariants, dataset.coarse_grid, dataset.grid)
        condition: Condition = lazy
        if job.source.takes_field or (job.mean is not None and not has_windows(job.mean)):
            condition = assemble_condition(batch.coarse, batch.invariants, dataset.coarse_grid, dataset.grid)
        mean = self._mean(condition, labels_of(job.mean, batch), len(times))
        if not job.source.takes_field:
            condition = lazy
        with autocast(job.ranks.device, job.precision):
            encoded = job.source.encode(mean, condition)
        return Situation(times, condition, mean, encoded, batch.lead_time)

    def _mean(self, condition: Condition, labels: dict[str, Tensor], times: int) -> Tensor | None:
        """Give the mean in full precision, as the denoiser has learnt its residuals; of a team this process's rows."""
        mean = self.job.mean
        if mean is None:
            return None
        if isinstance(condition, Tensor):

            def part_of(part: slice) -> Tensor:
                return mean(None, condition[part], **{name: hours[part] for name, hours in labels.items()})

            found = self._run(part_of, times)
            return found if self._strips is None else found[..., slice(*self._strips.own), :].contiguous()
        if self._strips is None:
            return mean(None, condition, **labels)
        assert isinstance(mean, FSRegressionSR)  # noqa: S101 - a mean of windows is one
        strips, (first, stop) = self._strips, self._strips.own
        like = condition.coarse.new_zeros(times, mean.img_out_channels, stop - first, strips.windows.shape[1])
        return strips.fuse(mean.strips(condition, labels.get("lead_time_label"), strips.rows), like)

    @functools.cached_property
    def _strips(self) -> Strips | None:
        """How a team shares the domain."""
        if self.team.size == 1:
            return None
        windows = self.job.source.windows(self.job.dataset.grid.shape)
        own = mean_windows(self.job.mean, self.job.dataset.grid.shape)
        if windows is None or own not in (None, windows):
            raise InputError(
                "one member on several processes needs networks of the same windows: got "
                f"{'whole fields' if windows is None else windows} and {own}; give generation.ranks_per_member=1"
            )
        return Strips(windows, self.team)

    def _run(self, call: Callable[[slice], Tensor], count: int) -> Tensor:
        """Call in portions; a team's processes must all make the same ones."""
        if self.team.size == 1:
            return self.portions.run(call, count)
        size = self.portions.size
        parts = [call(slice(first, min(first + size, count))) for first in range(0, count, size)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _gathered(self, made: Made) -> Made | None:
        """Give a team's piece on its first process."""
        if self._strips is None:
            return made
        members = self._strips.gathered(made.members)
        mean = None if made.mean is None else self._strips.gathered(made.mean)
        return None if members is None else replace(made, members=members, mean=mean)


def has_regression(mean: Mean | None) -> bool:
    """Whether a mean is a regression, which the file shows."""
    return isinstance(mean, torch.nn.Module)


def _physical(values: Tensor, channels: tuple[Channel, ...]) -> np.ndarray:
    """Denormalise ``[..., channel, y, x]``. By numpy: torch has a pool of threads of its own for each thread."""
    normalised = values.detach().cpu().numpy()
    physical = np.empty(normalised.shape, np.float32)
    for i, channel in enumerate(channels):
        physical[..., i, :, :] = channel.denormalize(normalised[..., i, :, :].astype(np.float64))
    return physical


def _truth(batch: Batch, sample: int, channels: tuple[Channel, ...]) -> np.ndarray | None:
    """Denormalise a sample's truth, NaN where it is not known."""
    if batch.target is None:
        return None
    truth = _physical(batch.target[sample], channels)
    return truth if batch.valid is None else np.where(batch.valid[sample].cpu().numpy(), truth, np.float32(np.nan))
