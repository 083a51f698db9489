# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Packages in workflows of earth2studio: its own, the one of the model card, forecasts (extra earth2studio)."""

import functools
import shutil
from collections import OrderedDict

import numpy as np
import pytest
import torch
import xarray as xr
from export_runs import SCALE, generated, packaged

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile

pytest.importorskip("earth2studio", reason='needs pip install "physicsnemo-fs[earth2studio]"')

from earth2studio.data import DataArrayFile
from earth2studio.io import KVBackend, NetCDF4Backend, XarrayBackend, ZarrBackend
from earth2studio.models.dx import CorrDiff
from earth2studio.models.px import Persistence
from earth2studio.run import diagnostic

from physicsnemo_fs.export import CorrDiffRegional, to_ensemble_file
from physicsnemo_fs.export.workflow import downscale
from physicsnemo_fs.pipelines.score import score


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory):
    """Give package, samples of generate.py and a coarse file of a run."""

    def of(name):
        folder = tmp_path_factory.mktemp(name)
        package, samples = packaged(runs(name), folder, "a package")
        return package, samples, coarse_file(package, samples, folder / "coarse.nc")

    return functools.cache(of)


def coarse_file(package, samples, path):
    """Write the coarse input of a samples file as earth2studio's local data source wants it."""
    wanted = CorrDiffRegional.from_pretrained(str(package)).input_coords()
    with EnsembleFile(samples) as file:
        fields = [[SCALE[n] * file.input_native(n, i) for n in SCALE] for i in range(len(file.times))]
        times = file.times
    x = np.array(fields, np.float32)
    ring = (wanted["lat"].shape[0] - x.shape[-2]) // 2
    x = np.pad(x, [(0, 0), (0, 0), (ring, ring), (ring, ring)], mode="edge")
    curved = wanted["lat"].ndim == 2
    rows = ("y", "x") if curved else ("lat", "lon")
    places = {n: (rows, wanted[n]) if curved else wanted[n] for n in ("lat", "lon")}
    array = xr.DataArray(x, dims=("time", "variable", *rows), coords={**places, "time": times, "variable": list(SCALE)})
    array.to_netcdf(path)
    return path


def expected_of(samples, name):
    with EnsembleFile(samples) as file:
        return SCALE[name] * np.stack([file.prediction(name, i) for i in range(len(file.times))])


def test_earth2studios_diagnostic_workflow_runs_one_member(made, tmp_path):
    """run.diagnostic has no dimension for samples: single(m) is member m, at every lead time of a prognostic model."""
    package, samples, coarse = made("regular_wide")
    model = CorrDiffRegional.from_pretrained(str(package))
    model.number_of_samples, model.seed = 2, 0
    wanted, source = model.input_coords(), DataArrayFile(str(coarse))
    domain = OrderedDict((n, wanted[n]) for n in ("lat", "lon"))
    prognostic = Persistence(list(SCALE), domain, dt=np.timedelta64(12, "h"))
    time = source.da["time"].values[0]
    kept = {}
    for name, io in (("zarr", ZarrBackend(str(tmp_path / "o.zarr"))), ("kv", KVBackend()), ("xarray", XarrayBackend())):
        written = diagnostic([str(time)], 1, prognostic, model.single(1), source, io, device="cpu", verbose=False)
        kept[name] = np.asarray(written["t2m"])
    expected = expected_of(samples, "t2m")
    assert kept["zarr"].shape == (1, 2, *expected.shape[2:])
    assert np.array_equal(kept["zarr"], kept["kv"])
    assert np.array_equal(kept["zarr"], kept["xarray"])
    assert np.abs(kept["zarr"][0, 0] - expected[0, 1]).max() < 1e-4 * np.ptp(expected)
    assert not np.allclose(kept["zarr"][0, 1], kept["zarr"][0, 0])  # another valid time, other noise


