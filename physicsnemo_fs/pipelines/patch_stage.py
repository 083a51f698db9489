# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training on windows of whole samples."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.config.patches import PatchConfig
from physicsnemo_fs.data.types import Batch, DownscalingDataset
from physicsnemo_fs.diffusion.noise import noise_like
from physicsnemo_fs.diffusion.patching import draw_place
from physicsnemo_fs.diffusion.residual import assemble_condition
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.domain_condition import WholeCondition
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.models.windowed import Windowed, has_windows
from physicsnemo_fs.nn.dropout import keyed_dropout
from physicsnemo_fs.nn.windows import Place, WindowGrid
from physicsnemo_fs.pipelines.stages import (
    DiffusionStage,
    Draw,
    RegressionStage,
    labels_of,
    mean_where_valid,
    require_target,
)


@dataclass(frozen=True)
class Job:
    """One window of a sample.

    Args:
        sample: Number of the sample in its batch.
        window: Number of the window.
        place: First row and column.
    """

    sample: int
    window: int
    place: Place


@dataclass(frozen=True)
class Prepared:
    """What the windows of a batch are cut from.

    Args:
        windows: Windows of the domain.
        target: What is learnt.
        condition: Conditions of the network.
        context: What every window sees of the whole domain.
        lead_time: Lead time of each sample.
        valid: Where the target is known.
        noise: Noise of the target.
    """

    windows: WindowGrid
    target: Tensor
    condition: Tensor
    context: Tensor | None
    lead_time: Tensor | None
    valid: Tensor | None
    noise: Tensor | None = None

    @classmethod
    def of(
        cls, network: Windowed, batch: Batch, target: Tensor, condition: Tensor, noise: Tensor | None = None
    ) -> "Prepared":
        """Prepare a batch for a network of windows."""
        windows = network.windows((target.shape[-2], target.shape[-1]))
        context = network.context(WholeCondition(condition), windows)
        lead_time = labels_of(network, batch).get("lead_time_label")
        return cls(windows, target, condition, context, lead_time, batch.valid, noise)

    def cut(self, field: Tensor, jobs: Sequence[Job]) -> Tensor:
        """Give the windows of a field."""
        return torch.stack([self.windows.crop(field[job.sample], job.place) for job in jobs])

    def beside(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """Give what the network sees of windows beside fields."""
        samples = [job.sample for job in jobs]
        return {
            "places": [job.place for job in jobs],
            "context": None if self.context is None else self.context[samples],
            "lead_time_label": None if self.lead_time is None else self.lead_time[samples],
        }


class _OnWindows(ABC):
    """A stage whose network sees windows: each sample's loss is the mean of its windows', differentiated in groups.

    Every draw is keyed by (seed, epoch, sample, window): neither grouping, ranks nor resuming change it.
    """

    network: Any
    dataset: DownscalingDataset
    patch_num: int
    max_patch_per_gpu: int | None

    def __post_init__(self):
        if not has_windows(self.network):
            raise InputError(
                "training on windows needs FSPatchedEDMPrecondSR, or FSRegressionSR with patch_shape: got "
                f"{type(self.network).__name__} of whole fields"
            )

    @abstractmethod
    def prepared(self, batch: Batch, draws: Sequence[Draw]) -> Prepared:
        """Make what the windows of a batch are cut from, once."""

    @abstractmethod
    def errors(
        self, network: torch.nn.Module, prepared: Prepared, draws: Sequence[Draw], jobs: Sequence[Job]
    ) -> Float[Tensor, "window channel height width"]:
        """Give the weighted squared errors of a group of windows."""

    def pieces(
        self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]
    ) -> list[Callable[[], Float[Tensor, " part"]]]:
        """Give the parts of the batch's loss, to be evaluated and differentiated one after the other.

        The values of all parts sum to the sum over samples of each sample's mean loss.
        """
        prepared = self.prepared(batch, draws)
        jobs = self.jobs(draws, prepared.windows)
        together = self.max_patch_per_gpu or len(jobs)
        groups = [jobs[first : first + together] for first in range(0, len(jobs), together)]
        return [functools.partial(self._part, network, prepared, draws, group) for group in groups]

    def losses(self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]) -> Float[Tensor, " batch"]:
        """Give each sample's loss, a mean over its windows."""
        values = torch.cat([piece() for piece in self.pieces(network, batch, draws)])
        return values.reshape(len(draws), self.patch_num).sum(dim=1)

    def jobs(self, draws: Sequence[Draw], windows: WindowGrid) -> list[Job]:
        """Give the windows of a batch, sample by sample."""
        return [
            Job(sample, window, draw_place(draw.key(f"place of window {window}"), *_cut_of(windows)))
            for sample, draw in enumerate(draws)
            for window in range(self.patch_num)
        ]

    def _part(self, network: torch.nn.Module, prepared: Prepared, draws: Sequence[Draw], jobs: Sequence[Job]) -> Tensor:
        with keyed_dropout(network, [draws[job.sample].key(f"dropout of window {job.window}") for job in jobs]):
            errors = self.errors(network, prepared, draws, jobs)
        valid = None if prepared.valid is None else prepared.cut(prepared.valid, jobs)
        return mean_where_valid(errors, valid) / self.patch_num

    def _places(self, draws: Sequence[Draw]) -> list[Place]:
        return [job.place for job in self.jobs(draws, self.network.windows(self.dataset.grid.shape))]


