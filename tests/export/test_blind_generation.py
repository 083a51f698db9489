# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A user's own coarse file, without truth: the ensemble is that of the same times with truth."""

from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray as xr
from export_runs import generated

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile

VARIABLES = ("t2m", "tp")
ROUNDING = 1e-4
"""Of the largest value: means of 285 K are rounded otherwise in a float32 file."""


def same(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * float(np.abs(expected).max()))


@pytest.fixture(scope="module")
def run(runs):
    return runs("regular_wide")


@pytest.fixture(scope="module")
def blind(run, tmp_path_factory):
    """A coarse forecast of its own, and the orography."""
    folder = tmp_path_factory.mktemp("blind")
    with xr.open_dataset(run.dataset.data_path) as weather:
        area, blocks = np.cos(np.deg2rad(weather.latitude)), {"latitude": 4, "longitude": 4}
        sums = (weather[list(VARIABLES)].astype("f8") * area).coarsen(blocks).sum()
        coarse = sums / (area * xr.ones_like(weather.longitude)).coarsen(blocks).sum()
        for name in VARIABLES:
            coarse[name].attrs = weather[name].attrs
        coarse.astype("f4").to_netcdf(folder / "forecast.nc")
        weather[["orography"]].to_netcdf(folder / "static.nc")
    dataset = replace(
        run.dataset,
        data_path=None,
        input_path=str(folder / "forecast.nc"),
        invariants_path=str(folder / "static.nc"),
    )
    return replace(run, dataset=dataset)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_without_truth_the_ensemble_is_the_same(suffix, run, blind, tmp_path):
    known = generated(run, tmp_path / "known.nc")
    with EnsembleFile(known) as file:
        times = [str(time) for time in file.times]
    alone = generated(blind, tmp_path / f"alone{suffix}", times=times)
    with EnsembleFile(known) as file, EnsembleFile(alone) as other:
        assert list(other.times) == list(file.times)
        for name in VARIABLES:
            for time in range(len(times)):
                same(other.regression(name, time), file.regression(name, time), 1e-5)
                same(other.prediction(name, time), file.prediction(name, time), ROUNDING)
    if suffix == ".nc":
        with netCDF4.Dataset(alone) as file:
            assert set(file.groups) == {"input", "input_native", "regression", "prediction", "provenance"}


@pytest.mark.slow
def test_all_times_of_the_forecast_are_generated(blind, tmp_path):
    path = generated(blind, tmp_path / "all.nc", members=1, inference_mode="regression")
    with EnsembleFile(path) as file:
        assert len(file.times) == 60


def test_what_is_missing_without_truth_is_named(blind, tmp_path):
    lost = replace(blind, dataset=replace(blind.dataset, invariants_path=None))
    with pytest.raises(InputError, match=r"set dataset\.invariants_path"):
        generated(lost, tmp_path / "lost.nc")
    lost = replace(blind, dataset=replace(blind.dataset, input_path=None))
    with pytest.raises(InputError, match="needs files"):
        generated(lost, tmp_path / "lost.nc")
