# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from random_networks import TINY, band_limited, randomize, tiny_fsuno

from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.nn.embedding import coordinate_channels
from physicsnemo_fs.nn.resample import fourier_resample
from physicsnemo_fs.testing import assert_close, relative_error

LABELS = torch.tensor([0.3, -0.5])
SINGLE = 3e-6  # measured at most 7e-7
SPECTRAL = {"level_grid": None, "local_kernel": 1}


@pytest.fixture(scope="module")
def default_network():
    return randomize(FSUNO(3, 1)).eval()


@pytest.fixture(scope="module")
def default_output(default_network):
    with torch.no_grad():
        return default_network(band_limited((64, 64)), LABELS)


def test_random_weights_make_a_map_of_order_one(default_output):
    assert 0.1 < default_output.std() < 10


@pytest.mark.parametrize("n", [128, 96, 65])
@torch.no_grad()
def test_default_operator_is_one_map_at_every_resolution(default_network, default_output, n):
    other = default_network(band_limited((n, n)), LABELS)
    assert_close(fourier_resample(other, (64, 64)), default_output, SINGLE)


@pytest.mark.parametrize("n", [16, 17, 48])
@torch.no_grad()
def test_default_operator_on_coarser_grids_is_the_low_pass(default_network, default_output, n):
    other = default_network(band_limited((n, n)), LABELS)
    assert_close(fourier_resample(other, (16, 16)), fourier_resample(default_output, (16, 16)), SINGLE)


@torch.no_grad()
def test_default_operator_on_non_square_domains(default_network):
    coarse, fine = (default_network(band_limited(shape), LABELS) for shape in ((48, 72), (96, 144)))
    assert_close(fourier_resample(fine, (48, 72)), fourier_resample(coarse, (48, 72)), SINGLE)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attn_levels": (1,)},
        {"coord_features": "periodic"},
        {"coord_features": "bounded"},
        {"local_kernel": 1, "n_modes": (8, 4), "activation": "gelu"},
        {"num_blocks": 2},
    ],
    ids=str,
)
@torch.no_grad()
def test_every_pinned_operator_is_one_map_at_every_resolution(options):
    network = tiny_fsuno(**options)
    coarse, fine = (network(band_limited(shape), LABELS) for shape in ((20, 30), (46, 69)))
    assert_close(fourier_resample(fine, (20, 30)), fourier_resample(coarse, (20, 30)), SINGLE)


@torch.no_grad()
def test_modes_beyond_the_pinned_grid_are_not_seen():
    network, x = tiny_fsuno(), band_limited((32, 32))
    fast = torch.cos(torch.pi * torch.arange(32)).expand(32, 32)
    assert_close(network(x + fast, LABELS), network(x, LABELS), SINGLE)


@torch.no_grad()
def test_spectral_operator_of_one_level_is_nearly_one_map():
    """Only the aliasing of pointwise nonlinearities is left: measured 7e-7 and 6e-5 for degrees 3 and 6."""
    network = randomize(FSUNO(3, 1, channel_mult=(2,), n_modes=(8,), **SPECTRAL))
    for degree, tolerance in ((3, 3e-6), (6, 3e-4)):
        coarse, fine = (network(band_limited((n, n), degree=degree), LABELS) for n in (64, 128))
        assert_close(fine[..., ::2, ::2], coarse, tolerance)


@torch.no_grad()
def test_spectral_operator_of_several_levels_is_nearly_one_map():
    """Deeper levels compute on fixed grids: measured 3e-4."""
    network = randomize(FSUNO(3, 1, channel_mult=(2, 4, 4), n_modes=(16, 8, 4), **SPECTRAL))
    coarse, fine = (network(band_limited((n, n)), LABELS) for n in (64, 128))
    assert_close(fine[..., ::2, ::2], coarse, 1e-3)


@pytest.mark.parametrize("shape", [(16, 16), (17, 16), (16, 40), (21, 33), (70, 35)])
@pytest.mark.parametrize(
    "options", [{}, {"boundary": "pad", "coord_features": "bounded"}, {**SPECTRAL, "n_modes": (4, 2)}], ids=str
)
@torch.no_grad()
def test_any_grid_from_sixteen_up(options, shape):
    output = tiny_fsuno(**options)(torch.randn(2, 3, *shape))
    assert output.shape == (2, 1, *shape)
    assert output.isfinite().all()


