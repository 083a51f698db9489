# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.diffusion import noise
from physicsnemo_fs.diffusion.matched import Matched
from physicsnemo_fs.diffusion.modes import (
    half_plane_weights,
    measure_power,
    modes_below_nyquist,
    radial_wavenumber,
    shell_count,
    shell_mean,
)
from physicsnemo_fs.diffusion.noise import NoiseLike, RandomField, noise_like
from physicsnemo_fs.diffusion.spectra import LegacyRBF, Matern, White, kernel_from_dict
from physicsnemo_fs.errors import InputError

EXPONENTIAL = Matern(0.5, 0.1)
BAND = Matern(0.5, 0.1, max_wavenumber=12)
FALLING = Matched(power=((0.0, 1.0, 0.3, 0.1, 0.03), (2.0, 1.0, 0.5, 0.2, 0.1)), tail_slope=(-1.0, -0.7))
KERNELS = [
    EXPONENTIAL,
    Matern(1.5, 0.2, max_wavenumber=7.5),
    White(),
    White(max_wavenumber=9),
    LegacyRBF(0.3, eps=0.05),
    FALLING,
]
DOUBLE = torch.float64


def total_variance(variance, modes):
    return (variance * half_plane_weights(modes)).sum(dim=(-2, -1))


def low_pass(fields, modes, shape):
    """Keep the modes up to ``modes`` and sample them on a grid of ``shape``."""
    spectrum = torch.fft.rfft2(fields, norm="forward")
    rows = torch.arange(-modes[0], modes[0] + 1)
    columns = torch.arange(modes[1] + 1)
    kept = spectrum.new_zeros(*fields.shape[:-2], shape[0], shape[1] // 2 + 1)
    kept[..., rows[:, None] % shape[0], columns] = spectrum[..., rows[:, None] % fields.shape[-2], columns]
    return torch.fft.irfft2(kept, s=shape, norm="forward")


def covariance_function(field, displacement, modes):
    """Sum the mode variances times cosines: the exact covariance of the field, no sampling."""
    variance = field.kernel.mode_variance(modes, field.torus)[0] * half_plane_weights(modes)
    ky = torch.arange(-modes[0], modes[0] + 1, dtype=DOUBLE) / field.torus[0]
    kx = torch.arange(modes[1] + 1, dtype=DOUBLE) / field.torus[1]
    phase = 2 * math.pi * (ky[:, None] * displacement[0] + kx * displacement[1])
    return float((variance * phase.cos()).sum())


# --- kernels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("extent", [(1.0, 1.0), (1.0, 3.0), (6.28, 6.28)])
def test_matern_variance_tends_to_one(nu, extent):
    """The part above the modes of a grid is the tail of the density, measured error of the constant 1e-6."""
    kernel = Matern(nu, 0.1 * min(extent))
    wavenumber = 200 / max(extent)
    modes = (int(wavenumber * extent[0]), int(wavenumber * extent[1]))
    inside = radial_wavenumber(modes, extent) <= wavenumber
    resolved = total_variance(kernel.mode_variance(modes, extent) * inside, modes)
    unscaled = kernel.tail(wavenumber) * extent[0] * extent[1]
    scale = kernel.mode_variance((0, 0), extent)[0, 0, 0] / kernel.density(torch.zeros(1, dtype=DOUBLE))[0, 0]
    assert abs(float(resolved + unscaled * scale) - 1) < 5e-6


@pytest.mark.parametrize("kernel", [k for k in KERNELS if k.max_wavenumber])
@pytest.mark.parametrize("shape", [(32, 32), (33, 40)])
def test_a_resolved_band_has_variance_one(kernel, shape):
    modes = modes_below_nyquist(shape)
    assert abs(float(total_variance(kernel.mode_variance(modes), modes)) - 1) < 1e-12


@pytest.mark.parametrize("shape", [(16, 16), (33, 40)])
def test_white_noise_has_unit_pixel_variance_on_every_grid(shape):
    modes = modes_below_nyquist(shape)
    assert abs(float(total_variance(White().mode_variance(modes), modes)) - 1) < 1e-12


@pytest.mark.parametrize("kernel", [EXPONENTIAL, BAND, White(max_wavenumber=9), FALLING])
def test_a_mode_has_the_same_variance_on_every_grid(kernel):
    fine, coarse = kernel.mode_variance((31, 31)), kernel.mode_variance((15, 15))
    assert torch.equal(fine[:, 16:47, :16], coarse)


def test_legacy_rbf_is_an_exponential_with_a_nugget():
    kernel, modes = LegacyRBF(0.3, eps=0.1), (15, 15)
    exponential, white = Matern(0.5, 0.18).mode_variance(modes), White().mode_variance(modes)
    assert torch.allclose(kernel.mode_variance(modes), (exponential + 0.01 * white) / 1.01, rtol=1e-12)


def test_matched_interpolates_logarithms_and_extrapolates():
    kernel = Matched(power=((1.0, 0.5, 0.01),), tail_slope=(-0.5,), floor=1e-12)
    density = kernel.density(torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 4.0], dtype=DOUBLE))[0]
    expected = torch.tensor([1.0, 0.5**0.5, 0.5, 0.005**0.5, 0.01, 0.01 * math.exp(-1)], dtype=DOUBLE)
    assert torch.allclose(density, expected, rtol=1e-9)


