# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""``dataset=store`` gives the samples that were built."""

import numpy as np
import pytest
import xarray as xr

from physicsnemo_fs.config.build import BuildConfig, FineSourceConfig, RegionConfig
from physicsnemo_fs.config.stored import StoreDatasetConfig
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.build import build
from physicsnemo_fs.pipelines.stored import open_stored, store_regions

BOXES = ([50.0, 54.0, 0.0, 4.0], [50.0, 54.0, 4.0, 8.0], [50.0, 54.0, 8.0, 12.0])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    times = np.arange("2020-01-01", "2020-01-03", 6, dtype="datetime64[h]").astype("datetime64[ns]")
    coordinates = {"time": times, "latitude": 50.125 + 0.25 * np.arange(16), "longitude": 0.125 + 0.25 * np.arange(48)}
    values = np.random.default_rng(0).gamma(2.0, 3.0, (8, 16, 48)).astype(np.float32)
    xr.Dataset({"tp": (tuple(coordinates), values, {"units": "mm"})}, coordinates).to_netcdf(folder / "rain.nc")
    fine = FineSourceConfig(data_path=str(folder / "rain.nc"), variables=["tp"], transforms={"tp": "log1p"})
    splits = zip(("a", "b", "c"), BOXES, ("train", "train", "test"), strict=True)
    regions = [RegionConfig(*region) for region in splits]
    path = build(
        BuildConfig(
            str(folder / "s.zarr"), fine, lowres_scale_factor=4, regions=regions, executor="none", picture=False
        )
    )
    return StoreDatasetConfig(data_path=str(path))


def test_regions_of_a_split_are_joined_with_the_training_normalisation(config):
    train, test = (open_stored(config, Opening(split)) for split in ("train", "test"))
    assert (len(train), len(test)) == (16, 8)
    assert train.output_channels == test.output_channels
    batch = train.fetch(range(16))
    assert batch.target.shape == (16, 1, 16, 16)
    assert batch.coarse.shape == (16, 1, 4, 4)
    assert batch.target.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert batch.target.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)


def test_the_coarse_input_is_the_average_of_the_target(config):
    dataset = open_stored(config, Opening("test"))
    batch = dataset.fetch([2])
    fine, coarse = (dataset.output_channels[0].denormalize(f.double()) for f in (batch.target, batch.coarse))
    means = fine.reshape(4, 4, 4, 4).mean(dim=(1, 3))
    np.testing.assert_allclose(coarse[0, 0], means, rtol=1e-2)


def test_a_checkpoint_brings_its_own_normalisation(config):
    known = {"tp": Channel("tp", "mm", mean=1.0, std=4.0)}
    dataset = open_stored(config, Opening("test", channels=known, region="c"))
    assert (dataset.output_channels[0].mean, dataset.output_channels[0].std) == (1.0, 4.0)
    with pytest.raises(InputError, match="must know the variable 'tp'"):
        open_stored(config, Opening("test", channels={"t2m": Channel("t2m")}))


def test_a_patch_that_is_none_is_refused(config):
    for shape in ([1, 2, 3], []):
        patched = StoreDatasetConfig(data_path=config.data_path, patch_shape=shape)
        with pytest.raises(InputError, match=r"dataset.patch_shape must be \[rows, columns\]: got"):
            open_stored(patched, Opening("train"))
    with pytest.raises(InputError, match="dataset=store has the resolution of its data, 16"):
        open_stored(config, Opening("train", 32))


def test_regions_are_chosen_for_all_splits_or_one(config):
    def chosen(regions, split):
        return store_regions(StoreDatasetConfig(data_path=config.data_path, regions=regions), split)

    assert chosen(["a", "c"], "train") == ("a",)
    assert chosen({"train": ["b"]}, "train") == ("b",)
    assert chosen({"train": ["b"]}, "test") == ("c",)
    for wrong in ("a", {"training": ["a"]}, {"train": "a"}):
        with pytest.raises(InputError, match=r"dataset\.regions must be names, or lists of names by split"):
            chosen(wrong, "train")


def test_what_is_not_there_is_named(config):
    assert store_regions(config, "train") == ("a", "b")
    with pytest.raises(InputError, match="must have validation samples"):
        open_stored(config, Opening("validation"))
    with pytest.raises(InputError, match="no region 'd': there are a, b, c"):
        store_regions(StoreDatasetConfig(data_path=config.data_path, regions=["d"]), "train")
    with pytest.raises(InputError, match="needs the folder"):
        open_stored(StoreDatasetConfig(), Opening("train"))
