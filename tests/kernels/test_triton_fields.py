# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Resampling and norms by Triton: on a GPU, or without one in the interpreter, by test_triton_interpreter.py."""

import pytest
import torch
from sound import opcheck
from triton_cases import (  # noqa: F401 - fixtures
    DEVICE,
    EXACT,
    INTERPRETED,
    MARKS,
    TOLERANCE,
    draw,
    need_a_device,
    on_device,
    poisoned,
)

from physicsnemo_fs.kernels import fourier_resample, group_norm_film_activation
from physicsnemo_fs.kernels.group_norm import operators as group_norm_operators
from physicsnemo_fs.kernels.resample import operators as resample_operators
from physicsnemo_fs.testing import assert_close

pytestmark = MARKS
need_a_device()

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
        opcheck(resample_operators.resample, (x, 7, 4, "triton", adjoint))
        opcheck(resample_operators.resample, (x.detach().bfloat16(), 7, 4, "triton", adjoint))


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
        opcheck(operators.group_norm_film, (x, 2, weight, bias, *extras, "gelu", 1e-5))
        arguments = x, x, statistics, 2, weight, bias, *extras, "silu"
        with torch.no_grad():
            opcheck(operators.group_norm_film_backward, arguments)


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
