# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A sample's mask is a function of its key, of the layer and of the place, and of nothing else."""

import pytest
import torch
from torch import nn

from physicsnemo_fs.models.corrdiff_unet import FSCorrDiffUNet
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.nn.dropout import KeyedDropout, kept, keyed_dropout, unkeyed_dropout
from physicsnemo_fs.random import splitmix64

SINGLE = 2e-6  # convolutions round otherwise in other batches: measured at most 4e-7


def masks(keys, shape=(3, 8, 9), p=0.4):
    return kept(torch.tensor(keys), shape, p)


def test_bits_are_those_of_the_published_generator():
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    bits = splitmix64(torch.tensor([0, 1234567])[:, None], torch.arange(4))
    assert [b % 2**64 for b in bits[1].tolist()] == expected
    assert bits[0, 0].item() % 2**64 == 0xE220A8397B1DCDAF


def test_a_mask_depends_on_its_key_alone():
    together = masks([5, 6, 7])
    for position, key in enumerate([5, 6, 7]):
        assert torch.equal(masks([key])[0], together[position])
    assert torch.equal(masks([7, 6, 5]), together.flip(0))


def test_values_are_dropped_independently_with_the_given_probability():
    count = 400_000
    for p in (0.02, 0.1, 0.5, 0.97):
        dropped = 1 - masks([1, 2], (count,), p).double()
        error = 4 * (p * (1 - p) / count) ** 0.5
        assert (dropped.mean(dim=1) - p).abs().max() < error
        centred = dropped - p
        assert abs(float((centred[0] * centred[1]).mean())) < error
        assert abs(float((centred[0, 1:] * centred[0, :-1]).mean())) < error


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_mean_is_kept(p):
    layer, x = KeyedDropout(p), torch.ones(4, 2, 64, 64)
    with keyed_dropout(layer, [1, 2, 3, 4]):
        found = layer(x)
    values = found.unique()
    torch.testing.assert_close(values, torch.tensor([0, 1 / (1 - p)]), rtol=1e-4, atol=0)
    assert abs(float(found.mean()) - 1) < 4 * (p / (1 - p) / found.numel()) ** 0.5


def test_layers_differ_and_torchs_generator_is_left_alone():
    network = nn.Sequential(KeyedDropout(0.5), nn.Identity(), KeyedDropout(0.5))
    before = torch.get_rng_state()
    x = torch.ones(1, 1, 32, 32)
    with keyed_dropout(network, [3]):
        first, second = network[0](x), network[2](x)
    assert torch.equal(torch.get_rng_state(), before)
    assert 0.4 < float((first != second).double().mean()) < 0.6


def test_without_keys_it_is_torchs_dropout():
    x = torch.ones(2, 3, 4, 4)
    torch.manual_seed(0)
    ours = KeyedDropout(0.3)(x)
    torch.manual_seed(0)
    assert torch.equal(ours, nn.Dropout(0.3)(x))


def test_keys_end_with_their_block_and_evaluation_drops_nothing():
    layer, x = KeyedDropout(0.3), torch.ones(2, 3, 4, 4)
    with pytest.raises(ZeroDivisionError), keyed_dropout(layer, [1, 2]):
        raise ZeroDivisionError
    assert layer.keys is None
    with keyed_dropout(layer.eval(), [1, 2]):
        assert layer(x) is x


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="dropout must be at least 0 and below 1: got 1"):
        KeyedDropout(1)
    layer = KeyedDropout(0.3)
    with keyed_dropout(layer, [1, 2]), pytest.raises(ValueError, match="got 2 for a batch of 3"):
        layer(torch.ones(3, 1))


@pytest.mark.parametrize("p", [1e-9, 1 - 1e-9])
def test_probabilities_at_the_ends_stay_finite(p):
    layer = KeyedDropout(p)
    with keyed_dropout(layer, [1]):
        assert torch.isfinite(layer(torch.ones(1, 100))).all()


def fsuno():
    return FSUNO(2, 1, model_channels=8, channel_mult=(1, 2), level_grid=(32, 16), n_modes=(0, 3), dropout=0.3)


def corrdiff_unet():
    return FSCorrDiffUNet(2, 1, 8, (1, 2), 1, (), dropout=0.3)


@pytest.mark.parametrize("make", [fsuno, corrdiff_unet])
@torch.no_grad()
def test_networks_drop_the_same_in_any_batch(make):
    torch.manual_seed(0)
    network, x = make(), torch.randn(3, 2, 32, 32)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)

    def outputs(rows, keys):
        with keyed_dropout(network, keys):
            return network(x[rows])

    together = outputs([0, 1, 2], [10, 11, 12])
    alone = torch.cat([outputs([row], [10 + row]) for row in range(3)])
    torch.testing.assert_close(alone, together, rtol=0, atol=SINGLE * float(together.abs().max()))
    other = outputs([0, 1, 2], [10, 11, 13])
    assert float((other - together)[2].abs().max()) > 1e-3 * float(together.abs().max())
    assert unkeyed_dropout(network) is None


def test_a_compiled_network_takes_other_keys_without_compiling_again():
    layer, x = KeyedDropout(0.4), torch.randn(2, 3, 8, 8)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for keys in ([1, 2], [3, 4], [2, 1]):
        with keyed_dropout(layer, keys):
            expected = layer(x)
        with torch._dynamo.config.patch(error_on_recompile=keys != [1, 2]), keyed_dropout(compiled, keys):
            assert torch.equal(compiled(x), expected)


def test_gradients_pass_through_what_is_kept():
    layer, x = KeyedDropout(0.5), torch.ones(2, 3, 4, 4, requires_grad=True)
    with keyed_dropout(layer, [1, 2]):
        y = layer(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
