# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The 1 x 1 convolution."""

import torch
from jaxtyping import Float
from torch import Tensor

from .activations import require_epilogue, require_images, require_real


def pointwise_map(
    x: Float[Tensor, "batch in_channels height width"],
    matrix: Float[Tensor, "out_channels in_channels"],
    bias: Float[Tensor, " out_channels"] | None = None,
) -> Float[Tensor, "batch out_channels height width"]:
    r"""Multiply the channels at every point by one matrix, :math:`y_{o} = \sum_c S_{oc} x_c + b_o`.

    On a CPU one batched product, forward and backward 1.2 to 2.3 times as fast as torch's convolution (one thread, 8
    to 64 channels, grids 32 to 128, batch 4 and 16); elsewhere the convolution.

    Args:
        x: Values on a grid.
        matrix: The matrix S.
        bias: One number per channel.

    Raises:
        ValueError: The shapes or devices disagree, or a dtype is not real floating point.

    Example:
        >>> pointwise_map(torch.ones(2, 3, 4, 4), torch.ones(5, 3), torch.ones(5)).unique().item()
        4.0
    """
    require_images(x)
    require_real("x", x, x.device, "convert it")
    channels = matrix.shape[0]
    expected = {"matrix": (matrix, (channels, x.shape[1])), "bias": (bias, (channels,))}
    require_epilogue(expected, "none", "check the channels of x", x.device)
    dtype = torch.promote_types(x.dtype, matrix.dtype)
    x, matrix, bias = x.to(dtype), matrix.to(dtype), None if bias is None else bias.to(dtype)
    if x.device.type != "cpu":
        return torch.nn.functional.conv2d(x, matrix[:, :, None, None], bias)
    factor, values = matrix.expand(x.shape[0], -1, -1), x.flatten(2)
    product = torch.bmm(factor, values) if bias is None else torch.baddbmm(bias[:, None], factor, values)
    return product.unflatten(2, x.shape[2:])
