# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Starting a network from the weights of another one of the same build."""

from collections.abc import Sequence

import torch

from physicsnemo_fs.models.base import FSModule

LIFT, PROJECTION = "stack.lift.conv.weight", "stack.project."


def fits(network: FSModule, source: FSModule) -> bool:
    """Tell whether two backbones have the same build: class and weights, but for the first and the last map.

    Example:
        >>> from physicsnemo_fs.models.conv_unet import FSConvUNet
        >>> fits(FSConvUNet(4, 1), FSConvUNet(2, 1)), fits(FSConvUNet(4, 1), FSConvUNet(2, 1, model_channels=8))
        (True, False)
    """
    mine, theirs = (_inner_shapes(n) for n in (network, source))
    return type(network) is type(source) and LIFT in dict(source.named_parameters()) and mine == theirs


@torch.no_grad()
def start_from(network: FSModule, source: FSModule, channels: Sequence[int]) -> None:
    """Give a backbone the weights of another one; its last map keeps its own.

    Args:
        network: The backbone to change; input channels that are not named keep their weights.
        source: A backbone that :func:`fits`.
        channels: For each input channel of ``source`` the channel of ``network`` that shows the same. Further channels
            of the first map (positions) come last in both and are taken in order.

    Raises:
        ValueError: If the backbones do not fit, or there is not one channel for each input.

    Example:
        >>> from physicsnemo_fs.models.conv_unet import FSConvUNet
        >>> network, source = FSConvUNet(4, 1), FSConvUNet(2, 1)
        >>> start_from(network, source, [2, 3])
        >>> torch.equal(network.stack.lift.conv.weight[:, 2:], source.stack.lift.conv.weight)
        True
    """
    if not fits(network, source) or len(channels) != source.in_channels:
        raise ValueError(
            f"a network starts from another one of the same build and needs a channel for each of its inputs: got "
            f"{type(network).__name__}, {type(source).__name__} of {source.in_channels} inputs, and channels "
            f"{list(channels)}"
        )
    mine, theirs = dict(network.named_parameters()), dict(source.named_parameters())
    for name, weight in theirs.items():
        if not name.startswith((LIFT, PROJECTION)):
            mine[name].copy_(weight)
    positions = range(network.in_channels, mine[LIFT].shape[1])
    mine[LIFT][:, [*channels, *positions]] = theirs[LIFT]


def _inner_shapes(network: FSModule) -> dict[str, torch.Size]:
    return {n: p.shape for n, p in network.named_parameters() if not n.startswith((LIFT, PROJECTION))}
