# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Reading the groups of an ensemble file by their meaning, however they are stored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError

POSITION_TOLERANCE = 1e-3
"""Largest difference in degrees of two files' positions that counts as rounding."""


class Moments:
    """Times at which there is something, found again by their value.

    Args:
        times: The times, in any order.
    """

    def __init__(self, times: np.ndarray):
        self._known: dict[int, int] = {}
        self._twice: set[int] = set()
        for index, time in enumerate(times.astype("datetime64[ns]").astype(np.int64).tolist()):
            if time in self._known:
                self._twice.add(time)
            self._known[time] = index

    def index(self, time: np.datetime64, holder: str, what: str = "") -> int:
        """Give the position of a time.

        Raises:
            InputError: If it is not there, or more than once.
        """
        key = int(time.astype("datetime64[ns]").astype(np.int64))
        if key not in self._known:
            raise InputError(f"{holder} must hold {what}{time}: it has {len(self._known)} other times")
        if key in self._twice:
            raise InputError(f"{holder} must hold each time once: {time} is there twice")
        return self._known[key]


def same_positions(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> bool:
    """Say whether latitudes and longitudes are equal but for rounding and whole turns.

    Example:
        >>> same_positions((np.array([[45.0]]), np.array([[-10.0]])), (np.array([[45.0]]), np.array([[350.0]])))
        True
    """
    for own, other in zip(first, second, strict=True):
        if own.shape != other.shape:
            return False
        gap = (np.asarray(own, dtype=np.float64) - np.asarray(other, dtype=np.float64) + 180) % 360 - 180
        if not np.abs(gap).max() <= POSITION_TOLERANCE:
            return False
    return True


def on_points(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give latitudes and longitudes at points, from those or from one axis each."""
    if latitude.ndim == 1 and longitude.ndim == 1:
        latitude, longitude = np.meshgrid(latitude, longitude, indexing="ij")
    return latitude, longitude


class GroupReader(ABC):
    """Fields of the groups ``prediction``, ``truth``, ``regression`` and ``input``, a time at once."""

    path: Path
    times: np.ndarray
    grid: Grid

    def _index_in(self, group: str, moments: Moments, time_index: int) -> int:
        """Give the position in a group of the valid time of a case, joined by the times that the group has itself.

        Raises:
            InputError: If it does not have that time, or not once.
        """
        return moments.index(self.times[time_index], f"{group!r} of {self.path.name}")

    @abstractmethod
    def _read(self, group: str, variable: str, time_index: int) -> np.ndarray: ...

    @abstractmethod
    def _attributes(self, group: str, variable: str) -> Mapping[str, Any]: ...

    @abstractmethod
    def _positions(self, group: str) -> tuple[np.ndarray, np.ndarray] | None: ...

    def same_places(self, group: str) -> bool:
        """Say whether a group's fields lie where the predictions lie, as far as the file says where that is."""
        latitude, longitude = self.grid.latitude, self.grid.longitude
        own = None if latitude is None or longitude is None else self._positions(group)
        return own is None or latitude is None or longitude is None or same_positions((latitude, longitude), own)

    def channel(self, variable: str, group: str = "prediction") -> Channel:
        """Give name, unit and long name of a variable."""
        attributes = self._attributes(group, variable)
        return Channel(
            variable,
            str(attributes.get("units", "1")),
            long_name=str(attributes.get("long_name", variable)),
            standard_name=str(attributes.get("standard_name", "")),
        )

    def prediction(self, variable: str, time_index: int) -> np.ndarray:
        """Give all members of one variable at one time, float32 ``[ensemble, y, x]``."""
        field = self._read("prediction", variable, time_index)
        return field if field.ndim == 3 else field[None]

    def truth(self, variable: str, time_index: int) -> np.ndarray:
        """Give the truth of one variable at one time, float32 ``[y, x]``."""
        return self._read("truth", variable, time_index)

    def regression(self, variable: str, time_index: int) -> np.ndarray:
        """Give the regression mean of one variable at one time, float32 ``[y, x]``."""
        return self._read("regression", variable, time_index)

    def input(self, variable: str, time_index: int) -> np.ndarray:
        """Give the coarse input on the output grid, float32 ``[y, x]``."""
        return self._read("input", variable, time_index)
