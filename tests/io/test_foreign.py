# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import xarray as xr
from ensemble_files import make_spec, write_corrdiff_file, write_file

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.foreign import ForeignEnsemble, WithTruth, lead_hours, open_ensemble
from physicsnemo_fs.io.layout import ENSEMBLE_ALIASES
from physicsnemo_fs.io.reader import EnsembleFile

LATITUDE, LONGITUDE = np.linspace(50.0, 45.0, 6), np.linspace(0.0, 7.0, 8)


def earth2studio_dataset(member="ensemble", members=3):
    """As earth2studio's backends lay an ensemble out: (ensemble, time, lead_time, lat, lon)."""
    values = np.random.default_rng(0).normal(280, 5, (members, 2, 3, 6, 8)).astype(np.float32)
    return xr.Dataset(
        {"t2m": ((member, "time", "lead_time", "lat", "lon"), values, {"units": "K"})},
        {
            member: np.arange(members),
            "time": np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[ns]"),
            "lead_time": np.array([0, 6, 12], dtype="timedelta64[h]").astype("timedelta64[ns]"),
            "lat": ("lat", LATITUDE, {"units": "degrees_north"}),
            "lon": ("lon", LONGITUDE, {"units": "degrees_east"}),
        },
    )


@pytest.mark.parametrize("member", ENSEMBLE_ALIASES)
@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_earth2studios_files_are_read(tmp_path, member, kind):
    dataset, path = earth2studio_dataset(member), tmp_path / f"run.{kind}"
    dataset.to_netcdf(path) if kind == "nc" else dataset.to_zarr(path)
    source = open_ensemble(path)
    assert isinstance(source, ForeignEnsemble)
    assert source.variables == ("t2m",)
    assert source.channel("t2m").unit == "K"
    assert (source.members.size, source.grid.shape, source.grid.unit) == (3, (6, 8), "km")
    assert lead_hours(source).tolist() == [0.0, 6.0, 12.0] * 2
    assert source.times[4] == np.datetime64("2024-01-02T06")
    assert np.unique(source.blocks).size == 2
    np.testing.assert_array_equal(source.prediction("t2m", 4), dataset["t2m"].values[:, 1, 1])
    source.close()


def test_a_file_without_members_is_a_single_member(tmp_path):
    earth2studio_dataset().isel(ensemble=0, drop=True).to_netcdf(tmp_path / "one.nc")
    source = open_ensemble(tmp_path / "one.nc")
    assert source.prediction("t2m", 5).shape == (1, 6, 8)
    source.close()


def test_groups_in_zarr_are_read_like_groups_in_netcdf(tmp_path):
    write_corrdiff_file(tmp_path / "c.nc")
    root = xr.open_dataset(tmp_path / "c.nc")
    groups = {name: xr.open_dataset(tmp_path / "c.nc", group=name) for name in ("prediction", "truth", "input")}
    xr.DataTree.from_dict({"/": root, **groups}).to_zarr(tmp_path / "c.zarr")
    with EnsembleFile(tmp_path / "c.nc") as expected, ForeignEnsemble(tmp_path / "c.zarr") as found:
        assert found.has_truth
        assert found.input_variables == ("t2m",)
        np.testing.assert_array_equal(found.times, expected.times)
        np.testing.assert_allclose(found.grid.extent, expected.grid.extent)
        for read in ("prediction", "truth", "input"):
            np.testing.assert_array_equal(getattr(found, read)("t2m", 1), getattr(expected, read)("t2m", 1))


def test_this_projects_files_are_read_by_their_reader(tmp_path):
    with open_ensemble(write_file(tmp_path / "s.nc", make_spec())) as source:
        assert isinstance(source, EnsembleFile)
        assert lead_hours(source).tolist() == [0.0] * 3


def test_truth_comes_from_another_file_by_valid_time(tmp_path):
    dataset = earth2studio_dataset()
    dataset.to_netcdf(tmp_path / "run.nc")
    hours = np.arange("2024-01-01", "2024-01-04", 6, dtype="datetime64[h]").astype("datetime64[ns]")
    values = np.random.default_rng(1).normal(size=(hours.size, 6, 8)).astype(np.float32)
    coordinates = {"time": hours, "lat": dataset["lat"], "lon": dataset["lon"]}
    xr.Dataset({"t2m": (("time", "lat", "lon"), values)}, coordinates).to_netcdf(tmp_path / "truth.nc")
    both = WithTruth(open_ensemble(tmp_path / "run.nc"), open_ensemble(tmp_path / "truth.nc"))
    assert both.has_truth
    assert both.fields("truth") == ("t2m",)
    np.testing.assert_array_equal(both.truth("t2m", 5), values[list(hours).index(np.datetime64("2024-01-02T12"))])
    both.close()
    turned = dataset.isel(lat=slice(None, None, -1), ensemble=0, drop=True)
    turned.to_netcdf(tmp_path / "turned.nc")
    with pytest.raises(InputError, match="must have one grid: latitudes"):
        WithTruth(open_ensemble(tmp_path / "run.nc"), open_ensemble(tmp_path / "turned.nc"))


def test_what_cannot_be_read_is_told_in_one_line(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match=r"empty\.zarr is no readable"):
        open_ensemble(tmp_path / "empty.zarr")
    with pytest.raises(InputError, match="no such file"):
        open_ensemble(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("no")
    with pytest.raises(InputError, match="not a readable NetCDF-4 file"):
        open_ensemble(tmp_path / "text.nc")
    earth2studio_dataset(members=0).to_netcdf(tmp_path / "nobody.nc")
    with pytest.raises(InputError, match="one member or more"):
        open_ensemble(tmp_path / "nobody.nc")
