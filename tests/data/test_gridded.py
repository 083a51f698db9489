# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Gridded files as one record: the same values as xarray gives, whatever the files look like."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from gridded_files import hours, store, weather
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.fields import array_files
from physicsnemo_fs.data.fields.gridded import open_fields
from physicsnemo_fs.data.types import Fields


def expected(dataset, *names):
    """Give the values as xarray orders them, rows northward, columns eastward from the date line."""
    longitude = (dataset.longitude + 180) % 360 - 180
    ordered = dataset.assign_coords(longitude=longitude).sortby(["latitude", "longitude"])
    return np.stack([ordered[name].transpose("time", "latitude", "longitude").values for name in names], axis=1)


def test_it_is_fields(tmp_path):
    fields = open_fields(store(weather(), tmp_path / "a.nc"), ["t2m", "tp"])
    assert isinstance(fields, Fields)
    assert fields.read([0]).dtype == np.float32
    assert [(c.name, c.unit, c.mean, c.std) for c in fields.channels] == [("t2m", "K", 0, 1), ("tp", "K", 0, 1)]
    assert fields.grid.registration == "cell"
    assert fields.grid.boundary == "bounded"
    assert fields.lead_hours is None


@pytest.mark.parametrize("name", ["a.nc", "v2.zarr", "v3.zarr"])
def test_every_kind_of_store_gives_the_values(tmp_path, name):
    dataset = weather()
    fields = open_fields(store(dataset, tmp_path / name), ["tp", "t2m"])
    assert np.array_equal(fields.read([4, 0, 4]), expected(dataset, "tp", "t2m")[[4, 0, 4]])


@settings(max_examples=12, deadline=None)
@given(
    order=st.permutations(["time", "latitude", "longitude"]),
    northward=st.booleans(),
    eastward=st.booleans(),
    roll=st.integers(0, 11),
    convention=st.sampled_from([0, 180]),
    chunk=st.sampled_from([None, 1, 3]),
    data=st.data(),
)
def test_order_and_convention_of_the_file_do_not_matter(
    tmp_path_factory, order, northward, eastward, roll, convention, chunk, data
):
    dataset = weather(7, (5, 12), ("t2m",), longitude=np.arange(12) * 30.0)
    changed = dataset.assign_coords(longitude=(dataset.longitude + convention) % 360 - convention)
    changed = changed.roll(longitude=roll, roll_coords=True).isel(latitude=slice(None, None, 1 if northward else -1))
    changed = changed.isel(longitude=slice(None, None, 1 if eastward else -1)).transpose(*order)
    sizes = {"time": chunk, "latitude": 3, "longitude": 5}
    encoding = {} if chunk is None else {"chunksizes": [sizes[dim] for dim in order]}
    path = store(changed, tmp_path_factory.mktemp("order") / "a.nc", **encoding)
    fields = open_fields(path, ["t2m"])
    positions = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=9))
    y, x = (sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in (5, 12))
    whole = expected(dataset, "t2m")
    assert np.array_equal(fields.read(positions), whole[positions])
    assert np.array_equal(fields.read(positions, (slice(*y), slice(*x))), whole[positions][:, :, slice(*y), slice(*x)])
    assert np.allclose(fields.grid.longitude[0], np.arange(12) * 30.0 - 180)
    assert (np.diff(fields.grid.latitude[:, 0]) > 0).all()


@settings(max_examples=10, deadline=None)
@given(west=st.integers(-360, 360), width=st.integers(20, 340), south=st.integers(-80, 30), height=st.integers(20, 60))
def test_a_region_holds_exactly_the_cells_within(tmp_path_factory, west, width, south, height):
    dataset = weather(1, latitude=np.arange(-85.0, 90, 10), longitude=np.arange(5.0, 360, 10), names=("t2m",))
    path = store(dataset, tmp_path_factory.mktemp("region") / "a.nc")
    fields = open_fields(path, ["t2m"], region=[south, south + height, west, west + width])
    inside_x = (dataset.longitude.values - west) % 360 <= width
    inside_y = (dataset.latitude.values >= south) & (dataset.latitude.values <= south + height)
    assert fields.grid.shape == (inside_y.sum(), inside_x.sum())
    longitudes = fields.grid.longitude[0]
    assert -180 <= longitudes[0] < 180
    assert np.allclose(np.diff(longitudes), 10)
    chosen = dataset.t2m.isel(time=0, latitude=inside_y).sel(longitude=longitudes % 360)
    assert np.array_equal(fields.read([0])[0, 0], chosen.values)


def test_many_files_of_one_time_each_are_one_record(tmp_path):
    whole = weather(5)
    for i in (3, 0, 4, 1, 2):
        store(whole.isel(time=[i]), tmp_path / f"{'abcde'[4 - i]}.nc")
    fields = open_fields(tmp_path / "*.nc", ["t2m"])
    assert np.array_equal(fields.times, whole.time.values)
    assert np.array_equal(fields.read([4, 1]), expected(whole, "t2m")[[4, 1]])
    assert len(fields.paths) == 5


