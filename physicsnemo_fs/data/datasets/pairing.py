# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which coarse frames and cells belong to which fine ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Int64

from physicsnemo_fs.data.builder.frames import geographic, require_same_place
from physicsnemo_fs.data.builder.geometry import cut, edges
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.data.vocabulary import same_unit
from physicsnemo_fs.errors import InputError

Uneven = Literal["refuse", "skip", "keep"]
SAME_EDGE = 0.02
"""Edges that differ by less than this share of a fine cell are the same."""


def matching_window(fine: Grid, coarse: Grid) -> tuple[slice, slice]:
    """Give the coarse cells that cover a fine grid exactly.

    Raises:
        InputError: If the edges of the fine grid are no edges of coarse cells, or the two lie elsewhere on the Earth,
            by their projections or by their latitudes and longitudes.

    Example:
        >>> coarse = Grid((4, 4), (4.0, 4.0), registration="cell", boundary="bounded")
        >>> fine = Grid((4, 6), (2.0, 3.0), (1.0, 0.0), registration="cell", boundary="bounded")
        >>> matching_window(fine, coarse)
        (slice(1, 3, None), slice(0, 3, None))
    """
    parts = []
    for axis, name in enumerate(("rows", "columns")):
        own, wanted = edges(coarse, axis), edges(fine, axis)[[0, -1]]
        if axis == 1 and geographic(coarse):
            wanted = wanted + 360.0 * np.ceil((own[0] - wanted[0]) / 360.0 - 1e-6)
        found = np.abs(own[:, None] - wanted).argmin(axis=0)
        gaps = np.abs(own[found] - wanted)
        if fine.unit != coarse.unit or gaps.max() > SAME_EDGE * fine.spacing[axis] or found[0] == found[1]:
            raise InputError(
                f"the edges of the fine grid must be edges of coarse cells: its {name} span {wanted[0]:g} to "
                f"{wanted[1]:g} {fine.unit}, the input's {own[0]:g} to {own[-1]:g} {coarse.unit} in cells of "
                f"{coarse.spacing[axis]:g}; choose such a region or align them with physicsnemo-fs build"
            )
        parts.append(slice(int(found[0]), int(found[1])))
    window = (parts[0], parts[1])
    require_same_place(fine, coarse)
    return window


def aligned_grid(fine: Grid, coarse: Grid, window: tuple[slice, slice]) -> Grid:
    """Give the part of the coarse grid in a window, with the origin and extent of the fine one."""
    return replace(cut(coarse, window), origin=fine.origin, extent=fine.extent)


def matching_times(wanted: np.ndarray, available: np.ndarray) -> Int64[np.ndarray, " time"]:
    """Give where each wanted time is among the available ones.

    Raises:
        InputError: If one is not there.
    """
    found = np.searchsorted(available, wanted).clip(0, max(0, len(available) - 1))
    absent = available[found] != wanted if len(available) else np.ones(len(wanted), bool)
    if absent.any():
        raise InputError(
            f"input and target must have the same times: the input has none at {wanted[absent][0]} and "
            f"{absent.sum() - 1} further ones; choose a period that both have or align them with physicsnemo-fs build"
        )
    return found


def frame_windows(
    times: np.ndarray, middles: Int64[np.ndarray, " sample"], window_size: int, uneven: Uneven = "refuse"
) -> tuple[Int64[np.ndarray, "kept frame"], Int64[np.ndarray, " kept"]]:
    """Give the positions of the frames around some middle ones; those whose window leaves the record are left out.

    Args:
        times: The record.
        middles: Positions of the middle frames.
        window_size: Frames on either side.
        uneven: What to do about windows whose frames are not spaced as most of the record: ``"refuse"``, ``"skip"``
            or ``"keep"`` them.

    Returns:
        Positions of the frames of each kept window, and which of ``middles`` they belong to.

    Raises:
        InputError: If a window is unevenly spaced and that is refused, or none is left.

    Example:
        >>> times = np.array([0, 1, 2, 3, 7], "datetime64[h]").astype("datetime64[ns]")
        >>> frames, kept = frame_windows(times, np.array([0, 1, 2, 3]), 1, "skip")
        >>> frames.tolist(), kept.tolist()
        ([[0, 1, 2], [1, 2, 3]], [1, 2])
    """
    offsets = np.arange(-window_size, window_size + 1)
    inside = np.flatnonzero((middles >= window_size) & (middles < max(1, len(times)) - window_size))
    frames = middles[inside, None] + offsets
    if window_size and uneven != "keep" and len(inside):
        steps, counts = np.unique(np.diff(times), return_counts=True)
        interval = steps[counts.argmax()]
        even = (np.diff(times[frames], axis=1) == interval).all(axis=1)
        if uneven == "refuse" and not even.all():
            raise InputError(
                f"frames of a window must be evenly spaced, {interval.astype('timedelta64[s]')} apart: those around "
                f"{times[middles[inside][~even][0]]} are not, nor {int((~even).sum()) - 1} further ones; set "
                "dataset.uneven=skip to leave them out or window_size=0"
            )
        inside, frames = inside[even], frames[even]
    if not len(inside):
        raise InputError(
            f"a split must hold a time with its {window_size} frames before and after: none of its {len(middles)} "
            "times has them; reduce window_size or choose longer blocks"
        )
    return frames, inside


def frame_channels(channels: Sequence[Channel], window_size: int) -> tuple[Channel, ...]:
    """Give a channel per variable and frame: ``t2m@-1``, ``t2m``, ``t2m@+1``, then the next variable.

    Example:
        >>> [channel.name for channel in frame_channels([Channel("u"), Channel("v")], 1)]
        ['u@-1', 'u', 'u@+1', 'v@-1', 'v', 'v@+1']
    """
    return tuple(
        replace(channel, name=f"{channel.name}@{offset:+d}" if offset else channel.name)
        for channel in channels
        for offset in range(-window_size, window_size + 1)
    )


def shared_normalization(inputs: Sequence[Channel], outputs: Sequence[Channel]) -> tuple[Channel, ...]:
    """Give an input that is also an output the normalisation of the output.

    What a network adds to the interpolated input is then a residual in one scale.

    Raises:
        InputError: If the units of an input and the output of its name differ.

    Example:
        >>> shared_normalization([Channel("t2m", "kelvin", 280.0, 9.0)], [Channel("t2m", "K", 281.0, 10.0)])[0].std
        10.0
    """
    known = {channel.name: channel for channel in outputs}
    pairs = [(channel, known.get(channel.name, channel)) for channel in inputs]
    for channel, other in pairs:
        if same_unit(channel.unit) != same_unit(other.unit):
            raise InputError(
                f"input and output {channel.name!r} must have one unit: got {channel.unit!r} and {other.unit!r}; "
                "convert one or rename it by new=name"
            )
    return tuple(
        replace(channel, mean=other.mean, std=other.std, warp=other.warp, minimum=other.minimum)
        for channel, other in pairs
    )
