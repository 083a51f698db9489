# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What the Triton kernels compute: on a GPU, or without one in Triton's interpreter, by test_triton_interpreter.py."""

import os

import jaxtyping
import pytest
import torch

from physicsnemo_fs.kernels import fourier_resample, group_norm_film_activation, spectral_conv2d, spectral_layer2d
from physicsnemo_fs.kernels.group_norm import operators as group_norm_operators
from physicsnemo_fs.kernels.resample import operators as resample_operators
from physicsnemo_fs.kernels.spectral_conv import layer, operators
from physicsnemo_fs.testing import assert_close

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

pytestmark = [] if INTERPRETED else [pytest.mark.gpu]
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("no CUDA device; test_triton_interpreter.py runs these in the interpreter", allow_module_level=True)

# relative L2 errors against float64, measured in the interpreter, which multiplies exactly what it is given
EXACT = 1e-6  # at most 3e-7
TF32 = 2e-3
TOLERANCE = {
    torch.float32: EXACT,
    torch.float16: 1.5e-3 if INTERPRETED else 4e-3,  # at most 6e-4; on a GPU the mixing adds TF32's error
    torch.bfloat16: 6e-3,  # at most 4.6e-3: the interpreter truncates what it stores; rounding halves that
}

# (size, out_size, modes): odd and even, down and up, Nyquist rows and columns
PROBLEMS = [
    ((8, 8), (8, 8), (4, 5)),
    ((7, 9), (10, 6), (3, 4)),
    ((5, 1), (4, 3), (2, 1)),
]
# (size, modes): more than one tile of each kind, Nyquist included
TRANSFORMS = [
    ((7, 6), (3, 4)),
    ((37, 20), (17, 11)),
    ((6, 70), (2, 36)),
    ((70, 5), (35, 3)),
    ((9, 260), (1, 2)),
]


