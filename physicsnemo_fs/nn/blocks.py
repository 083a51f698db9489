# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Residual blocks on a fixed grid: normalisation, local and spectral mixing, FiLM by the noise level."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from physicsnemo_fs.kernels import group_norm_film_activation, pointwise_map
from physicsnemo_fs.nn.boundary import circular_pad
from physicsnemo_fs.nn.dropout import KeyedDropout
from physicsnemo_fs.nn.spectral import SpectralConv2d, SpectralModule

ACTIVATIONS = ("gelu", "silu")


def known_activation(name: str) -> str:
    """Give the name of an activation back.

    Raises:
        ValueError: If there is none.

    Example:
        >>> known_activation("silu")
        'silu'
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {list(ACTIVATIONS)}: got {name!r}")
    return name


def group_norm(channels: int) -> nn.GroupNorm:
    """Give a GroupNorm of about four channels a group and at most eight groups."""
    groups = max(1, min(8, channels // 4))
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def norm_film_activation(
    norm: nn.GroupNorm,
    x: Float[Tensor, "batch channel height width"],
    activation: str,
    scale: Float[Tensor, "batch channel"] | None = None,
    shift: Float[Tensor, "batch channel"] | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """Normalise, modulate and activate by :func:`physicsnemo_fs.kernels.group_norm_film_activation`."""
    return group_norm_film_activation(x, norm.num_groups, norm.weight, norm.bias, scale, shift, activation, norm.eps)


class PeriodicConv2d(nn.Module):
    """Convolution of odd kernel size on a periodic grid; kernel size 1 is a pointwise map, valid on any grid.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel_size: Odd width of the stencil in samples.
        zero_init: Start as the zero map.

    Example:
        >>> import torch
        >>> PeriodicConv2d(2, 3, 3)(torch.zeros(1, 2, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, zero_init: bool = False):
        super().__init__()
        if kernel_size % 2 == 0 or kernel_size < 1:
            raise ValueError(f"local_kernel must be odd and positive: got {kernel_size}")
        self.half_width = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size)
        if zero_init:
            for parameter in self.conv.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Convolve."""
        if self.half_width:
            return self.conv(circular_pad(x, self.half_width))
        return pointwise_map(x, self.conv.weight.flatten(1), self.conv.bias)


class OperatorBlock(nn.Module):
    r"""Residual block :math:`y = S x + C_2\, a(\mathrm{FiLM}_e(N(C_1 h + K h)))` with :math:`h = a(N x)`.

    ``C`` are local convolutions, ``K`` an optional spectral convolution (zero at the start), ``N`` group norm,
    ``S`` a pointwise map where the channel count changes.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        embedding_channels: Width of the noise-level embedding.
        local_kernel: Width of the local stencil; 1 for a pointwise map.
        modes: Kept modes of the spectral branch per axis (of the real-FFT half along the last); 0 for none.
        activation: ``"silu"`` or ``"gelu"``.
        dropout: Probability of dropping a value before the second convolution.
        spectral_zero_init: Start the spectral branch as the zero map.
        make_spectral: Makes the spectral branch from its channels and modes.

    Example:
        >>> import torch
        >>> OperatorBlock(4, 8, 16, 3, modes=2)(torch.randn(1, 4, 16, 16), torch.randn(1, 16)).shape
        torch.Size([1, 8, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_channels: int,
        local_kernel: int,
        modes: int = 0,
        activation: str = "silu",
        dropout: float = 0.0,
        spectral_zero_init: bool = True,
        make_spectral: Callable[[int, int, int, int], SpectralModule] = SpectralConv2d,
    ):
        super().__init__()
        self.activation = known_activation(activation)
        self.norm_in = group_norm(in_channels)
        self.local_in = PeriodicConv2d(in_channels, out_channels, local_kernel)
        self.spectral: SpectralModule | None = make_spectral(in_channels, out_channels, modes, modes) if modes else None
        if self.spectral is not None and spectral_zero_init:
            self.spectral.zero_()
        self.norm_mid = group_norm(out_channels)
        self.film = nn.Linear(embedding_channels, 2 * out_channels)
        self.dropout = KeyedDropout(dropout)
        self.local_out = PeriodicConv2d(out_channels, out_channels, local_kernel, zero_init=True)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(
        self, x: Float[Tensor, "batch channel height width"], embedding: Float[Tensor, "batch embedding"]
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Apply the block."""
        hidden = norm_film_activation(self.norm_in, x, self.activation)
        mixed = self._mix(hidden)
        scale, shift = self.film(embedding).chunk(2, dim=1)
        modulated = norm_film_activation(self.norm_mid, mixed, self.activation, scale, shift)
        return self._carry(x) + self.local_out(self.dropout(modulated))

    def _carry(self, x: Tensor) -> Tensor:
        if isinstance(self.skip, nn.Identity):
            return x
        return pointwise_map(x, self.skip.weight.flatten(1), self.skip.bias)

    def _mix(self, hidden: Tensor) -> Tensor:
        if self.spectral is None:
            return self.local_in(hidden)
        if self.local_in.half_width:
            return self.spectral(hidden, skip=self.local_in(hidden))
        return self.spectral(hidden, pointwise=self.local_in.conv)


class SelfAttention2d(nn.Module):
    """Multi-head self-attention over all samples of a grid, added to its input; zero at the start.

    Args:
        channels: Channels in and out.
        heads: Number of heads; must divide ``channels``.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 8, 4, 4)
        >>> torch.equal(SelfAttention2d(8, 2)(x), x)
        True
    """

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        if channels % heads:
            raise ValueError(f"attention heads must divide the channels: got {heads} and {channels}")
        self.heads = heads
        self.norm = group_norm(channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.out = PeriodicConv2d(channels, channels, 1, zero_init=True)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Attend."""
        batch, channels, height, width = x.shape
        tokens = self.query_key_value(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, -1)
        query, key, value = tokens.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        return x + self.out(mixed.reshape(batch, channels, height, width))
