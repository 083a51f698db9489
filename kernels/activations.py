# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The activations that kernels here apply, and the checks that they share."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

ACTIVATIONS = {"none": lambda value: value, "silu": functional.silu, "gelu": functional.gelu}


_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (int, torch.SymInt, numbers.Integral)


def require_images(x: Tensor) -> None:
    """Refuse what is not a batch of images with channels.

    Raises:
        ValueError: Naming what arrived.

    Example:
        >>> require_images(torch.zeros(2, 3, 4, 4))
    """
    _require_tensor("x", x)
    if x.ndim != 4:
        raise ValueError(f"x must be [batch, channels, height, width]: got {tuple(x.shape)}; reshape it")


def _require_tensor(name: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} must be a tensor: got {type(tensor).__name__}; convert it by torch.as_tensor")
    if tensor.layout != torch.strided:
        raise ValueError(f"{name} must be dense: got {tensor.layout}; convert it by to_dense")


def require_real(name: str, tensor: Tensor, device: torch.device, remedy: str) -> None:
    """Refuse what is no dense tensor of real floating point of 16 bits or more, or is not on ``device``.

    Raises:
        ValueError: Naming the argument.

    Example:
        >>> require_real("bias", torch.zeros(3), torch.device("cpu"), "convert it")
    """
    _require_tensor(name, tensor)
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"{name} must be real floating point of 16 to 64 bits: got {tensor.dtype}; {remedy}")
    if tensor.device != device:
        raise ValueError(f"{name} must be on the device of x: got {tensor.device} and {device}; move one of them")


def require_epilogue(
    expected: Mapping[str, tuple[Tensor | None, tuple[int, ...]]],
    activation: str,
    remedy: str,
    device: torch.device,
) -> None:
    """Refuse what an epilogue cannot apply.

    Args:
        expected: Of each optional tensor by its name, the tensor and the shape that it must have.
        activation: Name of the activation.
        remedy: What to check where a shape does not fit.
        device: Where all of them must lie.

    Raises:
        ValueError: Naming the argument.

    Example:
        >>> require_epilogue({"bias": (None, (3,))}, "silu", "check the channels", torch.device("cpu"))
    """
    for name, (tensor, shape) in expected.items():
        if tensor is None:
            continue
        require_real(name, tensor, device, "convert it")
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must be {list(shape)}: got {list(tensor.shape)}; {remedy}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}: got {activation!r}; apply it yourself")


def require_pair(name: str, pair: object) -> tuple[int, int]:
    """Give two integers back.

    Raises:
        ValueError: They are something else, naming the argument.

    Example:
        >>> require_pair("modes", (4, 5))
        (4, 5)
    """
    found: Sequence[Any] = pair if isinstance(pair, Sequence) and len(pair) == 2 else (None,)
    if not all(isinstance(n, _INTEGERS) and not isinstance(n, bool) for n in found):
        raise ValueError(f"{name} must be two integers: got {pair!r}; give the one of the rows first")
    first, second = (n if isinstance(n, torch.SymInt) else int(n) for n in found)
    return cast(int, first), cast(int, second)
