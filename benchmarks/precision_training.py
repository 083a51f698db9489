# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Train the demo's diffusion in float32 and in bfloat16 autocast, and compare the validation losses over seeds.

    python benchmarks/precision_training.py --seeds 0 1 2 --results benchmarks/results

All runs share one regression. A seed fixes initial weights, order, augmentation, training and validation noise, so that
both precisions of a seed differ in rounding only; the averaged network is validated in float32. Further arguments
override the demo's configuration (``train.dataset.train_trajectories=48``). Resumable: what is trained is reused.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import torch
from demo import demo_config
from timing import cpu_name, provenance, versions, write_rows

from physicsnemo_fs.config import StageHyperParameters, TrainConfig
from physicsnemo_fs.pipelines.train import train

FULL, HALF = "fp32", "amp-bf16"
DIFFERENCE = f"{HALF} - {FULL}"


def main() -> None:
    """Train what is missing, print and write the losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="at least two")
    parser.add_argument("--images", type=int, default=4800, help="training images of each diffusion")
    parser.add_argument("--regression-images", type=int, default=2400, help="training images of the regression")
    parser.add_argument("--output", type=Path, default=Path("outputs/precision"))
    parser.add_argument("--results", type=Path, default=Path("outputs/precision"), help="folder of the CSV file")
    arguments, overrides = parser.parse_known_args()
    if len(set(arguments.seeds)) < 2:
        parser.error(f"--seeds needs two different seeds for a spread: got {arguments.seeds}; add one")
    config = demo_config(overrides).train
    regression = train_regression(config, arguments.output / "regression", arguments.regression_images)
    losses = {
        (precision, seed): diffusion_loss(config, arguments.output, regression, precision, seed, arguments.images)
        for seed in arguments.seeds
        for precision in (FULL, HALF)
    }
    rows = [{"images": arguments.images, **row} for row in table(losses)]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()
    context = {"dataset": config.dataset.type, "device": device, **provenance(), **versions()}
    arguments.results.mkdir(parents=True, exist_ok=True)
    write_rows(arguments.results / f"precision_training_{context['date']}.csv", [row | context for row in rows])
    print("\n".join(f"{r['precision']:16} seed {r['seed']!s:4} {r['statistic']:16} {r['value']}" for r in rows))


def train_regression(config: TrainConfig, run_dir: Path, images: int) -> Path:
    """Train the mean that all runs share; give its checkpoint."""
    options = replace(config.training, regression_hp=with_images(config.training.regression_hp, images))
    options.io = replace(options.io, sample_pictures=False)
    trained = train(replace(config, run_dir=str(run_dir), stage="regression", training=options)).regression
    assert trained is not None  # noqa: S101 - this stage is trained
    return trained


def diffusion_loss(
    config: TrainConfig, output: Path, regression: Path, precision: str, seed: int, images: int
) -> float:
    """Train one diffusion; give its last validation loss."""
    run_dir = output / f"seed{seed}" / precision
    options = replace(config.training, diffusion_hp=with_images(config.training.diffusion_hp, images))
    options.perf = replace(options.perf, fp_optimizations=precision)
    options.io = replace(options.io, sample_pictures=False, regression_checkpoint_path=str(regression))
    train(replace(config, run_dir=str(run_dir), stage="diffusion", seed=seed, training=options))
    records = map(json.loads, (run_dir / "diffusion" / "log.jsonl").read_text().splitlines())
    return [record["validation_loss"] for record in records if "validation_loss" in record][-1]


def with_images(hp: StageHyperParameters, images: int) -> StageHyperParameters:
    """Give the hyperparameters with another duration."""
    return replace(hp, training_duration=images)


def table(losses: dict[tuple[str, int], float]) -> list[dict]:
    """Give the losses, the differences within each seed, and mean and standard deviation of each over the seeds.

    The last row is |mean difference| / standard deviation of the float32 losses: below one, bfloat16 is within the
    spread over seeds.

    Example:
        >>> losses = {("fp32", 0): 0.4, ("fp32", 1): 0.6, ("amp-bf16", 0): 0.41, ("amp-bf16", 1): 0.61}
        >>> [(row["seed"], row["value"]) for row in table(losses) if row["precision"] == "amp-bf16 - fp32"]
        [(0, 0.01), (1, 0.01), ('all', 0.01), ('all', 0.0), ('all', 0.070711)]
    """
    seeds = list(dict.fromkeys(seed for _, seed in losses))
    series = {name: [losses[name, seed] for seed in seeds] for name in (FULL, HALF)}
    series[DIFFERENCE] = [b - a for a, b in zip(series[FULL], series[HALF], strict=True)]
    rows = []
    for name, values in series.items():
        rows += [row(name, seed, "validation_loss", v) for seed, v in zip(seeds, values, strict=True)]
        rows.append(row(name, "all", "mean", statistics.mean(values)))
        rows.append(row(name, "all", "std", statistics.stdev(values)))
    spread = statistics.stdev(series[FULL])
    rows.append(row(DIFFERENCE, "all", "share of spread", abs(statistics.mean(series[DIFFERENCE])) / spread))
    return rows


def row(precision: str, seed: int | str, statistic: str, value: float) -> dict:
    """Make one row without its provenance.

    Example:
        >>> row("fp32", 0, "validation_loss", 0.41234567)
        {'precision': 'fp32', 'seed': 0, 'statistic': 'validation_loss', 'value': 0.412346}
    """
    return {"precision": precision, "seed": seed, "statistic": statistic, "value": round(value, 6)}


if __name__ == "__main__":
    main()
