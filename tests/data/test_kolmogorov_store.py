# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Files of simulated data: whole, named by what made them, refused when they are not."""

import multiprocessing
import os
import re
import resource
import signal
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import torch

from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig, simulate
from physicsnemo_fs.data.flow.store import KolmogorovSplits, open_split, prepare, store_path
from physicsnemo_fs.data.flow.store_file import KolmogorovStore, read_header, store_key, write_store
from physicsnemo_fs.data.normalize import Moments
from physicsnemo_fs.errors import InputError

FLOW = KolmogorovConfig(grid=32, spin_up=((32, 2.0),), interval=0.5, frames=3, trajectories=2)
SPLITS = KolmogorovSplits(FLOW, replace(FLOW, frames=2), replace(FLOW, grid=48, spin_up=((48, 1.0),)), seed=3)


@pytest.fixture
def paths(tmp_path):
    return prepare(tmp_path / "data", SPLITS, progress=False)


def test_a_file_holds_the_simulated_fields(paths):
    store = KolmogorovStore(paths["train"])
    expected = torch.stack(list(simulate(SPLITS.flow("train"))), dim=1)
    fields = store.read(np.arange(2), np.tile(np.arange(3), (2, 1)))
    assert torch.equal(fields, expected)
    assert store.seconds.tolist() == [0.0, 0.5, 1.0]
    assert store.trajectory_ids.tolist() == [0, 1]


def test_all_splits_carry_the_training_statistics(paths):
    train = KolmogorovStore(paths["train"])
    values = train.read(np.arange(2), np.tile(np.arange(3), (2, 1))).double()
    assert train.moments.mean == pytest.approx(values.mean().item(), abs=1e-9)
    assert train.moments.std == pytest.approx(values.std(correction=0).item(), rel=1e-9)
    for path in paths.values():
        assert read_header(path).moments == train.moments
        assert read_header(path).training == SPLITS.flow("train")


def test_splits_hold_different_trajectories():
    starts = {split: next(simulate(replace(SPLITS.flow(split), grid=32, spin_up=()))) for split in ("train", "test")}
    assert (starts["train"] - starts["test"]).abs().max() > 0.1


def test_a_prepared_folder_is_reused(paths):
    before = {path: path.stat().st_mtime_ns for path in paths.values()}
    assert prepare(paths["train"].parent, SPLITS, progress=False) == paths
    assert {path: path.stat().st_mtime_ns for path in paths.values()} == before
    assert sorted(paths["train"].parent.iterdir()) == sorted(paths.values())


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(tmp_path):
    def told(results):
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            prepare(tmp_path / "data", SPLITS, progress=False)
        except InputError as error:
            results.put(str(error))

    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=told, args=(results,))
    process.start()
    process.join()
    assert not results.empty()
    assert re.match(r"could not write below .*data \(.*\); nothing half-written is left: make space", results.get())
    assert not list((tmp_path / "data").iterdir())


def test_another_configuration_is_another_file(paths):
    for other in (replace(SPLITS, seed=4), replace(SPLITS, train=replace(FLOW, frames=4))):
        assert not set(paths.values()) & {store_path(paths["train"].parent, other, split) for split in paths}


def test_files_are_readable_by_anyone(paths):
    with netCDF4.Dataset(paths["test"]) as file:
        assert file["vorticity"].dimensions == ("trajectory", "time", "y", "x")
        assert file["vorticity"].dtype == np.float32
        np.testing.assert_allclose(file["y"][:], 2 * np.pi * np.arange(48) / 48)
        assert file["time"].units == "s"


def test_an_interrupted_simulation_leaves_nothing(tmp_path):
    unstable = replace(FLOW, dt=1.0, spin_up=((32, 100.0),))
    with pytest.raises(InputError, match="reduce dt"):
        prepare(tmp_path, KolmogorovSplits(unstable, unstable, unstable), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.nc does not"):
        KolmogorovStore(tmp_path / "gone.nc")


def test_a_truncated_file_is_refused(paths):
    path = paths["train"]
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match="whole NetCDF4"):
        KolmogorovStore(path)
    with pytest.raises(InputError, match=path.name):
        prepare(path.parent, SPLITS, progress=False)


def test_a_flipped_bit_is_refused(paths):
    path = paths["train"]
    value = KolmogorovStore(path).read(np.array([1]), np.array([[2]])).numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.find(value) + 1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="whole NetCDF4"):
        KolmogorovStore(path)


def test_values_that_are_not_finite_are_refused(paths):
    with netCDF4.Dataset(paths["train"], "a") as file:
        file["vorticity"][0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        KolmogorovStore(paths["train"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.setncattr("format", "something else"), "attribute format"),
        (lambda file: file.delncattr("config"), "must carry its configuration"),
        (lambda file: file.renameVariable("vorticity", "w"), "the variable vorticity"),
        (lambda file: file.setncattr("key", "0" * 16), "has 0000"),
        (lambda file: file.renameDimension("time", "step"), "dimensions"),
    ],
)
def test_another_kind_of_file_is_refused(paths, damage, message):
    with netCDF4.Dataset(paths["test"], "a") as file:
        damage(file)
    with pytest.raises(InputError, match=message):
        KolmogorovStore(paths["test"])


def test_a_file_of_another_configuration_is_refused(paths):
    with pytest.raises(InputError, match="another folder"):
        read_header(paths["train"], expected_key=store_key(FLOW, FLOW))


def test_splits_must_share_their_physics():
    with pytest.raises(InputError, match="same reynolds"):
        KolmogorovSplits(FLOW, FLOW, replace(FLOW, reynolds=100.0))


def test_progress_is_shown_until_the_end(tmp_path, capsys):
    prepare(tmp_path, SPLITS)
    assert capsys.readouterr().err.count("100%") >= 3


def test_a_file_of_its_own(tmp_path):
    write_store(tmp_path / "flow.nc", FLOW, FLOW)
    assert read_header(tmp_path / "flow.nc").flow == FLOW


def test_moments_of_a_checkpoint_serve_one_opening_and_stay_out_of_the_file(tmp_path):
    foreign = Moments(count=10, mean=1.0, squares=90.0)
    assert open_split(tmp_path, SPLITS, "test", foreign, progress=False).moments == foreign
    assert not store_path(tmp_path, SPLITS, "train").exists()
    own = open_split(tmp_path, SPLITS, "test", progress=False).moments
    assert own == open_split(tmp_path, SPLITS, "train", progress=False).moments != foreign
    assert open_split(tmp_path, SPLITS, "test", foreign, progress=False).moments == foreign
