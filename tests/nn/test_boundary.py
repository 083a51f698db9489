# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.nn.boundary import circular_pad, crop, extend, margin

DOUBLE = torch.float64
FRACTIONS = [0.125, 0.3, 1.0]


@settings(max_examples=15, deadline=None)
@given(height=st.integers(3, 9), width=st.integers(3, 9), pad=st.integers(1, 3))
def test_circular_pad_is_torchs(height, width, pad):
    x = torch.randn(2, 3, height, width)
    assert torch.equal(circular_pad(x, pad), F.pad(x, (pad,) * 4, mode="circular"))


@pytest.mark.parametrize(("shape", "width"), [((1, 2, 4, 5), 1), ((1, 1, 3, 4), 3)])
def test_circular_pad_gradients(shape, width):
    x = torch.randn(shape, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: circular_pad(v, width), x)
    assert torch.autograd.gradgradcheck(lambda v: circular_pad(v, width).sin(), x)


def test_circular_pad_gradient_is_torchs():
    x = torch.randn(2, 3, 5, 6, dtype=DOUBLE, requires_grad=True)
    weight = torch.randn(2, 3, 9, 10, dtype=DOUBLE)
    ours, theirs = (
        torch.autograd.grad((padded * weight).sum(), x)[0]
        for padded in (circular_pad(x, 2), F.pad(x, (2,) * 4, mode="circular"))
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_crop_undoes_extend(fraction):
    x = torch.randn(2, 3, 16, 21)
    extended = extend(x, fraction)
    assert extended.shape[-2:] == (16 + margin(16, fraction), 21 + margin(21, fraction))
    assert torch.equal(crop(extended, (16, 21)), x)


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_extension_stays_within_the_range_of_the_field(fraction):
    constant = torch.full((1, 1, 16, 24), 0.7, dtype=DOUBLE)
    assert (extend(constant, fraction) - 0.7).abs().max() < 1e-15
    x = torch.randn(2, 1, 16, 24, dtype=DOUBLE)
    extended = extend(x, fraction)
    assert extended.min() >= x.min() - 1e-15
    assert extended.max() <= x.max() + 1e-15


@pytest.mark.parametrize("n", [64, 128, 256])
def test_extension_is_continuous_across_the_wrap(n):
    """The largest step between neighbours falls like 1 / n, although the ramp itself jumps from 1 to 0."""
    position = torch.arange(n, dtype=DOUBLE) / n
    ramp = (position[:, None] + position).expand(1, 1, n, n)
    extended = extend(ramp, 0.125)
    steps = [(extended.roll(1, dim) - extended).abs().max() for dim in (-1, -2)]
    steepest = 1 + math.pi / 2 / 0.125  # of the ramp and of the blend
    assert max(steps) < steepest / n


def test_margin_is_one_physical_length():
    assert [margin(n, 0.125) / n for n in (16, 64, 128, 200)] == [0.125] * 4


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_impossible_margin_is_refused(fraction):
    with pytest.raises(ValueError, match=r"share in \(0, 1\]"):
        extend(torch.zeros(1, 1, 16, 16), fraction)
