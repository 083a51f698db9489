# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time a training step of FSUNO against a copy built on PhysicsNeMo's SpectralConv2d.

The pure spectral FSUNO of three widths and the default one, on one CPU thread, both networks in one process,
interleaved, by the process's own clock. Also gives where a training step of the default model spends its time.

Example: python benchmarks/fsuno_training_step.py --output fsuno_training_step.csv
"""

import argparse
import copy
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch
from physicsnemo.nn.module.spectral_layers import SpectralConv2d as PhysicsNeMoSpectralConv2d
from timing import summarise, time_rounds, write_csv

from physicsnemo_fs.config import HyperParameters
from physicsnemo_fs.kernels import pointwise_map
from physicsnemo_fs.models import fsuno
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.nn import blocks, unet
from physicsnemo_fs.nn.blocks import PeriodicConv2d
from physicsnemo_fs.nn.spectral import SpectralConv2d
from physicsnemo_fs.pipelines.optimisation import build_optimizer
from physicsnemo_fs.testing import assert_close

BASELINE = "physicsnemo"


class PhysicsNeMoLayer(PhysicsNeMoSpectralConv2d):
    """PhysicsNeMo's layer, called as a block here calls its spectral branch."""

    def forward(
        self, x: torch.Tensor, skip: torch.Tensor | None = None, pointwise: torch.nn.Conv2d | None = None
    ) -> torch.Tensor:
        """Convolve and add ``skip``, or the pointwise map of ``x``."""
        if skip is None:
            skip = pointwise_map(x, pointwise.weight.flatten(1), pointwise.bias)
        return super().forward(x) + skip


def with_physicsnemo_layers(network: FSUNO) -> FSUNO:
    """Give a copy whose spectral convolutions are PhysicsNeMo's, with the same weights."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, SpectralConv2d):
                modes = layer.modes1, layer.modes2
                other = PhysicsNeMoLayer(layer.in_channels, layer.out_channels, *modes)
                other.load_state_dict(layer.state_dict())
                setattr(module, name, other)
    return network


def training_step_rows(name: str, ours: FSUNO, batch: int, size: int, rounds: int) -> list[dict]:
    """Time forward, backward and a step of the trainer's AdamW of both networks."""
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    networks = {BASELINE: with_physicsnemo_layers(ours), "physicsnemo_fs": ours}
    optimizers = {name: build_optimizer(n, HyperParameters(optimizer="adamw")) for name, n in networks.items()}
    x, label = torch.randn(batch, 3, size, size), torch.zeros(batch)
    with torch.no_grad():
        assert_close(ours(x, label), networks[BASELINE](x, label), 1e-4)

    def step(name: str) -> None:
        optimizers[name].zero_grad()
        networks[name](x, label).square().mean().backward()
        optimizers[name].step()

    times = time_rounds(step, {name: name for name in networks}, rounds, lambda: None, time.process_time)
    case = {"case": f"training step, {name}, B{batch} {size}^2"}
    return [case | row for row in summarise(times, BASELINE)]


def spectral_fsuno(channels: int, modes: list[int]) -> FSUNO:
    """Give the operator without local stencils."""
    options = {"model_channels": channels, "channel_mult": [1] * len(modes), "level_grid": None, "local_kernel": 1}
    return FSUNO(3, 1, n_modes=modes, **options)


class Shares:
    """Seconds of named functions, forward and backward.

    The backward of a call begins with the gradient of its result and ends with that of its first argument.
    """

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)
        self.started = 0.0

    def timed(self, name: str, function: Callable) -> Callable:
        """Give a function that does the same and is timed."""

        def run(*args, **kwargs):
            place = next(i for i, a in enumerate(args) if isinstance(a, torch.Tensor))
            if args[place].requires_grad:
                args = list(args)
                args[place] = args[place].view_as(args[place])
                args[place].register_hook(lambda _: self._end(name))
            self._begin()
            result = function(*args, **kwargs)
            self._end(name)
            if args[place].requires_grad:
                result.register_hook(lambda _: self._begin())
            return result

        return run

    def _begin(self) -> None:
        self.started = time.process_time()

    def _end(self, name: str) -> None:
        self.seconds[name] += time.process_time() - self.started


def share_rows(batch: int, size: int, rounds: int) -> list[dict]:
    """Give the shares of resampling, local and spectral work in a training step of the default model."""
    torch.manual_seed(0)
    network, x, label, shares = FSUNO(3, 1), torch.randn(batch, 3, size, size), torch.zeros(batch), Shares()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    optimizer = build_optimizer(network, HyperParameters(optimizer="adamw"))

    def step() -> None:
        optimizer.zero_grad()
        network(x, label).square().mean().backward()
        optimizer.step()

    with ExitStack() as stack:
        step()
        for target, attribute, name in (
            (fsuno, "fourier_resample", "resampling"),
            (unet, "pool", "resampling"),
            (unet, "repeat", "resampling"),
            (SpectralConv2d, "forward", "spectral"),
            (PeriodicConv2d, "forward", "local"),
            (blocks, "norm_film_activation", "norms and activations"),
            (unet, "norm_film_activation", "norms and activations"),
        ):
            stack.enter_context(patch.object(target, attribute, shares.timed(name, getattr(target, attribute))))
        network.stack.down_map, network.stack.up_map = unet.pool, unet.repeat
        started = time.process_time()
        for _ in range(rounds):
            step()
        total = time.process_time() - started
    seconds = shares.seconds | {"optimiser, embedding, sums": total - sum(shares.seconds.values())}
    case = {"case": f"share of a training step, default FSUNO, B{batch} {size}^2"}
    return [
        case | {"variant": n, "median_ms": round(1e3 * s / rounds, 3), "share": round(s / total, 3)}
        for n, s in seconds.items()
    ]


def main() -> None:
    """Run both parts, print and write the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for size in (128, 64):
        for channels, modes in ((24, [24, 12, 6]), (32, [32, 16, 8]), (64, [32, 16, 8])):
            torch.manual_seed(0)
            name = f"spectral FSUNO, C{channels} modes {modes}"
            rows += training_step_rows(name, spectral_fsuno(channels, modes), 4, size, arguments.rounds)
    for batch, size in ((4, 128), (16, 64)):
        torch.manual_seed(0)
        rows += training_step_rows("default FSUNO", FSUNO(3, 1), batch, size, arguments.rounds)
        rows += share_rows(batch, size, arguments.rounds)
    for row in rows:
        print("  ".join(str(v) for v in row.values()))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(arguments.output, [{c: row.get(c, "") for c in columns} for row in rows])


if __name__ == "__main__":
    main()
