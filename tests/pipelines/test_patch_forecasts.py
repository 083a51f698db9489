# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff's U-Net on windows of a NetCDF file of forecasts: bounded, not square, with lead times, to the scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physicsnemo_fs.config import CorrDiffUNetConfig, GenerateConfig, NetCDFDatasetConfig, SamplerConfig, TrainConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.pipelines.checkpoints import load_network
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.train import train

SHAPE = (32, 44)
DIMS = ("time", "latitude", "longitude")


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory):
    """Forty forecasts of two variables, 6 to 24 hours ahead."""
    path, draws = tmp_path_factory.mktemp("forecasts") / "fine.nc", np.random.default_rng(0)
    times = np.datetime64("2020-01-01", "ns") + np.arange(40) * np.timedelta64(12, "h")
    places = {"time": times, "latitude": 40 + 0.1 * np.arange(SHAPE[0]), "longitude": 5 + 0.1 * np.arange(SHAPE[1])}
    waves = np.sin(np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])) / 5)
    fields = {
        name: (DIMS, (280 + draws.normal(0, 3, (40, 1, 1)) * waves + draws.normal(0, 1, (40, *SHAPE))).astype("f4"))
        for name in ("t2m", "u10m")
    }
    leads = ("time", np.tile([6, 12, 18, 24], 10).astype("timedelta64[h]").astype("timedelta64[ns]"))
    xr.Dataset(fields, places).assign_coords(lead_time=leads).to_netcdf(path)
    return path


def dataset_of(path):
    return NetCDFDatasetConfig(data_path=str(path), target=["t2m", "u10m"], lowres_scale_factor=4)


def configured(path, folder, **training):
    config = TrainConfig(run_dir=str(folder), dataset=dataset_of(path))
    config.model = CorrDiffUNetConfig(model_channels=4, channel_mult=[1, 2], num_blocks=1, attn_resolutions=[])
    config.training = replace(config.training, lead_time_scale=24.0, calibration_samples=8, **training)
    config.training.io = replace(config.training.io, sample_pictures=False, validation_samples=2)
    config.training.hp = replace(
        config.training.hp, training_duration=16, total_batch_size=4, patch_shape_x=24, patch_shape_y=17, patch_num=2
    )
    return config


@pytest.mark.parametrize("whole", [False, True], ids=["windows", "whole"])
def test_the_u_net_trains_generates_and_scores(whole, forecasts, tmp_path):
    config = configured(forecasts, tmp_path / "run", hr_mean_conditioning=whole)
    if whole:
        config.training.hp = replace(config.training.hp, patch_shape_x=None, patch_shape_y=None)
    train(config)
    (path,) = Path(tmp_path / "run" / "diffusion").glob("*EDMPrecondSR.0.16.mdlus")
    network = load_network(path, FSEDMPrecondSR)
    assert network.lead_time_scale == 24.0
    assert network.backbone.positions is whole
    made = GenerateConfig(run_dir=str(tmp_path / "run"), dataset=dataset_of(forecasts))
    made.sampler = SamplerConfig(num_steps=2)
    made.generation = replace(made.generation, num_ensembles=2, max_times=2, picture=False)
    made.generation.io = replace(made.generation.io, output_filename=str(tmp_path / "s.nc"))
    with EnsembleFile(generate(made)) as file:
        assert file.grid.shape == SHAPE
        assert ("patches" in file.provenance) is not whole
        assert np.isfinite(file.prediction("t2m", 0)).all()
    result = score([tmp_path / "s.nc"], tmp_path / "scores", quiet=True)
    assert ("seam_ratio" in {row.metric for row in result.rows}) is not whole


def test_lead_times_need_forecasts(forecasts, tmp_path):
    with xr.open_dataset(forecasts) as file:
        file.drop_vars("lead_time").to_netcdf(tmp_path / "analyses.nc")
    with pytest.raises(InputError, match=r"training.lead_time_scale needs forecasts with lead times"):
        train(configured(tmp_path / "analyses.nc", tmp_path / "run"))
