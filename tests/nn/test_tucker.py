# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Factorised spectral convolution: the dense layer of the product, with fewer parameters."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.nn.spectral import SpectralConv2d
from physicsnemo_fs.nn.tucker import TuckerSpectralConv2d, spectral_factory, tucker_ranks
from physicsnemo_fs.testing import assert_close


@pytest.mark.parametrize(
    ("size", "out_size"), [((16, 18), None), ((21, 15), (12, 30)), pytest.param((6, 7), None, id="clipped modes")]
)
@pytest.mark.filterwarnings("ignore:the spectral convolution uses modes")
def test_is_the_dense_layer_of_its_product(size, out_size):
    torch.manual_seed(0)
    layer = TuckerSpectralConv2d(5, 6, 4, 3, rank=0.3).double()
    dense = SpectralConv2d(5, 6, 4, 3).double()
    dense.weight.data = layer.dense_weight().detach()
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    assert_close(layer(x, out_size), dense(x, out_size), 1e-13)
    skip = torch.randn(2, 6, *(out_size or size), dtype=torch.float64)
    assert_close(layer(x, out_size, skip), dense(x, out_size) + skip, 1e-13)
    assert_close(dense(x, out_size, skip), dense(x, out_size) + skip, 1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("autocast", [False, True])
def test_gives_the_dtype_that_the_dense_layer_gives(dtype, autocast):
    layer, dense = TuckerSpectralConv2d(5, 6, 4, 3, rank=0.3), SpectralConv2d(5, 6, 4, 3)
    x, pointwise = torch.randn(2, 5, 16, 18).to(dtype), torch.nn.Conv2d(5, 6, 1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert layer(x, pointwise=pointwise).dtype == dense(x, pointwise=pointwise).dtype == dtype
        assert layer(x).dtype == dense(x).dtype == dtype


@given(
    lengths=st.tuples(*[st.integers(1, 24)] * 4),
    share=st.floats(0.01, 1.0),
)
@settings(max_examples=50, deadline=None)
def test_ranks_keep_to_their_share(lengths, share):
    ranks = tucker_ranks(lengths, share)
    count = 2 * math.prod(ranks) + sum(n * r for n, r in zip(lengths, ranks, strict=True))
    assert all(1 <= r <= n for r, n in zip(ranks, lengths, strict=True))
    assert count <= share * 2 * math.prod(lengths) or ranks == (1, 1, 1, 1)


def test_starts_with_the_mean_square_of_the_dense_layer():
    torch.manual_seed(0)
    draws = [TuckerSpectralConv2d(16, 16, 4, 4, rank=0.3).dense_weight().detach() for _ in range(100)]
    expected = SpectralConv2d(16, 16, 4, 4).weight.detach().square().mean()
    assert float(torch.stack(draws).square().mean() / expected) == pytest.approx(1, rel=0.2)


def test_a_zero_branch_learns():
    torch.manual_seed(0)
    layer = TuckerSpectralConv2d(4, 4, 3, 3, rank=0.5)
    layer.zero_()
    x = torch.randn(2, 4, 12, 12)
    assert float(layer(x).detach().abs().max()) == 0
    (layer(x) * torch.randn(2, 4, 12, 12)).sum().backward()
    assert float(layer.core.grad.abs().max()) > 0


def test_a_factorised_operator_round_trips_and_is_smaller(tmp_path):
    options = {"model_channels": 16, "channel_mult": (1, 1), "level_grid": None, "local_kernel": 1, "n_modes": (8, 4)}
    dense, small = FSUNO(2, 1, **options), FSUNO(2, 1, **options, factorization="tucker", rank=0.1)
    sizes = [sum(p.numel() for n, p in net.named_parameters() if ".spectral." in n) for net in (dense, small)]
    assert sizes[1] <= 0.1 * sizes[0]
    small.save(str(tmp_path / "net.mdlus"))
    x = torch.randn(1, 2, 24, 20)
    loaded = FSUNO.from_checkpoint(str(tmp_path / "net.mdlus"))
    assert torch.equal(loaded(x), small(x))


@pytest.mark.parametrize(("factorization", "rank"), [("tucker", None), (None, 0.5)])
def test_factorisation_and_rank_come_together(factorization, rank):
    with pytest.raises(InputError, match="give both or none"):
        spectral_factory(factorization, rank)


@pytest.mark.parametrize("rank", [0.0, 1.5])
def test_an_impossible_share_is_refused(rank):
    with pytest.raises(InputError, match=r"rank must be a share in \(0, 1\]"):
        TuckerSpectralConv2d(2, 2, 2, 2, rank=rank)
