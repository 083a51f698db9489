# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Bytes that a spectral convolution moves: the least that any code must, and what each variant does.

A model, not a measurement. Every step reads its operands and writes its result once, a fast Fourier transform once
for each dimension, and nothing stays in a cache between steps. Time is bytes / bandwidth: no arithmetic, no launches.

Sizes in bytes, each for the input or output channels: ``A`` the grid values in float32, ``A'`` in the dtype of the
grid, ``H`` the half spectrum of ``rfft2``, ``X`` its kept columns, ``K`` the kept modes (complex64 each), ``W`` the
weight (complex64).
"""

from typing import NamedTuple

PASSES = ("forward", "forward+backward")
TORCH_VARIANTS = ("eager", "compile", "pruned_fft")
VARIANTS = (*TORCH_VARIANTS, "triton")


class Case(NamedTuple):
    """A layer on a square grid with as many modes either way (``m1 = m2 = modes``).

    Example:
        >>> str(Case(8, 64, 64, 64, 16))
        'B8 C64 64^2 m16'
    """

    batch: int
    in_channels: int
    out_channels: int
    size: int
    modes: int

    def __str__(self) -> str:
        same = self.in_channels == self.out_channels
        channels = self.in_channels if same else f"{self.in_channels}-{self.out_channels}"
        return f"B{self.batch} C{channels} {self.size}^2 m{self.modes}"


LAYERS = tuple(
    Case(batch, channels, channels, size, modes)
    for batch, channels, size, modes in (
        (8, 64, 64, 16),
        (32, 128, 64, 16),
        (64, 128, 128, 16),
        (16, 128, 256, 32),
        (8, 128, 448, 32),
        (64, 256, 64, 32),
    )
)
FSUNO_BRANCHES = (Case(16, 8, 32, 32, 4), Case(16, 32, 48, 16, 4))
"""The spectral branches of the default FSUNO at the default batch size."""


class _Side:
    """Sizes of the input's or the output's channels."""

    def __init__(self, case: Case, channels: int, item: int):
        planes = case.batch * channels
        self.values = planes * case.size**2 * 4
        self.stored = planes * case.size**2 * item
        self.half = planes * case.size * (case.size // 2 + 1) * 8
        self.columns = planes * case.size * case.modes * 8
        self.corner_rows = planes * case.modes * (case.size // 2 + 1) * 8
        self.kept = planes * 2 * case.modes**2 * 8
        self.casts = 0 if item == 4 else self.values + self.stored


def weight_bytes(case: Case) -> int:
    """Give W.

    Example:
        >>> weight_bytes(Case(8, 64, 64, 64, 16)) == 64 * 64 * 2 * 16 * 16 * 8
        True
    """
    return case.in_channels * case.out_channels * 2 * case.modes**2 * 8


def limit_bytes(case: Case, passes: str, item: int) -> float:
    """Give the least traffic: 2A' + 4K + W forward, 4A' + 10K + 3W with backward, for equal channels.

    Transforms and products stay separate: the grid is read and written once for each transform, and coefficients
    have as many bytes as the grid values. An optimiser's traffic is not in it.

    Args:
        case: The layer.
        passes: One of :data:`PASSES`.
        item: Bytes of a grid value, 4 or 2.

    Example:
        >>> case = Case(8, 64, 64, 64, 16)
        >>> round(1e6 * limit_bytes(case, "forward+backward", 2) / 4.3e12)
        18
    """
    return _fused_bytes(case, passes, item, item)


def variant_bytes(name: str, case: Case, passes: str, item: int) -> float:
    """Give the traffic of a variant.

    Args:
        name: One of :data:`VARIANTS`. "eager" is PhysicsNeMo's layer operation by operation; "compile" is the same
            with each chain of elementwise operations in one; "pruned_fft" and "triton" are the backends of those
            names, the second with coefficients in float32. The first three compute 16-bit grids in float32.
        case: The layer.
        passes: One of :data:`PASSES`.
        item: Bytes of a grid value.

    Example:
        >>> case = Case(8, 64, 64, 64, 16)
        >>> round(1e6 * variant_bytes("eager", case, "forward+backward", 4) / 4.3e12)
        145
    """
    if name == "triton":
        return _fused_bytes(case, passes, item, 4)
    x, y = _Side(case, case.in_channels, item), _Side(case, case.out_channels, item)
    forward, backward = {"eager": _eager, "compile": _compiled, "pruned_fft": _pruned}[name](x, y, weight_bytes(case))
    return (forward if passes == "forward" else forward + backward) + (x.casts + y.casts) * (1 + PASSES.index(passes))


def _fused_bytes(case: Case, passes: str, item: int, coefficient_item: int) -> float:
    x, y = _Side(case, case.in_channels, item), _Side(case, case.out_channels, item)
    grids, kept = x.stored + y.stored, (x.kept + y.kept) * coefficient_item / 4
    if passes == "forward":
        return grids + 2 * kept + weight_bytes(case)
    return 2 * grids + 5 * kept + 3 * weight_bytes(case)


def _rfft2(side: _Side) -> int:
    return side.values + 3 * side.half


def _irfft2(side: _Side) -> int:
    # a copy because cuFFT overwrites its input, two passes, division by the number of points
    return 2 * side.half + (3 * side.half + side.values) + 2 * side.values


def _full_inverse(side: _Side) -> int:
    # backward of rfft2: both passes on all columns in complex numbers, then the real part
    return 4 * 2 * side.values + 3 * side.values


def _products_backward(x: _Side, y: _Side, w: int) -> int:
    # conjugates of weight and input, both products, the weight's gradient in the native layout
    return 2 * w + (y.kept + w + x.kept) + 2 * x.kept + (x.kept + y.kept + w) + 2 * w


def _eager(x: _Side, y: _Side, w: int) -> tuple[int, int]:
    corners, layout = 2 * x.kept, 2 * x.kept + 2 * w
    product = x.kept + w + y.kept
    padded_sum = y.half + (2 * y.half + 2 * y.kept) + 6 * y.half
    forward = _rfft2(x) + corners + layout + product + padded_sum + _irfft2(y)
    scaled_and_doubled = 4 * y.half
    cut = 2 * y.kept + 2 * y.kept
    slices = 2 * x.kept + 2 * x.half + 6 * x.corner_rows + 3 * x.half
    embedded = 2 * x.values + 2 * x.half
    backward = _rfft2(y) + scaled_and_doubled + cut + _products_backward(x, y, w) + slices + embedded + _full_inverse(x)
    return forward, backward


def _compiled(x: _Side, y: _Side, w: int) -> tuple[int, int]:
    layout, product = 2 * x.kept + 2 * w, x.kept + w + y.kept
    forward = _rfft2(x) + layout + product + (y.kept + y.half) + _irfft2(y)
    scaled = 2 * y.half
    backward = _rfft2(y) + scaled + 2 * y.kept + _products_backward(x, y, w)
    return forward, backward + (x.kept + 2 * x.values) + _full_inverse(x)


def _pruned(x: _Side, y: _Side, w: int) -> tuple[int, int]:
    def analysis(side: _Side) -> int:
        return (side.values + side.half) + 2 * side.columns + 2 * side.columns + 4 * side.kept

    def synthesis(side: _Side) -> int:
        rows = (2 * side.kept) + (side.columns + 2 * side.kept) + 2 * side.columns
        return rows + (side.columns + side.half) + 2 * side.half + (side.half + side.values)

    product = x.kept + w + y.kept
    forward = analysis(x) + 2 * x.kept + product + synthesis(y)
    conjugates = 2 * y.kept + 2 * x.kept + 2 * x.kept
    backward = analysis(y) + conjugates + 2 * product + 2 * x.kept + synthesis(x)
    return forward, backward
