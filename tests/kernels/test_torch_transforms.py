# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What torch makes of the operators: batching rules, export, graphs of changing sizes."""

from functools import partial

import pytest
import torch
from torch.func import grad, vmap

from physicsnemo_fs.kernels import fourier_resample, group_norm_film_activation, spectral_conv2d, spectral_layer2d
from physicsnemo_fs.kernels.resample import operators
from physicsnemo_fs.nn.spectral import SpectralConv2d
from physicsnemo_fs.testing import assert_close

BACKENDS = ["pruned_fft", "partial_dft"]
MODES = (2, 3)

pytestmark = pytest.mark.usefixtures("unchecked")


def draw(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("in_dims", [(0, None), (None, 0), (0, 0), (1, 3)])
def test_vmap_is_a_loop(backend, in_dims):
    x, weight = draw(3, 2, 2, 6, 7), draw(3, 12, 2, 4, 2, seed=1)
    x, weight = (t if d is not None else t[0] for t, d in zip((x, weight), in_dims, strict=True))
    x, weight = (t if d is None else t.movedim(0, d) for t, d in zip((x, weight), in_dims, strict=True))

    def run(x, weight):
        return spectral_conv2d(x, weight, MODES, backend=backend)

    slices = [[t if d is None else t.select(d, i) for t, d in zip((x, weight), in_dims, strict=True)] for i in range(3)]
    assert_close(vmap(run, in_dims)(x, weight), torch.stack([run(*pair) for pair in slices]), 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_many_cotangents_at_once(backend):
    x, weight = draw(1, 2, 4, 5).requires_grad_(), draw(4, 2, 1, 2, seed=1).requires_grad_()
    out = spectral_conv2d(x, weight, (1, 2), backend=backend)
    cotangents = draw(3, *out.shape, seed=2)
    together = torch.autograd.grad(out, (x, weight), cotangents, retain_graph=True, is_grads_batched=True)
    for index, cotangent in enumerate(cotangents):
        for many, alone in zip(
            together, torch.autograd.grad(out, (x, weight), cotangent, retain_graph=True), strict=True
        ):
            assert_close(many[index], alone, 1e-12)


def test_function_transforms_of_gradients_need_the_reference():
    x, weight = draw(4, 2, 6, 8), draw(12, 2, 3, 2, seed=1)

    def loss(weight, sample, backend):
        return spectral_conv2d(sample[None], weight, MODES, backend=backend).square().sum()

    together = vmap(grad(partial(loss, backend="reference")), (None, 0))(weight, x)
    leaf = weight.requires_grad_()
    for index, sample in enumerate(x):
        (alone,) = torch.autograd.grad(loss(leaf, sample, "pruned_fft"), leaf)
        assert_close(together[index], alone, 1e-12)


def test_vmap_of_resampling():
    x = draw(2, 3, 6, 8)
    run = vmap(lambda field: operators.resample(field, 9, 5, "matrix"), in_dims=1)
    assert_close(run(x), fourier_resample(x, (9, 5)).movedim(1, 0), 1e-12)


def test_a_layer_is_exported_with_any_batch():
    torch.manual_seed(0)
    layer, x = SpectralConv2d(2, 3, 2, 3), draw(2, 2, 8, 6).float()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    for size in (2, 5):
        x = draw(size, 2, 8, 6).float()
        assert_close(program.module()(x), layer(x), 1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_graph_serves_grids_of_changing_size(backend):
    torch._dynamo.reset()
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def run(x, weight, matrix, film):
        hidden = spectral_layer2d(x, weight, MODES, shift=film, activation="silu", backend=backend, skip_weight=matrix)
        hidden = group_norm_film_activation(hidden, 2, film[0], film[0], film, film)
        return fourier_resample(hidden, (hidden.shape[-2] + 3, hidden.shape[-1] // 2))

    compiled = torch.compile(run, fullgraph=True, dynamic=True, backend=count)
    weight, matrix = draw(12, 3, 4, 2).float(), draw(4, 3).float()
    for height, width in [(8, 10), (9, 14), (30, 31)]:
        x, film = draw(2, 3, height, width).float(), draw(2, 4).float()
        assert_close(compiled(x, weight, matrix, film), run(x, weight, matrix, film), 1e-6)
    assert len(graphs) == 1
