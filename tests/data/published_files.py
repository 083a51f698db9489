# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Small files with the groups, dimensions, types and names of the published ones."""

import json

import netCDF4
import numpy as np
import xarray as xr

from physicsnemo_fs.config.published import CATEGORIES, ISOBARIC, SURFACE
from physicsnemo_fs.data.datasets.lambert import RADIUS

CWA_TARGETS = ["maximum_radar_reflectivity", "temperature_2m", "eastward_wind_10m", "northward_wind_10m"]
CWA_INPUTS = ["geopotential_height", "eastward_wind", "temperature", "temperature_2m"]
CWA_LEVELS = [500.0, 500.0, 850.0, np.nan]
HALVES = {"2022_07_12": "2022-12-20", "2023_01_06": "2023-01-10", "2024_01_07": "2024-01-12"}
HRRR_STORED = ["u10m", "v10m", "t2m", "precip", "cat_snow", "cat_ice", "cat_freez", "cat_rain", "refc"]
HRRR_OUTPUTS = ["u10m", "v10m", "t2m", "precip", *CATEGORIES, "cat_none"]
GEFS_ISOBARIC = ["u850", "q1000", "q250", "t250", "z250"]
MINI_VARIABLES = {
    "input": ["10u", "10v", "msl"],
    "output": ["10u", "10v", "2t"],
    "invariant": ["elev_mean", "lsm_mean"],
}
MINI_PLACES = np.array([[0, 0], [3, 5], [8, 12], [1, 1], [0, 7], [2, 2]])
MINI_HOURS = [12, 0, 6, 6, 18, 24]


def cwa_dataset(hours=24 * 40):
    """A store of 18 x 22 points, every sixth hour from December 2020 on."""
    rng = np.random.default_rng(0)
    times = np.datetime64("2020-12-01", "ns") + np.arange(0, hours, 6) * np.timedelta64(3600 * 10**9, "ns")
    rows, columns = np.mgrid[:18, :22].astype(np.float32)
    valid, era5_valid = np.ones(len(times), bool), np.ones((len(times), 4), bool)
    valid[3], era5_valid[5, 1] = False, False
    fields = ("time", "cwb_channel", "south_north", "west_east"), ("time", "era5_channel", "south_north", "west_east")
    return xr.Dataset(
        {
            "cwb": (fields[0], rng.normal(size=(len(times), 4, 18, 22)).astype(np.float32)),
            "era5": (fields[1], rng.normal(size=(len(times), 4, 18, 22)).astype(np.float32)),
            "cwb_center": ("cwb_channel", np.array([1.0, 290.0, 2.0, 3.0], np.float32)),
            "cwb_scale": ("cwb_channel", np.array([10.0, 8.0, 4.0, 5.0], np.float32)),
            "cwb_pressure": ("cwb_channel", np.full(4, np.nan)),
            "cwb_variable": ("cwb_channel", np.array(CWA_TARGETS, "<U26")),
            "cwb_valid": ("time", valid),
            "era5_center": ("era5_channel", np.array([5600.0, 1.0, 270.0, 291.0], np.float32)),
            "era5_scale": ("era5_channel", np.array([100.0, 7.0, 9.0, 7.0], np.float32)),
            "era5_pressure": ("era5_channel", np.array(CWA_LEVELS)),
            "era5_variable": ("era5_channel", np.array(CWA_INPUTS, "<U19")),
            "era5_valid": (("time", "era5_channel"), era5_valid),
        },
        {
            "time": times,
            "XLAT": (("south_north", "west_east"), 21 + 0.018 * rows, {"units": "degree_north"}),
            "XLONG": (("south_north", "west_east"), 119 + 0.018 * columns, {"units": "degree_east"}),
        },
    )


def save_cwa(dataset, path):
    dataset.to_zarr(path, zarr_format=2, consolidated=True, encoding={"cwb": {"chunks": (1, 4, 18, 22)}})
    return path


def hrrr_places(rows, columns):
    """Latitude and longitude of points 3 km apart from HRRR's southwestern corner, by the inverse projection."""
    origin = np.radians(38.5)
    n, y, x = np.sin(origin), -1587306.0 + 3000.0 * rows[:, None], -2697520.0 + 3000.0 * columns
    pole = RADIUS / np.tan(origin)
    distance, angle = np.hypot(x, pole - y), np.arctan2(x, pole - y)
    latitude = 2 * np.arctan(np.tan(np.pi / 4 + origin / 2) * (pole / distance) ** (1 / n)) - np.pi / 2
    return np.degrees(latitude), -97.5 + np.degrees(angle / n)


