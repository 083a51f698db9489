# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The spectral convolution with what follows it in a neural operator: skip, bias, modulation, activation."""

from jaxtyping import Float
from torch import Tensor

from ..activations import require_epilogue
from ..dispatch import triton_transform, without_autocast
from ..pointwise import pointwise_map
from .concatenated import concatenation_pays, spectral_concatenated
from .epilogue import follow, spectral_epilogue
from .op import prepare, spectral_conv2d
from .operators import mixed_modes


def spectral_layer2d(
    x: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "modes in_channels out_channels 2"],
    modes: tuple[int, int],
    skip: Float[Tensor, "batch out_channels out_height out_width"] | None = None,
    bias: Float[Tensor, " out_channels"] | None = None,
    scale: Float[Tensor, "batch out_channels"] | None = None,
    shift: Float[Tensor, "batch out_channels"] | None = None,
    activation: str = "none",
    out_size: tuple[int, int] | None = None,
    backend: str | None = None,
    skip_weight: Float[Tensor, "out_channels in_channels"] | None = None,
) -> Float[Tensor, "batch out_channels out_height out_width"]:
    r"""Apply a spectral convolution :math:`K` and what follows it in a layer of a neural operator,

    .. math:: y = \sigma\big((K x + \mathrm{skip} + \mathrm{bias})(1 + \mathrm{scale}) + \mathrm{shift}\big).

    With ``skip_weight`` :math:`S` the skip is the pointwise map :math:`S x`.

    With the backend "triton" everything after the mode mixing is one kernel, which writes the result only, and the
    backward computes the pre-activation again; the map :math:`S` is part of the inverse transform's product where
    that moves fewer bytes. Elsewhere, and for derivatives of gradients, it is the composition.

    Args:
        x: As in :func:`.spectral_conv2d`, as are ``weight``, ``modes``, ``out_size`` and ``backend``.
        weight: One complex matrix per mode.
        modes: ``(m1, m2)``.
        skip: What is added to the convolution.
        bias: One number per channel.
        scale: One number per image and channel (FiLM); None is 0.
        shift: Likewise.
        activation: "none", "silu" or "gelu" (the exact one).
        out_size: The grid of the result.
        backend: One of :func:`.available_backends`.
        skip_weight: Matrix of a pointwise map of ``x`` to add, instead of ``skip``, on the grid of ``x``.

    Returns:
        The layer's values in the dtype of ``x``.

    Raises:
        ValueError: As in :func:`.spectral_conv2d`; the shapes of what follows disagree with the result; there is no
            such activation; ``skip_weight`` comes with ``skip`` or with another grid.

    Example:
        >>> import torch
        >>> x, weight = torch.ones(2, 1, 4, 4), torch.tensor([3.0, 0.0]).expand(2, 1, 1, 2)
        >>> spectral_layer2d(x, weight, (1, 1), bias=torch.tensor([-3.0]), shift=torch.ones(2, 1)).mean().item()
        1.0

    Source: Li et al., Fourier Neural Operator, ICLR 2021, equation 2; Perez et al., FiLM, AAAI 2018.
    """
    name, x_ready, weight_ready, size = prepare(x, weight, modes, out_size, backend)
    _check(x, weight, size, skip, bias, scale, shift, activation, skip_weight)
    extras = (bias, scale, shift)
    if name == "triton":
        transform = triton_transform(x_ready.dtype)
        with without_autocast(x.device):
            if skip_weight is not None and concatenation_pays(modes[1], size[1]):
                settings = (activation, *modes, transform)
                return spectral_concatenated(x_ready, weight_ready, skip_weight, *extras, *settings)[0]
            if skip_weight is not None:
                skip = pointwise_map(x_ready, skip_weight.to(x_ready.dtype))
            mixed = mixed_modes(x_ready, weight_ready, modes, transform)
            return spectral_epilogue(mixed, skip, *extras, activation, *size, *modes, transform, x.dtype)
    if skip_weight is not None:
        skip, bias = pointwise_map(x, skip_weight, bias), None
    value = spectral_conv2d(x_ready, weight_ready, modes, out_size, name)  # rounded to 16 bits once, at the end
    return follow(value, skip, bias, scale, shift, activation).to(x.dtype)


def _check(x, weight, out_size, skip, bias, scale, shift, activation, skip_weight):
    batch, channels = x.shape[0], weight.shape[-2]
    expected = {
        "skip": (skip, (batch, channels, *out_size)),
        "bias": (bias, (channels,)),
        "scale": (scale, (batch, channels)),
        "shift": (shift, (batch, channels)),
        "skip_weight": (skip_weight, (channels, x.shape[1])),
    }
    require_epilogue(expected, activation, "check the weight's channels", x.device)
    if skip_weight is not None and skip is not None:
        raise ValueError("skip_weight must come without skip: got both; add them before")
    if skip_weight is not None and out_size != tuple(x.shape[2:]):
        raise ValueError(
            f"skip_weight must come with the grid of x: got {tuple(x.shape[2:])} and out_size {out_size}; "
            "resample the mapped values and pass them as skip"
        )
