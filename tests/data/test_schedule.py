# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Micro-batches of a rank: together the stream, whatever the ranks, the pieces and the start."""

from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.sampler import EpochSampler
from physicsnemo_fs.data.schedule import TrainingSchedule, pieces_of

SAMPLES, BATCH = 7, 10


def steps(start, stop, world_size=1, micro_batch_size=None):
    """Give the (sample, epoch) pairs of each global batch, put together from all ranks."""
    sampler = EpochSampler(SAMPLES, seed=3)
    ranks = [
        TrainingSchedule(sampler, start, stop, BATCH, micro_batch_size, rank, world_size) for rank in range(world_size)
    ]
    count = len(ranks[0]) // ranks[0].pieces_per_step
    found = []
    for step in range(count):
        found.append([])
        for schedule in ranks:
            for piece in range(schedule.pieces_per_step):
                one = schedule[step * schedule.pieces_per_step + piece]
                assert 1 <= len(one.samples) <= (micro_batch_size or BATCH)
                found[-1] += zip(one.samples, one.epochs, strict=True)
    return found


@settings(max_examples=25, deadline=None)
@given(
    world_size=st.sampled_from([1, 2, 4]),
    resumed=st.sampled_from([1, 2, 4]),
    micro=st.sampled_from([None, 1, 2, 3]),
    done=st.integers(0, 5),
)
def test_any_rank_count_resumes_the_same_stream_exactly(world_size, resumed, micro, done):
    whole = steps(0, 5 * BATCH)
    assert steps(0, done * BATCH, world_size, micro) + steps(done * BATCH, 5 * BATCH, resumed) == whole


@settings(max_examples=15, deadline=None)
@given(world_size=st.integers(1, BATCH), micro=st.sampled_from([None, 1, 2, 3]))
def test_every_sample_comes_once_an_epoch(world_size, micro):
    pairs = [pair for step in steps(0, BATCH * SAMPLES, world_size, micro) for pair in step]
    assert len(set(pairs)) == len(pairs) == BATCH * SAMPLES
    assert {epoch for _, epoch in pairs} == set(range(BATCH))


def test_a_start_between_two_global_batches_is_exact_too():
    sampler = EpochSampler(SAMPLES, seed=3)
    stream = list(zip(*(values.tolist() for values in sampler.indices(3, 2 * BATCH)), strict=True))
    assert [pair for step in steps(3, 3 + 2 * BATCH, 4, 2) for pair in step] == stream


def test_the_last_global_batch_is_whole():
    assert len(TrainingSchedule(EpochSampler(SAMPLES, 0), 0, BATCH + 1, BATCH)) == 2
    assert len(TrainingSchedule(EpochSampler(SAMPLES, 0), BATCH, BATCH, BATCH)) == 0


def test_a_list_of_samples_is_read_once_in_its_order():
    assert [piece.samples for piece in pieces_of([4, 2, 0], 2)] == [(4, 2), (0,)]
    assert pieces_of([], 2) == []
