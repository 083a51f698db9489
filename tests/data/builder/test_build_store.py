# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A store is the same bytes however it is built, and has its name only when it is whole."""

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from wavy_fields import WavyFields, degrees, orography

from physicsnemo_fs.data import store_reader
from physicsnemo_fs.data.builder.geometry import coarsened, row_areas
from physicsnemo_fs.data.builder.places import Region
from physicsnemo_fs.data.builder.plan import Recipe, TimeSplits, make_plan
from physicsnemo_fs.data.builder.regrid import block_average
from physicsnemo_fs.data.builder.run import build_store
from physicsnemo_fs.data.store_reader import open_store
from physicsnemo_fs.data.types import Fields
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.executors import InThisProcess

DAYS = TimeSplits(np.timedelta64(1, "D"), validation=0.2, test=0.2)
RECIPE = Recipe(factor=4, splits=DAYS, transforms={"rain": {"kind": "log1p", "scale": 0.1, "minimum": 0}})
BOXES = (Region("west", (50, 56, 0, 4), "train"), Region("east", (50, 56, 5, 9), "test"))
CONFIG = {"factor": 4}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    plan = make_plan(RECIPE, WavyFields(), invariants=orography())
    return build_store(tmp_path_factory.mktemp("whole") / "uk.zarr", plan, InThisProcess(), CONFIG)


def test_a_store_holds_the_fields_of_the_source(whole):
    source = WavyFields()
    fine, coarse = (open_store(whole).fields("all", part) for part in ("fine", "coarse"))
    assert isinstance(fine, Fields)
    np.testing.assert_array_equal(fine.read([0, 17]), source.read([0, 17]))
    np.testing.assert_array_equal(fine.times, source.times)
    expected = block_average(source.read([5])[0], 4, row_areas(source.grid))
    np.testing.assert_array_equal(coarse.read([5])[0], expected)
    np.testing.assert_array_equal(
        fine.read([3], (slice(2, 9), slice(4, 30))), source.read([3], (slice(2, 9), slice(4, 30)))
    )
    assert coarse.grid == coarsened(source.grid, 4)
    np.testing.assert_allclose(coarse.grid.latitude[:, 0], coarse.grid.y)


def test_static_fields_are_brought_to_the_fine_grid(whole):
    fields = open_store(whole).fields("all", "invariants")
    assert fields.times.shape == (0,)
    exact = WavyFields(channels=orography().channels, missing=0).read([0])
    np.testing.assert_allclose(fields.read([0]), exact, atol=0.05)


def test_statistics_are_those_of_the_training_samples(whole):
    store = open_store(whole)
    source = WavyFields()
    positions = store.positions("all", "train")
    values = source.read(list(positions)).astype(np.float64)
    rain, t2m = store.channels["fine"]
    warped = np.log1p(values[:, 0] / 0.1)
    assert rain.mean == pytest.approx(np.nanmean(warped), rel=1e-12)
    assert rain.std == pytest.approx(np.nanstd(warped), rel=1e-12)
    assert rain.minimum == 0.0
    assert t2m.mean == pytest.approx(values[:, 1].mean(), rel=1e-12)
    assert [len(store.positions("all", s)) for s in ("train", "validation", "test")] == [24, 8, 8]


def test_xarray_opens_every_group(whole):
    fine = xr.open_dataset(whole / "all" / "fine", engine="zarr")
    assert fine["rain"].dims == ("time", "y", "x")
    assert set(fine["rain"].coords) == {"time", "y", "x", "latitude", "longitude"}
    np.testing.assert_array_equal(fine["time"].values, WavyFields().times)
    assert fine["rain"].attrs["units"] == "mm h-1"
    root = xr.open_dataset(whole / "all", engine="zarr")
    assert set(root["split"].values.tolist()) == {0, 1, 2}
    assert root["block"].values[0] == 17956


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_writes_the_same_bytes(whole, tmp_path, workers):
    plan = make_plan(RECIPE, WavyFields(), invariants=orography())
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        path = build_store(tmp_path / "uk.zarr", plan, pool, CONFIG)
    assert contents(path) == contents(whole)


class Stopped(BaseException):
    pass


