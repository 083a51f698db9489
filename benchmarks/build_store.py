# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Building a store of radar rain rates on 2 processes against 1: paired rounds, the processes started before.

python benchmarks/build_store.py --data 'mrms/*.grib2' --output benchmarks/results/build_store_<date>.csv
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from timing import cpu_name, provenance, versions, write_rows

from physicsnemo_fs.config.build import BuildConfig, FineSourceConfig, RegionConfig
from physicsnemo_fs.data.builder.pieces import make_piece
from physicsnemo_fs.data.builder.run import build_store
from physicsnemo_fs.executors import open_executor
from physicsnemo_fs.pipelines.build import plan_of

REGIONS = (
    RegionConfig("south", [30.0, 38.0, -100.0, -84.0], "train"),
    RegionConfig("midwest", [40.0, 46.0, -96.0, -86.0], "validation"),
    RegionConfig("east", [36.0, 44.0, -83.0, -73.0], "test"),
)
RAIN = {"name": "rain_rate", "source": "unknown", "unit": "mm h-1", "long_name": "rain rate"}
TRANSFORM = {"kind": "log1p", "scale": 0.1, "minimum": 0}


def rain_config(data: str) -> BuildConfig:
    """Give the build of an 8 times coarser partner of MRMS rain rates, split by region."""
    fine = FineSourceConfig(data_path=data, variables=[RAIN], transforms={"rain_rate": TRANSFORM}, missing_value=-3.0)
    return BuildConfig(fine=fine, regions=list(REGIONS), lowres_scale_factor=8)


def warm(seconds: float) -> str:
    """Import what a worker needs, and stay busy so that the next call goes to another worker."""
    time.sleep(seconds)
    return make_piece.__module__


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="pattern of the GRIB files")
    parser.add_argument("--output", type=Path, required=True, help="the CSV to write")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    plan = plan_of(rain_config(arguments.data))
    folder = Path(tempfile.mkdtemp())
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with ExitStack() as stack:
        pools = {count: stack.enter_context(open_executor("processes", count)) for count in seconds}
        for count, pool in pools.items():
            for future in [pool.submit(warm, 2.0) for _ in range(count)]:
                future.result()
        for number in range(arguments.rounds + 1):
            for count, pool in pools.items():
                start = time.perf_counter()
                path = build_store(folder / "store.zarr", plan, pool, {})
                if number:
                    seconds[count].append(time.perf_counter() - start)
                shutil.rmtree(path)
    shutil.rmtree(folder)
    ratios = sorted(one / two for one, two in zip(seconds[1], seconds[2], strict=True))
    context = {**provenance(), "cpu": cpu_name(), "threads_a_process": 1, **versions()}
    rows = [
        {
            "processes": count,
            "median_s": round(statistics.median(values), 3),
            "least_s": round(min(values), 3),
            "greatest_s": round(max(values), 3),
            "median_ratio": round(statistics.median([seconds[1][i] / v for i, v in enumerate(values)]), 3),
            "load_average": round(os.getloadavg()[0], 2),
            "times": len(plan.times),
            "value_megabytes": round(plan.value_bytes() / 1e6, 1),
            "rounds": len(values),
            **context,
        }
        for count, values in seconds.items()
    ]
    write_rows(arguments.output, rows)
    print(f"1 process {rows[0]['median_s']} s, 2 processes {rows[1]['median_s']} s, ratios {ratios}")


if __name__ == "__main__":
    main()