def test_variables_may_lie_in_different_files(tmp_path):
    whole = weather(6)
    store(whole[["t2m"]], tmp_path / "t2m.nc")
    for year, part in (("a", slice(0, 2)), ("b", slice(2, 6))):
        store(whole[["tp"]].isel(time=part), tmp_path / f"tp_{year}.nc")
    fields = open_fields(tmp_path, ["tp", "t2m"])
    assert np.array_equal(fields.read([5, 1, 2]), expected(whole, "tp", "t2m")[[5, 1, 2]])


def test_packed_integers_and_missing_values_become_numbers_and_nan(tmp_path):
    dataset = weather()
    dataset["t2m"][1, 2, 3] = np.nan
    packing = {"dtype": "i2", "scale_factor": 0.001, "add_offset": 1.0, "_FillValue": -32768}
    fields = open_fields(store(dataset, tmp_path / "a.nc", **packing), ["t2m"])
    values = fields.read(range(6))
    assert np.argwhere(np.isnan(values)).tolist() == [[1, 0, 2, 3]]
    assert np.nanmax(np.abs(values - expected(dataset, "t2m"))) < 0.00051


def test_a_declared_missing_value_becomes_nan(tmp_path):
    dataset = weather()
    dataset["tp"][0, :4] = -3.0
    fields = open_fields(store(dataset, tmp_path / "v3.zarr"), ["tp"], missing_value=-3)
    assert np.isnan(fields.read([0])).mean() == 0.5


def test_values_that_were_never_written_are_missing(tmp_path):
    import netCDF4

    path = store(weather(), tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        variable = file.createVariable("unwritten", "f4", ("time", "latitude", "longitude"))
        variable[0] = 1.0
    values = open_fields(path, ["unwritten"]).read([0, 1])
    assert (values[0] == 1).all()
    assert np.isnan(values[1]).all()


def test_levels_members_and_new_names(tmp_path):
    dims = ("time", "level", "number", "latitude", "longitude")
    values = np.random.default_rng(0).normal(size=(2, 3, 2, 4, 5))
    dataset = weather(2, (4, 5), ())
    dataset = dataset.assign_coords(level=[200, 500, 850], number=[0, 1]).assign(z=(dims, values, {"units": "m2 s-2"}))
    fields = open_fields(store(dataset, tmp_path / "a.nc"), ["z@850", "geopotential=z@200"], select={"number": 1})
    assert [c.name for c in fields.channels] == ["z@850", "geopotential"]
    assert fields.channels[0].unit == "m2 s-2"
    assert np.allclose(fields.read([1])[0], values[1, [2, 0], 1].astype("f4"))


def test_a_static_variable_has_no_times(tmp_path):
    dataset = weather(1).isel(time=0, drop=True)
    fields = open_fields(store(dataset, tmp_path / "a.nc"), ["t2m"], period=["1900", "1901"])
    assert fields.times.shape == (0,)
    assert np.array_equal(fields.read([0])[0, 0], dataset.t2m.values)


def test_a_projected_grid_keeps_its_projection_and_positions(tmp_path):
    y, x = 3000.0 * np.arange(4)[::-1], 3000.0 * np.arange(6) + 500.0
    latitude, longitude = np.meshgrid(np.linspace(52, 50, 4), np.linspace(4, 7, 6), indexing="ij")
    values = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("f4")
    attributes = {"grid_mapping": "lambert", "units": "K"}
    dataset = xr.Dataset(
        {"t2m": (("time", "y", "x"), values, attributes), "lambert": ((), 0, {"grid_mapping_name": "lambert_x"})},
        {
            "time": hours(2),
            "y": ("y", y, {"standard_name": "projection_y_coordinate", "units": "m"}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "m"}),
            "lat": (("y", "x"), latitude, {"units": "degrees_north"}),
            "lon": (("y", "x"), longitude, {"units": "degrees_east"}),
        },
    )
    fields = open_fields(store(dataset, tmp_path / "a.nc"), ["t2m"])
    assert fields.grid.unit == "m"
    assert fields.grid.projection == {"grid_mapping_name": "lambert_x"}
    assert np.allclose(fields.grid.y, y[::-1])
    assert np.allclose(fields.grid.x, x)
    assert np.array_equal(fields.grid.latitude, latitude[::-1])
    assert np.array_equal(fields.read([1])[0, 0], values[1, ::-1])
    box = open_fields(tmp_path / "a.nc", ["t2m"], region=[50.5, 51.5, 5.0, 6.0])
    assert box.grid.shape == (2, 2)
    assert np.array_equal(box.read([0])[0, 0], values[0, 1:3, 2:4][::-1])


def test_rows_without_coordinates_run_northward(tmp_path):
    latitude, longitude = np.meshgrid([60.0, 55.0, 50.0], [0.0, 5.0], indexing="ij")
    values = np.arange(6.0).reshape(1, 3, 2)
    dataset = xr.Dataset(
        {"t": (("time", "j", "i"), values), "lat": (("j", "i"), latitude), "lon": (("j", "i"), longitude)},
        {"time": hours(1)},
    )
    dataset.lat.attrs["units"], dataset.lon.attrs["units"] = "degrees_north", "degrees_east"
    fields = open_fields(store(dataset, tmp_path / "a.nc"), ["t"])
    assert np.array_equal(fields.read([0])[0, 0], values[0, ::-1])
    assert np.array_equal(fields.grid.latitude, latitude[::-1])


