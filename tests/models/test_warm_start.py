# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Starting a backbone from another one's weights."""

import pytest
import torch
from random_networks import band_limited, tiny_fsuno

from physicsnemo_fs.models.conv_unet import FSConvUNet
from physicsnemo_fs.models.warm_start import fits, start_from


@torch.no_grad()
@pytest.mark.parametrize("positions", ["none", "periodic"])
def test_a_started_network_computes_what_its_source_does_where_the_other_inputs_are_zero(positions):
    source, network = tiny_fsuno(3, coord_features=positions), tiny_fsuno(5, seed=1, coord_features=positions)
    start_from(network, source, [3, 4, 1])
    network.stack.project.load_state_dict(source.stack.project.state_dict())
    y = band_limited((16, 20))
    x = torch.zeros(2, 5, 16, 20)
    x[:, [3, 4, 1]] = y
    assert torch.allclose(network(x), source(y), atol=1e-5)


@torch.no_grad()
def test_the_last_map_and_the_other_inputs_keep_their_weights():
    source, network = tiny_fsuno(3), tiny_fsuno(5, seed=1)
    before = {name: p.clone() for name, p in network.named_parameters()}
    start_from(network, source, [2, 3, 4])
    after = dict(network.named_parameters())
    assert torch.equal(after["stack.project.conv.weight"], before["stack.project.conv.weight"])
    assert torch.equal(after["stack.lift.conv.weight"][:, :2], before["stack.lift.conv.weight"][:, :2])
    assert not torch.equal(after["stack.lift.conv.weight"][:, 2:], before["stack.lift.conv.weight"][:, 2:])


@pytest.mark.parametrize("source", [FSConvUNet(3, 1), tiny_fsuno(3, model_channels=8)], ids=["class", "width"])
def test_another_build_is_refused(source):
    network = tiny_fsuno(5)
    assert not fits(network, source)
    with pytest.raises(ValueError, match="of the same build"):
        start_from(network, source, [0, 1, 2])


def test_a_channel_for_each_input_is_needed():
    with pytest.raises(ValueError, match="a channel for each of its inputs"):
        start_from(tiny_fsuno(5), tiny_fsuno(3), [0, 1])
