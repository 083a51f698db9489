# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The published datasets, opened as the pipelines do."""

import numpy as np
import pytest
from published_files import cwa_dataset, mini_values, save_cwa, save_gefs_hrrr, save_interferograms, save_mini
from published_files import save_mini_statistics as save_statistics

from physicsnemo_fs.config.keys import check_values
from physicsnemo_fs.config.published import (
    CWADatasetConfig,
    GEFSHRRRDatasetConfig,
    HRRRMiniDatasetConfig,
    VolcanoDatasetConfig,
)
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.published import open_published

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def hrrr_mini(root):
    path, stats = save_mini(root, mini_values()), save_statistics(root)
    return HRRRMiniDatasetConfig(
        data_path=str(path), stats_path=str(stats), block="6h", gap="0s", validation_fraction=0.2, test_fraction=0.2
    )


@pytest.fixture(scope="module")
def cwb(root):
    path = save_cwa(cwa_dataset(), root / "cwb.zarr")
    channels = {"in_channels": [0, 3], "out_channels": [0, 1]}
    return CWADatasetConfig(data_path=str(path), **channels, img_shape_x=20, img_shape_y=16)


@pytest.fixture(scope="module")
def gefs_hrrr(root):
    folder = save_gefs_hrrr(root / "forecasts")
    return GEFSHRRRDatasetConfig(
        data_path=str(folder),
        stats_path=str(folder / "stats.json"),
        input_isobaric_variables=["u850", "r1000"],
        train_years=[2022, 2023],
        hrrr_window=[[1, 17], [2, 22]],
        block="1d",
        gap="0s",
        validation_fraction=0.2,
    )


@pytest.fixture(scope="module")
def volcano(root):
    return VolcanoDatasetConfig(data_path=str(save_interferograms(root / "interferograms")), train_fraction=0.6)


@pytest.fixture(params=["hrrr_mini", "cwb", "gefs_hrrr", "volcano"])
def config(request):
    return request.getfixturevalue(request.param)


def test_splits_have_no_sample_in_common(config):
    check_values(config)
    datasets = [open_published(config, Opening(split)) for split in SPLITS]
    assert all(isinstance(dataset, DownscalingDataset) for dataset in datasets)
    times = np.concatenate([dataset.times for dataset in datasets])
    assert len(np.unique(times)) == len(times) >= 6
    channels = [(d.input_channels, d.output_channels, d.invariant_channels) for d in datasets]
    assert channels[0] == channels[1] == channels[2]


def test_samples_have_the_declared_shapes(config):
    dataset = open_published(config, Opening("train"))
    batch = dataset.fetch([0, len(dataset) - 1], augmentation_keys=[3, 4])
    assert batch.coarse.shape == (2, len(dataset.input_channels), *dataset.coarse_grid.shape)
    assert batch.target.shape == (2, len(dataset.output_channels), *dataset.grid.shape)
    assert batch.invariants.shape == (2, len(dataset.invariant_channels), *dataset.grid.shape)
    assert dataset.grid.extent == pytest.approx(dataset.coarse_grid.extent)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data_path", None, r"set dataset.data_path; docs/datasets\.md"),
        ("coarsening", "spectral", "leave coarsening out"),
        ("resolution", 7, "resolution"),
    ],
)
def test_what_does_not_fit_is_refused(config, key, value, message):
    kind = type(config)
    with pytest.raises(InputError, match=message):
        open_published(kind(**{**vars(config), key: value}), Opening("train"))


def test_forecasts_carry_their_lead_time(gefs_hrrr):
    dataset = open_published(gefs_hrrr, Opening("test"))
    leads = dataset.fetch(range(len(dataset))).lead_time
    assert sorted(set(leads.tolist())) == [0.0, 3.0, 6.0]
    shown = ((dataset.times - dataset.times.astype("datetime64[s]")) / np.timedelta64(1, "us")).astype(int)
    np.testing.assert_array_equal(leads.numpy(), shown)


