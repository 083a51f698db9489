# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Small gridded files for the tests."""

import numpy as np
import xarray as xr


def hours(count, start="2020-01-01", step=1):
    return np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(step, "h")


def weather(times=6, shape=(8, 12), names=("t2m", "tp"), seed=0, start="2020-01-01", **coordinates):
    """Random variables on cells of half a degree, rows from south to north."""
    draws = np.random.default_rng(seed)
    moments = hours(times, start) if isinstance(times, int) else times
    positions = {
        "time": moments,
        "latitude": 40.25 + 0.5 * np.arange(shape[0]),
        "longitude": -10.0 + 0.5 * (np.arange(shape[1]) + 0.5),
        **coordinates,
    }
    size = (len(moments), len(positions["latitude"]), len(positions["longitude"]))
    dims = ("time", "latitude", "longitude")
    fields = {name: (dims, draws.normal(size=size).astype("f4"), {"units": "K"}) for name in names}
    return xr.Dataset(fields, positions)


def store(dataset, path, **encoding):
    """Write NetCDF, or Zarr where the name says so."""
    chosen = {name: dict(encoding) for name in dataset.data_vars} if encoding else None
    if path.suffix == ".zarr":
        dataset.to_zarr(path, encoding=chosen, zarr_format=2 if "v2" in path.stem else 3, consolidated=False)
    else:
        dataset.to_netcdf(path, encoding=chosen)
    return path
