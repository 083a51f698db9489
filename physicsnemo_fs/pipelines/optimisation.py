# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Learning rate, moving average of the weights."""

import copy
import math

import torch

from physicsnemo_fs.config import HyperParameters


def learning_rate(hp: HyperParameters, images: int) -> float:
    """Give the learning rate after ``images`` training images: linear warm-up, then cosine or constant.

    Example:
        >>> hp = HyperParameters(training_duration=1000, lr=1.0, lr_rampup=100)
        >>> [round(learning_rate(hp, i), 3) for i in (0, 50, 100, 1000)]
        [0.0, 0.497, 0.976, 0.0]
    """
    rate = hp.lr * min(1.0, images / hp.lr_rampup if hp.lr_rampup else 1.0)
    if hp.lr_decay == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, images / hp.training_duration)))
    return rate


class MovingAverage:
    r"""Exponential moving average of a network's weights, warmed up so that early weights are forgotten.

    .. math::
        \bar\theta \leftarrow d\,\bar\theta + (1-d)\,\theta,\qquad
        d = \min\bigl(2^{-b/h},\ (1+n)/(10+n)\bigr)

    for batches of ``b`` images, half-life ``h`` images and the n-th update.

    Args:
        network: The network to follow; it is copied.
        halflife: Half-life in images.
    """

    def __init__(self, network: torch.nn.Module, halflife: int):
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.halflife = halflife
        self.updates = 0

    @torch.no_grad()
    def update(self, network: torch.nn.Module, batch_size: int) -> None:
        """Follow ``network`` after a step of ``batch_size`` images."""
        self.updates += 1
        decay = min(0.5 ** (batch_size / self.halflife), (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
