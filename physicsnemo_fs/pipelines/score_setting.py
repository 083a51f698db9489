# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a user asks of scores, turned into settings: presets, thresholds with units, areas, masks, weights."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from jaxtyping import Bool, Float

from physicsnemo_fs.data.builder.frames import on_unit_sphere
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.data.vocabulary import conversion
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.foreign import EnsembleSource
from physicsnemo_fs.metrics.distributions import histogram_edges
from physicsnemo_fs.metrics.flow import vorticity
from physicsnemo_fs.metrics.maps import quantum_for
from physicsnemo_fs.metrics.measures import POOLING, WINDOWS, Setting
from physicsnemo_fs.metrics.phases import phase_of

RAIN_NAMES = re.compile(r"^(tp|pr|prate|rain|rainfall|precip|precipitation|apcp)", re.IGNORECASE)
RAIN_UNITS = {
    "mm": 1.0,
    "kg m-2": 1.0,
    "mm h-1": 1.0,
    "mm d-1": 1.0,
    "mm day-1": 1.0,
    "m": 1e-3,
    "kg m-2 s-1": 1 / 86400,
}
"""What 1 mm is in each: of the time between two fields, of an hour or a day for rates, of a day for fluxes."""
RAIN_THRESHOLDS = (1.0, 10.0, 25.0, 50.0, 200.0)
"""Of Fathom's routine, in mm; classes 0-1-10-25-50-200."""

ON_EDGE = 1e-4
"""How far beyond a box, in degrees, a point still lies on its edge: files hold positions in single precision."""

Derive = Callable[[np.ndarray, np.ndarray, Grid], np.ndarray]
DERIVED: dict[str, dict[str, tuple[tuple[str, str], str, Derive]]] = {
    "fluid": {"vorticity": (("u", "v"), "s-1", vorticity)},
    "insar": {"phase": (("phase_cos", "phase_sin"), "radian", lambda c, s, grid: phase_of(c, s))},
}
"""Variables that a preset makes of two others, where both are there and it is not: parts, unit, formula."""


@dataclass(frozen=True)
class Request:
    """What to measure.

    Args:
        preset: ``"none"``, ``"precipitation"``, ``"climate"``, ``"fluid"`` or ``"insar"``.
        thresholds: By variable a list of numbers, or of texts with a unit (``"10 mm"``).
        pooling: Blocks of the pooled CRPS in points; ``None`` takes the preset's.
        windows: Neighbourhoods of the FSS in points; ``None`` takes the preset's.
        areas: Boxes ``[south, north, west, east]`` by name.
        mask: ``file.nc:variable``, or ``None``.
        weights: ``"none"``, ``"area"`` or ``file.nc:variable``.
        ranges: By variable ``[least, largest]`` value of its histogram; taken from the truth where it is not given.
            Scores of parts merge only if they have one range.

    Raises:
        InputError: If the preset is unknown, or a range is none.
    """

    preset: str = "none"
    thresholds: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    pooling: Sequence[int] | None = None
    windows: Sequence[int] | None = None
    areas: Mapping[str, Sequence[float]] = field(default_factory=dict)
    mask: str | None = None
    weights: str = "none"
    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self):
        for name, ends in self.ranges.items():
            if len(ends) != 2 or not np.isfinite(ends).all() or not ends[0] < ends[1]:
                raise InputError(f"the range of {name!r} must be [least, largest], the least first: got {list(ends)}")
        if self.preset not in ("none", "precipitation", "climate", "fluid", "insar"):
            raise InputError(f"preset must be none, precipitation, climate, fluid or insar: got {self.preset!r}")

    def range_of(self, variable: str) -> tuple[float, float] | None:
        """Give the range of a variable, or ``None`` if none was given."""
        ends = self.ranges.get(variable)
        return None if ends is None else (float(ends[0]), float(ends[1]))


def windows_of(files: Sequence[EnsembleSource], shape: tuple[int, int]) -> str:
    """Give the windows of the first file that was made of some, as JSON text; all models are judged at their borders.

    Args:
        files: Files of this project, which say it, and of others, which do not.
        shape: Rows and columns of the fields.
    """
    found = (file.provenance.get("patches") for file in files)
    return next((json.dumps(record) for record in found if record and tuple(record["shape"]) == tuple(shape)), "")