def test_forecasts_of_a_data_source_have_the_noise_of_their_valid_time(made, tmp_path):
    package, samples, coarse = made("windows_of_forecasts")
    model = CorrDiffRegional.from_pretrained(str(package))
    model.number_of_samples, model.seed = 2, 0
    source = DataArrayFile(str(coarse))
    lead = np.timedelta64(12, "h")
    with pytest.raises(InputError, match="see the lead time of their input"):
        downscale(model, source, source.da["time"].values[:1], ZarrBackend())
    valid = source.da["time"].values
    steps = ((valid - np.datetime64("2021-01-01")) / np.timedelta64(12, "h")).astype(int)
    place = int(np.flatnonzero(steps % 3 == 1)[0])  # one whose lead time was 12 hours
    io = downscale(model, source, [valid[place] - lead], ZarrBackend(str(tmp_path / "o.zarr")), lead_times=[lead])
    expected = expected_of(samples, "t2m")[place]
    assert io["t2m"].shape == (1, 1, *expected.shape)
    assert np.abs(io["t2m"][0, 0] - expected).max() < 1e-4 * np.ptp(expected)


@pytest.mark.parametrize("name", ["white_square", "regular_wide", "windows_of_forecasts"])
def test_the_snippet_of_the_model_card_runs(name, made, tmp_path, monkeypatch):
    package, _, coarse = made(name)
    shutil.copytree(package, tmp_path / package.name)
    start = np.datetime64("2024-01-01", "ns") + (np.timedelta64(6, "h") if "forecasts" in name else 0)
    with xr.open_dataarray(coarse) as array:
        array.isel(time=slice(1)).assign_coords(time=[start]).to_netcdf(tmp_path / "coarse.nc")
    card = (package / "README.md").read_text()
    snippet = card.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})  # noqa: S102 - the card's own code
    with xr.open_dataset("samples.nc") as written:
        assert written["t2m"].sizes["sample"] == 4
        assert bool(np.isfinite(written["t2m"]).all())


@pytest.mark.parametrize(
    "change",
    [
        {"dims": ("variable", "lon", "time", "lat")},
        {"falling": True},
        {"west": True},
        {"rolled": True},
        {"rounded": True},
    ],
)
def test_a_data_source_may_have_any_order_of_axes(change, made):
    """Dimensions in any order, falling latitudes, longitudes from -180 on or across 0, in float32: the same members."""
    package, samples, coarse = made("greenwich")
    model = CorrDiffRegional.from_pretrained(str(package))
    model.number_of_samples, model.seed = 2, 0
    with xr.open_dataarray(coarse) as array:
        da = array.load()
    if "dims" in change:
        da = da.transpose(*change["dims"])
    if "falling" in change:
        da = da.isel(lat=slice(None, None, -1))
    if "west" in change:
        da = da.assign_coords(lon=(da["lon"] + 180) % 360 - 180)
    if "rolled" in change:
        da = da.isel(lon=slice(None, None, -1))
    if "rounded" in change:
        da = da.assign_coords(lon=da["lon"].astype("f4"), lat=da["lat"].astype("f4"))
    source = lambda times, names: da.sel(time=times, variable=names)  # noqa: E731
    io = downscale(model, source, da["time"].values[:1], KVBackend())
    expected = expected_of(samples, "t2m")[0]
    assert np.abs(np.asarray(io["t2m"])[0] - expected).max() < 1e-4 * np.ptp(expected)


def test_sources_that_do_not_fit_are_refused(made):
    package, _, coarse = made("greenwich")
    model = CorrDiffRegional.from_pretrained(str(package))
    with xr.open_dataarray(coarse) as array:
        da = array.load()

    def run(da):
        downscale(model, lambda times, names: da.sel(time=times, variable=names), da["time"].values[:1], KVBackend())

    with pytest.raises(InputError, match="must cover the input grid"):
        run(da.isel(lat=slice(1, None)))
    with pytest.raises(InputError, match="must have coordinates lat and lon: it has"):
        run(da.rename(lat="latitude", lon="longitude"))
    with pytest.raises(InputError, match="longitudes must rise or fall"):
        run(da.isel(lon=[0, 2, 1, 3, 4, 5, 6, 7, 8, 9]))


