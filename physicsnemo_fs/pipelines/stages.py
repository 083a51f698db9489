# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The two stages of training: what is learnt, and with which loss."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from physicsnemo_fs.data.types import Batch, Channel, DownscalingDataset
from physicsnemo_fs.diffusion.residual import assemble_condition
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.base import FSModule, sees_lead_time
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.nn.dropout import keyed_dropout
from physicsnemo_fs.random import derive_key


@dataclass(frozen=True)
class Draw:
    """Coordinates of one sample's randomness: every draw is a function of them."""

    seed: int
    purpose: str
    epoch: int
    sample: int

    def key(self, what: str) -> int:
        """Give the key of one draw."""
        return derive_key(self.seed, self.purpose, what, self.epoch, self.sample)


class Stage(Protocol):
    """A network to train and its loss."""

    name: str
    network: FSModule

    def losses(self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]) -> Float[Tensor, " batch"]:
        """Give each sample's loss, a mean over its values."""
        ...

    def pieces(
        self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]
    ) -> list[Callable[[], Float[Tensor, " part"]]]:
        """Give the parts of the losses' sum that are evaluated and differentiated one after the other."""
        ...

    def describe(self, draws: Sequence[Draw]) -> str:
        """Say what was drawn, for the message of a failed step."""
        ...


class InOnePiece:
    """A stage whose losses are differentiated together."""

    losses: Callable[..., Tensor]

    def pieces(self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]) -> list[Callable[[], Tensor]]:
        """Give the losses as one piece."""
        return [lambda: self.losses(network, batch, draws)]


def require_target(batch: Batch) -> Tensor:
    """Give the batch's truth.

    Raises:
        InputError: If there is none.
    """
    if batch.target is None:
        raise InputError("training and calibration need the fine truth: the dataset gave samples without it")
    return batch.target


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch; the sample ids stay where they are."""
    if device.type == "cpu":
        return batch
    moved = {
        name: value.to(device, non_blocking=True)
        for name, value in vars(batch).items()
        if value is not None and name != "index"
    }
    return replace(batch, **moved)


def mean_where_valid(
    values: Float[Tensor, "batch channel height width"], valid: Bool[Tensor, "batch channel height width"] | None
) -> Float[Tensor, " batch"]:
    """Give each sample's mean over the points whose truth is known; 0 if there are none.

    Example:
        >>> values = torch.tensor([[[[1.0, 5.0]]]])
        >>> mean_where_valid(values, torch.tensor([[[[True, False]]]])).tolist()
        [1.0]
    """
    if valid is None:
        return values.mean(dim=(1, 2, 3))
    return (values * valid).sum(dim=(1, 2, 3)) / valid.sum(dim=(1, 2, 3)).clamp(min=1)


Mean = Callable[..., Tensor]
"""Gives the mean for no first argument and a batch of conditions: a regression, or what stands for it."""


def labels_of(network: object, batch: Batch) -> dict[str, Tensor]:
    """Give what a network sees of its samples beside fields: the lead time, if it was trained with it.

    Raises:
        InputError: If the samples have none.
    """
    if not sees_lead_time(network):
        return {}
    if batch.lead_time is None:
        raise InputError(
            "training.lead_time_scale needs forecasts with lead times: this dataset has none; give one that has, or "
            "train with training.lead_time_scale=null"
        )
    return {"lead_time_label": batch.lead_time}


@dataclass(frozen=True)
class FirstGuess:
    """The interpolated input as a mean: what a regression must beat.

    Args:
        channels: For each output the condition channel.
    """

    channels: list[int]

    @classmethod
    def of(cls, dataset: DownscalingDataset) -> "FirstGuess":
        """Take the inputs of the outputs' names and normalisations.

        Raises:
            InputError: If an output has none.
        """
        channels = first_guess(dataset)
        missing = [c.name for c, i in zip(dataset.output_channels, channels, strict=True) if i < 0]
        if missing:
            raise InputError(f"an interpolated mean needs every output among the inputs: {missing[0]!r} is not")
        return cls(channels)

    def __call__(self, x: None, condition: Tensor) -> Tensor:
        """Give the interpolated input among the conditions."""
        return condition[:, self.channels]


@torch.no_grad()
def truth_and_mean(
    regression: Mean, dataset: DownscalingDataset, ids: Sequence[int], batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give batches of (truth, mean), each ``[batch, channel, height, width]``, of the samples ``ids``.

    Where the truth is not known it is the mean, so that nothing is missed there.
    """
    for start in range(0, len(ids), batch_size):
        batch = to_device(dataset.fetch(ids[start : start + batch_size]), device)
        condition = assemble_condition(batch.coarse, batch.invariants, dataset.coarse_grid, dataset.grid)
        truth, mean = require_target(batch), regression(None, condition, **labels_of(regression, batch))
        yield truth if batch.valid is None else torch.where(batch.valid, truth, mean), mean


def regression_channels(dataset: DownscalingDataset) -> tuple[int, int]:
    """Give the regression network's numbers of condition and output channels."""
    return len(dataset.input_channels) + len(dataset.invariant_channels), len(dataset.output_channels)


