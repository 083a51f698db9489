# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What makes the members of an ensemble: diffusion, the mean alone, or a mean dressed with a Gaussian field."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.config import GenerateConfig, SamplerConfig
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.types import Channel, DownscalingDataset
from physicsnemo_fs.diffusion.dressing import DressedMean, fit_dressing
from physicsnemo_fs.diffusion.patching import ALONE, LazyCondition, WindowedSampler, sampler_for
from physicsnemo_fs.diffusion.sampling import Churn, ResidualSampler
from physicsnemo_fs.diffusion.strips import Strips, Team
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.windowed import has_windows
from physicsnemo_fs.nn.windows import WindowGrid
from physicsnemo_fs.pipelines.assembly import open_dataset, relative_extent
from physicsnemo_fs.pipelines.corrdiff_networks import CorrDiffDenoiser
from physicsnemo_fs.pipelines.stages import Mean, regression_channels, truth_and_mean

DRESSING_BATCH = 32
DRESSING_SAMPLES = 256
"""Most validation samples that a dressing is fitted to."""


Watch = Callable[[], None] | None


Condition = Tensor | LazyCondition
"""Conditions of the whole domain: as a field, or given by windows."""


class MemberSource(Protocol):
    """Makes members of an ensemble.

    Attributes:
        evaluations: Network evaluations a member, that of the mean not counted.
        takes_field: Whether it needs the conditions as a field.
    """

    evaluations: int
    takes_field: bool

    def members(
        self,
        mean: Float[Tensor, "batch channel height width"] | None,
        condition: Condition,
        keys: list[int],
        watch: Watch = None,
        encoded: Tensor | None = None,
        lead_time: Tensor | None = None,
    ) -> Float[Tensor, "batch channel height width"]:
        """Give one normalised member for each mean, condition and key.

        Args:
            mean: The mean, if there is one.
            condition: Conditions of both networks.
            keys: Keys of the noise.
            watch: Called before every evaluation.
            encoded: What :meth:`encode` gave, for each sample.
            lead_time: Lead time of each sample in hours, if the data has one.
        """
        ...

    def encode(self, mean: Tensor | None, condition: Condition) -> Tensor | None:
        """Do once for the members of a time what need not be done for each; ``None`` if there is nothing."""
        ...

    def windows(self, shape: tuple[int, int]) -> WindowGrid | None:
        """Give the windows that members of a domain are made of; ``None`` for whole fields."""
        ...

    def shared_by(self, team: Team) -> "MemberSource":
        """Give the source whose means and members are this process's rows of a team's."""
        ...


class _Immediate(MemberSource):
    evaluations = 0
    takes_field = False

    def encode(self, mean: Tensor | None, condition: Condition) -> None:
        """Do nothing: there is nothing to share."""

    def windows(self, shape: tuple[int, int]) -> WindowGrid | None:
        """Give none: what is added to the mean is a field of the whole domain."""
        return None

    def shared_by(self, team: Team) -> MemberSource:
        """Give itself: what it makes of rows are rows."""
        return self


class RegressionOnly(_Immediate):
    """The mean itself.

    Args:
        mean: What gives it.
    """

    def __init__(self, mean: Mean | None = None):
        self.mean = mean

    def windows(self, shape: tuple[int, int]) -> WindowGrid | None:
        """Give the windows of a mean of windows."""
        return mean_windows(self.mean, shape)

    def members(
        self,
        mean: Tensor | None,
        condition: Condition,
        keys: list[int],
        watch: Watch = None,
        encoded: Tensor | None = None,
        lead_time: Tensor | None = None,
    ) -> Tensor:
        """Give one member for each mean."""
        assert mean is not None  # noqa: S101 - _load_networks loads the regression in this mode
        return mean


class Diffused(MemberSource):
    """The mean and a sample of what it misses.

    Args:
        sampler: Samples residuals.
        with_mean: Whether the denoiser takes the mean as a condition.
    """

    takes_field = True

    def __init__(self, sampler: ResidualSampler, with_mean: bool):
        self.sampler, self.with_mean = sampler, with_mean
        self.evaluations = sampler.evaluations

    def members(
        self,
        mean: Tensor | None,
        condition: Condition,
        keys: list[int],
        watch: Watch = None,
        encoded: Tensor | None = None,
        lead_time: Tensor | None = None,
    ) -> Tensor:
        """Give one member for each mean."""
        assert isinstance(condition, Tensor)  # noqa: S101 - takes_field
        if encoded is None:
            condition = self._given(mean, condition)
        residual = self.sampler.sample(condition, keys, watch, encoded, lead_time)
        return residual if mean is None else mean + residual

    def encode(self, mean: Tensor | None, condition: Condition) -> Tensor | None:
        """Give the denoiser's conditions on the grid that it works on."""
        assert isinstance(condition, Tensor)  # noqa: S101 - takes_field
        encode = getattr(self.sampler.denoiser, "encode", None)
        return None if encode is None else encode(self._given(mean, condition))

    def windows(self, shape: tuple[int, int]) -> WindowGrid | None:
        """Give none."""
        return None

    def shared_by(self, team: Team) -> MemberSource:
        """Give itself, of a team of one."""
        return self

    def _given(self, mean: Tensor | None, condition: Tensor) -> Tensor:
        return torch.cat([mean, condition], dim=1) if self.with_mean and mean is not None else condition