def draw(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def draw_tensors(size, modes, channels=(3, 5), batch=2):
    x = draw(batch, channels[0], *size)
    return x, draw(2 * modes[0] * modes[1], *channels, 2, seed=1)


def on_device(dtype, *tensors):
    return [t.to(DEVICE, dtype).requires_grad_() for t in tensors]


@pytest.fixture
def unchecked():
    """Switch the tests' own shape checker off: torch.compile cannot trace it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def poisoned(monkeypatch):
    """Fill every new output with NaN, so that an element that no program writes is seen."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: empty(*a, **k).fill_(torch.nan))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("size", "out_size", "modes"), PROBLEMS)
def test_values_and_gradients_agree_with_the_reference(size, out_size, modes, dtype):
    tensors = draw_tensors(size, modes)
    tensors = [tensors[0].to(dtype).double().requires_grad_(), tensors[1].float().double().requires_grad_()]
    expected = spectral_conv2d(*tensors, modes, out_size, backend="reference")
    cotangent = draw(*expected.shape, seed=2).to(dtype)
    expected_gradients = torch.autograd.grad(expected, tensors, cotangent.double())

    x, weight = on_device(dtype, tensors[0])[0], on_device(torch.float32, tensors[1])[0]
    actual = spectral_conv2d(x, weight, modes, out_size, backend="triton")
    gradients = torch.autograd.grad(actual, (x, weight), cotangent.to(DEVICE))
    assert (actual.dtype, gradients[0].dtype, gradients[1].dtype) == (dtype, dtype, torch.float32)
    for value, exact in zip((actual, *gradients), (expected, *expected_gradients), strict=True):
        assert_close(value.double(), exact, TOLERANCE[dtype])


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("size", "modes"), TRANSFORMS)
def test_transforms_agree_with_the_fft(size, modes, dtype):
    x, _ = draw_tensors(size, modes)
    x = x.to(dtype)
    coefficients = operators.spectral_analysis(x.to(DEVICE), *modes, "triton_exact", True)
    exact = operators.spectral_analysis(x.double(), *modes, "pruned_fft", True)
    assert_close(coefficients, exact, TOLERANCE[dtype])

    z = draw(*coefficients.shape, seed=3).float()
    image = operators.spectral_synthesis(z.to(DEVICE), *size, *modes, "triton_exact", dtype, True)
    exact = operators.spectral_synthesis(z.double(), *size, *modes, "pruned_fft", torch.float64, True)
    assert_close(image.double(), exact, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("magnitude", [1e-7, 1e3])
def test_no_magnitude_leaves_the_range_of_the_products(dtype, magnitude):
    if dtype == torch.float16 and magnitude < 1:
        pytest.skip("the values themselves leave float16's range")
    x, _ = draw_tensors((12, 20), (4, 6))
    x = ((x + 3) * magnitude).to(dtype)
    coefficients = operators.spectral_analysis(x.to(DEVICE), 4, 6, "triton")
    assert_close(coefficients, operators.spectral_analysis(x.double(), 4, 6, "pruned_fft"), TOLERANCE[dtype])

    z = draw(2 * 4 * 6, 2, 3, 2) * magnitude
    image = operators.spectral_synthesis(z.to(DEVICE, torch.float32), 12, 20, 4, 6, "triton", dtype)
    exact = operators.spectral_synthesis(z, 12, 20, 4, 6, "pruned_fft", torch.float64)
    assert_close(image.double(), exact, TOLERANCE[dtype])


def test_a_large_mean_does_not_drown_the_waves():
    x, _ = draw_tensors((16, 16), (4, 4))
    x = (x + 300).bfloat16()
    coefficients = operators.spectral_analysis(x.to(DEVICE), 4, 4, "triton").cpu()
    exact = operators.spectral_analysis(x.double(), 4, 4, "pruned_fft")
    assert_close(coefficients[0], exact[0], 1e-3)
    assert (coefficients[1:] - exact[1:]).norm() < 3e-4 * exact[0].norm()  # 1.6e-4


@pytest.mark.parametrize("transform", ["triton_exact"] if INTERPRETED else ["triton", "triton_exact"])
@pytest.mark.parametrize(("size", "modes"), TRANSFORMS)
def test_synthesis_is_the_adjoint_of_analysis(transform, size, modes):
    x = draw(2, 3, *size).to(DEVICE, torch.float32)
    coefficients = operators.spectral_analysis(x, *modes, transform)
    other = draw(*coefficients.shape, seed=2).to(DEVICE, torch.float32)
    image = operators.spectral_synthesis(other, *size, *modes, transform, torch.float32)
    forms = [(coefficients * other).double().sum().item(), (x * image).double().sum().item()]
    scale = (coefficients.norm() * other.norm()).item()
    assert abs(forms[0] - forms[1]) < (EXACT if INTERPRETED or "exact" in transform else TF32) * scale


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("batch", "channels"), [(1, (1, 1)), (3, (20, 70)), (34, (2, 3))])
def test_mixings_agree_with_complex_products(batch, channels):
    y, weight, z = draw(3, batch, channels[0], 2), draw(3, *channels, 2, seed=1), draw(3, batch, channels[1], 2, seed=2)
    for operator, factors in [
        (operators.mode_mix, (y, weight)),
        (operators.mode_mix_adjoint, (z, weight)),
        (operators.mode_mix_weight, (y, z)),
    ]:
        expected = operator(*factors, "pruned_fft")
        actual = operator(*(t.to(DEVICE, torch.float32) for t in factors), "triton_exact")
        assert_close(actual, expected, EXACT)


def test_memory_order_does_not_matter():
    x, weight = draw_tensors((8, 10), (3, 4))
    expected = spectral_conv2d(x, weight, (3, 4), backend="reference")
    x, weight = x.to(DEVICE, torch.float32), weight.to(DEVICE, torch.float32)
    channels_last = x.to(memory_format=torch.channels_last)
    cut = torch.cat([x, x], dim=-1)[..., :10]
    transposed = weight.transpose(1, 2).contiguous().transpose(1, 2)
    for other in (channels_last, cut):
        assert_close(spectral_conv2d(other, transposed, (3, 4), backend="triton"), expected, EXACT)


EXTRAS = ("skip", "bias", "scale", "shift")