def test_a_source_without_the_ring_of_the_stock_class_is_told_of_the_other_class(made):
    package, _, coarse = made("white_square")
    with xr.open_dataarray(coarse) as array:
        da = array.load().isel(x=slice(1, -1), y=slice(1, -1))
    model = CorrDiff.from_pretrained(str(package))
    with pytest.raises(InputError, match=r"cover the input grid.*or export with model_class=regional: .* one more row"):
        downscale(model, lambda times, names: da.sel(time=times, variable=names), da["time"].values[:1], KVBackend())


def test_batches_of_times_leads_and_driving_members_are_members_of_their_own(made):
    """Every leading dimension but time and lead time has noise of its own; time and lead time give the valid time."""
    package, samples, coarse = made("regular_wide")
    model = CorrDiffRegional.from_pretrained(str(package))
    model.number_of_samples, model.seed = 2, 0
    wanted = model.input_coords()
    with xr.open_dataarray(coarse) as array:
        x, times = torch.from_numpy(array.values[:2]), array["time"].values[:2]
    leads = np.array([0, 12], "timedelta64[h]")
    last = {n: wanted[n] for n in ("variable", "lat", "lon")}
    coords = OrderedDict(ensemble=np.arange(2), time=times, lead_time=leads, **last)
    found, where = model(x[None, :, None].expand(2, -1, 2, -1, -1, -1), coords)
    assert found.shape == (2, 2, 2, 2, 2, *expected_of(samples, "t2m").shape[2:])
    assert list(where) == ["ensemble", "time", "lead_time", "sample", "variable", "lat", "lon"]
    assert not torch.allclose(found[0], found[1])
    alone, _ = model(x, OrderedDict(time=times, **last))
    expected = expected_of(samples, "t2m")[:2]
    assert np.abs(alone[:, :, 0].numpy() - expected).max() < 1e-4 * np.ptp(expected)
    later, _ = model(x[:1, None], OrderedDict(time=times[:1], lead_time=leads[1:], **last))
    same_valid_time, _ = model(x[:1], OrderedDict(time=times[:1] + leads[1], **last))
    assert torch.allclose(later[0], same_valid_time, rtol=1e-5, atol=1e-4)


def test_steps_can_be_set_and_holes_are_refused(made):
    package, _, coarse = made("regular_wide")
    model = CorrDiffRegional.from_pretrained(str(package))
    model.number_of_samples, model.seed = 1, 0
    wanted = model.input_coords()
    with xr.open_dataarray(coarse) as array:
        x = torch.from_numpy(array.values[0])
    coords = OrderedDict((n, wanted[n]) for n in ("variable", "lat", "lon"))
    four, _ = model(x, coords)
    hole = x.clone()
    hole[1, 2, 3] = torch.nan
    with pytest.raises(InputError, match="a value at every point: got NaN or infinity in tp; fill"):
        model(hole, coords)
    model.number_of_steps = 2
    assert not torch.allclose(model(x, coords)[0], four)


def test_the_stock_class_scores_as_generate_does_within_monte_carlo_error(runs, made, tmp_path):
    """earth2studio's own class to NetCDF, scored beside four ensembles of generate.py with seeds of their own."""
    package, _, coarse = made("white_square")
    run = runs("white_square")
    ours = [generated(run, tmp_path / f"g{i}.nc", members=8, seed=100 * i) for i in range(4)]
    model, source = CorrDiff.from_pretrained(str(package)), DataArrayFile(str(coarse))
    model.number_of_samples, model.seed = 8, None
    np.random.seed(0)  # noqa: NPY002 - the class draws from it
    io = NetCDF4Backend(str(tmp_path / "stock.nc"), {"mode": "w"})
    downscale(model, source, source.da["time"].values, io)
    io.close()
    theirs = to_ensemble_file(tmp_path / "stock.nc", package, ours[0], tmp_path / "collected.nc")
    results = [score([p], tmp_path / f"sc{p.stem}", bootstrap_samples=10, quiet=True) for p in (*ours, theirs)]
    for metric in ("crps_fair", "rmse", "spread_skill"):
        for variable in SCALE:
            found = [r.row(r.rows[0].model, metric, variable).value for r in results]
            own = np.array(found[:4])
            error = own.std(ddof=1) * np.sqrt(1 + 1 / 4)
            assert abs(found[4] - own.mean()) < 5 * error + 1e-3 * own.mean(), (metric, variable, found)
