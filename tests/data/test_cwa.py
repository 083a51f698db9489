# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff's Taiwan data: a small Zarr store with the variables, dimensions and types of the published one."""

import shutil

import numpy as np
import pytest
from published_files import cwa_dataset, save_cwa

from physicsnemo_fs.data.datasets.cwa import open_cwa
from physicsnemo_fs.data.types import Fields
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.testing import assert_close

CHOICE = {
    "in_channels": (0, 2, 3),
    "out_channels": (0, 1),
    "shape": (16, 20),
    "test_years": (2021,),
    "validation": 0.05,
    "block": np.timedelta64(7, "D"),
    "gap": np.timedelta64(0, "s"),
}


@pytest.fixture(scope="module")
def dataset():
    return cwa_dataset()


@pytest.fixture(scope="module")
def path(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("cwa") / "cwb.zarr"
    return save_cwa(dataset, path)


def test_fields_are_those_of_the_valid_times(path, dataset):
    pair = open_cwa(path, **CHOICE)
    kept = np.delete(np.arange(len(dataset.time)), [3, 5])
    assert isinstance(pair.target, Fields)
    np.testing.assert_array_equal(pair.target.times, dataset.time.values[kept])
    np.testing.assert_array_equal(pair.target.read([4])[0], dataset.cwb.values[kept[4], :2, :16, :20])
    np.testing.assert_array_equal(pair.coarse.read([4, 0])[1], dataset.era5.values[0, [0, 2, 3], :16, :20])
    part = (slice(2, 8), slice(5, 20))
    np.testing.assert_array_equal(pair.target.read([7], part), pair.target.read([7])[..., 2:8, 5:20])


def test_channels_carry_the_published_normalisation(path):
    pair = open_cwa(path, **CHOICE)
    assert [(c.name, c.mean, c.std) for c in pair.output_channels] == [
        ("maximum_radar_reflectivity", 1.0, 10.0),
        ("temperature_2m", 290.0, 8.0),
    ]
    assert [(c.name, c.mean) for c in pair.input_channels[:2]] == [
        ("geopotential_height@500", 5600.0),
        ("temperature@850", 270.0),
    ]
    assert (pair.input_channels[2].name, pair.input_channels[2].mean) == ("temperature_2m", 291.0)


def test_the_second_normalisation_changes_reflectivity_and_wind(path):
    pair = open_cwa(path, **{**CHOICE, "out_channels": (0, 1, 2, 3)}, normalization="v2")
    assert [(c.mean, c.std) for c in pair.output_channels] == [(25.0, 25.0), (290.0, 8.0), (0.0, 20.0), (0.0, 20.0)]


def test_the_test_year_is_the_published_one(path):
    pair = open_cwa(path, **{**CHOICE, "validation": 0.3})
    years = pair.target.times.astype("datetime64[Y]").astype(str)
    assert set(years[pair.labels == 2]) == {"2021"}
    assert set(years[pair.labels < 2]) == {"2020"}
    assert 0 < (pair.labels == 1).sum() < (pair.labels == 0).sum()
    assert (open_cwa(path, **CHOICE, all_times=True).labels == 2).all()


def test_input_and_target_share_a_grid_or_its_edges(path, dataset):
    same, averaged = open_cwa(path, **CHOICE), open_cwa(path, **CHOICE, factor=4)
    assert same.target.grid == same.coarse.grid
    assert averaged.coarse.grid.shape == (4, 5)
    assert averaged.coarse.grid.extent == same.target.grid.extent
    assert_close(same.target.grid.latitude, dataset.XLAT.values[:16, :20], 1e-7)
    fine = same.coarse.read([1]).reshape(3, 4, 4, 5, 4).mean(axis=(2, 4))
    assert_close(averaged.coarse.read([1])[0], fine, 1e-5)
    part = averaged.coarse.read([1], (slice(1, 3), slice(2, 5)))
    assert_close(part[0], fine[:, 1:3, 2:5], 1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": (0, 4)}, "0 to 3.*dataset.in_channels"),
        ({"out_channels": ()}, "dataset.out_channels"),
        ({"shape": (448, 448)}, r"within \(18, 22\) points"),
        ({"factor": 3}, "multiple of the factor"),
        ({"test_years": (1999,)}, r"the test years must hold data: \[1999\]"),
    ],
)
def test_choices_that_do_not_fit_are_refused(path, options, message):
    with pytest.raises(InputError, match=message):
        open_cwa(path, **{**CHOICE, **options})


def test_stores_of_another_kind_are_refused(path, dataset, tmp_path):
    with pytest.raises(InputError, match="must be a Zarr store"):
        open_cwa(tmp_path / "gone.zarr", **CHOICE)
    dataset.drop_vars("era5_scale").isel(time=slice(0, 1)).to_zarr(tmp_path / "a.zarr", zarr_format=2)
    with pytest.raises(InputError, match="it has no era5_scale"):
        open_cwa(tmp_path / "a.zarr", **CHOICE)
    dataset.assign(cwb_valid=~dataset.cwb_valid).isel(time=slice(0, 2)).to_zarr(tmp_path / "b.zarr", zarr_format=2)
    with pytest.raises(InputError, match="none of 2 is valid"):
        open_cwa(tmp_path / "b.zarr", **CHOICE)


def test_a_damaged_chunk_is_named_when_it_is_read(path, tmp_path):
    shutil.copytree(path, tmp_path / "c.zarr")
    chunk = tmp_path / "c.zarr" / "cwb" / "2.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(InputError, match="time 2 cannot be read"):
        open_cwa(tmp_path / "c.zarr", **CHOICE).target.read([2])
