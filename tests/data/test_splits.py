# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Splits: whole blocks, the asked shares, gaps, named periods."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.splits import (
    LABELS,
    UNUSED,
    block_numbers,
    own_windows,
    parse_duration,
    parse_period,
    positions_of,
    split_by_blocks,
    split_by_periods,
    within,
)
from physicsnemo_fs.errors import InputError

DAY = np.timedelta64(1, "D")


def hours(start: str, count: int, step: int = 1) -> np.ndarray:
    return np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(step, "h")


@settings(max_examples=40, deadline=None)
@given(
    days=st.integers(20, 300),
    length=st.integers(1, 3),
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
    start=st.integers(0, 20000),
)
def test_blocks_are_whole_and_have_the_asked_shares(days, length, validation, test, start):
    times = hours("1970-01-01", days * 4, 6) + start * DAY
    labels = split_by_blocks(times, length * DAY, validation, test)
    numbers = block_numbers(times, length * DAY)
    blocks = np.unique(numbers)
    kinds = [set(labels[numbers == block].tolist()) for block in blocks]
    assert all(len(kind) == 1 for kind in kinds)
    counts = {split: sum(kind == {label} for kind in kinds) for split, label in LABELS.items()}
    assert counts["test"] == max(1, round(test * len(blocks)))
    assert counts["validation"] == max(1, round(validation * len(blocks)))


@settings(max_examples=30, deadline=None)
@given(days=st.integers(60, 400), share=st.floats(0.05, 0.3))
def test_test_blocks_are_spread_over_the_record(days, share):
    times = np.datetime64("2001-05-03", "ns") + np.arange(days) * DAY
    held_out = np.flatnonzero(split_by_blocks(times, DAY, 0.1, share) == LABELS["test"])
    edges = np.concatenate([[-1], held_out, [days]])
    assert np.diff(edges).max() <= 4 * days / len(held_out) + 2


def test_more_data_moves_few_blocks():
    times = np.datetime64("1990-01-01", "ns") + np.arange(2000) * DAY
    short, long = split_by_blocks(times[:1500], DAY), split_by_blocks(times, DAY)
    assert np.mean(short != long[:1500]) < 0.02


@settings(max_examples=30, deadline=None)
@given(gap_hours=st.integers(0, 40), days=st.integers(20, 60))
def test_no_training_time_is_within_the_gap(gap_hours, days):
    times = hours("2003-02-01", days * 8, 3)
    gap = np.timedelta64(gap_hours, "h")
    labels = split_by_blocks(times, 5 * DAY, 0.2, 0.2, gap)
    for split, others in (("train", (1, 2)), ("validation", (2,))):
        own, held_out = times[labels == LABELS[split]], times[np.isin(labels, others)]
        assert np.abs(own[:, None] - held_out[None]).min() >= gap


def test_months_are_calendar_months():
    times = np.array(["2020-01-31T23", "2020-02-01", "2020-02-29", "2021-02-01"], "datetime64[ns]")
    assert block_numbers(times, parse_duration("1 month")).tolist() == [600, 601, 601, 613]
    assert block_numbers(times, parse_duration("1year")).tolist() == [50, 50, 50, 51]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", (90, "s")), ("30min", (30, "m")), ("12 hours", (12, "h")), ("2days", (2, "D")), ("3w", (3, "W"))],
)
def test_durations(text, expected):
    assert parse_duration(text) == np.timedelta64(*expected)


def test_a_period_includes_its_last_day():
    first, last = parse_period(["2019", "2019-02-28"])
    assert (first, last) == (np.datetime64("2019-01-01"), np.datetime64("2019-03-01"))


def test_times_outside_every_period_are_unused():
    times = hours("2020-01-01", 24 * 10)
    labels = split_by_periods(
        times,
        {"train": [["2020-01-01", "2020-01-02"], ["2020-01-05", "2020-01-06"]], "test": [["2020-01-08", "2020"]]},
    )
    assert [int((labels == label).sum()) for label in (0, 1, 2, UNUSED)] == [96, 0, 72, 72]
    assert positions_of(labels, "test")[0] == 24 * 7
    with pytest.raises(InputError, match="validation split must hold a time"):
        positions_of(labels, "validation")


@pytest.mark.parametrize("period", [["1900", "9999"], [1, 2262], ["-3000", "2021"]])
def test_a_period_may_be_longer_than_nanoseconds_count(period):
    assert within(hours("2020-01-01", 24), period).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: split_by_blocks(t, DAY, 0.5, 0.5), "leave blocks for training"),
        (lambda t: split_by_blocks(t, np.timedelta64(0, "D")), "positive length"),
        (lambda t: split_by_blocks(t, 400 * DAY), "split must hold a time"),
        (lambda t: split_by_blocks(t, DAY, gap=100 * DAY), "train split must hold a time"),
        (lambda t: split_by_periods(t, {"training": [["2020", "2020"]]}), "must be one of"),
        (lambda t: split_by_periods(t, {"train": [["2021", "2021"]]}), "hold a time"),
        (lambda t: split_by_periods(t, {"train": [["2020", "2020"]], "test": [["2020-01-02", "2020"]]}), "overlap"),
        (lambda t: parse_period(["2020-02", "2020-01"]), "end after it starts"),
        (lambda t: split_by_periods(t, {"train": 5}), r"pairs \[start, end\]: got 5; write"),
        (lambda t: split_by_periods(t, {"train": [5]}), r"pairs \[start, end\]: got \[5\]; write"),
        (lambda t: split_by_periods(t, {"train": [["2020"]]}), r"pairs \[start, end\]: got \[\['2020'\]\]; write"),
        (lambda t: parse_period(["first", "last"]), "ISO 8601"),
        (lambda t: parse_period(["2020"]), "ISO 8601"),
        (lambda t: parse_duration("5 fortnights"), "a count and one of"),
        (lambda t: parse_duration("d"), "a count and one of"),
    ],
)
def test_impossible_splits_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make(hours("2020-01-01", 240))


def test_training_windows_hold_no_held_out_time():
    labels = np.array([0, 0, 0, 255, 2, 2, 0, 0, 0, 1, 0], np.uint8)
    assert own_windows(labels, "train", 0).tolist() == [0, 1, 2, 6, 7, 8, 10]
    assert own_windows(labels, "train", 1).tolist() == [0, 1, 2, 7]
    assert own_windows(labels, "test", 1).tolist() == [4, 5]
    with pytest.raises(InputError, match="no training window is free of held-out times"):
        own_windows(labels, "train", 5)


def test_a_gap_of_months_and_periods_that_are_no_pairs_are_named():
    times = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]").astype("datetime64[ns]")
    with pytest.raises(InputError, match="months differ; write it in days"):
        split_by_blocks(times, np.timedelta64(5, "D"), 0.2, 0.2, np.timedelta64(1, "M"))
    with pytest.raises(InputError, match="periods of train must be pairs"):
        split_by_periods(times, {"train": ["2020-01-01", "2020-01-10"]})
