# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A run split into files scores like the whole in every bit, scored together, or apart and merged."""

import csv
import shutil
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray as xr
from test_scoring import GRID, OPTIONS, write

from physicsnemo_fs.config.scores import MergeConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.foreign import open_ensemble
from physicsnemo_fs.pipelines.merge import merge, run_merge
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.score_setting import Request

REQUEST = Request("precipitation", areas={"south": [40.0, 42.99, -180, 180]}, weights="area", ranges={"tp": [0, 60]})
TIMES = slice(0, 4), slice(4, 6)


def part(source, path, times):
    """Copy some times of a file, as CorrDiff's layout has them; the days are their blocks."""
    with netCDF4.Dataset(source) as whole, netCDF4.Dataset(path, "w") as target:
        count = len(range(*times.indices(6)))
        for name, size in (("time", count), ("ensemble", 4), ("y", GRID.shape[0]), ("x", GRID.shape[1])):
            target.createDimension(name, size)
        time = target.createVariable("time", "i8", ("time",))
        time.setncatts({"units": whole["time"].units, "calendar": whole["time"].calendar})
        time[:] = whole["time"][times]
        for name in ("lat", "lon"):
            target.createVariable(name, "f8", ("y", "x"))[:] = whole[name][:]
        for name, dimensions in (("prediction", ("ensemble", "time", "y", "x")), ("truth", ("time", "y", "x"))):
            field = target.createGroup(name).createVariable("tp", "f4", dimensions)
            field.units = "mm h-1"
            field[:] = whole[name]["tp"][..., times, :, :]
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Give the whole and its two parts, with dry points, whose ranks are ties."""
    folder = tmp_path_factory.mktemp("parts")

    def draw(random, count):
        return np.maximum(random.gamma(0.4, 8.0, (count, 1, *GRID.shape)) - 1, 0)

    source = write(folder / "source.nc", draw=draw)
    parts = [part(source, folder / f"part_{n}.nc", times) for n, times in enumerate(TIMES)]
    whole = part(source, folder / "part_all.nc", slice(0, 6))
    return shutil.move(whole, folder / "part.nc"), *parts


def lines(path, name="part"):
    with path.open() as stream:
        return [{**row, "model": name} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    return score([files[0]], tmp_path_factory.mktemp("whole"), request=REQUEST, **OPTIONS)


def test_times_in_several_files_are_one_region(files, whole, tmp_path):
    together = score([files[1].parent / "part_*.nc"], tmp_path, request=REQUEST, **OPTIONS)
    assert lines(together.summary_path) == lines(whole.summary_path)
    with xr.open_dataset(together.scores_path, group="models/part_0") as found:
        with xr.open_dataset(whole.scores_path, group="models/part") as expected:
            assert "region" not in found
            xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())


def test_models_may_be_split_differently(files, tmp_path):
    result = score([files[0], files[1].parent / "part_*.nc"], tmp_path, request=REQUEST, **OPTIONS)
    assert not result.failures
    assert result.row("part_0", "crps_ratio", "tp").value == 1.0


def test_a_range_does_not_depend_on_the_split(files, tmp_path):
    """Edges come from the truth at times that are chosen among all times."""
    results = [
        score([path], tmp_path / str(n), **OPTIONS) for n, path in enumerate((files[0], files[1].parent / "part_*.nc"))
    ]
    assert lines(results[0].summary_path) == lines(results[1].summary_path)


def test_scores_of_parts_merge_to_those_of_the_whole(files, whole, tmp_path, capsys):
    apart = [str(score([path], tmp_path / path.stem, request=REQUEST, **OPTIONS).scores_path) for path in files[1:]]
    for path in apart[1:]:
        with netCDF4.Dataset(path, "a") as dataset:  # as if one command had named both
            dataset["models"]["part_1"].model = "part_0"
    for order in (apart, apart[::-1]):
        run_merge(MergeConfig(path=order, output=str(tmp_path / "all"), bootstrap_samples=50))
        assert lines(tmp_path / "all" / "scores_summary.csv") == lines(whole.summary_path)
    assert "annual_maximum_ratio" in (tmp_path / "all" / "scores_summary.csv").read_text()
    assert "spread/skill" in capsys.readouterr().out
    with netCDF4.Dataset(tmp_path / "all" / "scores.nc") as found, netCDF4.Dataset(whole.scores_path) as expected:
        for name in ("tp_crps_map", "tp_annual_maximum_map", "tp_histogram", "tp_rank_histogram"):
            np.testing.assert_array_equal(found["models/part_0"][name][:], expected["models/part"][name][:])


def test_parts_that_do_not_belong_together_are_refused(files, tmp_path):
    known = Request(areas=REQUEST.areas, weights="area", ranges=REQUEST.ranges)

    def scored(path, name, request=known):
        return score([path], tmp_path / name, request=request, **OPTIONS).scores_path

    first, second = scored(files[1], "a"), scored(files[2], "b")
    with pytest.raises(InputError, match=r"same models and variables.*part_0 tp, part_1 tp"):
        merge([first, second], tmp_path / "m")
    with pytest.raises(InputError, match="different times: 4 of"):
        merge([first, first], tmp_path / "m")
    with pytest.raises(InputError, match=r"two scores\.nc or more: got 1"):
        merge([first], tmp_path / "m")
    with pytest.raises(InputError, match="must not replace"):
        merge([first, second], first)
    other = files[2].with_name("part_0_later.nc")
    shutil.copy(files[2], other)
    for changed, message in (
        (replace(known, ranges={"tp": [0, 50]}), "edges differ"),
        (replace(known, weights="none"), "same places, masks, weights and areas"),
    ):
        path = scored(other, "c", changed)
        with netCDF4.Dataset(path, "a") as dataset:
            dataset["models"]["part_0_later"].model = "part_0"
        with pytest.raises(InputError, match=message):
            merge([first, path], tmp_path / "m")
    other.unlink()
    assert not (tmp_path / "m").exists()


def test_ranges_that_are_none_are_refused(files, tmp_path):
    for ranges, message in (({"tp": [1, 0]}, "least first"), ({"t2m": [0, 1]}, "ranges are for scored variables")):
        with pytest.raises(InputError, match=message):
            score([files[0]], tmp_path, request=Request(ranges=ranges), **OPTIONS)


def test_a_file_that_holds_a_time_twice_is_told(files, tmp_path):
    path = tmp_path / "twice.nc"
    shutil.copy(files[0], path)
    with netCDF4.Dataset(path, "a") as dataset:
        dataset["time"][1] = dataset["time"][0]
    result = score([path, files[0]], tmp_path / "s", **OPTIONS)
    assert "twice.nc must hold each time once: 2020-01-01" in result.failures[0][1]
    with open_ensemble(files[0]) as source:
        assert result.row("part", "mae", "tp").n_times == source.times.size
