# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import copy
import io
import warnings

import pytest
import torch

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.kernels import spectral_conv2d
from physicsnemo_fs.nn.spectral import SpectralConv2d, from_neuraloperator, to_neuraloperator
from physicsnemo_fs.nn.tucker import TuckerSpectralConv2d
from physicsnemo_fs.testing import assert_close

SINGLE = 1e-6  # measured at most 3e-7


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return SpectralConv2d(in_channels=2, out_channels=3, modes1=4, modes2=5)


@pytest.fixture
def native():
    from physicsnemo.nn.module.spectral_layers import SpectralConv2d as NativeSpectralConv2d

    torch.manual_seed(1)
    return NativeSpectralConv2d(2, 3, 4, 5)


def random_input(*size, channels=2, dtype=torch.float32):
    return torch.randn(2, channels, *size, dtype=dtype, generator=torch.Generator().manual_seed(2))


def centred_spectral_conv(x, weight):
    """Multiply the centred modes as neuraloperator does: rows sorted by frequency, transforms with norm="forward"."""
    height, width = x.shape[-2:]
    rows, columns = weight.shape[2:]
    spectrum = torch.fft.fftshift(torch.fft.rfft2(x, norm="forward"), dim=-2)
    kept = slice(height // 2 - rows // 2, height // 2 + rows // 2)
    mixed = torch.zeros(x.shape[0], weight.shape[1], height, width // 2 + 1, dtype=weight.dtype)
    mixed[:, :, kept, :columns] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, kept, :columns], weight)
    return torch.fft.irfft2(torch.fft.ifftshift(mixed, dim=-2), s=(height, width), norm="forward")


SIZES = [(8, 8), (8, 9), (16, 12), (21, 30), (13, 11)]


@pytest.mark.parametrize("size", SIZES)
def test_loads_physicsnemo_weights(layer, native, size):
    layer.load_state_dict(native.state_dict())
    x = random_input(*size)
    assert_close(layer(x), native(x), SINGLE)


@pytest.mark.parametrize("size", SIZES)
def test_physicsnemo_loads_our_weights(layer, native, size):
    native.load_state_dict(layer.state_dict())
    x = random_input(*size)
    assert_close(native(x), layer(x), SINGLE)


def test_gradients_are_physicsnemos_in_mode_major_order(layer, native):
    layer.load_state_dict(native.state_dict())
    x = random_input(16, 16)
    for module in (layer, native):
        module(x).square().sum().backward()
    ours = layer.weight.grad.view(2, 4, 5, 2, 3, 2).permute(0, 3, 4, 1, 2, 5)
    assert_close(ours[0], native.weights1.grad, SINGLE)
    assert_close(ours[1], native.weights2.grad, SINGLE)


def test_state_dict_survives_a_file_and_a_parent_module(layer):
    model = torch.nn.Sequential(torch.nn.Identity(), layer)
    assert list(model.state_dict()) == ["1.weights1", "1.weights2"]
    assert all(value.is_contiguous() for value in model.state_dict().values())
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = torch.nn.Sequential(torch.nn.Identity(), SpectralConv2d(2, 3, 4, 5))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other[1].weight, layer.weight)


def test_state_dict_can_be_assigned(layer):
    with torch.device("meta"):
        other = SpectralConv2d(2, 3, 4, 5)
    other.load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(other.weight, layer.weight)
    assert isinstance(other.weight, torch.nn.Parameter)
    assert other.weight.is_contiguous()


def test_state_dict_with_variables_is_differentiable(layer):
    sum(value.sum() for value in layer.state_dict(keep_vars=True).values()).backward()
    assert torch.equal(layer.weight.grad, torch.ones_like(layer.weight))


def test_refuses_a_state_dict_that_does_not_fit(layer):
    before = layer.weight.detach().clone()
    state = layer.state_dict()
    with pytest.raises(RuntimeError, match=r"Missing key.*weights2"):
        layer.load_state_dict({"weights1": state["weights1"]})
    with pytest.raises(RuntimeError, match=r"size mismatch for weights1.*\(2, 3, 4, 4, 2\).*\(2, 3, 4, 5, 2\)"):
        layer.load_state_dict({**state, "weights1": state["weights1"][:, :, :, :4]})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*bias"):
        layer.load_state_dict({**state, "bias": torch.zeros(3)})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*weight\""):
        layer.load_state_dict({**state, "weight": before})
    assert torch.equal(layer.weight, before)


def test_native_names_are_views_of_the_parameter(layer):
    state = layer.state_dict()
    assert torch.equal(layer.weights1, state["weights1"])
    assert torch.equal(layer.weights2, state["weights2"])
    assert layer.weights1.data_ptr() == layer.weight.data_ptr()
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_initial_weights_are_uniform_like_physicsnemos():
    torch.manual_seed(0)
    weight = SpectralConv2d(8, 4, 16, 16).weight
    scale = 1 / (8 * 4)
    assert weight.min() >= 0
    assert weight.max() < scale
    assert abs(weight.mean().item() / scale - 0.5) < 0.01
    assert abs(weight.var().item() / scale**2 - 1 / 12) < 0.001


