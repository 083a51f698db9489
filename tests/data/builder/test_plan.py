# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A plan says what will be made before any field is read."""

from dataclasses import replace

import numpy as np
import pytest
from wavy_fields import WavyFields, degrees, orography

from physicsnemo_fs.data.builder.places import Region
from physicsnemo_fs.data.builder.plan import Recipe, TimeSplits, align_times, make_plan
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError

HOUR = np.timedelta64(1, "h")


def moments(*texts):
    return np.array(texts, "datetime64[ns]")


def test_a_plan_reads_no_field():
    source = WavyFields()
    plan = make_plan(Recipe(4), source, coarse=WavyFields(), invariants=orography())
    assert source.reads == []
    assert plan.value_bytes() == 4 * (24 * 36 * 2 * 40 + 6 * 9 * 2 * 40 + 24 * 36)


def test_pieces_hold_every_time_once_and_stay_small():
    pieces = make_plan(Recipe(4), WavyFields()).pieces
    assert [t for piece in pieces for t in piece] == list(range(40))
    large = WavyFields(grid=degrees(20, 55, 230, 300, (3500, 7000)))
    assert {len(piece) for piece in make_plan(Recipe(8), large).pieces} == {1}


def test_partners_are_exact_or_within_the_tolerance():
    coarse = moments("2019-01-01T00", "2019-01-01T03")
    assert align_times(coarse[::-1], coarse).tolist() == [1, 0]
    near = moments("2019-01-01T01", "2019-01-01T02", "2019-01-01T04")
    assert align_times(near, coarse, HOUR).tolist() == [0, 1, 1]
    with pytest.raises(InputError, match=r"3 of 3 have none, first 2019-01-01T01:00 .the nearest is 2019-01-01T00:00"):
        align_times(near, coarse)
    with pytest.raises(InputError, match="it has no times"):
        align_times(near, coarse[:0])


def test_regions_and_times_must_agree_on_the_split():
    halves = (Region("a", (50, 56, 0, 4), "train"), Region("b", (50, 56, 5, 9), "test"))
    splits = TimeSplits(np.timedelta64(1, "D"), validation=0.2, test=0.2)
    by_time = splits.labels(WavyFields().times)
    labels = make_plan(Recipe(4, halves, splits), WavyFields()).labels
    assert set(labels[0]) == {0, 255}
    np.testing.assert_array_equal(labels[1] == 2, by_time == 2)
    assert set(make_plan(Recipe(4, halves), WavyFields()).labels[1]) == {2}


@pytest.mark.parametrize("turn", [-360.0, 360.0])
def test_a_coarse_source_may_count_longitude_from_anywhere(turn):
    coarse = WavyFields(grid=degrees(48, 58, -2 + turn, 11 + turn, (20, 26)))
    assert make_plan(Recipe(4), WavyFields(), coarse).coarse_windows == ((slice(3, 17), slice(3, 23)),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": 40}, "must hold a coarse cell of 40 x 40 cells"),
        ({"transforms": {"wind": "log1p"}}, "transforms must be of variables of the store: got 'wind'"),
        ({"transforms": {"rain": "log2"}}, "must be one of standard, minmax, log1p, quantile: got 'log2'"),
        ({"splits": TimeSplits(np.timedelta64(300, "D"), validation=0.2)}, "leave none of 40 times"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        make_plan(replace(Recipe(4), **change), WavyFields())


def test_sources_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="coarse: the source must cover the region: its rows span 52 to 58"):
        make_plan(Recipe(4), WavyFields(), coarse=WavyFields(grid=degrees(52, 58, 0, 9, (12, 18))))
    with pytest.raises(InputError, match="give static fields as invariants"):
        make_plan(Recipe(4), orography())
    twice = WavyFields(channels=(Channel("t2m"), Channel("t2m")))
    with pytest.raises(InputError, match="fine variables need names of their own: 't2m'"):
        make_plan(Recipe(4), twice)
