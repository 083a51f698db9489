# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures and videos: columns coarse, truth, members, mean and spread, one row or one frame a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from physicsnemo_fs.config.pictures import PictureConfig, VideoConfig
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.io.foreign import EnsembleSource
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.pipelines.figures import STYLE, Panel, Scale, field_scale, save_figure, spread_scale
from physicsnemo_fs.pipelines.map_axes import can_map, map_axis
from physicsnemo_fs.pipelines.numerals import unit_text
from physicsnemo_fs.pipelines.score_files import open_source

COLUMNS = ("coarse", "interpolation", "regression", "truth", "member", "mean", "spread")
SCALE_TIMES = 12
INCHES = 2.3


def picture(config: PictureConfig) -> Path:
    """Draw some times of a file, one row each; give the PNG's path.

    Raises:
        InputError: If the file, a column, a time or a variable is not there.
    """
    with _opened(config) as (source, variable):
        chosen = _times(source, config)
        scales = _scales(source, variable, config, chosen)
        rows = [_panels(source, variable, index, config, scales) for index in chosen]
        path = Path(config.output or Path(config.path).with_suffix(".png"))
        figure = draw(rows, [_time_text(source, index) for index in chosen], _map_grid(source, config))
        figure.set_dpi(config.dpi)
        save_figure(figure, path)
    return path


def video(config: VideoConfig) -> Path:
    """Draw every time of a file as one frame; give the MP4's path.

    Raises:
        InputError: If the encoder is not installed, or as for :func:`picture`.
    """
    if find_spec("imageio_ffmpeg") is None:
        raise InputError("a video needs an encoder: install physicsnemo-fs[video]")
    import imageio_ffmpeg

    path = Path(config.output or Path(config.path).with_suffix(".mp4"))
    if path.suffix != ".mp4":
        raise InputError(f"a video must be an .mp4: got {path.name}")
    with _opened(config) as (source, variable):
        chosen, grid = _times(source, config), _map_grid(source, config)
        scales = _scales(source, variable, config, chosen)
        frames = (
            _pixels(draw([_panels(source, variable, i, config, scales)], [_time_text(source, i)], grid), config.dpi)
            for i in chosen
        )
        first = next(frames)
        size = (first.shape[1], first.shape[0])
        with atomic_path(path) as temporary:
            writer = imageio_ffmpeg.write_frames(
                str(temporary),
                size,
                fps=config.fps,
                codec="libx264",
                pix_fmt_out="yuv420p",
                quality=7,
                macro_block_size=2,
                ffmpeg_log_level="error",
            )
            writer.send(None)
            writer.send(first)
            for frame in tqdm(frames, total=len(chosen), initial=1, desc=path.name, unit="frame", disable=None):
                writer.send(frame)
            writer.close()
    return path


@contextmanager
def _opened(config: PictureConfig) -> Iterator[tuple[EnsembleSource, str]]:
    unknown = [column for column in config.columns if column not in COLUMNS]
    if unknown or not config.columns:
        raise InputError(f"columns must be of {', '.join(COLUMNS)}: got {config.columns}")
    source = open_source(Path(config.path), None if config.truth is None else Path(config.truth))
    try:
        variable = config.variable or source.variables[0]
        if variable not in source.variables:
            raise InputError(f"{source.path.name} must hold {variable!r}: it has {list(source.variables)}")
        yield source, variable
    finally:
        source.close()


def _times(source: EnsembleSource, config: PictureConfig) -> list[int]:
    if config.times is None:
        return evenly_spread(source.times.size, min(config.max_times, source.times.size))
    wanted = config.times if isinstance(config.times, list) else [config.times]
    chosen = []
    for text in wanted:
        try:
            found = np.flatnonzero(source.times == np.datetime64(str(text), "ns"))
        except ValueError as error:
            raise InputError(f"times must be ISO times such as 2020-01-01T06: got {text!r}") from error
        if not found.size:
            raise InputError(f"{source.path.name} must hold the time {text}: it has {source.times.size} others")
        chosen.append(int(found[0]))
    return chosen


def _time_text(source: EnsembleSource, index: int) -> str:
    return np.datetime_as_string(source.times[index], unit="m").replace("T", " ")


