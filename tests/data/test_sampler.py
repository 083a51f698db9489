# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The sample stream: complete epochs, free of state, the same however it is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.sampler import EpochSampler, rank_share
from physicsnemo_fs.errors import InputError

sizes = st.integers(1, 40)


@settings(max_examples=15, deadline=None)
@given(size=sizes, seed=st.integers(0, 2**40), epoch=st.integers(0, 50))
def test_every_epoch_holds_every_sample_once(size, seed, epoch):
    ids, epochs = EpochSampler(size, seed).indices(epoch * size, size)
    assert sorted(ids) == list(range(size))
    assert set(epochs) == {epoch}


@settings(max_examples=15, deadline=None)
@given(
    size=sizes,
    seed=st.integers(0, 99),
    position=st.integers(0, 200),
    count=st.integers(0, 100),
    cut=st.integers(0, 100),
)
def test_a_resumed_stream_is_the_same_stream(size, seed, position, count, cut):
    cut = min(cut, count)
    whole = EpochSampler(size, seed).indices(position, count)
    resumed = EpochSampler(size, seed)
    second, first = resumed.indices(position + cut, count - cut), resumed.indices(position, cut)
    for expected, head, tail in zip(whole, first, second, strict=True):
        np.testing.assert_array_equal(np.concatenate([head, tail]), expected)


@settings(max_examples=15, deadline=None)
@given(total=st.integers(0, 64), world_size=st.integers(1, 9))
def test_ranks_cover_a_global_batch_once(total, world_size):
    shares = [rank_share(total, rank, world_size) for rank in range(world_size)]
    assert [image for share in shares for image in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_epochs_and_seeds_differ():
    sampler = EpochSampler(100, 0)
    first, second = sampler.indices(0, 100)[0], sampler.indices(100, 100)[0]
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, EpochSampler(100, 1).indices(0, 100)[0])


def test_without_shuffling_samples_come_in_order():
    ids, epochs = EpochSampler(3, 0, shuffle=False).indices(2, 5)
    assert ids.tolist() == [2, 0, 1, 2, 0]
    assert epochs.tolist() == [0, 1, 1, 1, 2]


def test_an_empty_data_set_is_refused():
    with pytest.raises(InputError):
        EpochSampler(0, 0)
