# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Downscaling of gridded weather: windows of coarse frames in, fine fields out."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physicsnemo_fs.data.builder.geometry import refined
from physicsnemo_fs.data.datasets.pairing import (
    Uneven,
    aligned_grid,
    frame_channels,
    frame_windows,
    matching_times,
    matching_window,
    shared_normalization,
)
from physicsnemo_fs.data.datasets.patches import Patches, Window
from physicsnemo_fs.data.fields.missing import CheckedFields, Missing
from physicsnemo_fs.data.fields.origins import named_files
from physicsnemo_fs.data.fields.views import CachedFields, CoarseFields
from physicsnemo_fs.data.splits import block_numbers
from physicsnemo_fs.data.types import Batch, Channel, Fields, Grid
from physicsnemo_fs.data.warps import Identity
from physicsnemo_fs.errors import InputError

DAY = np.timedelta64(1, "D")


class GriddedDataset:
    """Pairs of a window of coarse frames and the fine fields at its middle time.

    The coarse input is a source of its own, or the conservative average of the fine fields over blocks of cells. It is
    given on its own grid, whose cell edges must coincide with edges of fine cells. An input that is also an output
    takes its normalisation. Missing values are refused unless a rule is declared: a masked target is 0 where
    ``Batch.valid`` is false; a masked input is 0 where a further channel ``<name>_known`` is 0.

    Args:
        target: Fine truth; ``None`` at inference without truth.
        coarse: Coarse input; ``None`` averages the target.
        output_channels: Channels of the target with their normalisation.
        input_channels: Channels of the input with theirs; ``None`` takes those of the target.
        positions: Times to use, as positions in the truth's times, or the input's without truth; ``None`` for all.
        factor: Fine cells along a coarse one, if the target is averaged.
        invariants: Static fine fields.
        invariant_channels: Their channels with normalisation.
        block: Length of time that counts as one independent block.
        window_size: Frames ``k`` on either side of the middle one.
        uneven: What to do about windows of unevenly spaced frames, see
            :func:`physicsnemo_fs.data.datasets.pairing.frame_windows`.
        patch: Fine rows and columns of a patch; ``None`` gives whole fields. With keys a patch lies at random, without
            them at fixed tiles.
        patches_per_time: Patches of each time in an epoch; the k-th has a time k nanoseconds later.
        missing: Rule by variable.
        cache_bytes: Most memory that fields read once may keep.

    Raises:
        InputError: If grids, times, channels or patches do not fit together.

    Example:
        >>> from physicsnemo_fs.data.fields.views import ArrayFields
        >>> fine = ArrayFields.random(("t2m",), times=6, shape=(16, 24))
        >>> dataset = GriddedDataset(fine, None, fine.channels, factor=8, window_size=1)
        >>> batch = dataset.fetch([0, 3])
        >>> len(dataset), tuple(batch.coarse.shape), tuple(batch.target.shape)
        (4, (2, 3, 2, 3), (2, 1, 16, 24))
    """

    def __init__(
        self,
        target: Fields | None,
        coarse: Fields | None,
        output_channels: Sequence[Channel] = (),
        input_channels: Sequence[Channel] | None = None,
        *,
        positions: Sequence[int] | np.ndarray | None = None,
        factor: int = 8,
        invariants: Fields | None = None,
        invariant_channels: Sequence[Channel] | None = None,
        block: np.timedelta64 = DAY,
        window_size: int = 0,
        uneven: Uneven = "refuse",
        patch: tuple[int, int] | None = None,
        patches_per_time: int = 1,
        missing: Mapping[str, Missing] | None = None,
        cache_bytes: int = 0,
    ):
        sizes = [_bytes_per_time(fields) for fields in (target, coarse)]
        shares = [cache_bytes * size // max(1, sum(sizes)) for size in sizes]
        rules = missing or {}
        self._target = None if target is None else _prepared(target, rules, shares[0])
        self._coarse = self._input(coarse, rules, shares[1], factor)
        self.grid = _fine_grid(target, invariants, self._coarse.grid, factor)
        with named_files(target=target, input=coarse):
            self._inside = matching_window(self.grid, self._coarse.grid)
        self.coarse_grid = aligned_grid(self.grid, self._coarse.grid, self._inside)
        self._patches = None if patch is None else Patches(self.grid, self.coarse_grid, patch)
        self.patches_per_time = patches_per_time
        if self._patches is not None:
            self.grid, self.coarse_grid = self._patches.grids()
        self._choose_times(positions, window_size, uneven, block)
        self._declare_channels(output_channels, input_channels, rules, window_size)
        own = () if invariants is None else invariants.channels
        self.invariant_channels = tuple(own if invariant_channels is None else invariant_channels)
        self._invariants = self._static(invariants, rules)
        sources = [fields for fields in (self._target, self._coarse) if fields is not None]
        self.thread_safe = all(getattr(fields, "thread_safe", False) for fields in sources)

    def _input(self, coarse: Fields | None, rules: Mapping[str, Missing], budget: int, factor: int) -> Fields:
        if isinstance(coarse, CoarseFields):
            coarse = CoarseFields(CheckedFields(coarse.source, rules), coarse.factor)
        if coarse is not None:
            return _prepared(coarse, rules, budget)
        if self._target is None:
            raise InputError("a dataset needs fine or coarse fields: got neither; set dataset.target")
        return CoarseFields(self._target, factor)

    def _choose_times(
        self, positions: Sequence[int] | np.ndarray | None, window_size: int, uneven: Uneven, block: np.timedelta64
    ) -> None:
        base = self._coarse.times if self._target is None else self._target.times
        chosen = np.arange(len(base)) if positions is None else np.asarray(positions, np.int64)
        with named_files(target=self._target, input=self._coarse):
            middles = matching_times(base[chosen], self._coarse.times)
        self._frames, kept = frame_windows(self._coarse.times, middles, window_size, uneven)
        self._positions = chosen[kept]
        self._times = base[self._positions]
        copies = np.arange(self.patches_per_time)
        self.times = (self._times[:, None] + copies.astype("timedelta64[ns]")).ravel()
        self.blocks = np.repeat(block_numbers(self._times, block), self.patches_per_time)

    def _declare_channels(
        self,
        outputs: Sequence[Channel],
        inputs: Sequence[Channel] | None,
        rules: Mapping[str, Missing],
        window_size: int,
    ) -> None:
        with named_files(target=self._target, input=self._coarse):
            declared = outputs if inputs is None else shared_normalization(inputs, outputs)
        if self._target is not None:
            _check_names("output_channels", outputs, self._target.channels)
        _check_names("input_channels", declared, self._coarse.channels)
        self.output_channels = tuple(outputs)
        self._inputs = frame_channels(declared, window_size)
        masked = {name for name, rule in rules.items() if rule.rule == "mask"}
        variables = [channel.name for channel in declared for _ in range(2 * window_size + 1)]
        self._masked = [i for i, name in enumerate(variables) if name in masked]
        names = [self._inputs[i].name for i in self._masked]
        known = tuple(Channel(f"{name}_known", long_name=f"where {name} is known") for name in names)
        self.input_channels: tuple[Channel, ...] = self._inputs + known
        self._partial = any(channel.name in masked for channel in outputs)

    def _static(self, invariants: Fields | None, rules: Mapping[str, Missing]) -> Float[Tensor, "1 invariant y x"]:
        whole = self.grid if self._patches is None else self._patches.grid
        if invariants is None:
            return torch.zeros(1, 0, *whole.shape)
        if len(invariants.times) > 1:
            raise InputError(f"invariants must be static: got {len(invariants.times)} times; keep one")
        with named_files(target=self._target, invariants=invariants):
            window = matching_window(whole, invariants.grid)
        if tuple(part.stop - part.start for part in window) != whole.shape:
            raise InputError(
                f"invariants must lie on the fine grid {whole.shape}: theirs is {invariants.grid.shape}; regrid "
                "them with physicsnemo-fs build"
            )
        return _normalized(CheckedFields(invariants, rules, static=True).read([0], window), self.invariant_channels)

    def __len__(self) -> int:
        return len(self.times)

    def fetch(self, indices: Sequence[int], augmentation_keys: Sequence[int] | None = None) -> Batch:
        """Give samples; with keys, each patch lies where its own key says.

        Args:
            indices: Sample ids, ordered by time, then patch.
            augmentation_keys: One integer per sample.

        Raises:
            InputError: If a value is missing where that is refused, or a file cannot be read.
        """
        ids = np.asarray(indices, dtype=np.int64)
        samples, numbers = np.divmod(ids, self.patches_per_time)
        if self._patches is None:
            coarse, target = self._read(samples, None)
            invariants = self._invariants.expand(len(ids), -1, -1, -1)
        else:
            windows = self._windows(self._patches, numbers, augmentation_keys)
            pieces = [self._read(samples[i : i + 1], window) for i, window in enumerate(windows)]
            coarse = np.concatenate([inputs for inputs, _ in pieces])
            truths = [truth for _, truth in pieces if truth is not None]
            target = np.concatenate(truths) if truths else None
            fine = [self._patches.fine(window) for window in windows]
            invariants = torch.cat([self._invariants[:, :, rows, columns] for rows, columns in fine])
        return self._batch(ids, self._positions[samples], coarse, target, invariants)

    def _windows(self, patches: Patches, numbers: np.ndarray, keys: Sequence[int] | None) -> list[Window]:
        if keys is not None:
            return [patches.draw(int(key)) for key in keys]
        return [patches.tile(int(number), self.patches_per_time) for number in numbers]

    def _read(
        self, samples: Int[np.ndarray, " sample"], window: Window | None
    ) -> tuple[Float[np.ndarray, "sample input y x"], Float[np.ndarray, "sample output fine_y fine_x"] | None]:
        """Read coarse frames, variable by variable, and the truth, in a window of coarse cells."""
        frames = self._frames[samples]
        target: np.ndarray | None = None
        if isinstance(self._coarse, CoarseFields):
            fine_window = self._coarse.fine_window(window)
            fine = self._coarse.source.read(frames.ravel(), fine_window)
            coarse = self._coarse.average(fine, fine_window[0])
            target = fine.reshape(*frames.shape, *fine.shape[1:])[:, frames.shape[1] // 2]
        else:
            coarse = self._coarse.read(
                frames.ravel(), self._inside if window is None else _shifted(window, self._inside)
            )
            if self._target is not None:
                below = None if window is None or self._patches is None else self._patches.fine(window)
                target = self._target.read(self._positions[samples], below)
        by_variable = coarse.reshape(*frames.shape, *coarse.shape[1:]).swapaxes(1, 2)
        return by_variable.reshape(len(samples), -1, *coarse.shape[-2:]), target

    def _batch(
        self,
        ids: np.ndarray,
        positions: np.ndarray,
        coarse: np.ndarray,
        target: np.ndarray | None,
        invariants: Tensor,
    ) -> Batch:
        known = torch.from_numpy(~np.isnan(coarse[:, self._masked])).float()
        truth = None if target is None else _normalized(target, self.output_channels)
        valid = torch.from_numpy(~np.isnan(target)) if target is not None and self._partial else None
        inputs = _normalized(coarse, self._inputs)
        if self._masked:
            inputs = torch.cat([inputs.nan_to_num_(0.0), known], dim=1)
        return Batch(
            coarse=inputs,
            invariants=invariants,
            target=truth if valid is None or truth is None else truth.nan_to_num_(0.0),
            index=torch.from_numpy(ids),
            valid=valid,
            lead_time=self._lead_times(ids // self.patches_per_time, positions),
        )

    def _lead_times(self, samples: np.ndarray, positions: np.ndarray) -> Float[Tensor, " sample"] | None:
        middles = self._frames[samples, self._frames.shape[1] // 2]
        hours = None if self._coarse.lead_hours is None else self._coarse.lead_hours[middles]
        if hours is None and self._target is not None and self._target.lead_hours is not None:
            hours = self._target.lead_hours[positions]
        return None if hours is None else torch.from_numpy(np.asarray(hours, np.float32))


def _prepared(fields: Fields, rules: Mapping[str, Missing], budget: int) -> Fields:
    checked = CheckedFields(fields, rules)
    return CachedFields(checked, budget) if budget else checked


def _bytes_per_time(fields: Fields | None) -> int:
    return 0 if fields is None else 4 * len(fields.channels) * fields.grid.shape[0] * fields.grid.shape[1]


def _fine_grid(target: Fields | None, invariants: Fields | None, coarse: Grid, factor: int) -> Grid:
    """Give the grid of the truth; without truth that of the invariants, or else a refinement of the input's."""
    if target is not None:
        return target.grid
    if invariants is not None:
        return invariants.grid
    return refined(coarse, factor)


def _normalized(values: np.ndarray, channels: Sequence[Channel]) -> Float[Tensor, "sample channel y x"]:
    physical = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    normalized = torch.empty_like(physical)
    for i, channel in enumerate(channels):
        normalized[:, i] = channel.normalize(physical[:, i])
        lost = ~normalized[:, i].isfinite() & physical[:, i].isfinite()
        if not isinstance(channel.warp, Identity) and lost.any():
            raise InputError(
                f"variable {channel.name!r} has values that its transform does not take: got {physical[:, i].min():g}; "
                "repair them or choose another transform"
            )
    return normalized


def _shifted(window: Window, inside: Window) -> Window:
    rows, columns = (slice(s.start + o.start, s.stop + o.start) for s, o in zip(window, inside, strict=True))
    return rows, columns


def _check_names(what: str, given: Sequence[Channel], there: Sequence[Channel]) -> None:
    names = [[channel.name for channel in channels] for channels in (given, there)]
    if names[0] != names[1]:
        raise InputError(f"{what} must name the variables of the source: got {names[0]}, not {names[1]}")
