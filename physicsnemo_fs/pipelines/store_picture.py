# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One picture of what a store holds: where its regions lie, samples of each, values, and splits over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.dates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle

from physicsnemo_fs.data.builder.geometry import edges, on_sphere
from physicsnemo_fs.data.splits import LABELS, UNUSED
from physicsnemo_fs.data.store_reader import Store, open_store
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.data.warps import Identity
from physicsnemo_fs.pipelines.figures import BLUE, INK, MOST_PIXELS, MUTED, ORANGE, SKY, STYLE, VERMILLION, save_figure
from physicsnemo_fs.pipelines.numerals import number, unit_text

COLOURS = {LABELS["train"]: BLUE, LABELS["validation"]: ORANGE, LABELS["test"]: VERMILLION, UNUSED: MUTED}
NAMES = {**{label: split for split, label in LABELS.items()}, UNUSED: "unused"}
MOST_REGIONS = 6
MOST_FIELDS = 24
BINS = 80


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
    samples = [_sample(store, region, partner) for region in store.regions[:MOST_REGIONS]]
    alike = store.channels["coarse"][partner].unit == fine.unit
    norms = _norms(fine, samples, alike)
    rows = (len(samples) + 2) // 3
    figure = Figure(figsize=(11, 4.6 + 2.6 * rows), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(3.4, 2.6 * rows, 2.0 + 0.12 * len(store.regions)))
    _draw_map(top, store, fine, samples, norms[0])
    _draw_samples(middle, samples, norms, rows)
    left, right = bottom.subplots(1, 2)
    _draw_values(left, store, fine, partner if alike else None)
    _draw_times(right, store)
    return figure


def _sample(store: Store, region: str, partner: int) -> Sample:
    """Take the sample whose fine field varies most, of some evenly spread over the used ones."""
    parts = [store.fields(region, part) for part in ("fine", "coarse")]
    labels = store.labels(region)
    used = np.flatnonzero(labels != UNUSED)
    used = used if len(used) else np.arange(len(labels))
    tried = used[np.unique(np.linspace(0, len(used) - 1, 3).round().astype(int))]
    fields = [parts[0].read([int(i)])[0, 0] for i in tried]
    best = int(np.argmax([np.nan_to_num(np.nanstd(f)) if np.isfinite(f).any() else -1.0 for f in fields]))
    chosen = int(tried[best])
    present = store.attributes["present"][region]["fine"][parts[0].channels[0].name]
    pair = (fields[best], parts[1].read([chosen])[0, partner])
    return Sample(region, parts[0].times[chosen], pair, (parts[0].grid, parts[1].grid), labels, present)


def _norms(fine: Channel, samples: Sequence[Sample], alike: bool) -> tuple[Normalize, Normalize]:
    """Give the colour scales of fine and coarse fields: one for both if they are of one quantity."""
    first = _norm(fine, [s.fields[0] for s in samples])
    return first, first if alike else _norm(Channel(""), [s.fields[1] for s in samples])


def _norm(channel: Channel, fields: Sequence[np.ndarray]) -> Normalize:
    values = np.concatenate([f[np.isfinite(f)] for f in fields])
    if not len(values):
        return Normalize(0.0, 1.0)
    low, high = (float(v) for v in np.percentile(values, [0.5, 99.9]))
    high = high if high > low else low + 1.0
    if isinstance(channel.warp, Identity):
        return Normalize(low, high)
    return FuncNorm((channel.warp.apply, channel.warp.invert), low, high)


def _draw_map(figure: SubFigure, store: Store, channel: Channel, samples: Sequence[Sample], norm: Normalize) -> None:
    axis = figure.subplots()
    geographic = on_sphere(samples[0].grids[0]) and samples[0].grids[0].projection is None
    for sample in samples:
        _show(axis, sample.fields[0], sample.grids[0], norm, geographic)
        low, high = (edges(sample.grids[0], a)[[0, -1]] for a in (0, 1))
        colour = _colour(sample.labels)
        axis.add_patch(
            Rectangle((high[0], low[0]), high[1] - high[0], low[1] - low[0], fill=False, edgecolor=colour, lw=2.2)
        )
        axis.annotate(
            sample.region,
            (high[0], low[1]),
            xytext=(1, 4),
            textcoords="offset points",
            color=colour,
            weight="bold",
        )
    unit = samples[0].grids[0].unit
    axis.margins(0.08)
    axis.autoscale_view()
    axis.set_xlabel("longitude [°E]" if geographic else f"x [{unit}]")
    axis.set_ylabel("latitude [°N]" if geographic else f"y [{unit}]")
    axis.grid(True)
    axis.set_title(f"{store.path.name}: {len(store.regions)} {'regions' if len(store.regions) > 1 else 'region'}")
    bar = figure.colorbar(ScalarMappable(norm, "viridis"), ax=axis, aspect=25, shrink=0.9, pad=0.01)
    bar.set_label(_label(channel))
    bar.outline.set_visible(False)
    if isinstance(norm, FuncNorm):
        ticks = _warped_ticks(channel, norm)
        bar.set_ticks(ticks, labels=[number(t, 2) for t in ticks])
    handles = [Patch(facecolor=COLOURS[label], label=NAMES[label]) for label in COLOURS if _has(store, label)]
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.16, 1.0), title="split")


def _has(store: Store, label: int) -> bool:
    return any((store.labels(region) == label).any() for region in store.regions)


