# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Resampling against trigonometric polynomials evaluated in closed form."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.kernels.resample import MATRIX_LIMIT
from physicsnemo_fs.kernels.resample.matrix import trigonometric_matrix
from physicsnemo_fs.nn import resample
from physicsnemo_fs.nn.resample import fourier_resample, interpolate_cells, radial_filter, radial_wavenumber
from physicsnemo_fs.testing import assert_close

DOUBLE = torch.float64
EXACT = 1e-12  # measured at most 1e-14
SINGLE = 1e-6  # measured at most 4e-7
SETTINGS = settings(max_examples=15, deadline=None)
SIZES = st.tuples(st.integers(9, 40), st.integers(9, 40))


def random(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


class TrigonometricPolynomial:
    """Real function on the unit torus with random coefficients of the modes -degree..degree along both axes."""

    def __init__(self, degree, seed=0):
        self.modes = torch.arange(-degree, degree + 1, dtype=DOUBLE)
        count = 2 * degree + 1
        self.coefficients = torch.complex(random(2, count, count, seed=seed), random(2, count, count, seed=seed + 1))

    def __call__(self, y, x):
        rows, columns = (torch.exp(2j * math.pi * position[:, None] * self.modes) for position in (y, x))
        return (rows @ self.coefficients @ columns.T).real

    def at_nodes(self, shape):
        return self(*(torch.arange(n, dtype=DOUBLE) / n for n in shape))

    def at_cells(self, shape):
        return self(*((torch.arange(n, dtype=DOUBLE) + 0.5) / n for n in shape))

    def below(self, limit):
        """Keep the modes below a limit per axis."""
        other = TrigonometricPolynomial(0)
        keep = [(self.modes.abs() < bound).to(DOUBLE) for bound in limit]
        other.modes, other.coefficients = self.modes, self.coefficients * keep[0][:, None] * keep[1]
        return other


@SETTINGS
@given(size=SIZES, new_size=SIZES)
def test_is_exact_on_band_limited_functions(size, new_size):
    f = TrigonometricPolynomial(degree=4)
    assert_close(fourier_resample(f.at_nodes(size), new_size), f.at_nodes(new_size), EXACT)


@SETTINGS
@given(new_size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_drops_exactly_the_modes_that_a_grid_cannot_carry(new_size):
    f, size = TrigonometricPolynomial(degree=12), (25, 30)
    truncated = f.below([min(n, m) / 2 for n, m in zip(size, new_size, strict=True)])
    assert_close(fourier_resample(f.at_nodes(size), new_size), truncated.at_nodes(new_size), EXACT)


@SETTINGS
@given(size=st.tuples(st.integers(1, 30), st.integers(1, 30)), new_size=SIZES)
def test_matrix_and_fft_paths_agree(size, new_size):
    x = random(2, 3, *size)
    by_matrix = fourier_resample(x, new_size, backend="matrix")
    by_fft = fourier_resample(x, new_size, backend="fft")
    assert_close(by_matrix, by_fft, EXACT)


def test_long_axes_take_the_fft():
    f, long = TrigonometricPolynomial(degree=4), MATRIX_LIMIT + 1
    trigonometric_matrix.cache_clear()
    assert_close(fourier_resample(f.at_nodes((12, long)), (long, 20)), f.at_nodes((long, 20)), EXACT)
    assert trigonometric_matrix.cache_info().currsize == 0


@SETTINGS
@given(size=SIZES, new_size=SIZES)
def test_adjoint_is_resampling_back(size, new_size):
    x, y = random(*size), random(*new_size, seed=1)
    forward = (fourier_resample(x, new_size) * y).mean()
    backward = (x * fourier_resample(y, size)).mean()
    assert abs(forward - backward) <= EXACT * x.abs().mean() * y.abs().mean()


@SETTINGS
@given(size=SIZES, larger=st.integers(0, 20))
def test_there_and_back_is_the_projection_on_the_shared_band(size, larger):
    x = random(*size)
    once = fourier_resample(x, size)
    assert_close(fourier_resample(once, size), once, EXACT)
    there = fourier_resample(x, (size[0] + larger, size[1] + larger))
    assert_close(fourier_resample(there, size), once, EXACT)


def test_odd_grids_lose_nothing():
    x = random(3, 15, 21)
    assert_close(fourier_resample(x, (15, 21)), x, EXACT)


@pytest.mark.parametrize("backend", ["fft", "matrix"])
def test_gradient(backend):
    x = random(2, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: fourier_resample(v, (8, 5), backend), x)


def test_autocast_leaves_single_precision():
    f = TrigonometricPolynomial(degree=4)
    x = f.at_nodes((16, 24)).float()
    with torch.autocast("cpu", torch.bfloat16):
        fine = fourier_resample(x, (32, 48))
        cells = interpolate_cells(x, (32, 48))
        filtered = radial_filter(x[None], torch.ones(2, 9))
    assert fine.dtype == cells.dtype == filtered.dtype == torch.float32
    assert_close(fine, f.at_nodes((32, 48)), SINGLE)
    assert_close(cells, interpolate_cells(x.double(), (32, 48)), SINGLE)
    assert_close(filtered[0], x, SINGLE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_is_computed_in_single_precision(dtype):
    x = random(1, 2, 9, 12).to(dtype)
    exact = x.double()
    assert_close(fourier_resample(x, (20, 20)), fourier_resample(exact, (20, 20)), SINGLE)
    assert_close(interpolate_cells(x, (20, 20)), interpolate_cells(exact, (20, 20)), SINGLE)
    assert_close(radial_filter(x, torch.ones(2, 3)), exact, SINGLE)


def test_training_after_inference_mode():
    trigonometric_matrix.cache_clear()
    resample._cell_interpolation_matrix.cache_clear()
    with torch.inference_mode():
        fourier_resample(random(10, 12), (14, 16))
        interpolate_cells(random(10, 12), (14, 16))
    x = random(10, 12).requires_grad_()
    (fourier_resample(x, (14, 16)) + interpolate_cells(x, (14, 16))).sum().backward()
    assert x.grad.isfinite().all()


@SETTINGS
@given(size=SIZES, fine=SIZES, registration=st.sampled_from(["node", "cell"]))
def test_cells_of_a_trigonometric_polynomial_give_it_back(size, fine, registration):
    f = TrigonometricPolynomial(degree=4)
    expected = f.at_nodes(fine) if registration == "node" else f.at_cells(fine)
    assert_close(interpolate_cells(f.at_cells(size), fine, registration=registration), expected, EXACT)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.4375, 0.5), (1.25, -0.25)])
