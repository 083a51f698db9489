# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What networks of windows share: how a domain is cut, what a window is told of it, which are evaluated together."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.base import FSModule, lead_time_channel
from physicsnemo_fs.models.domain_condition import DomainCondition
from physicsnemo_fs.nn.windows import Place, WindowGrid, position_channels


class Windowed:
    """A network that sees windows of a domain and is fused to a map of all of it.

    A domain of ``domain_shape`` times a factor is the same domain at another resolution: windows, overlap and margin
    are scaled with it. Without positions and context a window does not depend on its domain: any domain is taken, and
    windows keep their samples.

    Attributes:
        patch_shape: Rows and columns of a window; ``None`` for a network of whole fields.
        domain_shape: Rows and columns of the domain it is trained on.
        domain_boundary: ``"periodic"`` or ``"bounded"``.
        overlap: Rows and columns that neighbours share at least.
        margin: Rows and columns without weight at a window's edges; three eighths of the overlap if ``None``.
        position_frequencies: Frequencies of the position, four channels each.
        context_channels: Condition channels whose average over the whole domain every window sees.
        lead_time_scale: Hours that the lead time is divided by to be a channel; ``None`` for no lead time.
        max_patch_per_gpu: Windows that are evaluated together.
    """

    patch_shape: tuple[int, int] | None = None
    domain_shape: tuple[int, int]
    domain_boundary: str
    overlap: tuple[int, int]
    margin: tuple[int, int] | None
    position_frequencies: int = 0
    context_channels: Sequence[int] = ()
    lead_time_scale: float | None = None
    max_patch_per_gpu: int = 16

    def _cut(
        self,
        backbone: FSModule,
        patch_shape: Sequence[int],
        domain_shape: Sequence[int],
        domain_boundary: str,
        overlap: Sequence[int] | None,
        margin: Sequence[int] | None,
        position_frequencies: int,
        context_channels: Sequence[int],
        max_patch_per_gpu: int,
    ) -> None:
        self.patch_shape = pair("patch_shape", patch_shape)
        self.domain_shape = pair("domain_shape", domain_shape)
        self.domain_boundary = domain_boundary
        self.position_frequencies = position_frequencies
        self.context_channels = list(context_channels)
        self.set_windows(overlap, margin, max_patch_per_gpu)
        check_backbone(backbone, self.patch_shape, covers=self.patch_shape == self.domain_shape)

    def set_windows(
        self, overlap: Sequence[int] | None, margin: Sequence[int] | None, max_patch_per_gpu: int | None = None
    ) -> None:
        """Set how a whole field is cut; nothing that was trained depends on it.

        Args:
            overlap: Rows and columns that neighbours share; a quarter of the patch if not given.
            margin: Rows and columns without weight; three eighths of the overlap if not given.
            max_patch_per_gpu: Windows that are evaluated together; unchanged if not given.

        Raises:
            InputError: If they do not fit.
        """
        rows, columns = self._patch
        self.overlap = (rows // 4, columns // 4) if overlap is None else pair("overlap", overlap)
        self.margin = None if margin is None else pair("margin", margin)
        if max_patch_per_gpu is not None:
            if max_patch_per_gpu < 1:
                raise InputError(f"max_patch_per_gpu must be at least 1: got {max_patch_per_gpu}")
            self.max_patch_per_gpu = max_patch_per_gpu
        self.windows(self.domain_shape)

    @property
    def _patch(self) -> tuple[int, int]:
        if self.patch_shape is None:
            raise InputError("this network was trained on whole fields: it has no windows; train one on windows")
        return self.patch_shape

    @property
    def knows_its_place(self) -> bool:
        """Whether the map of a window depends on where in the domain it is."""
        return self.position_frequencies > 0 or bool(self.context_channels)

    def windows(self, shape: tuple[int, int]) -> WindowGrid:
        """Give the windows of a domain.

        Args:
            shape: Rows and columns of the domain.

        Raises:
            InputError: If positions were trained on another domain.
        """
        rows, columns = self._patch
        factor = 1
        if self.knows_its_place:
            factor, rest = divmod(shape[0], self.domain_shape[0])
            if rest or not factor or shape[1] != factor * self.domain_shape[1]:
                raise InputError(
                    f"the positions of this network are those of a domain of {self.domain_shape[0]} x "
                    f"{self.domain_shape[1]}: got {shape[0]} x {shape[1]}, which is no whole multiple of it; give that "
                    "domain, or train with training.patches.position_frequencies=0 and training.patches.context=false"
                )
        scaled = [None if p is None else (factor * p[0], factor * p[1]) for p in (self.overlap, self.margin)]
        patch = (factor * rows, factor * columns)
        return WindowGrid(shape, patch, scaled[0] or (0, 0), scaled[1], self.domain_boundary)

    def context(
        self, condition: DomainCondition, windows: WindowGrid
    ) -> Float[Tensor, "batch context height width"] | None:
        """Give what every window sees of the whole domain; ``None`` if nothing."""
        return condition.pooled(self.context_channels, windows.patch) if self.context_channels else None

    def _beside(
        self, x: Tensor, places: Sequence[Place], context: Tensor | None, lead_time: Tensor | None, windows: WindowGrid
    ) -> list[Tensor]:
        """Give the channels of place, context and lead time of windows ``x``."""
        if len(places) != len(x):
            raise ValueError(f"windows need one place each: got {len(x)} windows and {len(places)} places")
        others: list[Tensor] = []
        if self.position_frequencies:
            frequencies = self.position_frequencies
            others.append(position_channels(windows.shape, places, windows.patch, self.domain_boundary, frequencies, x))
        append(others, "channels of the whole domain (context)", context, len(self.context_channels), x)
        return others + lead_time_channel(self.lead_time_scale, lead_time, x)

    def _seen(
        self, condition: DomainCondition, lead_time: Tensor | None, windows: WindowGrid
    ) -> Callable[[list[Place], slice], tuple[Tensor, list[Place], Tensor | None, Tensor | None]]:
        """Give what tells conditions, place, context and lead time of each window at some places, of some samples."""
        context = self.context(condition, windows)
        hours = None if lead_time is None else lead_time.expand(condition.shape[0])

        def seen(places: list[Place], part: slice) -> tuple[Tensor, list[Place], Tensor | None, Tensor | None]:
            count = len(places)
            return (
                torch.cat([condition.crop(windows, place, part) for place in places]),
                [place for place in places for _ in range(part.stop - part.start)],
                None if context is None else context[part].repeat(count, 1, 1, 1),
                None if hours is None else hours[part].repeat(count),
            )

        return seen

    def _strips(
        self,
        windows: WindowGrid,
        batch: int,
        evaluate: Callable[[list[Place], slice], Tensor],
        rows: Sequence[int] | None = None,
    ) -> Iterator[tuple[int, Float[Tensor, "batch channel patch_height width"]]]:
        """Give the weighted sum of each row of windows, with its number.

        Args:
            windows: Windows of the domain.
            batch: Number of samples.
            evaluate: Gives the values of some samples at some places, all samples of the first place first.
            rows: Rows of windows, all by default.
        """
        for row in range(len(windows.rows.starts)) if rows is None else rows:
            parts = []
            for first in range(0, batch, self.max_patch_per_gpu):
                part = slice(first, min(first + self.max_patch_per_gpu, batch))
                parts.append(windows.strip(self._window_row(windows, row, part, evaluate), row))
            yield row, torch.cat(parts) if len(parts) > 1 else parts[0]

    def _window_row(
        self, windows: WindowGrid, row: int, part: slice, evaluate: Callable[[list[Place], slice], Tensor]
    ) -> Iterator[Tensor]:
        """Give the values of the windows of one row, from left to right; groups of them never cross rows."""
        count = part.stop - part.start
        across, together = windows.columns.starts, max(1, self.max_patch_per_gpu // count)
        for first in range(0, len(across), together):
            places = [(windows.rows.starts[row], column) for column in across[first : first + together]]
            yield from evaluate(places, part).unflatten(0, (len(places), count))


def has_windows(network: object) -> TypeGuard[Windowed]:
    """Tell whether a network is one of windows."""
    return isinstance(network, Windowed) and network.patch_shape is not None


def append(others: list[Tensor], name: str, channels: Tensor | None, expected: int, x: Tensor) -> None:
    """Append channels that go with fields ``x``, or none where none are expected.

    Raises:
        ValueError: If there are others than expected.
    """
    wanted = (x.shape[0], expected, *x.shape[-2:])
    if expected == 0 and (channels is None or channels.shape[1] == 0):
        return
    if channels is None or tuple(channels.shape) != wanted:
        got = "none" if channels is None else tuple(channels.shape)
        raise ValueError(f"this network sees {expected} {name}, shape {wanted}: got {got}")
    others.append(channels)


def pair(name: str, values: Sequence[int]) -> tuple[int, int]:
    """Give rows and columns.

    Raises:
        InputError: If there are not two values.
    """
    if len(values) != 2:
        raise InputError(f"{name} needs rows and columns: got {list(values)}")
    return int(values[0]), int(values[1])


def check_backbone(backbone: FSModule, patch: tuple[int, int], covers: bool = False) -> None:
    """Require a backbone that treats a window as the bounded piece that it is, with modes that the window resolves.

    Args:
        backbone: The network.
        patch: Rows and columns of a window.
        covers: Whether the window is the whole domain, whose boundary is the backbone's business.

    Raises:
        InputError: If it wraps at the window's edges, or the window is too small for its grids or modes.
    """
    if not covers and getattr(backbone, "boundary", None) != "pad":
        remedy = "model.boundary=pad" if hasattr(backbone, "boundary") else "model=fsuno model.boundary=pad"
        raise InputError(
            f"a window is not periodic, but {type(backbone).__name__} wraps at its edges; give {remedy}, or "
            "model=corrdiff_unet"
        )
    if getattr(backbone, "positions", False) or getattr(backbone, "coord_features", "none") != "none":
        raise InputError(
            "windows are told their places in the domain: got a backbone with positions of its own; build it with "
            'positions=False or coord_features="none"'
        )
    grids, modes = getattr(backbone, "level_grid", None), getattr(backbone, "n_modes", None)
    if grids and max(grids) > min(patch):
        raise InputError(
            f"a patch must resolve the backbone's finest grid: got {patch[0]} x {patch[1]} samples for "
            f"model.level_grid={list(grids)}; give a patch of at least {max(grids)}, or a finest grid of at most "
            f"{min(patch)}"
        )
    if modes and 2 * max(modes) > min(patch):
        raise InputError(
            f"a patch must resolve the backbone's modes: got {patch[0]} x {patch[1]} samples for "
            f"model.n_modes={list(modes)}; give a patch of at least {2 * max(modes)}, or at most {min(patch) // 2} "
            "modes"
        )
