# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Files that do not fit: one line with the file, the variable and the remedy, before anything runs."""

import os

import numpy as np
import pytest
import xarray as xr
from gridded_files import hours, store, weather

from physicsnemo_fs.data.fields.gridded import open_fields
from physicsnemo_fs.errors import InputError


def refusal(*arguments, **options):
    with pytest.raises(InputError) as caught:
        open_fields(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_files(tmp_path):
    assert "nothing matches" in refusal(tmp_path / "*.nc", ["t2m"])
    assert "holds none" in refusal(tmp_path, ["t2m"])
    assert "holds none" in refusal([], ["t2m"])


def test_no_variables(tmp_path):
    assert "dataset.target=[t2m]" in refusal(store(weather(), tmp_path / "a.nc"), [])


def test_a_missing_variable(tmp_path):
    path = store(weather(), tmp_path / "a.nc")
    message = refusal(path, ["t2mm"])
    assert str(path) in message
    assert "did you mean 't2m'?" in message
    assert "(variables: t2m, tp)" in message


@pytest.mark.parametrize("text", ["", "@500", "z@high", "a=b=c"])
def test_a_variable_that_is_no_name(tmp_path, text):
    assert "must be name, name@level" in refusal(store(weather(), tmp_path / "a.nc"), [text])


def test_a_variable_named_twice(tmp_path):
    assert "must differ" in refusal(store(weather(), tmp_path / "a.nc"), ["t2m", "t2m"])


def test_a_missing_level(tmp_path):
    dataset = weather(1).expand_dims(level=[500, 850])
    path = store(dataset, tmp_path / "a.nc")
    assert "no level 300; choose one of its levels (500, 850)" in refusal(path, ["t2m@300"])
    assert "by a level, as in t2m@500, or by select={level: 500}" in refusal(path, ["t2m"])
    assert "'tp' has no levels: got tp@500; write tp" in refusal(store(weather(1), tmp_path / "b.nc"), ["tp@500"])


@pytest.mark.parametrize(
    ("unit", "levels", "asked", "meant"), [("Pa", [5e4, 8.5e4], 500, 50000), ("hPa", [500.0, 850.0], 50000, 500)]
)
def test_a_level_in_another_unit(tmp_path, unit, levels, asked, meant):
    dataset = weather(1).expand_dims(level=levels)
    dataset.level.attrs["units"] = unit
    path = store(dataset, tmp_path / "a.nc")
    message = refusal(path, [f"t2m@{asked}"])
    assert f"{levels[1]:g} {unit}; write t2m@{meant}" in message
    assert open_fields(path, [f"t2m@{meant}"]).channels[0].name == f"t2m@{meant}"


def test_a_month_is_no_level_beside_levels(tmp_path):
    path = store(weather(1).expand_dims(level=[200, 500], month=[1, 7]), tmp_path / "a.nc")
    assert "choose one of its levels (200, 500)" in refusal(path, ["t2m@7"], select={"month": 7})
    assert "choose from it by select={month: 1}" in refusal(path, ["t2m@500"])
    assert open_fields(path, ["t2m@500"], select={"month": 7}).channels


def test_a_member_is_no_level(tmp_path):
    path = store(weather(1).expand_dims(number=[0, 1]), tmp_path / "a.nc")
    assert "'t2m' has no levels" in refusal(path, ["t2m@1"])
    assert "choose from it by select={number: 0}" in refusal(path, ["t2m"])


@pytest.mark.parametrize(
    ("values", "wanted", "message"),
    [
        ([0, 1], 7, "has no 7: the nearest is 1; choose from 0 to 1"),
        ([0, 1], 0.7, "has no 0.7: the nearest is 1; choose from 0 to 1"),
        ([0, 1], True, "has no True"),
        ([0, 1], "first", "has no 'first'"),
        (["era", "era_back"], "eraback", "has no 'eraback': did you mean 'era_back'?"),
        (np.array([6, 12], "timedelta64[h]").astype("timedelta64[ns]"), "9h", "has no '9h'; choose from 6h to 12h"),
        (
            np.array([6, 12], "timedelta64[h]").astype("timedelta64[ns]"),
            "1 month",
            "must be of one length: got 1 months",
        ),
        (None, 0.7, "has no 0.7: the nearest is 1; choose from 0 to 1"),
    ],
)
def test_a_wrong_choice_along_a_dimension(tmp_path, values, wanted, message):
    dataset = weather(1).expand_dims(kind=2 if values is None else values)
    assert message in refusal(store(dataset, tmp_path / "v3.zarr"), ["t2m"], select={"kind": wanted})


def test_a_choice_along_no_dimension(tmp_path):
    path = store(weather(1).expand_dims(number=[0, 1]), tmp_path / "a.nc")
    message = refusal(path, ["t2m"], select={"numbr": 0})
    assert "choose from it by select={number: 0}; it has no 'numbr'" in message
    several = store(weather(1), tmp_path / "several.nc")
    assert "no variable has 'latitud'; did you mean 'latitude'?" in refusal(several, ["t2m"], select={"latitud": 0})
    assert open_fields(path, ["t2m"], select={"number": 0, "step": "6h"}, select_known=False).channels
    single = store(weather(1).assign_coords(number=3), tmp_path / "b.nc")
    assert open_fields(single, ["t2m"], select={"number": 3}).channels
    assert "is 3 only: got 0" in refusal(single, ["t2m"], select={"number": 0})


def test_a_variable_that_is_no_field(tmp_path):
    dataset = weather(2)
    dataset["kind"] = (dataset.t2m.dims, np.full(dataset.t2m.shape, "rain"))
    dataset["line"] = dataset.t2m.isel(latitude=0, drop=True)
    path = store(dataset, tmp_path / "a.nc")
    assert "'kind' must hold numbers" in refusal(path, ["kind"])
    assert "'line' must lie on rows and columns beside its times" in refusal(path, ["line"])


@pytest.mark.parametrize("change", [{"latitude": slice(None, None, -1)}, {"longitude": slice(None, None, -1)}])
def test_files_whose_rows_run_otherwise(tmp_path, change):
    store(weather(2), tmp_path / "a.nc")
    store(weather(2, start="2020-02-01").isel(change), tmp_path / "b.nc")
    assert "run otherwise in" in refusal(tmp_path, ["t2m"])


@pytest.mark.parametrize("paths", [5, [["a.nc"]], None])
def test_paths_that_are_none(paths):
    assert "must be a path or a list of paths" in refusal(paths, ["t2m"])


def test_an_engine_that_is_none(tmp_path):
    message = refusal(store(weather(1), tmp_path / "a.nc"), ["t2m"], engine="netcdf5")
    assert "netcdf4" in message
    assert "got 'netcdf5', did you mean 'netcdf4'?; leave it out" in message


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_another_calendar(tmp_path, calendar):
    dataset = weather(4).assign_coords(time=xr.date_range("2000-01-01", periods=4, calendar=calendar, use_cftime=True))
    path = store(dataset, tmp_path / "a.nc")
    message = refusal(path, ["t2m"])
    assert str(path) in message
    assert calendar in message or "365_day" in message
    assert "convert_calendar" in message


def test_times_that_cannot_be_read(tmp_path):
    dataset = weather(3).assign_coords(time=("time", [0, 1, 2], {"units": "fortnights since 2000-01-01"}))
    assert "must follow CF" in refusal(store(dataset, tmp_path / "a.nc"), ["t2m"])


def test_unsorted_and_repeated_times(tmp_path):
    times = hours(4)
    unsorted = store(weather(times[[0, 2, 1, 3]]), tmp_path / "a.nc")
    message = refusal(unsorted, ["t2m"])
    assert "not sorted" in message
    assert "sortby('time')" in message
    assert "repeated" in refusal(store(weather(times[[0, 1, 1]]), tmp_path / "b.nc"), ["tp"])


def test_files_that_overlap(tmp_path):
    first = store(weather(4), tmp_path / "a.nc")
    second = store(weather(4, start="2020-01-01T03"), tmp_path / "b.nc")
    message = refusal([first, second], ["t2m"])
    assert str(first) in message
    assert str(second) in message
    assert "overlap" in message


def test_files_in_different_units(tmp_path):
    store(weather(2), tmp_path / "a.nc")
    later = weather(2, start="2020-02-01")
    later.t2m.attrs["units"] = "degC"
    store(later, tmp_path / "b.nc")
    assert "one unit" in refusal(tmp_path, ["t2m"])


def test_files_on_different_grids(tmp_path):
    first = store(weather(2), tmp_path / "a.nc")
    second = store(weather(2, start="2020-02-01", latitude=np.arange(8.0)), tmp_path / "b.nc")
    message = refusal(tmp_path, ["t2m"])
    assert str(first) in message
    assert str(second) in message
    assert "physicsnemo-fs build" in message


def test_variables_on_different_grids_or_times(tmp_path):
    store(weather(4, names=("t2m",)), tmp_path / "a.nc")
    shifted = store(weather(4, names=("tp",), latitude=np.arange(8.0)), tmp_path / "b.nc")
    assert "one grid" in refusal(tmp_path, ["t2m", "tp"])
    shifted.unlink()
    store(weather(5, names=("tp",)), tmp_path / "b.nc")
    message = refusal(tmp_path, ["t2m", "tp"])
    assert "same times" in message
    assert "2020-01-01T04" in message


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        ({"latitude": [0.0, 1.0, 1.9, 3.0]}, "latitude must be evenly spaced"),
        ({"latitude": [0.0, 1.0, 3.0, 2.0]}, "latitude must increase or decrease"),
        ({"longitude": [0.0, 90.0, 180.0, 360.0]}, "0 degrees occurs twice"),
        ({"longitude": [0.0, 2.0, 1.0, 3.0, 5.0, 4.0]}, "run one way"),
        ({"longitude": [0.0, 1.0, 2.5, 3.0]}, "longitude must be evenly spaced"),
    ],
)
def test_coordinates_that_are_no_grid(tmp_path, coordinates, message):
    path = store(weather(2, (4, 4), **coordinates), tmp_path / "a.nc")
    found = refusal(path, ["t2m"])
    assert message in found
    assert str(path) in found


