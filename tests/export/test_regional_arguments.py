# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a CorrDiffRegional accepts: shapes, times, seeds, numbers of members and steps (extra earth2studio)."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
import xarray as xr
from export_runs import exporting

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.package import export_package

pytest.importorskip("earth2studio", reason='needs pip install "physicsnemo-fs[earth2studio]"')

from earth2studio.io import KVBackend, NetCDF4Backend, XarrayBackend, ZarrBackend

from physicsnemo_fs.export import CorrDiffRegional
from physicsnemo_fs.export.notes import Note
from physicsnemo_fs.export.workflow import downscale

DAYS = np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]")


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    return export_package(exporting(runs("regular_wide"), tmp_path_factory.mktemp("arguments") / "p")).folder


@pytest.fixture
def model(folder):
    loaded = CorrDiffRegional.from_pretrained(str(folder))
    loaded.number_of_samples, loaded.number_of_steps, loaded.seed = 2, 2, 0
    return loaded


def inputs(model):
    wanted = model.input_coords()
    x = 280.0 * torch.ones(2, 2, len(wanted["lat"]), len(wanted["lon"]))
    return x, OrderedDict(time=DAYS, **{n: wanted[n] for n in ("variable", "lat", "lon")})


def test_fields_that_are_not_on_the_input_grid_are_refused(model):
    x, coords = inputs(model)
    for cut in (x[..., :-1, :], x[..., :3], x[:, :1]):
        with pytest.raises(InputError, match=r"of shape \[time, variable=2, lat=6, lon=10\]: got shape"):
            model(cut, coords)


def test_every_entry_has_its_time(model):
    x, coords = inputs(model)
    with pytest.raises(InputError, match="time must have a value for each of the 2 entries"):
        model(x, OrderedDict(coords, time=DAYS[:1]))


def test_a_seed_is_its_value_and_not_its_type(model):
    x, coords = inputs(model)
    expected, _ = model(x, coords)
    model.seed = np.int64(0)
    assert torch.equal(model(x, coords)[0], expected)
    model.seed = 1.5
    with pytest.raises(InputError, match=r"seed must be a whole number: got 1\.5"):
        model(x, coords)


def source_of(model):
    """Give a data source on the model's grid."""
    x, coords = inputs(model)
    array = xr.DataArray(x.numpy(), coords=coords, dims=list(coords))
    return lambda times, variables: array.sel(time=times, variable=variables)


def test_seeds_are_noted_where_a_backend_has_attributes(model, tmp_path):
    model.seed = np.int64(100)
    source = source_of(model)
    with_file = NetCDF4Backend(str(tmp_path / "a.nc"), {"mode": "w"})
    for io in (with_file, ZarrBackend(str(tmp_path / "a.zarr")), XarrayBackend(), KVBackend()):
        downscale(model, source, DAYS[:1], io)
    with_file.close()
    wanted = Note([100, 101], model.package_hash)
    with xr.open_dataset(tmp_path / "a.nc") as file, xr.open_zarr(tmp_path / "a.zarr", consolidated=False) as store:
        assert Note.read(file.attrs) == Note.read(store.attrs) == wanted
    model.seed = None
    assert Note.of(model).seeds is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number_of_samples", 0), ("number_of_samples", -1), ("number_of_samples", 2.5), ("member_batch", 0),
        ("number_of_steps", 0), ("number_of_steps", 2.5),
    ],
)  # fmt: skip
def test_numbers_that_an_attribute_cannot_be_are_refused(name, value, model):
    x, coords = inputs(model)
    setattr(model, name, value)
    with pytest.raises(InputError, match=rf"{name} must be a whole number of 1 or more: got {value}"):
        model(x, coords)
    with pytest.raises(InputError, match="height must be a whole number of 1 or more"):
        model.at_resolution(48.0, 80.0)


def test_lead_times_have_a_unit(model):
    source, io = source_of(model), KVBackend()
    for bare in (12, 12.0, "12", np.int64(12)):
        with pytest.raises(InputError, match="lead times must have a unit: got"):
            downscale(model, source, DAYS[:1], io, lead_times=[bare])
    with pytest.raises(InputError, match="such as '12h': got 'soon'"):
        downscale(model, source, DAYS[:1], io, lead_times=["soon"])
    downscale(model, source, DAYS[:1] - np.timedelta64(24, "h"), io, lead_times=["24h"])
    assert np.asarray(io["t2m"]).shape[:3] == (1, 1, 2)
    x, coords = inputs(model)
    places = OrderedDict(
        time=DAYS[:1], lead_time=np.array([12.0]), **{n: coords[n] for n in ("variable", "lat", "lon")}
    )
    with pytest.raises(InputError, match="lead_time must hold timedelta64"):
        model(x[:1, None], places)


def test_one_member_is_written_without_the_dimension_of_samples(model):
    io, whole = KVBackend(), KVBackend()
    downscale(model, source_of(model), DAYS[:1], whole)
    downscale(model.single(1), source_of(model), DAYS[:1], io)
    found, expected = np.asarray(io["t2m"]), np.asarray(whole["t2m"])[:, 1]
    assert np.allclose(found, expected, rtol=1e-6)
