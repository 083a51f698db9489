# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Figures of scores: distributions with their tails, reliability, maps, and scores over time."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.colors import LogNorm
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from physicsnemo_fs.metrics.bootstrap import Interval
from physicsnemo_fs.metrics.events import reliability_curve
from physicsnemo_fs.pipelines.figures import BLUE, INK, STYLE, Panel, Scale, panel_figure, spread_scale

LEAST_SHARE = 1e-8
RARE = 1e-4
"""Share of points below which a forecast probability is too rare to draw how often the event happened."""


@matplotlib.rc_context(STYLE)
def distribution_figure(
    values: Float[np.ndarray, " bin"],
    truth: Float[np.ndarray, " bin"],
    models: Mapping[str, tuple[Float[np.ndarray, " bin"], str, str]],
    label: str,
) -> Figure:
    """Draw distributions of values on a logarithmic axis, so that the tails are seen.

    Args:
        values: Middle of each bin.
        truth: Share of the truth's values in each.
        models: Share, colour and line style by label.
        label: Name of the variable, with unit.
    """
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axis = figure.subplots()
    width = values[1] - values[0]
    known = {"Truth": (truth, INK, "-"), **models}
    for name, (share, colour, style) in known.items():
        density = np.where(share > LEAST_SHARE, share, np.nan) / width
        thick = 3.2 if name == "Truth" else 1.6
        axis.semilogy(values, density, style, color=colour, lw=thick, alpha=0.85, label=name)
    axis.set_xlabel(label)
    axis.set_ylabel("density")
    axis.minorticks_off()
    axis.legend(loc="best")
    return figure


@matplotlib.rc_context(STYLE)
def reliability_figure(tables: Mapping[str, Float[np.ndarray, "count 2"]]) -> Figure:
    """Draw how often events happen over how probable they were forecast, and how often each was forecast.

    Args:
        tables: Table of forecasts and occurrences by label of the event.
    """
    figure = Figure(figsize=(8.4, 3.5), layout="constrained")
    axis, beside = figure.subplots(1, 2, width_ratios=(1.5, 1))
    axis.plot([0, 1], [0, 1], "--", color=INK, lw=0.9)
    colours = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.85, len(tables)))
    for colour, (label, table) in zip(colours, tables.items(), strict=True):
        probability = np.linspace(0, 1, len(table))
        curve = np.where(table[:, 0] > RARE, reliability_curve(table), np.nan)
        axis.plot(probability, curve, "o-", ms=4, color=colour, label=label)
        beside.semilogy(probability, np.where(table[:, 0] > 0, table[:, 0], np.nan), "o-", ms=3, color=colour)
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlabel("share of members with the event")
    axis.set_ylabel("how often it happened")
    axis.legend(loc="upper left")
    beside.set_xlabel("share of members with the event")
    beside.set_ylabel("share of points")
    beside.minorticks_off()
    return figure


@matplotlib.rc_context(STYLE)
def scatter_figure(edges: Float[np.ndarray, " edge"], counts: Float[np.ndarray, "bin bin"], label: str) -> Figure:
    """Draw how often each mean of the members meets each truth, with the diagonal.

    Args:
        edges: Edges of the bins of both.
        counts: Points in each pair of bins, those of the truth first.
        label: Name of the variable, with unit.
    """
    figure = Figure(figsize=(4.3, 3.6), layout="constrained")
    axis = figure.subplots()
    shown = np.ma.masked_equal(counts.T, 0)
    mesh = axis.pcolormesh(edges, edges, shown, norm=LogNorm(1, max(counts.max(), 2)), cmap="viridis", rasterized=True)
    axis.plot(edges[[0, -1]], edges[[0, -1]], "--", color=INK, lw=0.9)
    axis.set_aspect("equal")
    axis.set_xlabel(f"truth: {label}")
    axis.set_ylabel("mean of the members")
    bar = figure.colorbar(mesh, ax=axis, aspect=25)
    bar.set_label("points")
    bar.outline.set_visible(False)
    return figure


