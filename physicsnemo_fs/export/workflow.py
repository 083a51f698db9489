# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""An earth2studio workflow: a data source in, members of a package through an IO backend out."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.grids import NEAR
from physicsnemo_fs.export.notes import Note

try:
    from earth2studio.data import fetch_data
    from earth2studio.utils.coords import split_coords
    from earth2studio.utils.interp import LatLonInterpolation
    from earth2studio.utils.time import to_time_array
    from scipy.spatial import cKDTree
except ImportError as error:
    raise ImportError(
        f"this workflow needs earth2studio, which is not whole here ({error}): "
        'pip install "physicsnemo-fs[earth2studio]"'
    ) from error

WIDER = "give one that reaches further"
NO_RING = (
    "export with model_class=regional: packages of the stock class need one more row and column on every side than the "
    "training's coarse grid"
)


def downscale(
    model: Any,
    source: Any,
    times: Sequence[Any],
    io: Any,
    device: torch.device | str = "cpu",
    lead_times: Sequence[Any] | None = None,
) -> Any:
    """Downscale times of a data source with a CorrDiff package and write the members through an IO backend.

    The input is interpolated linearly to the model's input grid: the source's own values where that has these points.
    One time is in memory at a time. Backends of files also get the members' seeds, as an attribute.

    Args:
        model: ``CorrDiff`` or ``CorrDiffRegional``.
        source: Data source of earth2studio: ``source(times, variables)`` gives an xarray with ``lat`` and ``lon``.
        times: Times to downscale.
        io: IO backend of earth2studio: ``NetCDF4Backend``, ``ZarrBackend`` ...
        device: Where to run.
        lead_times: Of forecasts that started at ``times``: ``timedelta64``, or text such as ``"12h"``.

    Returns:
        The backend, with ``(time, sample, ...)`` or ``(time, lead_time, sample, ...)`` arrays by variable.

    Raises:
        InputError: If there is no time, a lead time has no unit, or the source does not cover the input grid.
    """
    moments = to_time_array(list(times))
    leads = None if lead_times is None else np.asarray([_lead(v) for v in lead_times], "timedelta64[s]")
    if not len(moments) or (leads is not None and not len(leads)):
        raise InputError("downscaling needs at least one time, and one lead time if any: got none")
    model = model.to(device)
    wanted = model.input_coords()
    output = model.output_coords(wanted)
    remedy = WIDER if getattr(model, "function_space", None) else f"{WIDER}, or {NO_RING}"
    when = OrderedDict(time=moments) if leads is None else OrderedDict(time=moments, lead_time=leads)
    io.add_array(when | {n: output[n] for n in ("sample", "lat", "lon") if n in output}, output["variable"])
    Note.of(model).write(io)
    for i in range(len(moments)):
        for j in range(1 if leads is None else len(leads)):
            ahead = None if leads is None else leads[j : j + 1]
            members, coords = model(*read_input(source, moments[i : i + 1], wanted, device, ahead, remedy))
            io.write(*split_coords(members, coords))
    return io


def _lead(given: Any) -> np.timedelta64:
    bare = isinstance(given, str) and given.strip().lstrip("+-").replace(".", "").isdigit()
    if bare or not isinstance(given, str | timedelta | np.timedelta64):
        raise InputError(f"lead times must have a unit: got {given!r}; give np.timedelta64(12, 'h') or '12h'")
    try:
        return pd.Timedelta(given).to_timedelta64()
    except ValueError as error:
        raise InputError(f"lead times must be lengths of time such as '12h': got {given!r} ({error})") from error


def read_input(
    source: Any,
    times: np.ndarray,
    wanted: OrderedDict,
    device: torch.device | str = "cpu",
    lead_times: np.ndarray | None = None,
    remedy: str = WIDER,
) -> tuple[Tensor, OrderedDict]:
    """Read a model's input from a data source, on the model's grid.

    Args:
        source: Data source.
        times: Times, ``datetime64``.
        wanted: The model's input coordinates.
        device: Device of the result.
        lead_times: Lead times, ``timedelta64``; none for analyses.
        remedy: What to do about a source that does not cover the grid, for the message.

    Returns:
        Fields ``[time, variable, lat, lon]``, or with lead times ``[time, lead_time, variable, lat, lon]``, and their
        coordinates.

    Raises:
        InputError: If the source has no latitudes and longitudes, or does not cover the input grid.
    """
    leads = np.zeros(1, "timedelta64[ns]") if lead_times is None else lead_times
    found = fetch_data(source, times, wanted["variable"], leads, legacy=False)
    if not {"lat", "lon"} <= set(found.coords):
        raise InputError(
            f"the data source must have coordinates lat and lon: it has {', '.join(map(str, found.coords))}"
        )
    found = found.transpose("time", "lead_time", "variable", ...)
    if found["lat"].ndim == 1:
        found = found.transpose(..., "lat", "lon")
    there = [found[name].transpose(*found.dims[3:], missing_dims="ignore").values for name in ("lat", "lon")]
    x = on_grid(torch.as_tensor(found.values, dtype=torch.float32).to(device), there, [wanted["lat"], wanted["lon"]])
    if not bool(torch.isfinite(x).all()):
        raise InputError(
            f"the data source must cover the input grid, {wanted['lat'].min():g} to {wanted['lat'].max():g} °N and "
            f"{wanted['lon'].min():g} to {wanted['lon'].max():g} °E, without missing values: it does not at "
            f"{times[0]}; {remedy}"
        )
    places = {name: wanted[name] for name in ("variable", "lat", "lon")}
    if lead_times is None:
        return x[:, 0], OrderedDict(time=times, **places)
    return x, OrderedDict(time=times, lead_time=lead_times, **places)


