# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Colours of a channel's warped values, with ticks at round physical ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, Normalize
from matplotlib.ticker import MaxNLocator

from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.data.warps import Identity
from physicsnemo_fs.pipelines.numerals import number, unit_text


@dataclass(frozen=True)
class Tone:
    """Colours of a channel: of its warped values, light where little of a skewed variable is.

    Args:
        channel: The channel.
        norm: Range of warped values.
    """

    channel: Channel
    norm: Normalize

    @property
    def colours(self) -> Colormap:
        """The colour map; missing values are grey."""
        name = "viridis" if isinstance(self.channel.warp, Identity) else "YlGnBu"
        return matplotlib.colormaps[name].with_extremes(bad="#c9cdd2")

    def ticks(self) -> tuple[list[float], list[str]]:
        """Give warped places of round values, and the values."""
        low, high = float(self.norm.vmin or 0.0), float(self.norm.vmax or 1.0)
        if isinstance(self.channel.warp, Identity):
            places = [float(v) for v in MaxNLocator(6).tick_values(low, high) if low <= v <= high]
            return places, [
                number(v, 4).rstrip("0").rstrip(".") if "." in number(v, 4) else number(v, 4) for v in places
            ]
        values = sorted({float(f"{self.channel.warp.invert(w):.1g}") for w in np.linspace(low, high, 7).tolist()})
        inside = [v for v in values if low <= self.channel.warp.apply(v) <= high]
        return [float(self.channel.warp.apply(v)) for v in inside], [f"{v:g}" for v in inside]


def find_tone(channel: Channel, fields: Sequence[np.ndarray]) -> Tone:
    """Give colours that span the finite values of some fields, but for the outermost."""
    values = np.concatenate([f[np.isfinite(f)] for f in fields])
    if not len(values):
        return Tone(channel, Normalize(0.0, 1.0))
    low, high = (float(channel.warp.apply(float(v))) for v in np.percentile(values, [0.5, 99.9]))
    return Tone(channel, Normalize(low, high if high > low else low + 1.0))


def axis_label(channel: Channel) -> str:
    """Give a channel's name with its unit."""
    unit = unit_text(channel.unit)
    return f"{channel.long_name or channel.name}{f' [{unit}]' if unit else ''}"