def test_matched_is_trace_class_and_never_zero():
    modes = (300, 300)
    variance = FALLING.mode_variance(modes)
    assert FALLING.channels == 2
    assert bool((variance > 0).all())
    assert torch.allclose(total_variance(variance, modes), torch.ones(2, dtype=DOUBLE), atol=1e-6)


def test_matched_fit_reproduces_the_measured_shells():
    """Proportional; the constant differs by the share of the tail."""
    truth = RandomField(Matern(1.0, 0.1))
    power = measure_power(truth.sample(range(100), 2, (32, 32), dtype=DOUBLE))
    kernel = Matched.fit(power, tail_range=(8, 15))
    ratio = shell_mean(kernel.mode_variance((15, 15))) / power
    assert ((ratio / ratio[:, :1]) - 1).abs().max() < 1e-4
    assert abs(float(ratio.mean()) - 1) < 0.1
    assert kernel_from_dict(json.loads(json.dumps(kernel.to_dict()))) == kernel


def test_matched_takes_its_tail_from_other_power():
    shells = torch.arange(32.0)
    residual, truth = torch.exp(-0.2 * shells)[None], torch.exp(-0.9 * shells)[None]
    kernel = Matched.fit(residual, tail_power=truth, tail_range=(5, 10))
    assert abs(kernel.tail_slope[0] + 0.9) < 1e-5
    assert len(kernel.power[0]) == 11


def test_a_spectrum_that_does_not_fall_is_extended_flat():
    kernel = Matched.fit(torch.linspace(1.0, 2.0, 24)[None], tail_range=(8, 15))
    shells = kernel.density(torch.tensor([16.0, 200.0], dtype=torch.float64))[0]
    assert shells[1] / shells[0] == pytest.approx(1.0, rel=0.2)


def test_measured_power_sums_to_the_mean_square():
    generator = torch.Generator().manual_seed(0)
    fields = low_pass(torch.randn(3, 2, 24, 24, generator=generator, dtype=DOUBLE), (5, 5), (24, 24))
    power = measure_power(fields)
    assert torch.allclose((power * shell_count((11, 11))).sum(dim=1), fields.square().mean(dim=(0, 2, 3)))


