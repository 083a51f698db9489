# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""FSUNO: the U-shaped neural operator."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.models.base import FSModule, check_fields, parameter_dtype
from physicsnemo_fs.nn.boundary import MARGIN, crop, extend
from physicsnemo_fs.nn.embedding import COORDINATE_COUNT, NoiseLevelEmbedding, coordinate_channels
from physicsnemo_fs.nn.resample import fourier_resample
from physicsnemo_fs.nn.tucker import spectral_factory
from physicsnemo_fs.nn.unet import UStack

OVERSAMPLING = 4
"""Samples a mode of the pure spectral operator's deeper levels."""


class FSUNO(FSModule):
    r"""U-shaped neural operator: one set of weights, one map between functions, evaluated on any grid.

    With ``level_grid`` (default) every level computes on a *pinned* physical grid: the input is carried to the
    finest level grid by exact Fourier resampling :math:`R`, the U-shaped stack :math:`U` of local convolutions and
    few-mode spectral branches works there, and the output is carried back,

    .. math:: F_N = R_{g_0 \to N}\, U\, R_{N \to g_0},

    so that inputs which agree on the band :math:`|k| < g_0/2` give the same output function at every resolution,
    to rounding. Modes beyond the band see :math:`F = 0`. With ``level_grid=None`` the operator is purely spectral
    (pointwise maps and spectral convolutions only), a U-NO whose first level computes on the input's own grid and
    whose deeper levels compute on fixed grids of four times their modes (never finer than the input's), so that only
    the aliasing of the first level's nonlinearities depends on the resolution.

    Args:
        in_channels: Channels in, coordinates not counted.
        out_channels: Channels out.
        model_channels: Base width.
        channel_mult: Width of each level as a multiple of ``model_channels``, finest first.
        num_blocks: Blocks a level.
        level_grid: Samples along the shorter side at each level (the longer side follows with square pixels), or
            ``None`` for the pure spectral operator.
        n_modes: Spectral modes of each level: rows ``-m .. m-1`` and columns ``0 .. m-1`` of the real-FFT half.
            A zero drops the branch. On pinned grids the branches sit in the encoder, where they paid.
        local_kernel: Odd stencil width on the pinned grids; must be 1 for the pure spectral operator.
        attn_levels: Levels with self-attention (pinned grids only: the token count must not depend on the input).
        coord_features: ``"none"``, ``"periodic"`` or ``"bounded"`` position channels.
        boundary: ``"periodic"``, or ``"pad"`` to extend a bounded domain smoothly before the Fourier maps. The margin
            is an eighth of the domain, to the next sample: resolutions agree to first order in the spacing, and
            stencils of the coarsest levels that are wider than the margin still couple opposite edges.
        activation: ``"silu"`` or ``"gelu"``.
        embedding_channels: Width of the noise-level embedding.
        dropout: Dropout probability.
        factorization: ``"tucker"`` for spectral weights of low rank, ``None`` for dense ones.
        rank: Parameters of a factorised spectral weight as a share of the dense one's.

    Raises:
        ValueError: If the options contradict each other, or an input has the wrong channels or fewer than 16 samples
            along an axis.

    Example:
        >>> net = FSUNO(3, 1, model_channels=4, channel_mult=(1, 2), level_grid=(32, 16), n_modes=(0, 4))
        >>> net(torch.randn(2, 3, 48, 64), torch.zeros(2)).shape
        torch.Size([2, 1, 48, 64])

    References:
        Rahman et al., U-NO (2204.11127); Raonic et al., Convolutional Neural Operators (2302.01178); aliasing and
        resolution invariance: Fanaskov and Oseledets (2205.10573), Bartolucci et al. (2305.19913); Tucker weights:
        Kossaifi et al. (2310.00120).
    """

    smallest_grid = 16

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        model_channels: int = 16,
        channel_mult: Sequence[int] = (1, 2, 3, 4),
        num_blocks: int = 1,
        level_grid: Sequence[int] | None = (64, 32, 16, 8),
        n_modes: Sequence[int] = (0, 4, 4, 0),
        local_kernel: int = 3,
        attn_levels: Sequence[int] = (),
        coord_features: str = "none",
        boundary: str = "periodic",
        activation: str = "silu",
        embedding_channels: int = 96,
        dropout: float = 0.0,
        factorization: str | None = None,
        rank: float | None = None,
    ):
        super().__init__()
        if level_grid is not None and len(level_grid) != len(channel_mult):
            raise ValueError(
                f"level_grid needs one entry a level: got {len(level_grid)} for channel_mult of {len(channel_mult)}"
            )
        if level_grid is None and (local_kernel != 1 or attn_levels or not all(n_modes)):
            raise ValueError(
                "the pure spectral operator (level_grid=None) needs local_kernel=1, attn_levels=() and modes at every "
                f"level: got local_kernel={local_kernel}, attn_levels={tuple(attn_levels)}, n_modes={tuple(n_modes)}"
            )
        if any(m < 0 for m in n_modes):
            raise ValueError(f"n_modes must not be negative: got n_modes={tuple(n_modes)}; 0 is a level without modes")
        if level_grid is not None and any(2 * m > grid for m, grid in zip(n_modes, level_grid, strict=False)):
            raise ValueError(
                "n_modes must not exceed half of each level's grid: "
                f"got n_modes={tuple(n_modes)} for level_grid={tuple(level_grid)}"
            )
        if boundary not in ("periodic", "pad"):
            raise ValueError(f"boundary must be 'periodic' or 'pad': got {boundary!r}")
        if coord_features not in COORDINATE_COUNT:
            raise ValueError(f"coord_features must be one of {sorted(COORDINATE_COUNT)}: got {coord_features!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.level_grid = None if level_grid is None else tuple(level_grid)
        self.n_modes = tuple(n_modes)
        self.coord_features = coord_features
        self.boundary = boundary
        self.embedding_channels = embedding_channels
        self.embedding = NoiseLevelEmbedding(embedding_channels)
        self.stack = UStack(
            in_channels + COORDINATE_COUNT[coord_features],
            out_channels,
            [model_channels * m for m in channel_mult],
            num_blocks,
            embedding_channels,
            local_kernel,
            n_modes,
            n_modes if level_grid is None else None,
            attn_levels,
            activation,
            dropout,
            spectral_resampling=level_grid is None,
            spectral_zero_init=level_grid is not None,
            make_spectral=spectral_factory(factorization, rank),
        )

    def level_shapes(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        """Give the grid of every level for an input of ``shape``.

        Example:
            >>> FSUNO(1, 1).level_shapes((128, 192))
            [(64, 96), (32, 48), (16, 24), (8, 12)]
        """
        height, width = shape
        short = min(shape)
        if self.level_grid is None:
            sides = [short, *(min(short, OVERSAMPLING * m) for m in self.n_modes[1:])]
        else:
            sides = list(self.level_grid)
        return [(round(g * height / short), round(g * width / short)) for g in sides]

    def forward(
        self,
        x: Float[Tensor, "batch in_channel height width"],
        noise_labels: Float[Tensor, " batch"] | None = None,
        encoded: Float[Tensor, "batch encoded_channel grid_height grid_width"] | None = None,
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Apply the operator.

        Args:
            x: Input functions.
            noise_labels: The embedded noise level, zero if absent.
            encoded: The last input channels as :meth:`encode` gives them; ``x`` then holds the others.
        """
        check_fields("x", x, self.in_channels - (0 if encoded is None else encoded.shape[1]), self.smallest_grid)
        if noise_labels is None:
            noise_labels = x.new_zeros(x.shape[0])
        embedding = self.embedding(noise_labels)
        native = (x.shape[-2], x.shape[-1])
        if self.level_grid is None:
            x = self._extend(self._append_coordinates(x, native))
            return crop(self.stack(x, embedding, self.level_shapes((x.shape[-2], x.shape[-1]))), native)
        grids = self.level_shapes(native)
        x = self._extend(x)
        extended = (x.shape[-2], x.shape[-1])
        extended_grids = [self._extended_shape(grid) for grid in grids]
        pinned = fourier_resample(x, extended_grids[0]).to(parameter_dtype(self))
        if encoded is not None:
            pinned = torch.cat([pinned, encoded], dim=1)
        hidden = self.stack(self._append_coordinates(pinned, grids[0]), embedding, extended_grids)
        return crop(fourier_resample(hidden, extended), native)

    def encode(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel grid_height grid_width"] | None:
        """Give input channels on the grid of the first level, so that many calls can share them.

        Returns:
            What ``forward`` takes as ``encoded``; ``None`` for the pure spectral operator, which computes on the
            input's own grid.
        """
        if self.level_grid is None:
            return None
        grid = self._extended_shape(self.level_shapes((x.shape[-2], x.shape[-1]))[0])
        return fourier_resample(self._extend(x), grid).to(parameter_dtype(self))

    def _extend(self, x: Tensor) -> Tensor:
        return extend(x, MARGIN) if self.boundary == "pad" else x

    def _extended_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        stretch = 1 + MARGIN if self.boundary == "pad" else 1
        return round(shape[0] * stretch), round(shape[1] * stretch)

    def _append_coordinates(self, x: Tensor, domain: tuple[int, int]) -> Tensor:
        """Append the position on the domain, whose share of the grid of ``x`` has the shape ``domain``."""
        coordinates = coordinate_channels(self.coord_features, domain, x)
        if coordinates is None:
            return x
        size = (x.shape[-2], x.shape[-1])
        if size != domain:
            coordinates = fourier_resample(extend(coordinates[None], MARGIN)[0], size)
        return torch.cat([x, coordinates.expand(x.shape[0], -1, -1, -1)], dim=1)
