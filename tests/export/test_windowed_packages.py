# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Denoisers of windows, and of forecasts with lead times, as packages."""

import json

import numpy as np
import pytest
import torch
from export_runs import exporting, generated

from physicsnemo_fs.config import PatchGeneration
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.package import export_package
from physicsnemo_fs.export.package_model import PackageModel
from physicsnemo_fs.io.reader import EnsembleFile

SCALES = {"t2m": 1.0, "tp": 1e-3}


def members_of_files(package, samples, hours=None):
    """Members of the files of a package and those of generate.py at its first time, and the truth's range."""
    model = PackageModel.load(package)
    with EnsembleFile(samples) as file:
        coarse = [scale * file.input_native(name, 0) for name, scale in SCALES.items()]
        expected = np.stack([scale * file.prediction(name, 0) for name, scale in SCALES.items()], axis=1)
        time = str(file.times[0])
    condition = model.condition(torch.from_numpy(np.stack(coarse))[None])
    keys = model.keys(0, len(expected), [(time,)])
    lead_time = None if hours is None else torch.tensor([hours])
    return model.physical(model.members(condition, keys, lead_time=lead_time))[0].numpy(), expected


def assert_same(found, expected):
    spread = np.ptp(expected, axis=(0, 2, 3))
    assert (np.abs(found - expected).max(axis=(0, 2, 3)) < 1e-5 * spread).all()


@pytest.mark.parametrize("cut", [{}, {"overlap_pix": 10, "boundary_pix": 2, "max_patch_per_gpu": 3}])
def test_a_package_of_windows_cuts_as_generate_does(cut, runs, tmp_path):
    """Equal seeds and windows give equal members, to 1e-5 of their range."""
    run = runs("windows")
    exported = export_package(exporting(run, tmp_path / "p", patches=PatchGeneration(**cut)))
    assert exported.model_class == "regional"
    assert exported.test.error <= 1e-5
    record = json.loads((exported.folder / "metadata.json").read_text())["physicsnemo_fs"]["windows"]
    assert record["denoiser"]["overlap"] == ([10, 10] if cut else [4, 5])
    assert record["mean"] is None
    samples = generated(run, tmp_path / "s.nc", members=2, max_times=1, **cut)
    found, expected = members_of_files(exported.folder, samples)
    assert_same(found, expected)
    shared = "10 x 10" if cut else "4 x 5"
    assert f"windows of 16 x 20 points that share {shared} at least" in (exported.folder / "README.md").read_text()


def test_windows_are_a_choice_and_scale_by_whole_multiples(runs, tmp_path):
    """Another overlap gives other members; a finer output has windows that are whole multiples."""
    folders = [
        export_package(exporting(runs("windows"), tmp_path / f"p{n}", patches=PatchGeneration(overlap_pix=n))).folder
        for n in (4, 10)
    ]
    models = [PackageModel.load(folder) for folder in folders]
    condition = torch.zeros(1, 3, 32, 40)
    few, many = (model.members(condition, [[1]]) for model in models)
    assert (few - many).abs().max() > 1e-3 * few.std()
    assert models[0].at_resolution((64, 80)).grid.shape == (64, 80)
    with pytest.raises(InputError, match="no whole multiple"):
        models[0].at_resolution((48, 60))


def test_windows_are_refused_for_the_stock_class_and_where_there_are_none(runs, tmp_path):
    with pytest.raises(InputError, match=r"cuts no domain into the windows.*use model_class=regional"):
        export_package(exporting(runs("windows"), tmp_path / "p", model_class="stock"))
    cut = PatchGeneration(overlap_pix=10)
    with pytest.raises(InputError, match=r"patches\.\* cuts a domain.*see whole fields; leave it out"):
        export_package(exporting(runs("white_square"), tmp_path / "p", patches=cut))
    assert not list(tmp_path.iterdir())


def test_lead_times_are_seen_and_never_left_out_silently(runs, tmp_path):
    run = runs("windows_of_forecasts")
    with pytest.raises(InputError, match=r"gives the networks no lead time.*use model_class=regional"):
        export_package(exporting(run, tmp_path / "p", model_class="stock"))
    exported = export_package(exporting(run, tmp_path / "p"))
    assert exported.test.error <= 1e-5
    samples = generated(run, tmp_path / "s.nc", members=2, max_times=1)
    with EnsembleFile(samples) as file:
        position = int((file.times[0] - np.datetime64("2021-01-01")) / np.timedelta64(12, "h"))
    hours = float(np.resize(run.run.leads, position + 1)[-1])
    assert_same(*members_of_files(exported.folder, samples, hours))
    later, expected = members_of_files(exported.folder, samples, hours + 24)
    assert np.abs(later - expected).max() > 1e-4 * np.ptp(expected)
    with pytest.raises(InputError, match="see the lead time of their input: give coordinates time and lead_time"):
        members_of_files(exported.folder, samples)
