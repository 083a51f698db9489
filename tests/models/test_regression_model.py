# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from physicsnemo.diffusion.generate.legacy_generate import regression_step
from random_networks import band_limited, tiny_fsuno

from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.nn.conservation import cell_average
from physicsnemo_fs.nn.resample import fourier_resample, interpolate_cells
from physicsnemo_fs.pipelines.checkpoints import load_network, save_network
from physicsnemo_fs.testing import assert_close, relative_error

SINGLE = 3e-6  # measured at most 7e-7
SHELLS = 9
GAIN = torch.tensor([1.0, 0.5, 0.25, 0.0, 2.0, 1.0, 1.0, 1.0, 0.1])


def regression(out_channels=2, input_skip=(2, -1), boundary="periodic", trained=True):
    backbone = tiny_fsuno(3, out_channels, boundary=boundary) if trained else FSUNO(3, out_channels, boundary=boundary)
    return FSRegressionSR(backbone, input_skip, gain_shells=SHELLS).eval()


def waves(shape, *modes):
    """One channel a mode (ky, kx)."""
    y, x = (torch.arange(n) / n for n in shape)
    return torch.stack([torch.cos(2 * math.pi * (ky * y[:, None] + kx * x)) for ky, kx in modes])[None]


@torch.no_grad()
def test_first_guess_is_added_where_it_is_named():
    network, y = regression(trained=False), band_limited((16, 20))
    mean = network(None, y)
    assert_close(mean[:, 0], y[:, 2], SINGLE)
    assert not mean[:, 1].any()
    assert not regression(input_skip=None, trained=False)(None, y).any()


@torch.no_grad()
def test_mean_is_first_guess_plus_backbone():
    network, y = regression(), band_limited((16, 20))
    expected = network.backbone(y)
    expected[:, 0] += y[:, 2]
    assert_close(network(None, y), expected, SINGLE)


@torch.no_grad()
def test_answers_corrdiffs_call_and_ignores_the_first_argument():
    network, y = regression(), band_limited((16, 20))
    expected = network(None, y)
    assert torch.equal(network(torch.zeros(2, 2, 16, 20), y), expected)
    assert torch.equal(network(torch.randn(2, 2, 16, 20, dtype=torch.float64), img_lr=y.double()), expected)
    assert torch.equal(network(x=None, img_lr=y, force_fp32=False, augment_labels=None), expected)
    last = y.to(memory_format=torch.channels_last)
    assert_close(network.to(memory_format=torch.channels_last)(None, last), expected, SINGLE)


@torch.no_grad()
def test_runs_in_nvidias_regression_step():
    network, y = regression(), band_limited((16, 20), batch=1)
    members = regression_step(network, y, torch.Size([3, 2, 16, 20]))
    assert_close(members, network(None, y).expand(3, -1, -1, -1), SINGLE)


@torch.no_grad()
def test_gain_multiplies_each_wavenumber():
    network = regression(input_skip=(0, 1), trained=False)
    network.set_gain(torch.stack([GAIN, GAIN.flip(0)]))
    y = waves((24, 24), (0, 1), (3, 4), (0, 0))
    assert_close(network(None, y), torch.stack([0.5 * y[0, 0], GAIN[3] * y[0, 1]])[None], SINGLE)


@pytest.mark.parametrize(("coarse", "fine"), [((32, 32), (64, 64)), ((24, 36), (48, 72)), ((21, 21), (50, 50))])
@torch.no_grad()
def test_gain_is_the_same_operator_at_every_resolution(coarse, fine):
    network = regression()
    network.set_gain(GAIN.expand(2, -1))
    on_coarse, on_fine = (network(None, band_limited(shape)) for shape in (coarse, fine))
    assert_close(fourier_resample(on_fine, coarse), fourier_resample(on_coarse, coarse), SINGLE)
    network.set_gain(torch.ones(2, SHELLS))
    assert relative_error(network(None, band_limited(coarse)), on_coarse) > 0.01