def test_shells_count_cycles_per_shorter_side():
    x = torch.arange(48) / 48
    wave = torch.cos(2 * math.pi * 6 * x).expand(1, 1, 16, 48)
    power = measure_power(wave, extent=(1.0, 3.0))
    assert int(power[0].argmax()) == 2
    assert power.shape[1] == 8


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_survive_json(kernel):
    assert kernel_from_dict(json.loads(json.dumps(kernel.to_dict()))) == kernel


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "gauss"}, "legacy_rbf, matched, matern, white"),
        ({}, "must be one of"),
        ({"kind": "matern", "nu": 0.5}, "length_scale"),
        ({"kind": "matern", "nu": 0.5, "length_scale": 0.1, "colour": 1}, "colour"),
        ({"kind": "matern", "nu": -1, "length_scale": 0.1}, "nu must be a positive"),
        ({"kind": "matern", "nu": math.nan, "length_scale": 0.1}, "nu must be a positive"),
        ({"kind": "white", "max_wavenumber": 0}, "max_wavenumber"),
        ({"kind": "legacy_rbf", "scale": 0.1, "eps": -1}, "eps"),
        ({"kind": "matched", "power": [[1.0, 0.5]], "tail_slope": [0.1]}, "tail_slope"),
        ({"kind": "matched", "power": [[0.0, 0.0]], "tail_slope": [-1]}, "not all zero"),
        ({"kind": "matched", "power": [[1.0, 1.0], [1.0]], "tail_slope": [-1, -1]}, "one length"),
    ],
)
def test_bad_kernels_are_refused(spec, message):
    with pytest.raises(InputError, match=message):
        kernel_from_dict(spec)


def test_a_tail_range_outside_the_shells_is_refused():
    with pytest.raises(InputError, match="tail_range"):
        Matched.fit(torch.ones(1, 8), tail_range=(4, 9))


# --- one key is one function -------------------------------------------------------------------------------

SIZES = st.integers(26, 45)
EXTENTS = st.sampled_from([(1.0, 1.0), (1.0, 1.9), (3.0, 2.0)])


@settings(max_examples=15, deadline=None)
@given(SIZES, SIZES, st.integers(0, 2**64 - 1), EXTENTS)
def test_a_band_limited_field_is_the_same_function_on_any_grid(height, width, key, extent):
    field = RandomField(Matern(0.5, 0.1, max_wavenumber=12 / max(extent)), extent)
    y, x = (torch.from_numpy(axis) for axis in (Grid((40, 50), extent).y, Grid((40, 50), extent).x))
    reference = field.sample([key], 2, (40, 50), dtype=DOUBLE)
    modes_of_another_grid = field.on_axes([key], 2, y, x, shape=(height, width), dtype=DOUBLE)
    assert (modes_of_another_grid - reference).abs().max() < 1e-12
    on_grid = field.sample([key], 2, (height, width), dtype=DOUBLE)
    again = low_pass(on_grid, field.modes(), (40, 50))
    assert (again - reference).abs().max() < 1e-12


@pytest.mark.parametrize("registration", ["node", "cell"])
@pytest.mark.parametrize("boundary", ["periodic", "bounded"])
def test_grids_of_64_and_128_agree_point_by_point(boundary, registration):
    field = RandomField(BAND, boundary=boundary, registration=registration)
    coarse = field.sample([3, 4], 1, (64, 64), dtype=DOUBLE)
    if registration == "node":
        fine = field.sample([3, 4], 1, (128, 128), dtype=DOUBLE)[..., ::2, ::2]
    else:
        fine = field.sample([3, 4], 1, (192, 192), dtype=DOUBLE)[..., 1::3, 1::3]
    assert (fine - coarse).abs().max() < 1e-12


@pytest.mark.parametrize("kernel", [EXPONENTIAL, FALLING])
@pytest.mark.parametrize(("fine", "coarse"), [((128, 128), (64, 64)), ((96, 65), (33, 40)), ((45, 81), (45, 27))])
def test_a_finer_grid_only_adds_modes(kernel, fine, coarse):
    field = RandomField(kernel)
    modes = modes_below_nyquist(coarse)
    filtered = low_pass(field.sample([9], 2, fine, dtype=DOUBLE), modes, coarse)
    assert (filtered - field.sample([9], 2, coarse, dtype=DOUBLE)).abs().max() < 1e-12


