# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What no kernel computes is refused by the argument's name; zero sizes and views are no accident."""

import pytest
import torch

from physicsnemo_fs.kernels import fourier_resample, group_norm_film_activation, spectral_conv2d, spectral_layer2d
from physicsnemo_fs.testing import assert_close

X, WEIGHT, MODES = torch.ones(2, 3, 8, 6), torch.ones(12, 3, 4, 2), (2, 3)
META = torch.device("meta")
BACKENDS = ["reference", "pruned_fft", "partial_dft"]

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": X[0]}, r"x must be \[batch, channels, height, width\]: got \(3, 8, 6\)"),
        ({"x": X.int()}, "x must be real floating point .* got torch.int32"),
        ({"x": X.to(torch.float8_e4m3fn)}, "x must be real floating point of 16 to 64 bits: got torch.float8_e4m3fn"),
        ({"x": X.to(torch.complex64)}, "x must be real floating point .* got torch.complex64"),
        ({"weight": WEIGHT.bool()}, "weight must be real floating point .* got torch.bool"),
        ({"weight": torch.view_as_complex(WEIGHT)}, "weight must be real .* got torch.complex64; .*view_as_real"),
        ({"weight": WEIGHT.to(META)}, "weight must be on the device of x: got meta and cpu; move one of them"),
        ({"weight": WEIGHT[:, :2]}, r"weight must be .* = \[12, 3, out_channels, 2\]: got \(12, 2, 4, 2\)"),
        ({"modes": (5, 3)}, r"weight must be .* = \[30, 3"),
        ({"modes": (6, 1)}, r"modes must be at least \(1, 1\) and at most \(4, 4\)"),
        ({"modes": (2.0, 3.0)}, r"modes must be two integers: got \(2\.0, 3\.0\)"),
        ({"modes": 6}, "modes must be two integers: got 6"),
        ({"modes": (True, True)}, r"modes must be two integers: got \(True, True\)"),
        ({"x": None}, "x must be a tensor: got NoneType; convert it by torch.as_tensor"),
        ({"x": [[1.0]]}, "x must be a tensor: got list"),
        ({"weight": None}, "weight must be a tensor: got NoneType"),
        ({"x": X.to_sparse()}, r"x must be dense: got torch\.sparse_coo; convert it by to_dense"),
        ({"weight": WEIGHT.to_sparse()}, r"weight must be dense: got torch\.sparse_coo"),
        ({"modes": (2, 3, 1)}, r"modes must be two integers: got \(2, 3, 1\)"),
        ({"modes": (-2, -3)}, r"modes must be at least \(1, 1\)"),
        ({"out_size": (8, 6, 4)}, r"out_size must be two integers: got \(8, 6, 4\)"),
        ({"out_size": (8.5, 6)}, "out_size must be two integers"),
        ({"out_size": (0, 6)}, r"at most \(0, 4\) on grids \(8, 6\) and \(0, 6\)"),
        ({"out_size": (-8, 6)}, "modes must be at least"),
        ({"x": X[..., :0]}, r"at most \(4, 1\) on grids \(8, 0\)"),
        ({"backend": "cufft"}, "backend must be one of reference, pruned_fft, partial_dft, triton: got 'cufft'"),
        ({"backend": ""}, "backend must be one of .* got ''"),
    ],
)
def test_a_convolution_refuses(changed, message):
    with pytest.raises(ValueError, match=message):
        spectral_conv2d(**{"x": X, "weight": WEIGHT, "modes": MODES} | changed)


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ({"skip": X.new_zeros(2, 4, 8, 6).to(META)}, "skip must be on the device of x: got meta and cpu"),
        ({"bias": torch.zeros(4, dtype=torch.complex64)}, "bias must be real floating point .* got torch.complex64"),
        ({"scale": torch.zeros(2, 4, dtype=torch.int64)}, "scale must be real floating point .* got torch.int64"),
        ({"bias": 1.0}, "bias must be a tensor: got float"),
        ({"skip_weight": torch.zeros(3, 4)}, r"skip_weight must be \[4, 3\]: got \[3, 4\]"),
        ({"skip_weight": torch.zeros(4, 3), "skip": torch.zeros(2, 4, 8, 6)}, "skip_weight must come without skip"),
        ({"skip_weight": torch.zeros(4, 3), "out_size": (8, 8)}, r"skip_weight must .* the grid of x: got \(8, 6\)"),
    ],
)
def test_a_layer_refuses(extras, message):
    with pytest.raises(ValueError, match=message):
        spectral_layer2d(X, WEIGHT, MODES, **extras)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weight": torch.ones(3, device=META)}, "weight must be on the device of x"),
        ({"scale": torch.ones(2, 3, dtype=torch.int32)}, "scale must be real floating point .* got torch.int32"),
        ({"x": X.to(torch.complex64)}, "x must be real floating point"),
    ],
)
def test_a_norm_refuses(changed, message):
    arguments = {"x": X, "groups": 3, "weight": torch.ones(3), "bias": torch.ones(3)}
    with pytest.raises(ValueError, match=message):
        group_norm_film_activation(**arguments | changed)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((8, 8, 8), "size must be two integers"),
        (8, "size must be two integers: got 8"),
        ((8, 2.5), r"size must be two integers: got \(8, 2\.5\)"),
        ((8, -1), "at least one node"),
    ],
)
def test_a_resampling_refuses(size, message):
    with pytest.raises(ValueError, match=message):
        fourier_resample(X, size)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_nothing_in_gives_nothing_or_zeros(backend, shape):
    batch, inner, channels = shape
    x, weight = torch.ones(batch, inner, 8, 6).requires_grad_(), torch.ones(12, inner, channels, 2).requires_grad_()
    out = spectral_layer2d(x, weight, MODES, bias=torch.zeros(channels), backend=backend)
    out.sum().backward()
    assert out.shape == (batch, channels, 8, 6)
    assert not out.any()
    assert x.grad.shape == x.shape
    assert not weight.grad.any()


def test_norms_of_nothing_pass_zero_gradients_to_everything():
    tensors = [torch.ones(0, 4, 3, 3), torch.ones(4), torch.ones(4), torch.ones(0, 4), torch.ones(0, 4)]
    tensors = [t.requires_grad_() for t in tensors]
    x, *film = tensors
    out = group_norm_film_activation(x, 2, *film)
    gradients = torch.autograd.grad(out.sum(), tensors)
    assert out.shape == x.shape
    assert not any(g.any() for g in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
def test_views_of_every_argument_give_what_copies_give(backend):
    generator = torch.Generator().manual_seed(0)

    def strided(*shape):
        return torch.randn(*(2 * n for n in shape), generator=generator)[tuple(slice(None, None, 2) for _ in shape)]

    x, weight, skip, film = strided(2, 3, 8, 6), strided(12, 3, 4, 2), strided(2, 4, 8, 6), strided(2, 4)
    arguments = [x.flip(-1), weight, MODES, skip, film[0], film, film]
    copies = [a.contiguous() if isinstance(a, torch.Tensor) else a for a in arguments]
    out = spectral_layer2d(*arguments, backend=backend)
    assert_close(out, spectral_layer2d(*copies, backend=backend), 1e-6)
    one = x[:1].contiguous()
    repeated = spectral_conv2d(one.expand(5, 3, 8, 6), weight, MODES, backend=backend)
    assert_close(repeated, spectral_conv2d(one, weight, MODES, backend=backend).expand(5, 4, 8, 6), 1e-6)
