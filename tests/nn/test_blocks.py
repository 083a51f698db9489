# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from physicsnemo_fs.nn.blocks import OperatorBlock, PeriodicConv2d, SelfAttention2d, group_norm
from physicsnemo_fs.nn.embedding import NoiseLevelEmbedding, coordinate_channels
from physicsnemo_fs.nn.unet import UStack, pool, repeat
from physicsnemo_fs.testing import assert_close, relative_error

SINGLE = 2e-6  # measured at most 5e-7
EMBEDDING = 6


@torch.no_grad()
def randomize(module):
    """Replace every parameter, those that start at zero too."""
    for parameter in module.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return module


def block(**options):
    return OperatorBlock(**{"in_channels": 4, "out_channels": 8, "embedding_channels": EMBEDDING} | options)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 12, 30, 64, 100])
def test_group_norm_divides_any_channel_count(channels):
    norm = group_norm(channels)
    assert channels % norm.num_groups == 0
    assert norm.num_groups <= 8


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_convolution_is_torchs_circular_one(kernel_size):
    ours = PeriodicConv2d(2, 3, kernel_size)
    theirs = torch.nn.Conv2d(2, 3, kernel_size, padding=kernel_size // 2, padding_mode="circular")
    theirs.load_state_dict(ours.conv.state_dict())
    x = torch.randn(2, 2, 9, 6)
    assert_close(ours(x), theirs(x), SINGLE)
    assert_close(ours(x.roll((2, -1), (-2, -1))), ours(x).roll((2, -1), (-2, -1)), SINGLE)


@pytest.mark.parametrize("kernel_size", [0, 2, -1])
def test_even_stencil_is_refused(kernel_size):
    with pytest.raises(ValueError, match=f"must be odd and positive: got {kernel_size}"):
        PeriodicConv2d(1, 1, kernel_size)


@pytest.mark.parametrize("modes", [0, 2])
def test_block_starts_as_its_skip(modes):
    x, embedding = torch.randn(2, 4, 8, 12), torch.randn(2, EMBEDDING)
    assert torch.equal(block(out_channels=4, local_kernel=3, modes=modes)(x, embedding), x)
    wider = block(local_kernel=3, modes=modes)
    assert torch.equal(wider(x, embedding), wider.skip(x))


def test_spectral_branch_starts_at_zero_unless_asked():
    assert not block(local_kernel=1, modes=2).spectral.weight.any()
    assert block(local_kernel=1, modes=2, spectral_zero_init=False).spectral.weight.any()


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_block_depends_on_noise_level_and_input_alone(activation):
    network = randomize(block(local_kernel=3, modes=2, activation=activation))
    x, embedding = torch.randn(3, 4, 8, 12), torch.randn(3, EMBEDDING)
    together = network(x, embedding)
    alone = torch.cat([network(x[i : i + 1], embedding[i : i + 1]) for i in range(3)])
    assert_close(together, alone, SINGLE)
    assert relative_error(network(x, embedding + 1), together) > 0.01


def test_untrained_modulation_passes_the_normalised_field():
    network, x = randomize(block(out_channels=4, local_kernel=1)), torch.randn(2, 4, 8, 12)
    torch.nn.init.zeros_(network.film.weight)
    torch.nn.init.zeros_(network.film.bias)
    hidden = network.norm_mid(network.local_in(torch.nn.functional.silu(network.norm_in(x))))
    expected = x + network.local_out(torch.nn.functional.silu(hidden))
    assert_close(network(x, torch.randn(2, EMBEDDING)), expected, SINGLE)


def test_block_commutes_with_shifts_of_its_grid():
    network = randomize(block(local_kernel=3, modes=2))
    x, embedding = torch.randn(2, 4, 8, 12), torch.randn(2, EMBEDDING)
    assert_close(network(x.roll((3, 5), (-2, -1)), embedding), network(x, embedding).roll((3, 5), (-2, -1)), SINGLE)


def test_dropout_acts_in_training_only():
    network = randomize(block(local_kernel=1, dropout=0.5))
    x, embedding = torch.randn(1, 4, 8, 8), torch.randn(1, EMBEDDING)
    assert relative_error(network(x, embedding), network(x, embedding)) > 0.01
    network.eval()
    assert torch.equal(network(x, embedding), network(x, embedding))


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"one of \['gelu', 'silu'\]: got 'relu'"):
        block(local_kernel=1, activation="relu")