def draw_extras(names, batch, channels, size):
    shapes = {
        "skip": (batch, channels, *size),
        "bias": (channels,),
        "scale": (batch, channels),
        "shift": (batch, channels),
    }
    return {name: draw(*shapes[name], seed=4 + EXTRAS.index(name)) for name in names}


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("activation", "names"),
    [("silu", EXTRAS), ("gelu", EXTRAS), ("none", ("scale",)), ("silu", ("skip",)), ("gelu", ())],
)
def test_layers_agree_with_their_composition(activation, names, dtype):
    size, out_size, modes, channels = (7, 9), (34, 10), (2, 3), (3, 5)
    tensors = [t.to(dtype).double() for t in draw_tensors(size, modes, channels)]
    extras = {name: t.to(dtype).double() for name, t in draw_extras(names, 2, channels[1], out_size).items()}
    leaves = [t.requires_grad_() for t in (*tensors, *extras.values())]
    options = {"activation": activation, "out_size": out_size}
    expected = spectral_layer2d(*tensors, modes, **extras, **options, backend="reference")
    cotangent = draw(*expected.shape, seed=9).to(dtype)
    expected_gradients = torch.autograd.grad(expected, leaves, cotangent.double())

    ours = on_device(dtype, *(t.detach() for t in leaves))
    ours_extras = dict(zip(names, ours[2:], strict=True))
    actual = spectral_layer2d(*ours[:2], modes, **ours_extras, **options, backend="triton")
    gradients = torch.autograd.grad(actual, ours, cotangent.to(DEVICE))
    assert actual.dtype == dtype
    for value, exact in zip((actual, *gradients), (expected, *expected_gradients), strict=True):
        assert value.dtype == dtype
        assert_close(value.double(), exact, 2 * TOLERANCE[dtype])  # the backward rounds twice in a row


RESAMPLINGS = [((8, 8), (8, 8)), ((7, 10), (12, 5)), ((2, 33), (3, 40)), ((37, 5), (36, 70)), ((1, 9), (6, 9))]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("size", "new_size"), RESAMPLINGS)
def test_resampling_and_its_gradient_agree_with_the_matrices(size, new_size, dtype):
    x, cotangent = draw(2, 3, *size).to(dtype), draw(2, 3, *new_size, seed=1).to(dtype)
    exact = x.double().requires_grad_()
    expected = fourier_resample(exact, new_size, "matrix")
    (expected_gradient,) = torch.autograd.grad(expected, exact, cotangent.double())

    (x,) = on_device(dtype, x)
    actual = fourier_resample(x, new_size, "triton")
    (gradient,) = torch.autograd.grad(actual, x, cotangent.to(DEVICE))
    assert (actual.dtype, gradient.dtype) == (dtype, dtype)
    assert_close(actual.double(), expected, TOLERANCE[dtype])
    assert_close(gradient.double(), expected_gradient, TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(6, 8), (0, 6, 8), (2, 1, 3, 6, 8)])
def test_resampling_keeps_leading_axes(shape):
    x = draw(*shape)
    actual = fourier_resample(x.to(DEVICE, torch.float32), (9, 5), "triton")
    expected = fourier_resample(x, (9, 5), "matrix")
    assert actual.shape == expected.shape
    assert torch.linalg.norm(actual.cpu() - expected) <= EXACT * torch.linalg.norm(expected)


def test_resampling_is_a_sound_operator():
    x = draw(2, 5, 6).to(DEVICE, torch.float32).requires_grad_()
    for adjoint in (False, True):
        torch.library.opcheck(resample_operators.resample, (x, 7, 4, "triton", adjoint))
        torch.library.opcheck(resample_operators.resample, (x.detach().bfloat16(), 7, 4, "triton", adjoint))


@pytest.mark.usefixtures("unchecked")
def test_resampling_compiles_as_one_graph():
    torch._dynamo.reset()

    def run(x):
        return fourier_resample(x, (9, 5), "triton").sin()

    (x,) = on_device(torch.bfloat16, draw(2, 6, 8))
    expected, actual = run(x), torch.compile(run, fullgraph=True, backend="aot_eager")(x)
    (gradient,), (other,) = (torch.autograd.grad(out.float().sum(), x) for out in (actual, expected))
    assert torch.equal(actual, expected)
    assert torch.equal(gradient, other)