def save_forecasts(path, values, names, forecasts, latitude, longitude):
    dataset = xr.Dataset(
        {"values": (("time", "channel", "y", "x"), values)},
        {
            "time": np.array(forecasts),
            "channel": np.array(names),
            "lat": (("y", "x"), latitude),
            "lon": (("y", "x"), longitude),
        },
    )
    encoding = {"values": {"chunks": (10, *values.shape[1:])}}
    dataset.to_zarr(path, zarr_format=2, consolidated=True, encoding=encoding)


def gefs_values(names, latitude, longitude, forecasts):
    """Fields that are linear in latitude and longitude."""
    scale = np.arange(1, len(names) + 1)[:, None, None]
    return np.stack([t + scale * latitude - 2 * longitude for t in range(len(forecasts))]).astype(np.float32)


def save_gefs_hrrr(root):
    rng = np.random.default_rng(0)
    latitude, longitude = hrrr_places(np.arange(18.0), np.arange(24.0))
    gefs_latitude, gefs_longitude = np.meshgrid(np.arange(24, 20, -0.25), np.arange(-124.0, -118, 0.25), indexing="ij")
    for half, first in HALVES.items():
        days = np.datetime64(first) + np.arange(5)
        forecasts = [f"{d:%Y%m%d}{h:02d}f{lead:02d}" for d in days.tolist() for h in (0, 6) for lead in (0, 3, 6)]
        for kind, names in (("surface", SURFACE), ("isobaric", GEFS_ISOBARIC)):
            values = gefs_values(names, gefs_latitude, gefs_longitude, forecasts)
            save_forecasts(
                root / "gefs" / f"gefs_{kind}_{half}.zarr", values, names, forecasts, gefs_latitude, gefs_longitude
            )
        truth = rng.normal(size=(len(forecasts), len(HRRR_STORED), 18, 24)).astype(np.float32)
        truth[:, 4:8] = rng.integers(0, 2, size=truth[:, 4:8].shape)
        save_forecasts(
            root / "hrrr_forecast" / f"hrrr_{half}.zarr", truth[:-1], HRRR_STORED, forecasts[:-1], latitude, longitude
        )
    groups = {"input": [*SURFACE, *ISOBARIC], "output": HRRR_OUTPUTS}
    statistics = {g: {v: {"mean": float(i), "std": 1.0 + i} for i, v in enumerate(n)} for g, n in groups.items()}
    (root / "stats.json").write_text(json.dumps(statistics))
    return root


def mini_values():
    rng = np.random.default_rng(0)
    shapes = {"input": (6, 2, 3), "output": (6, 8, 12), "invariant": (16, 24)}
    return {g: {v: rng.normal(size=shapes[g]).astype(np.float32) for v in names} for g, names in MINI_VARIABLES.items()}


def save_mini(folder, values):
    path = folder / "hrrr_mini_train.nc"
    with netCDF4.Dataset(path, "w") as file:
        for name, size in {"time": 6, "two": 2, "yc": 2, "xc": 3, "y": 8, "x": 12, "Y": 16, "X": 24}.items():
            file.createDimension(name, size)
        time = file.createVariable("time", "i8", ("time",))
        time.setncatts({"units": "hours since 2020-02-02", "calendar": "proleptic_gregorian"})
        time[:] = MINI_HOURS
        file.createVariable("coord", "i8", ("time", "two"))[:] = MINI_PLACES
        dimensions = {"input": ("time", "yc", "xc"), "output": ("time", "y", "x"), "invariant": ("Y", "X")}
        for group, fields in values.items():
            node = file.createGroup(group)
            for name, field in fields.items():
                node.createVariable(name, "f4", dimensions[group], zlib=True)[:] = field
    return path


def save_mini_statistics(folder):
    groups = {g: {v: {"mean": 1.0 + i, "std": 2.0 + i} for i, v in enumerate(n)} for g, n in MINI_VARIABLES.items()}
    groups["input"]["10u"] = {"mean": 0.5, "std": 9.0}
    (folder / "stats.json").write_text(json.dumps(groups))
    return folder / "stats.json"


def phase(index):
    rows, columns = np.mgrid[:128, :128] / 128
    return 9 * np.sin(2 * np.pi * (rows + 0.1 * index)) + 5 * columns


def save_interferograms(folder):
    for index in range(10):
        path = folder / f"volcano_{index // 2}" / f"{index}.int"
        path.parent.mkdir(exist_ok=True, parents=True)
        (3.0 * np.exp(1j * phase(index))).astype("<c8").tofile(path)
    return folder