def test_uneven_latitudes_may_be_allowed(tmp_path):
    path = store(weather(2, (4, 4), latitude=[0.0, 1.0, 1.9, 3.0]), tmp_path / "a.nc")
    assert open_fields(path, ["t2m"], even_spacing=False).grid.latitude[:, 0].tolist() == [0.0, 1.0, 1.9, 3.0]


@pytest.mark.parametrize(
    ("region", "held"),
    [
        ([39, 44, -10, -4], False),
        ([40, 45.1, -10, -4], False),
        ([40, 44, -11, -4], False),
        ([40, 44, -10, -3.4], False),
        ([40, 44, -180, 180], False),
        ([39.6, 44.4, -10.4, -3.6], True),
        ([40, 44, 350, 356], True),
    ],
)
def test_a_region_beyond_the_data(tmp_path, region, held):
    path = store(weather(1), tmp_path / "a.nc")
    if held:
        assert open_fields(path, ["t2m"], region=region).grid.shape == (8, 12)
    else:
        assert "the region must lie within the data" in refusal(path, ["t2m"], region=region)


@pytest.mark.parametrize(("region", "held"), [([47, 53, 0, 5], False), ([51, 53, 2, 9], False), ([49, 55, 0, 8], True)])
def test_a_region_beyond_a_curved_grid(tmp_path, region, held):
    y, x = np.meshgrid(np.linspace(49, 55, 13), np.linspace(0, 8, 17), indexing="ij")
    coordinates = {"lat": (("j", "i"), y + 0.02 * x), "lon": (("j", "i"), x + 0.02 * y - 1)}
    dataset = xr.Dataset({"t": (("time", "j", "i"), np.zeros((1, 13, 17)))}, {"time": hours(1), **coordinates})
    path = store(dataset, tmp_path / "a.nc")
    if held:
        assert open_fields(path, ["t"], region=region).grid.shape[1] >= 15
    else:
        assert "the region must lie within the data" in refusal(path, ["t"], region=region)


