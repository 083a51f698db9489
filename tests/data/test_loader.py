# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Reading ahead: the same batches, errors whole and at once, no thread left behind."""

import subprocess
import sys
import threading
import time
import traceback
from dataclasses import fields

import pytest
import torch

from physicsnemo_fs.data.loader import READING, batches
from physicsnemo_fs.data.sampler import EpochSampler
from physicsnemo_fs.data.schedule import TrainingSchedule, pieces_of
from physicsnemo_fs.data.types import Batch
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.random import derive_key, generator

STARTED = 0.02
"""Seconds that let the threads reach their limit."""


class Noise:
    """Sample ``i`` is noise drawn from its index and key; notes what is read, and by which threads at once."""

    thread_safe = False

    def __init__(self, fails_at=None, delay=0.0):
        self.fails_at, self.delay = fails_at, delay
        self.read, self.together, self.most = [], 0, 0

    def fetch(self, indices, augmentation_keys=None):
        self.together += 1
        self.most = max(self.most, self.together)
        self.read += indices
        time.sleep(self.delay)
        self.together -= 1
        if self.fails_at in indices:
            raise InputError("a file is truncated")
        keys = augmentation_keys or [0] * len(indices)
        draws = [torch.randn(3, 4, 4, generator=generator(i, k)) for i, k in zip(indices, keys, strict=True)]
        fine = torch.stack(draws)
        return Batch(
            coarse=fine[:, :2, :2, :2],
            invariants=torch.ones(1, 1, 4, 4).expand(len(indices), -1, -1, -1),
            target=fine,
            index=torch.tensor(indices),
            valid=fine > 0,
            lead_time=torch.tensor(indices).float(),
        )


class SafeNoise(Noise):
    thread_safe = True


def ours():
    return [t.name for t in threading.enumerate() if t.name.startswith("datapipe")]


def training(pieces=6):
    return TrainingSchedule(EpochSampler(5, seed=1), 0, 3 * pieces, 3)


@pytest.mark.parametrize("dataset", [Noise, SafeNoise])
@pytest.mark.parametrize(("prefetch", "workers"), [(0, 1), (1, 1), (2, 3), (9, 4)])
def test_reading_ahead_changes_no_byte_and_no_order(dataset, prefetch, workers):
    source, schedule = dataset(), training()
    with batches(source, schedule, key=derive_key, prefetch=prefetch, workers=workers) as loaded:
        for position, one in enumerate(loaded):
            assert one.piece == schedule[position]
            keys = [derive_key(e, i) for e, i in zip(one.piece.epochs, one.piece.samples, strict=True)]
            expected = source.fetch(list(one.piece.samples), keys)
            for f in fields(Batch):
                assert torch.equal(getattr(one.batch, f.name), getattr(expected, f.name)), f.name
    assert position == len(schedule) - 1
    assert ours() == []


def test_what_a_dataset_lacks_stays_absent():
    class Bare(Noise):
        def fetch(self, indices, augmentation_keys=None):
            whole = super().fetch(indices)
            return Batch(whole.coarse, whole.invariants, None, whole.index)

    with batches(Bare(), pieces_of([0], 1)) as loaded:
        batch = next(loaded).batch
    assert batch.target is None
    assert batch.valid is None


@pytest.mark.parametrize("prefetch", [1, 3])
def test_no_more_is_held_than_was_asked_for(prefetch):
    source = SafeNoise()
    with batches(source, pieces_of(range(50), 1), prefetch=prefetch, workers=2) as loaded:
        for taken in range(1, 4):
            next(loaded)
            time.sleep(STARTED)
            assert len(source.read) <= taken + prefetch + 1
    assert len(source.read) <= 3 + prefetch + 1


@pytest.mark.parametrize(("dataset", "several"), [(Noise, False), (SafeNoise, True)])
def test_only_a_thread_safe_dataset_is_read_by_several_threads(dataset, several):
    source = dataset(delay=0.005)
    with batches(source, pieces_of(range(12), 1), prefetch=6, workers=3) as loaded:
        assert len(list(loaded)) == 12
    assert (source.most > 1) == several


def test_a_dataset_that_is_not_thread_safe_waits_for_the_lock():
    source = Noise()
    with batches(source, pieces_of(range(9), 1), prefetch=2) as loaded:
        next(loaded)
        time.sleep(STARTED)
        with READING:
            before = list(source.read)
            next(loaded)
            time.sleep(STARTED)
            assert source.read == before
        assert len(list(loaded)) == 7


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_of_a_worker_arrives_whole(prefetch):
    with pytest.raises(InputError, match="a file is truncated") as caught:
        with batches(Noise(fails_at=3), pieces_of(range(6), 2), prefetch=prefetch) as loaded:
            list(loaded)
    assert "in fetch" in "".join(traceback.format_exception(caught.value))
    assert caught.value.__notes__ == ["while reading the samples [2, 3] of epochs [0, 0]"]
    assert ours() == []


@pytest.mark.parametrize("taken", [0, 2])
@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError])
def test_leaving_in_the_middle_ends_every_thread_at_once(reason, taken):
    source, left = Noise(delay=0.05), []

    def leave():
        with batches(source, pieces_of(range(40), 1), prefetch=30) as loaded:
            for _ in range(taken):
                next(loaded)
            left.append(time.monotonic())
            raise reason

    with pytest.raises(reason):
        leave()
    assert time.monotonic() - left[0] < 1.0
    assert len(source.read) < 10
    assert ours() == []


def test_reading_in_the_calling_thread_needs_no_loader_of_others():
    """Their import takes seconds of every start on a CPU."""
    program = (
        "import sys, torch, physicsnemo_fs.data.loader as loader\n"
        "with loader.batches(None, [], prefetch=0) as loaded: assert list(loaded) == []\n"
        "assert 'physicsnemo.datapipes' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_gpu_are_those_of_the_cpu():
    source, schedule = SafeNoise(), training()
    with batches(source, schedule, device="cuda", prefetch=3, workers=2) as loaded:
        for position, one in enumerate(loaded):
            expected = source.fetch(list(schedule[position].samples))
            assert one.batch.coarse.device.type == "cuda"
            for f in fields(Batch):
                assert torch.equal(getattr(one.batch, f.name).cpu(), getattr(expected, f.name)), f.name
