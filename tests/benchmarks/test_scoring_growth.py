# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What the committed measurement of scoring says."""

import csv
import mmap

import numpy as np
import pytest
import scoring
from scoring_growth import Path, fit_of, growth_rows

RESULTS = Path(scoring.__file__).parent / "results"


def committed(varied):
    (path,) = RESULTS.glob("scoring_growth_*.csv")
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row["varied"] == varied]


def test_scoring_grows_no_faster_than_m_log_m():
    rows = committed("members")
    assert [int(row["members"]) for row in rows] == [8, 16, 32, 64, 128]
    assert all(abs(float(row["over_fit"]) - 1) < 0.1 for row in rows)
    assert all(float(row["over_m_log_m"]) <= 1 for row in rows)


def test_memory_does_not_grow_with_the_number_of_times():
    few, many = committed("times")
    assert int(many["times"]) == 3 * int(few["times"])
    assert (int(many["members"]), int(many["size"]), int(many["variables"])) == (32, 448, 4)
    assert float(many["extra_mb"]) < 300
    assert float(many["extra_mb"]) == pytest.approx(float(few["extra_mb"]), rel=0.1)


def test_quadratic_growth_would_show():
    members = [8, 16, 32, 64, 128]
    seconds = [0.5 + 1e-3 * m**2 for m in members]
    assert fit_of(members, [3 + 0.1 * m * np.log2(m) for m in members]) == pytest.approx((3.0, 0.1))
    assert max(abs(row["over_fit"] - 1) for row in growth_rows(members, seconds)) > 0.15


def test_the_cost_of_work_is_that_of_the_work_alone():
    def fill(megabytes):
        memory = mmap.mmap(-1, megabytes << 20)
        np.frombuffer(memory, np.uint8)[:] = 1
        return memory

    kept = fill(240)
    cost = scoring.cost_of(lambda: fill(40))
    assert len(kept) == 240 << 20
    assert 30 < cost.extra_mb < 120
