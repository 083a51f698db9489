# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Files of one record agree on grid, unit, name and times, or one line says where they do not."""

import logging

import numpy as np
import pytest
import xarray as xr
from gridded_files import hours, store, weather

from physicsnemo_fs.data.builder.geometry import coarsened
from physicsnemo_fs.data.fields.gridded import open_fields
from physicsnemo_fs.data.fields.missing import CheckedFields
from physicsnemo_fs.errors import InputError


def projected(start, meridian, **attributes):
    mapping = {"grid_mapping_name": "lambert_conformal_conic", "longitude_of_central_meridian": meridian, **attributes}
    values = np.random.default_rng(0).normal(size=(2, 4, 6))
    return xr.Dataset(
        {"t": (("time", "y", "x"), values, {"grid_mapping": "crs", "units": "K"}), "crs": ((), 0, mapping)},
        {
            "time": hours(2, start),
            "y": ("y", 3000.0 * np.arange(4), {"standard_name": "projection_y_coordinate", "units": "m"}),
            "x": ("x", 3000.0 * np.arange(6), {"standard_name": "projection_x_coordinate", "units": "m"}),
        },
    )


def test_files_in_different_projections(tmp_path):
    first = store(projected("2020-01-01", -97.5), tmp_path / "a.nc")
    second = store(projected("2020-02-01", 10.0), tmp_path / "b.nc")
    with pytest.raises(InputError, match="files must lie on one grid") as caught:
        open_fields(tmp_path, ["t"])
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_a_projection_may_be_described_at_another_length(tmp_path):
    store(projected("2020-01-01", -97.5), tmp_path / "a.nc")
    store(projected("2020-02-01", -97.5, earth_radius=6371229.0, long_name="Lambert"), tmp_path / "b.nc")
    assert len(open_fields(tmp_path, ["t"]).times) == 4


@pytest.mark.parametrize("turn", [-360.0, 360.0])
def test_longitudes_of_a_file_may_differ_by_whole_turns(tmp_path, turn):
    first, second = weather(2), weather(2, seed=1, start="2020-02-01")
    store(first, tmp_path / "a.nc")
    store(second.assign_coords(longitude=second.longitude + turn), tmp_path / "b.nc")
    fields = open_fields(tmp_path, ["t2m"])
    assert np.array_equal(fields.read([2])[0, 0], second.t2m.values[0])


def test_one_unit_may_be_spelt_in_two_ways(tmp_path):
    store(weather(2), tmp_path / "a.nc")
    later = weather(2, start="2020-02-01")
    later.t2m.attrs["units"] = "kelvin"
    store(later, tmp_path / "b.nc")
    assert open_fields(tmp_path, ["t2m"]).channels[0].unit == "K"


def test_a_file_with_the_variable_in_other_letters(tmp_path):
    store(weather(2), tmp_path / "a.nc")
    other = store(weather(2, start="2020-01-02", names=("T2M",)), tmp_path / "b.nc")
    store(weather(2, start="2020-01-03"), tmp_path / "c.nc")
    with pytest.raises(InputError, match=f"{other} has 'T2M', not 't2m'; rename it there or leave the file out"):
        open_fields(tmp_path, ["t2m"])
    with pytest.raises(InputError, match="did you mean 'T2M'"):
        open_fields(other, ["t2m"])


def test_times_of_a_file_without_the_variable_are_told(tmp_path, caplog):
    store(weather(2), tmp_path / "a.nc")
    other = store(weather(2, start="2020-01-02", names=("z",)), tmp_path / "b.nc")
    store(weather(2, names=("u",)), tmp_path / "same.nc")
    store(weather(1, names=("oro",)).isel(time=0, drop=True), tmp_path / "static.nc")
    with caplog.at_level(logging.WARNING):
        assert len(open_fields(tmp_path, ["t2m"]).times) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{other} has 2 further times from 2020-01-02T00:00:00.000000000 on, but no 't2m': they are left out"
    ]


def test_files_whose_times_alternate(tmp_path):
    times = hours(6)
    store(weather(times[::2]), tmp_path / "a.nc")
    store(weather(times[1::2]), tmp_path / "b.nc")
    with pytest.raises(InputError, match=r"must not overlap in time: .* join them, as xarray's concat and sortby do"):
        open_fields(tmp_path, ["t2m"])
    store(weather(times[2::2]), tmp_path / "b.nc")
    with pytest.raises(InputError, match="remove 2 repeated times"):
        open_fields(tmp_path, ["t2m"])


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_coordinates_of_the_groups_around_are_those_of_a_group(tmp_path, suffix):
    whole = weather(3)
    outer = xr.Dataset(coords={name: whole[name] for name in ("time", "latitude")})
    tree = {"/fine": outer, "/fine/deep": whole.drop_vars(["time", "latitude"])}
    path = tmp_path / f"a.{suffix}"
    data = xr.DataTree.from_dict(tree)
    data.to_netcdf(path) if suffix == "nc" else data.to_zarr(path, consolidated=False)
    fields = open_fields(path, ["fine/deep/t2m"])
    assert np.array_equal(fields.times, whole.time.values)
    assert np.allclose(fields.grid.y, whole.latitude)


@pytest.mark.parametrize("units", ["radian", "radians", "rad"])
def test_radians_become_degrees(tmp_path, units):
    dataset = weather(2)
    for name in ("latitude", "longitude"):
        dataset[name] = (name, np.radians(dataset[name].values), {"units": units})
    fields = open_fields(store(dataset, tmp_path / "a.nc"), ["t2m"])
    assert np.allclose(fields.grid.y, weather(2).latitude)
    assert np.allclose(fields.grid.x, weather(2).longitude)


