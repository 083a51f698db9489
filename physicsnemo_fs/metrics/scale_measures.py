# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Measures by scale: power spectra, energy and enstrophy, CRPS of pooled fields."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from physicsnemo_fs.metrics.crps import CRPSTerms
from physicsnemo_fs.metrics.flow import energy_spectrum, enstrophy_spectrum
from physicsnemo_fs.metrics.measures import Area, Context, Forecast, Sums, identity
from physicsnemo_fs.metrics.members import member_sums
from physicsnemo_fs.metrics.pooling import Pooling, pool
from physicsnemo_fs.metrics.spectra import (
    log_spectral_distance,
    max_spectrum_error,
    mean_spectrum_error,
    radial_power_spectrum,
    wavenumber_shells,
    window_for,
)
from physicsnemo_fs.metrics.statistics import FieldSum, FloatArray, Metric, absolute_ratio


class Spectra:
    r"""Power by scale, of the whole domain: areas have none.

    With P and :math:`P_t` the radial power spectra of members and truth (:mod:`~physicsnemo_fs.metrics.spectra`):

    - ``spectrum_error_mean``, ``spectrum_error_max``: mean and largest
      :math:`|10 \log_{10} (\bar P_j / \bar P_{t,j})|` over shells j, of the spectra's means over members and cases.
    - ``ralsd``: :math:`\sqrt{\frac1K \sum_j (10 \log_{10} P_j / P_{t,j})^2}` of each member and case, then the mean.

    Shapes: fields ``[member, height, width]`` and ``[height, width]``; spectra ``[shell]``.
    Units: dB.
    Missing values: cases with a NaN are left out; masks and weights do not apply.
    Estimator: bounded domains are tapered with a Hann window, on the grid's true distances.
    Reference: Harris et al. 2022, doi:10.1029/2022MS003120.

    Example:
        >>> from physicsnemo_fs.data.types import Grid
        >>> from physicsnemo_fs.metrics.scorecard import Scorecard
        >>> truth = np.random.default_rng(0).normal(size=(8, 8))
        >>> card = Scorecard(Grid((8, 8), (1.0, 1.0)), members=1)
        >>> card.add(np.datetime64("2020-01-01"), 10 * truth[None], truth)
        >>> round(float(card.metrics["ralsd"].pooled(card.statistics)), 6)
        20.0
    """

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Sum power spectra; cases with missing points are left out."""
        if area.name:
            return
        grid = forecast.grid
        shells = wavenumber_shells(grid.shape, grid.extent)
        if not forecast.complete:
            nothing = FieldSum(np.zeros(len(shells.wavenumber)), 0.0, missing=1)
            yield from (("power", nothing), ("truth_power", nothing), ("log_distance", FieldSum(0.0, 0.0, 1)))
            return
        window = window_for(grid)
        power = radial_power_spectrum(forecast.members, grid.extent, window)
        truth = radial_power_spectrum(forecast.truth, grid.extent, window)
        inside = np.arange(1, shells.complete + 1)
        distance = np.asarray(log_spectral_distance(power, np.broadcast_to(truth, power.shape), inside))
        known = distance[~np.isnan(distance)]
        yield "power", FieldSum(power.mean(0), 1.0)
        yield "truth_power", FieldSum(truth, 1.0)
        yield "log_distance", FieldSum(float(known.sum()), float(known.size), int(distance.size - known.size))

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give errors of the mean spectrum and the mean distance of single spectra."""
        if context.area:
            return
        shells = context.shells
        span = f"shells {shells[0]}-{shells[-1]}" if shells.size else "no shells"
        for kind, function in (("mean", mean_spectrum_error), ("max", max_spectrum_error)):
            yield Metric(
                f"spectrum_error_{kind}",
                ("power", "truth_power"),
                partial(function, shells=shells),
                f"{kind} |dB| of the mean spectrum, {span}",
                "dB",
            )
        yield Metric("ralsd", ("log_distance",), identity, "mean over members of the log-spectral distance", "dB")


