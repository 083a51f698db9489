# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time the spectral convolution on one CPU thread against PhysicsNeMo's and neuraloperator's layers.

Every round runs all variants one after the other, so that a change of the machine's load meets all of them;
ratios are taken within a round. Correctness is checked before anything is timed.

Example: python benchmarks/spectral_conv_cpu.py --output spectral_conv_cpu.csv
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import torch
from neuralop.layers.spectral_convolution import SpectralConv as NeuralOperatorSpectralConv
from physicsnemo.nn.module.spectral_layers import SpectralConv2d as PhysicsNeMoSpectralConv2d
from timing import summarise, time_rounds, write_csv

from physicsnemo_fs.kernels import spectral_conv2d
from physicsnemo_fs.nn.spectral import SpectralConv2d, to_neuraloperator
from physicsnemo_fs.testing import assert_close

BASELINES = ("physicsnemo", "neuraloperator")
BACKENDS = ("partial_dft", "pruned_fft")


def main() -> None:
    """Run every case, print a table and write the CSV file."""
    args = parse_arguments()
    torch.set_num_threads(1)
    rows = []
    print(f"{'case':>24} {'pass':>17} {'variant':>15} {'median ms':>10} {'ratio to':>15} {'':>6} {'p20':>6} {'p80':>6}")
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
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256], help="grid points along a side")
    parser.add_argument("--modes", type=int, nargs="+", default=[16, 32], help="both mode counts of the layer")
    parser.add_argument("--rounds", type=int, default=21)
    return parser.parse_args()


def run_case(batch: int, channels: int, size: int, modes: int, repeats: int) -> list[dict]:
    """Give one row per pass, baseline and variant."""
    torch.manual_seed(0)
    physicsnemo = PhysicsNeMoSpectralConv2d(channels, channels, modes, modes)
    layer = SpectralConv2d(channels, channels, modes, modes)
    layer.load_state_dict(physicsnemo.state_dict())
    neuraloperator = NeuralOperatorSpectralConv(channels, channels, (2 * modes, 2 * (modes - 1)), bias=False)
    with torch.no_grad():
        neuraloperator.weight.tensor.copy_(to_neuraloperator(layer.weights1, layer.weights2))
    x = torch.randn(batch, channels, size, size, requires_grad=True)
    cotangent = torch.randn_like(x)

    variants: dict[str, Callable[[], torch.Tensor]] = {
        "physicsnemo": lambda: physicsnemo(x),
        "neuraloperator": lambda: neuraloperator(x),
        "physicsnemo_fs": lambda: layer(x),
    }
    for backend in BACKENDS:
        variants[backend] = lambda backend=backend: spectral_conv2d(x, layer.weight, (modes, modes), backend=backend)
    for name in variants:
        assert_close(variants[name](), variants["physicsnemo"](), 1e-5)

    def forward(variant):
        with torch.no_grad():
            variant()

    def forward_backward(variant):
        variant().backward(cotangent)

    def clear_gradients():
        for tensor in (x, *physicsnemo.parameters(), *neuraloperator.parameters(), *layer.parameters()):
            tensor.grad = None

    case = {"batch": batch, "channels": channels, "size": size, "modes": modes}
    passes = {"forward": forward, "forward+backward": forward_backward}
    rows = []
    for name, run in passes.items():
        times = time_rounds(run, variants, repeats, clear_gradients)
        for baseline in BASELINES:
            summaries = summarise(times, baseline)
            rows += [{**case, "pass": name, "baseline": baseline, **s} for s in summaries if s["variant"] != baseline]
    return rows


def print_row(row: dict) -> None:
    """Print one line of the table."""
    case = f"B{row['batch']} C{row['channels']} {row['size']}^2 m{row['modes']}"
    print(
        f"{case:>24} {row['pass']:>17} {row['variant']:>15} {row['median_ms']:10.2f} "
        f"{row['baseline']:>15} {row['median_ratio']:6.2f} {row['p20_ratio']:6.2f} {row['p80_ratio']:6.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
