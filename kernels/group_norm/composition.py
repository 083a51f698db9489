# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The definition, from torch's functions."""

import torch
from torch import Tensor
from torch.nn import functional

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
    value = functional.group_norm(x, groups, weight, bias, eps)
    if scale is not None and shift is not None:
        value = torch.addcmul(shift[..., None, None], value, 1 + scale[..., None, None])
    elif scale is not None:
        value = value * (1 + scale[..., None, None])
    elif shift is not None:
        value = value + shift[..., None, None]
    return ACTIVATIONS[activation](value)