class PooledCRPS:
    """CRPS of fields pooled over blocks: from which scale on is the forecast right?

    - ``crps_fair_mean<n>``, ``crps_biased_mean<n>``: of means over n x n points.
    - ``crps_fair_max<n>``, ``crps_biased_max<n>``: of the largest values there.

    Shapes: fields ``[member, height, width]`` and ``[height, width]``; one sum for each case.
    Units: that of the variable.
    Missing values: blocks with a NaN are skipped and counted; those not whole inside a mask or area do not count.
    Estimator: fair and biased as at points; the fair one is undefined for one member.
    Reference: Ravuri et al. 2021, doi:10.1038/s41586-021-03854-z.

    Example:
        >>> from physicsnemo_fs.data.types import Grid
        >>> from physicsnemo_fs.metrics.measures import Setting
        >>> from physicsnemo_fs.metrics.scorecard import Scorecard
        >>> card = Scorecard(Grid((4, 4), (1.0, 1.0)), members=1, setting=Setting(pooling=(2,)))
        >>> card.add(np.datetime64("2020-01-01"), np.eye(4)[None], np.zeros((4, 4)))
        >>> [float(card.metrics[f"crps_biased_{kind}2"].pooled(card.statistics)) for kind in ("mean", "max")]
        [0.25, 0.5]
    """

    KINDS: tuple[Pooling, ...] = ("mean", "max")

    def __init__(self, sizes: tuple[int, ...]):
        self.sizes = sizes

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Sum the CRPS of pooled fields, both estimators."""
        for size in self.sizes:
            blocks = area.pooled(size)
            for kind in self.KINDS:
                sums = _pooled_sums(forecast, size, kind)
                crps = CRPSTerms(sums.accuracy, sums.pair_sum, forecast.count)
                yield f"crps_biased_{kind}{size}", blocks.sum(crps.biased)
                if forecast.count > 1:
                    yield f"crps_fair_{kind}{size}", blocks.sum(crps.fair)

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give them."""
        for size in self.sizes:
            for kind in self.KINDS:
                for estimator in ("fair", "biased"):
                    name = f"crps_{estimator}_{kind}{size}"
                    yield Metric(name, (name,), identity, f"{estimator}; {kind} over {size} x {size} points")


def _pooled_sums(forecast: Forecast, size: int, kind: Pooling):
    return member_sums(pool(forecast.members, size, kind), pool(forecast.truth, size, kind))


class Flow:
    """Energy and enstrophy by scale, of a vorticity.

    - ``energy_ratio``, ``enstrophy_ratio``: the members' over the truth's, summed over shells from 1
      (:mod:`~physicsnemo_fs.metrics.flow`).

    Shapes: fields ``[member, height, width]`` and ``[height, width]``; spectra ``[shell]``.
    Units: 1.
    Missing values: cases with a NaN are left out.
    Estimator: spectra are pooled over members and cases before the ratio.
    Reference: Kraichnan & Montgomery 1980, doi:10.1088/0034-4885/43/5/001.

    Example:
        >>> from physicsnemo_fs.data.types import Grid
        >>> from physicsnemo_fs.metrics.measures import Setting
        >>> from physicsnemo_fs.metrics.scorecard import Scorecard
        >>> truth = np.random.default_rng(0).normal(size=(8, 8))
        >>> card = Scorecard(Grid((8, 8), (1.0, 1.0)), members=1, setting=Setting(flow=True))
        >>> card.add(np.datetime64("2020-01-01"), 2 * truth[None], truth)
        >>> round(float(card.metrics["enstrophy_ratio"].pooled(card.statistics)), 6)
        4.0
    """

    def sums(self, forecast: Forecast, area: Area) -> Sums:
        """Need no sums but the power spectra."""
        yield from ()

    def metrics(self, context: Context) -> Iterator[Metric]:
        """Give errors of both spectra's totals and of their shells."""
        if context.area:
            return
        wavenumber = wavenumber_shells(context.grid.shape, context.grid.extent).wavenumber
        energy = partial(_total_ratio, spectrum=partial(energy_spectrum, wavenumber=wavenumber))
        enstrophy = partial(_total_ratio, spectrum=enstrophy_spectrum)
        both = ("power", "truth_power")
        yield Metric("energy_ratio", both, energy, "members' kinetic energy over the truth's", "1", "one")
        yield Metric("enstrophy_ratio", both, enstrophy, "members' enstrophy over the truth's", "1", "one")


def _total_ratio(power: np.ndarray, truth_power: np.ndarray, spectrum) -> FloatArray:
    return absolute_ratio(spectrum(power)[..., 1:].sum(-1), spectrum(truth_power)[..., 1:].sum(-1))