# (shape, groups): one tile, several of channels and of pixels, one channel a group, ragged, one pixel
NORMS = [((2, 8, 6, 5), 2), ((1, 12, 31, 35), 2), ((2, 3, 4, 4), 3), ((1, 9, 33, 32), 1), ((2, 6, 1, 1), 2)]


def draw_film(shape, names, dtype):
    channels, by_image = (shape[1],), shape[:2]
    values = {"weight": draw(*channels, seed=1), "bias": draw(*channels, seed=2)}
    values |= {name: draw(*by_image, seed=3 + len(name)) for name in names}
    return {name: value.to(dtype).double() for name, value in values.items()}


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("activation", "names"), [("silu", ("scale", "shift")), ("gelu", ("shift",)), ("none", ("scale",)), ("silu", ())]
)
@pytest.mark.parametrize(("shape", "groups"), NORMS)
def test_norms_agree_with_their_composition(shape, groups, activation, names, dtype):
    x = (3 * draw(*shape) + 2).to(dtype).double()
    film, cotangent = draw_film(shape, names, dtype), draw(*shape, seed=9).to(dtype)
    exact = [t.requires_grad_() for t in (x, *film.values())]
    options = {"activation": activation, "eps": 1e-3}
    expected = group_norm_film_activation(x, groups, **film, **options, backend="torch")
    expected_gradients = torch.autograd.grad(expected, exact, cotangent.double())

    ours = on_device(dtype, *(t.detach() for t in exact))
    film = dict(zip(film, ours[1:], strict=True))
    actual = group_norm_film_activation(ours[0], groups, **film, **options, backend="triton")
    gradients = torch.autograd.grad(actual, ours, cotangent.to(DEVICE))
    scales = [exact.norm() for exact in (expected, *expected_gradients)]
    for value, exact, scale in zip((actual, *gradients), (expected, *expected_gradients), scales, strict=True):
        assert value.dtype == dtype
        assert (value.detach().cpu().double() - exact).norm() <= TOLERANCE[dtype] * scale


@pytest.mark.parametrize("size", [(6, 5), (40, 40)])
def test_a_large_mean_does_not_spoil_the_variance(size):
    x = (draw(2, 4, *size) + 1e4).float()
    ones, zeros = torch.ones(4), torch.zeros(4)
    expected = group_norm_film_activation(x.double(), 2, ones.double(), zeros.double(), activation="none")
    film = ones.to(DEVICE), zeros.to(DEVICE)
    actual = group_norm_film_activation(x.to(DEVICE), 2, *film, activation="none", backend="triton")
    assert_close(actual, expected, 1e-3)  # 5.5e-4; torch's own 6.5e-4


def test_norms_take_any_memory_order_and_halves_of_a_tensor():
    x, both = draw(2, 4, 6, 5), draw(2, 8, seed=1)
    weight, bias = draw(8, seed=2)[::2], draw(4, seed=3)
    expected = group_norm_film_activation(x, 2, weight, bias, *both.chunk(2, dim=1))
    x, both, weight, bias = (t.to(DEVICE, torch.float32) for t in (x, both, draw(8, seed=2), bias))
    film = weight[::2], bias, *both.chunk(2, dim=1)
    for other in (x.to(memory_format=torch.channels_last), torch.cat([x, x], dim=-1)[..., :5]):
        assert_close(group_norm_film_activation(other, 2, *film, backend="triton"), expected, EXACT)


def test_an_empty_batch_has_no_norms():
    x, weight, bias = on_device(torch.float32, draw(0, 4, 3, 3), draw(4), draw(4))
    out = group_norm_film_activation(x, 2, weight, bias, backend="triton")
    out.sum().backward()
    assert out.shape == x.shape
    assert not weight.grad.any()