def test_large_domains_are_trained_on_patches_and_generated_whole(gefs_hrrr):
    config = GEFSHRRRDatasetConfig(**{**vars(gefs_hrrr), "patch_shape": [8, 12], "patches_per_time": 2})
    patched, whole = (
        open_published(config, Opening("train")),
        open_published(config, Opening("test", truth_required=False)),
    )
    batch = patched.fetch([0, 1], augmentation_keys=[5, 6])
    assert (batch.target.shape[-2:], batch.coarse.shape[-2:]) == ((8, 12), (2, 3))
    assert whole.fetch([0]).target.shape[-2:] == (16, 20)
    assert len(np.unique(patched.times)) == len(patched)


def test_an_input_that_is_an_output_takes_its_normalisation(cwb, gefs_hrrr):
    for config, name in ((cwb, "temperature_2m"), (gefs_hrrr, "u10m")):
        dataset = open_published(config, Opening("test"))
        channels = (dataset.input_channels, dataset.output_channels)
        first, second = ([(c.mean, c.std) for c in cs if c.name == name] for cs in channels)
        assert first == second != []


def test_interferograms_can_be_refined_from_60_to_120_points(volcano):
    config = VolcanoDatasetConfig(**{**vars(volcano), "lowres_scale_factor": 4, "resolution": 60})
    coarse, fine = (open_published(config, Opening("test", resolution=r)) for r in (None, 120))
    assert (coarse.coarse_grid, coarse.grid.shape, fine.grid.shape) == (fine.coarse_grid, (60, 60), (120, 120))
    assert float((coarse.fetch([0]).coarse - fine.fetch([0]).coarse).abs().max()) < 1e-5
    truth = open_published(volcano, Opening("test")).fetch([0]).coarse
    assert float((truth - coarse.fetch([0]).target).abs().max()) < 1e-5
    with pytest.raises(InputError, match="choose 2 or 4"):
        open_published(config, Opening("test", resolution=40))


def test_unknown_phase_is_refused_unless_it_is_masked(volcano, tmp_path):
    folder = save_interferograms(tmp_path)
    path = folder / "volcano_0" / "0.int"
    values = np.fromfile(path, "<c8")
    values[:3] = 0
    values.tofile(path)
    config = VolcanoDatasetConfig(data_path=str(folder))
    with pytest.raises(InputError, match=r"dataset\.missing\.phase_cos=mask"):
        open_published(config, Opening("train")).fetch([0])
    config.missing = {"phase_cos": "mask", "phase_sin": "mask"}
    batch = open_published(config, Opening("train")).fetch([0])
    assert int((~batch.valid).sum()) == 6


def test_splits_of_patches_may_have_files_of_their_own(hrrr_mini, tmp_path):
    own = str(save_mini(tmp_path, mini_values()))
    config = HRRRMiniDatasetConfig(**{**vars(hrrr_mini), "validation_data_path": own, "test_data_path": own})
    assert [len(open_published(config, Opening(split))) for split in SPLITS] == [6, 6, 6]


def test_every_time_can_be_generated(cwb):
    config = CWADatasetConfig(**{**vars(cwb), "all_times": True})
    assert len(open_published(config, Opening("test"))) == 158


@pytest.mark.parametrize("window", [[1, 2], [[1, 2, 3], [1, 2]], "all"])
def test_windows_of_another_form_are_refused(gefs_hrrr, window):
    config = GEFSHRRRDatasetConfig(**{**vars(gefs_hrrr), "hrrr_window": window})
    with pytest.raises(InputError, match=r"\[\[first row, end\]"):
        open_published(config, Opening("train"))


def test_frames_are_for_analyses_only(cwb, hrrr_mini):
    config = CWADatasetConfig(**{**vars(cwb), "window_size": 1})
    assert len(open_published(config, Opening("test")).input_channels) == 6
    with pytest.raises(InputError, match="no frames before and after"):
        open_published(HRRRMiniDatasetConfig(**{**vars(hrrr_mini), "window_size": 1}), Opening("train"))
    with pytest.raises(InputError, match="leave lowres_scale_factor out"):
        open_published(HRRRMiniDatasetConfig(**{**vars(hrrr_mini), "lowres_scale_factor": 4}), Opening("train"))
