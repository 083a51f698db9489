# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Is a sample a function: one seed at two resolutions."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.resample import fourier_resample

CoarseFields = (
    Float[np.ndarray, "*lead coarse_height coarse_width"] | Float[torch.Tensor, "*lead coarse_height coarse_width"]
)
FineFields = Float[np.ndarray, "*lead height width"] | Float[torch.Tensor, "*lead height width"]


@dataclass(frozen=True)
class Consistency:
    """Relative L2 difference between two resolutions, in the band that both carry.

    Args:
        field: Of the samples.
        residual: Of the samples minus their regression means; ``None`` if there are none.
    """

    field: float
    residual: float | None


def same_seed_consistency(
    coarse: CoarseFields,
    fine: FineFields,
    coarse_mean: CoarseFields | None = None,
    fine_mean: FineFields | None = None,
) -> Consistency:
    r"""Compare samples of the same seeds and times, drawn on two grids of one periodic domain.

    .. math:: \frac{\| P u_N - P u_n \|}{\| P u_n \|}

    where :math:`P` keeps the modes below the smaller grid's Nyquist wavenumber, evaluated on that grid.
    White noise per pixel gives tens of percent; a sampler of functions gives rounding error.

    Args:
        coarse: Samples at nodes of the smaller grid.
        fine: The same samples at nodes of the larger grid.
        coarse_mean: Regression mean on the smaller grid.
        fine_mean: Regression mean on the larger grid.

    Example:
        >>> s, t = (2 * np.pi * np.arange(n) / n for n in (16, 64))
        >>> coarse, fine = np.cos(3 * s) * np.ones((16, 1)), np.cos(3 * t) * np.ones((64, 1))
        >>> same_seed_consistency(coarse, fine).field < 1e-14
        True
    """
    if (coarse_mean is None) != (fine_mean is None):
        raise InputError("the residual's consistency needs the regression mean on both grids: got one of them")
    small, large = (torch.as_tensor(value).detach().cpu().double() for value in (coarse, fine))
    if small.shape[:-2] != large.shape[:-2] or any(
        n > m for n, m in zip(small.shape[-2:], large.shape[-2:], strict=True)
    ):
        raise InputError(
            "two resolutions of the same samples are needed, the smaller first: got shapes "
            f"{tuple(small.shape)} and {tuple(large.shape)}"
        )
    field = _band_difference(small, large)
    if coarse_mean is None or fine_mean is None:
        return Consistency(field, None)
    small_mean, large_mean = (torch.as_tensor(value).detach().cpu().double() for value in (coarse_mean, fine_mean))
    return Consistency(field, _band_difference(small - small_mean, large - large_mean))


def _band_difference(small: torch.Tensor, large: torch.Tensor) -> float:
    size = (small.shape[-2], small.shape[-1])
    reference = fourier_resample(small, size)
    return float(torch.linalg.norm(fourier_resample(large, size) - reference) / torch.linalg.norm(reference))
