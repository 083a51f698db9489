# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from physicsnemo_fs.kernels import spectral_conv2d, spectral_layer2d
from physicsnemo_fs.kernels.spectral_conv.concatenated import _gradient_of_map
from physicsnemo_fs.testing import assert_close

BACKENDS = ["reference", "pruned_fft", "partial_dft"]
MODES = (2, 3)


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_is_its_formula(backend):
    x, weight, skip = draw(2, 3, 8, 7), draw(12, 3, 4, 2), draw(2, 4, 6, 9)
    bias, scale, shift = draw(4), draw(2, 4), draw(2, 4)
    out = spectral_layer2d(x, weight, MODES, skip, bias, scale, shift, "gelu", (6, 9), backend)
    inner = spectral_conv2d(x, weight, MODES, (6, 9), backend) + skip + bias.view(1, 4, 1, 1)
    outer = inner * (1 + scale.view(2, 4, 1, 1)) + shift.view(2, 4, 1, 1)
    assert_close(out, torch.nn.functional.gelu(outer), 1e-14)


def test_a_layer_without_extras_is_the_convolution():
    x, weight = draw(2, 3, 8, 7), draw(12, 3, 4, 2)
    assert torch.equal(spectral_layer2d(x, weight, MODES), spectral_conv2d(x, weight, MODES))


def test_first_and_second_derivatives():
    tensors = [draw(1, 1, 4, 5), draw(4, 1, 2, 2), draw(1, 2, 4, 5), draw(2), draw(1, 2), draw(1, 2)]
    tensors = [t.requires_grad_() for t in tensors]

    def run(x, weight, *extras):
        return spectral_layer2d(x, weight, (1, 2), *extras, activation="silu")

    assert torch.autograd.gradcheck(run, tensors)
    assert torch.autograd.gradgradcheck(run, tensors)


def test_the_dtype_of_the_input_stays():
    x, weight = draw(1, 1, 4, 4).bfloat16(), draw(2, 1, 1, 2).float()
    out = spectral_layer2d(x, weight, (1, 1), shift=torch.ones(1, 1))
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mapped", [False, True])
def test_values_of_16_bits_are_rounded_once(backend, dtype, mapped):
    x, weight = draw(2, 3, 8, 7).to(dtype), draw(12, 3, 4, 2).float()
    extras = {"bias": draw(4).float(), "scale": draw(2, 4).float(), "shift": draw(2, 4).float()}
    extras |= {"skip_weight": draw(4, 3).float()} if mapped else {"skip": draw(2, 4, 8, 7).to(dtype)}
    out = spectral_layer2d(x, weight, MODES, **extras, activation="silu", backend=backend)
    exact = spectral_layer2d(x.float(), weight, MODES, **extras, activation="silu", backend=backend)
    assert torch.equal(out, exact.to(dtype))


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ({"skip": torch.zeros(2, 4, 8, 8)}, r"skip must be \[2, 4, 8, 7\]: got \[2, 4, 8, 8\]"),
        ({"bias": torch.zeros(3)}, r"bias must be \[4\]: got \[3\]"),
        ({"scale": torch.zeros(4)}, r"scale must be \[2, 4\]: got \[4\]"),
        ({"shift": torch.zeros(1, 4)}, r"shift must be \[2, 4\]: got \[1, 4\]"),
        ({"activation": "relu"}, "activation must be one of none, silu, gelu: got 'relu'"),
    ],
)
def test_refuses_what_does_not_fit(extras, message):
    with pytest.raises(ValueError, match=message):
        spectral_layer2d(draw(2, 3, 8, 7), draw(12, 3, 4, 2), MODES, **extras)


def test_the_gradient_of_a_map_may_exceed_what_float16_holds():
    values = torch.full((2, 3, 32, 48), 8.0, dtype=torch.float16)
    assert _gradient_of_map(values, values).tolist() == [[8.0 * 8.0 * 2 * 32 * 48] * 3] * 3