@pytest.mark.parametrize(
    "region", [[60, 70, -10, 0], [40, 44, 100, 120], [44, 40, -10, 0], [40, 44, -10], ["a", 44, -10, 0]]
)
def test_an_empty_region(tmp_path, region):
    assert "region" in refusal(store(weather(), tmp_path / "a.nc"), ["t2m"], region=region)


def test_an_empty_period(tmp_path):
    path = store(weather(), tmp_path / "a.nc")
    message = refusal(path, ["t2m"], period=["2021", "2022"])
    assert str(path) in message
    assert "2020-01-01T05" in message


def test_a_variable_without_values(tmp_path):
    dataset = weather()
    dataset["tp"][:] = np.nan
    path = store(dataset, tmp_path / "a.nc")
    message = refusal(path, ["t2m", "tp"])
    assert "'tp' must have values" in message
    assert str(path) in message
    assert open_fields(path, ["tp"], probes=0).channels[0].name == "tp"


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_a_truncated_file(tmp_path, kind, kept):
    path = tmp_path / "a.nc"
    weather(50).to_netcdf(path, format=kind)
    os.truncate(path, int(kept * path.stat().st_size))
    assert str(path) in refusal(path, ["t2m"])


def test_a_truncated_chunk(tmp_path):
    path = store(weather(1), tmp_path / "v3.zarr")
    chunk = next(p for p in (path / "t2m").rglob("*") if p.is_file() and "c" in p.relative_to(path / "t2m").parts)
    os.truncate(chunk, chunk.stat().st_size // 2)
    message = refusal(path, ["t2m"])
    assert str(path) in message
    assert "'t2m' cannot be read" in message


@pytest.mark.parametrize(("name", "content"), [("a.nc", b"not data"), ("a.bin", b"not data"), ("a.nc", b"")])
def test_a_file_of_another_kind(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert str(path) in refusal(path, ["t2m"])


def test_several_files_without_times(tmp_path):
    for name in "ab":
        store(weather(1).isel(time=0, drop=True), tmp_path / f"{name}.nc")
    assert "must have times" in refusal(tmp_path, ["t2m"])
