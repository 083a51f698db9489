# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Kolmogorov flow on windows and whole, operator and CorrDiff's U-Net, at equal training time: scores, seams, cost.

    python benchmarks/patches.py --results benchmarks/results

Reynolds number 1000, 16 x 16 to 128 x 128 points. Every model trains for the same wall-clock time (its images are found
by timing a short run of the same settings), the mean is one whole-domain operator for all. Resumable: what is trained,
generated or timed is reused. Further arguments override the training configuration
(``dataset.train_trajectories=48``).
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from timing import cpu_name, provenance, versions, write_rows

from physicsnemo_fs.config import CorrDiffUNetConfig, FSUNOConfig, GenerateConfig, TrainConfig
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.seams import seam_ratio
from physicsnemo_fs.nn.windows import WindowGrid
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.score import ScoreResult, score
from physicsnemo_fs.pipelines.train import train

MODELS = ("operator, windows", "operator, whole", "U-Net, windows", "U-Net, whole")
METRICS = ("crps_fair", "spread_skill", "spectrum_error_mean")
TRIAL = 320
"""Images of the run that is timed."""
FLOW = [
    "dataset=kolmogorov_re200",
    "dataset.reynolds=1000",
    "dataset.reference_resolution=128",
    "dataset.lowres_scale_factor=8",
    "dataset.train_trajectories=128",
    "dataset.validation_trajectories=16",
    "dataset.test_trajectories=64",
]


