# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff's checkpoints and packages generate here and are scored beside ours."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from corrdiff_checkpoints import checkpoints
from small_run import small_dataset

from physicsnemo_fs.config import (
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    NetCDFDatasetConfig,
    SamplerConfig,
)
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.pipelines.corrdiff_networks import (
    CorrDiffDenoiser,
    CorrDiffRegression,
    load_denoiser,
    load_regression,
)
from physicsnemo_fs.pipelines.corrdiff_package import read_package
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.score import score

LATITUDES, LONGITUDES = 40.0 + 0.1 * (np.arange(32) + 0.5), 5.0 + 0.1 * (np.arange(32) + 0.5)


def configuration(dataset, path, **options):
    generation = GenerationConfig(num_ensembles=2, picture=False, io=GenerationIOConfig(output_filename=str(path)))
    return GenerateConfig(dataset=dataset, generation=generation, sampler=SamplerConfig(num_steps=2), **options)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Plain networks for the vorticity with three frames and the forcing."""
    folder = tmp_path_factory.mktemp("plain")
    return folder, checkpoints(folder, 3, 1, positions=0, model_type="SongUNet")


@torch.no_grad()
@pytest.mark.parametrize("old", [True, False])
def test_the_calls_are_those_of_our_networks(old, tmp_path):
    mean, residual = checkpoints(tmp_path / "n", 3, 1, old=old)
    regression, denoiser = (
        load_regression(tmp_path / "n/regression.mdlus"),
        load_denoiser(tmp_path / "n/diffusion.mdlus"),
    )
    assert isinstance(regression, CorrDiffRegression)
    assert isinstance(denoiser, CorrDiffDenoiser)
    assert (regression.img_in_channels, regression.img_out_channels) == (3, 1)
    assert (denoiser.img_in_channels, denoiser.sigma_min, denoiser.sigma_max) == (4, 0.002, 800.0)
    condition, x, levels = torch.randn(2, 3, 32, 32), torch.randn(2, 1, 32, 32), torch.tensor([0.5, 3.0])
    expected = mean(torch.zeros(2, 1, 32, 32), condition)
    assert torch.equal(regression(None, condition), expected)
    whole = torch.cat([expected, condition], dim=1)
    assert torch.equal(denoiser(x, levels, whole), residual(x, whole, levels))
    with pytest.raises(InputError, match=r"positions of a grid of \(32, 32\): got \(48, 48\)"):
        regression(None, torch.randn(1, 3, 48, 48))


@pytest.mark.parametrize("precision", ["fp32", "amp-bf16"])
def test_generate_takes_checkpoints_and_scores_them_beside_ours(precision, plain, data, run_dir, tmp_path):
    folder, _ = plain
    config = configuration(small_dataset(data), tmp_path / "theirs.nc", run_dir=str(run_dir))
    config.generation.io.reg_ckpt_filename = str(folder / "regression.mdlus")
    config.generation.io.res_ckpt_filename = str(folder / "diffusion.mdlus")
    config.perf.fp_optimizations = precision
    theirs = generate(config)
    ours = generate(configuration(small_dataset(data), tmp_path / "ours.nc", run_dir=str(run_dir)))
    with EnsembleFile(theirs) as file:
        assert file.has_regression
        assert np.isfinite(file.prediction("vorticity", 0)).all()
    result = score([ours, theirs], tmp_path / "scores", bootstrap_samples=10, quiet=True)
    assert {"ensemble (ours)", "ensemble (theirs)"} <= {row.model for row in result.rows}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package as NVIDIA's tools make it, whose input and output of one name have other statistics, and its data."""
    folder = tmp_path_factory.mktemp("corrdiff")
    networks = checkpoints(folder / "package", 3, 1)
    write_package(folder / "package")
    draws = np.random.default_rng(0)
    times = np.datetime64("2020-01-01", "ns") + np.arange(20) * np.timedelta64(1, "D")
    places = {"time": times, "latitude": LATITUDES, "longitude": LONGITUDES}
    dims = tuple(places)
    fields = {
        name: (dims, draws.normal(mean, std, (20, 32, 32)).astype("f4"), {"units": unit})
        for name, mean, std, unit in (("t2m", 285, 6, "K"), ("u10m", 1, 4, "m s-1"))
    }
    fields["lsm"] = (dims[1:], draws.integers(0, 2, (32, 32)).astype("f4"), {"units": "1"})
    xr.Dataset(fields, places).to_netcdf(folder / "data.nc")
    dataset = NetCDFDatasetConfig(
        data_path=str(folder / "data.nc"),
        target=["t2m"],
        input=["t2m", "u10m"],
        invariants=["lsm"],
        lowres_scale_factor=4,
        window_size=0,
    )
    return folder / "package", networks, dataset


