# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The byte model counts what PhysicsNeMo's layer moves, and says the figures that the kernels were designed by."""

import doctest

import pytest
import roofline
import torch
from physicsnemo.nn.module.spectral_layers import SpectralConv2d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DESIGN = dict(
    zip(
        roofline.LAYERS,
        ((146, 18), (1025, 99), (6651, 339), (7044, 480), (10275, 591), (6740, 1217)),
        strict=True,
    )
)
"""Microseconds of forward and backward at 4.3 TB/s by the design: eager in float32, limit with 16-bit grid values."""


def microseconds(size):
    return 1e6 * size / 4.3e12


def test_examples():
    assert doctest.testmod(roofline).failed == 0


@pytest.mark.parametrize("case", DESIGN, ids=str)
def test_the_design_figures(case):
    """Eager to 1.6 %, limit to 2.6 %: the design reads the coefficients 11 times, the five operators 10 times."""
    eager, limit = DESIGN[case]
    assert microseconds(roofline.variant_bytes("eager", case, "forward+backward", 4)) == pytest.approx(eager, rel=0.017)
    assert microseconds(roofline.limit_bytes(case, "forward+backward", 2)) == pytest.approx(limit, rel=0.026)
    once_more = 8 * case.batch * case.in_channels * case.modes**2
    assert microseconds(roofline.limit_bytes(case, "forward+backward", 2) + once_more) == pytest.approx(limit, rel=0.02)


class _Traffic(TorchDispatchMode):
    """Adds what each kernel reads and writes; views move nothing."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.name()
        if not func.is_view and "empty" not in name:
            read = args[1:] if "copy_" in name or "new_zeros" in name else args
            self.bytes += sum(t.nbytes for t in tree_leaves((read, kwargs, result)) if isinstance(t, torch.Tensor))
        return result


@pytest.mark.parametrize("case", [roofline.LAYERS[0], roofline.LAYERS[2], roofline.FSUNO_BRANCHES[0]], ids=str)
def test_eager_traffic_is_that_of_physicsnemos_operations(case):
    """Equal to 4 % once what the trace hides is added: each FFT's second pass, copies and scaling, copies in bmm."""
    with torch.device("meta"):
        layer = SpectralConv2d(case.in_channels, case.out_channels, case.modes, case.modes)
        x = torch.empty(case.batch, case.in_channels, case.size, case.size, requires_grad=True)
        with _Traffic() as traffic:
            layer(x).backward(torch.empty(case.batch, case.out_channels, case.size, case.size))
    planes = case.batch * torch.tensor([case.in_channels, case.out_channels])
    x_half, y_half = (planes * case.size * (case.size // 2 + 1) * 8).tolist()
    x_values, y_values = (planes * case.size**2 * 4).tolist()
    transforms = 2 * x_half + (4 * y_half + 2 * y_values) + 4 * y_half + 4 * x_values
    kept = case.batch * case.in_channels * 2 * case.modes**2 * 8
    copies_in_products = 2 * (2 * kept + 2 * roofline.weight_bytes(case))
    expected = roofline.variant_bytes("eager", case, "forward+backward", 4)
    assert traffic.bytes + transforms + copies_in_products == pytest.approx(expected, rel=0.04)


def test_no_variant_moves_less_than_the_limit():
    for case in (*roofline.LAYERS, *roofline.FSUNO_BRANCHES):
        for passes in roofline.PASSES:
            for item in (4, 2):
                limit = roofline.limit_bytes(case, passes, item)
                eager, compiled, pruned, triton = (
                    roofline.variant_bytes(name, case, passes, item) for name in roofline.VARIANTS
                )
                assert limit <= triton < min(compiled, pruned)
                assert max(compiled, pruned) < eager
