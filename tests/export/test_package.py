# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The package that export writes, and what it refuses to write."""

import json
import os
import shutil
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import xarray as xr
from export_runs import exporting, generated

from physicsnemo_fs.config import ExportConfig, SamplerConfig
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.collect import to_ensemble_file
from physicsnemo_fs.export.expressible import choose_class, obstacles
from physicsnemo_fs.export.grids import positions
from physicsnemo_fs.export.integrity import with_hashes
from physicsnemo_fs.export.naming import named
from physicsnemo_fs.export.package import export_package
from physicsnemo_fs.export.package_model import FUNCTION_SPACE, PackageModel
from physicsnemo_fs.io.reader import EnsembleFile


def test_a_white_model_on_a_square_curvilinear_grid_is_for_the_stock_class(runs, tmp_path):
    run = runs("white_square")
    exported = export_package(exporting(run, tmp_path / "package", licence="CC-BY-4.0"))
    assert exported.model_class == "stock"
    assert exported.test.error <= 1e-5
    there = {path.name for path in exported.folder.iterdir()}
    assert there == {
        "regression.mdlus", "diffusion.mdlus", "metadata.json", "stats.json", "output_latlon_grid.nc",
        "input_latlon_grid.nc", "invariants.nc", "README.md",
    }  # fmt: skip
    metadata = json.loads((exported.folder / "metadata.json").read_text())
    assert metadata["input_variables"] == ["t2m", "tp"]
    assert metadata["seed"] is None
    assert metadata["hr_mean_conditioning"]
    with xr.open_dataset(exported.folder / "input_latlon_grid.nc") as ring:
        assert ring["lat"].shape == (10, 10)
        assert 0 <= float(ring["lon"].min()) <= float(ring["lon"].max()) < 360
    stats = json.loads((exported.folder / "stats.json").read_text())
    assert 0.0 < stats["output"]["tp"]["mean"] < 0.01  # metres, from millimetres
    card = (exported.folder / "README.md").read_text()
    assert "CC-BY-4.0" in card
    assert "from earth2studio.models.dx import CorrDiff" in card
    assert "Trained on: dataset=netcdf (weather.nc)" in card
    assert "Input grid: 10 x 10 points" in card
    assert "one more row and column on every side than the 8 x 8 points of the training" in card
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["regular_wide", "greenwich", "transformed", "coloured_square"])
def test_everything_else_is_for_the_regional_class_and_the_stock_class_refuses_it(name, runs, tmp_path):
    exported = export_package(exporting(runs(name), tmp_path / "package"))
    assert exported.model_class == "regional"
    assert exported.test.error <= 1e-5
    metadata = json.loads((exported.folder / "metadata.json").read_text())
    assert metadata["sampler_type"] == FUNCTION_SPACE
    card = (exported.folder / "README.md").read_text()
    assert "CorrDiffRegional" in card
    assert "| output | tp | m | " in card  # metres, whatever the training had
    assert (" of its log1p, in mm | " in card) == (name == "transformed")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coloured_square", r"coloured noise.*CorrDiffRegional loads, or allow_white_latents=true"),
        ("regular_wide", r"one latitude a row.*model_class=regional"),
        ("transformed", r"not square.*only: transformed are tp; use model_class=regional, which \S+ loads$"),
        ("white_square", r"keeps noise levels within the network's"),
        ("frames", r"fields of one time: got the input 't2m@-1'.*dataset.window_size=0"),
    ],
)
def test_what_the_stock_class_cannot_do_is_refused_with_the_remedy(name, message, runs, tmp_path):
    sampler = SamplerConfig(num_steps=4, sigma_max=1e4 if name == "white_square" else None)
    with pytest.raises(InputError, match=message):
        export_package(exporting(runs(name), tmp_path / "package", model_class="stock", sampler=sampler))
    assert not list(tmp_path.iterdir())


def test_white_latents_of_a_coloured_model_are_allowed_on_request_and_said(runs, tmp_path):
    config = exporting(runs("coloured_square"), tmp_path / "p", model_class="stock", allow_white_latents=True)
    exported = export_package(config)
    assert exported.model_class == "stock"
    assert any("coloured noise" in text for text in exported.differences)
    assert "coloured noise" in (exported.folder / "README.md").read_text()


