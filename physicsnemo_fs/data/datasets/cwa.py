# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff's Taiwan data: analyses of the Central Weather Administration (CWA) at 2 km, and ERA5 on the same grid."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from physicsnemo_fs.data.builder.geometry import coarsened
from physicsnemo_fs.data.cf_times import decode_times
from physicsnemo_fs.data.datasets.published import (
    Pair,
    describe,
    labels_by_year,
    open_zarr,
    read_zarr,
)
from physicsnemo_fs.data.splits import LABELS
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError

Normalization = Literal["v1", "v2"]
Store = Mapping[str, Any]
"""The arrays of an open Zarr group."""

SIDES = ("cwb", "era5")
NEEDED = ("time", "XLAT", "XLONG", *(f"{side}{end}" for side in SIDES for end in ("", "_variable", "_pressure")))
NEEDED += tuple(f"{side}{end}" for side in SIDES for end in ("_center", "_scale", "_valid"))

SPACING_KM = 2.0
"""Distance of the grid's points."""

V2 = {
    "maximum_radar_reflectivity": (25.0, 25.0),
    "eastward_wind_10m": (0.0, 20.0),
    "northward_wind_10m": (0.0, 20.0),
}
"""Centre and scale that the second normalisation gives to some targets."""


class CWAFields:
    """The ``cwb`` or the ``era5`` fields of the published Zarr store at its valid times.

    A time is valid if ``cwb_valid`` and all of ``era5_valid`` are set. The fields are cropped to the first rows and
    columns, as published models are.

    Args:
        store: The open group.
        path: Where it is, for messages.
        side: ``"cwb"`` (target) or ``"era5"`` (input).
        channels: Positions of the channels.
        shape: Rows and columns of the crop.
        factor: Points per cell along an axis: values are averages over such blocks.

    Raises:
        InputError: If the store lacks something, or channels, crop and factor do not fit.
    """

    thread_safe = True

    def __init__(
        self,
        store: Store,
        path: Path,
        side: Literal["cwb", "era5"],
        channels: Sequence[int],
        shape: tuple[int, int],
        factor: int = 1,
    ):
        self.path = path
        self._array = store[side]
        self._channels = _positions(self._array, side, channels, path)
        names, levels = np.asarray(store[f"{side}_variable"][:]), np.asarray(store[f"{side}_pressure"][:])
        self.channels = tuple(describe(str(names[c]), float(levels[c])) for c in self._channels)
        self._factor = factor
        self.grid = _grid(store, shape, factor, path)
        self._stored_times = valid_times(store, path)
        self.times = _times(store, path)[self._stored_times]
        self.lead_hours: np.ndarray | None = None

    def read(
        self, positions: Sequence[int] | np.ndarray, window: tuple[slice, slice] | None = None
    ) -> Float[np.ndarray, "time channel y x"]:
        """Give the fields in physical units.

        Raises:
            InputError: If a chunk is damaged.
        """
        limits = [part.indices(n)[:2] for part, n in zip(window or (slice(None),) * 2, self.grid.shape, strict=True)]
        rows, columns = (slice(start * self._factor, stop * self._factor) for start, stop in limits)
        return np.stack([self._read_time(int(self._stored_times[p]), rows, columns) for p in positions])

    def _read_time(self, time: int, rows: slice, columns: slice) -> Float[np.ndarray, "channel y x"]:
        try:
            values = read_zarr(self._array, time, self._channels, rows, columns)
        except Exception as error:
            raise InputError(
                f"{self.path} must be whole: time {time} cannot be read ({error}); unpack it again"
            ) from error
        f = self._factor
        if f == 1:
            return values
        return values.reshape(len(values), values.shape[1] // f, f, values.shape[2] // f, f).mean(axis=(2, 4))


def open_cwa(
    path: str | Path,
    in_channels: Sequence[int],
    out_channels: Sequence[int],
    shape: tuple[int, int],
    normalization: Normalization = "v1",
    factor: int = 1,
    *,
    test_years: Collection[int],
    all_times: bool = False,
    validation: float,
    block: np.timedelta64,
    gap: np.timedelta64,
) -> Pair:
    """Open the published store.

    Args:
        path: Zarr store, such as ``2023-01-24-cwb-4years.zarr``.
        in_channels: Positions of the ERA5 channels.
        out_channels: Positions of the CWA channels.
        shape: Rows and columns of the crop, from the first ones.
        normalization: ``"v1"``, centre and scale of the store, or ``"v2"``, other ones for reflectivity and wind.
        factor: Points per cell of the input along an axis; 1 is the published input, interpolated to the target's grid.
        test_years: Years for testing; CorrDiff tests on 2021 and trains on the others.
        all_times: Give every time to testing, as CorrDiff does to generate.
        validation: Share of the training years' blocks that are for validation.
        block: Length of a block.
        gap: Training times closer than this to a validation time are not used.

    Raises:
        InputError: If the store or a choice does not fit.
    """
    path = Path(path)
    store = open_zarr(path, NEEDED, "the CWA data")
    target = CWAFields(store, path, "cwb", out_channels, shape)
    coarse = CWAFields(store, path, "era5", in_channels, shape, factor)
    outputs = _normalized(store, "cwb", out_channels, target.channels, V2 if normalization == "v2" else {})
    inputs = _normalized(store, "era5", in_channels, coarse.channels, {})
    if all_times:
        labels = np.full(len(target.times), LABELS["test"], np.uint8)
    else:
        labels = labels_by_year(target.times, None, test_years, validation, block, gap)
    return Pair(target, coarse, outputs, inputs, labels)


def valid_times(store: Store, path: Path) -> np.ndarray:
    """Give the positions of the times at which everything is valid.

    Raises:
        InputError: If there are none.
    """
    target: Bool[np.ndarray, " time"] = np.asarray(store["cwb_valid"][:]) != 0
    coarse = np.asarray(store["era5_valid"][:]) != 0
    if coarse.ndim != 2 or target.shape != coarse.shape[:1]:
        raise InputError(
            f"{path} must have cwb_valid[time] and era5_valid[time, channel]: got shapes "
            f"{target.shape} and {coarse.shape}; unpack it again"
        )
    found = np.flatnonzero(target & coarse.all(axis=1))
    if not len(found):
        raise InputError(f"{path} must hold valid times: none of {len(target)} is valid; unpack it again")
    return found


def _positions(array: Any, side: str, channels: Sequence[int], path: Path) -> list[int]:
    bad = [c for c in channels if not 0 <= c < array.shape[1]]
    if bad or not channels or len(set(channels)) < len(channels):
        raise InputError(
            f"channels of {side} must be different positions from 0 to {array.shape[1] - 1} in {path}: got "
            f"{list(channels)}; change dataset.{'out' if side == 'cwb' else 'in'}_channels"
        )
    return list(channels)


def _grid(store: Store, shape: tuple[int, int], factor: int, path: Path) -> Grid:
    stored = store["XLAT"].shape
    if not all(1 <= n <= most for n, most in zip(shape, stored, strict=True)) or any(n % factor for n in shape):
        raise InputError(
            f"the crop must lie within {stored} points and be a multiple of the factor: got {shape} and "
            f"factor {factor} for {path}; change dataset.img_shape_y, img_shape_x or lowres_scale_factor"
        )
    height, width = shape
    latitude, longitude = (np.asarray(store[name][:height, :width], np.float64) for name in ("XLAT", "XLONG"))
    fine = Grid(
        (height, width),
        (height * SPACING_KM, width * SPACING_KM),
        registration="cell",
        boundary="bounded",
        unit="km",
        latitude=latitude,
        longitude=longitude,
    )
    return fine if factor == 1 else coarsened(fine, factor)


def _times(store: Store, path: Path) -> np.ndarray:
    time = store["time"]
    times = decode_times(np.asarray(time[:]), time.attrs, path)
    if not (np.diff(times) > np.timedelta64(0)).all():
        raise InputError(f"times of {path} must ascend: they do not; unpack it again")
    return times


def _normalized(
    store: Store, side: str, positions: Sequence[int], channels: Sequence[Channel], others: dict[str, Any]
) -> tuple[Channel, ...]:
    centers, scales = (np.asarray(store[f"{side}_{name}"][:], np.float64) for name in ("center", "scale"))
    pairs = [others.get(c.name, (centers[p], scales[p])) for c, p in zip(channels, positions, strict=True)]
    return tuple(replace(c, mean=float(m), std=float(s)) for c, (m, s) in zip(channels, pairs, strict=True))
