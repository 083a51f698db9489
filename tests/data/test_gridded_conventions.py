# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Files that follow other habits than one flat table of named coordinates: WRF's, groups, times of any name."""

import numpy as np
import pytest
import xarray as xr
from gridded_files import hours, store, weather

from physicsnemo_fs.data.fields.gridded import open_fields
from physicsnemo_fs.errors import InputError


def wrf(drift=0.0):
    """Positions at every time, moments in a variable that is no coordinate of its dimension."""
    plain = weather(names=("t2m",))
    dims = ("Time", "south_north", "west_east")
    y, x = np.meshgrid(plain["latitude"], plain["longitude"], indexing="ij")
    steps = drift * np.arange(6)[:, None, None]
    marks = {"coordinates": "XLONG XLAT XTIME", "units": "K"}
    return xr.Dataset(
        {
            "T2": (dims, plain["t2m"].values, marks),
            "XLAT": (dims, (y + steps).astype("f4"), {"units": "degree_north"}),
            "XLONG": (dims, np.broadcast_to(x, (6, *x.shape)).astype("f4"), {"units": "degree_east"}),
            "XTIME": ("Time", 60.0 * np.arange(6), {"units": "minutes since 2020-01-01 00:00:00"}),
        }
    )


def test_the_output_of_wrf_is_read_as_it_is(tmp_path):
    fields = open_fields(store(wrf(), tmp_path / "wrfout_d01.nc"), ["t2m=T2"], region=[40.4, 43.1, -9.6, -5.4])
    np.testing.assert_array_equal(fields.times, hours(6))
    plain = weather(names=("t2m",)).sel(latitude=slice(40.4, 43.1), longitude=slice(-9.6, -5.4))
    np.testing.assert_array_equal(fields.read([0, 5])[:, 0], plain["t2m"].values[[0, 5]])
    np.testing.assert_allclose(fields.grid.latitude[:, 0], plain["latitude"].values)


def test_a_grid_that_moves_is_refused(tmp_path):
    path = store(wrf(drift=0.5), tmp_path / "nest.nc")
    with pytest.raises(InputError, match=r"nest\.nc: the grid must stay where it is: 'XLAT' changes with time"):
        open_fields(path, ["T2"])


def test_dates_of_any_name_are_the_times(tmp_path):
    path = store(weather().rename(time="nominal"), tmp_path / "a.nc")
    np.testing.assert_array_equal(open_fields(path, ["t2m"]).times, hours(6))


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_variables_lie_in_groups(tmp_path, suffix):
    path, plain = tmp_path / f"a.{suffix}", weather()
    for group, part in ((None, plain.coords.to_dataset()), ("fine/near", plain[["t2m"]].drop_vars(plain.coords))):
        if suffix == "nc":
            part.to_netcdf(path, "a" if path.exists() else "w", group=group)
        else:
            part.to_zarr(path, group=group, mode="a", consolidated=False)
    fields = open_fields(path, ["fine/near/t2m"])
    assert fields.channels[0].name == "t2m"
    np.testing.assert_array_equal(fields.read([4])[0, 0], plain["t2m"].values[4])
    np.testing.assert_array_equal(fields.times, hours(6))
    np.testing.assert_allclose(fields.grid.y, plain["latitude"].values)
    with pytest.raises(InputError, match="it lies in a group: write fine/near/t2m"):
        open_fields(path, ["t2m"])
    with pytest.raises(InputError, match=r"no group 'far' \(groups: fine, fine/near\)"):
        open_fields(path, ["far/t2m"])


@pytest.mark.parametrize("west", [-10.0, 175.0])
def test_even_positions_by_row_and_column_are_those_of_a_geographic_grid(tmp_path, west):
    plain = weather(names=("t2m",), longitude=(west + 0.5 * np.arange(12) + 180.0) % 360.0 - 180.0)
    y, x = np.meshgrid(plain["latitude"], plain["longitude"], indexing="ij")
    dims = ("y", "x")
    known = {"lat": (dims, y, {"units": "degrees_north"}), "lon": (dims, x, {"units": "degrees_east"})}
    bare = xr.Dataset({"t2m": (("time", *dims), plain["t2m"].values)}, {"time": plain["time"], **known})
    bare = bare.isel(y=slice(None, None, -1))
    fields, expected = (open_fields(store(d, tmp_path / n), ["t2m"]) for d, n in ((bare, "2.nc"), (plain, "1.nc")))
    assert fields.grid == expected.grid
    assert fields.grid.unit == "degrees"
    np.testing.assert_array_equal(fields.read([3]), expected.read([3]))


def test_curved_and_uneven_positions_stay_by_row_and_column(tmp_path):
    y, x = np.meshgrid(np.linspace(40, 50, 8) ** 1.1, np.linspace(0, 10, 12), indexing="ij")
    for name, latitude in (("mercator", y), ("curved", y + 0.1 * x)):
        dims = ("y", "x")
        known = {"lat": (dims, latitude, {"units": "degrees_north"}), "lon": (dims, x, {"units": "degrees_east"})}
        bare = xr.Dataset({"t2m": (("time", *dims), weather()["t2m"].values)}, {"time": hours(6), **known})
        grid = open_fields(store(bare, tmp_path / f"{name}.nc"), ["t2m"]).grid
        assert grid.unit == "1"
        np.testing.assert_array_equal(grid.latitude, latitude)
