# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The published file: a small array of the same schema, made by the solver in the published axis order."""

import numpy as np
import pytest
import torch

from physicsnemo_fs.data.datasets.kolmogorov import KolmogorovDataset
from physicsnemo_fs.data.datasets.ns_re40 import STATISTICS_STRIDE, NSRe40Source
from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig, simulate
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.testing import assert_close

FLOW = KolmogorovConfig(grid=32, spin_up=((32, 10.0),), frames=25, trajectories=10)


@pytest.fixture(scope="module")
def fields():
    return torch.stack(list(simulate(FLOW)), dim=1).numpy()


@pytest.fixture
def path(tmp_path, fields):
    np.save(tmp_path / "2D_NS_Re40.npy", fields.swapaxes(-1, -2).astype(np.float64))
    return tmp_path / "2D_NS_Re40.npy"


def test_frames_have_rows_along_y(path, fields):
    source = NSRe40Source(path, "train", skip_steps=0)
    assert_close(source.read(np.array([3]), np.array([[5, 6]]))[0], fields[3, 5:7], 1e-7)


@pytest.mark.parametrize(("split", "ids"), [("train", range(8)), ("validation", [8]), ("test", [9])])
def test_trajectories_are_split_without_overlap(path, fields, split, ids):
    source = NSRe40Source(path, split)
    assert source.trajectory_ids.tolist() == list(ids)
    assert_close(source.read(np.array([0]), np.array([[0]]))[0, 0], fields[ids[0], 1], 1e-7)


def test_skip_and_stride_choose_the_steps(path, fields):
    source = NSRe40Source(path, "test", skip_steps=4, stride=3)
    assert source.seconds.tolist() == list(range(4, 25, 3))
    assert source.training_interval == 3.0
    assert_close(source.read(np.array([0]), np.array([[2]]))[0, 0], fields[9, 10], 1e-7)


def test_all_splits_carry_the_training_statistics(path, fields):
    used = fields[:8, 1::STATISTICS_STRIDE].astype(np.float64)
    for split in ("train", "validation", "test"):
        moments = NSRe40Source(path, split).moments
        assert moments.std == pytest.approx(used.std(), rel=1e-6)
        assert moments.count == used.size


def test_the_file_is_a_downscaling_dataset(path):
    dataset = KolmogorovDataset(NSRe40Source(path, "test"), 16, coarse_size=4, window_size=1)
    batch = dataset.fetch([0, 21], augmentation_keys=[1, 2])
    assert len(dataset) == 22
    assert batch.coarse.shape == (2, 3, 4, 4)
    assert str(dataset.times[0]).startswith("2000-01-10T00:00:02")


def test_the_other_axis_order_is_noticed(path):
    with pytest.raises(InputError, match="axes='xy'"):
        NSRe40Source(path, "train", axes="yx")


def test_values_that_are_not_finite_are_noticed_when_read(path):
    array = np.load(path, mmap_mode="r+")
    array[2, 5, 0, 0] = np.inf
    array.flush()
    source = NSRe40Source(path, "train")
    with pytest.raises(InputError, match="trajectory 2, step 5"):
        source.read(np.array([2]), np.array([[4]]))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 8, 16), dtype=np.float32), "trajectory, step"),
        (np.zeros((4, 8, 16, 12), dtype=np.float32), "trajectory, step"),
        (np.zeros((4, 8, 16, 16), dtype=np.int64), "floating-point"),
        (np.array([{"pickled": 1}], dtype=object), r"whole \.npy"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        NSRe40Source(tmp_path / "a.npy", "train")


def test_a_missing_or_truncated_file_is_refused(path):
    with pytest.raises(InputError, match="download"):
        NSRe40Source(path.with_name("gone.npy"), "train")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"whole \.npy"):
        NSRe40Source(path, "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_fraction": 1.0}, "every split"),
        ({"train_fraction": 0.9, "validation_fraction": 0.2}, "every split"),
        ({"skip_steps": 25}, "skip_steps"),
        ({"stride": 0}, "stride"),
    ],
)
def test_impossible_requests_are_refused(path, options, message):
    with pytest.raises(InputError, match=message):
        NSRe40Source(path, "train", **options)