class DiffusedByWindows(_Immediate):
    """The mean and a sample of what it misses, fused of windows at every noise level.

    With a team, means are this process's rows, and so are members.

    Args:
        sampler: Samples residuals.
        with_mean: Whether the denoiser takes the mean as a condition.
        team: Processes that make every member together.
    """

    def __init__(self, sampler: WindowedSampler, with_mean: bool, team: Team = ALONE):
        self.sampler, self.with_mean, self.team = sampler, with_mean, team
        self.evaluations = sampler.evaluations

    def members(
        self,
        mean: Tensor | None,
        condition: Condition,
        keys: list[int],
        watch: Watch = None,
        encoded: Tensor | None = None,
        lead_time: Tensor | None = None,
    ) -> Tensor:
        """Give one member for each mean, or its rows."""
        assert isinstance(condition, LazyCondition)  # noqa: S101 - not takes_field
        if self.with_mean and mean is not None:
            strips = Strips(self.windows((condition.shape[2], condition.shape[3])), self.team)
            band = mean if self.team.size == 1 else strips.extended(mean)
            condition = condition.with_mean(band, None if self.team.size == 1 else strips.own[0])
        residual = self.sampler.sample(condition, keys, watch, lead_time=lead_time, team=self.team)
        return residual if mean is None else residual.add_(mean)

    def windows(self, shape: tuple[int, int]) -> WindowGrid:
        """Give the windows of the denoiser."""
        return self.sampler.denoiser.windows(shape)

    def shared_by(self, team: Team) -> MemberSource:
        """Give the source of this process's rows."""
        return DiffusedByWindows(self.sampler, self.with_mean, team)


def mean_windows(mean: Mean | None, shape: tuple[int, int]) -> WindowGrid | None:
    """Give the windows that a mean is made of; ``None`` for a mean of whole fields."""
    return mean.windows(shape) if has_windows(mean) else None


class Dressed(_Immediate):
    """The mean and a Gaussian field."""

    def __init__(self, dressing: DressedMean):
        self.dressing = dressing

    def members(
        self,
        mean: Tensor | None,
        condition: Condition,
        keys: list[int],
        watch: Watch = None,
        encoded: Tensor | None = None,
        lead_time: Tensor | None = None,
    ) -> Tensor:
        """Give one member for each mean."""
        assert mean is not None  # noqa: S101 - _load_networks loads the regression in this mode
        return self.dressing.sample(mean, keys)


def make_sampler(config: SamplerConfig, denoiser: CorrDiffDenoiser | FSEDMPrecondSR) -> ResidualSampler:
    """Give the sampler that ``sampler.*`` describes, for a denoiser of whole fields or of windows."""
    return sampler_for(
        denoiser,
        solver=config.solver,
        num_steps=config.num_steps,
        schedule=config.schedule,
        sigma_min=config.sigma_min,
        sigma_max=config.sigma_max,
        rho=config.rho,
        churn=Churn(config.S_churn, config.S_min, math.inf if config.S_max is None else config.S_max, config.S_noise),
    )


def member_source(
    config: GenerateConfig,
    mean: Mean | None,
    denoiser: CorrDiffDenoiser | FSEDMPrecondSR | None,
    dataset: DownscalingDataset,
    channels: Mapping[str, Channel] | None,
    ranks: Ranks,
) -> MemberSource:
    """Give what makes members in ``generation.inference_mode``; dressings are fitted on the validation split.

    Args:
        config: The whole configuration.
        mean: Regression, or what stands for it.
        denoiser: The residual's denoiser, where the mode needs one.
        dataset: What is generated; any region of it.
        channels: Normalisation of the networks, if they bring it.
        ranks: This process.
    """
    mode = config.generation.inference_mode
    if mode == "regression":
        return RegressionOnly(mean)
    if mode.startswith("dressed"):
        assert mean is not None  # noqa: S101 - the regression is loaded in these modes
        validation = open_dataset(
            config.dataset, Opening("validation", channels=channels, ranks=ranks, simulate=not config.dry_run)
        )
        ids = evenly_spread(len(validation), min(len(validation), DRESSING_SAMPLES))
        pairs = truth_and_mean(mean, validation, ids, DRESSING_BATCH, ranks.device)
        return Dressed(fit_dressing(pairs, relative_extent(validation), validation.grid.boundary))
    assert denoiser is not None  # noqa: S101 - the denoiser is loaded in these modes
    conditions, _ = regression_channels(dataset)
    sampler, with_mean = make_sampler(config.sampler, denoiser), denoiser.img_in_channels != conditions
    if isinstance(sampler, WindowedSampler):
        return DiffusedByWindows(sampler, with_mean)
    return Diffused(sampler, with_mean)