@pytest.mark.parametrize("boundary", ["periodic", "bounded"])
@pytest.mark.parametrize("registration", ["node", "cell"])
@pytest.mark.parametrize("shape", [(24, 40), (27, 31)])
def test_a_window_is_the_crop_and_points_are_the_grid(boundary, registration, shape):
    grid = Grid(shape, (2.0, 3.0), registration=registration, boundary=boundary)
    field = RandomField.on_grid(EXPONENTIAL, grid)
    whole = field.sample([1, 2], 2, shape, draw=3, dtype=DOUBLE)
    window = field.window([1, 2], 2, shape, (4, 15), (7, 22), draw=3, dtype=DOUBLE)
    assert (window - whole[..., 4:15, 7:22]).abs().max() < 1e-12
    y, x = torch.from_numpy(grid.y), torch.from_numpy(grid.x)
    at_points = field.at_points(2, torch.cartesian_prod(y, x), channels=2, shape=shape, draw=3, dtype=DOUBLE)
    assert (at_points.reshape(2, *shape) - whole[1]).abs().max() < 1e-12


def test_a_window_of_a_torus_may_cross_the_edge():
    field = RandomField(EXPONENTIAL)
    whole = field.sample([1], 1, (20, 20), dtype=DOUBLE)
    window = field.window([1], 1, (20, 20), (-3, 5), (15, 25), dtype=DOUBLE)
    assert (window - whole.roll((3, 5), dims=(-2, -1))[..., :8, :10]).abs().max() < 1e-12


def test_slabs_and_chunks_give_the_same_sum(monkeypatch):
    field, points = RandomField(EXPONENTIAL), torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    window = field.window([1], 2, (40, 40), (0, 9), (0, 40), dtype=DOUBLE)
    values = field.at_points(1, points, shape=(40, 40), dtype=DOUBLE)
    monkeypatch.setattr("physicsnemo_fs.diffusion.noise._MODES_AT_ONCE", 200)
    monkeypatch.setattr("physicsnemo_fs.diffusion.noise._POINTS_AT_ONCE", 400)
    assert (field.window([1], 2, (40, 40), (0, 9), (0, 40), dtype=DOUBLE) - window).abs().max() < 1e-12
    assert (field.at_points(1, points, shape=(40, 40), dtype=DOUBLE) - values).abs().max() < 1e-12


def test_a_padding_that_misses_the_grid_is_the_same_function():
    """Padding 0.3 is 9 points of 30 (FFT) and 9.6 of 32 (separable sum)."""
    field = RandomField(BAND, boundary="bounded", padding=0.3)
    whole, fraction = (
        field.sample([5], 1, (30, 30), dtype=DOUBLE),
        field.sample([5], 1, (32, 32), dtype=DOUBLE),
    )
    positions = torch.arange(30, dtype=DOUBLE) / 30
    assert (field.on_axes([5], 1, positions, positions, dtype=DOUBLE) - whole).abs().max() < 1e-12
    assert (whole[..., ::15, ::15] - fraction[..., ::16, ::16]).abs().max() < 1e-12


@pytest.mark.parametrize("boundary", ["periodic", "bounded"])
@pytest.mark.parametrize("padding", [1.0, 0.37])
def test_a_sample_does_not_depend_on_the_batch_bit_by_bit(boundary, padding):
    field, shape = RandomField(EXPONENTIAL, boundary=boundary, padding=padding), (32, 30)
    keys = [8, 3, 5, 3, 2**63]
    together = field.sample(keys, 2, shape)
    for position, key in enumerate(keys):
        assert torch.equal(field.sample([key], 2, shape)[0], together[position])
    assert torch.equal(field.sample(keys[1:4], 2, shape), together[1:4])
    assert torch.equal(together[1], together[3])
    assert torch.equal(field.sample([8], 1, shape)[0, 0], together[0, 0])
    assert field.sample([], 2, shape).shape == (0, 2, *shape)


