# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Optimiser, learning rate, moving average of the weights."""

import copy
import math
from collections.abc import Iterable, Iterator

import torch
from physicsnemo.optim import CombinedOptimizer, Muon
from torch import Tensor, nn

from physicsnemo_fs.config import HyperParameters
from physicsnemo_fs.nn.spectral import SpectralConv2d

BETAS = (0.9, 0.99)
MOMENTUM = 0.9
SMALLEST_MATRIX_SIDE = 8
"""Convolutions that map from or to fewer values carry fields in or out: AdamW's, not Muon's."""


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


class KernelMuon(Muon):
    """Muon on the kernels of convolutions, each seen as a matrix between channels.

    The update's orthogonal factor replaces the momentum, scaled to the root mean square of an AdamW update, so that
    one learning rate serves both.

    Args:
        kernels: Contiguous weights and the shapes of their matrices, as :func:`mixing_kernels` gives them.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.

    Example:
        >>> kernel = nn.Parameter(torch.zeros(8, 4, 3, 3))
        >>> optimizer = KernelMuon([(kernel, (8, 36))], lr=1.0, weight_decay=0.0)
        >>> kernel.grad = torch.randn_like(kernel)
        >>> optimizer.step()
        >>> bool(0.1 < kernel.square().mean().sqrt() < 0.3)
        True

    References:
        Jordan et al., Muon (2024), https://kellerjordan.github.io/posts/muon; scaling: Liu et al. (2502.16982), eq. 4.
    """

    def __init__(self, kernels: Iterable[tuple[Tensor, tuple[int, int]]], lr: float, weight_decay: float):
        pairs = list(kernels)
        self.kernels = [kernel for kernel, _ in pairs]
        matrices = [nn.Parameter(kernel.detach().view(shape)) for kernel, shape in pairs]
        super().__init__(matrices, lr=lr, weight_decay=weight_decay, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        super().zero_grad(set_to_none)
        for kernel in self.kernels:
            if set_to_none:
                kernel.grad = None
            elif kernel.grad is not None:
                kernel.grad.zero_()

    def step(self, closure=None):
        """Take a step with the kernels' gradients."""
        for kernel, matrix in zip(self.kernels, self.param_groups[0]["params"], strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.reshape(matrix.shape)
        return super().step(closure)


def mixing_kernels(network: nn.Module) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Give the kernels that mix hidden channels, which Muon suits, and the shapes of their matrices.

    A local convolution's is ``[out_channel, in_channel * height * width]``, a spectral one's
    ``[mode * in_channel, out_channel * 2]`` with real and imaginary parts apart.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight
            shape = (weight.shape[0], weight[0].numel())
        elif isinstance(module, SpectralConv2d):
            weight = module.weight
            shape = (weight.shape[0] * weight.shape[1], weight[0, 0].numel())
        else:
            continue
        if min(shape) >= SMALLEST_MATRIX_SIDE:
            yield weight, shape


def build_optimizer(network: nn.Module, hp: HyperParameters) -> torch.optim.Optimizer:
    """Give the optimiser that ``hp.optimizer`` names.

    Args:
        network: The network to train, on its device.
        hp: ``optimizer="adamw"``, or ``"muon"``: Muon for the local and spectral convolutions between hidden channels,
            AdamW for everything else (factorised weights, linear maps, norms, biases, the first and the last map).

    Example:
        >>> build_optimizer(nn.Conv2d(8, 8, 3), HyperParameters(optimizer="muon"))
        CombinedOptimizer(KernelMuon, AdamW)
    """
    kernels = list(mixing_kernels(network)) if hp.optimizer == "muon" else []
    taken = {id(kernel) for kernel, _ in kernels}
    others = [p for p in network.parameters() if id(p) not in taken]
    fused = others[0].device.type in ("cuda", "cpu")
    adamw = torch.optim.AdamW(others, hp.lr, betas=BETAS, weight_decay=hp.weight_decay, fused=fused)
    return CombinedOptimizer([KernelMuon(kernels, hp.lr, hp.weight_decay), adamw]) if kernels else adamw


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
