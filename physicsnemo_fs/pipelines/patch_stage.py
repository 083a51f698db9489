# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training the diffusion on windows of whole samples."""

import functools
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
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.base import FSModule
from physicsnemo_fs.models.domain_condition import WholeCondition
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.nn.dropout import keyed_dropout
from physicsnemo_fs.nn.windows import Place, WindowGrid
from physicsnemo_fs.pipelines.stages import (
    DiffusionStage,
    Draw,
    mean_where_valid,
    regression_channels,
    require_target,
)


@dataclass
class PatchDiffusionStage(DiffusionStage):
    r"""Learn to denoise windows of the residual, with noise that is one function of the whole domain.

    .. math:: \ell = \frac1P \sum_{p=1}^P \overline{\frac{\sigma_p^2+\sigma_d^2}{(\sigma_p\sigma_d)^2}
        \bigl(D_p\bigl((r + \sigma_p\xi)|_p, y, \sigma_p\bigr) - r|_p\bigr)^2}

    The mean of a sample and its noise :math:`\xi` are made once; its P windows are crops of them at places and noise
    levels of their own, so that a window's noise has the statistics of the crop that sampling will show it. Every draw
    is keyed by (seed, epoch, sample, window): neither grouping, ranks nor resuming change it.

    Args:
        patch_num: Windows of each sample.
        max_patch_per_gpu: Windows the network sees at once; all if not given.
    """

    network: FSPatchedEDMPrecondSR
    patch_num: int = 1
    max_patch_per_gpu: int | None = None

    def pieces(
        self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]
    ) -> list[Callable[[], Float[Tensor, " part"]]]:
        """Give the parts of the batch's loss, to be evaluated and differentiated one after the other.

        The values of all parts sum to the sum over samples of each sample's mean loss.
        """
        windows = self._windows(require_target(batch))
        jobs = [(sample, window) for sample in range(len(draws)) for window in range(self.patch_num)]
        together = self.max_patch_per_gpu or len(jobs)
        groups = [jobs[first : first + together] for first in range(0, len(jobs), together)]
        prepared = _Prepared.of(self, batch, draws)
        return [functools.partial(self._part, network, prepared, draws, windows, group) for group in groups]

    def losses(self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]) -> Float[Tensor, " batch"]:
        """Give each sample's loss, a mean over its windows."""
        values = torch.cat([piece() for piece in self.pieces(network, batch, draws)])
        return values.reshape(len(draws), self.patch_num).sum(dim=1)

    def _part(
        self,
        network: torch.nn.Module,
        prepared: "_Prepared",
        draws: Sequence[Draw],
        windows: WindowGrid,
        jobs: list[tuple[int, int]],
    ) -> Tensor:
        """Give what each window of a group adds to the loss of its sample."""
        samples = [sample for sample, _ in jobs]
        places = [self._place(draws[sample], window, windows) for sample, window in jobs]

        def cut(field: Tensor) -> Tensor:
            return torch.stack([windows.crop(field[s], p) for s, p in zip(samples, places, strict=True)])

        residual = cut(prepared.residual)
        sigma = self._levels(draws, jobs).to(residual)
        weight = self.scheduler.loss_weight(sigma)
        weight = weight.view(*weight.shape, *[1] * (residual.ndim - weight.ndim))
        with keyed_dropout(network, [draws[sample].key(f"dropout of window {window}") for sample, window in jobs]):
            denoised = network(
                residual + sigma[:, None, None, None] * cut(prepared.noise),
                sigma,
                cut(prepared.condition),
                places=places,
                context=None if prepared.context is None else prepared.context[samples],
                lead_time_label=None if prepared.lead_time is None else prepared.lead_time[samples],
            )
        valid = None if prepared.valid is None else cut(prepared.valid)
        return mean_where_valid(weight * (denoised - residual).square(), valid) / self.patch_num

    def _windows(self, field: Tensor) -> WindowGrid:
        return self.network.windows((field.shape[-2], field.shape[-1]))

    def _place(self, draw: Draw, window: int, windows: WindowGrid) -> Place:
        return draw_place(draw.key(f"place of window {window}"), windows.shape, windows.patch, windows.boundary)

    def _levels(self, draws: Sequence[Draw], jobs: list[tuple[int, int]]) -> Tensor:
        keys = [draws[sample].key(f"level of window {window}") for sample, window in jobs]
        return self.scheduler.sample_time(len(keys), keys=keys)

    def describe(self, draws: Sequence[Draw]) -> str:
        """Say which noise levels and places the step saw."""
        jobs = [(sample, window) for sample in range(len(draws)) for window in range(self.patch_num)]
        levels = [round(level, 4) for level in self._levels(draws, jobs).tolist()]
        windows = self.network.windows(self.dataset.grid.shape)
        places = [self._place(draws[sample], window, windows) for sample, window in jobs]
        return f"noise levels {levels} of windows at {places} of samples {[d.sample for d in draws]}"


