# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One picture of what a store holds: where its regions lie, samples of each, values, and splits over time."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.dates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from physicsnemo_fs.data.builder.frames import geographic
from physicsnemo_fs.data.builder.geometry import edges
from physicsnemo_fs.data.splits import LABELS, UNUSED
from physicsnemo_fs.data.store_layout import Part
from physicsnemo_fs.data.store_reader import Store, open_store
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.pipelines.figures import (
    BLUE,
    INK,
    MOST_PIXELS,
    MUTED,
    ORANGE,
    PURPLE,
    STYLE,
    VERMILLION,
    save_figure,
)
from physicsnemo_fs.pipelines.tones import Tone, axis_label, find_tone

COLOURS = {LABELS["train"]: BLUE, LABELS["validation"]: ORANGE, LABELS["test"]: VERMILLION, UNUSED: MUTED}
NAMES = {**{label: split for split, label in LABELS.items()}, UNUSED: "unused"}
MOST_REGIONS = 6
MOST_TILES = 8
PAIRS_IN_A_ROW = 3
MOST_FIELDS = 24
BINS = 48


@dataclass(frozen=True)
class Sample:
    """A region's fields at one time.

    Args:
        region: Its name.
        time: The valid time.
        fields: Fine and coarse field.
        grids: Their grids.
        labels: Split of each of the region's samples.
        present: Share of fine values that are there.
    """

    region: str
    time: np.datetime64
    fields: tuple[np.ndarray, np.ndarray]
    grids: tuple[Grid, Grid]
    labels: np.ndarray
    present: float


def store_picture(store: str | Path, path: Path) -> Path:
    """Draw a store: map of its regions, a coarse and a fine field of each, histogram, splits over time.

    Args:
        store: The store's folder.
        path: The PNG to write.

    Returns:
        ``path``.

    Raises:
        InputError: If the store cannot be read.
    """
    save_figure(store_figure(open_store(store)), path)
    return path