def test_units_and_names_become_those_of_earth2studio(runs, tmp_path):
    exported = export_package(exporting(runs("celsius"), tmp_path / "p"))
    stats = json.loads((exported.folder / "stats.json").read_text())
    assert 280 < stats["input"]["t2m"]["mean"] < 290
    with pytest.raises(InputError, match=r"no variable 'temperature'.*names=\{temperature: ...\}"):
        export_package(exporting(runs("celsius"), tmp_path / "q", names=None))
    with pytest.raises(InputError, match=r"is in K in earth2studio.*in 'm'"):
        export_package(exporting(runs("celsius"), tmp_path / "q", units={"temperature": "m"}))
    with pytest.raises(InputError, match="got 'humidity'"):
        export_package(exporting(runs("celsius"), tmp_path / "q", units={"humidity": "m"}))


def test_a_package_is_never_overwritten_unasked_nor_half_written(runs, tmp_path, monkeypatch):
    run = runs("white_square")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metadata.json").write_text("{}")
    with pytest.raises(InputError, match="is there already"):
        export_package(exporting(run, tmp_path / "mine", overwrite=True))
    export_package(exporting(run, tmp_path / "package"))
    with pytest.raises(InputError, match="overwrite=true"):
        export_package(exporting(run, tmp_path / "package"))
    first = (tmp_path / "package" / "metadata.json").stat().st_ino
    monkeypatch.setattr("physicsnemo_fs.export.self_test.TOLERANCE", -1.0)
    with pytest.raises(InputError, match="no package was written"):
        export_package(exporting(run, tmp_path / "package", overwrite=True))
    assert (tmp_path / "package" / "metadata.json").stat().st_ino == first
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "package"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": "nowhere"}, "must be the folder of a run"),
        ({"data": {"data_pth": "x"}}, "no key 'data_pth'; did you mean 'data_path'"),
        ({"region": "alps"}, "must have the region 'alps'"),
        ({"scores": "missing.csv"}, "no scores at missing.csv"),
        ({"names": ["t2m"]}, "names must be a mapping"),
        ({"res_ckpt_filename": "missing.mdlus"}, "no checkpoint at missing.mdlus"),
    ],
)
def test_mistakes_are_named(options, message, runs, tmp_path):
    with pytest.raises(InputError, match=message):
        export_package(exporting(runs("white_square"), tmp_path / "p", **options))
    assert not list(tmp_path.iterdir())


def test_the_grids_are_ascending_and_from_0_to_360(runs, tmp_path):
    exported = export_package(exporting(runs("greenwich"), tmp_path / "p"))
    with xr.open_dataset(exported.folder / "output_latlon_grid.nc") as grid:
        assert grid["lat"].dims == ("lat",)
        assert (np.diff(grid["lat"]) > 0).all()
        assert ((grid["lon"] >= 0) & (grid["lon"] < 360)).all()
        assert float(grid["lon"][0]) == 356.05


@pytest.mark.skipif(find_spec("earth2studio") is not None, reason="earth2studio is installed")
def test_without_earth2studio_the_extra_is_named():
    import physicsnemo_fs.export

    with pytest.raises(ImportError, match=r'pip install "physicsnemo-fs\[earth2studio\]"'):
        _ = physicsnemo_fs.export.CorrDiffRegional


def test_a_package_of_another_version_is_refused(runs, tmp_path):
    folder = export_package(exporting(runs("regular_wide"), tmp_path / "p")).folder
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["physicsnemo_fs"]["sampler"]["momentum"] = 1.0
    (folder / "metadata.json").write_text(json.dumps(with_hashes(metadata, folder)))
    with pytest.raises(InputError, match=r"momentum.*is of 0\.1\.0; update"):
        PackageModel.load(folder)


def test_the_files_alone_give_what_generate_gives(runs, tmp_path):
    """Read back without earth2studio: equal seeds give equal members."""
    run = runs("transformed")
    model = PackageModel.load(export_package(exporting(run, tmp_path / "p")).folder)
    with EnsembleFile(generated(run, tmp_path / "s.nc", members=2)) as file:
        coarse = [scale * file.input_native(name, 0) for name, scale in (("t2m", 1.0), ("tp", 1e-3))]
        expected = [scale * file.prediction(name, 0) for name, scale in (("t2m", 1.0), ("tp", 1e-3))]
        time = str(file.times[0])
    condition = model.condition(torch.from_numpy(np.stack(coarse))[None])
    found = model.physical(model.members(condition, model.keys(0, 2, [(time,)])))[0]
    for i, wanted in enumerate(expected):
        assert np.abs(found[:, i].numpy() - wanted).max() < 1e-4 * np.ptp(wanted)
        assert found[:, 1].min() >= 0.0