@matplotlib.rc_context(STYLE)
def rank_distribution_figure(share: Float[np.ndarray, " rank"]) -> Figure:
    """Draw how often the truth's rank is below each share of the ranks, with the diagonal of a calibrated one.

    Args:
        share: Share of each rank.
    """
    figure = Figure(figsize=(4.3, 3.2), layout="constrained")
    axis = figure.subplots()
    nominal = np.arange(share.size + 1) / share.size
    axis.plot([0, 1], [0, 1], "--", color=INK, lw=0.9)
    axis.plot(nominal, np.concatenate([[0.0], np.cumsum(share)]), "o-", ms=3, color=BLUE)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("probability forecast")
    axis.set_ylabel("how often the truth is below")
    return figure


def maxima_figures(
    forecast: Float[np.ndarray, "height width"], truth: Float[np.ndarray, "height width"], label: str, unit: str
) -> list[Figure]:
    """Draw annual maxima of truth and members on one scale, and their difference.

    Args:
        forecast: Annual maximum at each point, mean over members and years.
        truth: The truth's.
        label: Name of the variable, with unit.
        unit: Its unit in brackets, or empty.
    """
    low, high = (float(value) for value in np.nanpercentile(np.stack([forecast, truth]), [0.5, 99.5]))
    scale = Scale("viridis", low, high, label)
    limit = float(np.nanpercentile(np.abs(forecast - truth), 99.5)) or 1.0
    change = Scale("RdBu_r", -limit, limit, f"difference {unit}".strip())
    panels = [
        Panel("truth", truth, scale),
        Panel("members", forecast, scale),
        Panel("members minus truth", forecast - truth, change),
    ]
    return [panel_figure([[panel]], 3.6) for panel in panels]


@matplotlib.rc_context(STYLE)
def lead_figure(lines: Mapping[str, tuple[Sequence[float], Sequence[Interval], str]], label: str) -> Figure:
    """Draw scores over lead time, with intervals.

    Args:
        lines: Lead times in hours, score at each and colour, by label.
        label: What the axis says, with unit.
    """
    figure = Figure(figsize=(8.4, 3.0), layout="constrained")
    axis = figure.subplots()
    for name, (hours, values, colour) in lines.items():
        axis.plot(hours, [value.estimate for value in values], "o-", ms=4, color=colour, label=name)
        low, high = [value.low for value in values], [value.high for value in values]
        axis.fill_between(hours, low, high, color=colour, alpha=0.18, lw=0)
    axis.set_xlabel("lead time [h]")
    axis.set_ylabel(label)
    axis.set_ylim(0, None)
    axis.legend(loc="best")
    return figure


def map_figure(field: Float[np.ndarray, "height width"], name: str, label: str) -> Figure:
    """Draw a mean score at each point, red and blue round zero if it has both signs.

    Args:
        field: The mean score.
        name: What it is.
        label: What the colour bar says, with unit.
    """
    limit = float(np.nanpercentile(np.abs(field), 99.5)) or 1.0
    signed = Scale("RdBu_r", -limit, limit, label)
    return panel_figure([[Panel(name, field, signed if np.nanmin(field) < 0 else spread_scale(field, label))]], 3.6)


@matplotlib.rc_context(STYLE)
def series_figure(
    times: np.ndarray, models: Mapping[str, tuple[np.ndarray, Interval, str]], label: str, joined: bool = True
) -> Figure:
    """Draw a score over time, with its mean and the interval of the mean at the right.

    Args:
        times: Times, ``datetime64``.
        models: Score at each time, interval of its mean, and colour, by label.
        label: Name of the score, with unit.
        joined: Whether a line joins neighbouring times: they are of one series.
    """
    figure = Figure(figsize=(8.4, 3.0), layout="constrained")
    axis, beside = figure.subplots(1, 2, width_ratios=(7, 1), sharey=True)
    order = np.argsort(times, kind="stable")
    marker = "o" if not joined else "o-" if times.size < 60 else "-"
    for place, (name, (values, mean, colour)) in enumerate(models.items()):
        axis.plot(times[order], values[order], marker, ms=3.5, lw=1.2, color=colour, label=name)
        if not np.isnan(mean.low):
            beside.plot([place, place], [mean.low, mean.high], color=colour, lw=2)
        beside.plot(place, mean.estimate, "o", ms=5, color=colour)
    locator = AutoDateLocator(maxticks=8)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axis.set_ylabel(label)
    axis.set_ylim(0, None)
    axis.legend(loc="best")
    beside.set_xlim(-0.7, len(models) - 0.3)
    beside.set_xticks([])
    beside.set_xlabel("mean")
    return figure