def test_latitudes_beyond_a_pole(tmp_path):
    path = store(weather(2, (4, 4), latitude=[-150.0, -50.0, 50.0, 150.0]), tmp_path / "a.nc")
    with pytest.raises(InputError, match="must lie between -90 and 90 degrees: 'latitude' reaches 150"):
        open_fields(path, ["t2m"])


@pytest.mark.parametrize("start", ["0850-01-01", "3000-01-01"])
@pytest.mark.parametrize("count", [1, 3])
def test_years_that_do_not_fit(tmp_path, start, count):
    times = xr.date_range(start, periods=count, calendar="standard", use_cftime=True)
    path = store(weather(count).assign_coords(time=times), tmp_path / "a.nc")
    with pytest.raises(
        InputError, match=f"of years from 1678 to 2261: 'time' of 't2m' begins with .*{start[:4].lstrip('0')}"
    ):
        open_fields(path, ["t2m"])


def test_times_that_are_text(tmp_path):
    path = store(weather(2).assign_coords(time=["2020-01-01", "2020-01-02"]), tmp_path / "a.nc")
    with pytest.raises(InputError, match="'time' of 't2m' begins with 2020-01-01"):
        open_fields(path, ["t2m"])
    chosen = open_fields(path, ["t2m"], select={"time": "2020-01-02"})
    assert np.array_equal(chosen.read([0])[0, 0], weather(2).t2m.values[1])


def test_rows_and_columns_are_chosen_by_a_region(tmp_path):
    path = store(weather(2), tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"neither rows nor columns: got 'latitude'; choose a region"):
        open_fields(path, ["t2m"], select={"latitude": 40.25})


def test_a_link_to_nothing(tmp_path):
    (tmp_path / "a.nc").symlink_to(tmp_path / "gone.nc")
    with pytest.raises(InputError, match="restore, remove or leave it out"):
        open_fields(tmp_path, ["t2m"])


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_the_times_of_a_file_that_nobody_asked_for_do_not_matter(tmp_path, calendar):
    store(weather(2), tmp_path / "a.nc")
    times = xr.date_range("2000-01-01", periods=4, calendar=calendar, use_cftime=True)
    store(weather(4, names=("sst",)).assign_coords(time=times), tmp_path / "b.nc")
    assert len(open_fields(tmp_path, ["t2m"]).times) == 2


def test_variables_of_one_file_need_not_all_name_the_projection(tmp_path):
    dataset = projected("2020-01-01", -97.5)
    dataset["u"] = (dataset.t.dims, dataset.t.values, {"units": "m s-1"})
    assert len(open_fields(store(dataset, tmp_path / "a.nc"), ["t", "u"]).channels) == 2


@pytest.mark.parametrize("same", [True, False])
def test_degrees_with_other_latitudes_beside_them_are_of_a_rotated_pole(tmp_path, same):
    y, x = 50 + 0.25 * np.arange(8), 10 + 0.25 * np.arange(12)
    latitude, longitude = np.meshgrid(y, x, indexing="ij")
    shift = 0.0 if same else 30.0
    dataset = xr.Dataset(
        {"t": (("time", "rlat", "rlon"), np.random.default_rng(0).normal(size=(2, 8, 12)))},
        {
            "time": hours(2),
            "rlat": ("rlat", y, {"standard_name": "grid_latitude", "units": "degrees"}),
            "rlon": ("rlon", x, {"standard_name": "grid_longitude", "units": "degrees"}),
            "lat": (("rlat", "rlon"), latitude - shift, {"units": "degrees_north"}),
            "lon": (("rlat", "rlon"), longitude + shift, {"units": "degrees_east"}),
        },
    )
    grid = open_fields(store(dataset, tmp_path / "a.nc"), ["t"]).grid
    assert (grid.projection is None) == same
    assert np.allclose(grid.latitude, latitude - shift)
    assert np.allclose(coarsened(grid, 4).latitude, (latitude - shift).reshape(2, 4, 3, 4).mean((1, 3)))


def test_single_values_of_other_sources_may_differ_from_a_choice(tmp_path):
    path = store(weather(2).assign_coords(number=0), tmp_path / "a.nc")
    assert open_fields(path, ["t2m"], select={"number": 2}, single_values=False).channels
    with pytest.raises(InputError, match="'number' of 't2m' is 0 only: got 2"):
        open_fields(path, ["t2m"], select={"number": 2})


def test_values_outside_the_valid_range_are_named_as_such(tmp_path):
    dataset = weather(2)
    dataset.t2m.attrs["valid_min"] = np.float32(0)
    fields = open_fields(store(dataset, tmp_path / "a.nc"), ["t2m"])
    assert np.array_equal(np.isnan(fields.read([0, 1])[:, 0]), dataset.t2m.values < 0)
    with pytest.raises(InputError, match=r"a\.nc, whose valid_min, valid_max or valid_range count too; set dataset"):
        CheckedFields(fields, {}).read([0])


def test_netcdf_by_another_engine_is_unpacked_alike(tmp_path):
    dataset = weather(2)
    dataset.t2m.attrs["valid_min"] = np.float32(0)
    dataset.to_netcdf(tmp_path / "a.nc", format="NETCDF3_64BIT")
    one, other = (
        open_fields(tmp_path / "a.nc", ["t2m"], engine=engine).read([0, 1]) for engine in ("netcdf4", "scipy")
    )
    assert np.isnan(one).any()
    np.testing.assert_array_equal(one, other)