def require_grid(backbone: object, dataset: DownscalingDataset) -> None:
    """Refuse a fine grid that is too small for a network.

    Args:
        backbone: A network that sees whole fields of the dataset.
        dataset: The data.

    Raises:
        InputError: Naming both grids.
    """
    least, (height, width) = getattr(backbone, "smallest_grid", 1), dataset.grid.shape
    if min(height, width) < least:
        raise InputError(
            f"the network needs fields of at least {least} x {least} points: got a fine grid of {height} x {width}; "
            "raise dataset.resolution (generation.resolution when generating), or give data on a larger grid"
        )


def first_guess(dataset: DownscalingDataset) -> list[int]:
    """Give for each output channel the input channel of the same name and normalisation, -1 if there is none."""
    inputs = [_normalised_as(c) for c in dataset.input_channels]
    outputs = [_normalised_as(c) for c in dataset.output_channels]
    return [inputs.index(wanted) if wanted in inputs else -1 for wanted in outputs]


def _normalised_as(channel: Channel) -> tuple:
    return channel.name, channel.mean, channel.std, channel.warp


@dataclass
class RegressionStage(InOnePiece):
    r"""Learn the conditional mean: :math:`\ell = \overline{(\mu(y) - u)^2}`, a mean over channels and samples.

    Args:
        network: The mean to train.
        dataset: Grids of the data.
    """

    network: FSRegressionSR
    dataset: DownscalingDataset
    name: str = "regression"

    def losses(self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]) -> Float[Tensor, " batch"]:
        """Give each sample's mean squared error, in normalised units."""
        condition = assemble_condition(batch.coarse, batch.invariants, self.dataset.coarse_grid, self.dataset.grid)
        with keyed_dropout(network, [d.key("dropout") for d in draws]):
            mean = network(None, condition, **labels_of(self.network, batch))
        return mean_where_valid((mean - require_target(batch)).square(), batch.valid)

    def describe(self, draws: Sequence[Draw]) -> str:
        """Say which samples the step saw."""
        return f"samples {[d.sample for d in draws]}"


@dataclass
class DiffusionStage(InOnePiece):
    r"""Learn to denoise the residual :math:`r = u - \mu(y)` in function space.

    .. math:: \ell = \overline{\frac{\sigma^2+\sigma_d^2}{(\sigma\sigma_d)^2}
        \bigl(D(r + \sigma\xi, y, \sigma) - r\bigr)^2},\qquad \xi \sim N(0, C),\ \ln\sigma \sim N(P_m, P_s^2)

    a mean over channels and samples, so that it does not depend on the resolution.

    Args:
        network: The denoiser to train.
        regression: The frozen mean.
        dataset: Grids of the data.
        scheduler: Noise and noise levels.
        hr_mean_conditioning: Give the mean to the denoiser as a condition.

    References:
        EDM (2206.00364), eq. 8 and table 1; CorrDiff (2309.15214); coloured noise: DDO (2302.07400).
    """

    network: FSEDMPrecondSR
    regression: FSRegressionSR
    dataset: DownscalingDataset
    scheduler: FunctionSpaceScheduler
    hr_mean_conditioning: bool = True
    name: str = "diffusion"

    def mean_and_condition(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the regression mean, in full precision as generation computes it, and the denoiser's conditions."""
        condition = assemble_condition(batch.coarse, batch.invariants, self.dataset.coarse_grid, self.dataset.grid)
        with torch.no_grad():
            mean = self.regression(None, condition, force_fp32=True, **labels_of(self.regression, batch))
        return mean, torch.cat([mean, condition], dim=1) if self.hr_mean_conditioning else condition

    def losses(self, network: torch.nn.Module, batch: Batch, draws: Sequence[Draw]) -> Float[Tensor, " batch"]:
        """Give each sample's weighted denoising error."""
        mean, condition = self.mean_and_condition(batch)
        residual = require_target(batch) - mean
        if batch.valid is not None:
            residual = residual * batch.valid
        keys = [d.key("noise") for d in draws]
        sigma = self.scheduler.sample_time(len(keys), device=residual.device, dtype=residual.dtype, keys=keys)
        noisy = self.scheduler.add_noise(residual, sigma, keys=keys)
        weight = self.scheduler.loss_weight(sigma)
        weight = weight.view(*weight.shape, *[1] * (residual.ndim - weight.ndim))
        with keyed_dropout(network, [d.key("dropout") for d in draws]):
            denoised = network(noisy, sigma, condition, **labels_of(self.network, batch))
        return mean_where_valid(weight * (denoised - residual).square(), batch.valid)

    def describe(self, draws: Sequence[Draw]) -> str:
        """Say which noise levels the step saw."""
        levels = self.scheduler.sample_time(len(draws), keys=[d.key("noise") for d in draws])
        return f"noise levels {[round(s, 4) for s in levels.tolist()]} of samples {[d.sample for d in draws]}"
