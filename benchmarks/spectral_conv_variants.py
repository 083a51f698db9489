# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The variants of the spectral convolution that are timed on a GPU, and the check of their results."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from gpu_timing import Run
from physicsnemo.nn.module.spectral_layers import SpectralConv2d as PhysicsNeMoSpectralConv2d
from roofline import PASSES, Case
from torch import Tensor
from triton.errors import TritonError

from physicsnemo_fs.kernels import spectral_conv2d
from physicsnemo_fs.nn.spectral import SpectralConv2d

DEVICE = torch.device("cuda")
FAILURES = (RuntimeError, ValueError, TritonError)


class Precision(NamedTuple):
    """Dtype of the grid values, torch's switch for float32 products, and the relative error that is allowed."""

    dtype: torch.dtype
    products: str
    tolerance: float


PRECISIONS = {
    "float32": Precision(torch.float32, "highest", 1e-5),
    "tf32": Precision(torch.float32, "high", 3e-3),
    "bfloat16": Precision(torch.bfloat16, "high", 6e-3),
    "float16": Precision(torch.float16, "high", 3e-3),
}


class Variant(NamedTuple):
    """A convolution and the weights that it is differentiated by."""

    call: Callable[[Tensor], Tensor]
    weights: tuple[Tensor, ...]


def build_variants(case: Case) -> dict[str, Variant]:
    """Give all variants with the same random weights."""
    torch.manual_seed(0)
    shape = (case.in_channels, case.out_channels, case.modes, case.modes)
    with DEVICE:
        native, ours = PhysicsNeMoSpectralConv2d(*shape), SpectralConv2d(*shape)
    for weight in native.parameters():
        torch.nn.init.normal_(weight, std=(2 * case.in_channels) ** -0.5)
    ours.load_state_dict(native.state_dict())
    compiled = torch.compile(native, dynamic=False)
    modes, native_weights = (case.modes, case.modes), (native.weights1, native.weights2)

    def backend(name: str) -> Variant:
        return Variant(lambda x: spectral_conv2d(x, ours.weight, modes, backend=name), (ours.weight,))

    return {
        "eager": Variant(lambda x: native(x.float()).to(x.dtype), native_weights),
        "compile": Variant(lambda x: compiled(x.float()).to(x.dtype), native_weights),
        "pruned_fft": backend("pruned_fft"),
        "triton": backend("triton"),
    }


def draw(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Give a random input and a random cotangent."""
    torch.manual_seed(1)
    x = torch.randn(case.batch, case.in_channels, case.size, case.size, device=DEVICE).to(dtype)
    cotangent = torch.randn(case.batch, case.out_channels, case.size, case.size, device=DEVICE).to(dtype)
    return x.requires_grad_(), cotangent


def make_run(variant: Variant, x: Tensor, cotangent: Tensor, passes: str) -> Run:
    """Give the work of one pass: the values, and with backward the gradients of the input and the weights."""

    def forward() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (variant.call(x),)

    def forward_backward() -> tuple[Tensor, ...]:
        y = variant.call(x)
        return (y.detach(), *torch.autograd.grad(y, (x, *variant.weights), cotangent))

    return forward if passes == "forward" else forward_backward


def comparable(results: tuple[Tensor, ...]) -> list[Tensor]:
    """Give the results with the weight's gradient as one mode-major tensor."""
    if len(results) < 4:
        return list(results)
    rows = torch.cat(results[2:], dim=2)
    return [*results[:2], rows.permute(2, 3, 0, 1, 4).flatten(0, 1)]


def largest_error(results: tuple[Tensor, ...], expected: list[Tensor]) -> float:
    """Give the largest relative L2 error of the results; NaN if one is NaN."""
    pairs = [(r.to(e), e) for r, e in zip(comparable(results), expected, strict=True)]
    return float(torch.stack([(r - e).norm() / e.norm() for r, e in pairs]).max())


def oracle_errors(case: Case, dtype: str) -> dict[str, float]:
    """Give the errors against float64 on the CPU for two images and at most eight channels; NaN if a variant fails.

    The compiled layer is not among them: compiling it again would take longer than everything else.
    """
    few = case._replace(batch=2, in_channels=min(8, case.in_channels), out_channels=min(8, case.out_channels))
    variants = build_variants(few)
    x, cotangent = draw(few, PRECISIONS[dtype].dtype)
    weight = variants["pruned_fft"].weights[0].detach().cpu().double().requires_grad_()
    modes = (case.modes, case.modes)
    oracle = Variant(lambda field: spectral_conv2d(field, weight, modes, backend="reference"), (weight,))
    exact_x, exact_cotangent = x.detach().cpu().double().requires_grad_(), cotangent.cpu().double()
    expected = list(make_run(oracle, exact_x, exact_cotangent, PASSES[1])())
    errors = {}
    for name in ("eager", "pruned_fft", "triton"):
        try:
            results = make_run(variants[name], x, cotangent, PASSES[1])()
            errors[name] = largest_error(tuple(r.cpu() for r in results), expected)
        except FAILURES:  # :func:`measure` says why
            errors[name] = math.nan
    return errors
