# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""FSConvUNet: the pixel-grid convolutional U-Net that serves as a baseline."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.models.base import FSModule, check_fields
from physicsnemo_fs.nn.embedding import NoiseLevelEmbedding
from physicsnemo_fs.nn.unet import UStack


class FSConvUNet(FSModule):
    """Plain U-Net of 3x3 convolutions on the input's own pixels: the baseline, **not** a neural operator.

    Its stencils shrink with the pixel, so another resolution means another map. It is built from the same blocks as
    :class:`~physicsnemo_fs.models.fsuno.FSUNO`, so that comparisons isolate the grid.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        model_channels: Base width.
        channel_mult: Width of each level as a multiple of ``model_channels``, finest first.
        num_blocks: Blocks a level.
        embedding_channels: Width of the noise-level embedding.
        dropout: Dropout probability.

    Raises:
        ValueError: If an input has the wrong channels or is smaller than 16 samples along an axis.

    Example:
        >>> import torch
        >>> FSConvUNet(3, 1, channel_mult=(1, 2))(torch.randn(1, 3, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
    """

    smallest_grid = 16

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        model_channels: int = 16,
        channel_mult: Sequence[int] = (1, 2, 3, 4),
        num_blocks: int = 1,
        embedding_channels: int = 96,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_levels = len(channel_mult)
        self.embedding = NoiseLevelEmbedding(embedding_channels)
        self.stack = UStack(
            in_channels,
            out_channels,
            [model_channels * m for m in channel_mult],
            num_blocks,
            embedding_channels,
            local_kernel=3,
            level_modes=[0] * len(channel_mult),
            dropout=dropout,
        )

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
        grids = [(-(-height // 2**i), -(-width // 2**i)) for i in range(self.num_levels)]
        return self.stack(x, self.embedding(noise_labels), grids)
