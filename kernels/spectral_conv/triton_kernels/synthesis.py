# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Kept modes to grid values, and to what a layer makes of them, in one kernel.

The package's docstring has the mathematics. The epilogue turns the values :math:`u` (image + skip + bias) into
:math:`\\sigma(v)`, :math:`v = u (1 + scale) + shift`, while they are in registers. Its backward computes them again
from the coefficients, gives :math:`g\\,\\sigma'(v)(1 + scale)`, and sums :math:`g\\,\\sigma'(v)` and
:math:`g\\,\\sigma'(v)\\,u` over each program's tile; the tiles are added in order afterwards.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...triton_activations import activate, slope
from .configs import tile_config
from .launch import Problem, cut_tile, launch
from .pairs import power_of_two
from .rows import row_synthesis


@triton.jit
def load_affine(affine, plane, planes, keep):
    """Load bias, gain and shift [plane, 1] of an epilogue."""
    bias, gain = tl.load(affine + plane, keep, 0.0), tl.load(affine + planes + plane, keep, 0.0)
    return bias[:, None], gain[:, None], tl.load(affine + 2 * planes + plane, keep, 0.0)[:, None]


@triton.jit
def _synthesis_kernel(
    z,
    columns,
    rows,
    twiddle,
    out,
    skip,
    affine,
    gradient,
    sums,
    planes,
    height,
    width,
    m1,
    m2,
    column_stride,
    row_stride,
    column_sine,
    row_sine,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PLANES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    RESULT: tl.constexpr,
    SKIP: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
):
    OPERAND: tl.constexpr = columns.dtype.element_ty
    RESCALE: tl.constexpr = columns.dtype.element_ty == tl.float16
    plane = tl.program_id(0) * PLANES
    h = tl.program_id(1) * HEIGHT + tl.arange(0, HEIGHT)
    w = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    image = tl.zeros((HEIGHT * PLANES, WIDTH), tl.float32)
    for k0 in range(0, m2, COLUMNS):
        k2 = k0 + tl.arange(0, COLUMNS)
        turned_real, turned_imaginary = row_synthesis(
            z, rows, twiddle, h, k2, plane, planes, height, width, m1, m2, row_stride, row_sine,
            HEIGHT, PLANES, ROWS, COLUMNS, WEIGHTED, PRECISION,
        )  # fmt: skip
        table = columns + k2[:, None] * column_stride + w[None, :]
        cosine, sine = tl.load(table), tl.load(table + column_sine)
        if RESCALE:
            largest = tl.max(tl.maximum(tl.abs(turned_real), tl.abs(turned_imaginary)), 1)
            scale, inverse = power_of_two(largest)
            part = tl.dot((turned_real * scale[:, None]).to(OPERAND), cosine)
            part = tl.dot((turned_imaginary * scale[:, None]).to(OPERAND), sine, part)
            image += part * inverse[:, None]
        else:
            image = tl.dot(turned_real, cosine, image, input_precision=PRECISION)
            image = tl.dot(turned_imaginary, sine, image, input_precision=PRECISION)

    line = tl.arange(0, HEIGHT * PLANES)
    line_h, line_plane = tl.program_id(1) * HEIGHT + line // PLANES, plane + line % PLANES
    pixel = ((line_plane.to(tl.int64) * height + line_h) * width)[:, None] + w[None, :]
    keep = ((line_h < height) & (line_plane < planes))[:, None] & (w < width)[None, :]
    if RESULT != "image":
        bias, gain, shift = load_affine(affine, line_plane, planes, line_plane < planes)
        image += bias
        if SKIP:
            image += tl.load(skip + pixel, keep, 0.0).to(tl.float32)
        value = image * gain + shift
        if RESULT == "layer":
            image = activate(value, ACTIVATION)
        else:
            inner = tl.load(gradient + pixel, keep, 0.0).to(tl.float32) * slope(value, ACTIVATION)
            moment = tl.sum(tl.reshape(tl.sum(inner * image, 1), (HEIGHT, PLANES)), 0)
            total = tl.sum(tl.reshape(tl.sum(inner, 1), (HEIGHT, PLANES)), 0)
            block = tl.program_id(1) * tl.num_programs(2) + tl.program_id(2)
            own_plane = plane + tl.arange(0, PLANES)
            target = sums + block * 2 * planes + own_plane
            tl.store(target, total, own_plane < planes)
            tl.store(target + planes, moment, own_plane < planes)
            image = inner * gain
    tl.store(out + pixel, image.to(out.dtype.element_ty), keep)