def on_grid(x: Float[Tensor, "*lead y x"], there: Sequence[np.ndarray], here: Sequence[np.ndarray]) -> Tensor:
    """Interpolate fields linearly to another grid; NaN outside. Points that both grids have keep their values.

    Args:
        x: Fields.
        there: Their latitudes and longitudes, of rows and columns or of every point.
        here: Those of the other grid.

    Raises:
        InputError: If latitudes or longitudes of rows and columns neither rise nor fall.
    """
    if there[0].ndim == 1:
        return bilinear(x, there[0], there[1], here[0], here[1])
    middle = float(here[1].flat[here[1].size // 2])
    (north, east), (new_north, new_east) = there, _mesh(*here)
    east, new_east = ((lon - middle + 180.0) % 360.0 - 180.0 for lon in (east, new_east))
    shared, point = (torch.from_numpy(v).to(x.device) for v in _shared(north, east, new_north, new_east))
    taken = x.flatten(-2)[..., point]
    if bool(shared.all()):
        return taken
    return torch.where(shared, taken, LatLonInterpolation(north, east, new_north, new_east).to(x.device)(x))


def bilinear(
    x: Float[Tensor, "*lead lat lon"],
    latitude: Float[np.ndarray, " lat"],
    longitude: Float[np.ndarray, " lon"],
    new_latitude: np.ndarray,
    new_longitude: np.ndarray,
) -> Tensor:
    """Interpolate fields of a regular grid, round the globe where it is whole; NaN outside and beside missing values.

    A point that both grids have keeps its value, whatever is missing beside it.

    Args:
        x: Fields.
        latitude: Rising or falling.
        longitude: Rising or falling, in any convention.
        new_latitude: Rows of a regular grid, or the latitude of every point.
        new_longitude: Columns of a regular grid, or the longitude of every point.

    Raises:
        InputError: If latitudes or longitudes neither rise nor fall.

    Example:
        >>> x = torch.tensor([[0.0, 10.0, 20.0, 30.0]]).repeat(2, 1)
        >>> bilinear(x, np.array([1.0, 0.0]), np.array([0.0, 90.0, 180.0, 270.0]), np.array([0.5]), np.array([-45.0]))
        tensor([[15.]])
    """
    x, latitude = _rising(x, -2, latitude, "latitudes")
    x, longitude = _rising(x, -1, np.unwrap(longitude, period=360.0), "longitudes")
    if np.isclose(longitude[-1] + (longitude[1] - longitude[0]) - longitude[0], 360.0):
        x, longitude = torch.cat([x, x[..., :1]], dim=-1), np.append(longitude, longitude[0] + 360.0)
    start = longitude[0] - NEAR
    north, east = _mesh(new_latitude, (new_longitude - start) % 360.0 + start)
    (rows, down), (columns, across) = _between(latitude, north, x), _between(longitude, east, x)
    upper = _mixed(x[..., rows, columns], x[..., rows, columns + 1], across)
    lower = _mixed(x[..., rows + 1, columns], x[..., rows + 1, columns + 1], across)
    return _mixed(upper, lower, down)


def _shared(
    north: np.ndarray, east: np.ndarray, new_north: np.ndarray, new_east: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give for each new point whether a grid has it, in whatever order, and the number of the nearest point."""
    tree = cKDTree(np.stack([north.ravel(), east.ravel()], axis=-1))
    distance, point = tree.query(np.stack([new_north, new_east], axis=-1))
    return distance < NEAR, point


def _rising(x: Tensor, dim: int, axis: np.ndarray, name: str) -> tuple[Tensor, np.ndarray]:
    """Give fields and axis so that the axis rises."""
    steps = np.diff(axis)
    if len(steps) and (steps < 0).all():
        return x.flip(dim), axis[::-1]
    if not len(steps) or not (steps > 0).all():
        raise InputError(f"the data source's {name} must rise or fall, two at least: got {axis[:4]} ...")
    return x, axis


def _mesh(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if latitude.ndim == 2:
        return latitude, longitude
    north, east = np.meshgrid(latitude, longitude, indexing="ij")
    return north, east


def _mixed(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Go a share of the way from one value to the other; what has no share may be missing."""
    return torch.where(share == 1, second, first * (1 - share) + torch.where(share == 0, 0.0, second * share))


def _between(axis: np.ndarray, places: np.ndarray, like: Tensor) -> tuple[Tensor, Tensor]:
    """Give for each place the point of an axis before it, and the share of the way to the next; NaN outside.

    Places at a point, to rounding, have a share of 0 or 1.
    """
    left = np.clip(np.searchsorted(axis, places, side="right") - 1, 0, len(axis) - 2)
    share = (places - axis[left]) / (axis[left + 1] - axis[left])
    share[np.abs(places - axis[left]) < NEAR] = 0.0
    share[np.abs(places - axis[left + 1]) < NEAR] = 1.0
    share[(places < axis[0] - NEAR) | (places > axis[-1] + NEAR)] = np.nan
    return torch.from_numpy(left).to(like.device), torch.from_numpy(share).to(like)
