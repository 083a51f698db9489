# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Measures of distributions: of all values, of images of phases."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from physicsnemo_fs.metrics.distributions import histogram, histogram_distance, log_histogram_bias
from physicsnemo_fs.metrics.measures import Area, Context, Forecast, Sums
from physicsnemo_fs.metrics.phases import circular_moments
from physicsnemo_fs.metrics.statistics import FieldSum, Metric


class Histograms:
    r"""Distributions of values of members and truth, at all points and cases.

    - ``wasserstein``: :math:`\int |F(z) - G(z)| dz` of the two distributions.
    - ``log_histogram_bias``: mean over bins of :math:`|\log_{10} (p / q)|`, so that tails count like the bulk.

    Shapes: fields ``[member, height, width]`` and ``[height, width]``; counts ``[bin]`` add up over cases.
    Units: that of the variable; 1 for ``log_histogram_bias``.
    Missing values: points with NaN in the truth or a member are skipped.
    Estimator: even bins; distances below their width are not resolved, outer bins hold what lies beyond.
    Reference: Villani 2009, doi:10.1007/978-3-540-71050-9, remark 6.5.

    Example:
        >>> from physicsnemo_fs.data.types import Grid
        >>> from physicsnemo_fs.metrics.measures import Setting
        >>> from physicsnemo_fs.metrics.scorecard import Scorecard
        >>> card = Scorecard(Grid((4, 4), (1.0, 1.0)), members=1, setting=Setting(edges=(0.0, 1.0, 2.0, 3.0)))
        >>> card.add(np.datetime64("2020-01-01"), np.full((1, 4, 4), 2.5), np.full((4, 4), 0.5))
        >>> float(card.metrics["wasserstein"].pooled(card.statistics))
        2.0
    """

    def __init__(self, edges: tuple[float, ...]):
        self.edges = np.asarray(edges)

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Count values in bins."""
        valid = area.inside(forecast.truth.shape) & forecast.valid
        yield "histogram", histogram(forecast.members, self.edges, valid, area.weights)
        yield "truth_histogram", histogram(forecast.truth[None], self.edges, valid, area.weights)

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give distances of the two distributions."""
        both, width = ("histogram", "truth_histogram"), float(self.edges[1] - self.edges[0])
        distance = partial(histogram_distance, width=width)
        yield Metric("wasserstein", both, distance, f"distributions of all values, to {width:.3g}")
        yield Metric("log_histogram_bias", both, log_histogram_bias, "mean |log10| over bins of values", "1")


class Phases:
    r"""Circular variance and skewness of each image: values are kept, not only their mean.

    - ``w_var``, ``w_skew``: Wasserstein-1 distances :math:`\int |F(z) - G(z)| dz` between the values of members and of
      truths; ``w_total``: their sum (:mod:`~physicsnemo_fs.metrics.phases`,
      :func:`~physicsnemo_fs.metrics.special.distribution_scores`).

    Shapes: fields ``[member, height, width]`` and ``[height, width]`` in radians; ``[1 + member]`` values a case.
    Units: 1.
    Missing values: cases with a NaN are left out.
    Estimator: all cases and members together, each image one value.
    Reference: Rahman et al. 2022, arXiv:2205.03017; Mardia & Jupp 2000, section 2.3.

    Example:
        >>> from physicsnemo_fs.data.types import Grid
        >>> from physicsnemo_fs.metrics.measures import Setting
        >>> from physicsnemo_fs.metrics.scorecard import Scorecard
        >>> card = Scorecard(Grid((4, 4), (1.0, 1.0)), members=1, setting=Setting(phases=True))
        >>> card.add(np.datetime64("2020-01-01"), np.zeros((1, 4, 4)), np.zeros((4, 4)))
        >>> card.statistics["circular_variance"].sums.tolist()
        [[0.0, 0.0]]
    """

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Keep one value for the truth and one for each member."""
        if area.name:
            return
        images = np.concatenate([forecast.truth[None], forecast.members])
        for name, values in zip(("circular_variance", "circular_skewness"), circular_moments(images), strict=True):
            lacking = bool(np.isnan(values).any())
            kept = np.zeros_like(values) if lacking else values
            yield name, FieldSum(kept, 0.0 if lacking else 1.0, int(lacking))

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Have metrics of distributions only (see :class:`~physicsnemo_fs.metrics.scorecard.Scorecard`)."""
        yield from ()
