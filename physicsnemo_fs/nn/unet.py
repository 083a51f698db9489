# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The U-shaped stack of blocks that every backbone here shares; grids are the caller's business."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from physicsnemo_fs.nn.blocks import (
    OperatorBlock,
    PeriodicConv2d,
    SelfAttention2d,
    group_norm,
    known_activation,
    norm_film_activation,
)
from physicsnemo_fs.nn.resample import fourier_resample
from physicsnemo_fs.nn.spectral import SpectralConv2d, SpectralModule

Resample = Callable[[Tensor, tuple[int, int]], Tensor]


def pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Average over the samples of each new cell."""
    if x.shape[-2] % size[0] or x.shape[-1] % size[1]:
        return F.adaptive_avg_pool2d(x, size)
    return F.avg_pool2d(x, (x.shape[-2] // size[0], x.shape[-1] // size[1]))


def repeat(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Repeat the nearest sample."""
    return F.interpolate(x, size=size, mode="nearest")


class UStack(nn.Module):
    """Encoder, middle and decoder blocks with skip connections over a list of grids.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        level_channels: Width of each level, finest first.
        num_blocks: Blocks a level in the encoder and in the decoder.
        embedding_channels: Width of the noise-level embedding.
        local_kernel: Width of the local stencils.
        level_modes: Spectral modes of each level's encoder blocks; 0 for none.
        decoder_modes: The same for the decoder and the middle block; ``None`` for no branch there.
        attention_levels: Levels followed by self-attention.
        activation: ``"silu"`` or ``"gelu"``.
        dropout: Dropout probability inside the blocks.
        spectral_resampling: Move between levels by exact Fourier resampling instead of pooling and repeating.
        spectral_zero_init: Start the spectral branches as zero maps.
        make_spectral: Makes a spectral branch from its channels and modes.

    Raises:
        ValueError: If the per-level lists differ in length, or a level of attention does not exist.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        level_channels: Sequence[int],
        num_blocks: int,
        embedding_channels: int,
        local_kernel: int,
        level_modes: Sequence[int],
        decoder_modes: Sequence[int] | None = None,
        attention_levels: Sequence[int] = (),
        activation: str = "silu",
        dropout: float = 0.0,
        spectral_resampling: bool = False,
        spectral_zero_init: bool = True,
        make_spectral: Callable[[int, int, int, int], SpectralModule] = SpectralConv2d,
    ):
        super().__init__()
        decoder_modes = [0] * len(level_channels) if decoder_modes is None else decoder_modes
        if not len(level_modes) == len(decoder_modes) == len(level_channels):
            raise ValueError(
                f"n_modes needs one entry a level: got {len(level_modes)} for {len(level_channels)} levels"
            )
        if not set(attention_levels) <= set(range(len(level_channels))):
            raise ValueError(
                f"attn_levels must be below the number of levels {len(level_channels)}: got {tuple(attention_levels)}"
            )
        if num_blocks < 1:
            raise ValueError(f"num_blocks must be at least 1: got {num_blocks}")
        levels = range(len(level_channels))

        def block(channels_in: int, channels_out: int, modes: int) -> OperatorBlock:
            return OperatorBlock(
                channels_in,
                channels_out,
                embedding_channels,
                local_kernel,
                modes,
                activation,
                dropout,
                spectral_zero_init,
                make_spectral,
            )

        self.down_map: Resample = fourier_resample if spectral_resampling else pool
        self.up_map: Resample = fourier_resample if spectral_resampling else repeat
        self.activation = known_activation(activation)
        self.lift = PeriodicConv2d(in_channels, level_channels[0], local_kernel)
        self.encoder = nn.ModuleList(
            nn.ModuleList(
                block(level_channels[max(i - 1, 0)] if j == 0 else level_channels[i], level_channels[i], level_modes[i])
                for j in range(num_blocks)
            )
            for i in levels
        )
        self.attention = nn.ModuleDict(
            {str(i): SelfAttention2d(level_channels[i]) for i in levels if i in attention_levels}
        )
        self.middle = block(level_channels[-1], level_channels[-1], decoder_modes[-1])
        self.decoder = nn.ModuleList(
            nn.ModuleList(
                block(
                    2 * level_channels[i] if j == 0 else level_channels[max(i - 1, 0)],
                    level_channels[max(i - 1, 0)],
                    decoder_modes[i],
                )
                for j in range(num_blocks)
            )
            for i in levels
        )
        self.norm_out = group_norm(level_channels[0])
        self.project = PeriodicConv2d(level_channels[0], out_channels, local_kernel, zero_init=True)

    def forward(
        self,
        x: Float[Tensor, "batch channel height width"],
        embedding: Float[Tensor, "batch embedding"],
        grids: Sequence[tuple[int, int]],
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Apply the stack; ``x`` lives on ``grids[0]`` and level ``i`` computes on ``grids[i]``."""
        hidden = self.lift(x)
        skips = []
        for level, (blocks, grid) in enumerate(zip(self.encoder, grids, strict=True)):
            hidden = hidden if level == 0 else self.down_map(hidden, grid)
            for block in cast(nn.ModuleList, blocks):
                hidden = block(hidden, embedding)
            if str(level) in self.attention:
                hidden = self.attention[str(level)](hidden)
            skips.append(hidden)
        hidden = self.middle(hidden, embedding)
        for level in reversed(range(len(grids))):
            hidden = torch.cat([hidden, skips[level]], dim=1)
            for block in cast(nn.ModuleList, self.decoder[level]):
                hidden = block(hidden, embedding)
            if level:
                hidden = self.up_map(hidden, grids[level - 1])
        return self.project(norm_film_activation(self.norm_out, hidden, self.activation))