def test_lead_times_are_in_hours(tmp_path):
    dataset = weather(3).assign_coords(
        step=("time", [6, 12, 18], {"standard_name": "forecast_period", "units": "hours"})
    )
    fields = open_fields(store(dataset, tmp_path / "a.nc"), ["t2m"], period=["2020-01-01T01", "2020"])
    assert fields.lead_hours.tolist() == [12, 18]


def test_a_forecast_is_chosen_by_its_step(tmp_path):
    start, step = hours(3, step=24), np.array([0, 6, 12], "timedelta64[h]").astype("timedelta64[ns]")
    coordinates = {
        "time": ("time", start, {"standard_name": "forecast_reference_time"}),
        "step": ("step", step, {"standard_name": "forecast_period"}),
        "valid_time": (("time", "step"), start[:, None] + step, {"standard_name": "time"}),
        "latitude": [0.0, 1.0],
        "longitude": [0.0, 1.0],
    }
    values = np.random.default_rng(0).normal(size=(3, 3, 2, 2)).astype("f4")
    dataset = xr.Dataset({"t2m": (("time", "step", "latitude", "longitude"), values)}, coordinates)
    fields = open_fields(store(dataset, tmp_path / "v3.zarr"), ["t2m"], select={"step": "6h"})
    assert np.array_equal(fields.times, start + step[1])
    assert fields.lead_hours.tolist() == [6, 6, 6]
    assert np.array_equal(fields.read([2])[0, 0], values[2, 1])


def test_only_coordinates_and_probes_are_read(tmp_path, monkeypatch):
    path = store(weather(50), tmp_path / "a.nc")
    read = []
    inner = array_files.NetCDFFile.read
    monkeypatch.setattr(
        array_files.NetCDFFile, "read", lambda file, name, key, level: read.append(key) or inner(file, name, key, level)
    )
    fields = open_fields(path, ["t2m", "tp"])
    assert len(read) == 2
    read.clear()
    fields.read([7], (slice(2, 4), slice(1, 5)))
    assert read == [(slice(7, 8), slice(2, 4), slice(1, 5))] * 2


def test_each_chunk_is_read_once(tmp_path, monkeypatch):
    dataset = weather(12, names=("t2m",))
    path = store(dataset, tmp_path / "a.nc", chunksizes=(4, 8, 12))
    fields = open_fields(path, ["t2m"])
    read = []
    inner = array_files.NetCDFFile.read
    monkeypatch.setattr(
        array_files.NetCDFFile,
        "read",
        lambda file, name, key, level: read.append(key[0]) or inner(file, name, key, level),
    )
    positions = [9, 1, 3, 8, 1, 11]
    assert np.array_equal(fields.read(positions), expected(dataset, "t2m")[positions])
    assert sorted((part.start, part.stop) for part in read) == [(1, 4), (8, 12)]


def test_few_files_are_open_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files.OPEN_FILES, "most", 3)
    whole = weather(8)
    for i in range(8):
        store(whole.isel(time=[i]), tmp_path / f"{i}.nc")
    fields = open_fields(tmp_path, ["t2m"], probes=0)
    assert np.array_equal(fields.read(range(8)), expected(whole, "t2m"))
    assert len(array_files.OPEN_FILES._files) == 3


def test_threads_and_copies_read_the_same(tmp_path):
    whole = weather(40)
    fields = open_fields(store(whole, tmp_path / "a.nc", chunksizes=(1, 8, 12), zlib=True), ["t2m", "tp"])
    copy = pickle.loads(pickle.dumps(fields))  # noqa: S301 - a test of our own objects
    values = expected(whole, "t2m", "tp")
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda i: (fields if i % 2 else copy).read([i % 40])[0], range(200)))
    assert all(np.array_equal(read[i], values[i % 40]) for i in range(200))


def _read_in_child(fields, queue):
    queue.put(fields.read([1]))


@pytest.mark.parametrize("name", ["a.nc", "v3.zarr"])
def test_a_forked_process_reads(tmp_path, name):
    whole = weather()
    fields = open_fields(store(whole, tmp_path / name), ["t2m"])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_read_in_child, args=(fields, queue))
    process.start()
    assert np.array_equal(queue.get(timeout=30), expected(whole, "t2m")[[1]])
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("positions", "window"),
    [([6], None), ([-1], None), ([0], (slice(0, 9), slice(0, 1))), ([0], (slice(3, 3), slice(0, 1)))],
)
def test_places_outside_are_refused(tmp_path, positions, window):
    fields = open_fields(store(weather(), tmp_path / "a.nc"), ["t2m"])
    with pytest.raises(IndexError):
        fields.read(positions, window)
