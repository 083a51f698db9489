# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Packages in earth2studio: its own class where that works, CorrDiffRegional everywhere (extra earth2studio)."""

import json
import runpy
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from export_runs import exporting, generated

from physicsnemo_fs.data.vocabulary import UNITS
from physicsnemo_fs.export.package import export_package
from physicsnemo_fs.io.reader import EnsembleFile

pytest.importorskip("earth2studio", reason='needs pip install "physicsnemo-fs[earth2studio]"')

from earth2studio.data import DataArrayFile
from earth2studio.io import NetCDF4Backend, ZarrBackend
from earth2studio.lexicon.base import E2STUDIO_VOCAB
from earth2studio.models.dx import CorrDiff

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export import CorrDiffRegional, to_ensemble_file
from physicsnemo_fs.export.workflow import bilinear, downscale
from physicsnemo_fs.pipelines.score import score


@pytest.fixture(scope="session")
def packages(runs, tmp_path_factory):
    """Export a run on first use."""
    made = {}

    def package(name, **options):
        key = (name, *options.items())
        if key not in made:
            folder = tmp_path_factory.mktemp("packages") / name
            made[key] = export_package(exporting(runs(name), folder, **options))
        return made[key]

    return package


@pytest.fixture(scope="session")
def samples(runs, tmp_path_factory):
    """Generate with generate.py on first use."""
    made = {}

    def path(name, members=3):
        if (name, members) not in made:
            made[name, members] = generated(runs(name), tmp_path_factory.mktemp("samples") / f"{name}.nc", members)
        return made[name, members]

    return path


SCALE = {"t2m": 1.0, "tp": 1e-3}


def native_input(path, model):
    """The coarse fields of a samples file in earth2studio's units, a ring of edge values around them if asked for."""
    with EnsembleFile(path) as file:
        fields = [
            [SCALE.get(n, 1.0) * file.input_native(n, i) for n in file.input_variables] for i in range(len(file.times))
        ]
        times = file.times
    x = torch.tensor(np.array(fields), dtype=torch.float32)
    wanted = model.input_coords()
    if wanted["lat"].shape[0] != x.shape[-2]:
        x = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    return x, OrderedDict(time=times, **{n: wanted[n] for n in ("variable", "lat", "lon")})


def members_of(path, name):
    """Members ``[time, member, y, x]`` of a samples file, in earth2studio's unit."""
    with EnsembleFile(path) as file:
        return SCALE.get(name, 1.0) * np.stack([file.prediction(name, i) for i in range(len(file.times))])


def test_the_shipped_names_are_earth2studios():
    assert set(UNITS) <= set(E2STUDIO_VOCAB)


def test_the_shipped_units_are_earth2studios():
    said = {"m s-1", "K", "Pa", "kg kg-1", "J kg-1", "m2 s-2", "Pa s-1", "kg m-2", "%", "W m-2", "J m-2"}
    for name, unit in UNITS.items():
        text = E2STUDIO_VOCAB[name]
        other = [s for s in said if f"({s})" in text]
        assert not other or unit in other, (name, unit, text)


def test_the_stock_class_loads_and_its_ensemble_agrees(packages, samples):
    """Mean and spread of many members at one time, within what their number allows."""
    package = packages("white_square")
    model = CorrDiff.from_pretrained(str(package.folder))
    model.number_of_samples, model.seed = 48, 1
    path = samples("white_square", 48)
    x, coords = native_input(path, model)
    first = OrderedDict(coords, time=coords["time"][:1])
    found, where = model(x[:1], first)
    assert list(where) == ["time", "sample", "variable", "lat", "lon"]
    for i, name in enumerate(("t2m", "tp")):
        ours, theirs = members_of(path, name)[0], found[0, :, i].numpy()
        error = np.sqrt(ours.var(0, ddof=1) / 48 + theirs.var(0, ddof=1) / 48)
        z = (ours.mean(0) - theirs.mean(0)) / error
        assert abs(np.mean(z**2) - 1) < 0.35
        ratio = theirs.var(0, ddof=1).mean() / ours.var(0, ddof=1).mean()
        assert abs(ratio - 1) < 0.1


