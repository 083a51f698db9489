# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Knowledge of the CF conventions and of common usage: what tells a time, a latitude, a level, a member."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import xarray as xr


@dataclass(frozen=True)
class Kind:
    """What tells a kind of coordinate: CF standard names, units, axis, and names in common use, lower case.

    With ``dates`` a row of dates under any other name may be one too.
    """

    standard_names: tuple[str, ...]
    units: tuple[str, ...] = ()
    axis: str = ""
    names: tuple[str, ...] = ()
    dates: bool = False

    def likeness(self, name: Hashable, variable: xr.Variable) -> int:
        """Give how surely a variable is of this kind; 0 if it is not."""
        attributes = variable.attrs
        if str(attributes.get("standard_name", "")).lower() in self.standard_names:
            return 4
        if str(attributes.get("units", "")).lower() in self.units:
            return 3
        if str(name).lower() in self.names:
            return 2
        by_axis = bool(self.axis) and str(attributes.get("axis", "")).upper() == self.axis
        return int(by_axis or (self.dates and variable.dtype.kind == "M" and variable.ndim == 1))

    def precedence(self, name: Hashable) -> int:
        """Give how early a name stands among those in common use; 0 if it is none of them."""
        lower = str(name).lower()
        return len(self.names) - self.names.index(lower) if lower in self.names else 0


LATITUDE = Kind(
    ("latitude",),
    ("degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"),
    names=("latitude", "lat", "lats", "nav_lat", "xlat"),
)
LONGITUDE = Kind(
    ("longitude",),
    ("degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"),
    names=("longitude", "lon", "lons", "nav_lon", "xlong", "long"),
)
Y = Kind(("projection_y_coordinate", "grid_latitude"), axis="Y", names=("y", "northing", "south_north", "rlat", "yc"))
X = Kind(("projection_x_coordinate", "grid_longitude"), axis="X", names=("x", "easting", "west_east", "rlon", "xc"))
TIME = Kind(("time",), axis="T", names=("valid_time", "time", "times", "date", "datetime", "t", "xtime"), dates=True)
START = Kind(
    ("forecast_reference_time",),
    names=(
        "forecast_reference_time",
        "reference_time",
        "reftime",
        "init_time",
        "inittime",
        "init",
        "initial_time",
        "initialization_time",
        "analysis_time",
        "base_time",
    ),
)
"""The time at which a forecast begins."""
LEAD_TIME = Kind(
    ("forecast_period",),
    names=("step", "lead_time", "leadtime", "lead", "forecast_period", "forecast_hour", "prediction_timedelta"),
)
LEVEL = Kind(
    ("air_pressure", "height", "altitude", "depth", "model_level_number", "air_potential_temperature"),
    ("hpa", "mbar", "mb", "millibar", "millibars", "pa", "dbar", "level", "levels", "sigma_level"),
    axis="Z",
    names=(
        *("level", "lev", "levels", "plev", "pressure", "pressure_level", "isobaricinhpa", "isobaricinpa", "isobaric"),
        *("height", "heightaboveground", "heightabovesea", "depth", "depthbelowlandlayer", "altitude", "theta"),
        *("hybrid", "model_level", "eta", "sigma", "pfull", "bottom_top", "surface"),
    ),
)
MEMBER = Kind(
    ("realization",), axis="E", names=("number", "member", "members", "ensemble", "ens", "realization", "realisation")
)


def find_coordinate(dataset: xr.Dataset, array: xr.DataArray, kind: Kind) -> xr.DataArray | None:
    """Find the most likely coordinate of a kind that lies along dimensions of ``array``.

    A variable that is not marked as a coordinate counts only if its attributes or its type say what it is: ``t`` may
    be time or a temperature. Of equally likely ones the first of the kind's names is taken.
    """
    likeness = {}
    for name, variable in dataset.variables.items():
        if name != array.name and set(variable.dims) <= set(array.dims):
            sure = kind.likeness(name, variable)
            certain = name in dataset.coords or sure > 2 or variable.dtype.kind in "mM"
            likeness[name] = sure if certain else 0
    best = max(likeness, key=lambda name: (likeness[name], kind.precedence(name)), default=None)
    return None if best is None or not likeness[best] else dataset[best]


def grid_mapping(dataset: xr.Dataset, array: xr.DataArray) -> dict[str, Any] | None:
    """Give the attributes of the map projection that a variable names, if it does."""
    name = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping"))
    if name is None or name not in dataset.variables:
        return None
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in dataset[name].attrs.items()}
