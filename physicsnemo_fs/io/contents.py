# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a file of generated ensembles holds, whatever its format: groups, variables, attributes, coordinates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np

import physicsnemo_fs
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.io.layout import (
    CALENDAR,
    LAYOUT_ATTRIBUTE,
    LAYOUT_VERSION,
    EnsembleSpec,
    encode_provenance,
    encode_times,
)

QUANTISED = "_QuantizeBitRoundNumberOfSignificantBits"
"""The attribute by which NetCDF's library says that values were rounded."""


@dataclass(frozen=True)
class Variable:
    """A variable of a file.

    Args:
        name: Its name in the group.
        dimensions: Names of its dimensions.
        attributes: Its attributes.
        values: Its values; ``None`` for a field, float32 with NaN where missing, which is written chunk by chunk.
    """

    name: str
    dimensions: tuple[str, ...]
    attributes: dict[str, Any]
    values: np.ndarray | None = None


@dataclass(frozen=True)
class Group:
    """A group of a file.

    Args:
        name: Its name; empty for the root.
        dimensions: Sizes of the dimensions that it adds to those of the root.
        variables: Its variables.
        attributes: Its attributes.
    """

    name: str
    dimensions: dict[str, int]
    variables: tuple[Variable, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


def contents(spec: EnsembleSpec, significant_bits: int | None = None) -> tuple[Group, ...]:
    """Give the groups of a file, the root first.

    Args:
        spec: What the file will hold.
        significant_bits: Mantissa bits kept of predicted values; ``None`` keeps all.
    """
    groups = [_root(spec), _provenance(spec)]
    for name, channels in spec.field_groups.items():
        native = name == "input_native"
        axes = _axes(spec.coarse_grid) if native else ()
        sizes = dict(zip("yx", spec.coarse_grid.shape, strict=True)) if native else {}
        fields = _fields(channels, ("time", "y", "x"), spec, native=native)
        groups.append(Group(name, sizes, (*axes, *fields)))
    members = np.array(spec.member_seeds, dtype=np.int64)
    ensemble = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}
    rounded: dict[str, Any] = {} if significant_bits is None else {QUANTISED: np.int32(significant_bits)}
    seeds = Variable("seed", ("ensemble",), {"long_name": "random seed of the member"}, members)
    variables = (
        Variable("ensemble", ("ensemble",), ensemble, np.arange(len(members), dtype=np.int32)),
        *([seeds] if spec.seeds_known else []),
        *_fields(spec.output_channels, ("ensemble", "time", "y", "x"), spec, more=rounded),
    )
    # "coordinates" tells xarray that the seed is not a predicted variable
    attributes = {"coordinates": "seed"} if spec.seeds_known else {}
    return (*groups, Group("prediction", {"ensemble": len(members)}, variables, attributes))


def sizes(groups: tuple[Group, ...], group: Group) -> dict[str, int]:
    """Give the sizes of the dimensions that a group sees."""
    return groups[0].dimensions | group.dimensions


def _root(spec: EnsembleSpec) -> Group:
    values, units = encode_times(spec.times)
    time = {
        "standard_name": "time",
        "long_name": "valid time",
        "units": units,
        "units_metadata": "leap_seconds: none",
        "calendar": CALENDAR,
        "axis": "T",
    }
    dimensions = {"time": spec.times.size, **dict(zip("yx", spec.grid.shape, strict=True))}
    variables = (Variable("time", ("time",), time, values), *_axes(spec.grid), *_latlon(spec.grid))
    return Group("", dimensions, variables, _global_attributes(spec))


def _axes(grid: Grid) -> tuple[Variable, ...]:
    return tuple(
        Variable(
            name,
            (name,),
            {"long_name": f"{name} position in the domain", "units": grid.unit, "axis": name.upper()},
            np.asarray(values, np.float64),
        )
        for name, values in (("y", grid.y), ("x", grid.x))
    )


def _latlon(grid: Grid) -> tuple[Variable, ...]:
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
    return tuple(
        Variable(name, ("y", "x"), attribute, np.asarray(values, np.float64))
        for name, values, attribute in zip(("lat", "lon"), (lat, lon), attributes, strict=True)
    )


def _fields(
    channels: tuple[Channel, ...],
    dimensions: tuple[str, ...],
    spec: EnsembleSpec,
    native: bool = False,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Variable, ...]:
    geographic = spec.grid.latitude is not None
    return tuple(
        Variable(channel.name, dimensions, _field_attributes(channel, geographic, native) | dict(more))
        for channel in channels
    )


def _field_attributes(channel: Channel, geographic: bool, native: bool) -> dict[str, Any]:
    attributes: dict[str, Any] = {"units": channel.unit, "long_name": channel.long_name or channel.name}
    if channel.standard_name:
        attributes["standard_name"] = channel.standard_name
    if not native:
        attributes["coordinates"] = "lat lon"
        if geographic:
            attributes["grid_mapping"] = "/provenance/crs"
    return attributes


def _provenance(spec: EnsembleSpec) -> Group:
    label = {"long_name": "label of the statistically independent block (trajectory, day) of each time"}
    variables = (
        Variable("block", ("time",), label, np.asarray(spec.blocks, np.int64)),
        Variable("crs", (), grid_attributes(spec.grid), np.zeros((), np.int32)),
    )
    return Group("provenance", {}, variables, {"record": encode_provenance(spec.provenance)})


def grid_attributes(grid: Grid) -> dict[str, Any]:
    """Give the attributes of ``/provenance/crs``: what :class:`Grid` needs beside the coordinate arrays."""
    geographic = grid.latitude is not None
    reference: dict[str, Any] = (
        {"grid_mapping_name": "latitude_longitude", "long_name": "geographic positions in lat and lon"}
        if geographic
        else {"long_name": "plane domain without geographic reference"}
    )
    if geographic and grid.projection is not None:
        reference = {**grid.projection, "long_name": "projection of the rows and columns"}
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
