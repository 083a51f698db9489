# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The NetCDF layout of generated ensembles, version 1.0.

===================  =================================================================================
``/``                ``lat(y, x)``, ``lon(y, x)``, ``time(time)``, ``y(y)``, ``x(x)`` and nothing else
``/input``           coarse fields of the valid time on the output grid, ``(time, y, x)``
``/input_native``    the same fields on their own grid, with their own ``y`` and ``x``
``/truth``           ``(time, y, x)``, if there is truth
``/regression``      regression mean, ``(time, y, x)``, if there is one
``/prediction``      ``(ensemble, time, y, x)``, with ``ensemble(ensemble)`` and ``seed(ensemble)``
``/provenance``      ``block(time)``, ``crs`` (grid and reference system), attribute ``record`` (JSON)
===================  =================================================================================

The groups ``input``, ``truth`` and ``prediction`` and the content of the root follow CorrDiff, whose scorer
merges the root into each group and fails on anything else there. Attributes follow CF-1.11 and ACDD-1.3. No
variable is a string: opening a file with one twice crashes the NetCDF library (netcdf4-python issue 1444).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import netCDF4
import numpy as np

import physicsnemo_fs
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError

LAYOUT_VERSION = "1.0"
LAYOUT_ATTRIBUTE = "physicsnemo_fs_layout"
ENSEMBLE_ALIASES = ("ensemble", "sample", "member", "number", "realization")
RESERVED_NAMES = frozenset({"time", "y", "x", "lat", "lon", "seed", *ENSEMBLE_ALIASES})
CALENDAR = "proleptic_gregorian"
TIME_UNITS = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}

OTHER_FRAME = re.compile(r"@[+-]\d+$")
"""Ends the name of an input at another time of the window; a level is written ``z@500``."""


