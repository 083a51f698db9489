# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Resampling as an operator; tests/nn/test_resample.py has what it computes."""

import pytest
import torch
from sound import opcheck

from physicsnemo_fs.kernels import BACKEND_VARIABLE, fourier_resample
from physicsnemo_fs.kernels.resample import op, operators
from physicsnemo_fs.testing import assert_close

BACKENDS = ["matrix", "fft"]
SIZES = [((5, 6), (8, 5)), ((4, 7), (4, 6)), ((1, 3), (2, 1)), ((6, 5), (3, 4))]
DOUBLE = 1e-13  # measured at most 5e-16


def draw(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("transform", BACKENDS)
@pytest.mark.parametrize(("size", "new_size"), SIZES)
def test_the_adjoint_is_the_transpose_and_a_scaled_way_back(transform, size, new_size):
    x, y = draw(2, 3, *size), draw(2, 3, *new_size, seed=1)
    there = operators.resample(x, *new_size, transform)
    back = operators.resample(y, *size, transform, True)
    assert abs((there * y).sum() - (x * back).sum()) < DOUBLE * there.norm() * y.norm()
    scale = new_size[0] * new_size[1] / (size[0] * size[1])
    assert_close(back, scale * operators.resample(y, *size, transform), DOUBLE)


@pytest.mark.parametrize("transform", BACKENDS)
@pytest.mark.parametrize("adjoint", [False, True])
def test_is_a_sound_operator(transform, adjoint):
    x = draw(2, 3, 5, 6).requires_grad_()
    opcheck(operators.resample, (x, 7, 4, transform, adjoint))
    opcheck(operators.resample, (x.detach()[0, 0], 7, 4, transform, adjoint))


@pytest.mark.parametrize("transform", BACKENDS)
@pytest.mark.parametrize(("size", "new_size"), SIZES)
def test_first_and_second_derivatives(transform, size, new_size):
    x = draw(2, *size).requires_grad_()

    def run(x):
        return operators.resample(x, *new_size, transform)

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize("transform", BACKENDS)
def test_the_backward_saves_nothing(transform):
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        operators.resample(draw(2, 8, 8).requires_grad_(), 12, 12, transform)
    assert not saved


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_operator_is_what_runs_without_it(backend):
    x, y = draw(2, 3, 12, 9).float().requires_grad_(), draw(2, 3, 20, 16, seed=1).float()
    ours, plain = operators.resample(x, 20, 16, backend), fourier_resample(x, (20, 16), backend)
    assert torch.equal(ours, plain)
    (ours_gradient,), (gradient,) = (torch.autograd.grad(out, x, y) for out in (ours, plain))
    assert_close(ours_gradient, gradient, 1e-6)  # measured 2e-7 for "fft", none for "matrix"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiles_as_one_graph(backend, dtype):
    torch._dynamo.reset()

    def run(x):
        return fourier_resample(x, (10, 7), backend).sin()

    x = draw(2, 8, 9).to(dtype).requires_grad_()
    expected, actual = run(x), torch.compile(run, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(actual, expected)
    (gradient,), (other,) = (torch.autograd.grad(out.sum(), x) for out in (actual, expected))
    assert_close(gradient.float(), other.float(), 1e-6 if dtype == torch.float32 else 3e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backward_under_autocast_is_single_precision(backend):
    x, y = draw(2, 8, 9), draw(2, 12, 12, seed=1)
    exact = operators.resample(y, 8, 9, backend, True)
    single = x.float().requires_grad_()
    out = operators.resample(single, 12, 12, backend)
    with torch.autocast("cpu", torch.bfloat16):
        (gradient,) = torch.autograd.grad(out, single, y.float())
    assert_close(gradient, exact, 1e-6)


def test_a_gpu_takes_triton_as_the_spectral_convolution_does(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    cuda = torch.device("cuda", 0)
    half = torch.bfloat16
    assert op._choose(cuda, half, (64, 64), (128, 128), None) == "triton"
    assert op._choose(cuda, half, (64, 64), (64, 66), None) == "triton"
    assert op._choose(cuda, torch.float32, (64, 64), (128, 128), None) == "matrix"
    assert op._choose(cuda, half, (66, 64), (128, 128), None) == "matrix"
    assert op._choose(cuda, half, (66, 64), (64, 1024), None) == "triton"
    assert op._choose(cuda, half, (66, 64), (1024, 64), None) == "fft"
    monkeypatch.setenv(BACKEND_VARIABLE, "pruned_fft")
    assert op._choose(cuda, half, (64, 64), (128, 128), None) == "matrix"
    assert op._choose(cuda, half, (64, 64), (128, 128), "triton") == "triton"


@pytest.mark.parametrize(
    ("x", "size", "backend", "message"),
    [
        (torch.zeros(4), (8, 8), None, r"x must be \[..., height, width\]: got \(4,\)"),
        (torch.zeros(4, 4, dtype=torch.complex64), (8, 8), None, "real and imaginary part"),
        (torch.zeros(4, 4, dtype=torch.int64), (8, 8), None, "torch.int64"),
        (torch.zeros(4, 4), (8, 0), None, r"at least one node: got \(8, 0\) from \(4, 4\)"),
        (torch.zeros(4, 4), (8, 8), "partial_dft", "backend must be one of matrix, fft, triton: got 'partial_dft'"),
        (torch.zeros(4, 4, dtype=torch.float64), (8, 8), "triton", "float16: got torch.float64; .* choose matrix"),
    ],
)
def test_refuses_what_it_cannot_do(x, size, backend, message):
    with pytest.raises(ValueError, match=message):
        fourier_resample(x, size, backend)
