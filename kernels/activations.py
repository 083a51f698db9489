# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The activations that kernels here apply, and the checks that they share."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

ACTIVATIONS = {"none": lambda value: value, "silu": functional.silu, "gelu": functional.gelu}


def require_epilogue(
    expected: Mapping[str, tuple[Tensor | None, tuple[int, ...]]], activation: str, remedy: str
) -> None:
    """Refuse what an epilogue cannot apply.

    Args:
        expected: Of each optional tensor by its name, the tensor and the shape that it must have.
        activation: Name of the activation.
        remedy: What to check where a shape does not fit.

    Raises:
        ValueError: Naming the argument.

    Example:
        >>> require_epilogue({"bias": (None, (3,))}, "silu", "check the channels")
    """
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must be {list(shape)}: got {list(tensor.shape)}; {remedy}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}: got {activation!r}; apply it yourself")
