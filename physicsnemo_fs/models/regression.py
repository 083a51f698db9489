# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""FSRegressionSR: the deterministic mean."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from physicsnemo.core.module import Module
from torch import Tensor

from physicsnemo_fs.models.base import FSModule, check_fields, lead_time_channel, parameter_dtype, refuse_set
from physicsnemo_fs.models.domain_condition import DomainCondition, WholeCondition
from physicsnemo_fs.models.windowed import Windowed
from physicsnemo_fs.nn.boundary import MARGIN, crop, extend
from physicsnemo_fs.nn.conservation import Conservation, at_cell_centres
from physicsnemo_fs.nn.resample import radial_filter
from physicsnemo_fs.nn.windows import Place, WindowGrid


class FSRegressionSR(Windowed, FSModule):
    r"""Deterministic super-resolution: the conditional mean of the fine field given its conditions.

    .. math:: \mu(y) = H_y\,G\,\bigl(S y + F(y)\bigr)

    ``F`` is the backbone, ``S`` picks the condition channels that are a first guess of the output, and ``G`` is a
    gain per radial wavenumber (all ones until :meth:`set_gain`): where the regression's fine scales do not
    correlate with the truth, the gain shrinks them, :math:`g_k = \langle t\mu\rangle_k / \langle\mu\mu\rangle_k`.
    With ``cells``, :math:`H_y` holds the mean to the averages over the cells of a coarse grid that the first guess
    interpolates (:class:`~physicsnemo_fs.nn.conservation.Conservation`, once its spectrum is set).
    It answers CorrDiff's regression call ``net(x0, img_lr)``; the values of ``x0`` are not used.

    With ``patch_shape`` it is a mean of windows, :math:`\mu(y) = \sum_i w_i\, \mu_i(y|_i)`, as
    :class:`~physicsnemo_fs.models.windowed.Windowed` tells: called with the conditions of a whole domain it evaluates
    all windows, at most ``max_patch_per_gpu`` at a time; called with ``places`` it takes windows and gives windows, for
    training. There is no gain then, which belongs to the modes of a whole domain.

    Args:
        backbone: Network ``(x [batch, img_in_channels, H, W], labels) -> [batch, img_out_channels, H, W]``, with
            attributes ``in_channels`` and ``out_channels``.
        input_skip: For each output channel the index of the condition channel added to it, -1 for none; ``None``
            for none at all.
        gain_shells: Number of integer wavenumbers 0, 1, 2 ... the gain is given at.
        trained_on: What the network was trained on, as JSON types; the checkpoint carries it.
        lead_time_scale: Hours that the lead time of a forecast is divided by to be one more channel of the backbone,
            given as ``lead_time_label`` in hours; ``None`` for a mean that does not see it.
        patch_shape: Rows and columns of a window; ``None`` for a mean of whole fields, which the following ask for.
        domain_shape: Rows and columns of the domain it is trained on.
        domain_boundary: ``"periodic"`` or ``"bounded"``.
        overlap: Rows and columns that neighbours share at least; a quarter of the patch if not given.
        margin: Rows and columns without weight at a window's edges; three eighths of the overlap if not given.
        position_frequencies: Frequencies of the position, four channels each.
        context_channels: Condition channels whose average over the whole domain every window sees.
        max_patch_per_gpu: Windows that are evaluated together.
        cells: Rows and columns of the coarse grid whose cells the truth averages to the input over, on a periodic
            domain; ``None`` for an input that is no such average. Every output then needs its ``input_skip``.
        cell_shells: Number of integer wavenumbers that the correction's spectrum is given at.

    Raises:
        ValueError: If ``input_skip`` does not fit the backbone's channels, or ``cells`` the other arguments.
        InputError: If the window does not fit the domain, the overlap the window, or the backbone the window.

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
        lead_time_scale: float | None = None,
        patch_shape: Sequence[int] | None = None,
        domain_shape: Sequence[int] | None = None,
        domain_boundary: str = "bounded",
        overlap: Sequence[int] | None = None,
        margin: Sequence[int] | None = None,
        position_frequencies: int = 0,
        context_channels: Sequence[int] = (),
        max_patch_per_gpu: int = 16,
        cells: Sequence[int] | None = None,
        cell_shells: int = 33,
    ):
        super().__init__()
        self.trained_on = trained_on
        self.backbone = backbone
        self.lead_time_scale = lead_time_scale
        self.img_in_channels: int = backbone.in_channels - (lead_time_scale is not None)
        self.img_out_channels: int = backbone.out_channels
        if patch_shape is not None:
            shapes = (patch_shape, domain_shape or patch_shape, domain_boundary, overlap, margin)
            self._cut(backbone, *shapes, position_frequencies, context_channels, max_patch_per_gpu)
            self.img_in_channels -= 4 * position_frequencies + len(self.context_channels)
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
        if cells is not None and (self.boundary != "periodic" or patch_shape or -1 in (self.input_skip or [-1])):
            raise ValueError(
                "cells need whole periodic fields and an input_skip for every output: got "
                f"boundary={self.boundary!r}, patch_shape={patch_shape}, input_skip={self.input_skip}"
            )
        self.conservation = None if cells is None else Conservation(self.img_out_channels, cells, cell_shells)

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
        img_lr: Float[Tensor, "batch in_channel height width"] | DomainCondition,
        class_labels: Tensor | None = None,
        force_fp32: bool = False,
        embedding_selector=None,
        global_index: Tensor | None = None,
        lead_time_label: Float[Tensor, " lead"] | None = None,
        augment_labels: Tensor | None = None,
        *,
        places: Sequence[Place] | None = None,
        context: Float[Tensor, "batch context height width"] | None = None,
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Give the mean for conditions ``img_lr`` on their own grid; ``x`` is accepted and not used.

        Args:
            x: Not used.
            img_lr: Conditions; for a mean of windows also what gives them by windows.
            class_labels: Refused, like the following of CorrDiff's that have no meaning here.
            force_fp32: Leave autocast.
            embedding_selector: Refused.
            global_index: Refused; ``places`` are what a mean of windows takes.
            lead_time_label: Lead time of each sample, or of all, in hours.
            augment_labels: Refused.
            places: First row and column of each window, where ``img_lr`` holds windows.
            context: Channels of the whole domain for each window, from :meth:`Windowed.context`.
        """
        refuse_set(
            class_labels=class_labels,
            embedding_selector=embedding_selector,
            global_index=global_index,
            augment_labels=augment_labels,
        )
        device = next(self.parameters()).device.type
        with torch.autocast(device, enabled=False) if force_fp32 else nullcontext():
            if places is not None:
                assert isinstance(img_lr, Tensor)  # noqa: S101 - windows are fields
                return self._windows_mean(img_lr, places, context, lead_time_label, self.windows(self.domain_shape))
            if self.patch_shape is not None:
                return self.fused(WholeCondition(img_lr) if isinstance(img_lr, Tensor) else img_lr, lead_time_label)
            if not isinstance(img_lr, Tensor):
                raise ValueError(f"a mean of whole fields takes a field: got a {type(img_lr).__name__}")
            check_fields("img_lr", img_lr, self.img_in_channels)
            mean = self._shrink(self._mean(img_lr, lead_time_channel(self.lead_time_scale, lead_time_label, img_lr)))
            if self.conservation is None:
                return mean
            guess = self._first_guess(img_lr.to(parameter_dtype(self)))
            return self.conservation(mean, at_cell_centres(guess, self.conservation.cells)).to(mean.dtype)

    def _mean(self, img_lr: Tensor, others: list[Tensor]) -> Tensor:
        dtype = parameter_dtype(self)
        condition = img_lr.to(dtype)
        seen = torch.cat([condition, *(other.to(dtype) for other in others)], dim=1) if others else condition
        mean = self.backbone(seen).to(dtype)
        return mean if self.input_skip is None else mean + self._first_guess(condition)

    def _windows_mean(
        self,
        img_lr: Tensor,
        places: Sequence[Place],
        context: Tensor | None,
        lead_time: Tensor | None,
        windows: WindowGrid,
    ) -> Tensor:
        check_fields("img_lr", img_lr, self.img_in_channels)
        return self._mean(img_lr, self._beside(img_lr, places, context, lead_time, windows))

    def fused(
        self, condition: DomainCondition, lead_time: Float[Tensor, " lead"] | None = None
    ) -> Float[Tensor, "batch channel height width"]:
        """Give the weighted sum of all windows' means.

        Args:
            condition: Conditions of the whole domain.
            lead_time: Lead time of each sample, or of all, in hours.

        Raises:
            InputError: If this is a mean of whole fields, or the domain is not the trained one.
        """
        batch, _, height, width = condition.shape
        windows, parameter = self.windows((height, width)), next(self.parameters())
        total = parameter.new_zeros(batch, self.img_out_channels, height, width)
        for row, strip in self.strips(condition, lead_time):
            windows.add_strip(total, strip, row)
        return total

    def strips(
        self,
        condition: DomainCondition,
        lead_time: Float[Tensor, " lead"] | None = None,
        rows: Sequence[int] | None = None,
    ) -> Iterator[tuple[int, Float[Tensor, "batch channel patch_height width"]]]:
        """Give the weighted sum of each row of windows of :meth:`fused`, with its number.

        Args:
            condition: Conditions of the whole domain.
            lead_time: Lead time of each sample, or of all, in hours.
            rows: Rows of windows, all by default.
        """
        batch, _, height, width = condition.shape
        windows = self.windows((height, width))
        seen = self._seen(condition, lead_time, windows)

        def evaluate(places: list[Place], part: slice) -> Tensor:
            return self._windows_mean(*seen(places, part), windows)

        yield from self._strips(windows, batch, evaluate, rows)

    def _shrink(self, mean: Tensor) -> Tensor:
        if self.boundary == "periodic":
            return radial_filter(mean, self.gain)
        size = (mean.shape[-2], mean.shape[-1])
        extended = extend(mean, MARGIN)
        return crop(radial_filter(extended, self.gain, length=min(extended.shape[-2:]) / min(size)), size)

    def _first_guess(self, condition: Tensor) -> Tensor:
        padded = torch.cat([condition, torch.zeros_like(condition[:, :1])], dim=1)
        return padded[:, self.input_skip]