def test_coarse_values_may_start_anywhere(centre):
    f, size, fine = TrigonometricPolynomial(degree=4), (9, 12), (20, 31)
    coarse = f(*((torch.arange(n, dtype=DOUBLE) + first) / n for n, first in zip(size, centre, strict=True)))
    assert_close(interpolate_cells(coarse, fine, first_centre=centre), f.at_nodes(fine), EXACT)


def test_bounded_nodes_are_interpolated_between_nodes():
    ramp = torch.arange(5, dtype=DOUBLE).expand(4, 5)
    fine = interpolate_cells(ramp, (4, 10), periodic=False, first_centre=(0.0, 0.0))
    assert_close(fine[0], torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4]), EXACT)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (7, 12)])
def test_interpolation_passes_through_the_cells(size, periodic):
    x = random(2, *size)
    assert_close(interpolate_cells(x, size, periodic, "cell"), x, EXACT)


@pytest.mark.parametrize("periodic", [True, False])
def test_interpolant_is_one_function_on_every_grid(periodic):
    x = random(2, 8, 6)
    coarse, fine = (interpolate_cells(x, shape, periodic) for shape in ((32, 24), (64, 48)))
    assert_close(fine[:, ::2, ::2], coarse, EXACT)


@pytest.mark.parametrize("registration", ["node", "cell"])
@pytest.mark.parametrize("periodic", [True, False])
def test_constants_stay(periodic, registration):
    constant = torch.full((2, 5, 8), 3.0, dtype=DOUBLE)
    fine = interpolate_cells(constant, (21, 32), periodic, registration)
    assert_close(fine, torch.full((2, 21, 32), 3.0), EXACT)


