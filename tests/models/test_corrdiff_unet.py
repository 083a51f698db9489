# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff's U-Net under this pipeline: what NVIDIA's class computes, on any grid, whole or in windows."""

import pytest
import torch
from physicsnemo.models.diffusion_unets import SongUNet
from random_networks import randomize

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.corrdiff_unet import FSCorrDiffUNet
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.nn.windows import position_channels

SMALL = {"model_channels": 8, "channel_mult": (1, 2), "num_blocks": 1, "attn_resolutions": (), "dropout": 0.0}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unet(channels=3, **options):
    return randomize(FSCorrDiffUNet(channels, 1, **SMALL | options)).eval()


@torch.no_grad()
def test_it_is_nvidias_network():
    ours = unet()
    theirs = SongUNet(64, 3, 1, **SMALL | {"channel_mult": [1, 2], "attn_resolutions": []}).eval()
    theirs.load_state_dict(ours.unet.state_dict())
    x, labels = draw(2, 3, 32, 48), draw(2, seed=1)
    assert torch.equal(ours(x, labels), theirs(x, labels, None))


@torch.no_grad()
@pytest.mark.parametrize("shape", [(33, 50), (16, 17), (64, 64)])
def test_any_grid_is_taken(shape):
    net = unet()
    x = draw(1, 3, *shape)
    assert net(x, torch.zeros(1)).shape == (1, 1, *shape)
    assert torch.equal(net(x, torch.zeros(1)), net(x))


@torch.no_grad()
def test_positions_are_four_more_channels():
    with_positions, without, x = unet(3, positions=True), unet(7), draw(1, 3, 32, 48)
    without.load_state_dict(with_positions.state_dict())
    places = position_channels((32, 48), [(0, 0)], (32, 48), "periodic", 1, x)
    assert torch.equal(with_positions(x), without(torch.cat([x, places], dim=1)))


@torch.no_grad()
def test_autocast_is_followed():
    net, x = unet(), draw(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = net(x)
    assert net.unet.amp_mode
    torch.testing.assert_close(inside.float(), net(x), rtol=0, atol=0.05 * float(net(x).std()))
    assert not net.unet.amp_mode


@torch.no_grad()
def test_it_serves_as_mean_denoiser_and_denoiser_of_windows():
    x, y, level = draw(1, 1, 32, 48), draw(1, 2, 32, 48, seed=1), torch.tensor(0.7)
    assert FSRegressionSR(unet(2)).eval()(None, y).shape == x.shape
    assert FSEDMPrecondSR(unet(3)).eval()(x, y, level).shape == x.shape
    patched = FSPatchedEDMPrecondSR(unet(3 + 4 + 1), (24, 20), (32, 48), context_channels=[0]).eval()
    assert patched(x, y, level).shape == x.shape


def test_positions_of_its_own_are_refused_in_windows():
    with pytest.raises(InputError, match=r"positions of its own; build it with positions=False"):
        FSPatchedEDMPrecondSR(unet(7, positions=True), (24, 20), (32, 48))
