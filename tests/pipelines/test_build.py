# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""``physicsnemo-fs build`` from files to a store and its picture."""

import shutil
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from physicsnemo_fs import cli
from physicsnemo_fs.config import BuildConfig
from physicsnemo_fs.config.build import CoarseSourceConfig, FineSourceConfig, InvariantSourceConfig, RegionConfig
from physicsnemo_fs.data.store_reader import open_store
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.build import build

TIMES = np.arange("2020-01-01", "2020-01-11", 6, dtype="datetime64[h]").astype("datetime64[ns]")


def waves(latitude, longitude, times=TIMES):
    y, x, t = np.meshgrid(latitude, longitude, np.arange(len(times)), indexing="ij")
    return (5 + np.sin(y + 0.1 * t) + np.cos(np.deg2rad(2 * x))).astype(np.float32).transpose(2, 0, 1)


def write(path, latitude, longitude, name="t2m", times=TIMES):
    coordinates = {"time": times, "latitude": latitude, "longitude": longitude}
    values = {name: (tuple(coordinates), waves(latitude, longitude, times), {"units": "K"})}
    xr.Dataset(values, coordinates).to_netcdf(path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    fine = write(folder / "fine.nc", np.arange(55.75, 49.9, -0.25), np.arange(-3.0, 6.0, 0.25))
    globe = write(folder / "globe.nc", np.arange(90.0, -90.1, -2.0), np.arange(0.0, 360.0, 2.0))
    orography = folder / "orography.nc"
    with xr.open_dataset(fine) as dataset:
        dataset["t2m"][0].drop_vars("time").rename("height").to_netcdf(orography)
    return {"fine": fine, "globe": globe, "orography": str(orography)}


@pytest.fixture
def config(files, tmp_path):
    fine = FineSourceConfig(data_path=files["fine"], variables=["t2m"])
    return BuildConfig(str(tmp_path / "s.zarr"), fine, lowres_scale_factor=4, executor="none", picture=False)


def test_a_build_gives_a_store_and_its_picture(config, files, capsys):
    config.picture = True
    config.invariants = InvariantSourceConfig(data_path=files["orography"], variables=["height"])
    config.splits.validation = config.splits.test = 0.2
    path = build(config)
    store = open_store(path)
    assert store.attributes["sources"][0]["path"] == files["fine"]
    assert store.channels["fine"][0].unit == "K"
    assert store.channels["fine"][0].mean == pytest.approx(5.9, abs=0.3)
    assert store.attributes["present"] == {
        "all": {part: {n: 1.0} for part, n in zip(store.channels, ("t2m",) * 2 + ("height",), strict=True)}
    }
    assert matplotlib.image.imread(path.with_suffix(".png")).shape[1] > 1000
    printed = capsys.readouterr().out
    assert "region   all  fine 24 x 36, coarse 6 x 9, train 24, validation 8, test 8" in printed
    assert printed.splitlines()[-2:] == [str(path), str(path.with_suffix(".png"))]


def test_a_dry_run_writes_nothing(config, tmp_path, capsys):
    config.dry_run = True
    config.regions = [
        RegionConfig("north", [53.0, 56.0, -3.0, 6.0], "train"),
        RegionConfig("s", [50, 53, -3, 6], "test"),
    ]
    assert build(config) is None
    assert list(tmp_path.iterdir()) == []
    assert "samples  train 40, validation 0, test 40" in capsys.readouterr().out


def test_a_global_coarse_source_is_cut_around_the_fine_one(config, files):
    config.coarse = CoarseSourceConfig(data_path=files["globe"], variables=["t2m"], method="bilinear")
    store = open_store(build(config))
    fine, coarse = (store.fields("all", part).read([3])[0, 0] for part in ("fine", "coarse"))
    assert coarse.shape == (6, 9)
    assert coarse.mean() == pytest.approx(fine.mean(), abs=0.15)


def test_a_global_coarse_source_meets_a_map_projection(config, files, tmp_path):
    y, x = np.arange(0.0, 48e3, 2e3), np.arange(0.0, 96e3, 2e3)
    latitude, longitude = (c.T for c in np.meshgrid(60 + y / 1e5, 179.5 + x / 5e4, indexing="ij"))
    named = {"lat": latitude.T, "lon": (longitude.T + 180) % 360 - 180}
    positions = {
        n: (("y", "x"), v, {"units": f"degrees_{d}"})
        for (n, v), d in zip(named.items(), ("north", "east"), strict=True)
    }
    axes = {n: (n, v, {"units": "m", "standard_name": f"projection_{n}_coordinate"}) for n, v in (("y", y), ("x", x))}
    values = np.cos(np.deg2rad(2 * longitude.T))[None] + np.zeros((len(TIMES), 1, 1))
    fine = xr.Dataset({"t2m": (("time", "y", "x"), values)}, {"time": TIMES, **axes, **positions})
    fine.to_netcdf(tmp_path / "lambert.nc")
    config.fine.data_path = str(tmp_path / "lambert.nc")
    config.coarse = CoarseSourceConfig(data_path=files["globe"], variables=["t2m"], method="bilinear")
    with pytest.raises(InputError, match=r"got 'K' and '1'; .*fine\.variables=\[{name: t2m, unit: K}\]"):
        build(config)
    config.fine.variables = [{"name": "t2m", "unit": "K"}]
    coarse = open_store(build(config)).fields("all", "coarse")
    expected = 5 + np.sin(coarse.grid.latitude) + np.cos(np.deg2rad(2 * coarse.grid.longitude))
    np.testing.assert_allclose(coarse.read([0])[0, 0], expected, atol=0.5)
    assert np.abs(np.diff(coarse.read([0])[0, 0], axis=1)).max() < 0.01


def test_infinite_values_are_refused_or_declared_missing(config, files, tmp_path):
    with xr.open_dataset(files["fine"]) as dataset:
        broken = dataset.load()
    broken["t2m"][7, 3, 4], broken["t2m"][7, 9, 9] = np.inf, -np.inf
    broken.to_netcdf(tmp_path / "inf.nc")
    config.fine.data_path = str(tmp_path / "inf.nc")
    with pytest.raises(InputError, match=r"'t2m' must be finite: .* 2020-01-02T18.*inf.nc; .*fine.missing_value=inf"):
        build(config)
    shutil.rmtree(tmp_path / ".s.zarr.building")
    config.fine.missing_value = float("inf")
    fine = open_store(build(config)).fields("all", "fine").read([7])
    assert np.isnan(fine).sum() == 2
    assert np.isfinite(fine).sum() == fine.size - 2


def test_tolerances_of_months_are_refused(config, files):
    config.coarse = CoarseSourceConfig(data_path=files["globe"], variables=["t2m"], tolerance="1 month")
    with pytest.raises(InputError, match=r"coarse.tolerance must be of one length: got 1 months, .* in days"):
        build(config)


def test_variables_are_renamed_and_described(config):
    described = {"name": "temperature", "source": "t2m", "unit": "degC", "long_name": "air temperature"}
    config.fine.variables = [described]
    config.fine.transforms = {"temperature": {"kind": "minmax"}}
    (channel,) = open_store(build(config)).channels["fine"]
    assert (channel.name, channel.unit, channel.long_name) == ("temperature", "degC", "air temperature")
    assert channel.normalize(channel.mean + channel.std) == pytest.approx(1.0)


def test_another_spacing_is_regridded_to(config):
    config.fine.spacing = 0.5
    store = open_store(build(config))
    assert store.fields("all", "fine").grid.spacing == pytest.approx((0.5, 0.5))
    assert store.channels["fine"][0].mean == pytest.approx(5.9, abs=0.3)


def change(key, value):
    def apply(config):
        *parents, last = key.split(".")
        for parent in parents:
            config = getattr(config, parent)
        setattr(config, last, value)

    return apply


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (change("fine.data_path", "gone/*.nc"), "fine: data files must exist: nothing matches gone"),
        (change("fine.variables", ["t2n"]), "fine: .*t2n.*t2m"),
        (change("fine.variables", [{"unit": "K"}]), "fine.variables must be names or mappings of name, source"),
        (change("period", ["2021", "2021"]), "fine: period must hold a time"),
        (change("fine.transforms", "log1p"), "fine.transforms must be a mapping"),
        (change("splits.block", "5x"), "a duration must be"),
        (change("fine.select", [1]), "fine: select must be a mapping by dimension"),
        (change("fine.variables", [{"name": "a/b", "source": "t2m"}]), "without a slash: got 'a/b'"),
        (change("regions", [RegionConfig("r", [10, 20, 0, 5])]), "region r must hold cells of the source only"),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(config, tmp_path, mistake, message):
    mistake(config)
    with pytest.raises(InputError, match=message) as told:
        build(config)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_takes_regions_and_transforms(files, tmp_path, monkeypatch, capsys):
    arguments = [
        f"output={tmp_path / 's.zarr'}",
        f"fine.data_path={files['fine']}",
        "fine.variables=[{name:temperature,source:t2m}]",
        "fine.transforms={temperature:minmax}",
        "regions=[{name:north,box:[53,56,-3,6],split:train},{name:south,box:[50,53,-3,6],split:test}]",
        "lowres_scale_factor=4",
        "dry_run=true",
    ]
    monkeypatch.setattr(sys, "argv", ["build", *arguments])
    cli.build()
    assert "region   south  fine 8 x 32, coarse 2 x 8, test 40" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["build", f"output={tmp_path / 's.zarr'}"])
    with pytest.raises(SystemExit):
        cli.build()
    assert "fine.data_path must be given" in capsys.readouterr().err


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_dask_cluster_writes_the_same_bytes(config, tmp_path):
    distributed = pytest.importorskip("distributed")
    expected = contents(build(config))
    config.executor, config.output = "auto", str(tmp_path / "dask.zarr")
    with distributed.LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster:
        config.dask_address = cluster.scheduler_address
        assert contents(build(config)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_mpi_writes_the_same_bytes(config, files, tmp_path, mpirun, processes):
    expected = contents(build(config))
    arguments = (f"fine.data_path={files['fine']}", "fine.variables=[t2m]", "lowres_scale_factor=4", "picture=false")
    command = mpirun(processes, "-m", "physicsnemo_fs", "build", f"output={tmp_path / 'mpi.zarr'}", *arguments)
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    assert contents(tmp_path / "mpi.zarr") == expected


@pytest.mark.slow
def test_torchrun_builds_once(files, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = (f"fine.data_path={files['fine']}", "fine.variables=[t2m]", "lowres_scale_factor=4", "executor=none")
    command = [*launcher, "-m", "physicsnemo_fs", "build", f"output={tmp_path / 's.zarr'}", *arguments]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("region   all") == 1
    assert open_store(tmp_path / "s.zarr").regions == ("all",)
