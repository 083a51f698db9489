# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time a training step of the pure spectral FSUNO against a copy built on PhysicsNeMo's SpectralConv2d.

Batch 4, 128 x 128, one CPU thread, both in one process, interleaved. Also gives where the default model's forward
pass spends its time.

Example: python benchmarks/fsuno_training_step.py --output fsuno_training_step.csv
"""

import argparse
import copy
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch
from physicsnemo.nn.module.spectral_layers import SpectralConv2d as PhysicsNeMoSpectralConv2d
from timing import summarise, time_rounds, write_csv

from physicsnemo_fs.models import fsuno
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.nn import unet
from physicsnemo_fs.nn.blocks import PeriodicConv2d
from physicsnemo_fs.nn.spectral import SpectralConv2d
from physicsnemo_fs.testing import assert_close

BASELINE = "physicsnemo"


class PhysicsNeMoLayer(PhysicsNeMoSpectralConv2d):
    """PhysicsNeMo's layer, called as a block here calls its spectral branch."""

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Convolve and add ``skip``."""
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


def training_step_rows(batch: int, size: int, channels: int, modes: list[int], rounds: int) -> list[dict]:
    """Time forward, backward and an AdamW step of both networks."""
    torch.manual_seed(0)
    options = {"model_channels": channels, "channel_mult": [1] * len(modes), "level_grid": None, "local_kernel": 1}
    ours = FSUNO(3, 1, n_modes=modes, **options)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    networks = {BASELINE: with_physicsnemo_layers(ours), "physicsnemo_fs": ours}
    optimizers = {name: torch.optim.AdamW(n.parameters(), 1e-6) for name, n in networks.items()}
    x, label = torch.randn(batch, 3, size, size), torch.zeros(batch)
    with torch.no_grad():
        assert_close(ours(x, label), networks[BASELINE](x, label), 1e-4)

    def step(name: str) -> None:
        optimizers[name].zero_grad()
        networks[name](x, label).square().mean().backward()
        optimizers[name].step()

    times = time_rounds(step, {name: name for name in networks}, rounds, lambda: None)
    case = {"case": f"training step, spectral FSUNO, B{batch} {size}^2 C{channels} modes {modes}"}
    return [case | row for row in summarise(times, BASELINE)]


def share_rows(batch: int, size: int, rounds: int) -> list[dict]:
    """Give the shares of resampling, local and spectral work in the default model's forward pass."""
    torch.manual_seed(0)
    network, x, label = FSUNO(3, 1).eval(), torch.randn(batch, 3, size, size), torch.zeros(batch)
    seconds: dict[str, float] = defaultdict(float)

    def timed(name, function):
        def run(*args, **kwargs):
            started = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[name] += time.perf_counter() - started
            return result

        return run

    with torch.no_grad(), ExitStack() as stack:
        network(x, label)
        for target, attribute, name in (
            (fsuno, "fourier_resample", "resampling"),
            (unet, "pool", "resampling"),
            (unet, "repeat", "resampling"),
            (SpectralConv2d, "forward", "spectral"),
            (PeriodicConv2d, "forward", "local"),
        ):
            stack.enter_context(patch.object(target, attribute, timed(name, getattr(target, attribute))))
        network.stack.down_map, network.stack.up_map = unet.pool, unet.repeat
        started = time.perf_counter()
        for _ in range(rounds):
            network(x, label)
        total = time.perf_counter() - started
    seconds["norms, activations, skips"] = total - sum(seconds.values())
    case = {"case": f"share of the forward pass, default FSUNO, B{batch} {size}^2"}
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
    for channels, modes in ((24, [24, 12, 6]), (32, [32, 16, 8]), (64, [32, 16, 8])):
        rows += training_step_rows(4, 128, channels, modes, arguments.rounds)
    rows += share_rows(16, 64, arguments.rounds) + share_rows(4, 128, arguments.rounds)
    for row in rows:
        print("  ".join(str(v) for v in row.values()))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(arguments.output, [{c: row.get(c, "") for c in columns} for row in rows])


if __name__ == "__main__":
    main()
