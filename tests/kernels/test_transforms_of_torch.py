# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Forward derivatives, and tracing with fake tensors, of every operator."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from physicsnemo_fs.kernels import (
    BACKEND_VARIABLE,
    fourier_resample,
    group_norm_film_activation,
    pointwise_map,
    spectral_conv2d,
    spectral_layer2d,
)
from physicsnemo_fs.kernels.constants import constants
from physicsnemo_fs.nn.resample import interpolate_cells
from physicsnemo_fs.nn.spectral import SpectralConv2d
from physicsnemo_fs.nn.tucker import TuckerSpectralConv2d
from physicsnemo_fs.testing import assert_close

pytestmark = pytest.mark.usefixtures("unchecked")

ONES = torch.ones(3, dtype=torch.float64)


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


OPERATORS = {
    "convolution": lambda x: spectral_conv2d(x, drawn(12, 3, 4, 2), (2, 3), (10, 9)),
    "layer": lambda x: spectral_layer2d(x, drawn(12, 3, 4, 2), (2, 3), skip_weight=drawn(4, 3), activation="silu"),
    "resampling": lambda x: fourier_resample(x, (9, 12)),
    "norm": lambda x: group_norm_film_activation(x, 3, ONES, ONES, drawn(2, 3)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_forward_derivatives_are_those_of_the_double_backward(name):
    run, x, along = OPERATORS[name], drawn(2, 3, 8, 6), drawn(2, 3, 6, 8).mT.contiguous()
    _, expected = torch.autograd.functional.jvp(run, x, along)
    assert expected.abs().max() > 0.1
    assert_close(torch.func.jvp(run, (x,), (along,))[1], expected, 1e-12)
    compiled = torch.compile(lambda x, along: torch.func.jvp(run, (x,), (along,))[1], backend="eager")
    assert_close(compiled(x, along), expected, 1e-12)


def test_a_backend_without_forward_derivatives_raises_where_it_is_asked_for():
    x, weight = drawn(2, 3, 8, 6), drawn(12, 3, 4, 2)
    with pytest.raises(ValueError, match=r"'partial_dft' has no forward derivatives .*; choose reference"):
        torch.func.jvp(lambda x: spectral_conv2d(x, weight, (2, 3), backend="partial_dft"), (x,), (x,))


@pytest.mark.parametrize("run", [lambda x: fourier_resample(x, (19, 21)), lambda x: interpolate_cells(x, (22, 26))])
def test_a_trace_with_fake_tensors_leaves_nothing_behind(run):
    with FakeTensorMode():
        shape = run(torch.randn(2, 3, 11, 13)).shape
    with torch.device("meta"):
        assert run(torch.randn(2, 3, 11, 13, device="cpu")).shape == shape
    assert run(torch.randn(2, 3, 11, 13)).isfinite().all()


@pytest.mark.parametrize(
    "run",
    [
        lambda x: spectral_conv2d(x, x.new_ones(12, 3, 4, 2), (2, 3), (20, 18)),
        lambda x: spectral_layer2d(x, x.new_ones(12, 3, 4, 2), (2, 3), skip_weight=x.new_ones(4, 3)),
        lambda x: group_norm_film_activation(x, 3, x.new_ones(3), x.new_ones(3), x.new_ones(2, 3)),
        lambda x: fourier_resample(x, (19, 21)),
        lambda x: interpolate_cells(x, (22, 26)),
        lambda x: SpectralConv2d(3, 4, 2, 3).to(x.device)(x),
        lambda x: TuckerSpectralConv2d(3, 4, 2, 3, rank=0.5).to(x.device)(x),
    ],
)
def test_the_meta_device_gives_shapes(run):
    x = torch.randn(2, 3, 11, 13)
    found = run(x.to("meta"))
    assert found.is_meta
    assert found.shape == run(x).shape


def test_a_backend_of_no_name_is_refused_by_every_operator(monkeypatch):
    monkeypatch.setenv(BACKEND_VARIABLE, "prunedfft")
    x, ones = torch.ones(2, 3, 8, 6), torch.ones(3)
    for run in (
        lambda: spectral_conv2d(x, torch.ones(12, 3, 4, 2), (2, 3)),
        lambda: fourier_resample(x, (9, 9)),
        lambda: group_norm_film_activation(x, 3, ones, ones),
    ):
        with pytest.raises(ValueError, match=r"PHYSICSNEMO_FS_BACKEND must be one of reference, .* got 'prunedfft'"):
            run()


def test_constants_are_never_dropped():
    made = []

    @constants
    def table(size):
        made.append(size)
        return torch.zeros(size)

    tables = [table(size) for size in range(1000)]
    assert all(table(size) is tables[size] for size in range(1000))
    assert made == list(range(1000))


def test_a_pointwise_map_promotes_dtypes():
    x, matrix, bias = drawn(2, 3, 4, 5), drawn(6, 3), drawn(6)
    found = pointwise_map(x.bfloat16(), matrix.float(), bias.half())
    assert found.dtype == torch.float32
    assert_close(found, pointwise_map(x.bfloat16().double(), matrix, bias.half().double()), 1e-6)


def test_one_graph_serves_batches_of_every_size():
    def run(x, film):
        return group_norm_film_activation(x, 3, ONES.float(), ONES.float(), film, film)

    torch._dynamo.reset()
    compiled = torch.compile(run, fullgraph=True, dynamic=True, backend="eager")
    for batch in range(2, 16):
        x, film = drawn(batch, 3, 8, 6).float(), drawn(batch, 3).float()
        assert_close(compiled(x, film), run(x, film), 1e-5)
