# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time the spectral convolution on one CPU thread against PhysicsNeMo's SpectralConv2d.

Every round runs all variants one after the other, so that a change of the machine's load meets all of them;
ratios are taken within a round. Correctness is checked before anything is timed.

Example: python benchmarks/spectral_conv_cpu.py --output spectral_conv_cpu.csv
"""

import argparse
import csv
import datetime
import importlib.metadata
import itertools
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from physicsnemo.nn.module.spectral_layers import SpectralConv2d as PhysicsNeMoSpectralConv2d

from physicsnemo_fs.kernels import spectral_conv2d
from physicsnemo_fs.nn.spectral import SpectralConv2d
from physicsnemo_fs.testing import assert_close

BASELINE = "physicsnemo"
BACKENDS = ("partial_dft", "pruned_fft")


def main() -> None:
    """Run every case, print a table and write the CSV file."""
    args = parse_arguments()
    torch.set_num_threads(1)
    rows = []
    print(f"{'case':>24} {'pass':>17} {'variant':>12} {'median ms':>10} {'ratio':>6} {'p20':>6} {'p80':>6}")
    for channels, size, modes in itertools.product(args.channels, args.sizes, args.modes):
        if 2 * modes > size:
            continue
        for row in run_case(args.batch, channels, size, modes, args.rounds):
            rows.append(row)
            print_row(row)
    write_csv(args.output, rows)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--channels", type=int, nargs="+", default=[64])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="grid points along a side")
    parser.add_argument("--modes", type=int, nargs="+", default=[16, 32], help="both mode counts of the layer")
    parser.add_argument("--rounds", type=int, default=21)
    return parser.parse_args()


def run_case(batch: int, channels: int, size: int, modes: int, rounds: int) -> list[dict]:
    """Give one row per pass and variant."""
    torch.manual_seed(0)
    baseline = PhysicsNeMoSpectralConv2d(channels, channels, modes, modes)
    layer = SpectralConv2d(channels, channels, modes, modes)
    layer.load_state_dict(baseline.state_dict())
    x = torch.randn(batch, channels, size, size, requires_grad=True)
    cotangent = torch.randn_like(x)

    variants: dict[str, Callable[[], torch.Tensor]] = {BASELINE: lambda: baseline(x)}
    for backend in BACKENDS:
        variants[backend] = lambda backend=backend: spectral_conv2d(x, layer.weight, (modes, modes), backend=backend)
    for backend in BACKENDS:
        assert_close(variants[backend](), variants[BASELINE](), 1e-5)

    def forward(variant):
        with torch.no_grad():
            variant()

    def forward_backward(variant):
        variant().backward(cotangent)

    def clear_gradients():
        for tensor in (x, *baseline.parameters(), *layer.parameters()):
            tensor.grad = None

    case = {"batch": batch, "channels": channels, "size": size, "modes": modes}
    passes = {"forward": forward, "forward+backward": forward_backward}
    return [
        {**case, "pass": name, **summary}
        for name, run in passes.items()
        for summary in summarise(time_rounds(run, variants, rounds, clear_gradients))
    ]


def time_rounds(
    run: Callable, variants: dict[str, Callable], rounds: int, before: Callable[[], None]
) -> dict[str, list[float]]:
    """Give the milliseconds of each variant in each round, after two rounds that are thrown away."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 2):
        for name, variant in variants.items():
            before()
            start = time.perf_counter()
            run(variant)
            if number >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def summarise(times: dict[str, list[float]]) -> list[dict]:
    """Give median times and the quantiles of the ratio baseline / variant within each round."""
    rows = []
    for name, values in times.items():
        ratios = [base / value for base, value in zip(times[BASELINE], values, strict=True)]
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


def print_row(row: dict) -> None:
    """Print one line of the table."""
    case = f"B{row['batch']} C{row['channels']} {row['size']}^2 m{row['modes']}"
    print(
        f"{case:>24} {row['pass']:>17} {row['variant']:>12} {row['median_ms']:10.2f} "
        f"{row['median_ratio']:6.2f} {row['p20_ratio']:6.2f} {row['p80_ratio']:6.2f}",
        flush=True,
    )


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write the rows, each with where, when and how it was measured."""
    context = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": shlex.join(["python", "benchmarks/spectral_conv_cpu.py", *sys.argv[1:]]),
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "dtype": "float32",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "nvidia-physicsnemo", "physicsnemo-fs")},
    }
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *context])
        writer.writeheader()
        writer.writerows({**row, **context} for row in rows)


def cpu_name() -> str:
    """Give the processor's name and number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    vectors = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    return f"{names[0]}, {len(names)} cores, {vectors}" if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
