# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.nn import functional

from physicsnemo_fs.kernels import BACKEND_VARIABLE, group_norm_film_activation
from physicsnemo_fs.kernels.group_norm import op
from physicsnemo_fs.testing import assert_close


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("activation", ["none", "silu", "gelu"])
@pytest.mark.parametrize("extras", [(), ("scale",), ("shift",), ("scale", "shift")])
def test_is_its_formula(activation, extras):
    x, weight, bias = draw(2, 6, 5, 4), draw(6), draw(6)
    film = {name: draw(2, 6) for name in extras}
    out = group_norm_film_activation(x, 3, weight, bias, **film, activation=activation, eps=1e-2)
    grouped = x.view(2, 3, -1)
    centred = grouped - grouped.mean(-1, keepdim=True)
    normal = (centred / (centred.square().mean(-1, keepdim=True) + 1e-2).sqrt()).view(x.shape)
    value = normal * weight.view(6, 1, 1) + bias.view(6, 1, 1)
    zero = torch.zeros(2, 6)
    scale, shift = (film.get(name, zero).view(2, 6, 1, 1) for name in ("scale", "shift"))
    value = value * (1 + scale) + shift
    expected = value if activation == "none" else getattr(functional, activation)(value)
    assert_close(out, expected, 1e-14)


REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("film", [(), (torch.float32,), (torch.float16,)])
@pytest.mark.parametrize("parameters", [*((d, d) for d in REAL), (torch.float16, torch.float32)])
@pytest.mark.parametrize("dtype", REAL)
def test_parameters_of_any_dtype_serve_values_of_any(dtype, parameters, film):
    x, weight, bias = draw(2, 6, 5, 4), draw(6), draw(6)
    extras = [draw(2, 6).to(d) for d in film]
    rounded = [x.to(dtype), weight.to(parameters[0]), bias.to(parameters[1]), *extras]
    exact = [t.double() for t in rounded]
    out = group_norm_film_activation(rounded[0], 3, *rounded[1:])
    assert out.dtype == dtype
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2}.get(dtype, 1e-6)
    assert_close(out.double(), group_norm_film_activation(exact[0], 3, *exact[1:]), tolerance)


def test_a_gpu_takes_triton_unless_the_environment_names_another_backend(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert op._choose(cuda, dtype, None) == "triton"
        assert op._choose(cpu, dtype, None) == "torch"
    assert op._choose(cuda, torch.float64, None) == "torch"
    monkeypatch.setenv(BACKEND_VARIABLE, "pruned_fft")
    assert op._choose(cuda, torch.float32, None) == "torch"
    assert op._choose(cuda, torch.float32, "triton") == "triton"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(2, 4, 8)}, r"x must be \[batch, channels, height, width\]: got \(2, 4, 8\)"),
        ({"groups": 3}, "groups must divide the channels: got 3 and 4"),
        ({"groups": 0}, "groups must divide the channels: got 0 and 4"),
        ({"weight": torch.ones(3)}, r"weight must be \[4\]: got \[3\]"),
        ({"bias": torch.ones(1, 4)}, r"bias must be \[4\]: got \[1, 4\]"),
        ({"scale": torch.ones(4)}, r"scale must be \[2, 4\]: got \[4\]"),
        ({"shift": torch.ones(2, 4, 1, 1)}, r"shift must be \[2, 4\]: got \[2, 4, 1, 1\]"),
        ({"activation": "relu"}, "activation must be one of none, silu, gelu: got 'relu'"),
        ({"backend": "cuda"}, "backend must be one of torch, triton: got 'cuda'"),
        ({"x": torch.zeros(2, 4, 2, 2).double(), "backend": "triton"}, "got torch.float64; .* choose torch"),
    ],
)
def test_refuses_what_does_not_fit(changed, message):
    arguments = {"x": torch.zeros(2, 4, 2, 2), "groups": 2, "weight": torch.ones(4), "bias": torch.ones(4)}
    with pytest.raises(ValueError, match=message):
        group_norm_film_activation(**(arguments | changed))