def _fields(source: EnsembleSource, variable: str, index: int, config: PictureConfig) -> Iterator[tuple[str, Any]]:
    members = source.prediction(variable, index)
    inputs = variable in source.input_variables
    native = inputs and isinstance(source, EnsembleFile) and "input_native" in source.groups
    for column in config.columns:
        if column == "coarse" and inputs:
            yield "coarse", source.input_native(variable, index) if native else source.input(variable, index)  # type: ignore[attr-defined]
        elif column == "interpolation" and inputs:
            yield "interpolation", source.input(variable, index)
        elif column == "regression" and source.has_regression:
            yield "regression", source.regression(variable, index)
        elif column == "truth" and source.has_truth and variable in source.fields("truth"):
            yield "truth", source.truth(variable, index)
        elif column == "member":
            names = ["field"] if len(members) == 1 else [f"member {m + 1}" for m in range(len(members))]
            yield from zip(names[: config.members], members, strict=False)
        elif column == "mean" and len(members) > 1:
            yield "mean", members.mean(axis=0)
        elif column == "spread" and len(members) > 1:
            yield "spread", members.std(axis=0, ddof=1)


def _scales(source: EnsembleSource, variable: str, config: PictureConfig, chosen: Sequence[int]) -> tuple[Scale, Scale]:
    """Give one scale for fields and one for spread, of all times together, so that frames compare."""
    fields: list[np.ndarray] = []
    spreads: list[np.ndarray] = []
    for place in evenly_spread(len(chosen), min(SCALE_TIMES, len(chosen))):
        for name, field in _fields(source, variable, chosen[place], config):
            (spreads if name == "spread" else fields).append(field)
    channel = source.channel(variable)
    unit = unit_text(channel.unit)
    label = f"{channel.long_name or variable}" + (f" [{unit}]" if unit else "")
    if not (fields or spreads):
        raise InputError(f"{source.path.name} must hold one of the columns {config.columns}: it holds none")
    nothing = Scale("viridis", 0.0, 1.0, "spread")
    spread = spread_scale(np.stack(spreads), "spread" + (f" [{unit}]" if unit else "")) if spreads else nothing
    return field_scale(fields, label) if fields else spread, spread


def _panels(
    source: EnsembleSource, variable: str, index: int, config: PictureConfig, scales: tuple[Scale, Scale]
) -> list[Panel]:
    found = _fields(source, variable, index, config)
    return [Panel(name, field, scales[1] if name == "spread" else scales[0]) for name, field in found]


def _map_grid(source: EnsembleSource, config: PictureConfig) -> Grid | None:
    return source.grid if config.maps and can_map(source.grid) else None


@matplotlib.rc_context(STYLE)
def draw(rows: Sequence[Sequence[Panel]], times: Sequence[str], grid: Grid | None = None) -> Figure:
    """Draw panels, a row for each time, with one colour bar for each scale.

    Args:
        rows: Panels of each time.
        times: What to write before each row.
        grid: Geographic grid to draw maps on; ``None`` for plain axes. Panels of another shape (the
            coarse input) stay plain.
    """
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(INCHES * columns + 0.9, (INCHES + 0.25) * len(rows) + 0.5), layout="constrained")
    scales: dict[Scale, Any] = {}
    axes = []
    for i, (row, time) in enumerate(zip(rows, times, strict=True)):
        for j, panel in enumerate(row):
            axis = _axis(figure, (len(rows), columns, i * columns + j + 1), panel, grid)
            axis.set_title(panel.title)
            if j == 0:
                axis.text(-0.06, 0.5, time, rotation=90, va="center", ha="right", transform=axis.transAxes)
            axes.append(axis)
            scales.setdefault(panel.scale, []).append(axis)
    for scale, where in scales.items():
        colours = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(scale.low, scale.high), scale.colours)
        bar = figure.colorbar(colours, ax=axes if len(scales) == 1 else where, location="bottom", aspect=30, shrink=0.6)
        bar.set_label(scale.label)
    return figure


def _axis(figure: Figure, place: tuple[int, int, int], panel: Panel, grid: Grid | None) -> Any:
    limits = {"cmap": panel.scale.colours, "vmin": panel.scale.low, "vmax": panel.scale.high}
    if grid is None or panel.field.shape != grid.shape:
        axis: Any = figure.add_subplot(*place)
        axis.imshow(panel.field, origin="lower", interpolation="none", **limits)
        if grid is not None and grid.latitude is not None and grid.longitude is not None:
            axis.set_aspect("auto")
            axis.set_box_aspect(np.ptp(grid.latitude) / np.ptp(grid.longitude))
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(False)
        return axis
    return map_axis(figure, place, panel.field, grid, **limits)


def _pixels(figure: Figure, dpi: int) -> np.ndarray:
    figure.set_dpi(dpi)
    figure.set_facecolor("white")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    return np.ascontiguousarray(pixels[:height, :width])