@pytest.mark.parametrize("registration", ["node", "cell"])
def test_bounded_interpolation_is_exact_on_bilinear_functions(registration):
    def plane(shape, offset, limit):
        y, x = ((torch.arange(n, dtype=DOUBLE) + offset) / n for n in shape)
        y, x = (v.clamp(0.5 / n, 1 - 0.5 / n) for v, n in zip((y, x), limit, strict=True))
        return 1 + 2 * y[:, None] - 3 * x + 4 * y[:, None] * x

    coarse, fine = (6, 5), (24, 31)
    offset = 0.5 if registration == "cell" else 0.0
    values = interpolate_cells(plane(coarse, 0.5, coarse), fine, periodic=False, registration=registration)
    assert_close(values, plane(fine, offset, coarse), EXACT)


def test_unknown_registration_is_refused():
    with pytest.raises(ValueError, match="registration must be 'node' or 'cell': got 'corner'"):
        interpolate_cells(torch.zeros(4, 4), (8, 8), registration="corner")


@pytest.mark.parametrize(("shape", "rows", "columns"), [((8, 8), 1, 1), ((15, 30), 1, 2), ((36, 12), 3, 1)])
def test_radial_wavenumber_counts_cycles_per_shorter_side(shape, rows, columns):
    ky = torch.fft.fftfreq(shape[0], 1 / shape[0], dtype=DOUBLE) / rows
    kx = torch.arange(shape[1] // 2 + 1, dtype=DOUBLE) / columns
    assert_close(radial_wavenumber(shape), torch.hypot(ky[:, None], kx), EXACT)


def test_radial_wavenumber_of_a_mode_is_the_same_number_on_every_grid():
    coarse, fine = radial_wavenumber((48, 36)), radial_wavenumber((96, 72))
    assert torch.equal(fine[:24, :18], coarse[:24, :18])
    assert torch.equal(fine[-23:, :18], coarse[-23:, :18])


GAIN = torch.tensor([[1.0, 0.5, -2.0, 0.25, 3.0]], dtype=DOUBLE)


def wave(shape, ky, kx, phase=0.3):
    y, x = (torch.arange(n, dtype=DOUBLE) / n for n in shape)
    return torch.cos(2 * math.pi * (ky * y[:, None] + kx * x) + phase)[None, None]


@pytest.mark.parametrize(
    ("shape", "mode", "gain"),
    [
        ((16, 16), (0, 0), 1.0),
        ((16, 16), (-2, 0), -2.0),
        ((16, 16), (1, -1), 0.5 + (math.sqrt(2) - 1) * -2.5),
        ((32, 32), (3, -4), 3.0),
        ((24, 12), (1, 0), 0.75),
        ((12, 36), (0, 9), 0.25),
        ((12, 36), (2, 6), -2.0 + (math.sqrt(8) - 2) * 2.25),
    ],
)
def test_radial_filter_multiplies_each_mode_by_its_gain(shape, mode, gain):
    x = wave(shape, *mode)
    assert_close(radial_filter(x, GAIN), gain * x, EXACT)


def test_radial_filter_counts_wavenumbers_on_the_unit_of_length():
    x = wave((24, 24), 3, 0)
    assert_close(radial_filter(x, GAIN, length=1.5), -2.0 * x, EXACT)


@pytest.mark.parametrize(("coarse", "fine"), [((16, 16), (35, 35)), ((16, 24), (32, 48)), ((20, 15), (52, 39))])
def test_radial_filter_is_one_operator_on_every_grid(coarse, fine):
    f, gain = TrigonometricPolynomial(degree=6), random(2, 5)
    on_coarse, on_fine = (radial_filter(f.at_nodes(shape)[None], gain) for shape in (coarse, fine))
    assert_close(fourier_resample(on_fine, coarse), on_coarse, EXACT)


def test_a_single_gain_scales():
    x = random(1, 1, 8, 9)
    assert_close(radial_filter(x, torch.full((1, 1), 2.0)), 2 * x, EXACT)
