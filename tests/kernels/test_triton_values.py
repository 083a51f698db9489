# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What the Triton kernels compute: on a GPU, or without one in Triton's interpreter, by test_triton_interpreter.py."""

import pytest
import torch
from triton_cases import (  # noqa: F401 - fixtures
    DEVICE,
    EXACT,
    INTERPRETED,
    MARKS,
    TF32,
    TOLERANCE,
    draw,
    draw_tensors,
    need_a_device,
    on_device,
    poisoned,
)

from physicsnemo_fs.kernels import spectral_conv2d, spectral_layer2d
from physicsnemo_fs.kernels.spectral_conv import epilogue, operators
from physicsnemo_fs.testing import assert_close

pytestmark = MARKS
need_a_device()

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
        (epilogue.spectral_epilogue, (y, x, None, None, None, "silu", 7, 6, 2, 3, "triton", torch.float32)),
        (epilogue.spectral_epilogue, (y, None, bias, film, film, "gelu", 7, 6, 2, 3, "triton", torch.float32)),
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
