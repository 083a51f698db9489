# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A CorrDiff package of NVIDIA's classes: the same members here and in earth2studio, for the same noise."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from corrdiff_checkpoints import checkpoints

from physicsnemo_fs.config import (
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    NetCDFDatasetConfig,
    SamplerConfig,
)
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.export.self_test import torch_latents
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.score import score

pytest.importorskip("earth2studio", reason='needs pip install "physicsnemo-fs[earth2studio]"')

from earth2studio.models.dx import CorrDiff

from physicsnemo_fs.export import CorrDiffRegional

N, TIMES, MEMBERS, STEPS, SEED = 32, 24, 2, 5, 3
INPUTS = {"t2m": (285.0, 6.0, "K"), "u10m": (1.0, 4.0, "m s-1"), "z500": (55000.0, 900.0, "m2 s-2")}
OUTPUTS = {"t2m": (285.5, 6.5, "K"), "refc": (5.0, 9.0, "dBZ")}
STATICS = {"lsm": (0.4, 0.5, "1"), "orog": (400.0, 300.0, "m")}


def places():
    """Latitude and longitude of a projected grid."""
    y, x = np.meshgrid(np.linspace(-1, 1, N), np.linspace(-1, 1, N), indexing="ij")
    return 35.0 + 1.2 * y - 0.05 * x**2, 262.0 + 1.5 * x + 0.04 * x * y


def write_package(folder, old, **changes):
    """Files as earth2studio documents them for CorrDiff: HRRR-mini's layout, input on the output's grid."""
    checkpoints(folder, len(INPUTS) + len(STATICS), len(OUTPUTS), old=old)
    metadata = {
        "input_variables": list(INPUTS),
        "output_variables": list(OUTPUTS),
        "invariant_variables": list(STATICS),
        "number_of_samples": MEMBERS,
        "number_of_steps": STEPS,
        "sampler_type": "stochastic",
        "inference_mode": "both",
        "hr_mean_conditioning": True,
        "seed": SEED,
        "sigma_min": 0.01,
        "sigma_max": 200.0,
        "grid_spacing_tolerance": 1e-5,
        "grid_bounds_margin": 0.0,
    }
    stats = {
        kind: {name: {"mean": mean + shift, "std": 1.1 * std} for name, (mean, std, _) in named.items()}
        for kind, named, shift in (("input", INPUTS, 0.5), ("output", OUTPUTS, -0.3), ("invariants", STATICS, 0.0))
    }
    (folder / "metadata.json").write_text(json.dumps(metadata | changes))
    (folder / "stats.json").write_text(json.dumps(stats))
    north, east = places()
    for name in ("input", "output"):
        grid = {"lat": (("y", "x"), north), "lon": (("y", "x"), east)}
        xr.Dataset(grid).to_netcdf(folder / f"{name}_latlon_grid.nc")
    xr.Dataset({name: (("y", "x"), values) for name, values in statics().items()}).to_netcdf(folder / "invariants.nc")
    return folder


def statics():
    draws = np.random.default_rng(1)
    return {n: draws.normal(mean, std, (N, N)).astype("f4") for n, (mean, std, _) in STATICS.items()}


def write_data(folder):
    """Input and truth on one projected grid, as in HRRR-mini."""
    draws = np.random.default_rng(0)
    north, east = places()
    km = (np.arange(N) + 0.5) * 3.0
    coords = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(TIMES) * np.timedelta64(6, "h"),
        "y": ("y", km, {"units": "km"}),
        "x": ("x", km, {"units": "km"}),
        "lat": (("y", "x"), north, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": (("y", "x"), east, {"units": "degrees_east", "standard_name": "longitude"}),
    }

    def fields(named):
        shape = (TIMES, N, N)
        return {
            n: (("time", "y", "x"), draws.normal(m, s, shape).astype("f4"), {"units": u})
            for n, (m, s, u) in named.items()
        }

    still = {n: (("y", "x"), v, {"units": STATICS[n][2]}) for n, v in statics().items()}
    xr.Dataset(fields(INPUTS), coords).to_netcdf(folder / "input.nc")
    xr.Dataset(fields(OUTPUTS) | still, coords).to_netcdf(folder / "truth.nc")
    return NetCDFDatasetConfig(
        data_path=str(folder / "truth.nc"),
        target=list(OUTPUTS),
        input_path=str(folder / "input.nc"),
        input=list(INPUTS),
        invariants=list(STATICS),
        lowres_scale_factor=1,
        block="6h",
    )


@pytest.mark.parametrize("old", [True, False])
def test_generate_gives_what_earth2studio_gives_for_the_same_noise(old, tmp_path, monkeypatch, caplog):
    """UNet with EDMPrecondSR, or CorrDiffRegressionUNet with EDMPrecondSuperResolution: to 1e-5, both classes."""
    package = write_package(tmp_path / "package", old)
    dataset = write_data(tmp_path)

    def latents(self, spatial_shape, tN, *, device=None, dtype=None, keys=None):
        seeds = [SEED + i % MEMBERS for i in range(len(keys))]
        return tN.view(-1, 1, 1, 1) * torch_latents(seeds, spatial_shape[0], spatial_shape[1:]).to(dtype)

    monkeypatch.setattr(FunctionSpaceScheduler, "init_latents", latents)
    io = GenerationIOConfig(output_filename=str(tmp_path / "s.nc"))
    generation = GenerationConfig(num_ensembles=MEMBERS, max_times=2, picture=False, io=io)
    config = GenerateConfig(
        package=str(package), dataset=dataset, generation=generation, sampler=SamplerConfig(num_steps=STEPS)
    )
    path = generate(config)
    assert "sampled in" not in caplog.text
    assert "the package does not say the unit of orog: the data's is taken, m" in caplog.text
    with EnsembleFile(path) as file:
        x = np.array([[file.input(name, i) for name in INPUTS] for i in range(len(file.times))], np.float32)
        ours = np.array([np.stack([file.prediction(n, i) for n in OUTPUTS], axis=1) for i in range(len(file.times))])
    for kind in (CorrDiff, CorrDiffRegional):
        model = kind.from_pretrained(str(package))
        model._interpolate = lambda field: field  # the data is on the output's grid
        coords = model.input_coords()
        coords["batch"] = np.arange(len(x))
        theirs, _ = model(torch.from_numpy(x), coords)
        for i, name in enumerate(OUTPUTS):
            spread = ours[:, :, i].std()
            assert np.sqrt(np.mean((theirs[:, :, i].numpy() - ours[:, :, i]) ** 2)) < 1e-5 * spread, name
    result = score([path], tmp_path / "scores", bootstrap_samples=10, quiet=True)
    assert {row.variable for row in result.rows} >= set(OUTPUTS)


def test_a_package_says_its_steps(tmp_path, caplog):
    package = write_package(tmp_path / "package", False, number_of_steps=18)
    io = GenerationIOConfig(output_filename=str(tmp_path / "s.nc"))
    generation = GenerationConfig(num_ensembles=1, max_times=1, picture=False, io=io)
    sampler = SamplerConfig(num_steps=2)
    generate(GenerateConfig(package=str(package), dataset=write_data(tmp_path), generation=generation, sampler=sampler))
    assert "sampled in 18 steps, and here in 2; add sampler.num_steps=18" in caplog.text