def test_the_regional_class_gives_what_the_stock_class_gives(packages, samples):
    folder = str(packages("white_square").folder)
    stock, regional = CorrDiff.from_pretrained(folder), CorrDiffRegional.from_pretrained(folder)
    x, coords = native_input(samples("white_square"), stock)
    for model in (stock, regional):
        model.number_of_samples, model.seed = 2, 11
    first, second = (model(x[:2], OrderedDict(coords, time=coords["time"][:2])) for model in (stock, regional))
    assert torch.equal(first[0], second[0])
    assert list(first[1]) == list(second[1])


@pytest.mark.parametrize("name", ["coloured_square", "regular_wide", "greenwich", "transformed", "celsius", "windows"])
def test_the_regional_class_gives_what_generate_gives(name, runs, packages, samples):
    """Equal seeds give equal members, to 1e-4 of their range, however many go through the network at once."""
    options = {"model_class": "regional"} if name == "celsius" else {}
    model = CorrDiffRegional.from_pretrained(str(packages(name, **options).folder))
    path = samples(name)
    model.number_of_samples, model.seed, model.member_batch = 3, 0, 5
    x, coords = native_input(path, model)
    if name == "celsius":
        x[:, 0] += 273.15
    found, where = model(x, coords)
    assert found.shape == (len(coords["time"]), 3, 2, *runs(name).run.shape)
    assert found.dtype == torch.float32
    assert list(where) == ["time", "sample", "variable", "lat", "lon"]
    for i, variable in enumerate((runs(name).run.name, "tp")):
        expected = members_of(path, variable) + (273.15 if variable == "temperature" else 0.0)
        assert np.abs(found[:, :, i].numpy() - expected).max() < 1e-4 * np.ptp(expected)


def test_a_member_depends_on_its_valid_time_and_seed_alone(packages, samples):
    model = CorrDiffRegional.from_pretrained(str(packages("regular_wide").folder))
    model.number_of_samples, model.seed = 2, 0
    x, coords = native_input(samples("regular_wide"), model)
    whole, _ = model(x, coords)
    alone, _ = model(x[1:2], OrderedDict(coords, time=coords["time"][1:2]))
    assert torch.allclose(alone[0], whole[1], rtol=1e-4, atol=1e-5)
    lead = np.array([6], "timedelta64[h]")
    dims = OrderedDict(time=coords["time"][1:2] - lead[0], lead_time=lead)
    dims.update((n, coords[n]) for n in ("variable", "lat", "lon"))
    forecast, where = model(x[1:2][:, None], dims)
    assert list(where)[:3] == ["time", "lead_time", "sample"]
    assert torch.allclose(forecast[0, 0], alone[0], rtol=1e-4, atol=1e-5)
    model.seed = None
    drawn = [model(x[:1], OrderedDict(coords, time=coords["time"][:1]))[0] for _ in range(2)]
    assert not torch.equal(*drawn)


def test_without_a_time_the_noise_belongs_to_the_place_in_the_batch(packages, samples):
    model = CorrDiffRegional.from_pretrained(str(packages("regular_wide").folder))
    model.number_of_samples, model.seed = 1, 0
    x, coords = native_input(samples("regular_wide"), model)
    x = x[:1].expand(2, -1, -1, -1)
    batch = OrderedDict(batch=np.arange(2), **{n: coords[n] for n in ("variable", "lat", "lon")})
    found, where = model(x, batch)
    assert list(where) == ["batch", "sample", "variable", "lat", "lon"]
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found, model(x, batch)[0])
    single, where = model(x[0], OrderedDict((n, coords[n]) for n in ("variable", "lat", "lon")))
    assert single.shape == found.shape[1:]


