# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Fields that are held to averages over cells."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.nn.conservation import Conservation, at_cell_centres, cell_average
from physicsnemo_fs.nn.resample import fourier_resample, interpolate_cells, radial_filter, radial_wavenumber


def holding(cells, channels=1, shells=9, slope=0.4):
    hold = Conservation(channels, cells, shells).double()
    hold.set_power(torch.exp(-slope * torch.arange(float(shells), dtype=torch.float64)).expand(channels, -1))
    return hold


@settings(max_examples=40, deadline=None)
@given(
    cells=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    finer=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 99),
)
def test_the_averages_are_those_asked_for_on_any_grid(cells, finer, seed):
    torch.manual_seed(seed)
    hold = holding(cells, channels=2, shells=33)
    x = torch.randn(3, 2, cells[0] + finer[0], cells[1] + finer[1], dtype=torch.float64)
    wanted = torch.randn(3, 2, *cells, dtype=torch.float64)
    assert torch.allclose(cell_average(hold(x, wanted), cells), wanted, atol=1e-9)
    projected = hold(x)
    assert cell_average(projected, cells).abs().max() < 1e-9
    assert torch.allclose(hold(projected), projected, atol=1e-9)


def test_the_correction_is_the_conditional_mean_of_the_gaussian_field():
    cells, size = (3, 4), (10, 13)
    hold = holding(cells)
    units = torch.eye(size[0] * size[1], dtype=torch.float64).reshape(-1, 1, *size)
    covariance = radial_filter(units, hold.power).flatten(1)
    average = cell_average(units, cells).flatten(1).T
    gain = covariance @ average.T @ torch.linalg.inv(average @ covariance @ average.T)
    torch.manual_seed(0)
    x, wanted = torch.randn(1, 1, *size, dtype=torch.float64), torch.randn(1, 1, *cells, dtype=torch.float64)
    # Nyquist modes, which the averages do not see, are no part of the correction.
    expected = x.flatten() + gain @ (wanted.flatten() - average @ x.flatten())
    assert torch.allclose(hold(x, wanted).flatten(), expected, atol=1e-10)


@pytest.mark.parametrize("sizes", [((34, 34), (128, 128)), ((34, 51), (68, 102))])
def test_it_is_one_map_of_functions_on_all_grids_and_leaves_modes_beyond_the_spectrum(sizes):
    hold = holding((8, 8), shells=16)
    torch.manual_seed(0)
    fine = torch.randn(1, 1, *sizes[1], dtype=torch.float64)
    wanted = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    coarse = fourier_resample(fine, sizes[0])
    change = hold(fine, wanted) - fine
    assert (fourier_resample(change, sizes[0]) - (hold(coarse, wanted) - coarse)).abs().max() < 1e-12
    beyond = radial_wavenumber(sizes[1]) >= 16
    assert torch.fft.rfft2(change, norm="forward")[..., beyond].abs().max() < 1e-15


def test_a_spectrum_that_rises_counts_as_level():
    hold = Conservation(1, (4, 4), 5)
    hold.set_power(torch.tensor([[0.0, 1.0, 8.0, 4.0, 2.0]]))
    assert hold.power.tolist() == [[1.0, 1.0, 1.0, 0.5, 0.25]]


def test_held_fields_are_nearer_to_any_field_with_these_averages_in_the_norm_of_the_covariance():
    hold = holding((4, 4))
    torch.manual_seed(1)
    truth, guess = torch.randn(2, 8, 1, 16, 16, dtype=torch.float64)

    def norm(error):
        return (error * radial_filter(error, 1 / hold.power)).sum(dim=(1, 2, 3))

    held = hold(guess, cell_average(truth, (4, 4)))
    assert (norm(held - truth) < norm(guess - truth)).all()


def test_the_interpolant_at_the_centres_is_what_was_interpolated():
    averages = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    fine = interpolate_cells(averages, (17, 32))
    assert torch.allclose(at_cell_centres(fine, (8, 6)), averages, atol=1e-12)


def test_single_precision_keeps_the_averages_to_rounding_under_autocast():
    hold = holding((8, 8), shells=33, slope=0.8).float()
    x, wanted = torch.randn(4, 1, 64, 64), torch.randn(4, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        held = hold(x, wanted)
    assert held.dtype == torch.float32
    assert (cell_average(held, (8, 8)) - wanted).abs().max() < 1e-5


def test_without_a_spectrum_nothing_is_corrected():
    x = torch.randn(1, 2, 16, 16)
    assert torch.equal(Conservation(2, (4, 4))(x), x)


@pytest.mark.parametrize(
    ("channels", "cells", "shells"), [(0, (4, 4), 9), (1, (4,), 9), (1, (4, 0), 9), (1, (4, 4), 0)]
)
def test_impossible_counts_are_refused(channels, cells, shells):
    with pytest.raises(ValueError, match="conservation needs"):
        Conservation(channels, cells, shells)


def test_a_grid_that_is_not_finer_than_the_cells_and_a_wrong_spectrum_are_refused():
    hold = holding((8, 8))
    with pytest.raises(ValueError, match=r"finer than the \(8, 8\) cells"):
        hold(torch.zeros(1, 1, 8, 16))
    for power in (torch.ones(1, 3), -torch.ones(1, 9), torch.full((1, 9), float("nan"))):
        with pytest.raises(ValueError, match="power must be finite"):
            hold.set_power(power)
