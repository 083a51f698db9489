# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""From a piece of work to its fields."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import nvtx
import torch
from torch import Tensor

from physicsnemo_fs.data.types import Batch, Channel, DownscalingDataset
from physicsnemo_fs.diffusion.residual import assemble_condition
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.io.fields import Fields, fields_of
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.pipelines.generation.memory import Portions
from physicsnemo_fs.pipelines.generation.plan import Piece
from physicsnemo_fs.pipelines.member_sources import MemberSource
from physicsnemo_fs.pipelines.stages import Mean, to_device
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
        batch: Their samples of the dataset.
        condition: Conditions of both networks.
        mean: The mean, if there is one.
        encoded: What the source of members makes of both, once for all members.
    """

    times: range
    batch: Batch
    condition: Tensor
    mean: Tensor | None
    encoded: Tensor | None


@dataclass(frozen=True)
class Made:
    """A sampled piece, still normalised.

    Args:
        piece: The piece.
        situation: Its times.
        members: Its members, time by time, ``[sample, channel, y, x]``.
    """

    piece: Piece
    situation: Situation
    members: Tensor


class PieceSampler:
    """Samples pieces one after the other. Neighbours of one time share its conditions and its mean.

    Args:
        job: What is generated.
        batch: Samples a network call; halved when the memory is exhausted.
    """

    def __init__(self, job: Job, batch: int):
        self.job, self.portions = job, Portions(batch)
        self._last: Situation | None = None

    @torch.no_grad()
    def sample(self, piece: Piece, watch: Callable[[], None] | None = None) -> Made:
        """Make the members of a piece.

        Args:
            piece: The piece.
            watch: Called before every evaluation of the network; what it raises ends the sampling.
        """
        job = self.job
        with autocast(job.ranks.device, job.precision):
            with nvtx.annotate("condition"):
                situation = self._situation(piece.times)
            keys = job.keys(piece)
            which = torch.arange(len(keys), device=situation.condition.device) // len(piece.members)
            mean, condition, encoded = situation.mean, situation.condition, situation.encoded

            def members(part: slice) -> Tensor:
                rows = which[part]
                shared = (mean, encoded, situation.batch.lead_time)
                own_mean, own_encoded, hours = (None if one is None else one[rows] for one in shared)
                return job.source.members(own_mean, condition[rows], keys[part], watch, own_encoded, hours)

            with nvtx.annotate("sample"):
                return Made(piece, situation, self.portions.run(members, len(keys)))

    def fields(self, made: Made) -> Fields:
        """Give the fields of a piece in physical units, with their places. May run in another thread."""
        job, piece, situation = self.job, made.piece, made.situation
        outputs, inputs = job.dataset.output_channels, job.dataset.input_channels
        members = _physical(made.members, outputs).reshape(
            len(piece.times), len(piece.members), *made.members.shape[1:]
        )
        found: Fields = []
        for i, time in enumerate(piece.times):
            once = {}
            if piece.has_fields:
                batch, mean = situation.batch, situation.mean
                once = {
                    "input": _physical(situation.condition[i, : len(inputs)], inputs),
                    "input_native": _physical(batch.coarse[i], inputs),
                    "truth": _truth(batch, i, outputs) if job.spec.has_truth else None,
                    "regression": _physical(mean[i], outputs) if job.spec.has_regression and mean is not None else None,
                }
            found += fields_of(job.spec, time, members[i], piece.members, **once)
        return found

    def _situation(self, times: range) -> Situation:
        if self._last is not None and self._last.times == times:
            return self._last
        job, dataset = self.job, self.job.dataset
        batch = to_device(dataset.fetch([int(job.chosen[t]) for t in times]), job.ranks.device)
        condition = assemble_condition(batch.coarse, batch.invariants, dataset.coarse_grid, dataset.grid)
        mean_of = job.mean
        mean = None if mean_of is None else self.portions.run(lambda part: mean_of(None, condition[part]), len(times))
        self._last = Situation(times, batch, condition, mean, job.source.encode(mean, condition))
        return self._last


def has_regression(mean: Mean | None) -> bool:
    """Whether a mean is a regression, which the file shows."""
    return isinstance(mean, torch.nn.Module)


def _physical(values: Tensor, channels: tuple[Channel, ...]) -> np.ndarray:
    """Denormalise ``[..., channel, y, x]``. By numpy: torch has a pool of threads of its own for each thread."""
    exact = values.detach().cpu().numpy().astype(np.float64)
    physical = np.empty(exact.shape, np.float32)
    for i, channel in enumerate(channels):
        physical[..., i, :, :] = channel.denormalize(exact[..., i, :, :])
    return physical


def _truth(batch: Batch, sample: int, channels: tuple[Channel, ...]) -> np.ndarray | None:
    """Denormalise a sample's truth, NaN where it is not known."""
    if batch.target is None:
        return None
    truth = _physical(batch.target[sample], channels)
    return truth if batch.valid is None else np.where(batch.valid[sample].cpu().numpy(), truth, np.float32(np.nan))