@pytest.mark.parametrize("n", [64, 96])
@torch.no_grad()
def test_commutes_with_shifts_by_cells_of_the_coarsest_level(default_network, n):
    cell = n // 8
    shifts = {"shifts": (3 * cell, -cell), "dims": (-2, -1)}
    x = band_limited((n, n))
    assert_close(default_network(x.roll(**shifts), LABELS), default_network(x, LABELS).roll(**shifts), SINGLE)


@torch.no_grad()
def test_samples_do_not_see_each_other(default_network, default_output):
    alone = default_network(band_limited((64, 64))[1:], LABELS[1:])
    assert_close(default_output[1:], alone, SINGLE)


@torch.no_grad()
def test_noise_label_matters_and_is_zero_if_absent():
    network, x = tiny_fsuno(), band_limited((16, 16))
    assert torch.equal(network(x), network(x, torch.zeros(2)))
    assert relative_error(network(x, LABELS), network(x)) > 0.01


def wrap_around(boundary):
    """Share of the response to a change along the first columns that arrives at the last columns."""
    network = tiny_fsuno(n_modes=(0,), level_grid=(32,), channel_mult=(1,), boundary=boundary).double()
    x = band_limited((32, 32)).double()
    changed = x.clone()
    changed[..., :2] += 0.1
    response = (network(changed, LABELS.double()) - network(x, LABELS.double())).square()
    return float(response[..., -3:].mean() / response[..., :3].mean())


@torch.no_grad()
def test_padded_boundary_does_not_wrap():
    """What is left in the padded operator is the group norm, which couples everything: measured 0.2 and 0.02."""
    assert wrap_around("pad") < 0.2 * wrap_around("periodic")


@torch.no_grad()
def test_padded_operator_sees_the_position_on_the_domain():
    network, seen = tiny_fsuno(boundary="pad", coord_features="bounded"), []
    network.stack.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    for shape in ((16, 24), (70, 105)):
        network(torch.randn(1, 3, *shape))
    for given in seen:
        assert given.shape == (1, 5, 18, 27)
        assert_close(given[0, 3:, :16, :24], coordinate_channels("bounded", (16, 24), given), SINGLE)


@torch.no_grad()
def test_padded_operator_converges_with_resolution():
    """To first order in the sample spacing: measured 0.033 between 32 and 64, 0.017 between 64 and 128."""
    network = tiny_fsuno(boundary="pad", coord_features="bounded")
    outputs = [network(band_limited((n, n), degree=3), LABELS) for n in (32, 64, 128)]
    errors = [relative_error(fine[..., ::2, ::2], coarse) for coarse, fine in pairwise(outputs)]
    assert errors[0] < 0.1
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize(("options", "dtype"), [({}, torch.float32), ({**SPECTRAL, "n_modes": (4, 2)}, torch.bfloat16)])
@torch.no_grad()
def test_autocast_is_close_to_single_precision(options, dtype):
    """The pinned operator leaves in single precision: its last step is the resampling; measured 0.007 and 0.012."""
    network, x = tiny_fsuno(**options), band_limited((16, 24))
    with torch.autocast("cpu", torch.bfloat16):
        low = network(x, LABELS)
    assert low.dtype == dtype
    assert 1e-4 < relative_error(low.float(), network(x, LABELS)) < 0.04


def test_gradients_under_autocast_are_finite():
    network = tiny_fsuno(attn_levels=(1,))
    with torch.autocast("cpu", torch.bfloat16):
        network(band_limited((16, 24)), LABELS).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("options", [{"attn_levels": (1,)}, {**SPECTRAL, "n_modes": (4, 2)}], ids=str)
@torch.no_grad()
def test_channels_last_changes_nothing(options):
    network, x = tiny_fsuno(**options), band_limited((16, 24))
    expected = network(x, LABELS)
    last = {"memory_format": torch.channels_last}
    assert torch.equal(network.to(**last)(x, LABELS), expected)
    assert torch.nn.Sequential(network).to(torch.float32, **last)[0] is network
    assert_close(network(x.to(**last), LABELS), expected, SINGLE)


