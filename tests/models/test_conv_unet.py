# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from random_networks import band_limited, randomize

from physicsnemo_fs.models.conv_unet import FSConvUNet
from physicsnemo_fs.testing import assert_close, relative_error

LABELS = torch.tensor([0.3, -0.5])
SINGLE = 3e-6  # measured at most 6e-7


@pytest.fixture(scope="module")
def network():
    return randomize(FSConvUNet(3, 1, model_channels=4, channel_mult=(1, 2), embedding_channels=8))


@pytest.mark.parametrize("shape", [(16, 16), (17, 16), (16, 40), (21, 33)])
@torch.no_grad()
def test_any_grid_from_sixteen_up(network, shape):
    output = network(torch.randn(2, 3, *shape))
    assert output.shape == (2, 1, *shape)
    assert output.isfinite().all()


@torch.no_grad()
def test_commutes_with_shifts_by_cells_of_its_coarsest_level(network):
    x = band_limited((16, 20))
    shifts = {"shifts": (2, -4), "dims": (-2, -1)}
    assert_close(network(x.roll(**shifts), LABELS), network(x, LABELS).roll(**shifts), SINGLE)


@torch.no_grad()
def test_is_the_negative_control_of_resolution_invariance(network):
    """Its stencils shrink with the pixel: measured 0.7."""
    coarse, fine = (network(band_limited((n, n)), LABELS) for n in (32, 64))
    assert relative_error(fine[..., ::2, ::2], coarse) > 0.1


@torch.no_grad()
def test_channels_last_and_autocast(network):
    x = band_limited((16, 24))
    expected = network(x, LABELS)
    assert torch.equal(network.to(memory_format=torch.channels_last)(x, LABELS), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert 1e-4 < relative_error(network(x, LABELS).float(), expected) < 0.04


def test_every_parameter_gets_a_gradient(network):
    network(band_limited((16, 20)), LABELS).square().mean().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


def test_misfit_input_is_refused(network):
    with pytest.raises(
        ValueError, match=r"x must have shape \[batch, 3, height >= 16, width >= 16\]: got \(1, 3, 8, 8\)"
    ):
        network(torch.zeros(1, 3, 8, 8))