def synthesis(
    coefficients: Tensor,
    height: int,
    width: int,
    m1: int,
    m2: int,
    dtype: torch.dtype,
    weighted: bool = False,
    exact: bool = False,
) -> Tensor:
    """Give the grid values of :func:`..pruned_fft.synthesis` in ``dtype``, from float32 coefficients.

    Args:
        coefficients: Kept modes [2*m1*m2, batch, channel, 2].
        height: H of the result.
        width: W of the result.
        m1: Half of the kept rows.
        m2: The kept columns of the real-FFT half.
        dtype: float32, bfloat16 or float16.
        weighted: Multiply by the constants of the columns, c / (H W), first.
        exact: Multiply float32 operands in float32 instead of TF32.
    """
    batch, channel = coefficients.shape[1:3]
    out = torch.empty(batch, channel, height, width, dtype=dtype, device=coefficients.device)
    _launch(_Epilogue("image", weighted=weighted), coefficients, out, m1, m2, exact)
    return out


def layer(
    coefficients: Tensor,
    skip: Tensor | None,
    affine: Tensor,
    activation: str,
    height: int,
    width: int,
    m1: int,
    m2: int,
    dtype: torch.dtype,
    exact: bool = False,
) -> Tensor:
    """Give the activated values of a layer; ``affine`` [3, batch, channel] is bias, 1 + scale and shift."""
    batch, channel = coefficients.shape[1:3]
    out = torch.empty(batch, channel, height, width, dtype=dtype, device=coefficients.device)
    _launch(_Epilogue("layer", activation, skip, affine), coefficients, out, m1, m2, exact)
    return out


def layer_backward(
    gradient: Tensor,
    coefficients: Tensor,
    skip: Tensor | None,
    affine: Tensor,
    activation: str,
    m1: int,
    m2: int,
    exact: bool = False,
) -> tuple[Tensor, Tensor]:
    """Give the gradient by image + skip + bias, and the two sums [2, batch, channel] by shift and by scale."""
    out = torch.empty_like(gradient, memory_format=torch.contiguous_format)
    epilogue = _Epilogue("gradient", activation, skip, affine, gradient.contiguous())
    return out, _launch(epilogue, coefficients, out, m1, m2, exact).sum(0)


class _Epilogue(NamedTuple):
    result: str
    activation: str = "none"
    skip: Tensor | None = None
    affine: Tensor | None = None
    gradient: Tensor | None = None
    weighted: bool = False


def _launch(epilogue: _Epilogue, coefficients: Tensor, out: Tensor, m1: int, m2: int, exact: bool) -> Tensor:
    """Run one program for each image tile; give the tiles' sums [tile, 2, batch, channel], none but for "gradient"."""
    batch, channel, height, width = out.shape
    problem = Problem(batch * channel, height, width, m1, m2)
    if problem.planes == 0:
        return torch.empty(0, 2, batch, channel, dtype=torch.float32, device=out.device)
    config = tile_config("synthesis", out.dtype, exact, out.device)
    tile = cut_tile(config, problem)
    grid = (
        triton.cdiv(problem.planes, tile["PLANES"]),
        triton.cdiv(height, tile["HEIGHT"]),
        triton.cdiv(width, tile["WIDTH"]),
    )
    blocks = grid[1] * grid[2] if epilogue.result == "gradient" else 0
    sums = torch.empty(blocks, 2, batch, channel, dtype=torch.float32, device=out.device)
    skip = None if epilogue.skip is None else epilogue.skip.contiguous()
    tensors = (skip, epilogue.affine, epilogue.gradient, sums)
    constants = {
        "WEIGHTED": epilogue.weighted,
        "RESULT": epilogue.result,
        "SKIP": skip is not None,
        "ACTIVATION": epilogue.activation,
    }
    launch(
        _synthesis_kernel,
        grid,
        coefficients.contiguous(),
        (out, *(out if t is None else t for t in tensors)),
        problem,
        tile | constants,
        config,
        out.dtype,
        exact,
    )
    return sums
