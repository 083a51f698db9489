# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import netCDF4
import numpy as np
import pytest
import xarray as xr
from ensemble_files import (
    GEOGRAPHIC,
    HEIGHT,
    MEMBERS,
    PLANE,
    T2M,
    TIMES,
    WIDTH,
    make_fields,
    make_spec,
    write_file,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import LAYOUT_VERSION, encode_times
from physicsnemo_fs.io.reader import EnsembleFile


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_file(tmp_path_factory.mktemp("layout") / "samples.nc", make_spec())


def test_root_holds_only_what_corrdiff_can_merge(path):
    with netCDF4.Dataset(path) as dataset:
        assert set(dataset.variables) == {"lat", "lon", "time", "y", "x"}
        assert {name: len(size) for name, size in dataset.dimensions.items()} == {"time": 3, "y": 8, "x": 12}
        assert set(dataset.groups) == {
            "input",
            "input_native",
            "truth",
            "regression",
            "prediction",
            "provenance",
        }


def test_groups_hold_the_current_frame_of_each_variable(path):
    with netCDF4.Dataset(path) as dataset:
        assert set(dataset["input"].variables) == {"t2m", "z500"}
        assert dataset["input_native"]["t2m"].shape == (3, 2, 3)
        assert set(dataset["prediction"].variables) == {"ensemble", "seed", "t2m", "u10m"}
        assert dataset["prediction"]["t2m"].dimensions == ("ensemble", "time", "y", "x")
        assert dataset["prediction"]["ensemble"].standard_name == "realization"
        assert dataset["prediction"]["ensemble"][:].tolist() == [0, 1, 2]
        assert dataset["prediction"]["seed"][:].tolist() == [11, 12, 13]
        assert dataset["provenance"]["block"][:].tolist() == [4, 4, 9]


def test_no_variable_is_a_string(path):
    """Readers that open the file once for each group would crash (netcdf4-python issue 1444)."""
    with netCDF4.Dataset(path) as dataset:
        for group in (dataset, *dataset.groups.values()):
            assert all(variable.dtype is not str for variable in group.variables.values())
    opened = [xr.open_dataset(path, group=group) for _ in range(5) for group in ("truth", "prediction", None)]
    assert len(opened) == 15


def test_long_provenance_survives(tmp_path):
    record = {"config": "ü" * 50_000, "model_name": "long"}
    with EnsembleFile(write_file(tmp_path / "long.nc", make_spec(provenance=record))) as file:
        assert file.provenance == record


def test_chunks_and_compression(path):
    with netCDF4.Dataset(path) as dataset:
        variable = dataset["prediction"]["t2m"]
        assert variable.chunking() == [1, 1, HEIGHT, WIDTH]
        assert variable.filters()["zlib"]
        assert variable.filters()["complevel"] == 1
        assert variable.filters()["shuffle"]
        assert np.isnan(variable._FillValue)


def test_attributes_follow_the_conventions(path):
    with netCDF4.Dataset(path) as dataset:
        assert dataset.Conventions == "CF-1.11, ACDD-1.3"
        assert dataset.physicsnemo_fs_layout == LAYOUT_VERSION
        assert {"title", "summary", "keywords", "history", "source", "date_created"} <= set(dataset.ncattrs())
        variable = dataset["prediction"]["t2m"]
        assert (variable.units, variable.long_name) == ("K", "2 m temperature")
        assert variable.standard_name == "air_temperature"
        assert variable.coordinates == "lat lon"
        assert dataset["time"].dtype == np.int64
        assert dataset["time"].units == "seconds since 1970-01-01 00:00:00"


def test_plane_positions_are_named_as_such_and_never_nan(path):
    with netCDF4.Dataset(path) as dataset:
        lat = dataset["lat"]
        assert lat.units == "km"
        assert "not a geographic grid" in lat.long_name
        assert "standard_name" not in lat.ncattrs()
        np.testing.assert_array_equal(lat[:].data, np.broadcast_to(PLANE.y[:, None], PLANE.shape))
        np.testing.assert_array_equal(dataset["lon"][:].data, np.broadcast_to(PLANE.x, PLANE.shape))
        assert "grid_mapping" not in dataset["truth"]["t2m"].ncattrs()


def test_geographic_positions(tmp_path):
    path = write_file(tmp_path / "geographic.nc", make_spec(grid=GEOGRAPHIC))
    with netCDF4.Dataset(path) as dataset:
        assert dataset["lat"].units == "degrees_north"
        assert dataset["lon"].standard_name == "longitude"
        np.testing.assert_array_equal(dataset["lat"][:].data, GEOGRAPHIC.latitude)
        assert dataset["truth"]["t2m"].grid_mapping == "/provenance/crs"
        assert dataset.geospatial_lat_max == 47.0


@pytest.mark.parametrize("group", ["input", "truth", "regression", "prediction"])
def test_corrdiff_style_reading(path, group, tmp_path):
    root = xr.open_dataset(path)
    merged = xr.open_dataset(path, group=group).merge(root).set_coords(["lon", "lat"])
    sizes = {"time": 3, "y": HEIGHT, "x": WIDTH} | ({"ensemble": MEMBERS} if group == "prediction" else {})
    assert dict(merged.sizes) == sizes
    assert list(merged.data_vars) == (["t2m", "z500"] if group == "input" else ["t2m", "u10m"])
    np.testing.assert_array_equal(merged["time"].values, TIMES)
    first = make_fields(0, make_spec())[group]
    np.testing.assert_array_equal(merged["t2m"].isel(time=0), first[:, 0] if group == "prediction" else first[0])
    merged.isel(time=slice(0, 1)).to_netcdf(tmp_path / "copy.nc")


def test_corrdiff_scorer_reduces_without_error(path):
    """The operations of CorrDiff's score_samples.py that need no further package."""
    root = xr.open_dataset(path)
    truth, prediction = (
        xr.open_dataset(path, group=group).merge(root).set_coords(["lon", "lat"]) for group in ("truth", "prediction")
    )
    error = (truth - prediction.mean("ensemble")).mean(["x", "y"])
    spread = prediction.std("ensemble").mean(["x", "y"])
    metrics = xr.concat([error, spread], dim="metric").assign_coords(metric=["bias", "std_dev"])
    assert dict(metrics.sizes) == {"metric": 2, "time": 3}
    assert np.isfinite(metrics["t2m"]).all()


@given(
    st.lists(
        st.integers(-(10**18), 10**18).map(lambda n: n // 10**6 * 10**6),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
@settings(max_examples=15, deadline=None)
def test_times_survive_the_encoding(nanoseconds):
    times = np.array(sorted(nanoseconds), dtype=np.int64).view("datetime64[ns]")
    values, units = encode_times(times)
    variable = xr.Variable(("time",), values, {"units": units, "calendar": "proleptic_gregorian"})
    decoded = xr.decode_cf(xr.Dataset({"time": variable}))["time"].values
    np.testing.assert_array_equal(decoded.astype("datetime64[ns]"), times)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": TIMES[::-1]}, "strictly increasing"),
        ({"times": TIMES[[0, 0, 1]]}, "strictly increasing"),
        ({"times": np.arange(3)}, "datetime64"),
        ({"blocks": np.array([1, 2])}, "one integer for each of 3"),
        ({"blocks": np.array([0.5, 1, 2])}, "one integer"),
        ({"member_seeds": (1, 1)}, "all different"),
        ({"member_seeds": ()}, "one or more"),
        ({"output_channels": (T2M, T2M)}, "different names"),
        ({"output_channels": (Channel("lat", "1"),)}, "other than"),
        ({"provenance": {"weights": object()}}, "JSON"),
        ({"provenance": {"loss": float("nan")}}, "JSON"),
    ],
)
def test_a_spec_refuses_what_a_file_cannot_hold(changes, message):
    with pytest.raises(InputError, match=message):
        make_spec(**changes)


def test_levels_are_inputs_of_the_valid_time_and_other_frames_are_not():
    names = ("z@500", "z@500@-1", "t2m@+1", "t2m")
    spec = make_spec(input_channels=tuple(Channel(name) for name in names))
    assert [channel.name for _, channel in spec.current_inputs] == ["z@500", "t2m"]
