# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Figures of fields and scores, as matplotlib objects.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; fields are red and blue
round zero, or viridis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.metrics.bootstrap import Interval
from physicsnemo_fs.metrics.spectra import spectrum_error_db
from physicsnemo_fs.pipelines.numerals import RAISED, number

INK, MUTED, RULE = "#1b1d20", "#6b7078", "#d3d6da"
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
DECIBELS_SHOWN = 6.0
DECADES_SHOWN = 10
MOST_PIXELS = 512


@dataclass(frozen=True)
class Scale:
    """A colour scale that panels share.

    Args:
        colours: Name of the colour map.
        low: Value at its lower end.
        high: Value at its upper end.
        label: What the colour bar says, with unit.
    """

    colours: str
    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One field of a picture."""

    title: str
    field: Float[np.ndarray, "height width"]
    scale: Scale


def field_scale(fields: Sequence[np.ndarray], label: str) -> Scale:
    """Give the scale that suits fields: red and blue round zero if they have both signs, else viridis.

    The ends are the 0.5th and 99.5th percentiles.

    Example:
        >>> field_scale([np.linspace(-2, 1, 101)], "vorticity").colours
        'RdBu_r'
        >>> field_scale([np.linspace(270, 290, 101)], "temperature [K]").colours
        'viridis'
    """
    values = np.concatenate([np.ravel(field) for field in fields])
    low, high = (float(v) for v in np.nanpercentile(values, [0.5, 99.5]))
    if low < 0 < high:
        limit = max(-low, high)
        return Scale("RdBu_r", -limit, limit, label)
    return Scale("viridis", low, high, label)


def spread_scale(spread: np.ndarray, label: str) -> Scale:
    """Give a sequential scale from zero."""
    return Scale("viridis", 0.0, float(np.nanpercentile(spread, 99.5)), label)


@matplotlib.rc_context(STYLE)
def panel_figure(rows: Sequence[Sequence[Panel]], size: float = 1.9) -> Figure:
    """Draw rows of fields, each scale's colour bar beside the rows that end in it.

    Args:
        rows: Panels; rows may differ in length.
        size: Width of a panel in inches.
    """
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(size * columns + 0.8, size * len(rows) * 1.12), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    beside: dict[Scale, list[Axes]] = {}
    for line, row in zip(axes, rows, strict=True):
        for axis in line:
            axis.axis("off")
        for axis, panel in zip(line, row, strict=False):
            _draw(axis, panel)
        beside.setdefault(row[-1].scale, []).extend(line)
    for scale, lines in beside.items():
        _colour_bar(figure, lines, scale, shrink=0.85, pad=0.01)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="white")


@matplotlib.rc_context(STYLE)
def crps_figure(scores: Mapping[str, Interval], unit: str) -> Figure:
    """Draw the CRPS of each model with its interval, one line each; the last one is the judged one.

    Args:
        scores: Interval by label.
        unit: Unit of the scores, with brackets, or empty.
    """
    figure = Figure(figsize=(8.4, 0.38 * len(scores) + 0.65), layout="constrained")
    axis = figure.subplots()
    for position, (label, score) in enumerate(scores.items()):
        judged = label == list(scores)[-1]
        colour = BLUE if judged else MUTED
        axis.barh(position, score.estimate, height=0.52, color=colour, alpha=1.0 if judged else 0.45)
        if not np.isnan(score.low):
            axis.plot([score.low, score.high], [position, position], color=INK, lw=1.4)
        end = np.nanmax([score.estimate, score.high])
        axis.annotate(number(score.estimate), (end, position), xytext=(6, 0), textcoords="offset points", va="center")
    axis.set_yticks(range(len(scores)), list(scores))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(0, None)
    axis.margins(x=0.1)
    axis.set_xlabel(f"fair CRPS {unit}".strip())
    return figure


@dataclass(frozen=True)
class Line:
    """A power spectrum to draw: shells 0, 1, 2 ... of one model."""

    label: str
    power: Float[np.ndarray, " shell"]
    colour: str
    style: str = "-"


@matplotlib.rc_context(STYLE)
def spectrum_figure(
    truth: Float[np.ndarray, " shell"], lines: Sequence[Line], complete: int, longer: Sequence[Line] = ()
) -> Figure:
    """Draw power spectra over wavenumber, and their ratio to the truth's in decibels below.

    Args:
        truth: Power of the truth in shells 0, 1, 2 ...
        lines: Spectra of models on the same grid.
        complete: Last shell the grid holds entirely.
        longer: Spectra on a finer grid, drawn beneath.
    """
    figure = Figure(figsize=(8.4, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    shells = np.arange(1, complete + 1)
    top.loglog(shells, truth[shells], color=INK, lw=3.2, alpha=0.85, label="Truth")
    for line in longer:
        top.loglog(
            np.arange(1, len(line.power)),
            line.power[1:],
            line.style,
            color=line.colour,
            lw=5,
            alpha=0.4,
            label=line.label,
            zorder=1,
        )
    for line in lines:
        top.loglog(shells, line.power[shells], line.style, color=line.colour, label=line.label)
    low = truth[shells][truth[shells] > 0].min() / 10
    top.set_ylim(max(low, truth[shells].max() * 10.0**-DECADES_SHOWN), truth[shells].max() * 3)
    top.set_ylabel("power in the shell")
    top.legend(loc="lower left")
    bottom.axhspan(-1, 1, color=MUTED, alpha=0.15, lw=0)
    bottom.axhline(0, color=INK, lw=0.8)
    for line in lines:
        error = spectrum_error_db(line.power, truth, shells)
        bottom.semilogx(shells, error, line.style, color=line.colour)
    bottom.set_ylim(-DECIBELS_SHOWN, DECIBELS_SHOWN)
    bottom.set_ylabel("ratio to truth [dB]")
    bottom.set_xlabel("wavenumber (waves across the domain)")
    for axis in (top, bottom):
        axis.minorticks_off()
    bottom.set_xticks(_octaves(max([complete, *(len(line.power) - 1 for line in longer)])))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    top.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "10" + str(round(np.log10(value))).translate(RAISED)))
    return figure


@matplotlib.rc_context(STYLE)
def rank_figure(share: Float[np.ndarray, " rank"], half_width: Float[np.ndarray, " rank"]) -> Figure:
    """Draw the truth's ranks among the members, with the flat line and the band of an exchangeable truth.

    Args:
        share: Share of each rank.
        half_width: Half width of the band round the flat line.
    """
    figure = Figure(figsize=(4.3, 3.2), layout="constrained")
    axis = figure.subplots()
    ranks, flat = np.arange(share.size), 1 / share.size
    axis.bar(ranks, share, width=0.82, color=BLUE, alpha=0.75)
    edges = np.arange(share.size + 1) - 0.5
    for sign in (-1, 1):
        axis.stairs(flat + sign * half_width, edges, color=INK, lw=0.8, baseline=None)
    axis.stairs(flat + half_width, edges, baseline=flat - half_width, fill=True, color=INK, alpha=0.22, lw=0)
    axis.axhline(flat, color=INK, lw=0.9, ls="--")
    axis.set_ylim(0, max(2 * flat, 1.15 * share.max()))
    axis.set_xlim(edges[0], edges[-1])
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.grid(axis="x", visible=False)
    axis.set_xlabel("members below the truth")
    axis.set_ylabel("share of points")
    return figure


@matplotlib.rc_context(STYLE)
def spread_skill_figure(spread: Float[np.ndarray, " bin"], error: Sequence[Interval], unit: str) -> Figure:
    """Draw the error of the ensemble mean over the spread, for points with like spread.

    Args:
        spread: Spread in each bin.
        error: RMSE in each bin with its interval.
        unit: Unit of both, with brackets, or empty.
    """
    figure = Figure(figsize=(4.3, 3.2), layout="constrained")
    axis = figure.subplots()
    estimates = np.array([e.estimate for e in error])
    end = 1.12 * float(np.nanmax([*spread, *estimates, *(e.high for e in error)]))
    axis.plot([0, end], [0, end], "--", color=INK, lw=0.9)
    for x, e in zip(spread, error, strict=True):
        if not np.isnan(e.low):
            axis.plot([x, x], [e.low, e.high], color=BLUE, lw=1.2)
    axis.plot(spread, estimates, "o-", color=BLUE, ms=4.5, lw=1.0)
    axis.set_xlim(0, end)
    axis.set_ylim(0, end)
    axis.set_xlabel(f"spread of the members {unit}".strip())
    axis.set_ylabel(f"error of their mean {unit}".strip())
    return figure


@matplotlib.rc_context(STYLE)
def same_seed_figure(
    fields: tuple[np.ndarray, np.ndarray],
    grids: tuple[Grid, Grid],
    difference: Float[np.ndarray, "height width"],
    window: tuple[float, float, float, float],
    label: str,
    difference_title: str,
) -> Figure:
    """Draw one member at two resolutions: whole, a window of each, their difference, and a line through both.

    Args:
        fields: The member on the smaller and on the larger grid.
        grids: The two grids.
        difference: Difference in the band both carry, on the smaller grid.
        window: The magnified window ``(y0, y1, x0, x1)``.
        label: Name of the variable, with unit.
        difference_title: What to write over the difference.
    """
    figure = Figure(figsize=(8.8, 6.0), layout="constrained")
    axes = figure.subplots(2, 3)
    scale = field_scale(fields, label)
    limit = float(np.abs(difference).max()) or 1.0
    change = Scale("PuOr", -limit, limit, f"difference of {label}")
    for column, (field, grid) in enumerate(zip(fields, grids, strict=True)):
        _draw(axes[0, column], Panel(_shape_label(grid), field, scale), grid)
        _outline(axes[0, column], window)
        _draw(axes[1, column], Panel(f"the window, {_shape_label(grid)}", field, scale), grid)
        _zoom(axes[1, column], window)
    _draw(axes[0, 2], Panel(difference_title, difference, change), grids[0])
    for axis in axes.ravel()[:5]:
        axis.axis("off")
    _line_through(axes[1, 2], fields, grids, window)
    _colour_bar(figure, axes[0, 2], change, location="bottom", shrink=0.9, pad=0.03)
    _colour_bar(figure, axes[0, :2], scale, location="bottom", shrink=0.5, pad=0.03)
    return figure


def _octaves(last: int) -> list[int]:
    return [2**n for n in range(int(np.log2(last)) + 1)]


def _shape_label(grid: Grid) -> str:
    return f"{grid.shape[0]} × {grid.shape[1]}"


def _draw(axis: Axes, panel: Panel, grid: Grid | None = None) -> None:
    extent = None if grid is None else _pixel_extent(grid)
    step = max(1, max(panel.field.shape) // MOST_PIXELS)
    axis.grid(False)
    axis.imshow(
        panel.field[::step, ::step],
        origin="lower",
        cmap=panel.scale.colours,
        vmin=panel.scale.low,
        vmax=panel.scale.high,
        interpolation="none",
        extent=extent,
    )
    axis.set_title(panel.title)


def _pixel_extent(grid: Grid) -> tuple[float, float, float, float]:
    dy, dx = grid.spacing
    return grid.x[0] - dx / 2, grid.x[-1] + dx / 2, grid.y[0] - dy / 2, grid.y[-1] + dy / 2


def _outline(axis: Axes, window: tuple[float, float, float, float]) -> None:
    y0, y1, x0, x1 = window
    axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="black", lw=1.4))


def _zoom(axis: Axes, window: tuple[float, float, float, float]) -> None:
    y0, y1, x0, x1 = window
    axis.set_xlim(x0, x1)
    axis.set_ylim(y0, y1)


def _line_through(
    axis: Axes,
    fields: tuple[np.ndarray, np.ndarray],
    grids: tuple[Grid, Grid],
    window: tuple[float, float, float, float],
) -> None:
    """Draw the row nearest to the middle of the window among those that both grids have."""
    y0, y1, x0, x1 = window
    coarse, fine = grids
    apart = np.abs(coarse.y[:, None] - fine.y)
    common = np.flatnonzero(apart.min(axis=1) < 1e-6 * coarse.extent[0])
    row = int(common[np.argmin(np.abs(coarse.y[common] - (y0 + y1) / 2))])
    styles: tuple[dict[str, Any], ...] = (
        {"marker": "o", "ls": "", "color": VERMILLION, "ms": 6, "mfc": "none", "zorder": 3},
        {"marker": ".", "ls": "-", "color": BLUE, "ms": 4, "lw": 1.1},
    )
    for field, grid, line, style in zip(fields, grids, (row, int(apart[row].argmin())), styles, strict=True):
        inside = (grid.x >= x0) & (grid.x <= x1)
        axis.plot(grid.x[inside], field[line, inside], label=_shape_label(grid), **style)
    axis.set_title("one line of the window")
    axis.set_xticks([])
    axis.legend(loc="best", handlelength=1.4)


def _colour_bar(figure: Figure, axes, scale: Scale, **where) -> None:
    mappable = ScalarMappable(matplotlib.colors.Normalize(scale.low, scale.high), scale.colours)
    bar = figure.colorbar(mappable, ax=axes, aspect=25, **where)
    bar.set_label(scale.label)
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    for artist in bar.ax.collections:
        artist.set_rasterized(True)


def model_colours(names: Sequence[str]) -> dict[str, str]:
    """Give the judged model, the last one, the colour of ensembles, and the others shades of their own.

    Example:
        >>> model_colours(["regression", "mine"])["mine"] == BLUE
        True
    """
    others = ("#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9")
    chosen = {name: others[i] if i < len(others) else MUTED for i, name in enumerate(names[:-1])}
    return chosen | {names[-1]: BLUE}