def _warped_ticks(channel: Channel, norm: Normalize) -> list[float]:
    """Give round values that are about evenly spread on a warped scale."""
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 1.0)
    scale = np.linspace(channel.warp.apply(low), channel.warp.apply(high), 6)
    rounded = [float(f"{channel.warp.invert(float(s)):.1g}") for s in scale]
    return sorted({value for value in rounded if low <= value <= high})


def _colour(labels: np.ndarray) -> str:
    """Give the colour of a region's only split, or the neutral one where times decide."""
    found = np.unique(labels)
    return COLOURS[int(found[0])] if len(found) == 1 else INK


def _draw_samples(figure: SubFigure, samples: Sequence[Sample], norms: tuple[Normalize, Normalize], rows: int) -> None:
    columns = 2 * min(3, len(samples))
    axes = np.asarray(figure.subplots(rows, columns, squeeze=False))
    for axis in axes.flat:
        axis.axis("off")
    for i, sample in enumerate(samples):
        pair = axes[i // 3, 2 * (i % 3) : 2 * (i % 3) + 2]
        for axis, k, name in ((pair[0], 1, "coarse"), (pair[1], 0, "fine")):
            grid = sample.grids[k]
            geographic = on_sphere(grid) and grid.projection is None
            _show(axis, sample.fields[k], grid, norms[k], geographic)
            axis.set_title(f"{name} {grid.shape[0]} × {grid.shape[1]}", fontsize=8.5, color=MUTED)
        share = "" if sample.present > 0.9995 else f", {100 * sample.present:.3g} % present"
        title = f"{sample.region}, {str(sample.time.astype('datetime64[m]')).replace('T', ' ')}{share}"
        pair[0].text(0.0, 1.16, title, transform=pair[0].transAxes, color=_colour(sample.labels), weight="bold")


def _show(axis: Axes, field: np.ndarray, grid: Grid, norm: Normalize, geographic: bool) -> None:
    """Draw a field where it lies; missing values are grey."""
    step = max(1, max(field.shape) // MOST_PIXELS)
    y, x = (edges(grid, a)[[0, -1]] for a in (0, 1))
    axis.set_facecolor("#e6e8eb")
    axis.imshow(
        field[::step, ::step],
        origin="lower",
        cmap=matplotlib.colormaps["viridis"].with_extremes(bad="#c9cdd2"),
        norm=norm,
        interpolation="none",
        extent=(float(x[0]), float(x[1]), float(y[0]), float(y[1])),
    )
    axis.set_aspect(1 / np.cos(np.deg2rad(float(y.mean()))) if geographic else 1.0)


def _draw_values(axis: Axes, store: Store, channel: Channel, partner: int | None) -> None:
    """Draw how often values occur, fine and coarse, over some training samples."""
    drawn = [("fine", 0, BLUE)] + ([("coarse", partner, SKY)] if partner is not None else [])
    found = {part: _values(store, part, index) for part, index, _ in drawn}
    together = np.concatenate(list(found.values()))
    if not len(together):
        axis.text(0.5, 0.5, "no values", transform=axis.transAxes, ha="center")
        return
    warped = channel.warp.apply(together)
    bins = channel.warp.invert(np.linspace(float(warped.min()), float(warped.max()), BINS + 1))
    for part, _, colour in drawn:
        counts = np.histogram(found[part], bins)[0] / max(len(found[part]), 1)
        axis.stairs(counts, bins, color=colour, lw=1.6, label=part)
    axis.set_yscale("log")
    if not isinstance(channel.warp, Identity):
        axis.set_xscale("function", functions=(channel.warp.apply, channel.warp.invert))
        ticks = _warped_ticks(channel, Normalize(float(together.min()), float(together.max())))
        axis.set_xticks(ticks, labels=[number(t, 2) for t in ticks])
    axis.grid(True)
    axis.set_xlabel(_label(channel))
    axis.set_ylabel("share of values")
    axis.set_title("values of training samples" if _has(store, LABELS["train"]) else "values")
    axis.legend()


def _values(store: Store, part: str, index: int) -> np.ndarray:
    """Give the values of some evenly spread training samples of all regions."""
    pairs = [(r, i) for r in store.regions for i in np.flatnonzero(store.labels(r) == LABELS["train"])]
    pairs = pairs or [(r, i) for r in store.regions for i in range(len(store.labels(r)))]
    chosen = np.unique(np.linspace(0, len(pairs) - 1, MOST_FIELDS).round().astype(int))
    opened = {region: store.fields(region, part) for region in {pairs[c][0] for c in chosen}}  # type: ignore[arg-type]
    fields = [opened[pairs[c][0]].read([int(pairs[c][1])])[0, index] for c in chosen]
    return np.concatenate([field[np.isfinite(field)] for field in fields]).astype(np.float64)


def _draw_times(axis: Axes, store: Store) -> None:
    """Draw each region's times in the colours of their splits."""
    for row, region in enumerate(store.regions):
        labels, times = store.labels(region), store.fields(region, "fine").times
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
    axis.set_yticks(range(len(store.regions)), store.regions)
    axis.invert_yaxis()
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_title("splits over time")


def _label(channel: Channel) -> str:
    unit = unit_text(channel.unit)
    return f"{channel.long_name or channel.name}{f' [{unit}]' if unit else ''}"
