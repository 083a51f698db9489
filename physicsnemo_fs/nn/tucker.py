# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Spectral convolution whose weights are a Tucker product: far fewer parameters, and work at the rank."""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.kernels import pointwise_map, spectral_conv2d
from physicsnemo_fs.nn.spectral import SpectralConv2d, SpectralModule


class TuckerSpectralConv2d(SpectralModule):
    r"""Spectral convolution with the matrices :math:`R_k = U\, G_k\, V^\top` of few channels and modes.

    .. math:: G_{k} = \sum_{ab} A_{k_1 a}\, B_{k_2 b}\; G_{\cdot\cdot ab}

    with a complex core :math:`G` and real factors, a Tucker product of the real weight tensor
    ``[in, out, rows, columns, 2]`` that leaves its last axis whole. The channel factors act on grid values, so that
    transforms and mode mixing run on the ranks' channels: :math:`V\, K_G\, U^\top x`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        modes1: Half of the number of kept rows.
        modes2: Kept columns of the real-FFT half.
        rank: Parameters as a share of the dense layer's, in (0, 1].

    Raises:
        InputError: A count is not positive, or ``rank`` is outside (0, 1].

    Example:
        >>> layer = TuckerSpectralConv2d(8, 8, 4, 5, rank=0.1)
        >>> sum(p.numel() for p in layer.parameters()) <= 0.1 * 8 * 8 * 8 * 5 * 2
        True
        >>> layer(torch.zeros(1, 8, 16, 20)).shape
        torch.Size([1, 8, 16, 20])

    References:
        Tucker (1966), Psychometrika 31, 279-311; Kossaifi et al., Multi-Grid Tensorized FNO (2310.00120), section 3.
    """

    def __init__(self, in_channels: int, out_channels: int, modes1: int, modes2: int, rank: float):
        super().__init__(in_channels, out_channels, modes1, modes2)
        if not 0 < rank <= 1:
            raise InputError(f"rank must be a share in (0, 1] of the dense parameters: got {rank}; choose 0.1, say")
        lengths = (in_channels, out_channels, 2 * modes1, modes2)
        ranks = tucker_ranks(lengths, rank)
        self.core = torch.nn.Parameter(torch.empty(*ranks, 2))
        self.factors = torch.nn.ParameterList(torch.empty(n, r) for n, r in zip(lengths, ranks, strict=True))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw a weight tensor of the variance that the dense layer starts with."""
        for factor in self.factors:
            torch.nn.init.normal_(factor, std=factor.shape[1] ** -0.5)
        torch.nn.init.normal_(self.core, std=1 / (math.sqrt(3) * self.in_channels * self.out_channels))

    def zero_(self) -> None:
        """Make it the zero map; the factors keep their values, so that the core learns."""
        torch.nn.init.zeros_(self.core)

    def forward(
        self,
        x: Float[Tensor, "batch in_channels height width"],
        out_size: tuple[int, int] | None = None,
        skip: Float[Tensor, "batch out_channels out_height out_width"] | None = None,
        pointwise: torch.nn.Conv2d | None = None,
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        """Give what :meth:`.SpectralConv2d.forward` gives."""
        modes = self.supported_modes(x, out_size)
        self.require_addends(x, out_size, skip, pointwise)
        narrow = pointwise_map(x, self.factors[0].T)
        mixed = spectral_conv2d(narrow, self._core_modes(*modes), modes, out_size)
        wide = pointwise_map(mixed, self.factors[1])
        wide = wide if skip is None else wide + skip
        if pointwise is not None:
            wide = wide + pointwise_map(x, pointwise.weight.flatten(1), pointwise.bias)
        return wide.to(x.dtype)

    def dense_weight(self) -> Float[Tensor, "modes in_channels out_channels 2"]:
        """Give the weight of the :class:`physicsnemo_fs.nn.spectral.SpectralConv2d` that is the same map."""
        core = self._core_modes(self.modes1, self.modes2)
        return torch.einsum("krsz,ir,os->kioz", core, self.factors[0], self.factors[1])

    def _core_modes(self, modes1: int, modes2: int) -> Tensor:
        """Give the core's matrix of each mode, [2*modes1*modes2, rank, rank, 2]."""
        rows, columns = self.factors[2], self.factors[3]
        rows = torch.cat([rows[:modes1], rows[2 * self.modes1 - modes1 :]])
        return torch.einsum("rsabz,ka,lb->klrsz", self.core, rows, columns[:modes2]).flatten(0, 1)


def tucker_ranks(lengths: tuple[int, ...], share: float) -> tuple[int, ...]:
    """Give ranks in proportion to the axes' lengths, the largest whose parameters are at most ``share`` of all.

    Core (of complex numbers) and factors count; every rank is at least 1.

    Example:
        >>> tucker_ranks((64, 64, 32, 16), 0.1)
        (35, 35, 17, 8)
    """
    allowed = share * 2 * math.prod(lengths)

    def ranks(scale: float) -> tuple[int, ...]:
        return tuple(max(1, int(scale * n)) for n in lengths)

    def count(chosen: tuple[int, ...]) -> int:
        return 2 * math.prod(chosen) + sum(n * r for n, r in zip(lengths, chosen, strict=True))

    scales = sorted({step / n for n in lengths for step in range(1, n + 1)})
    fitting = [s for s in scales if count(ranks(s * (1 + 1e-9))) <= allowed]
    return ranks(fitting[-1] * (1 + 1e-9)) if fitting else (1,) * len(lengths)


def spectral_factory(factorization: str | None, rank: float | None) -> Callable[[int, int, int, int], SpectralModule]:
    """Give what makes a spectral convolution from its channels and modes.

    Args:
        factorization: ``None`` for dense weights, or ``"tucker"``.
        rank: Share of the dense parameters that a factorised layer has.

    Raises:
        InputError: The factorisation does not exist, or only one of the two is given.

    Example:
        >>> spectral_factory("tucker", 0.2)(8, 8, 4, 4)
        TuckerSpectralConv2d(
          8, 8, modes1=4, modes2=4
          (factors): ParameterList(
              (0): Parameter containing: [torch.float32 of size 8x5]
              (1): Parameter containing: [torch.float32 of size 8x5]
              (2): Parameter containing: [torch.float32 of size 8x5]
              (3): Parameter containing: [torch.float32 of size 4x2]
          )
        )
    """
    if factorization not in (None, "tucker"):
        raise InputError(f"factorization must be None or 'tucker': got {factorization!r}; choose one")
    if (factorization is None) != (rank is None):
        raise InputError(
            f"rank is the share of a factorised layer: got rank={rank} with factorization={factorization}; give both "
            "or none"
        )
    return SpectralConv2d if rank is None else partial(TuckerSpectralConv2d, rank=rank)
