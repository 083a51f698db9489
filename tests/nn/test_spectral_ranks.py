# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Spectral layers on several ranks: replicated (DDP) and with sharded parameters (FSDP2)."""

import datetime

import pytest
import torch
from ranks import on_ranks
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from physicsnemo_fs.nn.spectral import SpectralConv2d
from physicsnemo_fs.testing import assert_close

RANKS = 2


def make_network():
    torch.manual_seed(1)
    return torch.nn.Sequential(SpectralConv2d(2, 4, 3, 3), torch.nn.SiLU(), SpectralConv2d(4, 1, 3, 3))


def train(network, x, parameters):
    """Take three steps."""
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()


def images():
    return torch.randn(2 * RANKS, 2, 12, 10, generator=torch.Generator().manual_seed(2))


def expected_weights():
    network = make_network()
    train(network, images(), network.parameters())
    return network.state_dict()


def own_images():
    return images().chunk(RANKS)[distributed.get_rank()]


def check(state, expected):
    assert list(state) == list(expected)
    for name, value in state.items():
        assert_close(value, expected[name], 1e-5)


def replicated(expected):
    distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    network = make_network()
    train(DistributedDataParallel(network), own_images(), network.parameters())
    check(network.state_dict(), expected)
    distributed.destroy_process_group()


def sharded(expected):
    distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    mesh = init_device_mesh("cpu", (RANKS,))
    network = make_network()
    for module in (network[0], network[2], network):
        fully_shard(module, mesh=mesh)
    train(network, own_images(), network.parameters())
    check(network.state_dict(), expected)
    network.load_state_dict({name: 2 * value for name, value in expected.items()})
    check(network.state_dict(), {name: 2 * value for name, value in expected.items()})
    distributed.destroy_process_group()


@pytest.mark.parametrize("task", [replicated, sharded])
def test_ranks_train_like_one_process(task):
    assert on_ranks(RANKS, task, expected_weights()) == [0] * RANKS
