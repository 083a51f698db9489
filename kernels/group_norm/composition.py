# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The definition, from torch's functions."""

import torch
from torch import Tensor

from ..activations import ACTIVATIONS


def compose(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
    eps: float,
) -> Tensor:
    """Compute :func:`physicsnemo_fs.kernels.group_norm_film_activation` of valid arguments."""
    if scale is None and shift is None:
        return ACTIVATIONS[activation](torch.group_norm(x, groups, *_parameters(x, weight, bias), eps))
    wide = torch.promote_types(x.dtype, torch.float32)
    film = (None if t is None else t.to(wide) for t in (scale, shift))
    gain, offset = _gain_and_offset(x.shape[0], weight.to(wide), bias.to(wide), *film)
    if torch.compiler.is_compiling():  # folding would fix the batch size, and the compiler fuses anyway
        normalised = torch.group_norm(x, groups, None, None, eps)
        value = normalised * gain[..., None, None] + offset[..., None, None]
        return ACTIVATIONS[activation](value.to(normalised.dtype))
    if x.numel() == 0:  # every gradient exists, and is zero
        return x * gain[..., None, None] + offset[..., None, None]
    # the channels of all images as those of one image, so that gain and offset are the norm's own
    folded = x.reshape(1, -1, *x.shape[2:])
    value = torch.group_norm(folded, x.shape[0] * groups, gain.flatten(), offset.flatten(), eps)
    return ACTIVATIONS[activation](value.view(x.shape))


def _parameters(x: Tensor, gain: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Give them in a dtype that torch's norm takes: that of the values, or float32 beside 16 bits."""
    wide = torch.promote_types(x.dtype, torch.float32)
    if gain.dtype == offset.dtype and gain.dtype in (x.dtype, wide):
        return gain, offset
    return gain.to(wide), offset.to(wide)


def _gain_and_offset(batch, weight, bias, scale, shift):
    gain, offset = weight.expand(batch, -1), bias.expand(batch, -1)
    if scale is not None:
        gain, offset = gain * (1 + scale), offset * (1 + scale)
    return gain, offset if shift is None else offset + shift