def test_members_of_an_io_backend_are_collected_for_scoring(runs, tmp_path):
    """Members in earth2studio's names, units and dimensions come back as they were, times of the NetCDF backend too."""
    run = runs("celsius")
    package = export_package(exporting(run, tmp_path / "p")).folder
    reference = generated(run, tmp_path / "s.nc", members=2)
    with EnsembleFile(reference) as file:
        times, names = file.times, file.variables
        ours = {name: np.stack([file.prediction(name, i) for i in range(len(times))]) for name in names}
    hours = (times - np.datetime64("2000-01-01")) / np.timedelta64(3600, "s")
    dims = ("time", "sample", "ilat", "ilon")
    theirs = {"t2m": ours["temperature"] + np.float32(273.15), "tp": ours["tp"] / 1e3}
    written = xr.Dataset({name: (dims, values) for name, values in theirs.items()})
    written["time"] = ("time", hours, {"units": "hours since 2000-01-01"})
    written.to_netcdf(tmp_path / "out.nc")
    with EnsembleFile(to_ensemble_file(tmp_path / "out.nc", package, reference, tmp_path / "c.nc")) as file:
        assert file.variables == names
        assert file.has_truth
        assert file.model_name == "earth2studio"
        for name in names:
            assert np.allclose(file.prediction(name, 1), ours[name][1], atol=1e-4)
    written.isel(time=slice(1, None)).to_netcdf(tmp_path / "short.nc")
    with pytest.raises(InputError, match=r"must have the times of the reference: \d"):
        to_ensemble_file(tmp_path / "short.nc", package, reference, tmp_path / "d.nc")
    written.drop_vars("tp").to_netcdf(tmp_path / "less.nc")
    with pytest.raises(InputError, match="must have tp: it has t2m"):
        to_ensemble_file(tmp_path / "less.nc", package, reference, tmp_path / "d.nc")


def test_unfinished_runs_are_not_exported(runs, tmp_path):
    """A network of before the end is taken only when it is named."""
    run = runs("white_square")
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    (copy / "diffusion" / "finished.json").unlink()
    config = replace(exporting(run, tmp_path / "p"), run=str(copy))
    with pytest.raises(InputError, match=r"diffusion is not finished.*its end, or give res_ckpt_filename"):
        export_package(config)
    network = next((copy / "diffusion").glob("*.mdlus"))
    assert export_package(replace(config, res_ckpt_filename=str(network))).folder.is_dir()
    (copy / "regression" / "finished.json").unlink()
    with pytest.raises(InputError, match="or give reg_ckpt_filename"):
        export_package(replace(config, package=str(tmp_path / "q"), res_ckpt_filename=str(network)))


def test_what_a_killed_export_left_is_no_package_and_is_removed(runs, tmp_path, monkeypatch):
    config = exporting(runs("regular_wide"), tmp_path / "package")
    with monkeypatch.context() as patch:
        patch.setattr("physicsnemo_fs.export.package.self_test", lambda *given: os._exit(9))
        if (child := os.fork()) == 0:
            export_package(config)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "package").exists()
    assert any(tmp_path.iterdir())
    export_package(config)
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_frames_and_masks_are_refused_for_every_class(runs, tmp_path):
    for model_class in ("auto", "regional"):
        with pytest.raises(InputError, match=r"fields of one time: got the input 't2m@-1'.*dataset.window_size=0"):
            export_package(exporting(runs("frames"), tmp_path / "package", model_class=model_class))
    channels = (Channel("tp"), Channel("tp_known"))
    with pytest.raises(InputError, match=r"has no masks: got the input 'tp_known'.*dataset.missing=\{tp: 0\}"):
        named(channels, {}, {"tp": "m"}, {"tp"})


def test_least_values_are_for_the_regional_class_unless_the_stock_one_is_asked_for(runs, tmp_path):
    model = PackageModel.load(export_package(exporting(runs("white_square"), tmp_path / "p")).folder)
    rain = replace(model.outputs[1], channel=replace(model.outputs[1].channel, minimum=0.0))
    model = replace(model, outputs=(model.outputs[0], rain))
    found = obstacles(model, positions(model.grid), positions(model.coarse_grid), SamplerConfig(num_steps=4))
    assert [o.text for o in found] == ["it does not cut off values of tp below their least one"]
    assert choose_class("auto", found, False) == "regional"
    assert choose_class("stock", found, False) == "stock"


def test_a_plane_domain_is_refused_before_anything_is_simulated(run_dir, tmp_path):
    config = ExportConfig(run=str(run_dir), package=str(tmp_path / "p"), data={"data_path": str(tmp_path / "data")})
    with pytest.raises(InputError, match=r"needs latitude and longitude: this grid has none \(a plane domain\)"):
        export_package(config)
    assert not (tmp_path / "data").exists()
