# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.diffusion.residual import assemble_condition, interpolate_coarse, shell_products, shrinkage_gain
from physicsnemo_fs.nn.resample import radial_filter
from physicsnemo_fs.testing import assert_close

DOUBLE = torch.float64
EXACT = 1e-12  # measured at most 2e-15
SQUARE = (1.0, 1.0)


def wave(grid, ky, kx, phase=0.0):
    """cos(2 pi (ky y / Ly + kx x / Lx) + phase) at the grid's positions."""
    y, x = torch.from_numpy(grid.y) / grid.extent[0], torch.from_numpy(grid.x) / grid.extent[1]
    return torch.cos(2 * math.pi * (ky * y[:, None] + kx * x) + phase)[None, None]


@pytest.mark.parametrize("registration", ["node", "cell"])
@pytest.mark.parametrize("shape", [(32, 48), (24, 36)])
def test_a_periodic_coarse_field_is_one_function(registration, shape):
    coarse, fine = Grid((8, 12), (1.0, 1.5), registration=registration), Grid(shape, (1.0, 1.5))
    assert_close(interpolate_coarse(wave(coarse, 2, -5, 0.4), coarse, fine), wave(fine, 2, -5, 0.4), EXACT)


def test_averages_of_nodes_lie_where_their_nodes_lie():
    """Cells of eight nodes are centred at 3.5 nodes: the average of a wave is a smaller wave in the same place."""
    fine = Grid((64, 64), SQUARE)
    coarse = Grid((8, 8), SQUARE, origin=(-0.5 / 64, -0.5 / 64), registration="cell")
    averaged = torch.nn.functional.avg_pool2d(wave(fine, 0, 3, 0.2), 8)
    shrink = math.sin(3 * math.pi / 8) / (8 * math.sin(3 * math.pi / 64))
    assert_close(interpolate_coarse(averaged, coarse, fine), shrink * wave(fine, 0, 3, 0.2), EXACT)


@pytest.mark.parametrize("registration", ["node", "cell"])
def test_a_bounded_coarse_field_does_not_wrap(registration):
    coarse = Grid((4, 6), SQUARE, registration=registration, boundary="bounded")
    fine = Grid((16, 24), SQUARE, registration="cell", boundary="bounded")
    first, last = coarse.x[0], coarse.x[-1]
    ramp = torch.from_numpy(coarse.x).expand(1, 1, 4, 6)
    expected = torch.from_numpy(fine.x).clamp(first, last).expand(1, 1, 16, 24)
    assert_close(interpolate_coarse(ramp, coarse, fine), expected, EXACT)


def test_condition_is_the_interpolated_coarse_frames_then_the_invariants():
    coarse_grid, grid = Grid((4, 4), SQUARE, registration="cell"), Grid((16, 16), SQUARE)
    coarse, invariants = torch.randn(2, 3, 4, 4), torch.randn(2, 2, 16, 16)
    condition = assemble_condition(coarse, invariants, coarse_grid, grid)
    assert condition.shape == (2, 5, 16, 16)
    assert torch.equal(condition[:, :3], interpolate_coarse(coarse, coarse_grid, grid))
    assert torch.equal(condition[:, 3:], invariants)


@settings(max_examples=15, deadline=None)
@given(shape=st.tuples(st.integers(4, 20), st.integers(4, 20)), shells=st.integers(1, 12))
def test_shells_add_up_to_the_mean_product(shape, shells):
    a, b = torch.randn(2, 3, 2, *shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    products = shell_products(a, b, shells)
    assert products.shape == (2, shells)
    torch.testing.assert_close(products.sum(1), (a * b).mean((2, 3)).sum(0), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("shape", "mode", "shell"),
    [
        ((16, 16), (3, 4), 5),
        ((16, 16), (-7, 0), 7),
        ((16, 16), (7, 7), 8),
        ((12, 24), (1, 6), 3),
        ((24, 12), (6, 2), 4),
    ],
)
def test_a_mode_falls_in_the_shell_of_its_radius(shape, mode, shell):
    """Half of the squared amplitude; wavenumbers count cycles of the shorter side; the last shell collects the rest."""
    x = 3 * wave(Grid(shape, (shape[0] / min(shape), shape[1] / min(shape))), *mode)
    expected = torch.zeros(1, 9, dtype=DOUBLE)
    expected[0, shell] = 4.5
    torch.testing.assert_close(shell_products(x, x, 9), expected, rtol=0, atol=1e-13)


def signal_and_noise(shape=(32, 32)):
    """Truth and error in quadrature on each of four shells, with the shells' powers and the exact gain."""
    grid, shells = Grid(shape, SQUARE), torch.arange(9)
    signal, noise = torch.zeros(9, dtype=DOUBLE), torch.zeros(9, dtype=DOUBLE)
    signal[[1, 2, 5, 7]] = torch.tensor([2.0, 1.0, 0.5, 0.01], dtype=DOUBLE)
    noise[[1, 2, 5, 7]] = torch.tensor([0.0, 0.5, 0.5, 1.0], dtype=DOUBLE)
    truth, mean = 0.0, 0.0
    for shell in shells[signal > 0].tolist():
        inside = wave(grid, 0, shell) * (2 * signal[shell]).sqrt()
        outside = wave(grid, 0, shell, math.pi / 2) * (2 * noise[shell]).sqrt()
        truth, mean = truth + inside, mean + inside + outside
    return truth, mean, signal, noise


def test_shrinkage_of_truth_plus_independent_noise_in_closed_form():
    """g = s / (s + n), one at the mean of the field and zero where the mean has no power."""
    truth, mean, signal, noise = signal_and_noise()
    gain = shrinkage_gain(shell_products(truth, mean, 9), shell_products(mean, mean, 9))
    expected = torch.where(signal > 0, signal / (signal + noise).clamp(min=1e-300), 0.0)
    occupied = signal > 0
    assert_close(gain[0, occupied], expected[occupied], EXACT)
    assert gain[0, 0] == 1


def test_what_the_shrunk_mean_leaves_is_uncorrelated_with_it():
    truth, mean, signal, _ = signal_and_noise()
    gain = shrinkage_gain(shell_products(truth, mean, 9), shell_products(mean, mean, 9))
    shrunk = radial_filter(mean, gain)
    assert shell_products(truth - shrunk, shrunk, 9).abs().max() < 1e-13
    before, after = ((truth - field).square().mean() for field in (mean, shrunk))
    assert after < before
    assert shell_products(truth - mean, mean, 9).abs().max() > 0.1 * signal.max()


def test_gain_is_limited_and_never_undefined():
    cross = torch.tensor([[5.0, 3.0, -1.0, 0.0, 1.0]], dtype=DOUBLE)
    power = torch.tensor([[1.0, 1.0, 1.0, 0.0, 1.0]], dtype=DOUBLE)
    assert shrinkage_gain(cross, power).tolist() == [[1.0, 1.2, 0.0, 0.0, 1.0]]
    assert shrinkage_gain(cross, power, largest=2.0)[0, 1] == 2.0


def test_gain_does_not_depend_on_the_resolution_it_is_measured_at():
    gains = []
    for shape in ((24, 24), (48, 48)):
        truth, mean, *_ = signal_and_noise(shape)
        gains.append(shrinkage_gain(shell_products(truth, mean, 9), shell_products(mean, mean, 9))[0, [1, 2, 5, 7]])
    assert_close(gains[1], gains[0], EXACT)
