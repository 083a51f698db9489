# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Layers by Triton: on a GPU, or without one in Triton's interpreter, by test_triton_interpreter.py."""

import pytest
import torch
from triton_cases import (
    DEVICE,
    EXACT,
    INTERPRETED,
    MARKS,
    TOLERANCE,
    draw,
    draw_tensors,
    need_a_device,
    on_device,
    poisoned,  # noqa: F401 - fixtures
)

from physicsnemo_fs.kernels import spectral_layer2d
from physicsnemo_fs.kernels.spectral_conv import concatenated
from physicsnemo_fs.kernels.spectral_conv.triton_kernels import configs
from physicsnemo_fs.testing import assert_close

pytestmark = MARKS
need_a_device()

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


@pytest.fixture
def small_tiles(monkeypatch):
    """Let a few values fill several tiles of each kind."""
    for kernel, sizes in (("synthesis", {"columns": 16}), ("concatenated", {"channels": 16, "inner": 16, "width": 16})):
        for operand, tile in configs.entry(DEVICE)[kernel].items():
            monkeypatch.setitem(configs.entry(DEVICE)[kernel], operand, tile | sizes)


# (size, modes, channels, batch): the map in the inverse transform, tiles of each kind, a map of its own
MAPS = [((7, 12), (3, 3), (3, 5), 2), ((2, 68), (1, 17), (17, 18), 1), ((7, 9), (2, 3), (3, 5), 2)]


def leaves_of_a_mapped_layer(modes, size, channels, batch, dtype, names):
    x, weight = draw_tensors(size, modes, channels, batch)
    matrix = draw(channels[1], channels[0], seed=7)
    extras = draw_extras(names, batch, channels[1], size)
    return [t.to(dtype).double().requires_grad_() for t in (x, weight, matrix, *extras.values())]


def run_mapped_layer(tensors, modes, names, activation, backend):
    x, weight, matrix, *extras = tensors
    extras = dict(zip(names, extras, strict=True))
    return spectral_layer2d(x, weight, modes, **extras, activation=activation, backend=backend, skip_weight=matrix)


@pytest.mark.usefixtures("poisoned", "small_tiles")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("size", "modes", "channels", "batch", "activation", "names"),
    [*((*case, "gelu", EXTRAS[1:]) for case in MAPS), ((2, 4), (1, 1), (1, 1), 1, "none", ())],
)
def test_layers_with_a_map_agree_with_their_composition(size, modes, channels, batch, activation, names, dtype):
    leaves = leaves_of_a_mapped_layer(modes, size, channels, batch, dtype, names)
    expected = run_mapped_layer(leaves, modes, names, activation, "reference")
    cotangent = draw(*expected.shape, seed=9).to(dtype)
    expected_gradients = torch.autograd.grad(expected, leaves, cotangent.double())

    ours = on_device(dtype, *(t.detach() for t in leaves))
    actual = run_mapped_layer(ours, modes, names, activation, "triton")
    gradients = torch.autograd.grad(actual, ours, cotangent.to(DEVICE))
    for value, exact in zip((actual, *gradients), (expected, *expected_gradients), strict=True):
        assert value.dtype == dtype
        assert_close(value.double(), exact, 2 * TOLERANCE[dtype])


def test_a_layer_with_a_map_saves_its_input_and_coefficients_only():
    leaves = on_device(torch.float32, *leaves_of_a_mapped_layer((2, 3), (32, 12), (3, 5), 2, torch.float32, ()))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        run_mapped_layer(leaves, (2, 3), (), "silu", "triton")
    coefficients = 2 * 2 * 3 * 2 * (3 + 5) * 2
    assert sum(t.numel() for t in saved) == sum(t.numel() for t in leaves) + coefficients


