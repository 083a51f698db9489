# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Does the spread mean what it says: ranks of an exchangeable truth, and error over spread."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.io.foreign import EnsembleSource
from physicsnemo_fs.metrics.bootstrap import Interval, Resampling, block_bootstrap

SPREAD_BINS = 10
TIMES_FOR_BINS = 16
SCATTER_BINS = 90


@dataclass(frozen=True)
class Calibration:
    """Does the spread mean what it says.

    Args:
        rank_band: Half width of the 95 % band of each rank's share if truth and members were exchangeable.
        spread: Corrected ensemble spread in each bin of points with like spread.
        error: RMSE of the ensemble mean in each bin, with its interval.
    """

    rank_band: Float[np.ndarray, " rank"]
    spread: Float[np.ndarray, " bin"]
    error: tuple[Interval, ...]


@dataclass(frozen=True)
class Scatter:
    """How often each mean of the members meets each truth.

    Args:
        edges: Edges of the bins of both.
        counts: Points in each pair of bins, those of the truth first.
        times: Number of times that were read.
    """

    edges: Float[np.ndarray, " edge"]
    counts: Float[np.ndarray, "bin bin"]
    times: int


def read_scatter(file: EnsembleSource, variable: str, most_times: int = TIMES_FOR_BINS) -> Scatter | None:
    """Count pairs of truth and mean of the members at some times, evenly spread.

    Args:
        file: A file with truth.
        variable: Name of the variable.
        most_times: Most times to read.

    Returns:
        The counts; ``None`` where no point has both.
    """
    chosen = evenly_spread(file.times.size, min(most_times, file.times.size))
    pairs = [_valid_points(file, variable, place) for place in chosen]
    means, truths = (np.concatenate(part) for part in zip(*((e.mean(axis=0), t) for t, e in pairs), strict=True))
    if not truths.size:
        return None
    low, high = min(means.min(), truths.min()), max(means.max(), truths.max())
    edges = np.linspace(low, high if high > low else low + 1.0, SCATTER_BINS + 1)
    return Scatter(edges, np.histogram2d(truths, means, bins=(edges, edges))[0], len(chosen))


def read_calibration(
    file: EnsembleSource, variable: str, resampling: Resampling, most_times: int | None = None
) -> Calibration:
    """Read every time once and gather ranks and binned spread.

    The band of the rank histogram needs no independence of points: each member in turn takes the truth's
    place, and the scatter of these histograms is that of an exchangeable truth's.

    Args:
        file: A file with truth and at least two members.
        variable: Name of the variable.
        resampling: How to make the intervals; its blocks are the file's.
        most_times: Most times to read, evenly spread; ``None`` for all.
    """
    chosen = evenly_spread(file.times.size, min(most_times or file.times.size, file.times.size))
    members, times, resampling = len(file.members), len(chosen), resampling.at(np.asarray(chosen))
    edges = _spread_edges(file, variable)
    ranks = np.zeros((members + 1, members + 1))
    sums = np.zeros((3, times, edges.size + 1))
    for index, place in enumerate(chosen):
        truth, ensemble = _valid_points(file, variable, place)
        ranks += exchanged_ranks(ensemble, truth, np.random.default_rng([resampling.seed, place]))
        variance = ensemble.var(axis=0, ddof=1)
        bins = np.searchsorted(edges, variance)
        fields = (np.ones_like(variance), variance, (ensemble.mean(axis=0) - truth) ** 2)
        for total, field in zip(sums, fields, strict=True):
            total[index] = np.bincount(bins, field, minlength=edges.size + 1)
    counts, variances, squared_errors = sums[:, :, sums[0].sum(axis=0) > 0]
    variance = variances.sum(axis=0) / counts.sum(axis=0)
    return Calibration(
        rank_band=_rank_band(ranks),
        spread=np.sqrt((members + 1) / members * variance),
        error=tuple(
            block_bootstrap(np.sqrt, [(squared_errors[:, b], counts[:, b])], resampling) for b in range(variance.size)
        ),
    )


def exchanged_ranks(
    ensemble: Float[np.ndarray, "member point"],
    truth: Float[np.ndarray, " point"],
    random: np.random.Generator,
) -> Int[np.ndarray, "who rank"]:
    """Count the ranks of each member, and last of the truth, among all the others.

    Args:
        ensemble: Members at points.
        truth: Truth at the same points.
        random: Source of the random ties.

    Example:
        >>> ensemble, truth = np.array([[1.0, 5.0], [2.0, 6.0]]), np.array([0.0, 5.5])
        >>> exchanged_ranks(ensemble, truth, np.random.default_rng(0)).tolist()
        [[1, 1, 0], [0, 0, 2], [1, 1, 0]]
    """
    values = np.concatenate([ensemble, truth[None]])
    order = np.lexsort((random.random(values.shape), values), axis=0)
    return np.stack([np.bincount(row, minlength=len(values)) for row in order], axis=1)


def _rank_band(ranks: np.ndarray) -> Float[np.ndarray, " rank"]:
    """Give 1.96 standard deviations, even in the ranks; members' shares correlate with -1/m and look wider."""
    members = len(ranks) - 1
    share = ranks[:-1] / ranks[:-1].sum(axis=1, keepdims=True)
    variance = share.var(axis=0, ddof=1) * members / (members + 1)
    return 1.96 * np.sqrt((variance + variance[::-1]) / 2)


def _spread_edges(file: EnsembleSource, variable: str) -> Float[np.ndarray, " edge"]:
    """Give the inner edges of bins that hold about equally many points."""
    times = np.unique(np.linspace(0, file.times.size - 1, TIMES_FOR_BINS).astype(int))
    variances = [_valid_points(file, variable, int(index))[1].var(axis=0, ddof=1) for index in times]
    quantiles = np.quantile(np.concatenate(variances), np.arange(1, SPREAD_BINS) / SPREAD_BINS)
    return np.unique(quantiles)


def _valid_points(file: EnsembleSource, variable: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    truth, ensemble = file.truth(variable, index), file.prediction(variable, index)
    valid = ~(np.isnan(truth) | np.isnan(ensemble).any(axis=0))
    return truth[valid].astype(np.float64), ensemble[:, valid].astype(np.float64)
