# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff-Mini's data: a small NetCDF file with the groups, dimensions and types of the published one."""

import netCDF4
import numpy as np
import pytest
from published_files import MINI_VARIABLES, mini_values, save_mini, save_mini_statistics

from physicsnemo_fs.data.datasets.hrrr_mini import HRRRMiniDataset, sample_times
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.testing import assert_close

OUTPUTS = ["10u", "10v"]


@pytest.fixture
def values():
    return mini_values()


@pytest.fixture
def path(tmp_path, values):
    return save_mini(tmp_path, values)


@pytest.fixture
def stats(tmp_path):
    return save_mini_statistics(tmp_path)


@pytest.mark.parametrize("cache_bytes", [0, 10**6])
def test_samples_are_normalised_patches_in_the_order_of_time(path, stats, values, cache_bytes):
    dataset = HRRRMiniDataset(path, stats, None, OUTPUTS, cache_bytes=cache_bytes)
    batch = dataset.fetch([3, 1])
    assert isinstance(dataset, DownscalingDataset)
    assert batch.index.tolist() == [3, 1]
    assert_close(batch.coarse[0, 2], (values["input"]["msl"][0] - 3) / 4, 1e-6)
    assert_close(batch.target[1, 1], (values["output"]["10v"][2] - 2) / 3, 1e-6)
    assert_close(batch.invariants[0, 0], (values["invariant"]["elev_mean"][:8, :12] - 1) / 2, 1e-6)
    assert_close(batch.invariants[1, 1], (values["invariant"]["lsm_mean"][8:, 12:] - 2) / 3, 1e-6)


def test_samples_of_one_time_are_told_apart(path, stats):
    dataset = HRRRMiniDataset(path, stats)
    assert len(dataset) == 6
    assert (np.diff(dataset.times) > np.timedelta64(0)).all()
    assert str(dataset.times[2] - dataset.times[1]) == "1000 nanoseconds"
    np.testing.assert_array_equal(sample_times(path), dataset.times)
    chosen = HRRRMiniDataset(path, stats, positions=[0, 4])
    np.testing.assert_array_equal(chosen.times, dataset.times[[0, 4]])
    assert_close(chosen.fetch([1]).target, dataset.fetch([4]).target, 0.0)


def test_an_input_that_is_an_output_takes_its_normalisation(path, stats):
    dataset = HRRRMiniDataset(path, stats)
    assert dataset.input_channels[0] == dataset.output_channels[0]
    assert dataset.input_channels[0].std == 2.0


def test_the_grid_of_the_input_is_made_of_blocks(path, stats):
    dataset = HRRRMiniDataset(path, stats)
    assert (dataset.grid.shape, dataset.coarse_grid.shape) == ((8, 12), (2, 3))
    assert dataset.grid.extent == dataset.coarse_grid.extent


def test_all_variables_or_none_can_be_chosen(path, stats):
    dataset = HRRRMiniDataset(path, stats, ["msl"], None, [])
    batch = dataset.fetch([0, 1, 2])
    assert [c.name for c in dataset.output_channels] == MINI_VARIABLES["output"]
    assert (batch.coarse.shape, batch.invariants.shape) == ((3, 1, 2, 3), (3, 0, 8, 12))


def test_missing_values_are_refused(path, stats):
    with netCDF4.Dataset(path, "a") as file:
        file["output/10u"][4, 0, 0] = np.nan
    dataset = HRRRMiniDataset(path, stats)
    dataset.fetch([0, 1])
    with pytest.raises(InputError, match="'10u' of the sample at position 4"):
        dataset.fetch([0, 4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_variables": ["10w"]}, r"'10w' in its group 'output'.*did you mean.*dataset\.output_variables"),
        ({"invariant_variables": ["elev"]}, "did you mean 'elev_mean'"),
        ({"input_variables": []}, "input"),
    ],
)
def test_variables_that_are_not_there_are_refused(path, stats, options, message):
    with pytest.raises(InputError, match=message):
        HRRRMiniDataset(path, stats, **options)


def test_files_of_another_kind_are_refused(path, stats, tmp_path):
    with pytest.raises(InputError, match=r"stats_path=.*stats\.json"):
        HRRRMiniDataset(path, tmp_path / "gone.json")
    (tmp_path / "short.json").write_text('{"input": {"10u": {"mean": 0}}}')
    with pytest.raises(InputError, match="mean and std of '10u' in its group 'input'"):
        HRRRMiniDataset(path, tmp_path / "short.json")
    with pytest.raises(InputError, match="must exist"):
        HRRRMiniDataset(tmp_path / "gone.nc", stats)
    with netCDF4.Dataset(tmp_path / "other.nc", "w") as file:
        file.createGroup("input")
    with pytest.raises(InputError, match="must have a variable"):
        HRRRMiniDataset(tmp_path / "other.nc", stats)
    (tmp_path / "cut.nc").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="whole NetCDF file"):
        HRRRMiniDataset(tmp_path / "cut.nc", stats)


def test_places_beyond_the_invariants_are_refused(path, stats):
    with netCDF4.Dataset(path, "a") as file:
        file["coord"][2] = (9, 12)
    with pytest.raises(InputError, match=r"within the invariants \(16, 24\)"):
        HRRRMiniDataset(path, stats)
