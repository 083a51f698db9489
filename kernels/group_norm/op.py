# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The public function, the checks of its arguments, and the choice of its backend."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..activations import require_epilogue, require_images, require_real
from ..dispatch import environment_allows_triton, named_backend, obstacle_to_triton, without_forward_derivatives
from .composition import compose
from .operators import group_norm_film

_NAMES = ("torch", "triton")


def group_norm_film_activation(
    x: Float[Tensor, "batch channels height width"],
    groups: int,
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    scale: Float[Tensor, "batch channels"] | None = None,
    shift: Float[Tensor, "batch channels"] | None = None,
    activation: str = "silu",
    eps: float = 1e-5,
    backend: str | None = None,
) -> Float[Tensor, "batch channels height width"]:
    r"""Normalise each group of channels, modulate by image and channel, and activate,

    .. math:: y = \sigma\Big(\big(\mathrm{weight}\, \frac{x - \mu}{\sqrt{\mathrm{var} + \epsilon}}
        + \mathrm{bias}\big)(1 + \mathrm{scale}) + \mathrm{shift}\Big),

    with mean and (biased) variance over the grid and the channels of a group, of each image by itself.

    With the backend "triton" this is one kernel, and its backward another one, which computes the normalised values
    again. Elsewhere, and for derivatives of gradients, it is the composition of torch's functions.

    Args:
        x: Values on a grid.
        groups: Number of groups of neighbouring channels.
        weight: One factor per channel.
        bias: One summand per channel.
        scale: One number per image and channel (FiLM); None is 0.
        shift: Likewise.
        activation: "none", "silu" or "gelu" (the exact one).
        eps: Added to the variance.
        backend: "torch" or "triton", which runs or raises. None takes "triton" on an NVIDIA GPU of compute capability
            8.0 or higher for float32, bfloat16 and float16, unless ``PHYSICSNEMO_FS_BACKEND`` names another backend.

    Returns:
        From "triton" the values in the dtype of ``x``, with statistics in float32; else in the one that torch's
        functions give, which autocast makes float32.

    Raises:
        ValueError: The shapes or devices disagree, a dtype is not real floating point, the groups do not divide the
            channels, there is no such activation, or the backend does not exist or cannot run here.

    Example:
        >>> x, ones, zeros = torch.randn(2, 4, 8, 8), torch.ones(4), torch.zeros(4)
        >>> y = group_norm_film_activation(x, 2, ones, zeros, shift=torch.ones(2, 4), activation="none")
        >>> torch.allclose(y.view(2, 2, -1).mean(-1), torch.ones(2, 2), atol=1e-6)
        True

    Source: Wu and He, Group Normalization, ECCV 2018; Perez et al., FiLM, AAAI 2018.
    """
    _check(x, groups, weight, bias, scale, shift, activation)
    name = without_forward_derivatives(_choose(x.device, x.dtype, backend), "torch", forced=backend is not None)
    if name == "triton":
        return group_norm_film(x, groups, weight, bias, scale, shift, activation, eps)[0]
    return compose(x, groups, weight, bias, scale, shift, activation, eps)


def _choose(device: torch.device, dtype: torch.dtype, backend: str | None) -> str:
    if backend is None:
        allowed = environment_allows_triton() and device.type != "cpu"
        return "triton" if allowed and not obstacle_to_triton(device, dtype) else "torch"
    return named_backend(backend, _NAMES, device, dtype, instead="torch")


def _check(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
) -> None:
    require_images(x)
    require_real("x", x, x.device, "convert it")
    batch, channels = x.shape[:2]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups must divide the channels: got {groups} and {channels}; choose a divisor")
    expected = {
        "weight": (weight, (channels,)),
        "bias": (bias, (channels,)),
        "scale": (scale, (batch, channels)),
        "shift": (shift, (batch, channels)),
    }
    require_epilogue(expected, activation, "check the channels of x", x.device)