def setting_for(request: Request, channel: Channel, grid: Grid, low: float, high: float, patches: str = "") -> Setting:
    """Give what to measure of one variable.

    Args:
        request: What the user asked.
        channel: The variable.
        grid: Its grid.
        low: About the least value of the truth.
        high: About the largest.
        patches: Windows that members were made of (see :class:`~physicsnemo_fs.metrics.measures.Setting`).

    Raises:
        InputError: If a threshold's unit is not the variable's.
    """
    weather = request.preset in ("precipitation", "climate")
    rain = weather and _is_rain(channel)
    given = request.thresholds.get(channel.name)
    scale = RAIN_UNITS.get(channel.unit, 1.0)
    values = RAIN_THRESHOLDS if given is None and rain else ()
    thresholds = tuple(v * scale for v in values) if given is None else tuple(threshold(v, channel) for v in given)
    pooling = (POOLING if weather else ()) if request.pooling is None else tuple(request.pooling)
    windows = (WINDOWS if thresholds else ()) if request.windows is None else tuple(request.windows)
    return Setting(
        thresholds=thresholds,
        pooling=tuple(size for size in pooling if size > 1),
        windows=tuple(w for w in windows if w <= min(grid.shape)) if thresholds else (),
        edges=tuple(histogram_edges(low, high).tolist()),
        extremes=weather,
        flow=request.preset == "fluid" and "vorticity" in (channel.name, channel.standard_name),
        phases=request.preset == "insar" and channel.name == "phase",
        map_quantum=quantum_for(high - low),
        patches=patches,
    )


def _is_rain(channel: Channel) -> bool:
    known = "precipitation" in channel.standard_name or bool(RAIN_NAMES.match(channel.name))
    return known and channel.unit in RAIN_UNITS


def threshold(value: Any, channel: Channel) -> float:
    """Read a threshold: a number in the variable's unit, or a number with that unit or one that converts to it.

    Raises:
        InputError: If it is no number, or of a unit that does not convert.

    Example:
        >>> threshold("10 mm/h", Channel("tp", "mm h-1")), threshold("5 mm", Channel("tp", "m"))
        (10.0, 0.005)
    """
    match = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(.*?)\s*", str(value))
    try:
        number = float(match[1]) if match else float("nan")
    except ValueError:
        number = float("nan")
    if match is None or not np.isfinite(number):
        raise InputError(f"a threshold must be a number, with the unit {channel.unit!r} or without: got {value!r}")
    if not match[2] or _plain(match[2]) == _plain(channel.unit):
        return number
    change = conversion(match[2], channel.unit)
    if change is None:
        raise InputError(
            f"thresholds of {channel.name!r} must be in its unit {channel.unit!r}: got {value!r}; convert the number"
        )
    return float(change(number))


def _plain(unit: str) -> str:
    text = re.sub(r"\*\*|\^", "", unit.strip())
    parts = text.split("/")
    inverse = [part.strip() + ("" if re.search(r"-?\d$", part.strip()) else "-1") for part in parts[1:]]
    return " ".join([parts[0].strip(), *(re.sub(r"(?<=[A-Za-z])(\d+)$", r"-\1", part) for part in inverse)]).strip()


@dataclass(frozen=True)
class Places:
    """Where points count.

    Args:
        mask: True where a point counts, or ``None``.
        weights: Weight of each point, or ``None``.
        areas: Named parts of the domain.
    """

    mask: Bool[np.ndarray, "height width"] | None = field(default=None, compare=False)
    weights: Float[np.ndarray, "height width"] | None = field(default=None, compare=False)
    areas: Mapping[str, Bool[np.ndarray, "height width"]] = field(default_factory=dict, compare=False)


def places_for(request: Request, grid: Grid) -> Places:
    """Give mask, weights and areas on a grid.

    Raises:
        InputError: If a file does not fit the grid, an area is empty, or a plane is to be weighted by area.
    """
    mask = None if request.mask is None else np.nan_to_num(_field(request.mask, grid)) != 0
    if mask is not None and not mask.any():
        raise InputError(f"a mask must leave points: {request.mask} is 0 everywhere")
    areas = {str(name): area_mask(str(name), box, grid) for name, box in request.areas.items()}
    return Places(mask, _weights(request.weights, grid), areas)


