# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import importlib.util
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sound import opcheck

import physicsnemo_fs.kernels
from physicsnemo_fs.kernels import (
    BACKEND_VARIABLE,
    available_backends,
    choose_backend,
    largest_modes,
    spectral_conv2d,
)
from physicsnemo_fs.kernels.spectral_conv import operators
from physicsnemo_fs.testing import assert_close, relative_error

FAST_BACKENDS = ["pruned_fft", "partial_dft"]
BACKENDS = ["reference", *FAST_BACKENDS]
DOUBLE = 1e-12  # measured at most 7e-16
SINGLE = 1e-6  # measured at most 4e-7

side = st.integers(2, 15)


@st.composite
def problems(draw):
    """Give (size, out_size, modes) with every mode count that the grids allow, Nyquist included."""
    size, out_size = (draw(side), draw(side)), (draw(side), draw(side))
    limits = largest_modes(size, out_size)
    return size, out_size, (draw(st.integers(1, limits[0])), draw(st.integers(1, limits[1])))


def draw_tensors(size, modes, channels=(2, 3), dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels[0], *size, dtype=dtype, generator=generator)
    weight = torch.randn(2 * modes[0] * modes[1], *channels, 2, dtype=dtype, generator=generator)
    return x, weight


def grid_angles(size):
    """Give 2 pi h / H as a column and 2 pi w / W as a row."""
    rows, columns = (2 * math.pi * torch.arange(n, dtype=torch.float64) / n for n in size)
    return rows[:, None], columns[None, :]


def identity_weight(modes, dtype=torch.float64):
    weight = torch.zeros(2 * modes[0] * modes[1], 1, 1, 2, dtype=dtype)
    weight[..., 0] = 1
    return weight


