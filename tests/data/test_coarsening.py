# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Coarse views: exact averages, independence of the grid, positions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from physicsnemo_fs.data.flow.coarsening import check_coarsening, coarse_grid, coarsen
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.conservation import cell_average
from physicsnemo_fs.nn.resample import fourier_resample
from physicsnemo_fs.testing import assert_close


def band_limited(seed: int, grid: int, band: int) -> torch.Tensor:
    noise = torch.randn(
        2, 2 * band + 2, 2 * band + 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return fourier_resample(noise, (grid, grid))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), cells=st.integers(1, 12), mode=st.integers(0, 10), phase=st.floats(0, 6))
def test_cell_average_of_a_wave_is_the_integral(seed, cells, mode, phase):
    s = 2 * torch.pi * torch.arange(24, dtype=torch.float64) / 24
    edges = 2 * torch.pi * torch.arange(cells + 1, dtype=torch.float64) / cells
    if mode == 0:
        expected = torch.full((cells,), float(torch.cos(torch.tensor(phase, dtype=torch.float64))), dtype=torch.float64)
    else:
        antiderivative = torch.sin(mode * edges + phase) / mode
        expected = antiderivative.diff() * cells / (2 * torch.pi)
    average = cell_average(torch.cos(mode * s + phase).expand(24, 24), (2, cells))
    assert torch.allclose(average[0], expected, atol=1e-13)


@pytest.mark.parametrize("kind", ["cell_average", "spectral"])
@pytest.mark.parametrize("size", [5, 8])
def test_coarse_view_does_not_depend_on_the_storing_grid(kind, size):
    views = [coarsen(band_limited(0, grid, 11), size, kind) for grid in (24, 32, 57)]
    assert_close(views[1], views[0], 1e-13)
    assert_close(views[2], views[0], 1e-13)


def test_pixel_average_is_the_mean_of_blocks():
    field = band_limited(1, 24, 11)
    assert_close(coarsen(field, 8, "pixel_average"), field.unfold(1, 3, 3).unfold(2, 3, 3).mean((-2, -1)), 1e-14)


@pytest.mark.parametrize("kind", ["cell_average", "pixel_average", "spectral"])
def test_coarse_grid_says_where_the_samples_are(kind):
    """A well resolved wave has, up to its damping, its own values at the coarse positions."""
    stored = Grid((64, 64), (2 * torch.pi, 2 * torch.pi))
    s = torch.from_numpy(stored.x)
    view = coarsen(torch.sin(s + 0.3).expand(64, 64), 16, kind)[0]
    at_positions = torch.sin(torch.from_numpy(coarse_grid(stored, 16, kind).x) + 0.3)
    assert_close(view / view.norm(), at_positions / at_positions.norm(), 1e-12)


@pytest.mark.parametrize(("kind", "size"), [("cell_average", 65), ("pixel_average", 7), ("spectral", 0)])
def test_impossible_coarsenings_are_refused(kind, size):
    with pytest.raises(InputError):
        check_coarsening(kind, size, 64)


def test_an_unknown_coarsening_is_refused():
    with pytest.raises((InputError, TypeCheckError)):
        check_coarsening("nearest", 8, 64)
