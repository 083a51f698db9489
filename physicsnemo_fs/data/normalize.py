# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Mean and standard deviation of a data set that is read piece by piece."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from physicsnemo_fs.errors import InputError


@dataclass(frozen=True)
class Moments:
    r"""Count, mean and spread of some values, mergeable and exact in float64.

    Two sets merge by (Chan, Golub and LeVeque 1983, Am. Stat. 37, 242-247, eq. 2.1)

    .. math:: \bar x = \bar x_a + \delta \frac{n_b}{n}, \quad M = M_a + M_b + \delta^2 \frac{n_a n_b}{n},
        \quad \delta = \bar x_b - \bar x_a, \quad M = \sum (x - \bar x)^2.

    On a periodic grid that carries all modes of a field, mean and mean square are sums over its Fourier
    modes, so that the statistics do not depend on the grid.

    Args:
        count: Values seen, without missing ones.
        mean: Mean; 0 if nothing was seen.
        squares: Sum of squared deviations from the mean.
        missing: NaN values, which enter nothing else.

    Example:
        >>> whole = Moments().updated([1.0, 2.0, 3.0]).updated([float("nan"), 6.0])
        >>> whole.count, whole.mean, whole.std, whole.missing
        (4, 3.0, 1.8708286933869707, 1)
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    missing: int = 0

    def updated(self, values: ArrayLike) -> "Moments":
        """Give the moments with ``values`` (of any shape) added."""
        return self.merged(moments_of(values))

    def merged(self, other: "Moments") -> "Moments":
        """Give the moments of both sets together."""
        count = self.count + other.count
        if count == 0:
            return Moments(missing=self.missing + other.missing)
        gap = other.mean - self.mean
        share = other.count / count
        return Moments(
            count,
            self.mean + gap * share,
            self.squares + other.squares + gap**2 * self.count * share,
            self.missing + other.missing,
        )

    @property
    def std(self) -> float:
        """Standard deviation of the values themselves (divided by their count).

        Raises:
            InputError: If nothing was seen.
        """
        if self.count == 0:
            raise InputError(f"statistics need a value: got none, and {self.missing} missing; check the variable")
        return float(np.sqrt(self.squares / self.count))


def moments_of(values: ArrayLike) -> Moments:
    """Give the moments of one array, leaving out NaN.

    Example:
        >>> moments_of([[1.0, 3.0]])
        Moments(count=2, mean=2.0, squares=2.0, missing=0)
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    present = flat[~np.isnan(flat)]
    missing = flat.size - present.size
    if present.size == 0:
        return Moments(missing=missing)
    mean = float(present.mean())
    return Moments(present.size, mean, float(np.square(present - mean).sum()), missing)