@torch.no_grad()
def test_double_precision():
    network, x = tiny_fsuno(attn_levels=(1,), coord_features="periodic"), band_limited((16, 24))
    single = network(x, LABELS)
    double = network.double()(x.double(), LABELS.double())
    assert double.dtype == torch.float64
    assert_close(single, double, SINGLE)
    coarse, fine = (network(band_limited((n, n), degree=3).double(), LABELS.double()) for n in (24, 48))
    assert_close(fourier_resample(fine, (24, 24)), fourier_resample(coarse, (24, 24)), 1e-6)


@pytest.mark.parametrize(
    "options",
    [{}, {"attn_levels": (0, 1), "num_blocks": 2}, {"boundary": "pad"}, {**SPECTRAL, "n_modes": (4, 2)}],
    ids=str,
)
def test_every_parameter_gets_a_gradient(options):
    """What DistributedDataParallel needs."""
    network = tiny_fsuno(**options)
    network(torch.randn(2, 3, 16, 20), LABELS).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_untrained_network_gives_zero_and_gradients():
    network = FSUNO(3, 1, **TINY)
    output = network(torch.randn(1, 3, 16, 16))
    assert not output.any()
    (output - 1).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level_grid": (16,)}, "level_grid needs one entry a level: got 1 for channel_mult of 2"),
        ({"n_modes": (0, 2, 2)}, "n_modes needs one entry a level: got 3 for 2 levels"),
        ({"n_modes": (0, 5)}, r"half of each level's grid: got n_modes=\(0, 5\) for level_grid=\(16, 8\)"),
        ({"n_modes": (0, -4)}, r"n_modes must not be negative: got n_modes=\(0, -4\)"),
        ({"level_grid": None}, "local_kernel=1, attn_levels=.. and modes at every level: got local_kernel=3"),
        ({**SPECTRAL, "n_modes": (4, 0)}, "modes at every level"),
        ({**SPECTRAL, "n_modes": (4, 2), "attn_levels": (1,)}, "attn_levels=.. and modes"),
        ({"attn_levels": (2,)}, "attn_levels must be below the number of levels 2"),
        ({"attn_levels": (1,), "model_channels": 3}, "heads must divide the channels: got 4 and 6"),
        ({"boundary": "wall"}, "boundary must be 'periodic' or 'pad': got 'wall'"),
        ({"coord_features": "polar"}, "coord_features must be one of .*: got 'polar'"),
        ({"activation": "relu"}, "activation must be one of .*: got 'relu'"),
        ({"local_kernel": 2}, "local_kernel must be odd and positive: got 2"),
        ({"num_blocks": 0}, "num_blocks must be at least 1: got 0"),
    ],
)
def test_contradictory_options_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        FSUNO(3, 1, **TINY | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 2, 16, 16), (2, 3, 15, 16), (2, 3, 16, 8)])
def test_misfit_input_is_refused(shape):
    with pytest.raises(ValueError, match=r"x must have shape \[batch, 3, height >= 16, width >= 16\]: got"):
        tiny_fsuno()(torch.zeros(shape))


COMPILED = """
import torch
from random_networks import band_limited, tiny_fsuno
network = tiny_fsuno(channel_mult=(1,), level_grid=(8,), n_modes=(2,))
x, labels = band_limited((16, 24)), torch.tensor([0.3, -0.5])
outputs, gradients = [], []
for run in (network, torch.compile(network, fullgraph=True, backend="aot_eager")):
    network.zero_grad()
    outputs.append(run(x, labels))
    outputs[-1].square().mean().backward()
    gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
for a, b in (outputs, gradients):
    assert (a - b).norm() < 3e-6 * a.norm(), float((a - b).norm() / a.norm())
"""


@pytest.mark.slow
def test_compiles_to_one_graph():
    """In its own process: the run-time shape checks of the tests are not for the compiler."""
    subprocess.run([sys.executable, "-c", COMPILED], cwd=Path(__file__).parent, check=True)