def test_norms_are_sound_operators():
    x, weight, bias, film = on_device(torch.float32, draw(2, 4, 3, 5), draw(4), draw(4), draw(2, 4))
    statistics, operators = torch.ones(2, 2, 2, device=DEVICE), group_norm_operators
    for extras in [(None, None), (film, None), (film, film)]:
        torch.library.opcheck(operators.group_norm_film, (x, 2, weight, bias, *extras, "gelu", 1e-5))
        arguments = x, x, statistics, 2, weight, bias, *extras, "silu"
        with torch.no_grad():
            torch.library.opcheck(operators.group_norm_film_backward, arguments)


def test_second_derivatives_of_norms_agree_with_their_composition():
    tensors = draw(2, 4, 3, 5), draw(4, seed=1), draw(4, seed=2), draw(2, 4, seed=3), draw(2, 4, seed=4)

    def second(tensors, backend):
        x, *film = tensors
        out = group_norm_film_activation(x, 2, *film, activation="gelu", backend=backend)
        gradients = torch.autograd.grad(out.square().sum(), tensors, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), tensors)

    expected = second([t.requires_grad_() for t in tensors], "torch")
    for value, exact in zip(second(on_device(torch.float32, *tensors), "triton"), expected, strict=True):
        assert_close(value, exact, EXACT)


@pytest.mark.parametrize("create_graph", [False, True])
def test_frozen_norms_still_pass_gradients_to_their_modulation(create_graph):
    x, weight, bias, shift = (t.to(DEVICE, torch.float32) for t in (draw(2, 4, 3, 5), draw(4), draw(4), draw(2, 4)))
    shift.requires_grad_()
    outs = (group_norm_film_activation(x, 2, weight, bias, shift=shift, backend=name) for name in ("triton", "torch"))
    ours, expected = (torch.autograd.grad(out.sum(), shift, create_graph=create_graph)[0] for out in outs)
    assert_close(ours, expected.double(), EXACT)


@pytest.mark.usefixtures("unchecked")
def test_norms_compile_as_one_graph():
    torch._dynamo.reset()

    def run(x, weight, bias, film):
        return group_norm_film_activation(x, 2, weight, bias, film, -film, backend="triton").sin()

    tensors = on_device(torch.float32, draw(2, 4, 3, 5), draw(4), draw(4), draw(2, 4))
    expected, actual = run(*tensors), torch.compile(run, fullgraph=True, backend="aot_eager")(*tensors)
    assert torch.equal(actual, expected)
    pairs = (torch.autograd.grad(out.sum(), tensors) for out in (actual, expected))
    assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))


def test_an_empty_batch_gives_an_empty_result():
    x, weight = on_device(torch.float32, *draw_tensors((8, 8), (2, 3), batch=0))
    out = spectral_conv2d(x, weight, (2, 3), (9, 10), backend="triton")
    out.sum().backward()
    assert out.shape == (0, 5, 9, 10)
    assert weight.grad.abs().sum() == 0


def test_one_image_with_nan_spoils_no_other():
    x, weight = on_device(torch.bfloat16, *draw_tensors((8, 8), (2, 3)))
    clean = spectral_conv2d(x, weight, (2, 3), backend="triton")
    with torch.no_grad():
        x[0, 0, 2, 3] = torch.nan
    out = spectral_conv2d(x, weight, (2, 3), backend="triton")
    assert out[0].isnan().all()
    assert torch.equal(out[1], clean[1])


def test_autocast_keeps_values_of_16_bits():
    x, weight = on_device(torch.bfloat16, *draw_tensors((8, 8), (2, 3)))
    expected = spectral_conv2d(x, weight, (2, 3), backend="triton")
    with torch.autocast(DEVICE.type, torch.bfloat16):
        out = spectral_conv2d(x, weight, (2, 3), backend="triton")
    assert torch.equal(out, expected)