@dataclass(frozen=True)
class EnsembleSpec:
    """Everything about a file of generated ensembles that is known before the first sample.

    Args:
        grid: Grid of the output.
        coarse_grid: Grid of the coarse input.
        times: Valid times, ``datetime64``, strictly increasing, shape ``(time,)``.
        blocks: Integer label of the statistically independent block (trajectory, day) of each time.
        output_channels: Generated variables.
        input_channels: Coarse channels; those of other frames (``name@-1``) are not written.
        member_seeds: Seed of each ensemble member, all different.
        provenance: What made the file (resolved config, checkpoint hashes, sampler, versions), in JSON
            types. ``"model_name"`` names the model in tables of scores.
        has_truth: Whether truth is written for every time.
        has_regression: Whether the regression mean is written for every time.

    Raises:
        InputError: If times, blocks, seeds, names or provenance break the rules above.

    Example:
        >>> days = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]")
        >>> spec = EnsembleSpec(
        ...     Grid((8, 8), (1.0, 1.0)), Grid((2, 2), (1.0, 1.0)), days, np.array([0, 1]),
        ...     (Channel("t2m", "K"),), (Channel("t2m", "K"), Channel("t2m@-1", "K")), (0, 1, 2),
        ... )
        >>> spec.shape, [channel.name for _, channel in spec.current_inputs]
        ((3, 2, 8, 8), ['t2m'])
    """

    grid: Grid
    coarse_grid: Grid
    times: np.ndarray
    blocks: np.ndarray
    output_channels: tuple[Channel, ...]
    input_channels: tuple[Channel, ...]
    member_seeds: tuple[int, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    has_truth: bool = True
    has_regression: bool = True

    def __post_init__(self):
        object.__setattr__(self, "times", np.asarray(self.times))
        object.__setattr__(self, "blocks", np.asarray(self.blocks))
        object.__setattr__(self, "member_seeds", tuple(int(seed) for seed in self.member_seeds))
        self._check_times()
        self._check_members()
        _check_names([channel.name for channel in self.output_channels], "output")
        _check_names([channel.name for _, channel in self.current_inputs], "input")
        _check_positions(self.grid)
        encode_provenance(self.provenance)

    def _check_times(self) -> None:
        if self.times.ndim != 1 or self.times.size == 0 or self.times.dtype.kind != "M":
            raise InputError(
                "times must be one or more datetime64 values on one axis: got dtype "
                f"{self.times.dtype}, shape {self.times.shape}"
            )
        if np.isnat(self.times).any() or not (np.diff(self.times.astype("datetime64[ns]").astype(np.int64)) > 0).all():
            raise InputError("times must be strictly increasing: got unsorted or repeated times; sort them")
        if self.blocks.shape != self.times.shape or self.blocks.dtype.kind not in "iu":
            raise InputError(
                f"blocks must hold one integer for each of {self.times.size} times: got dtype "
                f"{self.blocks.dtype}, shape {self.blocks.shape}"
            )

    def _check_members(self) -> None:
        if not self.member_seeds or len(set(self.member_seeds)) != len(self.member_seeds):
            raise InputError(
                f"member seeds must be one or more and all different: got {list(self.member_seeds)}; "
                "equal seeds make equal members"
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape ``(ensemble, time, y, x)`` of a predicted variable."""
        return len(self.member_seeds), self.times.size, *self.grid.shape

    @property
    def current_inputs(self) -> tuple[tuple[int, Channel], ...]:
        """Position and channel of each coarse input at the valid time itself."""
        return tuple((i, c) for i, c in enumerate(self.input_channels) if not OTHER_FRAME.search(c.name))

    @property
    def field_groups(self) -> dict[str, tuple[Channel, ...]]:
        """The ``(time, y, x)`` groups of the file and their variables."""
        inputs = tuple(channel for _, channel in self.current_inputs)
        groups = {"input": inputs, "input_native": inputs}
        if self.has_truth:
            groups["truth"] = self.output_channels
        if self.has_regression:
            groups["regression"] = self.output_channels
        return groups


def _check_names(names: list[str], kind: str) -> None:
    bad = [name for name in names if not name or "/" in name or name in RESERVED_NAMES]
    if bad or len(set(names)) != len(names):
        raise InputError(
            f"{kind} variables need different names without '/' and other than {sorted(RESERVED_NAMES)}: got {names}"
        )


def _check_positions(grid: Grid) -> None:
    for name, value in (("latitude", grid.latitude), ("longitude", grid.longitude)):
        if (value is None) != (grid.latitude is None):
            raise InputError("a geographic grid needs both latitude and longitude: got one of them")
        if value is not None and (value.shape != grid.shape or not np.isfinite(value).all()):
            raise InputError(f"{name} must be finite and of the grid's shape {grid.shape}: got shape {value.shape}")


def encode_provenance(provenance: Mapping[str, Any]) -> str:
    """Give the JSON text of a provenance record, with sorted keys.

    Raises:
        InputError: If a value is not of a JSON type.
    """
    try:
        return json.dumps(dict(provenance), sort_keys=True, allow_nan=False, indent=1)
    except (TypeError, ValueError) as error:
        raise InputError(f"provenance must hold finite JSON values only: {error}") from error


def encode_times(times: np.ndarray) -> tuple[np.ndarray, str]:
    """Give int64 CF times in the coarsest unit that is exact, and the CF unit.

    Example:
        >>> encode_times(np.array(["1970-01-01T00:01", "1970-01-01T00:00:02"], dtype="datetime64[ns]"))
        (array([60,  2]), 'seconds since 1970-01-01 00:00:00')
    """
    nanoseconds = times.astype("datetime64[ns]").astype(np.int64)
    unit = next(name for name, size in TIME_UNITS.items() if not (nanoseconds % size).any())
    return nanoseconds // TIME_UNITS[unit], f"{unit} since 1970-01-01 00:00:00"


def define_layout(dataset: netCDF4.Dataset, spec: EnsembleSpec, significant_bits: int | None = None) -> None:
    """Make the dimensions, variables and attributes of an empty file, and fill its coordinates.

    Args:
        dataset: A new NetCDF-4 file.
        spec: What the file will hold.
        significant_bits: Mantissa bits kept of predicted values (bit rounding); ``None`` keeps all.
    """
    _define_root(dataset, spec)
    _define_provenance(dataset.createGroup("provenance"), spec)
    for name, channels in spec.field_groups.items():
        group = dataset.createGroup(name)
        if name == "input_native":
            _define_axes(group, spec.coarse_grid)
        _define_fields(group, channels, ("time", "y", "x"), spec)
    prediction = dataset.createGroup("prediction")
    _define_members(prediction, spec)
    _define_fields(prediction, spec.output_channels, ("ensemble", "time", "y", "x"), spec, significant_bits)


def _define_root(dataset: netCDF4.Dataset, spec: EnsembleSpec) -> None:
    dataset.createDimension("time", spec.times.size)
    values, units = encode_times(spec.times)
    time = dataset.createVariable("time", np.int64, ("time",))
    time.setncatts(
        {
            "standard_name": "time",
            "long_name": "valid time",
            "units": units,
            "units_metadata": "leap_seconds: none",
            "calendar": CALENDAR,
            "axis": "T",
        }
    )
    time[:] = values
    _define_axes(dataset, spec.grid)
    _define_latlon(dataset, spec.grid)
    dataset.setncatts(_global_attributes(spec))


def _define_axes(group: netCDF4.Dataset | netCDF4.Group, grid: Grid) -> None:
    for name, size, values in (("y", grid.shape[0], grid.y), ("x", grid.shape[1], grid.x)):
        group.createDimension(name, size)
        axis = group.createVariable(name, np.float64, (name,))
        axis.setncatts({"long_name": f"{name} position in the domain", "units": grid.unit, "axis": name.upper()})
        axis[:] = values


def _define_latlon(dataset: netCDF4.Dataset, grid: Grid) -> None:
    if grid.latitude is not None and grid.longitude is not None:
        lat, lon = grid.latitude, grid.longitude
        attributes = [
            {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"},
            {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"},
        ]
    else:
        lat, lon = np.broadcast_to(grid.y[:, None], grid.shape), np.broadcast_to(grid.x, grid.shape)
        attributes = [
            {"long_name": f"{name} position in the domain (not a geographic grid)", "units": grid.unit} for name in "yx"
        ]
    for name, values, attribute in zip(("lat", "lon"), (lat, lon), attributes, strict=True):
        variable = dataset.createVariable(name, np.float64, ("y", "x"), compression="zlib", complevel=1, shuffle=True)
        variable.setncatts(attribute)
        variable[:] = values


def _define_members(group: netCDF4.Group, spec: EnsembleSpec) -> None:
    group.createDimension("ensemble", len(spec.member_seeds))
    ensemble = group.createVariable("ensemble", np.int32, ("ensemble",))
    ensemble.setncatts({"standard_name": "realization", "long_name": "ensemble member", "units": "1"})
    ensemble[:] = np.arange(len(spec.member_seeds))
    seed = group.createVariable("seed", np.int64, ("ensemble",))
    seed.setncatts({"long_name": "random seed of the member"})
    seed[:] = np.array(spec.member_seeds, dtype=np.int64)
    group.setncattr("coordinates", "seed")  # for xarray: not a predicted variable


def _define_fields(
    group: netCDF4.Group,
    channels: tuple[Channel, ...],
    dimensions: tuple[str, ...],
    spec: EnsembleSpec,
    significant_bits: int | None = None,
) -> None:
    native = group.name == "input_native"
    shape = spec.coarse_grid.shape if native else spec.grid.shape
    rounding: dict[str, Any] = (
        {} if significant_bits is None else {"significant_digits": significant_bits, "quantize_mode": "BitRound"}
    )
    for channel in channels:
        variable = group.createVariable(
            channel.name,
            np.float32,
            dimensions,
            chunksizes=(1,) * (len(dimensions) - 2) + shape,
            compression="zlib",
            complevel=1,
            shuffle=True,
            fill_value=np.float32(np.nan),
            **rounding,
        )
        variable.setncatts(_field_attributes(channel, geographic=spec.grid.latitude is not None, native=native))


def _field_attributes(channel: Channel, geographic: bool, native: bool) -> dict[str, str]:
    attributes = {"units": channel.unit, "long_name": channel.long_name or channel.name}
    if channel.standard_name:
        attributes["standard_name"] = channel.standard_name
    if not native:
        attributes["coordinates"] = "lat lon"
        if geographic:
            attributes["grid_mapping"] = "/provenance/crs"
    return attributes


def _define_provenance(group: netCDF4.Group, spec: EnsembleSpec) -> None:
    block = group.createVariable("block", np.int64, ("time",))
    block.setncatts({"long_name": "label of the statistically independent block (trajectory, day) of each time"})
    block[:] = spec.blocks
    crs = group.createVariable("crs", np.int32, ())
    crs.setncatts(grid_attributes(spec.grid))
    crs[...] = 0
    group.setncattr("record", encode_provenance(spec.provenance))


def grid_attributes(grid: Grid) -> dict[str, Any]:
    """Give the attributes of ``/provenance/crs``: what :class:`Grid` needs beside the coordinate arrays."""
    geographic = grid.latitude is not None
    reference: dict[str, Any] = (
        {"grid_mapping_name": "latitude_longitude", "long_name": "geographic positions in lat and lon"}
        if geographic
        else {"long_name": "plane domain without geographic reference"}
    )
    return {
        **reference,
        "extent": np.array(grid.extent, dtype=np.float64),
        "origin": np.array(grid.origin, dtype=np.float64),
        "unit": grid.unit,
        "registration": grid.registration,
        "boundary": grid.boundary,
    }


def _global_attributes(spec: EnsembleSpec) -> dict[str, Any]:
    names = ", ".join(channel.long_name or channel.name for channel in spec.output_channels)
    model = str(spec.provenance.get("model_name", "unnamed model"))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    source = f"physicsnemo_fs {physicsnemo_fs.__version__}, {model}"
    attributes: dict[str, Any] = {
        "Conventions": "CF-1.11, ACDD-1.3",
        LAYOUT_ATTRIBUTE: LAYOUT_VERSION,
        "title": f"Generated ensembles of {names}",
        "summary": f"{spec.shape[0]} samples of {names} at each of {spec.shape[1]} times, conditional on coarse input",
        "keywords": "downscaling, super-resolution, ensemble, generative model",
        "source": source,
        "history": f"{now} generated by {source}",
        "date_created": now,
        "time_coverage_start": str(spec.times[0].astype("datetime64[s]")) + "Z",
        "time_coverage_end": str(spec.times[-1].astype("datetime64[s]")) + "Z",
        "standard_name_vocabulary": "CF Standard Name Table",
    }
    if spec.grid.latitude is not None and spec.grid.longitude is not None:
        for name, values in (("lat", spec.grid.latitude), ("lon", spec.grid.longitude)):
            attributes[f"geospatial_{name}_min"] = float(values.min())
            attributes[f"geospatial_{name}_max"] = float(values.max())
    return attributes
