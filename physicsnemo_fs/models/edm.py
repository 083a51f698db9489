# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""FSEDMPrecondSR: EDM preconditioning round an operator backbone."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from physicsnemo.core.module import Module
from torch import Tensor

from physicsnemo_fs.models.base import FSModule, check_fields, lead_time_channel, parameter_dtype, refuse_set
from physicsnemo_fs.nn.conservation import Conservation


class FSEDMPrecondSR(FSModule):
    r"""Denoiser of a function-space diffusion: the counterpart of NVIDIA's EDMPrecondSR.

    .. math::
        D(x, y, \sigma) = c_\text{skip}\, x
            + c_\text{out}\, F\bigl(c_\text{in}\, x,\; y,\; \tfrac14 \ln\sigma\bigr)

    with :math:`c_\text{skip} = \sigma_d^2/(\sigma^2+\sigma_d^2)`,
    :math:`c_\text{out} = \sigma\sigma_d/\sqrt{\sigma^2+\sigma_d^2}`,
    :math:`c_\text{in} = 1/\sqrt{\sigma^2+\sigma_d^2}`.
    The coefficients are scalars per channel: whitening the input by the noise covariance would leave the function
    space, and for coloured noise :math:`x = x_0 + \sigma\xi,\ \xi\sim N(0, C)` the probability-flow ODE is unchanged.

    With ``cells`` the residual is known to average to zero over the cells of a coarse grid, and
    :math:`D = c_\text{skip} P x + c_\text{out} P F(c_\text{in} P x, \ldots)` with the projection :math:`P` of
    :class:`~physicsnemo_fs.nn.conservation.Conservation`: for any sampler what is not in its range decays to zero.

    Two calls, told apart by the second argument: NVIDIA's ``net(x, img_lr, sigma)`` when it is a field (four axes, more
    than one value an image) or ``None``, PhysicsNeMo's DiffusionModel ``net(x, t, condition)`` otherwise. Noise levels
    are a number, a tensor of one value or of one an image.

    Args:
        backbone: Network ``(x [batch, img_out + img_in, H, W], labels [batch]) -> [batch, img_out, H, W]`` with
            attributes ``in_channels`` and ``out_channels``.
        sigma_data: Standard deviation of the data (the residual), one number or one per output channel.
        sigma_min: Smallest noise level the network was trained for.
        sigma_max: Largest noise level the network was trained for.
        noise: Description of the random field :math:`\xi` the network was trained with, as JSON types. It travels with
            the checkpoint so that sampling uses the same noise.
        trained_on: What the network was trained on, as JSON types; the checkpoint carries it.
        lead_time_scale: Hours that the lead time of a forecast is divided by to be one more channel of the backbone,
            given as ``lead_time_label`` in hours; ``None`` for a network that does not see it.
        cells: Rows and columns of the coarse grid over whose cells the residual averages to zero, on a periodic domain;
            ``None`` for a residual of which this is not known. The projection begins when its spectrum is set.
        cell_shells: Number of integer wavenumbers that the projection's spectrum is given at.

    Raises:
        ValueError: If channels, shapes or noise levels do not fit.

    Example:
        >>> from physicsnemo_fs.models.fsuno import FSUNO
        >>> net = FSEDMPrecondSR(FSUNO(3, 1, channel_mult=(1, 2), level_grid=(32, 16), n_modes=(0, 2)))
        >>> x, y = torch.randn(2, 1, 32, 32), torch.randn(2, 2, 32, 32)
        >>> torch.equal(net(x, y, torch.tensor(1.0)), net(x, torch.ones(2), y))
        True

    References:
        Karras et al., EDM (2206.00364), eq. 7 and table 1; Lim et al., DDO (2302.07400) for function space.
    """

    def __init__(
        self,
        backbone: Module,
        sigma_data: float | Sequence[float] = 0.5,
        sigma_min: float = 0.0,
        sigma_max: float = float("inf"),
        noise: dict[str, Any] | None = None,
        trained_on: dict[str, Any] | None = None,
        lead_time_scale: float | None = None,
        cells: Sequence[int] | None = None,
        cell_shells: int = 33,
    ):
        super().__init__()
        self.trained_on = trained_on
        self.backbone = backbone
        self.lead_time_scale = lead_time_scale
        self.img_out_channels: int = backbone.out_channels
        self.img_in_channels: int = backbone.in_channels - backbone.out_channels - (lead_time_scale is not None)
        if self.img_in_channels < 0:
            raise ValueError(
                f"the backbone must take at least its {self.img_out_channels} output channels"
                f"{'' if lead_time_scale is None else ' and the lead time'}: got in_channels={backbone.in_channels}"
            )
        self.sigma_data = [float(s) for s in sigma_data] if isinstance(sigma_data, Sequence) else float(sigma_data)
        scales = torch.as_tensor(self.sigma_data, dtype=torch.float64).reshape(-1)
        if len(scales) not in (1, self.img_out_channels) or not (scales > 0).all():
            raise ValueError(
                f"sigma_data needs one positive number, or one for each of the {self.img_out_channels} output "
                f"channels: got {sigma_data}"
            )
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.noise = noise
        self.conservation = None if cells is None else Conservation(self.img_out_channels, cells, cell_shells)

    def forward(
        self,
        x: Float[Tensor, "batch out_channel height width"],
        img_lr_or_t: Tensor | float | None = None,
        sigma_or_condition: Tensor | float | None = None,
        class_labels: Tensor | None = None,
        force_fp32: bool = False,
        embedding_selector: Callable | None = None,
        global_index: Tensor | None = None,
        lead_time_label: Tensor | None = None,
        augment_labels: Tensor | None = None,
        *,
        img_lr: Tensor | None = None,
        sigma: Tensor | None = None,
        t: Tensor | None = None,
        condition: Tensor | None = None,
        encoded: Tensor | None = None,
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Give the denoised field for either call convention; the result has the parameters' dtype.

        ``encoded`` may stand for the condition: what :meth:`encode` gave for it. ``lead_time_label`` is the lead time
        of each sample, or of all, in hours, for a network with ``lead_time_scale``.
        """
        refuse_set(
            class_labels=class_labels,
            embedding_selector=embedding_selector,
            global_index=global_index,
            augment_labels=augment_labels,
        )
        level, field = level_and_condition(img_lr_or_t, sigma_or_condition, [sigma, t], [img_lr, condition])
        context = torch.autocast(x.device.type, enabled=False) if force_fp32 else nullcontext()
        with context:
            return self._denoise(x, level, field, encoded, lead_time_label)

    def encode(self, condition: Float[Tensor, "batch in_channel height width"]) -> Tensor | None:
        """Do once what the backbone does with the condition at every call; ``None`` where it cannot be separated.

        Args:
            condition: The conditions of samples that share them.
        """
        check_fields("the condition", condition, self.img_in_channels)
        encode = getattr(self.backbone, "encode", None)
        return None if encode is None else encode(condition.to(parameter_dtype(self)))

    def _denoise(
        self,
        x: Tensor,
        sigma: Tensor,
        condition: Tensor | None,
        encoded: Tensor | None = None,
        lead_time: Tensor | None = None,
    ) -> Tensor:
        check_fields("x", x, self.img_out_channels)
        if encoded is not None:
            if encoded.shape[:2] != (x.shape[0], self.img_in_channels):
                raise ValueError(
                    f"an encoded condition has shape [{x.shape[0]}, {self.img_in_channels}, ...]: got "
                    f"{tuple(encoded.shape)}; call encode(condition)"
                )
            condition = None
        elif condition is not None:
            check_fields("the condition", condition, self.img_in_channels)
            if condition.shape[0] != x.shape[0] or condition.shape[-2:] != x.shape[-2:]:
                raise ValueError(
                    f"x and the condition must share batch and grid: got {tuple(x.shape)} and {tuple(condition.shape)}"
                )
        elif self.img_in_channels:
            raise ValueError(f"this network needs a condition with {self.img_in_channels} channels: got none")
        others = lead_time_channel(self.lead_time_scale, lead_time, x)
        others += [] if condition is None else [condition]
        return self._precondition(x, self._noise_levels(sigma, x), others, encoded)

    def _precondition(
        self, x: Tensor, sigma: Tensor, others: Sequence[Tensor], encoded: Tensor | None = None
    ) -> Tensor:
        """Give the denoised fields; the backbone sees the scaled ones and the ``others``."""
        dtype = parameter_dtype(self)
        x, sigma = self._projected(x.to(dtype)), sigma.to(dtype)
        sigma_data = torch.as_tensor(self.sigma_data, dtype=dtype, device=x.device).reshape(1, -1, 1, 1)
        total = torch.hypot(sigma, sigma_data)
        smallest = torch.finfo(dtype).tiny
        label = sigma.flatten().clamp(min=smallest).log() / 4
        seen = torch.cat([x / total, *(other.to(dtype) for other in others)], dim=1)
        more = {} if encoded is None else {"encoded": encoded}
        update = self._projected(self.backbone(seen, label, **more).to(dtype))
        return (sigma_data / total) ** 2 * x + sigma * (sigma_data / total) * update

    def _projected(self, x: Tensor) -> Tensor:
        return x if self.conservation is None else self.conservation(x).to(x.dtype)

    def _noise_levels(self, sigma: Tensor, x: Tensor) -> Tensor:
        sigma = torch.as_tensor(sigma, device=x.device).to(parameter_dtype(self)).reshape(-1, 1, 1, 1)
        if sigma.shape[0] not in (1, x.shape[0]):
            raise ValueError(f"the noise level needs 1 or {x.shape[0]} values: got {sigma.shape[0]}")
        return sigma.expand(x.shape[0], 1, 1, 1)

    @staticmethod
    def round_sigma(sigma: float | Sequence[float] | Tensor) -> Tensor:
        """Give the noise levels the network supports nearest to ``sigma``: all of them."""
        return torch.as_tensor(sigma)


def level_and_condition(
    second: Any, third: Any, levels: Sequence[Any], conditions: Sequence[Any]
) -> tuple[Tensor, Any]:
    """Give noise level and condition (or ``None``) of a call in either convention.

    Args:
        second: Second positional argument: a condition, ``None``, or the noise level.
        third: Third positional argument.
        levels: Noise levels given by name, ``None`` where not given.
        conditions: Conditions given by name.

    Raises:
        ValueError: If there is not one noise level and at most one condition.
    """
    legacy = second is None or _is_field(second)
    positional = (second, third) if legacy else (third, second)
    conditions = [c for c in (positional[0], *conditions) if c is not None]
    levels = [level for level in (positional[1], *levels) if level is not None]
    if len(levels) != 1 or len(conditions) > 1:
        raise ValueError(
            "call net(x, img_lr, sigma) or net(x, t, condition): "
            f"got {len(levels)} noise levels and {len(conditions)} conditions"
        )
    condition = conditions[0] if conditions else None
    if isinstance(condition, int | float):
        raise ValueError(f"a condition is a field: got the number {condition}; call net(x, t, condition)")
    return torch.as_tensor(levels[0], dtype=torch.float64 if isinstance(levels[0], float) else None), condition


def _is_field(value: Any) -> bool:
    return not isinstance(value, int | float) and len(value.shape) == 4 and math.prod(value.shape[1:]) > 1
