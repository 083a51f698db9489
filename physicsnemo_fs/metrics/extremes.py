# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Annual maxima of members and truth, kept as running maxima, which merge exactly in any order."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.statistics import Case

Key = tuple[int, int]
"""Region and calendar year."""


@dataclass
class AnnualMaxima:
    """Largest value of each year at each point.

    Memory is one ensemble for each year and region, in float32, whatever the number of times.

    Args:
        fields: Maxima ``[1 + member, height, width]`` by region and year, the truth first.

    Example:
        >>> maxima = AnnualMaxima()
        >>> for day, value in (("2020-01-01", 1.0), ("2020-07-01", 3.0), ("2021-01-01", 2.0)):
        ...     maxima.add(np.datetime64(day), np.full((1, 1, 1), value + 1), np.full((1, 1), value))
        >>> maxima.pairs()
        {(0, 2020): (4.0, 3.0), (0, 2021): (3.0, 2.0)}
    """

    fields: dict[Key, Float[np.ndarray, "one_and_member height width"]] = field(default_factory=dict)

    def add(
        self,
        time: np.datetime64,
        forecast: Float[np.ndarray, "member height width"],
        truth: Float[np.ndarray, "height width"],
        region: int = 0,
    ) -> None:
        """Take one time in; points with NaN are skipped."""
        self.take(Case.of(time, region), maxima_of(forecast, truth))

    def take(self, case: Case, values: Float[np.ndarray, "one_and_member height width"]) -> None:
        """Take truth and members of one case in, as :func:`maxima_of` gives them."""
        year = np.datetime64(case.time, "ns").astype("datetime64[Y]").astype(np.int64)
        self._take((case.region, int(year) + 1970), values)

    def _take(self, key: Key, values: np.ndarray) -> None:
        known = self.fields.get(key)
        if known is not None and known.shape != values.shape:
            raise InputError(f"annual maxima need equal grids and members: got {known.shape} and {values.shape}")
        self.fields[key] = values if known is None else np.fmax(known, values)

    def merge(self, other: "AnnualMaxima") -> "AnnualMaxima":
        """Give the maxima of both."""
        merged = AnnualMaxima(dict(self.fields))
        for key, values in other.fields.items():
            merged._take(key, values)
        return merged

    def pairs(self) -> dict[Key, tuple[float, float]]:
        """Give the mean annual maximum over points (and members) of forecast and truth, for each region and year."""
        found = {}
        for key, values in sorted(self.fields.items()):
            valid = ~np.isnan(values).any(0)
            truth, forecast = values[0][valid].astype(np.float64), values[1:, valid].astype(np.float64)
            found[key] = (float(forecast.mean()), float(truth.mean())) if valid.any() else (np.nan, np.nan)
        return found

    def maps(
        self, region: int = 0
    ) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "height width"]] | None:
        """Give the annual maximum at each point of a region, mean over years (and members), of forecast and truth.

        Returns:
            Two fields, NaN where a year has no value; ``None`` if the region has no year.

        Example:
            >>> maxima = AnnualMaxima()
            >>> maxima.add(np.datetime64("2020-01-01"), np.array([[[2.0]], [[4.0]]]), np.array([[1.0]]))
            >>> [field.tolist() for field in maxima.maps()]
            [[[3.0]], [[1.0]]]
        """
        years = [values.astype(np.float64) for (where, _), values in sorted(self.fields.items()) if where == region]
        if not years:
            return None
        mean = np.mean(years, axis=0)
        return mean[1:].mean(0), mean[0]


def maxima_of(
    forecast: Float[np.ndarray, "member height width"], truth: Float[np.ndarray, "height width"]
) -> Float[np.ndarray, "one_and_member height width"]:
    """Give truth and members of one time as float32, NaN wherever one of them is."""
    both = np.concatenate([truth[None], forecast]).astype(np.float32)
    both[:, np.isnan(both).any(0)] = np.nan
    return both