# --- the law -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("boundary", ["periodic", "bounded"])
def test_pointwise_variance_is_that_of_the_modes(kernel, boundary):
    field, shape, count = RandomField(kernel, boundary=boundary), (16, 18), 400
    samples = field.sample(range(count), 2, shape, dtype=DOUBLE)
    modes = field.modes(shape)
    expected = total_variance(kernel.mode_variance(modes, field.torus), modes).expand(2)
    variance = samples.square().mean(dim=0)
    # Of 576 points, each with relative standard error sqrt(2 / count), the largest deviates by less than 5.
    assert ((variance / expected[:, None, None] - 1).abs() < 5 * math.sqrt(2 / count)).all()
    assert samples.mean(dim=0).abs().max() < 5 * float(expected.max()) ** 0.5 / math.sqrt(count)


@pytest.mark.parametrize("kernel", [EXPONENTIAL, White(), LegacyRBF(0.3, eps=0.2)])
@pytest.mark.parametrize("boundary", ["periodic", "bounded"])
def test_samples_have_the_covariance(kernel, boundary):
    field, shape, count = RandomField(kernel, boundary=boundary), (6, 7), 2000
    samples = field.sample(range(count), 1, shape, dtype=DOUBLE).reshape(count, -1)
    identity = torch.eye(42, dtype=DOUBLE).reshape(42, 1, *shape)
    covariance = field.apply_covariance(identity).reshape(42, 42)
    assert (covariance - covariance.T).abs().max() < 1e-12
    assert torch.linalg.eigvalsh(covariance).min() > -1e-12
    empirical = samples.T @ samples / count
    assert (empirical - covariance).abs().max() < 6 * float(covariance.max()) / math.sqrt(count)
    assert abs(float(covariance[0, 9]) - covariance_function(field, (1 / 6, 2 / 7), field.modes(shape))) < 1e-12


@pytest.mark.parametrize(
    ("nu", "correlation", "tolerance"),
    [
        (0.5, lambda d: math.exp(-d / 0.1), 3e-3),
        (1.5, lambda d: (1 + math.sqrt(3) * d / 0.1) * math.exp(-math.sqrt(3) * d / 0.1), 2e-6),
    ],
)
@pytest.mark.parametrize("displacement", [(0.0, 0.1), (0.2, 0.05), (0.5, 0.0), (0.9, 0.9)])
def test_a_bounded_domain_has_the_covariance_of_the_plane(nu, correlation, tolerance, displacement):
    """Up to the modes above 400 of the torus."""
    field = RandomField(Matern(nu, 0.1), boundary="bounded")
    value = covariance_function(field, displacement, (400, 400))
    assert abs(value - correlation(math.hypot(*displacement))) < tolerance


def test_opposite_edges_are_dependent_on_the_torus_only():
    keys = range(500)
    for boundary, expected in (("periodic", True), ("bounded", False)):
        samples = RandomField(Matern(1.5, 0.1), boundary=boundary).sample(keys, 1, (16, 16), dtype=DOUBLE)
        correlation = float((samples[..., 0] * samples[..., -1]).mean())
        assert (correlation > 0.5) == expected
        assert expected or abs(correlation) < 0.1


def test_keys_channels_and_draws_are_independent():
    field, shape, count = RandomField(White(max_wavenumber=6)), (16, 16), 200
    first = field.sample(range(count), 3, shape, dtype=DOUBLE)
    second = field.sample(range(count), 3, shape, draw=1, dtype=DOUBLE)
    columns = torch.cat([first, second], dim=1).transpose(0, 1).reshape(6, -1)
    shifted = torch.cat([columns, first[:, 0].roll(1, dims=0).reshape(1, -1)])
    degrees = count * 113  # modes within radius six
    correlation = torch.corrcoef(shifted) - torch.eye(7, dtype=DOUBLE)
    assert correlation.abs().max() < 4.5 / math.sqrt(degrees)


