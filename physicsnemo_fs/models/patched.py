# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""FSPatchedEDMPrecondSR: a denoiser that sees windows of a domain and is fused to a denoiser of all of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from physicsnemo_fs.models.base import FSModule, check_fields, parameter_dtype, refuse_set
from physicsnemo_fs.models.domain_condition import DomainCondition, WholeCondition
from physicsnemo_fs.models.edm import FSEDMPrecondSR, level_and_condition
from physicsnemo_fs.models.windowed import Windowed, append
from physicsnemo_fs.nn.windows import Place, WindowGrid


class FSPatchedEDMPrecondSR(Windowed, FSEDMPrecondSR):
    r"""Denoiser of windows, and of the whole domain by fusing them: :math:`D(x) = \sum_i w_i\, D_i(x|_i)`.

    A window's denoiser :math:`D_i` is :class:`FSEDMPrecondSR` whose backbone sees the noisy window, the conditions
    there, smooth channels of the window's place in the domain, and channels of the whole domain averaged to the
    window's shape. The weights :math:`w_i` are those of :class:`~physicsnemo_fs.nn.windows.WindowGrid`: smooth, zero
    near a window's edges, summing to one. The fused map is a denoiser like any other: samplers fuse at every noise
    level without knowing it.

    Called with a whole field, in either convention of :class:`FSEDMPrecondSR`, it evaluates all windows, at most
    ``max_patch_per_gpu`` at a time, row after row: what it needs beyond the fields themselves does not grow with the
    domain's height. Called with ``places`` (or NVIDIA's ``global_index``) it takes windows and gives windows: that is
    training.

    How domains of other shapes are cut is told by :class:`~physicsnemo_fs.models.windowed.Windowed`.

    Args:
        backbone: Network of ``img_out + img_in + 4 * position_frequencies + len(context_channels)`` channels (one more
            with ``lead_time_scale``) whose spectral maps do not wrap at a window's edges (``boundary="pad"``).
        patch_shape: Rows and columns of a window.
        domain_shape: Rows and columns of the domain it is trained on.
        overlap: Rows and columns that neighbours share at least; a quarter of the patch if not given.
        margin: Rows and columns without weight at a window's edges; three eighths of the overlap if not given.
        domain_boundary: ``"periodic"`` or ``"bounded"``.
        position_frequencies: Frequencies of the position; 0 for no positions.
        context_channels: Condition channels whose average over the whole domain every window sees.
        lead_time_scale: Hours that the lead time is divided by to be a channel; ``None`` for no lead time.
        max_patch_per_gpu: Windows that are evaluated together.
        sigma_data: As for :class:`FSEDMPrecondSR`, like the following.
        sigma_min: Smallest noise level.
        sigma_max: Largest noise level.
        noise: Description of the random field.
        trained_on: What the network was trained on.

    Raises:
        InputError: If the window does not fit the domain, the overlap the window, or the backbone the window.
        ValueError: If channels or shapes do not fit.

    Example:
        >>> from physicsnemo_fs.models.fsuno import FSUNO
        >>> backbone = FSUNO(1 + 2 + 4 + 1, 1, channel_mult=(1, 2), level_grid=(16, 8), n_modes=(0, 2), boundary="pad")
        >>> net = FSPatchedEDMPrecondSR(backbone, (24, 24), (64, 96), context_channels=[0])
        >>> x, y = torch.randn(1, 1, 64, 96), torch.randn(1, 2, 64, 96)
        >>> net(x, y, torch.tensor(1.0)).shape, len(net.windows((64, 96)))
        (torch.Size([1, 1, 64, 96]), 20)

    References:
        Bar-Tal et al., MultiDiffusion (2302.08113); Mardani et al., CorrDiff (2309.15214).
    """

    def __init__(
        self,
        backbone: FSModule,
        patch_shape: Sequence[int],
        domain_shape: Sequence[int],
        overlap: Sequence[int] | None = None,
        margin: Sequence[int] | None = None,
        domain_boundary: str = "bounded",
        position_frequencies: int = 1,
        context_channels: Sequence[int] = (),
        lead_time_scale: float | None = None,
        max_patch_per_gpu: int = 16,
        sigma_data: float | Sequence[float] = 0.5,
        sigma_min: float = 0.0,
        sigma_max: float = float("inf"),
        noise: dict[str, Any] | None = None,
        trained_on: dict[str, Any] | None = None,
    ):
        super().__init__(backbone, sigma_data, sigma_min, sigma_max, noise, trained_on, lead_time_scale)
        self._cut(
            backbone,
            patch_shape,
            domain_shape,
            domain_boundary,
            overlap,
            margin,
            position_frequencies,
            context_channels,
            max_patch_per_gpu,
        )
        extra = 4 * position_frequencies + len(self.context_channels)
        self.img_in_channels -= extra
        if self.img_in_channels < 0 or not all(0 <= c < self.img_in_channels for c in self.context_channels):
            raise ValueError(
                f"the backbone must take {self.img_out_channels} noisy channels, the conditions and {extra} channels "
                "of position and context, and context channels must be conditions: got "
                f"in_channels={backbone.in_channels} and context_channels={self.context_channels}"
            )

    def forward(
        self,
        x: Float[Tensor, "batch out_channel height width"],
        img_lr_or_t: Tensor | DomainCondition | float | None = None,
        sigma_or_condition: Tensor | DomainCondition | float | None = None,
        class_labels: Tensor | None = None,
        force_fp32: bool = False,
        embedding_selector: Callable | None = None,
        global_index: Int[Tensor, "place 2 height width"] | None = None,
        lead_time_label: Float[Tensor, " lead"] | None = None,
        augment_labels: Tensor | None = None,
        *,
        img_lr: Tensor | None = None,
        sigma: Tensor | None = None,
        t: Tensor | None = None,
        condition: Tensor | DomainCondition | None = None,
        encoded: Tensor | None = None,
        places: Sequence[Place] | None = None,
        context: Float[Tensor, "batch context height width"] | None = None,
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Give the denoised field, or with ``places`` the denoised windows.

        Args:
            x: Noisy fields or windows.
            img_lr_or_t: Conditions or noise levels, as for :class:`FSEDMPrecondSR`.
            sigma_or_condition: The other of them.
            class_labels: Refused, like the following of CorrDiff's that have no meaning here.
            force_fp32: Leave autocast.
            embedding_selector: Refused.
            global_index: Rows and columns of the windows' samples, from ``GridPatching2D.global_index``; where there
                are several samples, all samples of the first window come first.
            lead_time_label: Lead time of each sample in hours.
            augment_labels: Refused.
            img_lr: Conditions.
            sigma: Noise levels.
            t: Noise levels.
            condition: Conditions.
            encoded: Refused: windows have conditions of their own.
            places: First row and column of each window.
            context: Channels of the whole domain for each window, from :meth:`DomainCondition.pooled`.
        """
        refuse_set(class_labels=class_labels, embedding_selector=embedding_selector, augment_labels=augment_labels)
        refuse_set(encoded=encoded)
        level, given = level_and_condition(img_lr_or_t, sigma_or_condition, [sigma, t], [img_lr, condition])
        if global_index is not None:
            each = max(1, x.shape[0] // global_index.shape[0])
            places = [(int(i[0, 0, 0]), int(i[1, 0, 0])) for i in global_index for _ in range(each)]
        with torch.autocast(x.device.type, enabled=False) if force_fp32 else nullcontext():
            if places is not None:
                return self._patches(x, self._noise_levels(level, x), given, places, context, lead_time_label)
            if given is None:
                given = x.new_zeros(x.shape[0], 0, *x.shape[-2:])
            return self.fused(x, level, WholeCondition(given) if isinstance(given, Tensor) else given, lead_time_label)

    def encode(self, condition: Float[Tensor, "batch in_channel height width"]) -> None:
        """Do nothing: every window has conditions of its own."""

    def fused(
        self,
        x: Float[Tensor, "batch out_channel height width"],
        sigma: Tensor,
        condition: DomainCondition,
        lead_time: Float[Tensor, " lead"] | None = None,
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Give the weighted sum of all windows' denoised fields.

        Args:
            x: Noisy fields of the whole domain.
            sigma: Noise level, one or one for each sample.
            condition: Conditions of the whole domain.
            lead_time: Lead time of each sample.

        Raises:
            ValueError: If the shapes do not fit.
            InputError: If the domain is not the trained one.
        """
        if tuple(condition.shape[2:]) != tuple(x.shape[-2:]):
            raise ValueError(
                f"x and the conditions must share the grid: got {tuple(x.shape)} and {tuple(condition.shape)}"
            )
        windows = self.windows((x.shape[-2], x.shape[-1]))
        total = torch.zeros_like(x, dtype=parameter_dtype(self))
        for row, strip in self.strips(x, sigma, condition, lead_time):
            windows.add_strip(total, strip, row)
        return total

    def strips(
        self,
        x: Float[Tensor, "batch out_channel height width"],
        sigma: Tensor,
        condition: DomainCondition,
        lead_time: Float[Tensor, " lead"] | None = None,
        rows: Sequence[int] | None = None,
        top: int | None = None,
    ) -> Iterator[tuple[int, Float[Tensor, "batch out_channel patch_height width"]]]:
        """Give the weighted sum of each row of windows, with its number, from the first to the last.

        Args:
            x: Noisy fields of the whole domain, or of a band of it.
            sigma: Noise level, one or one for each sample.
            condition: Conditions of the whole domain.
            lead_time: Lead time of each sample.
            rows: Rows of windows, all by default.
            top: Row of the domain that a band begins with.

        Raises:
            ValueError: If the shapes do not fit.
            InputError: If the domain is not the trained one.
        """
        check_fields("x", x, self.img_out_channels)
        batch, channels, height, width = condition.shape
        if (batch, channels, width) != (x.shape[0], self.img_in_channels, x.shape[-1]):
            raise ValueError(
                f"the conditions must have shape {(x.shape[0], self.img_in_channels, height, x.shape[-1])}: got "
                f"{tuple(condition.shape)}"
            )
        windows, levels = self.windows((height, width)), self._noise_levels(sigma, x)
        seen = self._seen(condition, lead_time, windows)

        def evaluate(places: list[Place], part: slice) -> Tensor:
            noisy = torch.cat([windows.crop(x[part], place, top) for place in places])
            return self._patches(noisy, levels[part].repeat(len(places), 1, 1, 1), *seen(places, part), windows)

        yield from self._strips(windows, batch, evaluate, rows)

    def _patches(
        self,
        x: Tensor,
        levels: Tensor,
        condition: Tensor | None,
        places: Sequence[Place],
        context: Tensor | None,
        lead_time: Tensor | None,
        windows: WindowGrid | None = None,
    ) -> Tensor:
        windows = self.windows(self.domain_shape) if windows is None else windows
        check_fields("x", x, self.img_out_channels)
        if tuple(x.shape[-2:]) != windows.patch or len(places) != len(x):
            raise ValueError(
                f"windows of {windows.patch[0]} x {windows.patch[1]} need one place each: got {tuple(x.shape)} and "
                f"{len(places)} places"
            )
        others: list[Tensor] = []
        append(others, "conditions", condition, self.img_in_channels, x)
        return self._precondition(x, levels, others + self._beside(x, places, context, lead_time, windows))
