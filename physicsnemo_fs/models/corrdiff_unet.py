# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""FSCorrDiffUNet: NVIDIA's SongUNetPosEmbd as a backbone here, so that CorrDiff itself runs under the same pipeline."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from physicsnemo_fs.models.base import FSModule, check_fields
from physicsnemo_fs.nn.dropout import KeyedDropout
from physicsnemo_fs.nn.windows import position_channels


class FSCorrDiffUNet(FSModule):
    """CorrDiff's U-Net (``physicsnemo.models.diffusion_unets.SongUNet``, DDPM++) with its sinusoidal positions.

    SongUNetPosEmbd is SongUNet with position channels before its input. Here they are those of the whole field the
    network is called with (``position_channels`` of 4 frequencies' channels), or none: a denoiser of windows
    (:class:`~physicsnemo_fs.models.patched.FSPatchedEDMPrecondSR`) gives every window those of its place, as CorrDiff
    does by ``global_index``. Convolutions pad with zeros at the field's edges; a shape that halving does not divide is
    continued by its last row and column and cropped. It is **not** a neural operator.

    Args:
        in_channels: Channels in, positions not counted.
        out_channels: Channels out.
        model_channels: Base width; CorrDiff's is 128, its mini's 64.
        channel_mult: Width of each level as a multiple of ``model_channels``, finest first.
        num_blocks: Residual blocks a level.
        attn_resolutions: Sides of ``resolution``'s levels with self-attention.
        resolution: Side of the fields it is made for, which only ``attn_resolutions`` refers to.
        dropout: Dropout probability.
        positions: Whether it appends the positions of the field itself; leave it out in a denoiser of windows.

    Raises:
        ValueError: If an input has other channels or is smaller than 16 samples along an axis.

    Example:
        >>> net = FSCorrDiffUNet(3, 1, model_channels=8, channel_mult=(1, 2), num_blocks=1, attn_resolutions=())
        >>> net(torch.randn(2, 3, 36, 50), torch.zeros(2)).shape
        torch.Size([2, 1, 36, 50])

    References:
        Mardani et al., CorrDiff (2309.15214); Song et al., score-based models (2011.13456).
    """

    boundary = "pad"

    smallest_grid = 16

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        model_channels: int = 64,
        channel_mult: Sequence[int] = (1, 2, 2),
        num_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        resolution: int = 64,
        dropout: float = 0.1,
        positions: bool = False,
    ):
        super().__init__()
        from physicsnemo.models.diffusion_unets import SongUNet  # imports every image model of physicsnemo
        from physicsnemo.nn.module.unet_layers import UNetBlock

        self.in_channels = in_channels
        self.out_channels = out_channels
        self.positions = positions
        self.factor = 2 ** (len(channel_mult) - 1)
        self.unet = SongUNet(
            img_resolution=resolution,
            in_channels=in_channels + 4 * positions,
            out_channels=out_channels,
            model_channels=model_channels,
            channel_mult=list(channel_mult),
            num_blocks=num_blocks,
            attn_resolutions=list(attn_resolutions),
            dropout=0.0,
        )
        for block in self.unet.modules():
            if isinstance(block, UNetBlock):
                _drop_before(block.conv1, dropout)

    def forward(
        self,
        x: Float[Tensor, "batch in_channel height width"],
        noise_labels: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Apply the network; ``noise_labels`` is the embedded noise level, zero if absent."""
        check_fields("x", x, self.in_channels, self.smallest_grid)
        if noise_labels is None:
            noise_labels = x.new_zeros(x.shape[0])
        height, width = x.shape[-2:]
        if self.positions:
            positions = position_channels((height, width), [(0, 0)], (height, width), "periodic", 1, x)
            x = torch.cat([x, positions.expand(x.shape[0], -1, -1, -1)], dim=1)
        more = (-width % self.factor, -height % self.factor)
        padded = F.pad(x, (0, more[0], 0, more[1]), mode="replicate") if any(more) else x
        follow_autocast(self.unet, x.device.type)
        return self.unet(padded, noise_labels, class_labels=None)[..., :height, :width]


def follow_autocast(network: Any, device: str) -> None:
    """Tell a network of NVIDIA's whether it runs in autocast, which its layers insist on.

    Args:
        network: One with ``amp_mode``.
        device: Type of its device.
    """
    if network.amp_mode != torch.is_autocast_enabled(device):
        network.amp_mode = torch.is_autocast_enabled(device)


def _drop_before(layer: nn.Module, dropout: float) -> None:
    """Drop values of a layer's input by their sample's key; physicsnemo's own dropout draws from torch's generator."""
    layer.dropout = KeyedDropout(dropout)
    layer.register_forward_pre_hook(_dropped)


def _dropped(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return cast(KeyedDropout, layer.dropout)(inputs[0]), *inputs[1:]
