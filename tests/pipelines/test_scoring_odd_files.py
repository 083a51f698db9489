# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Files as forecasters make them by hand: nothing in them may be scored as what it is not."""

import numpy as np
import xarray as xr

from physicsnemo_fs.config.scores import ScoreConfig
from physicsnemo_fs.pipelines.scoring import run_score

LATITUDE, LONGITUDE = np.linspace(40.0, 47.0, 10), np.linspace(172.0, 186.0, 12)
TIMES = np.arange("2021-01-01", "2021-01-05", dtype="datetime64[D]").astype("datetime64[ns]")
RANDOM = np.random.default_rng(7)
TRUTH = RANDOM.gamma(0.5, 6.0, (4, 10, 12)).astype(np.float32)
MEMBERS = RANDOM.gamma(0.5, 6.0, (5, 4, 10, 12)).astype(np.float32)
OPTIONS = {"bootstrap_samples": 5, "quiet": True}


def fields(values, dims, times=TIMES, lat=LATITUDE, lon=LONGITUDE, unit="mm"):
    coordinates = {"time": times, "lat": lat, "lon": lon}
    return xr.Dataset({"tp": (dims, values, {"units": unit})}, {k: v for k, v in coordinates.items() if k in dims})


def on_points(values, dims, times=TIMES, lat=LATITUDE, lon=LONGITUDE, unit="mm"):
    """Fields over y and x with latitudes and longitudes of their own, as groups have them."""
    positions = np.meshgrid(lat, lon, indexing="ij")
    names = zip(("lat", "lon"), positions, strict=True)
    return xr.Dataset(
        {"tp": (dims, values, {"units": unit})}, {"time": times, **{name: (("y", "x"), p) for name, p in names}}
    )


def groups(path, **datasets):
    tree = xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in datasets.items()})
    tree.to_zarr(path) if path.suffix == ".zarr" else tree.to_netcdf(path)
    return path


def ensemble(members=MEMBERS, **changes):
    return on_points(members, ("ensemble", "time", "y", "x"), **changes)


def truth(values=TRUTH, **changes):
    return on_points(values, ("time", "y", "x"), **changes)


def test_some_of_the_members_have_a_report_too(tmp_path):
    path = groups(tmp_path / "run.nc", prediction=ensemble(), truth=truth())
    config = ScoreConfig(path=str(path), output=str(tmp_path / "s"), max_members=3, bootstrap_samples=5)
    assert run_score(config) == 0
    assert "3 members" in (tmp_path / "s" / "report.html").read_text()