@pytest.mark.parametrize("backend", FAST_BACKENDS)
@given(problem=problems())
@settings(max_examples=15, deadline=None)
def test_values_and_gradients_agree_with_the_reference(backend, problem):
    size, out_size, modes = problem
    x, weight = (t.requires_grad_() for t in draw_tensors(size, modes))
    expected = spectral_conv2d(x, weight, modes, out_size, backend="reference")
    actual = spectral_conv2d(x, weight, modes, out_size, backend=backend)
    assert_close(actual, expected, DOUBLE)

    cotangent = torch.randn(expected.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    expected_gradients = torch.autograd.grad(expected, (x, weight), cotangent)
    gradients = torch.autograd.grad(actual, (x, weight), cotangent)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, expected_gradient, DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
@given(problem=problems())
@settings(max_examples=15, deadline=None)
def test_a_finer_grid_holds_the_values_of_the_coarser_one(backend, problem):
    size, out_size, modes = problem
    x, weight = draw_tensors(size, modes)
    coarse = spectral_conv2d(x, weight, modes, out_size, backend=backend)
    finer_size = (2 * out_size[0], 3 * out_size[1])
    fine = spectral_conv2d(x, weight, modes, finer_size, backend=backend)
    assert_close(fine[..., ::2, ::3], coarse, DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", [(0, 1), (2, 3), (-3, 2), (-1, 1)])
@pytest.mark.parametrize("out_size", [(10, 12), (15, 9), (7, 8)])
def test_one_fourier_mode_comes_out_times_its_weight(backend, mode, out_size):
    modes, phase, gain, turn = (3, 4), 0.3, 1.7, -0.8
    weight = torch.zeros(2 * 3, 4, 1, 1, 2, dtype=torch.float64)
    weight[mode[0], mode[1], 0, 0] = torch.view_as_real(
        gain * torch.exp(torch.tensor(1j * turn, dtype=torch.complex128))
    )

    def wave(size, shift):
        rows, columns = grid_angles(size)
        return torch.cos(mode[0] * rows + mode[1] * columns + shift)[None, None]

    out = spectral_conv2d(wave((10, 12), phase), weight.flatten(0, 1), modes, out_size, backend=backend)
    assert_close(out, gain * wave(out_size, phase + turn), DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_constant_comes_out_times_the_real_part_of_the_first_weight(backend):
    x = torch.full((1, 1, 6, 7), 2.0, dtype=torch.float64)
    _, weight = draw_tensors((6, 7), (2, 3), channels=(1, 1))
    out = spectral_conv2d(x, weight, (2, 3), (9, 12), backend=backend)
    assert_close(out, torch.full_like(out, 2.0 * weight[0, 0, 0, 0].item()), DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("out_size", [(6, 8), (6, 12), (12, 16)])
def test_nyquist_column_of_the_input_is_counted_once(backend, out_size):
    _, columns = grid_angles((6, 8))
    x = torch.cos(4 * columns).expand(1, 1, 6, 8)
    out = spectral_conv2d(x, identity_weight((3, 5)), (3, 5), out_size, backend=backend)
    _, columns = grid_angles(out_size)
    assert_close(out, torch.cos(4 * columns).expand(1, 1, *out_size), DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nyquist_column_of_the_output_is_sampled(backend):
    _, columns = grid_angles((6, 12))
    x = torch.cos(4 * columns).expand(1, 1, 6, 12)
    out = spectral_conv2d(x, identity_weight((3, 5)), (3, 5), (6, 8), backend=backend)
    _, columns = grid_angles((6, 8))
    assert_close(out, torch.cos(4 * columns).expand(1, 1, 6, 8), DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_modes_of_an_odd_width_reproduce_a_function_without_its_nyquist_row(backend):
    x, _ = draw_tensors((8, 9), (4, 5), channels=(1, 1))
    spectrum = torch.fft.rfft2(x)
    spectrum[:, :, 4] = 0
    x = torch.fft.irfft2(spectrum, s=(8, 9))
    assert_close(spectral_conv2d(x, identity_weight((4, 5)), (4, 5), backend=backend), x, DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_result_is_one_function_at_every_resolution(backend):
    modes = (6, 7)
    coarse, weight = draw_tensors((32, 32), modes, dtype=torch.float32)
    spectrum = torch.fft.rfft2(coarse.double(), norm="forward")
    spectrum[:, :, 9:-8], spectrum[..., 9:] = 0, 0
    padded = torch.zeros(2, 2, 48, 25, dtype=spectrum.dtype)
    padded[:, :, :9, :9], padded[:, :, -8:, :9] = spectrum[:, :, :9, :9], spectrum[:, :, -8:, :9]
    coarse = torch.fft.irfft2(spectrum, s=(32, 32), norm="forward").float()
    fine = torch.fft.irfft2(padded, s=(48, 48), norm="forward").float()

    for out_size in [(32, 32), (48, 48)]:
        from_coarse = spectral_conv2d(coarse, weight, modes, out_size, backend=backend)
        from_fine = spectral_conv2d(fine, weight, modes, out_size, backend=backend)
        assert_close(from_coarse, from_fine, SINGLE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shifted_input_gives_a_shifted_output(backend):
    x, weight = draw_tensors((9, 14), (3, 5))
    out = spectral_conv2d(x, weight, (3, 5), backend=backend)
    shifted = spectral_conv2d(x.roll((2, -5), (-2, -1)), weight, (3, 5), backend=backend)
    assert_close(shifted, out.roll((2, -5), (-2, -1)), DOUBLE)


@pytest.mark.parametrize("transform", FAST_BACKENDS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("size", "modes"), [((7, 6), (3, 4)), ((8, 9), (4, 2)), ((5, 1), (2, 1))])
def test_synthesis_is_the_adjoint_of_analysis(transform, weighted, size, modes):
    x, _ = draw_tensors(size, modes)
    coefficients = operators.spectral_analysis(x, *modes, transform, weighted)
    other = torch.randn(coefficients.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    image = operators.spectral_synthesis(other, *size, *modes, transform, torch.float64, weighted)
    assert_close((coefficients * other).sum(), (x * image).sum(), DOUBLE)


def test_mixing_is_adjoint_in_both_factors():
    generator = torch.Generator().manual_seed(3)
    y, weight, z = (
        torch.randn(shape, dtype=torch.float64, generator=generator)
        for shape in [(5, 2, 3, 2), (5, 3, 4, 2), (5, 2, 4, 2)]
    )
    form = (operators.mode_mix(y, weight, "pruned_fft") * z).sum()
    assert_close((operators.mode_mix_adjoint(z, weight, "pruned_fft") * y).sum(), form, DOUBLE)
    assert_close((operators.mode_mix_weight(y, z, "pruned_fft") * weight).sum(), form, DOUBLE)


@pytest.mark.parametrize("backend", FAST_BACKENDS)
@pytest.mark.parametrize(("size", "out_size", "modes"), [((5, 6), (7, 4), (2, 3)), ((4, 3), (4, 3), (2, 2))])
def test_first_and_second_derivatives(backend, size, out_size, modes):
    x, weight = (t.requires_grad_() for t in draw_tensors(size, modes, channels=(2, 1), batch=1))

    def run(x, weight):
        return spectral_conv2d(x, weight, modes, out_size, backend=backend)

    assert torch.autograd.gradcheck(run, (x, weight))
    assert torch.autograd.gradgradcheck(run, (x, weight))


@pytest.mark.parametrize("transform", FAST_BACKENDS)
def test_transforms_are_sound_operators(transform):
    x = torch.randn(2, 3, 7, 6, requires_grad=True)
    coefficients = torch.randn(2 * 2 * 3, 2, 3, 2, requires_grad=True)
    opcheck(operators.spectral_analysis, (x, 2, 3, transform))
    opcheck(operators.spectral_synthesis, (coefficients, 7, 6, 2, 3, transform, torch.float32))


def test_mixings_are_sound_operators():
    y = torch.randn(5, 2, 3, 2, requires_grad=True)
    weight = torch.randn(5, 3, 4, 2, requires_grad=True)
    z = torch.randn(5, 2, 4, 2, requires_grad=True)
    opcheck(operators.mode_mix, (y, weight, "pruned_fft"))
    opcheck(operators.mode_mix_adjoint, (z, weight, "pruned_fft"))
    opcheck(operators.mode_mix_weight, (y, z, "pruned_fft"))


@pytest.mark.parametrize("backend", FAST_BACKENDS)
def test_backward_saves_the_kept_modes_and_the_weight_only(backend):
    modes, saved = (2, 3), []
    x, weight = (t.requires_grad_() for t in draw_tensors((32, 32), modes))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        spectral_conv2d(x, weight, modes, backend=backend)
    coefficients = 2 * 2 * 3 * x.shape[0] * x.shape[1] * 2
    assert sum(t.numel() for t in saved) == weight.numel() + coefficients


@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_order_does_not_matter(backend):
    x, weight = draw_tensors((8, 10), (3, 4))
    expected = spectral_conv2d(x, weight, (3, 4), backend=backend)
    channels_last = x.to(memory_format=torch.channels_last)
    transposed = weight.transpose(1, 2).contiguous().transpose(1, 2)
    assert_close(spectral_conv2d(channels_last, transposed, (3, 4), backend=backend), expected, DOUBLE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_computes_in_single_precision(backend):
    x, weight = draw_tensors((16, 16), (4, 4))
    x, weight = x.float().requires_grad_(), weight.float()
    exact = spectral_conv2d(x.double(), weight.double(), (4, 4), backend=backend)
    (exact_gradient,) = torch.autograd.grad(exact.square().sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        out = spectral_conv2d(x, weight, (4, 4), backend=backend)
        from_half = spectral_conv2d(x.bfloat16(), weight, (4, 4), backend=backend)
        (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert (out.dtype, from_half.dtype) == (torch.float32, torch.bfloat16)
    assert_close(out, exact, SINGLE)
    assert_close(gradient, exact_gradient, SINGLE)
    assert relative_error(from_half.float(), exact) < 4e-3  # input and output rounded to bfloat16: 2.4e-3


@pytest.mark.parametrize("backend", FAST_BACKENDS)
def test_tables_made_in_inference_mode_serve_training(backend):
    x, weight = draw_tensors((11, 13), (2, 3), dtype=torch.float32)
    with torch.inference_mode():
        expected = spectral_conv2d(x, weight, (2, 3), backend=backend)
    out = spectral_conv2d(x.requires_grad_(), weight, (2, 3), backend=backend)
    out.sum().backward()
    assert_close(out, expected, SINGLE)


@pytest.mark.parametrize(
    ("backend", "compiler"),
    [
        ("pruned_fft", "aot_eager"),
        ("partial_dft", "aot_eager"),
        pytest.param("partial_dft", "inductor", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_compiles_as_one_graph(backend, compiler):
    torch._dynamo.reset()

    def run(x, weight):
        return torch.nn.functional.silu(spectral_conv2d(x, weight, (2, 3), (10, 9), backend=backend))

    tensors = [t.requires_grad_() for t in draw_tensors((8, 8), (2, 3), dtype=torch.float32)]
    expected = run(*tensors)
    actual = torch.compile(run, fullgraph=True, backend=compiler)(*tensors)
    assert_close(actual, expected, SINGLE)
    gradients = torch.autograd.grad(actual.sum(), tensors)
    for gradient, other in zip(gradients, torch.autograd.grad(expected.sum(), tensors), strict=True):
        assert_close(gradient, other, SINGLE)


@pytest.mark.parametrize(
    ("modes", "out_size", "message"),
    [
        ((5, 3), None, "2\\*m1 <= height"),
        ((3, 5), None, "m2 <= width // 2 \\+ 1"),
        ((4, 4), (6, 6), "at most \\(3, 4\\) on grids \\(8, 6\\) and \\(6, 6\\)"),
        ((4, 4), (8, 5), "at most \\(4, 3\\)"),
        ((0, 3), None, "at least \\(1, 1\\)"),
        ((3, 0), None, "at least \\(1, 1\\)"),
    ],
)
def test_refuses_modes_that_a_grid_cannot_hold(modes, out_size, message):
    x = torch.zeros(1, 1, 8, 6)
    weight = torch.zeros(2 * modes[0] * modes[1], 1, 1, 2)
    with pytest.raises(ValueError, match=message):
        spectral_conv2d(x, weight, modes, out_size)


@pytest.mark.parametrize(
    ("x", "weight", "message"),
    [
        (
            torch.zeros(1, 2, 8, 8),
            torch.zeros(8, 3, 1, 2),
            "\\[8, 2, out_channels, 2\\]: got \\(8, 3, 1, 2\\)",
        ),
        (torch.zeros(1, 2, 8, 8), torch.zeros(6, 2, 1, 2), "weight must be"),
        (torch.zeros(1, 2, 8, 8), torch.zeros(8, 2, 1, 3), "weight must be"),
        (torch.zeros(2, 8, 8), torch.zeros(8, 2, 1, 2), "x must be .* width"),
        (torch.zeros(1, 2, 8, 8, dtype=torch.int64), torch.zeros(8, 2, 1, 2), "torch.int64"),
        (torch.zeros(1, 2, 8, 8), torch.zeros(8, 2, 1, 2, dtype=torch.complex64), "to pairs"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_refuses_tensors_that_do_not_fit(x, weight, message):
    with pytest.raises(ValueError, match=message):
        spectral_conv2d(x, weight, (2, 2))


def test_refuses_a_backend_that_does_not_exist(monkeypatch):
    x, weight = draw_tensors((8, 8), (2, 3))
    names = "reference, pruned_fft, partial_dft, triton: got 'tritium'"
    with pytest.raises(ValueError, match=f"^backend must be one of {names}"):
        spectral_conv2d(x, weight, (2, 3), backend="tritium")
    monkeypatch.setenv(BACKEND_VARIABLE, "tritium")
    with pytest.raises(ValueError, match=f"^PHYSICSNEMO_FS_BACKEND must be one of {names}"):
        spectral_conv2d(x, weight, (2, 3))


def test_the_environment_and_the_argument_choose_the_backend(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    assert choose_backend(cpu, (64, 12)) == "partial_dft"
    assert choose_backend(cpu, (8, 13)) == "pruned_fft"
    assert choose_backend(cuda, (8, 8)) == "pruned_fft"
    monkeypatch.setenv(BACKEND_VARIABLE, "reference")
    assert choose_backend(cpu, (8, 8)) == "reference"
    assert choose_backend(cpu, (8, 8), backend="pruned_fft") == "pruned_fft"
    assert available_backends() == (*BACKENDS, "triton")


def test_the_kernels_load_under_one_name_only():
    path = Path(physicsnemo_fs.kernels.__file__)
    spec = importlib.util.spec_from_file_location("kernels", path)
    with pytest.raises(ImportError, match="second copy would register"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
