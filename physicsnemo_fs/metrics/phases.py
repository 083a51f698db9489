# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Scores of interferograms: one circular variance and one circular skewness for each image of phases.

With the trigonometric moments :math:`R_p e^{i \theta_p} = \overline{e^{i p \phi}}` over the points of an image,

.. math:: v = 1 - R_1, \qquad s = \frac{R_2 \sin(\theta_2 - 2 \theta_1)}{(1 - R_1)^{3/2}}

(Mardia & Jupp 2000, section 2.3). ``w_var`` and ``w_skew`` are the Wasserstein-1 distances between the values of
generated and of true images, ``w_total`` their sum (Rahman et al. 2022, arXiv:2205.03017).
"""

import numpy as np
from jaxtyping import Float


def circular_moments(
    phase: Float[np.ndarray, "*lead height width"],
) -> tuple[Float[np.ndarray, "*lead"], Float[np.ndarray, "*lead"]]:
    """Give circular variance and skewness of each image; both without unit.

    Args:
        phase: Angles in radians; a NaN makes its image NaN.

    Example:
        >>> variance, skewness = circular_moments(np.array([[0.0, np.pi / 3, -np.pi / 3]]))
        >>> round(float(variance), 12), abs(round(float(skewness), 12))
        (0.333333333333, 0.0)
    """
    first, second = (np.exp(1j * order * phase.astype(np.float64)).mean((-2, -1)) for order in (1, 2))
    variance = np.asarray(1 - np.abs(first))
    turned = second * np.exp(-2j * np.angle(first))
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = np.where(variance > 1e-12, turned.imag / variance**1.5, 0.0)
    return variance, np.where(np.isnan(variance), np.nan, skewness)


def phase_of(
    cosine: Float[np.ndarray, "*lead height width"], sine: Float[np.ndarray, "*lead height width"]
) -> Float[np.ndarray, "*lead height width"]:
    """Give the phase in radians of two channels that need not be normalised.

    Example:
        >>> float(phase_of(np.array([[0.0]]), np.array([[2.0]]))[0, 0]) == np.pi / 2
        True
    """
    return np.arctan2(sine, cosine)
