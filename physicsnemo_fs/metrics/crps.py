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

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.members import Ensemble, Points, member_sums, pair_weights

TensorEnsemble = Float[torch.Tensor, "member *point"]
TensorPoints = Float[torch.Tensor, "*point"]


class CRPSTerms(NamedTuple):
    """The two terms that both estimators share, arrays or tensors.

    Args:
        accuracy: Mean absolute difference between members and truth.
        pair_sum: Sum of absolute differences over all pairs of members.
        members: Number of members.
    """

    accuracy: Any
    pair_sum: Any
    members: int

    @property
    def biased(self) -> Any:
        """CRPS of the empirical distribution of the members."""
        return self.accuracy - self.pair_sum / self.members**2

    @property
    def fair(self) -> Any:
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


def crps_terms(ensemble: Ensemble | TensorEnsemble, truth: Points | TensorPoints) -> CRPSTerms:
    """Give the terms of the CRPS at every point, in float64.

    Differences to the truth are summed, not values: a large offset (kelvin) costs no digits.

    Args:
        ensemble: Members first; numpy, or torch (then on its device and differentiable).
        truth: One value for each point, in the same unit.

    Raises:
        InputError: If shapes do not fit or there is no member.
    """
    if isinstance(ensemble, torch.Tensor):
        return _tensor_terms(ensemble, torch.as_tensor(truth))
    sums = member_sums(ensemble, np.asarray(truth))
    return CRPSTerms(sums.accuracy, sums.pair_sum, sums.members)


def _tensor_terms(ensemble: TensorEnsemble, truth: TensorPoints) -> CRPSTerms:
    if ensemble.shape[1:] != truth.shape or ensemble.shape[0] == 0:
        raise InputError(
            f"an ensemble must be [member, *truth shape]: got {tuple(ensemble.shape)} and {tuple(truth.shape)}"
        )
    deviation = torch.sort(ensemble.double() - truth.double(), dim=0).values
    weights = torch.as_tensor(pair_weights(len(deviation)), device=deviation.device)
    return CRPSTerms(deviation.abs().mean(0), torch.tensordot(weights, deviation, dims=1), len(deviation))


def crps_biased(ensemble: Ensemble | TensorEnsemble, truth: Points | TensorPoints) -> Points | TensorPoints:
    """Give the CRPS of the empirical distribution at every point; for one member the absolute error.

    Args:
        ensemble: Members first, numpy or torch.
        truth: One value for each point, in the same unit, which is also the score's.

    Example:
        >>> crps_biased(np.array([[1.0], [3.0]]), np.array([2.0]))
        array([0.5])
        >>> crps_biased(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0])).tolist()
        [0.5]
    """
    return crps_terms(ensemble, truth).biased


def crps_fair(ensemble: Ensemble | TensorEnsemble, truth: Points | TensorPoints) -> Points | TensorPoints:
    """Give the fair CRPS at every point; it may be negative for a single point.

    Args:
        ensemble: Members first, numpy or torch.
        truth: One value for each point, in the same unit, which is also the score's.

    Raises:
        InputError: If there is one member.

    Example:
        >>> crps_fair(np.array([[1.0], [3.0]]), np.array([2.0]))
        array([0.])
    """
    return crps_terms(ensemble, truth).fair


def threshold_weighted_crps(ensemble: Ensemble, truth: Points, threshold: float) -> CRPSTerms:
    r"""Give the terms of the CRPS of what lies above a threshold.

    .. math:: \mathrm{twCRPS} = \int_t^\infty (F(z) - 1[y \le z])^2 dz
        = \mathrm{CRPS}(\max(x_i, t), \max(y, t))

    (Gneiting & Ranjan 2011, doi:10.1198/jbes.2010.08110; Allen et al. 2023, doi:10.1137/22M1532184). NaN in a
    member or in the truth gives NaN at that point.

    Args:
        ensemble: Members first.
        truth: One value for each point, in the same unit.
        threshold: t, in the same unit.

    Returns:
        Terms; ``.fair`` and ``.biased`` are the two estimators.

    Example:
        >>> threshold_weighted_crps(np.array([[1.0], [3.0]]), np.array([0.0]), threshold=2.0).biased
        array([0.25])
    """
    sums = member_sums(ensemble, truth, (threshold,))
    return CRPSTerms(sums.tail_accuracy[0], sums.tail_pair_sum[0], sums.members)
