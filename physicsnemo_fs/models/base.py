# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What every model here shares as a physicsnemo Module."""

from typing import Any

import torch
from jaxtyping import Float
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

    smallest_grid = 1
    """Least height and width of the fields that the network takes."""

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


def sees_lead_time(network: object) -> bool:
    """Tell whether a network was trained with the lead time of its input."""
    return getattr(network, "lead_time_scale", None) is not None


def lead_time_channel(scale: float | None, hours: Float[Tensor, " lead"] | None, x: Tensor) -> list[Tensor]:
    """Give the lead time as one constant channel of fields ``x``; nothing for a network that does not see it.

    Args:
        scale: Hours that it is divided by; ``None`` for a network that does not see it.
        hours: Lead time of each sample, or one for all.
        x: Fields that it goes with.

    Raises:
        ValueError: If it is missing, not asked for, or not one a sample.

    Example:
        >>> lead_time_channel(24.0, torch.tensor([6.0]), torch.zeros(2, 3, 4, 4))[0].unique(), lead_time_channel(
        ...     None, None, torch.zeros(1)
        ... )
        (tensor([0.2500]), [])
    """
    if scale is None:
        refuse_set(lead_time_label=hours)
        return []
    if hours is None or len(hours.reshape(-1)) not in (1, len(x)):
        raise ValueError(
            f"this network sees the lead time of each of {len(x)} samples in hours (lead_time_label): got "
            f"{'none' if hours is None else tuple(hours.shape)}"
        )
    channel = (hours.to(x) / scale).reshape(-1, 1, 1, 1)
    return [channel.expand(len(x), 1, *x.shape[-2:])]
