# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Seams: do the windows that a field was made of show in its gradient?"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.measures import Area, Context, Forecast, Sums
from physicsnemo_fs.metrics.statistics import FieldSum, FloatArray, Metric
from physicsnemo_fs.nn.windows import WindowGrid

NEIGHBOURS = 4
"""Jumps on either side of a border that it is compared with."""


def seam_sums(
    fields: Float[np.ndarray, "*lead height width"], windows: WindowGrid
) -> tuple[Float[np.ndarray, "*lead"], Float[np.ndarray, "*lead"]]:
    r"""Give the mean squared jump across the windows' borders, and that of the jumps near them.

    A jump is :math:`u_x - u_{x-1}` across a line of the grid. A border is a line where the weight of a window starts or
    ends (the edge of the window, less its margin). Each border is compared with the four jumps on either side of it
    that lie on no border themselves, so that fields whose roughness varies over the domain are judged where they are.

    Args:
        fields: Fields on the whole domain; not a number where there is no value.
        windows: The windows that they were made of.

    Returns:
        Both means, zero where there is no border: sum them over samples before their ratio is taken.

    Raises:
        InputError: If the fields are not of the windows' domain.

    Example:
        >>> windows = WindowGrid((24, 24), (12, 12), (0, 0))
        >>> across, near = seam_sums(np.add.outer(np.arange(24.0), np.arange(24.0)), windows)
        >>> float(across / near)
        1.0
    """
    if fields.shape[-2:] != windows.shape:
        raise InputError(
            f"the fields must be of the windows' domain: got {fields.shape[-2:]} and {windows.shape}; give the layout "
            "that the file was made with"
        )
    wraps = windows.boundary == "periodic"
    across, near, weight = 0.0, 0.0, 0
    for axis, borders in ((-2, windows.rows.borders), (-1, windows.columns.borders)):
        others = _near(borders, fields.shape[axis], wraps)
        if not others:
            continue
        squares = np.square(np.moveaxis(fields - np.roll(fields, 1, axis), axis, -1), dtype=np.float64)
        across = across + np.nanmean(squares[..., list(borders)], axis=(-2, -1)) * len(borders)
        near = near + np.nanmean(squares[..., others], axis=(-2, -1)) * len(borders)
        weight += len(borders)
    if weight == 0:
        return np.zeros(fields.shape[:-2]), np.zeros(fields.shape[:-2])
    return np.asarray(across / weight), np.asarray(near / weight)


def seam_ratio(fields: Float[np.ndarray, "*lead height width"], windows: WindowGrid) -> float:
    r"""Give the root mean square jump across borders relative to the jumps near them: 1 where no seam shows.

    Args:
        fields: Fields on the whole domain.
        windows: The windows that they were made of.

    Raises:
        InputError: If the fields are not of the windows' domain.

    Example:
        >>> windows = WindowGrid((16, 32), (16, 16), (0, 0))
        >>> steps = np.tile(np.repeat([0.0, 3.0], 16), (16, 1)) + np.arange(32.0)  # a step of 3 on a slope of 1
        >>> seam_ratio(steps, windows)
        4.0
    """
    across, near = seam_sums(fields, windows)
    total = float(np.nansum(near))
    return float(np.sqrt(np.nansum(across) / total)) if total > 0 else float("nan")


class Seams:
    """The jump across the borders of windows in members, judged by the truth's at the same places.

    Args:
        windows: The windows that the members were made of.
    """

    def __init__(self, windows: WindowGrid):
        self.windows = windows

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Keep the mean squared jumps of members and truth, across borders and near them."""
        if area.name:
            return
        for prefix, fields in (("", forecast.members), ("truth_", forecast.truth[None])):
            for name, values in zip(("seam_across", "seam_near"), seam_sums(fields, self.windows), strict=True):
                value = float(np.mean(values))
                known = np.isfinite(value)
                yield prefix + name, FieldSum(np.float64(value if known else 0.0), float(known), int(not known))

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give the ratio of the two, over the truth's."""
        if not context.area:
            statistics = ("seam_across", "seam_near", "truth_seam_across", "truth_seam_near")
            how = "members' jump across window borders relative to jumps near them, over the truth's"
            yield Metric("seam_ratio", statistics, _ratio_to_truth, how, "1", "one")


def _ratio_to_truth(
    across: FloatArray, near: FloatArray, truth_across: FloatArray, truth_near: FloatArray
) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.asarray(across) * truth_near / (np.asarray(near) * truth_across))


def _near(borders: tuple[int, ...], size: int, wraps: bool) -> list[int]:
    """Give the lines near the borders that are none; line 0 exists on a periodic axis only."""
    lines = {b + d for b in borders for d in range(-NEIGHBOURS, NEIGHBOURS + 1)}
    lines = {line % size for line in lines} if wraps else {line for line in lines if 0 < line < size}
    return sorted(lines - set(borders))
