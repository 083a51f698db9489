# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Autocast by name, on every device."""

from contextlib import AbstractContextManager, nullcontext

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether the device has matrix instructions for bfloat16: CUDA from sm_80, x86 with AMX.

    Example:
        >>> isinstance(multiplies_bfloat16(torch.device("cpu")), bool)
        True
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()


def resolve_precision(device: torch.device, fp_optimizations: str) -> str:
    """Give ``"fp32"`` or ``"amp-bf16"``: ``"auto"`` is the second where the device multiplies bfloat16 matrices.

    Example:
        >>> resolve_precision(torch.device("cpu"), "amp-bf16")
        'amp-bf16'
    """
    if fp_optimizations != "auto":
        return fp_optimizations
    return "amp-bf16" if multiplies_bfloat16(device) else "fp32"


def autocast(device: torch.device, fp_optimizations: str) -> AbstractContextManager:
    """Give the autocast context that ``perf.fp_optimizations`` names.

    Example:
        >>> with autocast(torch.device("cpu"), "amp-bf16"):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    if resolve_precision(device, fp_optimizations) == "amp-bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