class StopsAfter(InThisProcess):
    def __init__(self, pieces):
        self.left = pieces

    def submit(self, fn, /, *args, **kwargs):
        if self.left == 0:
            raise Stopped
        self.left -= 1
        return super().submit(fn, *args, **kwargs)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr("physicsnemo_fs.data.builder.plan.MOST_TIMES", 5)
    monkeypatch.setattr("physicsnemo_fs.data.builder.run.IN_FLIGHT", 1)


@pytest.mark.usefixtures("small_pieces")
def test_a_stopped_build_continues_to_the_same_bytes(whole, tmp_path):
    source = WavyFields()
    plan = make_plan(RECIPE, source, invariants=orography())
    path = tmp_path / "uk.zarr"
    for pieces in (3, 2):
        with pytest.raises(Stopped):
            build_store(path, plan, StopsAfter(pieces), CONFIG)
        assert not path.exists()
    steps = []
    build_store(path, plan, InThisProcess(), CONFIG, progress=lambda done, total: steps.append((done, total)))
    assert steps[0] == (5, 9)
    assert steps[-1] == (9, 9)
    assert sorted(p for reads in source.reads for p in reads) == list(range(40))
    assert contents(path) == contents(whole)
    assert [p.name for p in tmp_path.iterdir()] == ["uk.zarr"]


@pytest.mark.usefixtures("small_pieces")
def test_another_configuration_does_not_continue_a_build(tmp_path):
    plan = make_plan(RECIPE, WavyFields())
    with pytest.raises(Stopped):
        build_store(tmp_path / "uk.zarr", plan, StopsAfter(1), CONFIG)
    with pytest.raises(InputError, match=r"unfinished build with another config.factor \(4 there, 8 here\)"):
        build_store(tmp_path / "uk.zarr", plan, InThisProcess(), {"factor": 8})


def test_a_finished_build_is_kept(whole):
    before = contents(whole)
    plan = make_plan(RECIPE, WavyFields())
    assert build_store(whole, plan, StopsAfter(0), CONFIG) == whole
    assert contents(whole) == before
    with pytest.raises(InputError, match=r"another config\.factor"):
        build_store(whole, plan, StopsAfter(0), {"factor": 8})


def test_a_second_build_of_the_same_store_waits_outside(tmp_path):
    plan = make_plan(RECIPE, WavyFields())

    class Meets(InThisProcess):
        def submit(self, fn, /, *args, **kwargs):
            with pytest.raises(InputError, match="one process builds a store"):
                build_store(tmp_path / "uk.zarr", plan, InThisProcess(), CONFIG)
            return super().submit(fn, *args, **kwargs)

    build_store(tmp_path / "uk.zarr", plan, Meets(), CONFIG)


def die(*arguments):
    os._exit(9)


