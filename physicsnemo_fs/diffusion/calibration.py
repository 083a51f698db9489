# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What training data says about the two stages: the mean's gain, the residual's scale and spectrum."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.diffusion.modes import measure_power
from physicsnemo_fs.diffusion.residual import shell_products, shrinkage_gain


@dataclass(frozen=True)
class Calibration:
    """Statistics of truth and mean over samples.

    Args:
        count: Number of samples.
        residual_std: Root mean square of ``truth - mean`` per channel.
        residual_power: Mean power of one mode of ``truth - mean`` by shell, ``[channel, shell]``.
        field_power: Mean power of one mode of the truth by shell, ``[channel, shell]``.
        gain: Least-squares gain on the mean by shell, ``[channel, gain shell]``.
        scale_shift: Mean of :math:`\\ln(s_i/s)` over samples, ``s_i`` the root mean square residual of one and ``s`` of
            all, weighted by the share :math:`s_i^2` that each has in the squared residual.
        scale_spread: Standard deviation of the same with the same weights: how unequal the samples are.
    """

    count: int
    residual_std: Float[Tensor, " channel"]
    residual_power: Float[Tensor, "channel shell"]
    field_power: Float[Tensor, "channel shell"]
    gain: Float[Tensor, "channel gain_shell"]
    scale_shift: float = 0.0
    scale_spread: float = 0.0


def calibrate(
    pairs: Iterable[tuple[Tensor, Tensor]],
    gain_shells: int,
    extent: tuple[float, float] = (1.0, 1.0),
    total: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Calibration:
    """Measure scale, spectra and gain from batches of (truth, mean), each ``[batch, channel, height, width]``.

    Args:
        pairs: The batches; streamed.
        gain_shells: Number of integer wavenumbers the gain is given at; the last collects all higher ones.
        extent: Physical lengths of the domain.
        total: Sums a tensor over the processes that share the samples, each with a batch or more; by default there is
            this one alone.

    Raises:
        ValueError: If there is no batch.

    Example:
        >>> import torch
        >>> truth = torch.randn(16, 1, 32, 32)
        >>> found = calibrate([(truth, torch.zeros_like(truth))], gain_shells=17)
        >>> found.count, abs(float(found.residual_std) - 1) < 0.05
        (16, True)
    """
    sums: tuple[Tensor, ...] | None = None
    squares: list[Tensor] = []
    for truth, mean in pairs:
        residual = truth - mean
        squares.append(residual.double().square().mean(dim=(2, 3)).cpu())
        new = (
            torch.tensor(len(truth)),
            squares[-1].sum(0),
            measure_power(residual, extent) * len(truth),
            measure_power(truth, extent) * len(truth),
            shell_products(truth, mean, gain_shells).cpu(),
            shell_products(mean, mean, gain_shells).cpu(),
        )
        sums = new if sums is None else tuple(a + b for a, b in zip(sums, new, strict=True))
    if sums is None:
        raise ValueError("calibration needs at least one batch: got none")
    count, square, residual_power, field_power, truth_mean, mean_mean = map(total, sums)
    return Calibration(
        int(count),
        (square / count).sqrt(),
        residual_power / count,
        field_power / count,
        shrinkage_gain(truth_mean, mean_mean),
        *_inequality(torch.cat(squares) / (square / count), total),
    )


def _inequality(relative: Float[Tensor, "sample channel"], total: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """Give the weighted mean and standard deviation of the samples' log scale, from squares relative to their mean."""
    weight = relative.nanmean(dim=1)
    log_scale = 0.5 * weight.clamp(min=torch.finfo(weight.dtype).tiny).log()
    weights, shift = total(torch.stack([weight.sum(), (weight * log_scale).sum()])).tolist()
    shift /= weights
    variance = total((weight * (log_scale - shift).square()).sum()) / weights
    return shift, float(variance.sqrt())