def test_attention_starts_as_identity_and_mixes_positions_without_order():
    attention, x = SelfAttention2d(8, heads=2), torch.randn(2, 8, 4, 6)
    assert torch.equal(attention(x), x)
    randomize(attention)
    order = torch.randperm(24)
    shuffled = x.flatten(2)[..., order].view_as(x)
    assert_close(attention(shuffled), attention(x).flatten(2)[..., order].view_as(x), SINGLE)
    moved = x.clone()
    moved[..., 0, 0] += 10
    assert relative_error(attention(moved)[..., 3, 5], attention(x)[..., 3, 5]) > 1e-3


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="must divide the channels: got 4 and 6"):
        SelfAttention2d(6)


def test_pooling_and_repeating_are_adjoint_up_to_the_cell():
    x, y = torch.randn(1, 2, 8, 12, dtype=torch.float64), torch.randn(1, 2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close((pool(x, (4, 4)) * y).mean(), (x * repeat(y, (8, 12))).mean())


def stack(**options):
    defaults = {
        "in_channels": 2,
        "out_channels": 1,
        "level_channels": [4, 8],
        "num_blocks": 1,
        "embedding_channels": EMBEDDING,
        "local_kernel": 3,
        "level_modes": [0, 2],
    }
    return UStack(**defaults | options)


def test_stack_starts_at_zero_and_then_uses_every_parameter():
    network = stack(num_blocks=2, attention_levels=(1,), decoder_modes=[2, 0])
    x, embedding, grids = torch.randn(2, 2, 16, 24), torch.randn(2, EMBEDDING), [(16, 24), (8, 12)]
    assert not network(x, embedding, grids).any()
    randomize(network)(x, embedding, grids).square().sum().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level_modes": [0]}, "n_modes needs one entry a level: got 1 for 2 levels"),
        ({"num_blocks": 0}, "num_blocks must be at least 1: got 0"),
        ({"attention_levels": (2,)}, r"below the number of levels 2: got \(2,\)"),
        ({"attention_levels": (-1,)}, r"below the number of levels 2: got \(-1,\)"),
    ],
)
def test_stack_refuses_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        stack(**options)


def test_noise_level_embedding_is_bounded_and_tells_levels_apart():
    embed = NoiseLevelEmbedding(24)
    labels = torch.linspace(-25, 2, 28)
    values = embed(labels)
    assert values.isfinite().all()
    assert torch.pdist(values).min() > 1e-4
    assert embed.double()(labels.double()).dtype == torch.float64


@pytest.mark.parametrize(("kind", "step"), [("periodic", 2), ("bounded", 3)])
def test_coordinates_are_functions_of_the_position(kind, step):
    """Nodes of a grid are every second node of the finer one, cell centres every third cell centre."""
    like = torch.zeros((), dtype=torch.float64)
    coarse, fine = (coordinate_channels(kind, (8 * n, 12 * n), like) for n in (1, step))
    start = 0 if kind == "periodic" else 1
    torch.testing.assert_close(fine[:, start::step, start::step], coarse)
    assert coarse.abs().max() <= 1


def test_coordinates_in_half_precision_are_rounded_once():
    exact = coordinate_channels("bounded", (300, 600), torch.zeros((), dtype=torch.float64))
    half = coordinate_channels("bounded", (300, 600), torch.zeros((), dtype=torch.bfloat16))
    assert torch.equal(half, exact.to(torch.bfloat16))


def test_coordinates_by_name():
    assert coordinate_channels("none", (8, 8), torch.zeros(1)) is None
    with pytest.raises(ValueError, match="'none', 'periodic' or 'bounded': got 'polar'"):
        coordinate_channels("polar", (8, 8), torch.zeros(1))
