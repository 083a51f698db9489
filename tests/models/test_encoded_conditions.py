# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Conditions that are encoded once give what conditions at every call give."""

import pytest
import torch
from random_networks import randomize

from physicsnemo_fs.models.conv_unet import FSConvUNet
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO

PINNED = {"channel_mult": (1, 2), "level_grid": (32, 16), "n_modes": (0, 3), "model_channels": 4}


@pytest.mark.parametrize("options", [{}, {"boundary": "pad", "coord_features": "bounded"}])
@pytest.mark.parametrize("shape", [(32, 32), (48, 64)])
def test_the_same_with_conditions_encoded_once(options, shape):
    net = randomize(FSEDMPrecondSR(FSUNO(5, 2, **PINNED, **options))).eval()
    x, condition, sigma = torch.randn(2, 2, *shape), torch.randn(1, 3, *shape), torch.tensor([0.3, 4.0])
    encoded = net.encode(condition)
    expected = net(x, sigma, condition.expand(2, -1, -1, -1))
    found = net(x, sigma, encoded=encoded.expand(2, -1, -1, -1))
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (expected - net(x, sigma, torch.zeros(2, 3, *shape))).abs().max() > 1e-3


def test_networks_that_cannot_separate_their_conditions_say_so():
    spectral = FSUNO(2, 1, channel_mult=(1, 1), level_grid=None, n_modes=(4, 4), local_kernel=1, model_channels=4)
    for backbone in (FSConvUNet(2, 1, model_channels=4, channel_mult=(1, 2)), spectral):
        assert FSEDMPrecondSR(backbone).encode(torch.randn(1, 1, 32, 32)) is None


def test_another_encoding_is_refused():
    net = FSEDMPrecondSR(FSUNO(3, 1, **PINNED))
    with pytest.raises(ValueError, match=r"an encoded condition has shape \[1, 2"):
        net(torch.randn(1, 1, 32, 32), torch.ones(1), encoded=torch.randn(1, 3, 32, 32))
    with pytest.raises(ValueError, match="the condition must have shape"):
        net.encode(torch.randn(1, 3, 32, 32))