# --- interface ---------------------------------------------------------------------------------------------


def test_randn_like_gives_successive_draws():
    field, x = RandomField(EXPONENTIAL), torch.zeros(2, 1, 8, 8, dtype=DOUBLE)
    draw_next = NoiseLike(field, keys=[1, 2])
    for draw in (1, 2):
        assert torch.equal(draw_next(x), field.sample([1, 2], 1, (8, 8), draw=draw, dtype=DOUBLE))
    assert noise_like(field, x.float(), [1, 2]).dtype == torch.float32
    with pytest.raises(InputError, match="one key per sample"):
        draw_next(x[:1])


def test_result_type_is_the_rounded_double():
    field = RandomField(EXPONENTIAL)
    assert torch.equal(field.sample([1], 1, (16, 16)), field.sample([1], 1, (16, 16), dtype=DOUBLE).float())


@pytest.mark.parametrize("kernel", KERNELS)
def test_fields_survive_json(kernel):
    field = RandomField(kernel, (1.0, 2.0), "bounded", 0.5, "cell")
    again = RandomField.from_dict(json.loads(json.dumps(field.to_dict())))
    assert again == field
    assert torch.equal(again.sample([1], 2, (16, 32)), field.sample([1], 2, (16, 32)))


def test_bad_fields_are_refused():
    with pytest.raises(InputError, match="positive"):
        RandomField(EXPONENTIAL, extent=(1.0, 0.0))
    with pytest.raises(InputError, match="boundary"):
        RandomField(EXPONENTIAL, boundary="open")
    with pytest.raises(InputError, match="2 channels"):
        RandomField(FALLING).sample([1], 3, (8, 8))
    with pytest.raises(InputError, match="max_wavenumber"):
        RandomField(EXPONENTIAL).at_points(1, torch.zeros(1, 2))
    with pytest.raises(InputError, match="whole"):
        RandomField(EXPONENTIAL, boundary="bounded", padding=0.3).apply_covariance(torch.zeros(1, 1, 8, 8))
    with pytest.raises(InputError, match="described by"):
        RandomField.from_dict({"kernel": EXPONENTIAL.to_dict()})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_function():
    field = RandomField(EXPONENTIAL, boundary="bounded")
    on_cpu = field.sample([1, 2], 2, (48, 40), dtype=DOUBLE)
    assert (field.sample([1, 2], 2, (48, 40), device="cuda", dtype=DOUBLE).cpu() - on_cpu).abs().max() < 1e-12


@pytest.mark.parametrize("registration", ["node", "cell"])
@pytest.mark.parametrize("boundary", ["periodic", "bounded"])
@pytest.mark.parametrize(
    "kernel",
    [Matern(0.5, 0.1), White(), LegacyRBF(0.3), Matched(((1.0, 0.4, 0.1), (1.0, 0.9, 0.2)), (-1.0, -2.0))],
    ids=lambda kernel: kernel.kind,
)
def test_large_fields_are_made_in_slabs_and_are_the_same(kernel, boundary, registration, monkeypatch):
    field = RandomField(kernel, (1.0, 1.5), boundary, registration=registration)
    whole = field.sample([3, 4], 2, (48, 71), dtype=torch.float64)
    monkeypatch.setattr(noise, "_MODES_AT_ONCE", 1)
    monkeypatch.setattr(noise, "_MODES_IN_A_SLAB", 700)
    in_slabs = field.sample([3, 4], 2, (48, 71), dtype=torch.float64)
    assert (in_slabs - whole).abs().max() < 1e-14
    assert torch.equal(field.sample([4], 2, (48, 71), dtype=torch.float64), in_slabs[1:])
