# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Kolmogorov flow at Re 1000 on windows and whole, operator and CorrDiff's U-Net, at equal training time.

    OMP_NUM_THREADS=1 python benchmarks/patches.py --results benchmarks/results

16 x 16 cells to 128 x 128 points (``dataset=kolmogorov_re1000``). One whole-domain operator is the mean of all models;
each diffusion then trains for the same CPU seconds, as images at the speed that a short run of the same settings was
measured at, so that neither a resumed training nor a busy machine changes the budget. Every phase is a process of its
own, with its own peak memory. Resumable: what is trained, generated or timed is reused. Further arguments override the
training configuration (``dataset.train_trajectories=48``).
"""

import argparse
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from timing import cpu_name, provenance, versions, write_rows

from physicsnemo_fs.config import CorrDiffUNetConfig, FSUNOConfig, GenerateConfig, TrainConfig
from physicsnemo_fs.files import read_json, write_json
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.seams import seam_ratio
from physicsnemo_fs.nn.windows import WindowGrid
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.train import train

MODELS = ("operator, windows", "operator, whole", "U-Net, windows", "U-Net, whole")
METRICS = ("crps_fair", "spread_skill", "spectrum_error_mean")
WHOLE = MODELS[1]
TRIAL = 6
"""Steps that the speed is measured on, after the first two."""
CALIBRATION = 128
"""Samples that spectra and noise are measured on."""


def configured(arguments: argparse.Namespace, model: str, run_dir: Path) -> TrainConfig:
    """Give the training of a model."""
    with initialize_config_module("physicsnemo_fs.conf", version_base="1.3"):
        config: TrainConfig = OmegaConf.to_object(  # type: ignore[assignment]
            compose("config_train", overrides=["dataset=kolmogorov_re1000", *arguments.overrides])
        )
    backbone, where = model.split(", ")
    in_windows, patch = where == "windows", arguments.patch
    if backbone == "operator":
        finest = patch if in_windows else config.dataset.resolution or config.dataset.reference_resolution  # type: ignore[attr-defined]
        grids = [finest // 2**level for level in range(4)]
        config.model = FSUNOConfig(level_grid=grids, boundary="pad" if in_windows else "periodic")
    else:
        config.model = CorrDiffUNetConfig(
            model_channels=arguments.unet_channels, num_blocks=arguments.unet_blocks, positions=not in_windows
        )
    if in_windows:
        windows = {"patch_shape_x": patch, "patch_shape_y": patch, "patch_num": arguments.patch_num}
        config.training.hp = replace(config.training.hp, **windows)
    config.training.calibration_samples = CALIBRATION
    config.training.io = replace(config.training.io, sample_pictures=False, validation_samples=16)
    config.run_dir = str(run_dir)
    return config


def of_length(config: TrainConfig, stage: str, images: int) -> TrainConfig:
    """Give the training of one stage on some images, four checkpoints on its way."""
    own = replace(getattr(config.training, f"{stage}_hp"), training_duration=images)
    files = replace(config.training.io, validation_freq=images, save_checkpoint_freq=max(1, images // 4))
    training = replace(config.training, io=files)
    setattr(training, f"{stage}_hp", own)
    return replace(config, stage=stage, training=training)


def speed(arguments: argparse.Namespace, model: str, stage: str) -> dict:
    """Give the CPU time of an image in training, and the images of the budget."""
    config = configured(arguments, model, Path())
    if stage == "diffusion":
        config.training.io.regression_checkpoint_path = phase(arguments, "mean")["network"]
    batch, seconds = config.training.hp.total_batch_size, []
    for steps in (1, 2, 2 + TRIAL):  # the first one may simulate the data
        run_dir = folder(arguments, model) / f"trial {stage} {steps}"
        shutil.rmtree(run_dir, ignore_errors=True)  # a finished one would take no time
        start = time.process_time()
        train(of_length(replace(config, run_dir=str(run_dir)), stage, steps * batch))
        seconds.append(time.process_time() - start)
    each = (seconds[2] - seconds[1]) / (TRIAL * batch)
    minutes = arguments.mean_minutes if stage == "regression" else arguments.minutes
    return {"cpu_ms_an_image": round(1e3 * each, 1), "images": max(batch, int(60 * minutes / each) // batch * batch)}


def trained_mean(arguments: argparse.Namespace) -> dict:
    """Train the mean of all models; give its network."""
    images = phase(arguments, "speed", WHOLE, "regression")["images"]
    config = configured(arguments, WHOLE, arguments.output / "mean")
    return {"network": str(train(of_length(config, "regression", images)).regression)}


def trained(arguments: argparse.Namespace, model: str, seed: str) -> dict:
    """Train a diffusion; give its network and the peak of memory."""
    budget = phase(arguments, "speed", model, "diffusion")
    config = configured(arguments, model, folder(arguments, model) / f"seed{seed}")
    config.training.io.regression_checkpoint_path = phase(arguments, "mean")["network"]
    network = train(of_length(replace(config, seed=int(seed)), "diffusion", budget["images"])).diffusion
    return {"network": str(network), **budget, "training_peak_mib": peak()}


def sampled(arguments: argparse.Namespace, model: str, seed: str) -> dict:
    """Generate an ensemble from the start; give the seconds of a member and the peak of memory."""
    path = folder(arguments, model) / f"seed{seed}.nc"
    path.unlink(missing_ok=True)
    made = GenerateConfig(dataset=configured(arguments, model, Path()).dataset)
    made.generation = replace(
        made.generation, num_ensembles=arguments.members, max_times=arguments.fields, picture=False, replace=True
    )
    networks = (phase(arguments, "mean")["network"], phase(arguments, "train", model, seed)["network"])
    files = {"output_filename": str(path), "reg_ckpt_filename": networks[0], "res_ckpt_filename": networks[1]}
    made.generation.io = replace(made.generation.io, **files)
    made.sampler = replace(made.sampler, num_steps=arguments.steps)
    start = time.process_time()
    generate(made)
    with EnsembleFile(path) as file:
        count = len(file.times) * arguments.members
    return {"cpu_s_a_member": round((time.process_time() - start) / count, 3), "sampling_peak_mib": peak()}


def scored(arguments: argparse.Namespace, model: str, seed: str) -> dict:
    """Give scores of the ensemble, and its seam ratio over the truth's, whatever windows it was made of."""
    samples = folder(arguments, model) / f"seed{seed}.nc"
    result = score([samples], samples.with_suffix(""), quiet=True)
    with EnsembleFile(samples) as file:
        (variable,), times = file.fields("prediction"), range(len(file.times))
        members = np.concatenate([file.prediction(variable, t) for t in times])
        truth = np.stack([file.truth(variable, t) for t in times])
        side, quarter = (arguments.patch,) * 2, (arguments.patch // 4,) * 2
        windows = WindowGrid(truth.shape[-2:], side, quarter, boundary=file.grid.boundary)
    ratio = seam_ratio(members, windows) / seam_ratio(truth, windows)
    found = {name: round(result.row("ensemble", name, variable).value, 5) for name in METRICS}
    return {
        "fields": len(times),
        "members": arguments.members,
        "mae_of_the_mean": round(result.row("regression", "mae", variable).value, 5),
        **found,
        "seam_ratio": round(ratio, 4),
    }


def folder(arguments: argparse.Namespace, model: str) -> Path:
    """Give the folder of a model's files."""
    return arguments.output / model.replace(", ", "_").replace(" ", "_").lower()


def peak() -> int:
    """Give the largest memory of this process so far in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


PHASES: dict[str, Callable[..., dict]] = {
    "speed": speed,
    "mean": trained_mean,
    "train": trained,
    "sample": sampled,
    "score": scored,
}


def phase(arguments: argparse.Namespace, *what: str) -> dict:
    """Give what a phase found, in a process of its own unless it is there already."""
    record = arguments.output / "phases" / (" ".join(what).replace(", ", "_") + ".json")
    if not record.exists():
        command = [sys.executable, __file__, *arguments.given, "--phase", *what]
        subprocess.run(command, check=True)  # noqa: S603 - this very file
    return read_json(record)


def parsed(given: list[str]) -> argparse.Namespace:
    """Give the arguments, ``overrides`` of the training configuration among them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", default=["0", "1"])
    parser.add_argument("--minutes", type=float, default=8, help="training of each diffusion")
    parser.add_argument("--mean-minutes", type=float, default=2, help="training of the mean of all")
    parser.add_argument("--patch", type=int, default=64, help="side of a window")
    parser.add_argument("--patch-num", type=int, default=4, help="windows of an image in training")
    parser.add_argument("--unet-channels", type=int, default=16, help="base width of CorrDiff's U-Net")
    parser.add_argument("--unet-blocks", type=int, default=2, help="its blocks a level")
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--fields", type=int, default=32, help="test fields")
    parser.add_argument("--steps", type=int, default=6, help="steps of Heun")
    parser.add_argument("--output", type=Path, default=Path("outputs/patches"))
    parser.add_argument("--results", type=Path, default=Path("outputs/patches"), help="folder of the CSV file")
    parser.add_argument("--phase", nargs="+", help=argparse.SUPPRESS)
    arguments, arguments.overrides = parser.parse_known_args(given)
    arguments.given = given[: given.index("--phase")] if "--phase" in given else given
    return arguments


def main() -> None:
    """Make every row, the first seed of all models first, and the table after each."""
    arguments = parsed(sys.argv[1:])
    if arguments.phase:
        name, *what = arguments.phase
        record = arguments.output / "phases" / (" ".join(arguments.phase).replace(", ", "_") + ".json")
        record.parent.mkdir(parents=True, exist_ok=True)
        write_json(PHASES[name](arguments, *what), record)
        return
    rows: list[dict] = []
    context = {"device": cpu_name(), **provenance(), **versions()}
    for seed in arguments.seeds:
        for model in arguments.models:
            found = [phase(arguments, name, model, seed) for name in ("train", "sample", "score")]
            row = {"model": model, "seed": seed, **found[0], **found[1], **found[2]}
            del row["network"]
            print(*(f"{name}={value}" for name, value in row.items()), flush=True)
            rows.append(row | context)
            arguments.results.mkdir(parents=True, exist_ok=True)
            write_rows(arguments.results / f"patches_{context['date']}.csv", rows)


if __name__ == "__main__":
    main()