def test_the_operators_are_sound():
    x, y, z, weight = (
        t.to(DEVICE, torch.float32).requires_grad_()
        for t in (draw(1, 2, 7, 6), draw(12, 1, 2, 2), draw(12, 1, 3, 2), draw(12, 2, 3, 2))
    )
    half = x.detach().bfloat16().requires_grad_()
    bias, film = torch.ones(2, device=DEVICE).requires_grad_(), torch.ones(1, 2, device=DEVICE).requires_grad_()
    for operator, arguments in [
        (operators.spectral_analysis, (x, 2, 3, "triton")),
        (operators.spectral_analysis, (half, 2, 3, "triton")),
        (operators.spectral_synthesis, (y, 7, 6, 2, 3, "triton", torch.float32)),
        (operators.spectral_synthesis, (y, 7, 6, 2, 3, "triton", torch.bfloat16)),
        (layer.spectral_epilogue, (y, x, None, None, None, "silu", 7, 6, 2, 3, "triton", torch.float32)),
        (layer.spectral_epilogue, (y, None, bias, film, film, "gelu", 7, 6, 2, 3, "triton", torch.float32)),
        (operators.mode_mix, (y, weight, "triton")),
        (operators.mode_mix_adjoint, (z, weight, "triton")),
        (operators.mode_mix_weight, (y, z, "triton")),
    ]:
        torch.library.opcheck(operator, arguments)


def test_second_derivatives_agree_with_the_reference():
    x, weight = draw_tensors((6, 8), (2, 3))

    def second(x, weight, backend):
        out = spectral_conv2d(x, weight, (2, 3), backend=backend)
        (gradient,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), (x, weight))

    expected = second(x.requires_grad_(), weight.requires_grad_(), "reference")
    for value, exact in zip(second(*on_device(torch.float32, x, weight), "triton"), expected, strict=True):
        assert_close(value, exact, EXACT)


@pytest.mark.parametrize("names", [EXTRAS, ("shift",)])
def test_second_derivatives_of_a_layer_agree_with_its_composition(names):
    tensors = [*draw_tensors((6, 8), (1, 2)), *draw_extras(names, 2, 5, (6, 8)).values()]

    def second(tensors, backend):
        tensors = [t.requires_grad_() for t in tensors]
        extras = dict(zip(names, tensors[2:], strict=True))
        out = spectral_layer2d(*tensors[:2], (1, 2), **extras, activation="gelu", backend=backend)
        gradients = torch.autograd.grad(out.square().sum(), tensors, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), tensors)

    expected = second(tensors, "reference")
    for value, exact in zip(second(on_device(torch.float32, *tensors), "triton"), expected, strict=True):
        assert_close(value, exact, EXACT)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("activation", [None, "silu"])
def test_compiles_as_one_graph(activation):
    torch._dynamo.reset()

    def run(x, weight):
        if activation:
            return spectral_layer2d(x, weight, (2, 3), activation=activation, out_size=(10, 9), backend="triton")
        return torch.nn.functional.silu(spectral_conv2d(x, weight, (2, 3), (10, 9), backend="triton"))

    tensors = on_device(torch.bfloat16, *draw_tensors((8, 8), (2, 3)))
    expected = run(*tensors)
    actual = torch.compile(run, fullgraph=True, backend="aot_eager")(*tensors)
    assert_close(actual.float(), expected.float(), 6e-3)  # silu rounds between its steps
    gradients = torch.autograd.grad(actual.float().sum(), tensors)
    for gradient, other in zip(gradients, torch.autograd.grad(expected.float().sum(), tensors), strict=True):
        assert_close(gradient.float(), other.float(), 6e-3)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter runs programs one after the other")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_repeats_bit_for_bit(dtype):
    x, weight = on_device(dtype, *draw_tensors((60, 70), (16, 17), channels=(24, 40), batch=9))

    def run():
        out = spectral_conv2d(x, weight, (16, 17), backend="triton")
        return (out, *torch.autograd.grad(out.float().square().sum(), (x, weight)))

    first = run()
    for _ in range(10):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter runs programs one after the other")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_resampling_and_norms_repeat_bit_for_bit(dtype):
    x, weight, bias, film = on_device(dtype, draw(9, 24, 60, 70), draw(24), draw(24), draw(9, 24))

    def run():
        hidden = group_norm_film_activation(x, 6, weight, bias, film, film, backend="triton")
        out = fourier_resample(hidden, (61, 90), "triton")
        return (out, *torch.autograd.grad(out.float().square().sum(), (x, weight, bias, film)))

    first = run()
    for _ in range(10):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))
