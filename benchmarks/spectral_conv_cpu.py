# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time the spectral convolution on one CPU thread against PhysicsNeMo's SpectralConv2d.

Every round runs all variants one after the other, so that a change of the machine's load meets all of them;
ratios are taken within a round. Correctness is checked before anything is timed.

Example: python benchmarks/spectral_conv_cpu.py --output spectral_conv_cpu.csv
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import torch
from physicsnemo.nn.module.spectral_layers import SpectralConv2d as PhysicsNeMoSpectralConv2d
from timing import summarise, time_rounds, write_csv

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
        for summary in summarise(time_rounds(run, variants, rounds, clear_gradients), BASELINE)
    ]


def print_row(row: dict) -> None:
    """Print one line of the table."""
    case = f"B{row['batch']} C{row['channels']} {row['size']}^2 m{row['modes']}"
    print(
        f"{case:>24} {row['pass']:>17} {row['variant']:>12} {row['median_ms']:10.2f} "
        f"{row['median_ratio']:6.2f} {row['p20_ratio']:6.2f} {row['p80_ratio']:6.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
