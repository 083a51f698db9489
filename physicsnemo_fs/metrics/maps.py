# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Maps of mean scores, as sums of whole numbers: they add up to the same bits in any order.

A value is rounded to a multiple of a quantum, some 6e-8 of the variable's range, as single precision rounds it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from physicsnemo_fs.metrics.crps import CRPSTerms
from physicsnemo_fs.metrics.measures import Forecast

BITS = 24


def quantum_for(span: float) -> float:
    """Give the quantum for values of a range: a power of two, :math:`2^{-24}` of it or less.

    Example:
        >>> quantum_for(100.0) == 2.0**-18
        True
    """
    return 2.0 ** (math.floor(math.log2(span)) - BITS) if span > 0 else 2.0**-BITS


def case_maps(forecast: Forecast, quantum: float) -> dict[str, Int[np.ndarray, "height width"]]:
    """Give a case's maps: ``crps`` (fair; of one member its absolute error), ``error`` of the mean, ``count``."""
    sums = forecast.sums
    terms = CRPSTerms(sums.accuracy, sums.pair_sum, forecast.count)
    fields = {"crps": terms.fair if forecast.count > 1 else terms.biased, "error": sums.error}
    valid = forecast.valid
    maps = {name: np.rint(np.where(valid, values, 0.0) / quantum).astype(np.int64) for name, values in fields.items()}
    return maps | {"count": valid.astype(np.int64)}


@dataclass(frozen=True)
class Maps:
    """Sums of maps over cases.

    Args:
        quantum: What the numbers are multiples of.
        sums: Sums by name.
    """

    quantum: float
    sums: Mapping[str, Int[np.ndarray, "height width"]] = field(default_factory=dict)

    def plus(self, maps: Mapping[str, Int[np.ndarray, "height width"]]) -> "Maps":
        """Give the sums with further maps."""
        new = {name: values for name, values in maps.items() if name not in self.sums}
        added = {name: values + maps[name] if name in maps else values for name, values in self.sums.items()}
        return Maps(self.quantum, added | new)

    def mean(self, name: str) -> Float[np.ndarray, "height width"]:
        """Give the mean over cases, in the variable's unit; NaN where nothing counted."""
        count = self.sums["count"]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(count > 0, self.sums[name] * self.quantum / count, np.nan)
