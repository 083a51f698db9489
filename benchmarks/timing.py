# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Paired timing: every round runs all variants, ratios are taken within a round, rows say how they were measured."""

import csv
import datetime
import importlib.metadata
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def time_rounds(
    run: Callable,
    variants: dict[str, Callable],
    rounds: int,
    before: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Give the milliseconds of each variant in each round, after two rounds that are thrown away."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 2):
        for name, variant in variants.items():
            before()
            start = clock()
            run(variant)
            if number >= 2:
                times[name].append(1e3 * (clock() - start))
    return times


def summarise(times: dict[str, list[float]], baseline: str) -> list[dict]:
    """Give median times and the quantiles of the ratio baseline / variant within each round."""
    rows = []
    for name, values in times.items():
        ratios = [base / value for base, value in zip(times[baseline], values, strict=True)]
        low, *_, high = statistics.quantiles(ratios, n=5)
        rows.append(
            {
                "variant": name,
                "median_ms": round(statistics.median(values), 3),
                "median_ratio": round(statistics.median(ratios), 3),
                "p20_ratio": round(low, 3),
                "p80_ratio": round(high, 3),
                "rounds": len(values),
            }
        )
    return rows


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write the rows, each with where, when and how it was measured on the CPU."""
    context = provenance()
    context |= {"cpu": cpu_name(), "threads": torch.get_num_threads(), "dtype": "float32", **versions()}
    write_rows(path, [{**row, **context} for row in rows])


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write rows of the same columns."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def provenance() -> dict:
    """Give date and command."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
    }


def versions() -> dict:
    """Give the versions of Python and of the packages."""
    packages = ("torch", "nvidia-physicsnemo", "physicsnemo-fs")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def cpu_name() -> str:
    """Give the processor's name and number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    vectors = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    return f"{names[0]}, {len(names)} cores, {vectors}" if names else platform.processor() or platform.machine()
