# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Dropout whose masks are functions of keys: the same in any batch, on any number of ranks, after any restart."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from physicsnemo_fs.random import derive_key, splitmix64

LEVELS = 1 << 16
"""A value is dropped if its 16-bit word is below a bound: probabilities are multiples of 1 / LEVELS."""


class KeyedDropout(nn.Module):
    r"""Set values to zero with probability ``p`` and scale the others by :math:`1 / (1 - p)`, in training only.

    Within :func:`keyed_dropout` the mask of a sample is a function of the sample's key, of this layer's number in its
    network and of the value's place; outside it is drawn by torch's generator, as :class:`torch.nn.Dropout` does.

    Args:
        p: Probability, rounded to 16 bits.

    Raises:
        ValueError: If ``p`` is not in [0, 1); in training, if there is not one key per sample.

    Example:
        >>> layer, x = KeyedDropout(0.5), torch.ones(2, 1, 1, 8)
        >>> with keyed_dropout(layer, [7, 8]):
        ...     together = layer(x)
        >>> with keyed_dropout(layer, [8]):
        ...     bool((layer(x[:1]) == together[1:]).all())
        True
    """

    def __init__(self, p: float = 0.0):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be at least 0 and below 1: got {p}")
        self.p = p
        self.keys: Tensor | None = None

    def extra_repr(self) -> str:
        """Say the probability."""
        return f"p={self.p}"

    def forward(self, x: Float[Tensor, " batch *shape"]) -> Float[Tensor, " batch *shape"]:
        """Drop values."""
        if not self.training or self.p == 0:
            return x
        if self.keys is None:
            return F.dropout(x, self.p)
        if len(self.keys) != len(x):
            raise ValueError(f"dropout needs one key per sample: got {len(self.keys)} for a batch of {len(x)}")
        dropped = _dropped_levels(self.p)
        return x * kept(self.keys, tuple(x.shape[1:]), self.p) * (LEVELS / (LEVELS - dropped))


def _dropped_levels(p: float) -> int:
    return min(round(p * LEVELS), LEVELS - 1)


def kept(keys: Int64[Tensor, " batch"], shape: tuple[int, ...], p: float) -> Bool[Tensor, " batch *shape"]:
    """Tell which values of each sample are kept: a function of its key alone, the same on every device.

    Args:
        keys: One key per sample.
        shape: Shape of a sample.
        p: Probability that a value is dropped.

    Example:
        >>> [round(float(one), 2) for one in kept(torch.tensor([1, 2]), (500, 500), 0.3).double().mean(dim=(1, 2))]
        [0.7, 0.7]
    """
    count = math.prod(shape)
    counters = torch.arange(-(-count // 4), device=keys.device)
    bits = splitmix64(keys[:, None], counters)
    parts = 16 * torch.arange(4, device=keys.device)  # a view as int16 corrupts memory in what Inductor makes for CPUs
    words = ((bits[..., None] >> parts) & (LEVELS - 1)).flatten(1)[:, :count]
    return (words >= _dropped_levels(p)).reshape(len(keys), *shape)


@contextmanager
def keyed_dropout(network: nn.Module, keys: Sequence[int]) -> Iterator[None]:
    """Give a network's dropout layers the keys of a batch, for the time of a ``with`` block.

    Args:
        network: A network, wrapped or not; its layers are numbered in the order of ``network.modules()``.
        keys: One 63-bit key per sample of the batch.
    """
    layers = [m for m in network.modules() if isinstance(m, KeyedDropout) and m.training and m.p > 0]
    if layers:
        parameter = next(network.parameters(), None)
        table = [[derive_key(key, "dropout layer", number) for key in keys] for number in range(len(layers))]
        words = torch.tensor(table, device=None if parameter is None else parameter.device)
        for layer, own in zip(layers, words, strict=True):
            layer.keys = own
    try:
        yield
    finally:
        for layer in layers:
            layer.keys = None


def unkeyed_dropout(network: nn.Module) -> str | None:
    """Name the first layer that drops by torch's generator, if there is one.

    Example:
        >>> unkeyed_dropout(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Dropout(0.1))), unkeyed_dropout(KeyedDropout(0.1))
        ('1 (Dropout)', None)
    """
    layers = ((name, m) for name, m in network.named_modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    return next((f"{name} ({type(m).__name__})" for name, m in layers if m.p > 0), None)