@torch.no_grad()
def test_gain_on_a_bounded_domain_counts_cycles_of_the_domain():
    """A falling line of gains: six cycles a domain keep a quarter, edges aside. The margin alone would make it .16."""
    network = regression(input_skip=(0, 1), boundary="pad", trained=False)
    network.set_gain(torch.linspace(1, 0, SHELLS).expand(2, -1))
    y = waves((64, 64), (0, 6), (0, 0), (0, 0))
    mean = network(None, y)
    assert_close(mean[:, 0, :, 16:-16], 0.25 * y[:, 0, :, 16:-16], 0.05)
    assert_close(mean[:, 1], y[:, 1], SINGLE)


def test_gain_of_the_wrong_shape_or_value_is_refused():
    network = regression()
    with pytest.raises(ValueError, match=r"finite with shape \(2, 9\): got \(2, 5\)"):
        network.set_gain(torch.ones(2, 5))
    with pytest.raises(ValueError, match="finite"):
        network.set_gain(torch.full((2, SHELLS), float("nan")))


@pytest.mark.parametrize("skip", [(0,), (0, 3), (-2, 0)])
def test_misfit_first_guess_is_refused(skip):
    with pytest.raises(ValueError, match=r"one index below 3 \(or -1\) for each of the 2 outputs"):
        regression(input_skip=skip)


@pytest.mark.parametrize("option", ["class_labels", "global_index", "lead_time_label", "augment_labels"])
def test_labels_are_refused(option):
    with pytest.raises(ValueError, match=f"no use for {option}"):
        regression()(None, torch.zeros(1, 3, 16, 16), **{option: torch.zeros(1)})


def test_wrong_condition_is_refused():
    with pytest.raises(ValueError, match=r"img_lr must have shape \[batch, 3, .*: got \(1, 2, 16, 16\)"):
        regression()(None, torch.zeros(1, 2, 16, 16))


@torch.no_grad()
def test_autocast_and_force_fp32():
    network, y = regression(), band_limited((16, 20))
    expected = network(None, y)
    with torch.autocast("cpu", torch.bfloat16):
        low, full = network(None, y), network(None, y, force_fp32=True)
    assert low.dtype == torch.float32
    assert 1e-4 < relative_error(low, expected) < 0.04
    assert torch.equal(full, expected)


def test_every_parameter_gets_a_gradient():
    network = regression()
    network(None, band_limited((16, 20))).square().mean().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


def held(shape=(16, 20), cells=(4, 5)):
    network = FSRegressionSR(tiny_fsuno(3, 2), (2, 0), gain_shells=SHELLS, cells=cells, cell_shells=SHELLS).eval()
    averages = torch.randn(2, 3, *cells, generator=torch.Generator().manual_seed(3))
    return network, averages, interpolate_cells(averages, shape)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(16, 20), (33, 40)])
def test_a_held_mean_has_the_averages_that_its_first_guess_interpolates(shape):
    network, averages, condition = held(shape)
    free = network(None, condition)
    assert torch.equal(free, network._shrink(network._mean(condition, [])))
    network.conservation.set_power(torch.exp(-torch.arange(float(SHELLS))).expand(2, -1))
    mean = network(None, condition)
    assert_close(cell_average(mean, (4, 5)), averages[:, [2, 0]], SINGLE)
    assert relative_error(free, mean) > 1e-2


@torch.no_grad()
def test_a_held_mean_survives_its_checkpoint(tmp_path):
    network, _, condition = held()
    network.conservation.set_power(torch.ones(2, SHELLS))
    save_network(network, tmp_path / "FSRegressionSR.0.0.mdlus")
    again = load_network(tmp_path / "FSRegressionSR.0.0.mdlus", FSRegressionSR)
    assert torch.equal(again(None, condition), network(None, condition))


@pytest.mark.parametrize(
    ("boundary", "options"),
    [
        ("periodic", {"input_skip": None}),
        ("periodic", {"input_skip": (2, -1)}),
        ("pad", {"input_skip": (2, 0)}),
        ("pad", {"input_skip": (2, 0), "patch_shape": (16, 16), "domain_shape": (32, 32)}),
    ],
)
def test_a_mean_that_cannot_be_held_is_refused(boundary, options):
    with pytest.raises(ValueError, match="cells need whole periodic fields"):
        FSRegressionSR(tiny_fsuno(3, 2, boundary=boundary), cells=(4, 4), **options)
