# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""FSRegressionSR: the deterministic mean."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from physicsnemo.core.module import Module
from torch import Tensor

from physicsnemo_fs.models.base import FSModule, check_fields, parameter_dtype, refuse_set
from physicsnemo_fs.nn.boundary import MARGIN, crop, extend
from physicsnemo_fs.nn.resample import radial_filter


class FSRegressionSR(FSModule):
    r"""Deterministic super-resolution: the conditional mean of the fine field given its conditions.

    .. math:: \mu(y) = G\,\bigl(S y + F(y)\bigr)

    ``F`` is the backbone, ``S`` picks the condition channels that are a first guess of the output, and ``G`` is a
    gain per radial wavenumber (all ones until :meth:`set_gain`): where the regression's fine scales do not
    correlate with the truth, the gain shrinks them, :math:`g_k = \langle t\mu\rangle_k / \langle\mu\mu\rangle_k`.
    It answers CorrDiff's regression call ``net(x0, img_lr)``; the values of ``x0`` are not used.

    Args:
        backbone: Network ``(x [batch, img_in_channels, H, W], labels) -> [batch, img_out_channels, H, W]``, with
            attributes ``in_channels`` and ``out_channels``.
        input_skip: For each output channel the index of the condition channel added to it, -1 for none; ``None``
            for none at all.
        gain_shells: Number of integer wavenumbers 0, 1, 2 ... the gain is given at.
        trained_on: What the network was trained on, as JSON types; the checkpoint carries it.

    Raises:
        ValueError: If ``input_skip`` does not fit the backbone's channels.

    Example:
        >>> from physicsnemo_fs.models.fsuno import FSUNO
        >>> net = FSRegressionSR(FSUNO(3, 1, channel_mult=(1, 2), level_grid=(32, 16), n_modes=(0, 2)), [0])
        >>> condition = torch.randn(2, 3, 32, 32)
        >>> torch.allclose(net(torch.zeros(2, 1, 32, 32), condition), condition[:, :1], atol=1e-5)
        True

    References:
        Mardani et al., CorrDiff (2309.15214), eq. 3.
    """

    gain: Tensor

    def __init__(
        self,
        backbone: Module,
        input_skip: Sequence[int] | None = None,
        gain_shells: int = 33,
        trained_on: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.trained_on = trained_on
        self.backbone = backbone
        self.img_in_channels: int = backbone.in_channels
        self.img_out_channels: int = backbone.out_channels
        self.input_skip = None if input_skip is None else list(input_skip)
        if self.input_skip is not None and (
            len(self.input_skip) != self.img_out_channels
            or not all(-1 <= i < self.img_in_channels for i in self.input_skip)
        ):
            raise ValueError(
                f"input_skip needs one index below {self.img_in_channels} (or -1) for each of the "
                f"{self.img_out_channels} outputs: got {self.input_skip}"
            )
        self.boundary = getattr(backbone, "boundary", "periodic")
        self.register_buffer("gain", torch.ones(self.img_out_channels, gain_shells))

    def set_gain(self, gain: Float[Tensor, "channel shell"]) -> None:
        """Set the gain per integer wavenumber; the checkpoint carries it.

        Raises:
            ValueError: If its shape is not ``[img_out_channels, gain_shells]`` or a value is not finite.
        """
        if gain.shape != self.gain.shape or not gain.isfinite().all():
            raise ValueError(f"gain must be finite with shape {tuple(self.gain.shape)}: got {tuple(gain.shape)}")
        self.gain.copy_(gain)

    def forward(
        self,
        x: Float[Tensor, "batch out_channel height width"] | None,
        img_lr: Float[Tensor, "batch in_channel height width"],
        class_labels: Tensor | None = None,
        force_fp32: bool = False,
        embedding_selector=None,
        global_index: Tensor | None = None,
        lead_time_label: Tensor | None = None,
        augment_labels: Tensor | None = None,
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Give the mean for conditions ``img_lr`` on their own grid; ``x`` is accepted and not used."""
        refuse_set(
            class_labels=class_labels,
            embedding_selector=embedding_selector,
            global_index=global_index,
            lead_time_label=lead_time_label,
            augment_labels=augment_labels,
        )
        check_fields("img_lr", img_lr, self.img_in_channels)
        dtype = parameter_dtype(self)
        condition = img_lr.to(dtype)
        with torch.autocast(condition.device.type, enabled=False) if force_fp32 else nullcontext():
            mean = self.backbone(condition).to(dtype)
        if self.input_skip is not None:
            mean = mean + self._first_guess(condition)
        return self._shrink(mean)

    def _shrink(self, mean: Tensor) -> Tensor:
        if self.boundary == "periodic":
            return radial_filter(mean, self.gain)
        size = (mean.shape[-2], mean.shape[-1])
        extended = extend(mean, MARGIN)
        return crop(radial_filter(extended, self.gain, length=min(extended.shape[-2:]) / min(size)), size)

    def _first_guess(self, condition: Tensor) -> Tensor:
        padded = torch.cat([condition, torch.zeros_like(condition[:, :1])], dim=1)
        return padded[:, self.input_skip]
