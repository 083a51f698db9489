# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Bilinear interpolation from a latitude-longitude grid to any places."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from physicsnemo_fs.errors import InputError

Reader = Callable[[slice, slice], Float[np.ndarray, "channel row column"]]


class Bilinear:
    """Interpolate from rows of constant latitude and columns of constant longitude.

    Args:
        latitude: Degrees north of each row, ascending or descending.
        longitude: Degrees east of each column, ascending.
        to_latitude: Degrees north of the wanted places.
        to_longitude: Degrees east of them, by the same convention.

    Raises:
        InputError: If a place lies outside.

    Example:
        >>> place = np.array([[0.5]]), np.array([[12.0]])
        >>> bilinear = Bilinear(np.array([1.0, 0.0]), np.array([10.0, 20.0]), *place)
        >>> field = np.array([[[10.0, 20.0], [0.0, 10.0]]], np.float32)
        >>> bilinear(lambda rows, columns: field[:, rows, columns]).tolist()
        [[[7.0]]]
    """

    def __init__(
        self,
        latitude: Float[np.ndarray, " row"],
        longitude: Float[np.ndarray, " column"],
        to_latitude: Float[np.ndarray, "y x"],
        to_longitude: Float[np.ndarray, "y x"],
    ):
        self._rows, self._down = _between(latitude, to_latitude, "latitude")
        self._columns, self._right = _between(longitude, to_longitude, "longitude")

    def __call__(
        self, read: Reader, window: tuple[slice, slice] = (slice(None), slice(None))
    ) -> Float[np.ndarray, "channel y x"]:
        """Give the values in a window of the places, from the rows and columns that they lie between."""
        rows, columns = self._rows[window], self._columns[window]
        top, left = int(rows.min()), int(columns.min())
        field = read(slice(top, int(rows.max()) + 2), slice(left, int(columns.max()) + 2))
        rows, columns, down, right = rows - top, columns - left, self._down[window], self._right[window]
        upper = field[:, rows, columns] * (1 - right) + field[:, rows, columns + 1] * right
        lower = field[:, rows + 1, columns] * (1 - right) + field[:, rows + 1, columns + 1] * right
        return upper * (1 - down) + lower * down


def _between(
    axis: Float[np.ndarray, " point"], places: Float[np.ndarray, "y x"], name: str
) -> tuple[Int[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
    sign = 1.0 if axis[-1] > axis[0] else -1.0
    rising = sign * axis
    if len(axis) < 2 or not (np.diff(rising) > 0).all():
        raise InputError(f"{name} of the input must ascend or descend: it does not; give the published stores")
    if places.min() < axis.min() or places.max() > axis.max():
        raise InputError(
            f"the input must cover the target: its {name} runs from {axis.min():g} to {axis.max():g}, the target's "
            f"from {places.min():g} to {places.max():g}; choose a smaller window"
        )
    index = np.clip(np.searchsorted(rising, sign * places, side="right") - 1, 0, len(axis) - 2)
    share = (sign * places - rising[index]) / (rising[index + 1] - rising[index])
    return index, share.astype(np.float32)
