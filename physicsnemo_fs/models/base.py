# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What every model here shares as a physicsnemo Module."""

from typing import Any

import torch
from physicsnemo.core.meta import ModelMetaData
from physicsnemo.core.module import Module
from torch import Tensor

META_DATA = ModelMetaData(amp=True, amp_cpu=True, amp_gpu=True, bf16=True, jit=False, onnx=False, auto_grad=True)


class FSModule(Module):
    """A physicsnemo Module whose ``to()`` ignores memory formats.

    ``to(memory_format=torch.channels_last)`` reorders every four-dimensional parameter, spectral weights included,
    for which it has no meaning. Callers such as earth2studio apply it to any network.
    """

    __model_checkpoint_version__ = "1.0.0"

    trained_on: dict[str, Any] | None = None
    """What the network was trained on, as JSON types: it travels with the checkpoint of a whole model."""

    def __init__(self):
        super().__init__(meta=META_DATA)

    def to(self, *args, **kwargs):
        """Move or cast the module; a memory format is dropped."""
        kwargs.pop("memory_format", None)
        return super().to(*args, **kwargs) if args or kwargs else self


def check_fields(name: str, x: Tensor, channels: int, least: int = 1) -> None:
    """Require a 4-D tensor with a channel count and a smallest grid.

    Raises:
        ValueError: If it is not so, naming what arrived.
    """
    if x.ndim != 4 or x.shape[1] != channels or min(x.shape[-2:]) < least:
        raise ValueError(
            f"{name} must have shape [batch, {channels}, height >= {least}, width >= {least}]: got {tuple(x.shape)}"
        )


def refuse_set(**options: object) -> None:
    """Refuse keyword arguments of other networks that this one has no meaning for.

    Raises:
        ValueError: Naming every argument that is set.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"this network has no use for {', '.join(given)}: leave them unset")


def parameter_dtype(module: torch.nn.Module) -> torch.dtype:
    """Give the dtype of the module's first parameter."""
    return next(module.parameters()).dtype