def test_one_seed_is_one_field_at_every_resolution(packages, samples):
    """Twice the points: the spectra below the first grid's Nyquist mode agree where both are the same function."""
    model = CorrDiffRegional.from_pretrained(str(packages("regular_wide").folder))
    model.number_of_samples, model.seed = 1, 0
    x, coords = native_input(samples("regular_wide"), model)
    first = OrderedDict(coords, time=coords["time"][:1])
    fine = model.at_resolution(48, 80)
    low, high = model(x[:1], first)[0][0, 0], fine(x[:1], first)[0][0, 0]
    assert high.shape == (2, 48, 80)
    assert fine.output_coords(fine.input_coords())["lon"].shape == (80,)
    averaged = torch.nn.functional.avg_pool2d(high, 2)
    spread = (low - low.mean(dim=(1, 2), keepdim=True)).square().mean(dim=(1, 2)).sqrt()
    assert ((averaged - low).square().mean(dim=(1, 2)).sqrt() < 0.3 * spread).all()
    assert low.shape == (2, 24, 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"variable": np.array(["t2m", "u10m"])},
            r"must have the variables t2m, tp, in this order: got t2m, u10m; cho",
        ),
        ({"variable": np.array(["tp", "t2m"])}, r"in this order: got tp, t2m"),
        ({"variable": np.array(["t2m"])}, r"in this order: got t2m;"),
        (
            {"lat": "moved"},
            r"on the model's grid.*'lat'\], 6 from 40\.2 to 42\.2: got 6 from 40\.3 to 42\.3; interpolate",
        ),
        ({"lon": np.zeros(3)}, r"'lon'\], 10 from .*: got 3 from 0 to 0"),
    ],
)
def test_input_of_other_coordinates_is_refused(change, message, packages, samples):
    model = CorrDiffRegional.from_pretrained(str(packages("regular_wide").folder))
    x, coords = native_input(samples("regular_wide"), model)
    other = {n: coords["lat"] + 0.1 if isinstance(v, str) else v for n, v in change.items()}
    given = OrderedDict(coords, time=coords["time"][:1], **other)
    with pytest.raises(ValueError, match=message):
        model(x[:1, : len(given["variable"])], given)


def test_the_stock_class_refuses_a_package_of_the_regional_one(packages):
    with pytest.raises(ValueError, match=r"Unknown sampler type: .*load with physicsnemo_fs.export.CorrDiffRegional"):
        CorrDiff.from_pretrained(str(packages("coloured_square").folder))


@pytest.mark.parametrize("backend", ["nc", "zarr"])
@pytest.mark.parametrize("name", ["white_square", "coloured_square", "regular_wide"])
def test_a_workflow_through_earth2studio_scores_as_generate_does(name, backend, packages, samples, tmp_path):
    """Data source in, IO backend out, score_samples.py on both files: with equal seeds within 1e-4."""
    exported = packages(name, model_class="regional")
    model = CorrDiffRegional.from_pretrained(str(exported.folder))
    model.number_of_samples, model.seed = 3, 0
    path = samples(name)
    x, coords = native_input(path, model)
    curved = coords["lat"].ndim == 2
    dims = ("time", "variable", "lat", "lon") if not curved else ("time", "variable", "y", "x")
    places = {
        "lat": (("y", "x"), coords["lat"]) if curved else coords["lat"],
        "lon": (("y", "x"), coords["lon"]) if curved else coords["lon"],
    }
    array = xr.DataArray(x.numpy(), dims=dims, coords={**places, "time": coords["time"], "variable": ["t2m", "tp"]})
    array.to_netcdf(tmp_path / "coarse.nc")
    written = tmp_path / f"out.{backend}"
    io = ZarrBackend(str(written)) if backend == "zarr" else NetCDF4Backend(str(written), {"mode": "w"})
    downscale(model, DataArrayFile(str(tmp_path / "coarse.nc")), coords["time"], io)
    if backend == "nc":
        io.close()
    collected = to_ensemble_file(written, exported.folder, path, tmp_path / "collected.nc")
    ours, theirs = (
        score([p], tmp_path / f"scores{i}", bootstrap_samples=10, quiet=True) for i, p in enumerate((path, collected))
    )
    errors = {row.variable: row.value for row in ours.rows if row.metric.startswith("rmse")}
    assert set(errors) == {"t2m", "tp"}
    compared = 0
    for one, other in zip(ours.rows, theirs.rows, strict=True):
        assert (one.metric, one.variable) == (other.metric, other.variable)
        if np.isfinite(one.value):
            assert other.value == pytest.approx(one.value, rel=1e-4, abs=1e-4 * errors[one.variable])
            compared += 1
    assert compared > 10