def write_package(folder, **changes):
    metadata = {"input_variables": ["t2m", "u10m"], "output_variables": ["t2m"], "invariant_variables": ["lsm"]}
    stats = {
        "input": {"t2m": {"mean": 280.0, "std": 12.0}, "u10m": {"mean": 0.5, "std": 5.0}},
        "output": {"t2m": {"mean": 284.0, "std": 8.0}},
        "invariants": {"lsm": {"mean": 0.4, "std": 0.5}},
    }
    (folder / "metadata.json").write_text(json.dumps(metadata | changes))
    (folder / "stats.json").write_text(json.dumps(stats))


@torch.no_grad()
def test_generate_takes_a_package_with_its_own_normalisation(package, tmp_path):
    folder, (mean, _), dataset = package
    path = generate(configuration(dataset, tmp_path / "p.nc", package=str(folder)))
    with EnsembleFile(path) as file:
        inputs = [file.input(name, 0) for name in ("t2m", "u10m")]
        found = file.regression("t2m", 0)
        assert np.isfinite(file.prediction("t2m", 0)).all()
    with xr.open_dataset(dataset.data_path) as data:
        land = data["lsm"].values
    normal = [(inputs[0] - 280.0) / 12.0, (inputs[1] - 0.5) / 5.0, (land - 0.4) / 0.5]
    condition = torch.from_numpy(np.stack(normal).astype("f4"))[None]
    expected = 284.0 + 8.0 * mean(torch.zeros(1, 1, 32, 32), condition)[0, 0].numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


def test_data_of_other_variables_and_broken_packages_are_refused(package, tmp_path):
    folder, _, dataset = package
    other = replace(dataset, input=["u10m", "t2m"])
    with pytest.raises(InputError, match=r"input variables are t2m, u10m, in this order: the dataset has u10m, t2m"):
        generate(configuration(other, tmp_path / "p.nc", package=str(folder)))
    with pytest.raises(InputError, match=r"must hold metadata\.json"):
        read_package(tmp_path)
    write_package(folder, invariant_variables=None)
    xr.Dataset({"lsm": (("y", "x"), np.zeros((32, 32)))}).to_netcdf(folder / "invariants.nc")
    assert [channel.name for channel in read_package(folder).invariants] == ["lsm"]
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("regression.mdlus", "diffusion.mdlus"):
        (broken / name).write_bytes((folder / name).read_bytes())
    write_package(broken, output_variables=["t2m", "tp"])
    with pytest.raises(InputError, match="mean and std of the output variable 'tp'"):
        read_package(broken)


def test_lead_times_and_untrusted_classes_are_refused(package, tmp_path):
    options = {"model_type": "SongUNetPosLtEmbd", "lead_time_channels": 2}
    checkpoints(tmp_path / "lead", 3 + 2, 1, **options)
    with pytest.raises(InputError, match="lead times cannot be generated"):
        load_regression(tmp_path / "lead/regression.mdlus")
    folder, _, _ = package
    path = tmp_path / "evil.mdlus"
    with zipfile.ZipFile(folder / "regression.mdlus") as archive, zipfile.ZipFile(path, "w") as out:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "args.json":
                content = json.dumps({**json.loads(content), "__module__": "os"}).encode()
            out.writestr(name, content)
    with pytest.raises(InputError, match="not trusted"):
        load_regression(path)
    with pytest.raises(InputError, match="holds a UNet, but a FSEDMPrecondSR is needed"):
        load_denoiser(folder / "regression.mdlus")