def _cut_of(windows: WindowGrid) -> tuple[tuple[int, int], tuple[int, int], str]:
    return windows.shape, windows.patch, windows.boundary


@dataclass
class PatchRegressionStage(_OnWindows, RegressionStage):
    r"""Learn the mean of windows, :math:`\ell = \frac1P \sum_{p=1}^P \overline{(\mu_p(y) - u|_p)^2}`.

    Args:
        patch_num: Windows of each sample.
        max_patch_per_gpu: Windows the network sees at once; all if not given.

    Raises:
        InputError: If the network is none of windows.
    """

    network: FSRegressionSR
    dataset: DownscalingDataset
    name: str = "regression"
    patch_num: int = 1
    max_patch_per_gpu: int | None = None

    def prepared(self, batch: Batch, draws: Sequence[Draw]) -> Prepared:
        """Give truth and conditions."""
        condition = assemble_condition(batch.coarse, batch.invariants, self.dataset.coarse_grid, self.dataset.grid)
        return Prepared.of(self.network, batch, require_target(batch), condition)

    def errors(
        self, network: torch.nn.Module, prepared: Prepared, draws: Sequence[Draw], jobs: Sequence[Job]
    ) -> Tensor:
        """Give the squared errors of windows."""
        mean = network(None, prepared.cut(prepared.condition, jobs), **prepared.beside(jobs))
        return (mean - prepared.cut(prepared.target, jobs)).square()

    def describe(self, draws: Sequence[Draw]) -> str:
        """Say which samples and places the step saw."""
        return f"windows at {self._places(draws)} of samples {[d.sample for d in draws]}"


@dataclass
class PatchDiffusionStage(_OnWindows, DiffusionStage):
    r"""Learn to denoise windows of the residual, with noise that is one function of the whole domain.

    .. math:: \ell = \frac1P \sum_{p=1}^P \overline{\frac{\sigma_p^2+\sigma_d^2}{(\sigma_p\sigma_d)^2}
        \bigl(D_p\bigl((r + \sigma_p\xi)|_p, y, \sigma_p\bigr) - r|_p\bigr)^2}

    The mean of a sample and its noise :math:`\xi` are made once; its P windows are crops of them at places and noise
    levels of their own, so that a window's noise has the statistics of the crop that sampling will show it.

    Args:
        patch_num: Windows of each sample.
        max_patch_per_gpu: Windows the network sees at once; all if not given.

    Raises:
        InputError: If the network is none of windows.
    """

    network: FSPatchedEDMPrecondSR
    dataset: DownscalingDataset
    patch_num: int = 1
    max_patch_per_gpu: int | None = None

    def prepared(self, batch: Batch, draws: Sequence[Draw]) -> Prepared:
        """Give residual, conditions and noise."""
        mean, condition = self.mean_and_condition(batch)
        residual = require_target(batch) - mean
        if batch.valid is not None:
            residual = residual * batch.valid
        noise = noise_like(self.scheduler.field, residual, [d.key("noise") for d in draws])
        return Prepared.of(self.network, batch, residual, condition, noise)

    def errors(
        self, network: torch.nn.Module, prepared: Prepared, draws: Sequence[Draw], jobs: Sequence[Job]
    ) -> Tensor:
        """Give the weighted squared errors of denoised windows."""
        assert prepared.noise is not None  # noqa: S101 - the diffusion's
        residual, noise = (prepared.cut(field, jobs) for field in (prepared.target, prepared.noise))
        sigma = self._levels(draws, jobs).to(residual)
        weight = self.scheduler.loss_weight(sigma)
        weight = weight.view(*weight.shape, *[1] * (residual.ndim - weight.ndim))
        noisy = residual + sigma[:, None, None, None] * noise
        denoised = network(noisy, sigma, prepared.cut(prepared.condition, jobs), **prepared.beside(jobs))
        return weight * (denoised - residual).square()

    def _levels(self, draws: Sequence[Draw], jobs: Sequence[Job]) -> Tensor:
        keys = [draws[job.sample].key(f"level of window {job.window}") for job in jobs]
        return self.scheduler.sample_time(len(keys), keys=keys)

    def describe(self, draws: Sequence[Draw]) -> str:
        """Say which noise levels and places the step saw."""
        jobs = self.jobs(draws, self.network.windows(self.dataset.grid.shape))
        levels = [round(level, 4) for level in self._levels(draws, jobs).tolist()]
        return f"noise levels {levels} of windows at {self._places(draws)} of samples {[d.sample for d in draws]}"


def patch_channels(config: PatchConfig, dataset: DownscalingDataset) -> int:
    """Give the number of channels that a window's network sees beside noise and conditions."""
    return 4 * config.position_frequencies + (len(dataset.input_channels) if config.context else 0)


def window_options(
    patch: tuple[int, int], config: PatchConfig, dataset: DownscalingDataset, first_input: int
) -> dict[str, Any]:
    """Give what makes a network one of windows of a dataset's domain.

    Args:
        patch: Rows and columns of a window.
        config: What a window is told about its domain.
        dataset: The training split.
        first_input: Number of the first coarse input among the network's conditions.
    """
    inputs = [first_input + i for i in range(len(dataset.input_channels))]
    return {
        "patch_shape": list(patch),
        "domain_shape": list(dataset.grid.shape),
        "domain_boundary": dataset.grid.boundary,
        "position_frequencies": config.position_frequencies,
        "context_channels": inputs if config.context else [],
    }
