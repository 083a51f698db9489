# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The dressed mean: the ensemble that any mean gives for free, and that a diffusion model must beat."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.diffusion.matched import Matched
from physicsnemo_fs.diffusion.modes import measure_power
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.metrics.crps import crps_fair
from physicsnemo_fs.random import derive_key

SCALES = tuple(0.6 + 0.05 * i for i in range(11))
TRIAL_MEMBERS = 8


@dataclass(frozen=True)
class DressedMean:
    r"""Ensemble :math:`\mu + s\,\xi` with a stationary Gaussian field :math:`\xi` of the mean's error spectrum.

    Args:
        field: The random field, unit variance.
        scale: Standard deviation per channel.

    Example:
        >>> from physicsnemo_fs.diffusion.spectra import Matern
        >>> dressed = DressedMean(RandomField(Matern(1.0, 0.1)), torch.tensor([0.5]))
        >>> dressed.sample(torch.zeros(2, 1, 16, 24), keys=[1, 2]).shape
        torch.Size([2, 1, 16, 24])
    """

    field: RandomField
    scale: Float[Tensor, " channel"]

    def sample(
        self, mean: Float[Tensor, "batch channel height width"], keys: Sequence[int]
    ) -> Float[Tensor, "batch channel height width"]:
        """Draw one member for each mean and key."""
        shape = (mean.shape[-2], mean.shape[-1])
        noise = self.field.sample(keys, mean.shape[1], shape, device=mean.device, dtype=mean.dtype)
        return mean + self.scale.to(mean)[:, None, None] * noise


def _fair_crps(members: Tensor, truth: Tensor) -> Tensor:
    return torch.from_numpy(crps_fair(members.numpy(), truth.numpy())).mean(dim=(0, 2, 3))


def fit_dressing(pairs: Iterable[tuple[Tensor, Tensor]], extent: tuple[float, float], boundary: str) -> DressedMean:
    """Fit the field to held-out errors of the mean: their spectrum, and the scale with the least fair CRPS.

    Args:
        pairs: Batches of (truth, mean) that the mean was not trained on.
        extent: Physical lengths of the domain.
        boundary: ``"periodic"`` or ``"bounded"``.

    Raises:
        ValueError: If there is no batch.

    Example:
        >>> from physicsnemo_fs.diffusion.spectra import Matern
        >>> error = 0.5 * RandomField(Matern(1.0, 0.1)).sample(range(16), 1, (16, 16))
        >>> dressed = fit_dressing([(error, torch.zeros_like(error))], (1.0, 1.0), "periodic")
        >>> abs(float(dressed.scale) - 0.5) < 0.1
        True
    """
    batches = list(pairs)
    if not batches:
        raise ValueError("the dressed mean needs at least one batch of errors: got none")
    truth, mean = (torch.cat(parts).cpu() for parts in zip(*batches, strict=True))
    error = truth - mean
    kernel = Matched.fit(measure_power(error, extent), length=min(extent))
    field = RandomField(kernel, extent, boundary)
    std = error.square().mean(dim=(0, 2, 3)).sqrt()
    shape = (truth.shape[-2], truth.shape[-1])
    keys = [derive_key("dressing", i) for i in range(len(truth) * TRIAL_MEMBERS)]
    noise = field.sample(keys, truth.shape[1], shape).unflatten(0, (TRIAL_MEMBERS, len(truth)))
    noise = noise * std[:, None, None]
    scores = torch.stack([_fair_crps(mean + scale * noise, truth) for scale in SCALES])
    best = torch.tensor(SCALES)[scores.argmin(dim=0)]
    return DressedMean(field, std * best)