def configured(arguments: argparse.Namespace, overrides: list[str], model: str, run_dir: Path) -> TrainConfig:
    """Give the training of a model."""
    with initialize_config_module("physicsnemo_fs.conf", version_base="1.3"):
        config: TrainConfig = OmegaConf.to_object(  # type: ignore[assignment]
            compose("config_train", overrides=[*FLOW, *overrides])
        )
    backbone, where = model.split(", ")
    in_windows = where == "windows"
    if backbone == "operator":
        own = {"level_grid": [arguments.patch, arguments.patch // 2, arguments.patch // 4, arguments.patch // 8]}
        config.model = FSUNOConfig(**own, boundary="pad" if in_windows else "periodic")
        if not in_windows:
            config.model = FSUNOConfig()
    else:
        config.model = CorrDiffUNetConfig(model_channels=arguments.unet_channels, positions=not in_windows)
    if in_windows:
        size = arguments.patch
        config.training.hp = replace(config.training.hp, patch_shape_x=size, patch_shape_y=size, patch_num=2)
    config.training.io.sample_pictures = False
    config.run_dir = str(run_dir)
    return config


def with_images(config: TrainConfig, images: int) -> TrainConfig:
    """Give the training with another number of images in its diffusion stage, checkpoints and validation at its end."""
    own = replace(config.training.diffusion_hp, training_duration=images)
    files = replace(config.training.io, validation_freq=images, save_checkpoint_freq=images)
    return replace(config, stage="diffusion", training=replace(config.training, diffusion_hp=own, io=files))


def trained_mean(arguments: argparse.Namespace, overrides: list[str]) -> Path:
    """Train the mean of all models; give its checkpoint."""
    config = configured(arguments, overrides, "operator, whole", arguments.output / "mean")
    own = replace(config.training.regression_hp, training_duration=arguments.mean_images)
    config = replace(config, stage="regression", training=replace(config.training, regression_hp=own))
    path = train(config).regression
    assert path is not None  # noqa: S101 - this stage is trained
    return path


def images_in(seconds: float, config: TrainConfig, folder: Path) -> int:
    """Give the images that a model trains on in some time, from a short run; remembered in ``images.json``."""
    mark = folder / "images.json"
    if not mark.exists():
        batch = config.training.hp.total_batch_size
        times = []
        for images in (batch, TRIAL):
            start = time.perf_counter()
            train(with_images(replace(config, run_dir=str(folder / f"trial_{images}")), images))
            times.append(time.perf_counter() - start)
        rate = (TRIAL - batch) / max(times[1] - times[0], 1e-3)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(max(batch, int(seconds * rate) // batch * batch)))
    return json.loads(mark.read_text())


def row_of(arguments: argparse.Namespace, overrides: list[str], model: str, seed: int, mean: Path) -> dict:
    """Train, generate and score a model; give its row."""
    folder = arguments.output / model.replace(", ", "_").replace(" ", "_").lower()
    config = configured(arguments, overrides, model, folder / f"seed{seed}")
    config.training.io.regression_checkpoint_path = str(mean)
    images = images_in(arguments.minutes * 60, replace(config, seed=0), folder)
    start = time.perf_counter()
    trained = train(with_images(replace(config, seed=seed), images)).diffusion
    training = time.perf_counter() - start
    samples = folder / f"seed{seed}.nc"
    made = GenerateConfig(dataset=config.dataset)
    made.generation = replace(
        made.generation, num_ensembles=arguments.members, max_times=arguments.fields, picture=False, seed_batch_size=8
    )
    made.generation.io = replace(
        made.generation.io,
        output_filename=str(samples),
        reg_ckpt_filename=str(mean),
        res_ckpt_filename=str(trained),
    )
    made.sampler = replace(made.sampler, num_steps=arguments.steps)
    start = time.perf_counter()
    generate(made)
    seconds = (time.perf_counter() - start) / (arguments.members * arguments.fields)
    result = score([samples], folder / f"scores{seed}", quiet=True)
    return {
        "model": model,
        "seed": seed,
        "training_images": images,
        "training_seconds": round(training),
        **numbers(result),
        "seam_ratio": seams(samples, arguments.patch),
        "seconds_a_member": round(seconds, 3),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def numbers(result: ScoreResult) -> dict:
    """Give CRPS, spread over skill and spectrum error of the ensemble."""
    variable = result.rows[0].variable
    return {name: round(result.row("ensemble", name, variable).value, 5) for name in METRICS}


def seams(path: Path, patch: int) -> float:
    """Give the seam ratio of the members, at the borders of windows of whatever model."""
    with EnsembleFile(path) as file:
        name = file.fields("prediction")[0]
        fields = np.concatenate([file.prediction(name, t) for t in range(len(file.times))])
        given = file.provenance.get("patches")
    shape = fields.shape[-2:]
    windows = WindowGrid.from_dict(given) if given else WindowGrid(shape, (patch, patch), (patch // 4,) * 2)
    return round(seam_ratio(fields.reshape(-1, *shape), windows), 4)


def main() -> None:
    """Make every row in a process of its own, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, default=10, help="training of each diffusion")
    parser.add_argument("--mean-images", type=int, default=4800, help="training images of the mean")
    parser.add_argument("--patch", type=int, default=64, help="side of a window")
    parser.add_argument("--unet-channels", type=int, default=32, help="base width of CorrDiff's U-Net")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--fields", type=int, default=32, help="test fields")
    parser.add_argument("--steps", type=int, default=8, help="steps of Heun")
    parser.add_argument("--output", type=Path, default=Path("outputs/patches"))
    parser.add_argument("--results", type=Path, default=Path("outputs/patches"), help="folder of the CSV file")
    parser.add_argument("--row", nargs=2, metavar=("MODEL", "SEED"), help=argparse.SUPPRESS)
    arguments, overrides = parser.parse_known_args()
    mean = trained_mean(arguments, overrides)
    if arguments.row:
        model, seed = arguments.row
        row = row_of(arguments, overrides, model, int(seed), mean)
        (arguments.output / f"{model} {seed}.json").write_text(json.dumps(row))
        return
    rows = []
    for seed in arguments.seeds:
        for model in arguments.models:
            found = arguments.output / f"{model} {seed}.json"
            if not found.exists():
                command = [sys.executable, *sys.argv, "--row", model, str(seed)]
                subprocess.run(command, check=True)  # noqa: S603 - this very file
            rows.append(json.loads(found.read_text()))
            print(*(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
    context = {"device": cpu_name(), **provenance(), **versions()}
    arguments.results.mkdir(parents=True, exist_ok=True)
    write_rows(arguments.results / f"patches_{context['date']}.csv", [row | context for row in rows])


if __name__ == "__main__":
    main()
