# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""How scoring grows: its processor time with the number of members, its memory with the number of times.

    python benchmarks/scoring_growth.py --output scoring_growth.csv

Every row is one file, scored in a process of its own: all standard scores of its variables. Times are those of the
processor, so that a busy machine does not matter; the memory is the largest during scoring beyond that before it. The
rows of members say how the time compares with ``a + b m log m`` fitted to all of them, and with the ``m log m`` of the
fewest members alone.
"""

import argparse
import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scoring import VARIABLES, measured, write_samples
from timing import write_csv


def fit_of(members: list[int], seconds: list[float]) -> tuple[float, float]:
    """Fit ``seconds = a + b m log2 m`` with least relative squares; give a and b.

    Example:
        >>> a, b = fit_of([8, 16, 32], [1 + 24, 1 + 64, 1 + 160])
        >>> round(a, 9), round(b, 9)
        (1.0, 1.0)
    """
    sizes, found = np.array(members, dtype=float), np.array(seconds)
    design = np.stack([np.ones_like(sizes), sizes * np.log2(sizes)], axis=1)
    a, b = np.linalg.lstsq(design / found[:, None], np.ones_like(found), rcond=None)[0]
    return float(a), float(b)


def growth_rows(members: list[int], seconds: list[float]) -> list[dict]:
    """Say for each number of members how its time lies to ``m log m``.

    Example:
        >>> [row["over_m_log_m"] for row in growth_rows([8, 16, 32], [24.0, 64.0, 160.0])]
        [1.0, 1.0, 1.0]
    """
    a, b = fit_of(members, seconds)
    first = seconds[0] / (members[0] * np.log2(members[0]))
    return [
        {
            "over_fit": round(float(time / (a + b * m * np.log2(m))), 3),
            "over_m_log_m": round(float(time / (first * m * np.log2(m))), 3),
        }
        for m, time in zip(members, seconds, strict=True)
    ]


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="CSV to write")
    parser.add_argument("--members", type=int, nargs="+", default=(8, 16, 32, 64, 128))
    parser.add_argument("--size", type=int, default=256, help="points a side of the files with different members")
    parser.add_argument("--times", type=int, nargs="+", default=(6, 18))
    parser.add_argument("--shape", type=int, nargs=2, default=(32, 448), help="members and points a side of the others")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = _members(options) + _times(options)
    if options.output:
        write_csv(options.output, rows)


def _members(options: argparse.Namespace) -> list[dict]:
    rows = []
    for members in options.members:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "samples.nc"
            write_samples(path, 2, members, options.size, VARIABLES[:1])
            costs = [measured("ours", path) for _ in range(options.repeats)]
        typical = sorted(costs, key=lambda cost: cost.cpu_seconds)[len(costs) // 2]
        print(f"{members:4d} members {typical.cpu_seconds:7.3f} s of CPU", flush=True)
        shape = {"times": 2, "members": members, "size": options.size, "variables": 1}
        rows.append({"varied": "members", **shape, **asdict(typical)})
    grown = growth_rows([row["members"] for row in rows], [row["cpu_seconds"] for row in rows])
    return [row | more for row, more in zip(rows, grown, strict=True)]


def _times(options: argparse.Namespace) -> list[dict]:
    members, size = options.shape
    rows = []
    for times in options.times:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "samples.nc"
            write_samples(path, times, members, size)
            costs = [measured("ours", path) for _ in range(options.repeats)]
        typical = asdict(sorted(costs, key=lambda cost: cost.extra_mb)[len(costs) // 2])
        typical["extra_mb"] = statistics.median(cost.extra_mb for cost in costs)
        print(f"{times:4d} times +{typical['extra_mb']:5.0f} MB", flush=True)
        shape = {"times": times, "members": members, "size": size, "variables": len(VARIABLES)}
        rows.append({"varied": "times", **shape, **typical, "over_fit": "", "over_m_log_m": ""})
    return rows


if __name__ == "__main__":
    main()