@pytest.mark.parametrize("names", [EXTRAS[1:], ()])
def test_second_derivatives_of_a_layer_with_a_map_agree_with_its_composition(names):
    def second(tensors, backend):
        out = run_mapped_layer(tensors, (1, 2), names, "gelu", backend)
        gradients = torch.autograd.grad(out.square().sum(), tensors, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), tensors)

    leaves = leaves_of_a_mapped_layer((1, 2), (6, 8), (3, 5), 2, torch.float64, names)
    ours = on_device(torch.float32, *(t.detach() for t in leaves))
    for value, exact in zip(second(ours, "triton"), second(leaves, "reference"), strict=True):
        assert_close(value, exact, EXACT)


def test_any_subset_of_a_layer_with_a_map_can_be_frozen():
    leaves = on_device(torch.float32, *leaves_of_a_mapped_layer((1, 2), (6, 8), (3, 5), 2, torch.float32, EXTRAS[1:]))
    full = torch.autograd.grad(run_mapped_layer(leaves, (1, 2), EXTRAS[1:], "silu", "triton").sum(), leaves)
    for index in (0, 2, 5):
        leaf = leaves[index]
        others = [t if t is leaf else t.detach() for t in leaves]
        out = run_mapped_layer(others, (1, 2), EXTRAS[1:], "silu", "triton")
        (gradient,) = torch.autograd.grad(out.sum(), leaf)
        assert torch.equal(gradient, full[index])


def test_an_empty_batch_has_no_layer_with_a_map():
    leaves = on_device(torch.float32, *leaves_of_a_mapped_layer((1, 2), (6, 8), (3, 5), 0, torch.float32, ()))
    out = run_mapped_layer(leaves, (1, 2), (), "silu", "triton")
    assert out.shape == (0, 5, 6, 8)
    assert not any(gradient.any() for gradient in torch.autograd.grad(out.sum(), leaves))


def test_the_operators_of_a_layer_with_a_map_are_sound():
    x, weight, matrix, bias, scale, shift = on_device(
        torch.float32, *leaves_of_a_mapped_layer((1, 2), (4, 8), (2, 3), 1, torch.float32, EXTRAS[1:])
    )
    mixed = draw(4, 1, 3, 2).to(DEVICE, torch.float32)
    settings = (1, 2, "triton")
    operator = concatenated.spectral_concatenated
    torch.library.opcheck(operator, (x, weight, matrix, bias, scale, shift, "silu", *settings))
    with torch.no_grad():
        y = torch.ones(1, 3, 4, 8, device=DEVICE)
        arguments = y, mixed, x, matrix, bias, None, shift, "silu", *settings
        torch.library.opcheck(concatenated.spectral_concatenated_backward, arguments)
        torch.library.opcheck(concatenated.spectral_synthesis_pointwise, (mixed, x, matrix, *settings))


@pytest.mark.usefixtures("unchecked")
def test_a_layer_with_a_map_compiles_as_one_graph():
    torch._dynamo.reset()

    def run(*tensors):
        return run_mapped_layer(tensors, (1, 2), EXTRAS[1:], "silu", "triton").sin()

    leaves = on_device(torch.float32, *leaves_of_a_mapped_layer((1, 2), (6, 8), (3, 5), 2, torch.float32, EXTRAS[1:]))
    expected, actual = run(*leaves), torch.compile(run, fullgraph=True, backend="aot_eager")(*leaves)
    assert torch.equal(actual, expected)
    pairs = (torch.autograd.grad(out.sum(), leaves) for out in (actual, expected))
    for gradient, other in zip(*pairs, strict=True):
        assert_close(gradient, other, EXACT)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter runs programs one after the other")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_layers_with_a_map_repeat_bit_for_bit(dtype):
    leaves = on_device(dtype, *leaves_of_a_mapped_layer((12, 16), (40, 96), (24, 40), 9, dtype, EXTRAS[1:]))

    def run():
        out = run_mapped_layer(leaves, (12, 16), EXTRAS[1:], "silu", "triton")
        return (out, *torch.autograd.grad(out.float().square().sum(), leaves))

    first = run()
    for _ in range(10):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))
