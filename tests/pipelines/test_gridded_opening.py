# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""``dataset=netcdf``: from files and keys to a split with its normalisation."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from ranks import on_ranks

from physicsnemo_fs.config.gridded import NetCDFDatasetConfig
from physicsnemo_fs.config.keys import check_values
from physicsnemo_fs.data.fields.origins import fingerprint
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.warps import Log1p
from physicsnemo_fs.distributed import process_group
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.gridded import open_gridded

DIMS = ("time", "latitude", "longitude")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty days of two fine variables, orography, and a coarse input of its own."""
    draws = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("gridded")
    times = np.datetime64("2020-01-01", "ns") + np.arange(120) * np.timedelta64(12, "h")
    fine = {"time": times, "latitude": 40.125 + 0.25 * np.arange(17), "longitude": 0.125 + 0.25 * np.arange(24)}
    size = tuple(len(values) for values in fine.values())
    rain = draws.gamma(0.3, 2.0, size).astype("f4")
    truth = xr.Dataset({"t2m": (DIMS, draws.normal(280, 5, size).astype("f4")), "tp": (DIMS, rain)}, fine)
    truth.to_netcdf(path / "fine.nc")
    height = draws.uniform(0, 2000, size[1:]).astype("f4")
    xr.Dataset({"orography": (DIMS[1:], height)}, {d: fine[d] for d in DIMS[1:]}).to_netcdf(path / "static.nc")
    coarse = {"time": times, "latitude": 40.5 + np.arange(4), "longitude": 0.5 + np.arange(6)}
    input_size = (120, 4, 6)
    xr.Dataset({"z": (DIMS, draws.normal(5e4, 1e3, input_size).astype("f4"))}, coarse).to_netcdf(path / "coarse.nc")
    return path


def configured(folder, **options):
    given = {"data_path": str(folder / "fine.nc"), "target": ["t2m", "tp"], "lowres_scale_factor": 4, **options}
    config = NetCDFDatasetConfig(**given)
    check_values(config)
    return config


def channels_of(dataset):
    every = (*dataset.input_channels, *dataset.output_channels, *dataset.invariant_channels)
    return {channel.name: channel for channel in every}


def test_two_keys_are_enough(folder):
    config = NetCDFDatasetConfig(data_path=str(folder / "*fine.nc"), target=["t2m"], lowres_scale_factor=4)
    splits = {split: open_gridded(config, Opening(split)) for split in ("train", "validation", "test")}
    assert {name: len(split) for name, split in splits.items()} == {"train": 104, "validation": 6, "test": 10}
    assert not set(splits["train"].blocks) & (set(splits["validation"].blocks) | set(splits["test"].blocks))
    target = splits["train"].fetch(range(104)).target
    assert abs(target.mean()) < 1e-4
    assert abs(target.std() - 1) < 1e-3
    assert splits["test"].output_channels == splits["train"].output_channels


def test_cells_that_fill_no_coarse_one_are_left_out_and_said_once(folder, tmp_path, caplog):
    path = shutil.copy(folder / "fine.nc", tmp_path)
    for split in ("train", "validation", "test"):
        dataset = open_gridded(configured(folder, data_path=str(path)), Opening(split))
        assert dataset.grid.shape == (16, 24)
        assert dataset.coarse_grid.shape == (4, 6)
    assert caplog.text.count("left out") == 1
    assert str(path) in caplog.text


@pytest.mark.parametrize("box", [5, "alps", [1, 2], ["x", 2, 3, 4], [40, 42, 0, None]])
def test_a_box_that_is_none_is_refused(folder, box):
    config = configured(folder, regions={"train": {"a": box}})
    with pytest.raises(InputError, match=r"region must be \[south, north, west, east\]"):
        open_gridded(config, Opening("train"))


@pytest.mark.parametrize("kind", ["standard", "minmax", "log1p", "quantile"])
def test_a_constant_is_refused(folder, tmp_path, kind):
    dataset = xr.load_dataset(folder / "fine.nc")
    dataset["tp"][:] = 0.0
    dataset.to_netcdf(tmp_path / "dry.nc")
    config = configured(folder, data_path=str(tmp_path / "dry.nc"), transforms={"tp": kind})
    with pytest.raises(InputError, match=r"'tp' must vary: it is 0 in the whole.* leave it out \(of .*dry\.nc\)"):
        open_gridded(config, Opening("train"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": np.timedelta64(1, "h")}, r"must have the same times: .* \(target .*fine\.nc, input .*coarse\.nc\)"),
        ({"latitude": 0.1}, r"must be edges of coarse cells: .* \(target .*fine\.nc, input .*coarse\.nc\)"),
    ],
)
def test_an_input_that_does_not_fit_is_told_with_both_files(folder, tmp_path, change, message):
    coarse = xr.load_dataset(folder / "coarse.nc")
    coarse = coarse.assign_coords({name: coarse[name] + shift for name, shift in change.items()})
    coarse.to_netcdf(tmp_path / "coarse.nc")
    options = {"input_path": str(tmp_path / "coarse.nc"), "input": ["z"], "region": [40, 44, 0, 6]}
    with pytest.raises(InputError, match=message):
        open_gridded(configured(folder, **options), Opening("train"))


def test_a_static_truth_is_named(folder):
    config = configured(folder, data_path=str(folder / "static.nc"), target=["orography"])
    with pytest.raises(InputError, match=r"'orography' must have times .*static.nc"):
        open_gridded(config, Opening("train"))


def test_a_choice_may_be_of_one_source_only(folder, tmp_path):
    dataset = xr.load_dataset(folder / "fine.nc").expand_dims(number=[0, 1], axis=1)
    dataset.to_netcdf(tmp_path / "members.nc")
    options = {"invariants_path": str(folder / "static.nc"), "invariants": ["orography"], "target": ["t2m"]}
    config = configured(folder, data_path=str(tmp_path / "members.nc"), select={"number": 1}, **options)
    assert open_gridded(config, Opening("train")).fetch([0]).target.shape == (1, 1, 16, 24)
    config.select = {"number": 1, "membr": 0}
    with pytest.raises(InputError, match="no variable has 'membr'; did you mean 'number'"):
        open_gridded(config, Opening("train"))


def test_variables_have_their_transforms(folder):
    transforms = {"tp": {"kind": "log1p", "scale": 0.1, "minimum": 0}}
    dataset = open_gridded(configured(folder, transforms=transforms), Opening("train"))
    rain = dataset.output_channels[1]
    assert rain.warp == Log1p(0.1)
    assert rain.minimum == 0
    assert dataset.input_channels[1].warp == rain.warp


def test_known_channels_are_taken_as_they_are(folder):
    config = configured(folder, window_size=1, invariants_path=str(folder / "static.nc"), invariants=["orography"])
    training = open_gridded(config, Opening("train"))
    known = {name: replace(c, std=2 * c.std) for name, c in channels_of(training).items()}
    validation = open_gridded(config, Opening("validation", min(training.grid.shape), known))
    assert [c.std for c in validation.output_channels] == [2 * c.std for c in training.output_channels]
    assert [c.std for c in validation.input_channels] == [2 * c.std for c in training.input_channels]
    assert validation.invariant_channels[0].std == 2 * training.invariant_channels[0].std


def test_an_input_of_its_own_and_no_truth(folder):
    options = {"input_path": str(folder / "coarse.nc"), "input": ["z"], "region": [40, 44, 0, 6]}
    config = configured(folder, **options)
    training = open_gridded(config, Opening("train"))
    assert [c.name for c in training.input_channels] == ["z"]
    assert training.fetch([0]).coarse.shape == (1, 1, 4, 6)
    blind = configured(folder, **{**options, "data_path": None})
    dataset = open_gridded(blind, Opening("test", channels=channels_of(training), truth_required=False))
    assert len(dataset) == 120
    assert dataset.fetch([3]).target is None
    assert dataset.output_channels == training.output_channels
    assert dataset.grid == training.grid
    with pytest.raises(InputError, match="needs files"):
        open_gridded(blind, Opening("train"))


def test_other_variables_of_the_truth_are_averaged(folder):
    dataset = open_gridded(configured(folder, target=["tp"], input=["tp", "t2m"]), Opening("train"))
    assert [c.name for c in dataset.input_channels] == ["tp", "t2m"]
    assert [c.name for c in dataset.output_channels] == ["tp"]
    alone = open_gridded(configured(folder, target=["tp"]), Opening("train"))
    assert torch.equal(dataset.fetch([5]).coarse[:, :1], alone.fetch([5]).coarse)


def test_splits_by_period(folder):
    periods = {"train": [["2020-01-01", "2020-01-20"]], "test": [["2020-02-01", "2020"]]}
    config = configured(folder, periods=periods)
    assert len(open_gridded(config, Opening("train"))) == 40
    assert open_gridded(config, Opening("test")).times[0] == np.datetime64("2020-02-01")
    with pytest.raises(InputError, match="validation split"):
        open_gridded(config, Opening("validation"))


def test_splits_by_region_use_every_time_and_the_training_statistics(folder):
    regions = {"train": {"south": [40, 42, 0, 3], "north": [42, 44, 0, 3]}, "test": {"east": [40, 44, 3, 6]}}
    config = configured(folder, target=["t2m"], regions=regions, patch_shape=[8, 8])
    training, test = (open_gridded(config, Opening(split)) for split in ("train", "test"))
    assert len(training) == 240
    assert training.grid.shape == test.grid.shape == (8, 8)
    values = xr.load_dataset(folder / "fine.nc").t2m.sel(latitude=slice(40, 44), longitude=slice(0, 3)).values
    assert training.output_channels[0].mean == pytest.approx(values.mean(dtype=float), rel=1e-6)
    assert training.output_channels[0].std == pytest.approx(values.std(dtype=float), rel=1e-6)
    assert test.output_channels == training.output_channels
    assert open_gridded(config, Opening("test", truth_required=False)).grid.shape == (16, 12)
    north = open_gridded(config, Opening("train", truth_required=False, region="north"))
    assert north.grid.origin == (42.0, 0.0)
    assert north.output_channels == training.output_channels
    with pytest.raises(InputError, match=r"'west'.*east"):
        open_gridded(config, Opening("test", region="west"))
    with pytest.raises(InputError, match="boxes for validation"):
        open_gridded(config, Opening("validation"))


def test_statistics_are_kept_for_the_next_start(folder, tmp_path):
    path = tmp_path / "statistics.json"
    first = open_gridded(configured(folder), Opening("train", statistics=path))
    kept = json.loads(path.read_text())
    kept["target"]["channels"][0]["std"] = 123.0
    path.write_text(json.dumps(kept))
    second = open_gridded(configured(folder), Opening("train", statistics=path))
    assert second.output_channels[0].std == 123.0
    assert second.output_channels[1] == first.output_channels[1]
    assert open_gridded(configured(folder, window_size=1), Opening("train", statistics=path)).output_channels == (
        first.output_channels
    )


def test_statistics_of_files_that_changed_are_measured_anew(folder, tmp_path):
    path, data = tmp_path / "statistics.json", Path(shutil.copy(folder / "fine.nc", tmp_path))
    config = configured(folder, data_path=str(data))
    first = open_gridded(config, Opening("train", statistics=path)).output_channels[0]
    warmer = xr.load_dataset(folder / "fine.nc")
    warmer["t2m"] += 100
    data.unlink()
    warmer.to_netcdf(data)
    second = open_gridded(config, Opening("train", statistics=path)).output_channels[0]
    assert second.mean == pytest.approx(first.mean + 100, abs=1e-3)
    warmer["t2m"].attrs["units"] = "K"
    data.unlink()
    warmer.to_netcdf(data)
    assert open_gridded(config, Opening("train", statistics=path)).output_channels[0].unit == "K"


def test_the_main_process_says_whether_statistics_are_known(folder, tmp_path, monkeypatch):
    """Copies of the data on each machine have times of change of their own."""
    path = tmp_path / "statistics.json"

    def open_on(ranks, statistics):
        if ranks.rank:
            monkeypatch.setattr("physicsnemo_fs.data.opening.fingerprint", lambda path: [str(path), 0, 0])
        return open_gridded(configured(folder), Opening("train", ranks=ranks, statistics=statistics))

    def twice():
        with process_group() as ranks:
            first, second = (open_on(ranks, path).output_channels for _ in range(2))
            assert first == second

    assert on_ranks(2, twice, longest=60) == [0, 0]
    kept = json.loads(path.read_text())
    del kept["target"]["of"]
    path.write_text(json.dumps(kept))
    assert open_gridded(configured(folder), Opening("train", statistics=path)).output_channels[0].std > 0


@pytest.mark.parametrize("depth", ["zarr.json", "t2m/zarr.json", "t2m/c"])
def test_a_zarr_store_that_changed_is_known(folder, tmp_path, depth):
    store = tmp_path / "a.zarr"
    xr.load_dataset(folder / "fine.nc").to_zarr(store, consolidated=False)
    before = fingerprint(store)
    assert fingerprint(store) == before
    os.utime(store / depth, ns=(0, 2**62))
    assert fingerprint(store) != before


def test_static_fields_have_one_time_and_are_found(folder, tmp_path):
    static = xr.load_dataset(folder / "static.nc")
    moving = static.expand_dims(time=np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"))
    moving.to_netcdf(tmp_path / "moving.nc")
    options = {"invariants": ["orography"]}
    with pytest.raises(InputError, match=r"moving\.nc has 'orography' at 2; keep one, by xarray's isel\(time=0\)"):
        open_gridded(configured(folder, **options, invariants_path=str(tmp_path / "moving.nc")), Opening("train"))
    with pytest.raises(InputError, match=r"no variable 'orography'.*name their own by dataset\.invariants_path"):
        open_gridded(configured(folder, **options), Opening("train"))
    moving.isel(time=[0]).to_netcdf(tmp_path / "one.nc")
    dataset = open_gridded(configured(folder, **options, invariants_path=str(tmp_path / "one.nc")), Opening("train"))
    assert dataset.fetch([0]).invariants.shape == (1, 1, 16, 24)


@pytest.mark.parametrize("rules", [None, {"orography": "mask"}])
def test_static_fields_are_never_told_to_be_masked(folder, tmp_path, rules):
    static = xr.load_dataset(folder / "static.nc")
    static["orography"][2, 3] = np.nan
    static.to_netcdf(tmp_path / "hole.nc")
    options = {"invariants": ["orography"], "invariants_path": str(tmp_path / "hole.nc"), "missing": rules}
    with pytest.raises(InputError, match=r"hole\.nc; set dataset\.missing\.orography to a value that is filled in"):
        open_gridded(configured(folder, **options), Opening("train"))


def test_an_input_in_another_unit_names_its_files(folder, tmp_path):
    for path, unit, factor in (("fine.nc", "K", 1), ("coarse.nc", "degC", 4)):
        data = xr.load_dataset(folder / "fine.nc").isel(latitude=slice(16))
        data = data.coarsen(latitude=factor, longitude=factor).mean()
        data["t2m"].attrs["units"] = unit
        data.to_netcdf(tmp_path / path)
    paths = {"data_path": str(tmp_path / "fine.nc"), "input_path": str(tmp_path / "coarse.nc")}
    with pytest.raises(InputError, match=r"one unit: got 'degC' and 'K'.*target .*fine\.nc, input .*coarse\.nc"):
        open_gridded(configured(folder, **paths), Opening("train"))


def test_missing_values_of_the_training_data_are_found_before_training(folder, tmp_path):
    dataset = xr.load_dataset(folder / "fine.nc")
    dataset["tp"][7, 3, 4] = np.nan
    dataset.to_netcdf(tmp_path / "holes.nc")
    options = {"data_path": str(tmp_path / "holes.nc"), "test_fraction": 0.0, "validation_fraction": 0.0}
    with pytest.raises(InputError, match=r"'tp' must have values everywhere.*dataset.missing.tp=mask"):
        open_gridded(configured(folder, **options), Opening("train"))
    masked = open_gridded(configured(folder, **options, missing={"tp": "mask"}), Opening("train"))
    assert masked.fetch([7]).valid.sum() == masked.fetch([7]).valid.numel() - 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": []}, r"set dataset.target=\[t2m\]"),
        ({"data_path": None}, "set dataset.data_path"),
        ({"resolution": 64}, "leave resolution"),
        ({"coarsening": "spectral"}, "coarsening out"),
        ({"regions": {"train": {}}, "periods": {"train": []}}, "got both"),
        ({"regions": {"train": [[40, 42, 0, 3]]}}, "must name boxes"),
        ({"patch_shape": [1, 2, 3]}, r"\[rows, columns\]"),
        ({"transforms": {"tpp": "log1p"}}, "got 'tpp'"),
        ({"missing": {"tpp": "mask"}}, "got 'tpp'"),
        ({"lowres_scale_factor": 32}, "reduce dataset.lowres_scale_factor"),
        ({"block": "1 fortnight"}, "a duration must be"),
    ],
)
def test_keys_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(InputError, match=message):
        open_gridded(configured(folder, **options), Opening("train"))


def test_unknown_variables_of_a_checkpoint_and_other_resolutions_are_refused(folder):
    training = open_gridded(configured(folder, target=["t2m"]), Opening("train"))
    with pytest.raises(InputError, match=r"must know the variable 'tp'.*t2m"):
        open_gridded(configured(folder), Opening("test", channels=channels_of(training)))
    with pytest.raises(InputError, match="leave resolution out"):
        open_gridded(configured(folder), Opening("train", 128))


@pytest.mark.parametrize(
    ("test", "apart"),
    [
        ([41, 43, 2, 5], False),
        ([40.125, 42, 0, 3], False),
        ([40.0, 42, 3, 6], True),
        ([40.0, 42, 363, 366], True),
        ([40.0, 42, 360.5, 361.5], False),
    ],
)
def test_regions_of_different_splits_share_no_cell(folder, test, apart):
    config = configured(folder, target=["t2m"], regions={"train": {"a": [40, 42, 0, 3]}, "test": {"b": test}})
    for split in ("train", "test"):
        if apart:
            open_gridded(config, Opening(split, truth_required=False))
        else:
            with pytest.raises(InputError, match="must share no cell"):
                open_gridded(config, Opening(split, truth_required=False))
