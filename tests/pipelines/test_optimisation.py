# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Optimisers, learning rate, moving average of the weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from physicsnemo_fs.config import HyperParameters
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.nn.spectral import SpectralConv2d
from physicsnemo_fs.pipelines.optimisation import (
    KernelMuon,
    MovingAverage,
    build_optimizer,
    learning_rate,
    mixing_kernels,
)


def small_network():
    return FSUNO(2, 1, model_channels=8, channel_mult=(1, 2), level_grid=(32, 16), n_modes=(0, 3))


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_every_parameter_moves_under_either_optimizer(name):
    torch.manual_seed(0)
    network = small_network()
    optimizer = build_optimizer(network, HyperParameters(optimizer=name, lr=1e-2))
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer.step()
    assert [n for n, p in network.named_parameters() if torch.equal(p, before[n])] == []
    optimizer.zero_grad(set_to_none=True)
    assert all(p.grad is None for p in network.parameters())


def test_muon_takes_the_hidden_convolutions_local_and_spectral_and_nothing_else():
    network = small_network()
    kernels = {id(kernel) for kernel, _ in mixing_kernels(network)}
    names = {n for n, p in network.named_parameters() if id(p) in kernels}
    assert {"stack.encoder.0.0.local_in.conv.weight", "stack.encoder.1.0.spectral.weight"} <= names
    assert not {n for n in names if "project" in n or "film" in n or n.endswith("bias")}


def test_the_matrix_of_a_spectral_kernel_maps_modes_of_channels_to_parts_of_channels():
    layer = SpectralConv2d(8, 4, 3, 2)
    ((kernel, shape),) = mixing_kernels(layer)
    assert kernel is layer.weight
    assert shape == (2 * 3 * 2 * 8, 4 * 2)


def test_a_muon_step_is_near_orthogonal_and_ignores_the_gradients_scale():
    torch.manual_seed(0)
    gradient = torch.randn(16, 4, 3, 3)
    steps = []
    for scale in (1.0, 1e-6):
        kernel = nn.Parameter(torch.zeros(16, 4, 3, 3))
        kernel.grad = scale * gradient
        KernelMuon([(kernel, (16, 36))], lr=1.0, weight_decay=0.0).step()
        steps.append(kernel.detach().view(16, -1))
    assert torch.allclose(steps[0], steps[1], atol=0.05)
    singular = torch.linalg.svdvals(steps[0]) / (0.2 * 36**0.5)
    assert 0.5 < float(singular.min()) <= float(singular.max()) < 1.3


def test_weight_decay_is_decoupled_for_kernels():
    kernel = nn.Parameter(torch.ones(8, 8, 1, 1))
    kernel.grad = torch.zeros_like(kernel)
    KernelMuon([(kernel, (8, 8))], lr=0.5, weight_decay=0.1).step()
    assert torch.allclose(kernel, torch.tensor(0.95))


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_restored_optimizer_takes_the_same_steps(name):
    torch.manual_seed(0)
    hp = HyperParameters(optimizer=name, lr=1e-2)
    gradients = [[torch.randn_like(p) for p in small_network().parameters()] for _ in range(4)]

    def walk(network, optimizer, steps):
        for step in steps:
            for parameter, gradient in zip(network.parameters(), gradients[step], strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()

    whole = small_network()
    start = {n: p.clone() for n, p in whole.state_dict().items()}
    walk(whole, build_optimizer(whole, hp), range(4))
    first, second = small_network(), small_network()
    first.load_state_dict(start)
    optimizer = build_optimizer(first, hp)
    walk(first, optimizer, range(2))
    resumed = build_optimizer(second, hp)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(optimizer.state_dict())
    walk(second, resumed, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_the_learning_rate_never_exceeds_its_peak_and_ends_at_zero():
    hp = HyperParameters(training_duration=1000, lr=1.0, lr_rampup=100)
    rates = [learning_rate(hp, i) for i in range(0, 1001, 10)]
    assert max(rates) <= 1.0
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)
    constant = replace(hp, lr_decay="constant")
    assert learning_rate(constant, 1000) == 1.0


def test_the_moving_average_of_constant_weights_is_those_weights():
    network = torch.nn.Linear(3, 2)
    average = MovingAverage(network, halflife=100)
    for _ in range(5):
        average.update(network, 16)
    assert torch.allclose(average.network.weight, network.weight)
    torch.nn.init.zeros_(network.weight)
    for _ in range(2000):
        average.update(network, 16)
    assert float(average.network.weight.detach().abs().max()) < 1e-6
