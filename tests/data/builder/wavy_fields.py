# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Small sources in memory that pickle."""

from dataclasses import dataclass, field

import numpy as np

from physicsnemo_fs.data.builder.geometry import latlon
from physicsnemo_fs.data.types import Channel, Grid


def degrees(south, north, west, east, shape):
    return latlon(Grid(shape, (north - south, east - west), (south, west), "cell", "bounded", "degrees"))


@dataclass
class WavyFields:
    """Waves that move with time, positive, with a missing corner."""

    grid: Grid = field(default_factory=lambda: degrees(50.0, 56.0, 0.0, 9.0, (24, 36)))
    times: np.ndarray = field(
        default_factory=lambda: np.arange("2019-03-01", "2019-03-11", 6, dtype="datetime64[h]").astype("datetime64[ns]")
    )
    channels: tuple[Channel, ...] = (Channel("rain", "mm h-1", long_name="rain rate"), Channel("t2m", "K"))
    lead_hours: np.ndarray | None = None
    missing: int = 3
    reads: list = field(default_factory=list)

    def read(self, positions, window=None):
        rows, columns = window or (slice(None), slice(None))
        self.reads.append(list(positions))
        return np.stack([self._frame(int(p)) for p in positions])[:, :, rows, columns]

    def _frame(self, position):
        phase = 0.3 * position
        waves = np.stack(
            [
                np.exp(np.sin(self.grid.latitude * (1 + c) + phase) + np.cos(self.grid.longitude - phase))
                for c in range(len(self.channels))
            ]
        )
        waves[0, : self.missing, : self.missing] = np.nan
        return waves.astype(np.float32)


def orography():
    return WavyFields(
        grid=degrees(49.0, 57.0, -1.0, 10.0, (64, 88)),
        times=np.empty(0, "datetime64[ns]"),
        channels=(Channel("orography", "m"),),
        missing=0,
    )
