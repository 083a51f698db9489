# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time what reading adds to a training step of the demo: read ahead, or when it is needed, against no reading.

The demo's regression step (64 x 64, batch 16, augmented, one CPU thread). "no reading" takes the same batches from a
list. Every timing opens the loader anew, so that its start is included and nothing is read before the clock runs.
``--clock cpu`` counts the processor time of all threads, which other programs do not disturb: on one core, what
reading costs.

Example: python benchmarks/loader_overhead.py --output loader_overhead.csv --data outputs/bench_data
"""

import argparse
import os
import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import torch
from timing import summarise, time_rounds, write_csv

from physicsnemo_fs.config import FSUNOConfig, HyperParameters, KolmogorovDatasetConfig
from physicsnemo_fs.data.loader import LoadedBatch, batches
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.sampler import EpochSampler
from physicsnemo_fs.data.schedule import TrainingSchedule
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import build_backbone, open_dataset
from physicsnemo_fs.pipelines.optimisation import MovingAverage, build_optimizer
from physicsnemo_fs.pipelines.stages import RegressionStage, first_guess, regression_channels
from physicsnemo_fs.random import derive_key

BASELINE = "no reading"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Steps:
    """Training steps of the demo's regression.

    Args:
        dataset: The training split.
        hp: Hyperparameters.
    """

    def __init__(self, dataset, hp: HyperParameters):
        self.network = FSRegressionSR(
            build_backbone(FSUNOConfig(), *regression_channels(dataset)), first_guess(dataset)
        )
        self.stage = RegressionStage(self.network, dataset)
        self.optimizer = build_optimizer(self.network, hp)
        self.average = MovingAverage(self.network, hp.ema_halflife)
        self.hp = hp

    def __call__(self, loaded: Iterable[LoadedBatch]) -> None:
        """Take a step with each batch."""
        for one in loaded:
            self.optimizer.zero_grad(set_to_none=True)
            self.stage.losses(self.network, one.batch, []).mean().backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.hp.grad_clip_threshold)
            self.optimizer.step()
            self.average.update(self.network, self.hp.total_batch_size)


def rows(data: Path, steps: int, rounds: int, workers: int, clock: str) -> list[dict]:
    """Time the variants, interleaved."""
    config = KolmogorovDatasetConfig(data_path=str(data), train_trajectories=8, validation_trajectories=1)
    dataset = open_dataset(config, Opening("train"))
    hp = HyperParameters(lr=1e-5)
    schedule = TrainingSchedule(EpochSampler(len(dataset), seed=0), 0, steps * hp.total_batch_size, hp.total_batch_size)

    def loading(prefetch: int):
        return batches(dataset, schedule, key=derive_key, prefetch=prefetch, workers=workers)

    with loading(0) as loaded:
        in_memory = list(loaded)
    variants = {
        BASELINE: lambda: nullcontext(in_memory),
        "prefetch=2": lambda: loading(2),
        "prefetch=0": lambda: loading(0),
    }
    take = Steps(dataset, hp)

    def run(variant) -> None:
        with variant() as loaded:
            take(loaded)

    times = time_rounds(run, variants, rounds, lambda: None, CLOCKS[clock])
    per_step = {name: [value / steps for value in values] for name, values in times.items()}
    case = {
        "case": f"demo regression step, FSUNO, B{hp.total_batch_size} 64^2",
        "clock": clock,
        "steps": steps,
        "workers": workers,
    }
    return [
        case | row | {"overhead": round(1 / row["median_ratio"] - 1, 4), "cores": len(os.sched_getaffinity(0))}
        for row in summarise(per_step, BASELINE)
    ]


def main() -> None:
    """Measure, print and write the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--data", type=Path, default=Path("outputs/bench_data"), help="folder of the simulated data")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = rows(arguments.data, arguments.steps, arguments.rounds, arguments.workers, arguments.clock)
    for row in found:
        print("  ".join(str(v) for v in row.values()))
    write_csv(arguments.output, found)


if __name__ == "__main__":
    main()