@matplotlib.rc_context({**STYLE, "axes.grid": False})
def store_figure(store: Store) -> Figure:
    """Draw the first fine variable of a store, and the coarse one of the same name or the first."""
    fine = store.channels["fine"][0]
    names = [c.name for c in store.channels["coarse"]]
    partner = names.index(fine.name) if fine.name in names else 0
    coarse = store.channels["coarse"][partner]
    families = _families(store)
    shown = list(families.values())[:MOST_REGIONS]
    samples = [s for tiles in shown for s in _samples(store, tiles, partner, max(1, PAIRS_IN_A_ROW // len(shown)))]
    tone = find_tone(fine, [s.fields[0] for s in samples])
    alike = (coarse.name, coarse.unit) == (fine.name, fine.unit)
    tones = (tone, tone if alike else find_tone(coarse, [s.fields[1] for s in samples]))
    rows = -(-len(samples) // PAIRS_IN_A_ROW)
    heights = (3.9, 2.3 * rows, 0.75 + 0.22 * len(families))
    figure = Figure(figsize=(12, sum(heights)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    layout = figure.add_gridspec(3, 1, height_ratios=heights)
    top, middle, bottom = (figure.add_subfigure(layout[row]) for row in range(3))
    left, right = top.subplots(1, 2, width_ratios=(1.7, 1))
    _draw_map(left, store, shown, samples, tone)
    _draw_values(right, store, fine, partner if alike else None)
    _draw_samples(middle, samples, tones, rows)
    _draw_times(bottom.subplots(), store, families)
    return figure


def _families(store: Store) -> dict[str, tuple[str, ...]]:
    """Give the regions by name, the tiles of one region together."""
    found: dict[str, tuple[str, ...]] = {}
    for region in store.regions:
        name = _stem(region)
        found[name] = (*found.get(name, ()), region)
    return {name if len(tiles) > 1 else tiles[0]: tiles for name, tiles in found.items()}


def _stem(region: str) -> str:
    """Give a region's name without the place of a tile."""
    return re.sub(r"_\d{2,}_\d{2,}$", "", region)


def _samples(store: Store, tiles: Sequence[str], partner: int, count: int) -> list[Sample]:
    """Take the samples whose fine fields vary most, of some evenly spread tiles and times; in order of time."""
    some = [tiles[i] for i in np.unique(np.linspace(0, len(tiles) - 1, MOST_TILES).round().astype(int))]
    found = [sample for region in some for sample in _lively(store, region, partner, count)]
    best = sorted(found, key=lambda s: -float(np.nanstd(s.fields[0])) if np.isfinite(s.fields[0]).any() else 0.0)
    return sorted(best[:count], key=lambda s: s.time)


def _lively(store: Store, region: str, partner: int, count: int) -> list[Sample]:
    parts = [store.fields(region, part) for part in ("fine", "coarse")]
    labels = store.labels(region)
    used = np.flatnonzero(labels != UNUSED)
    used = used if len(used) else np.arange(len(labels))
    tried = used[np.unique(np.linspace(0, len(used) - 1, 2 * count + 1).round().astype(int))]
    grids = (parts[0].grid, parts[1].grid)
    present = store.attributes["present"][region]["fine"][parts[0].channels[0].name]
    return [
        Sample(
            region,
            parts[0].times[i],
            (parts[0].read([i])[0, 0], parts[1].read([i])[0, partner]),
            grids,
            labels,
            present,
        )
        for i in tried.tolist()
    ]


def _draw_map(
    axis: Axes, store: Store, families: Sequence[tuple[str, ...]], samples: Sequence[Sample], tone: Tone
) -> None:
    """Draw every region where it lies, framed in the colour of its split."""
    for tiles in families:
        own = [s for s in samples if s.region in tiles]
        parts = [store.fields(tile, "fine") for tile in tiles]
        for fields in parts:
            _show(axis, fields.read([int(np.searchsorted(fields.times, own[0].time))])[0, 0], fields.grid, tone)
        grids = [fields.grid for fields in parts]
        y, x = (np.stack([edges(grid, a)[[0, -1]] for grid in grids]) for a in (0, 1))
        corner, size = (x.min(), y.min()), (np.ptp(x), np.ptp(y))
        colour = _colour(own[0].labels)
        axis.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, lw=2.2))
        title = own[0].region if len(tiles) == 1 else f"{_stem(tiles[0])}: {len(tiles)} tiles"
        name = axis.annotate(title, (x.min(), y.max()), (4, -4), textcoords="offset points", va="top")
        name.set(color="white", weight="bold", fontsize=8.5)
        name.set_bbox({"facecolor": colour, "edgecolor": "none", "pad": 1.8})
    grid = samples[0].grids[0]
    axis.margins(0.04)
    axis.autoscale_view()
    axis.set_xlabel("longitude [°E]" if geographic(grid) else f"x [{grid.unit}]")
    axis.set_ylabel("latitude [°N]" if geographic(grid) else f"y [{grid.unit}]")
    axis.set_title(_headline(store), loc="left")
    bar = axis.figure.colorbar(ScalarMappable(tone.norm, tone.colours), ax=axis, aspect=28, pad=0.02)
    bar.set_label(axis_label(tone.channel))
    bar.outline.set_visible(False)
    places, texts = tone.ticks()
    bar.set_ticks(places, labels=texts)


def _headline(store: Store) -> str:
    more = len(_families(store)) - MOST_REGIONS
    regions = f"{len(store.regions)} regions" if len(store.regions) > 1 else "1 region"
    return f"{store.path.name}: {regions}{f', {MOST_REGIONS} of them shown' if more > 0 else ''}"


def _has(store: Store, label: int) -> bool:
    return any((store.labels(region) == label).any() for region in store.regions)


def _colour(labels: np.ndarray) -> str:
    """Give the colour of a region's only split, or the neutral one where times decide."""
    found = np.unique(labels)
    return COLOURS[int(found[0])] if len(found) == 1 else INK


def _draw_samples(figure: Any, samples: Sequence[Sample], tones: tuple[Tone, Tone], rows: int) -> None:
    """Draw a coarse and a fine field of each region."""
    cells = np.asarray(figure.subfigures(rows, PAIRS_IN_A_ROW, squeeze=False))
    for cell, sample in zip(cells.flat, samples, strict=False):
        axes = cell.subplots(1, 2)
        for axis, k, name in ((axes[0], 1, "coarse"), (axes[1], 0, "fine")):
            grid = sample.grids[k]
            _show(axis, sample.fields[k], grid, tones[k])
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel(f"{name} {grid.shape[0]} × {grid.shape[1]}")
            for spine in axis.spines.values():
                spine.set_visible(False)
        share = "" if sample.present > 0.9995 else f", {100 * sample.present:.3g} % present"
        moment = str(sample.time.astype("datetime64[m]")).replace("T", " ")
        cell.suptitle(f"{sample.region}, {moment}{share}", color=_colour(sample.labels), fontsize=9, weight="bold")


def _show(axis: Axes, field: np.ndarray, grid: Grid, tone: Tone) -> None:
    """Draw a field where it lies."""
    step = max(1, max(field.shape) // MOST_PIXELS)
    y, x = (edges(grid, a)[[0, -1]] for a in (0, 1))
    axis.imshow(
        tone.channel.warp.apply(field[::step, ::step]),
        origin="lower",
        cmap=tone.colours,
        norm=tone.norm,
        interpolation="none",
        extent=(float(x[0]), float(x[1]), float(y[0]), float(y[1])),
    )
    axis.set_aspect(1 / np.cos(np.deg2rad(float(y.mean()))) if geographic(grid) else 1.0)


def _draw_values(axis: Axes, store: Store, channel: Channel, partner: int | None) -> None:
    """Draw how often values occur, fine and coarse, in some training samples."""
    drawn: list[tuple[Part, int, str]] = [("fine", 0, INK)]
    drawn += [("coarse", partner, PURPLE)] if partner is not None else []
    found = {part: channel.warp.apply(_values(store, part, index)) for part, index, _ in drawn}
    together = np.concatenate(list(found.values()))
    if not len(together):
        axis.text(0.5, 0.5, "no values", transform=axis.transAxes, ha="center")
        return
    bins = np.linspace(float(together.min()), max(float(together.max()), float(together.min()) + 1e-6), BINS + 1)
    for part, _, colour in drawn:
        shares = np.histogram(found[part], bins)[0] / max(len(found[part]), 1)
        axis.stairs(shares, bins, color=colour, lw=1.6, label=part)
    places, texts = Tone(channel, Normalize(bins[0], bins[-1])).ticks()
    axis.set_xticks(places, labels=texts)
    axis.set_yscale("log")
    axis.grid(True)
    axis.set_xlabel(axis_label(channel))
    axis.set_ylabel("share of values")
    axis.set_title("values of training samples" if _has(store, LABELS["train"]) else "values", loc="left")
    axis.legend()


def _values(store: Store, part: Part, index: int) -> np.ndarray:
    """Give the values of some evenly spread training samples of all regions."""
    pairs = [(r, int(i)) for r in store.regions for i in np.flatnonzero(store.labels(r) == LABELS["train"])]
    pairs = pairs or [(r, i) for r in store.regions for i in range(len(store.labels(r)))]
    chosen = np.unique(np.linspace(0, len(pairs) - 1, MOST_FIELDS).round().astype(int))
    opened = {region: store.fields(region, part) for region in {pairs[c][0] for c in chosen}}
    fields = [opened[pairs[c][0]].read([pairs[c][1]])[0, index] for c in chosen]
    return np.concatenate([field[np.isfinite(field)] for field in fields]).astype(np.float64)


def _draw_times(axis: Axes, store: Store, families: Mapping[str, Sequence[str]]) -> None:
    """Draw the times of each region in the colours of their splits; tiles of one region share theirs."""
    for row, tiles in enumerate(families.values()):
        labels, times = store.labels(tiles[0]), store.fields(tiles[0], "fine").times
        step = np.diff(times).min() if len(times) > 1 else np.timedelta64(1, "h")
        starts = np.flatnonzero(np.r_[True, (np.diff(labels.astype(int)) != 0) | (np.diff(times) > 2 * step)])
        stops = np.r_[starts[1:], len(times)]
        for start, stop in zip(starts, stops, strict=True):
            span = matplotlib.dates.date2num([times[start], times[stop - 1] + step])
            axis.barh(row, span[1] - span[0], left=span[0], height=0.6, color=COLOURS[int(labels[start])])
    axis.xaxis_date()
    locator = matplotlib.dates.AutoDateLocator(maxticks=7)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(locator))
    names = [n if len(t) == 1 else f"{n} ({len(t)} tiles)" for n, t in families.items()]
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_title("splits over time", loc="left")
    handles = [Patch(facecolor=COLOURS[label], label=NAMES[label]) for label in COLOURS if _has(store, label)]
    axis.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5))
