# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time what surrounds the backbone in a training step of the diffusion: would one kernel for it pay?

The step is the demo's: draw the noise, add it, scale and concatenate the backbone's input, combine its output, take
the loss, and all of that backward. "around the backbone" is the same step with a backbone that only multiplies its
first channel by a number.

Example: python benchmarks/preconditioning.py --output preconditioning.csv
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from timing import write_csv

from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO

CONDITIONS = 2


def make_step(denoiser: FSEDMPrecondSR, batch: int, size: int) -> dict[str, Callable[[], None]]:
    """Give the whole step and its draw of noise."""
    scheduler = FunctionSpaceScheduler(RandomField(Matern(0.5, 0.1)))
    residual, condition = torch.randn(batch, 1, size, size), torch.randn(batch, CONDITIONS, size, size)
    keys = list(range(batch))
    optimizer = torch.optim.AdamW(denoiser.parameters(), 1e-6)
    sigma = scheduler.sample_time(batch, keys=keys)
    drawn = scheduler.add_noise(torch.zeros_like(residual), torch.ones(batch), keys=keys)

    def draw() -> None:
        scheduler.add_noise(residual, sigma, keys=keys)

    def step() -> None:
        optimizer.zero_grad()
        noisy = residual + sigma.view(-1, 1, 1, 1) * drawn
        weight = scheduler.loss_weight(sigma).view(-1, 1, 1, 1)
        (weight * (denoiser(noisy, sigma, condition) - residual).square()).mean().backward()
        optimizer.step()

    return {"draw of the noise": draw, "step": step}


def only_scale(self, x, labels=None, encoded=None):
    """Stand in for a backbone."""
    return x[:, :1] * next(self.parameters()).flatten()[0]


def median_ms(run: Callable[[], None], rounds: int) -> float:
    """Give the median of the process's own time."""
    times = []
    for _ in range(rounds + 2):
        started = time.process_time()
        run()
        times.append(1e3 * (time.process_time() - started))
    return statistics.median(times[2:])


def rows(batch: int, size: int, rounds: int) -> list[dict]:
    """Give the times of one size."""
    torch.manual_seed(0)
    parts = make_step(FSEDMPrecondSR(FSUNO(1 + CONDITIONS, 1)), batch, size)
    times = {name: median_ms(run, rounds) for name, run in parts.items()}
    with patch.object(FSUNO, "forward", only_scale), patch.object(torch.optim.AdamW, "step", lambda self: None):
        times["around the backbone"] = median_ms(parts["step"], rounds)
    case = {"case": f"diffusion step, default FSUNO, B{batch} {size}^2"}
    return [
        case | {"part": name, "median_ms": round(ms, 3), "share": round(ms / times["step"], 4), "rounds": rounds}
        for name, ms in times.items()
    ]


def main() -> None:
    """Time both sizes, print and write the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = [row for batch, size in ((16, 64), (4, 128)) for row in rows(batch, size, arguments.rounds)]
    for row in found:
        print("  ".join(str(v) for v in row.values()))
    write_csv(arguments.output, found)


if __name__ == "__main__":
    main()