@dataclass(frozen=True)
class _Prepared:
    """What the windows of a batch are cut from."""

    residual: Tensor
    noise: Tensor
    condition: Tensor
    context: Tensor | None
    lead_time: Tensor | None
    valid: Tensor | None

    @classmethod
    def of(cls, stage: PatchDiffusionStage, batch: Batch, draws: Sequence[Draw]) -> "_Prepared":
        network = stage.network
        mean, condition = stage.mean_and_condition(batch)
        residual = require_target(batch) - mean
        if batch.valid is not None:
            residual = residual * batch.valid
        patch = stage._windows(residual).patch
        channels = network.context_channels
        context = WholeCondition(condition).pooled(channels, patch) if channels else None
        if network.lead_time_scale is not None and batch.lead_time is None:
            raise InputError(
                "training.patches.lead_time_scale needs forecasts with lead times: this dataset has none; set it null"
            )
        lead_time = None if network.lead_time_scale is None else batch.lead_time
        noise = noise_like(stage.scheduler.field, residual, [d.key("noise") for d in draws])
        return cls(residual, noise, condition, context, lead_time, batch.valid)


def patch_channels(config: PatchConfig, dataset: DownscalingDataset) -> int:
    """Give the number of channels that a window's network sees beside noise and conditions."""
    context = len(dataset.input_channels) if config.context else 0
    return 4 * config.position_frequencies + context + (config.lead_time_scale is not None)


def patched_denoiser(
    backbone: FSModule,
    patch: tuple[int, int],
    config: PatchConfig,
    dataset: DownscalingDataset,
    hr_mean_conditioning: bool,
    **options: Any,
) -> FSPatchedEDMPrecondSR:
    """Give the denoiser of windows of a dataset's domain.

    Args:
        backbone: Network of the noisy channels, the conditions and :func:`patch_channels`.
        patch: Rows and columns of a window.
        config: What a window is told about its domain.
        dataset: The training split.
        hr_mean_conditioning: Whether the mean is among the conditions.
        options: What every denoiser takes: ``sigma_data``, ``noise`` and the like.

    Raises:
        InputError: If the window does not fit the domain or the backbone.
    """
    first = regression_channels(dataset)[1] if hr_mean_conditioning else 0
    return FSPatchedEDMPrecondSR(
        backbone,
        list(patch),
        list(dataset.grid.shape),
        domain_boundary=dataset.grid.boundary,
        position_frequencies=config.position_frequencies,
        context_channels=[first + i for i in range(len(dataset.input_channels))] if config.context else [],
        lead_time_scale=config.lead_time_scale,
        **options,
    )


def on_windows(stage: DiffusionStage, patch_num: int, max_patch_per_gpu: int | None) -> PatchDiffusionStage:
    """Give the stage that trains a denoiser of windows, from one that has it as its network.

    Raises:
        InputError: If its network is no denoiser of windows.
    """
    if not isinstance(stage.network, FSPatchedEDMPrecondSR):
        raise InputError(f"training on windows needs FSPatchedEDMPrecondSR: got {type(stage.network).__name__}")
    return PatchDiffusionStage(**vars(stage), patch_num=patch_num, max_patch_per_gpu=max_patch_per_gpu)