def test_a_worker_that_dies_is_reported(tmp_path):
    plan = make_plan(RECIPE, WavyFields())

    class Dies(ProcessPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            return super().submit(die)

    with Dies(1, mp_context=multiprocessing.get_context("fork")) as pool:
        with pytest.raises(InputError, match="a worker died after 0 of 2 pieces"):
            build_store(tmp_path / "uk.zarr", plan, pool, CONFIG)
    assert not (tmp_path / "uk.zarr").exists()


def test_each_time_is_read_once_for_all_regions(tmp_path):
    source = WavyFields()
    path = build_store(tmp_path / "s", make_plan(Recipe(4, BOXES), source), InThisProcess(), CONFIG)
    assert source.reads == [[i] for i in range(40)]
    store = open_store(path)
    assert (store.regions_of("train"), store.regions_of("test")) == (("west",), ("east",))
    np.testing.assert_array_equal(store.fields("east", "fine").read([7]), source.read([7])[..., 20:36])


def test_a_second_source_is_aligned_in_time_and_space(tmp_path):
    hours = np.arange("2019-02-28", "2019-03-12", 3, dtype="datetime64[h]").astype("datetime64[ns]")
    reanalysis = WavyFields(
        grid=degrees(48.5, 58.5, 358.5, 371.5, (20, 26)), times=hours, missing=0, channels=WavyFields().channels[1:]
    )
    plan = make_plan(Recipe(4), WavyFields(), coarse=reanalysis)
    assert plan.partners[:2].tolist() == [8, 10]
    path = build_store(tmp_path / "s", plan, InThisProcess(), CONFIG)
    coarse = open_store(path).fields("all", "coarse")
    assert [c.name for c in coarse.channels] == ["t2m"]
    np.testing.assert_array_equal(coarse.times, WavyFields().times)
    means = reanalysis.read([8], (slice(3, 15), slice(3, 21)))[0].mean(), coarse.read([0])[0].mean()
    assert means[1] == pytest.approx(means[0], rel=0.01)


def test_lead_times_are_kept(tmp_path):
    source = WavyFields(lead_hours=np.arange(40) % 4 * 6.0)
    path = build_store(tmp_path / "s", make_plan(Recipe(4), source), InThisProcess(), CONFIG)
    np.testing.assert_array_equal(open_store(path).fields("all", "fine").lead_hours, source.lead_hours)


def test_lead_times_of_a_coarse_forecast_are_its_own(tmp_path):
    hours = np.arange("2019-02-28", "2019-03-12", 3, dtype="datetime64[h]").astype("datetime64[ns]")
    forecast = WavyFields(
        grid=degrees(48.5, 58.5, 358.5, 371.5, (20, 26)), times=hours, missing=0, channels=WavyFields().channels[1:]
    )
    forecast.lead_hours = np.arange(len(hours)) * 0.5
    plan = make_plan(Recipe(4), WavyFields(), coarse=forecast)
    path = build_store(tmp_path / "s", plan, InThisProcess(), CONFIG)
    assert open_store(path).fields("all", "fine").lead_hours is None
    assert open_store(path).fields("all", "coarse").lead_hours[:2].tolist() == [4.0, 5.0]


def test_a_build_stopped_between_its_last_two_steps_can_be_made_again(tmp_path, monkeypatch):
    plan = make_plan(Recipe(4), WavyFields())

    def stop(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("physicsnemo_fs.data.builder.run.shutil", SimpleNamespace(rmtree=stop))
        with pytest.raises(KeyboardInterrupt):
            build_store(tmp_path / "s", plan, InThisProcess(), CONFIG)
    shutil.rmtree(tmp_path / "s")
    path = build_store(tmp_path / "s", plan, InThisProcess(), CONFIG)
    assert np.isfinite(open_store(path).fields("all", "coarse").read([0])).any()


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy.zarr")


def test_an_incomplete_store_is_refused(copied):
    record = (copied / "zarr.json").read_text()
    (copied / "zarr.json").write_text(record.replace('"complete": true', '"complete": false'))
    with pytest.raises(InputError, match=r"must be complete: .* run the build command again"):
        open_store(copied)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("physicsnemo_fs store 1", "other", "has 'other'"), ("{", "", "must be a Zarr 3 folder")],
)
def test_another_kind_of_folder_is_refused(copied, old, new, message):
    record = (copied / "zarr.json").read_text()
    (copied / "zarr.json").write_text(record.replace(old, new))
    with pytest.raises(InputError, match=message):
        open_store(copied)


def test_a_missing_store_region_or_part_is_named(whole, tmp_path):
    with pytest.raises(InputError, match=r"gone.zarr does not; build it"):
        open_store(tmp_path / "gone.zarr")
    with pytest.raises(InputError, match="no region 'scotland': there are all"):
        open_store(whole).fields("scotland", "fine")


def test_a_store_is_opened_once_for_all_its_fields(tmp_path, monkeypatch):
    path = build_store(tmp_path / "s", make_plan(replace(RECIPE, regions=BOXES), WavyFields()), InThisProcess(), CONFIG)
    opened = []
    inner = store_reader.zarr.open_group

    def open_group(place, **options):
        opened.append(str(place))
        return inner(place, **options)

    monkeypatch.setattr(store_reader.zarr, "open_group", open_group)
    store = open_store(path)
    for region in store.regions:
        assert store.fields(region, "fine").read([0]).shape[1] == 2
    assert opened.count(str(path)) == 1


def chunk(store):
    return store / "all" / "fine" / "t2m" / "c" / "3" / "0" / "0"


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_chunk_is_refused(copied, damage):
    content = bytearray(chunk(copied).read_bytes())
    content[len(content) // 2] ^= 1
    chunk(copied).write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    fields = open_store(copied).fields("all", "fine")
    fields.read([2])
    with pytest.raises(InputError, match=r"all/fine/t2m is damaged at 3 .* build the store again"):
        fields.read([2, 3])


def test_a_lost_chunk_is_refused(copied):
    chunk(copied).unlink()
    with pytest.raises(InputError, match="all/fine/t2m lacks chunks"):
        open_store(copied).fields("all", "fine").read([3])
