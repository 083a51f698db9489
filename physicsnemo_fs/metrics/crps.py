# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Continuous ranked probability score of ensembles.

For members :math:`x_1 \dots x_m` and truth :math:`y`, with :math:`D = \sum_{i<j} |x_i - x_j|`,

.. math::
    \mathrm{CRPS}_\text{biased} = \frac1m \sum_i |x_i - y| - \frac{D}{m^2}, \qquad
    \mathrm{CRPS}_\text{fair} = \frac1m \sum_i |x_i - y| - \frac{D}{m (m-1)}.

The biased one scores the empirical distribution; its mean falls as members are added. The fair one estimates
the score of the distribution that the members are drawn from, without bias for every m >= 2 (Ferro 2014,
doi:10.1002/qj.2270). :math:`D` comes from sorted members in O(m log m) (Zamo & Naveau 2018,
doi:10.1007/s11004-017-9709-7). NaN in a member or in the truth gives NaN at that point.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from physicsnemo_fs.errors import InputError

Ensemble = Float[np.ndarray, "member *point"]
Points = Float[np.ndarray, "*point"]


class CRPSTerms(NamedTuple):
    """The two terms that both estimators share.

    Args:
        accuracy: Mean absolute difference between members and truth.
        pair_sum: Sum of absolute differences over all pairs of members.
        members: Number of members.
    """

    accuracy: Points
    pair_sum: Points
    members: int

    @property
    def biased(self) -> Points:
        """CRPS of the empirical distribution of the members."""
        return self.accuracy - self.pair_sum / self.members**2

    @property
    def fair(self) -> Points:
        """Unbiased estimate of the CRPS of the distribution behind the members.

        Raises:
            InputError: If there is one member.
        """
        if self.members < 2:
            raise InputError(
                "the fair CRPS needs at least 2 members: got 1; use the absolute error, which is the CRPS of "
                "a single forecast"
            )
        return self.accuracy - self.pair_sum / (self.members * (self.members - 1))


def crps_terms(ensemble: Ensemble, truth: Points) -> CRPSTerms:
    """Give the terms of the CRPS at every point, in float64.

    Differences to the truth are sorted, not values: a large offset (kelvin) costs no digits.

    Args:
        ensemble: Members first.
        truth: One value for each point.
    """
    if ensemble.shape[1:] != truth.shape or ensemble.shape[0] == 0:
        raise InputError(f"an ensemble must be [member, *truth shape]: got {ensemble.shape} and {truth.shape}")
    deviation = ensemble.astype(np.float64) - truth.astype(np.float64)
    members = len(deviation)
    accuracy = np.abs(deviation).mean(0)
    deviation.sort(axis=0)
    coefficients = 2.0 * np.arange(1, members + 1) - members - 1
    return CRPSTerms(accuracy, np.tensordot(coefficients, deviation, axes=1), members)


def crps_biased(ensemble: Ensemble, truth: Points) -> Points:
    """Give the CRPS of the empirical distribution at every point; for one member the absolute error.

    Example:
        >>> crps_biased(np.array([[1.0], [3.0]]), np.array([2.0]))
        array([0.5])
    """
    return crps_terms(ensemble, truth).biased


def crps_fair(ensemble: Ensemble, truth: Points) -> Points:
    """Give the fair CRPS at every point; it may be negative for a single point.

    Raises:
        InputError: If there is one member.

    Example:
        >>> crps_fair(np.array([[1.0], [3.0]]), np.array([2.0]))
        array([0.])
    """
    return crps_terms(ensemble, truth).fair