def test_a_global_source_is_interpolated_across_greenwich():
    """Linear functions of latitude are exact, falling latitudes and both conventions of longitude included."""
    latitude, longitude = np.linspace(90, -90, 37), np.arange(0, 360, 5.0)
    x = torch.from_numpy(np.broadcast_to(latitude[:, None], (37, 72)).copy())[None]
    wave = torch.from_numpy(np.cos(np.radians(longitude)) * np.ones((37, 1)))[None]
    new = np.array([[10.0, 12.5], [-3.0, 90.0]]), np.array([[357.5, 359.0], [-1.0, 2.5]])
    assert torch.allclose(bilinear(x, latitude, longitude, *new), torch.from_numpy(new[0])[None])
    expected = np.cos(np.radians(5.0)) + (1 - np.cos(np.radians(5.0))) * np.array([[0.5, 0.8], [0.8, 0.5]])
    assert torch.allclose(bilinear(wave, latitude, longitude, *new), torch.from_numpy(expected)[None])
    region = bilinear(x[..., :10], latitude, longitude[:10], np.array([0.0]), np.array([50.0]))
    assert region.isnan().all()


def test_the_example_pipeline_writes_both_formats(packages, samples, tmp_path, monkeypatch):
    package = packages("regular_wide").folder
    x, coords = native_input(samples("regular_wide"), CorrDiffRegional.from_pretrained(str(package)))
    dims = ("time", "variable", "lat", "lon")
    xr.DataArray(x.numpy(), dims=dims, coords={d: coords[d] for d in dims}).to_netcdf(tmp_path / "coarse.nc")
    times = [str(t) for t in coords["time"][:2]]
    script = Path(__file__).parents[2] / "examples" / "corrdiff_fs" / "earth2studio_pipeline.py"
    found = []
    for name in ("out.nc", "out.zarr"):
        given = [
            str(package),
            str(tmp_path / "coarse.nc"),
            str(tmp_path / name),
            *times,
            "--samples",
            "2",
            "--seed",
            "0",
        ]
        monkeypatch.setattr("sys.argv", [str(script), *given])
        runpy.run_path(str(script), run_name="__main__")
        opened = xr.open_zarr(tmp_path / name, consolidated=False) if name.endswith("zarr") else None
        with opened or xr.open_dataset(tmp_path / name) as file:
            assert file["t2m"].dims == ("time", "sample", "lat", "lon")
            found.append(file["t2m"].values)
    assert np.array_equal(*found)
    expected = members_of(samples("regular_wide"), "t2m")[:2, :2]
    assert np.abs(found[0] - expected).max() < 1e-4 * np.ptp(expected)


def test_packages_are_loaded_by_the_safe_rules(packages, tmp_path):
    import shutil
    import zipfile

    folder = tmp_path / "evil"
    shutil.copytree(packages("white_square").folder, folder)
    with zipfile.ZipFile(folder / "diffusion.mdlus") as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    arguments = json.loads(entries["args.json"])
    arguments["__module__"] = "os"
    entries["args.json"] = json.dumps(arguments).encode()
    with zipfile.ZipFile(folder / "diffusion.mdlus", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    metadata = json.loads((folder / "metadata.json").read_text())
    del metadata["physicsnemo_fs"]
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"not trusted|checksum"):
        CorrDiffRegional.from_pretrained(str(folder))
