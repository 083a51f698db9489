# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Tensors that depend on sizes only: made once, kept as long as the process lives."""

import functools
from collections.abc import Callable
from typing import TypeVar

import torch

MakerT = TypeVar("MakerT", bound=Callable)


def constants(make: MakerT) -> MakerT:
    """Keep what a function of sizes, dtype and device makes.

    Nothing is dropped, since a captured CUDA graph may read it again. What is made while torch traces with fake tensors
    is fake itself and not kept.

    Args:
        make: The function; its arguments must be hashable.

    Example:
        >>> @constants
        ... def ones(count: int) -> torch.Tensor:
        ...     return torch.ones(count)
        >>> ones(3) is ones(3)
        True
    """
    plain = torch.inference_mode(mode=False)(make)
    kept = functools.cache(plain)

    @functools.wraps(make)
    def given(*arguments):
        traced = type(torch.empty(0, device="cpu")) is not torch.Tensor
        return (plain if traced else kept)(*arguments)

    given.cache_clear, given.cache_info = kept.cache_clear, kept.cache_info  # type: ignore[attr-defined]
    return given  # type: ignore[return-value]