def test_a_small_grid_clips_the_modes_and_says_so_once(layer):
    x = random_input(6, 7)
    with pytest.warns(UserWarning, match=r"modes \(3, 4\) of its \(4, 5\): a grid of \(6, 7\)"):
        out = layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
        layer(random_input(8, 8))
    block = layer.weight.view(8, 5, 2, 3, 2)[[0, 1, 2, 5, 6, 7], :4].flatten(0, 1)
    assert_close(out, spectral_conv2d(x, block, (3, 4)), SINGLE)


def test_a_small_output_grid_clips_the_modes(layer):
    x = random_input(16, 16)
    with pytest.warns(UserWarning, match=r"modes \(3, 4\) of its \(4, 5\): a grid of \(6, 6\)"):
        out = layer(x, out_size=(6, 6))
    fine = layer(x, out_size=(18, 18))
    assert out.shape == (2, 3, 6, 6)
    assert fine.shape == (2, 3, 18, 18)


def test_a_clipped_layer_gives_the_same_function_of_a_smooth_input(layer):
    rows, columns = (2 * torch.pi * torch.arange(n) / n for n in (24, 30))
    smooth = (torch.cos(2 * rows[:, None] - columns) + torch.sin(columns))[None, None].repeat(1, 2, 1, 1)
    with pytest.warns(UserWarning, match="a grid of"):
        coarse = layer(smooth[..., ::4, ::5])
    assert_close(coarse, layer(smooth)[..., ::4, ::5], SINGLE)


def test_trains_and_copies_independently(layer):
    twin = copy.deepcopy(layer)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
    x, target = random_input(12, 12), random_input(12, 12, channels=3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert not torch.equal(layer.weight, twin.weight)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin(x), layer(x))


def test_converts_to_double(layer):
    expected = layer(random_input(12, 12))
    layer.to(torch.float64)
    out = layer(random_input(12, 12).double())
    assert out.dtype == torch.float64
    assert_close(out, expected, SINGLE)


def test_channels_last_keeps_the_weight_mode_major(layer):
    x = random_input(12, 12)
    expected = layer(x)
    expected.sum().backward()
    layer.to(memory_format=torch.channels_last)
    assert layer.weight.is_contiguous()
    assert layer.weight.grad.is_contiguous()
    assert_close(layer(x.to(memory_format=torch.channels_last)), expected, SINGLE)
    layer.load_state_dict(layer.state_dict())


def test_refuses_what_is_not_a_layer_or_an_input(layer):
    with pytest.raises(InputError, match="must be positive: got 2, 3, 0, 5"):
        SpectralConv2d(2, 3, 0, 5)
    with pytest.raises(InputError, match=r"\[batch, 2, height, width\]: got \(2, 5, 8, 8\)"):
        layer(random_input(8, 8, channels=5))


@pytest.mark.usefixtures("unchecked")
def test_compiles_as_one_graph_also_where_it_clips(layer):
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for size in [(12, 12), (6, 7)]:
        x = random_input(*size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_close(compiled(x), layer(x), SINGLE)


@pytest.mark.parametrize("size", SIZES)
def test_weights_of_neuraloperator_give_its_values(layer, size):
    weight = torch.randn(2, 3, 8, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    layer.load_state_dict(from_neuraloperator(weight))
    x = random_input(*size)
    assert_close(layer(x), centred_spectral_conv(x, weight), SINGLE)
    assert torch.equal(to_neuraloperator(layer.weights1, layer.weights2), weight)


@pytest.mark.parametrize("size", [(16, 12), (20, 31)])
def test_neuraloperator_itself_agrees(layer, size):
    """On even heights: version 2.0 shifts odd ones back with fftshift, which moves every row's frequency by one."""
    spectral_convolution = pytest.importorskip("neuralop.layers.spectral_convolution")
    other = spectral_convolution.SpectralConv(2, 3, (8, 8), bias=False)
    layer.load_state_dict(from_neuraloperator(other.weight.to_tensor().detach()))
    x = random_input(*size)
    assert_close(layer(x), other(x), SINGLE)


def test_an_odd_number_of_rows_has_no_counterpart(unchecked):
    with pytest.raises(InputError, match=r"even number of rows: got \(2, 3, 7, 5\)"):
        from_neuraloperator(torch.zeros(2, 3, 7, 5, dtype=torch.complex64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_size": (4.5, 6)}, "out_size must be two integers: got"),
        ({"out_size": (8,)}, "out_size must be two integers: got"),
        ({"out_size": (0, 6)}, "needs at least 2 rows and 1 column: got"),
        ({"skip": torch.zeros(5, 3, 12, 12)}, r"skip must be the result's \(1, 3, 12, 12\): got \(5, 3, 12, 12\)"),
        ({"pointwise": torch.nn.Conv2d(2, 3, 1, stride=2)}, r"stride 1, no padding.*: got .*\(2, 2\)"),
        ({"pointwise": torch.nn.Conv2d(2, 3, 1), "out_size": (8, 8)}, r"grid of x, \(12, 12\): got out_size \(8, 8\)"),
        ({"pointwise": torch.nn.Conv2d(2, 3, 1), "skip": torch.zeros(1, 3, 12, 12)}, "must come without skip"),
    ],
)
@pytest.mark.parametrize("factorised", [False, True])
def test_what_does_not_fit_the_result_is_refused(options, message, factorised, layer, unchecked):
    tested = TuckerSpectralConv2d(2, 3, 4, 5, rank=0.5) if factorised else layer
    with pytest.raises(ValueError, match=message):
        tested(torch.zeros(1, 2, 12, 12), **options)
