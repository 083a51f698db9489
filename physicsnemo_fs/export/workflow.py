# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""An earth2studio workflow: a data source in, members of a package through an IO backend out."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.errors import InputError

try:
    from earth2studio.data import fetch_data
    from earth2studio.utils.coords import split_coords
    from earth2studio.utils.interp import LatLonInterpolation
    from earth2studio.utils.time import to_time_array
except ImportError as error:
    raise ImportError(
        f"this workflow needs earth2studio, which is not whole here ({error}): "
        'pip install "physicsnemo-fs[earth2studio]"'
    ) from error

EDGE = 1e-6
"""Share of a cell by which a place may lie outside of the outermost points: rounding."""


def downscale(
    model: Any,
    source: Any,
    times: Sequence[Any],
    io: Any,
    device: torch.device | str = "cpu",
) -> Any:
    """Downscale times of a data source with a CorrDiff package and write the members through an IO backend.

    The input is interpolated linearly to the model's input grid: the source's own values where that has these points.
    One time is in memory at a time.

    Args:
        model: ``CorrDiff`` or ``CorrDiffRegional``.
        source: Data source of earth2studio: ``source(times, variables)`` gives an xarray with ``lat`` and ``lon``.
        times: Times to downscale.
        io: IO backend of earth2studio: ``NetCDF4Backend``, ``ZarrBackend`` ...
        device: Where to run.

    Returns:
        The backend, with ``(time, sample, ...)`` arrays by variable.

    Raises:
        InputError: If there is no time, or the source does not cover the input grid.
    """
    moments = to_time_array(list(times))
    if not len(moments):
        raise InputError("downscaling needs at least one time: got none")
    model = model.to(device)
    wanted = model.input_coords()
    output = model.output_coords(wanted)
    total = OrderedDict(time=moments, **{name: output[name] for name in ("sample", "lat", "lon")})
    io.add_array(total, output["variable"])
    for i in range(len(moments)):
        members, coords = model(*read_input(source, moments[i : i + 1], wanted, device))
        io.write(*split_coords(members, coords))
    return io


def read_input(source: Any, times: np.ndarray, wanted: OrderedDict, device: torch.device | str = "cpu") -> tuple:
    """Read a model's input from a data source, on the model's grid.

    Args:
        source: Data source.
        times: Times, ``datetime64``.
        wanted: The model's input coordinates.
        device: Device of the result.

    Returns:
        Fields ``[time, variable, lat, lon]`` and their coordinates.

    Raises:
        InputError: If the source does not cover the input grid.
    """
    x, coords = fetch_data(source, times, wanted["variable"], device=device)
    there, here = ([c["lat"], c["lon"]] for c in (coords, wanted))
    if there[0].ndim == 1:
        x = bilinear(x, *there, *here)
    elif not all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(there, here, strict=True)):
        x = LatLonInterpolation(*there, *_mesh(*here)).to(device)(x)
    if not bool(torch.isfinite(x).all()):
        raise InputError(
            f"the data source must cover the input grid, {wanted['lat'].min():g} to {wanted['lat'].max():g} °N and "
            f"{wanted['lon'].min():g} to {wanted['lon'].max():g} °E, without missing values: it does not at {times[0]}"
        )
    x = x[:, 0]  # lead time zero
    return x, OrderedDict(time=times, **{name: wanted[name] for name in ("variable", "lat", "lon")})


def bilinear(
    x: Float[Tensor, "*lead lat lon"],
    latitude: Float[np.ndarray, " lat"],
    longitude: Float[np.ndarray, " lon"],
    new_latitude: np.ndarray,
    new_longitude: np.ndarray,
) -> Tensor:
    """Interpolate fields of a regular grid, round the globe where it is whole; NaN outside.

    Args:
        x: Fields.
        latitude: Rising or falling.
        longitude: Rising, in any convention.
        new_latitude: Rows of a regular grid, or the latitude of every point.
        new_longitude: Columns of a regular grid, or the longitude of every point.

    Example:
        >>> x = torch.tensor([[0.0, 10.0, 20.0, 30.0]]).repeat(2, 1)
        >>> bilinear(x, np.array([1.0, 0.0]), np.array([0.0, 90.0, 180.0, 270.0]), np.array([0.5]), np.array([-45.0]))
        tensor([[15.]])
    """
    if latitude[0] > latitude[-1]:
        x, latitude = x.flip(-2), latitude[::-1]
    if np.isclose(longitude[-1] + (longitude[1] - longitude[0]) - longitude[0], 360.0):
        x, longitude = torch.cat([x, x[..., :1]], dim=-1), np.append(longitude, longitude[0] + 360.0)
    north, east = _mesh(new_latitude, (new_longitude - longitude[0]) % 360.0 + longitude[0])
    (rows, down), (columns, across) = _between(latitude, north, x), _between(longitude, east, x)
    upper = x[..., rows, columns] * (1 - across) + x[..., rows, columns + 1] * across
    lower = x[..., rows + 1, columns] * (1 - across) + x[..., rows + 1, columns + 1] * across
    return upper * (1 - down) + lower * down


def _mesh(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if latitude.ndim == 2:
        return latitude, longitude
    north, east = np.meshgrid(latitude, longitude, indexing="ij")
    return north, east


def _between(axis: np.ndarray, places: np.ndarray, like: Tensor) -> tuple[Tensor, Tensor]:
    """Give for each place the point of an axis before it, and the share of the way to the next; NaN outside."""
    left = np.clip(np.searchsorted(axis, places, side="right") - 1, 0, len(axis) - 2)
    share = (places - axis[left]) / (axis[left + 1] - axis[left])
    share[(share < -EDGE) | (share > 1 + EDGE)] = np.nan
    return torch.from_numpy(left).to(like.device), torch.from_numpy(share).to(like)