def _weights(weights: str, grid: Grid) -> Float[np.ndarray, "height width"] | None:
    if weights == "none":
        return None
    if weights != "area":
        found = _field(weights, grid)
        if not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
            raise InputError(f"weights must be finite and not negative: those of {weights} are not")
        return found
    if grid.latitude is None or grid.longitude is None:
        raise InputError("weights=area needs latitudes: the grid is a plane, whose points weigh the same; use none")
    return cell_areas(grid.latitude, grid.longitude)


def cell_areas(
    latitude: Float[np.ndarray, "height width"], longitude: Float[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    r"""Give the relative area that each point stands for: :math:`\cos \varphi` where rows lie on parallels.

    On other grids, such as projected ones, it is :math:`|\partial_y p \times \partial_x p|` with the position p on the
    unit sphere, by central differences, over its largest value: about one for all points of a projection.

    Args:
        latitude: Degrees north.
        longitude: Degrees east.

    Example:
        >>> latitude, longitude = np.meshgrid([0.0, 60.0], [0.0, 90.0], indexing="ij")
        >>> cell_areas(latitude, longitude).round(6).tolist()
        [[1.0, 1.0], [0.5, 0.5]]
    """
    if min(latitude.shape) < 2 or np.ptp(latitude, axis=1).max() <= ON_EDGE:
        return np.cos(np.radians(latitude.astype(np.float64)))
    place = on_unit_sphere(latitude, longitude)
    areas = np.linalg.norm(np.cross(np.gradient(place, axis=0), np.gradient(place, axis=1)), axis=-1)
    return areas / areas.max()


def area_mask(name: str, box: Sequence[float], grid: Grid) -> Bool[np.ndarray, "height width"]:
    """Give where a box lies, in degrees on geographic grids, else in the grid's unit.

    Args:
        name: Its name, for messages.
        box: ``[south, north, west, east]``, or ``[y0, y1, x0, x1]``; west may be larger than east.
        grid: The grid.

    Raises:
        InputError: If it is no box or holds no point.

    Example:
        >>> area_mask("corner", [0, 0.3, 0, 0.3], Grid((4, 4), (1.0, 1.0))).sum()
        np.int64(4)
    """
    try:
        values = [float(value) for value in box] if isinstance(box, Sequence) and not isinstance(box, str) else []
    except (TypeError, ValueError):
        values = []
    if len(values) != 4 or not values[0] < values[1]:
        raise InputError(f"area {name!r} must be [south, north, west, east] with south < north: got {box}")
    south, north, west, east = values
    if grid.latitude is not None and grid.longitude is not None:
        y, x = grid.latitude, (grid.longitude - west + ON_EDGE) % 360 - ON_EDGE
        width = (east - west) % 360 or 360.0
        south, north, width = south - ON_EDGE, north + ON_EDGE, width + ON_EDGE
    else:
        y, x, width = *np.meshgrid(grid.y, grid.x - west, indexing="ij"), east - west
    inside = (y >= south) & (y <= north) & (x >= (0 if grid.latitude is None else -ON_EDGE)) & (x <= width)
    if not inside.any():
        raise InputError(f"area {name!r} must hold points of the grid: none lies in {values}")
    return inside


def _field(place: str, grid: Grid) -> Float[np.ndarray, "height width"]:
    path, _, name = place.rpartition(":")
    if not path or not Path(path).is_file():
        raise InputError(f"a mask or weights must be given as file.nc:variable: got {place!r}; no such file")
    try:
        with netCDF4.Dataset(path) as dataset:
            if name not in dataset.variables:
                raise InputError(f"{path} must have a variable {name!r}: it has {sorted(dataset.variables)}")
            values = np.ma.filled(np.ma.asarray(dataset.variables[name][:], dtype=np.float64), np.nan).squeeze()
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"a mask or weights must be a field in a NetCDF file: {place} is not readable ({error})"
        ) from error
    if values.shape != grid.shape:
        raise InputError(f"{place} must have the samples' grid {grid.shape}: got {values.shape}")
    return values
