# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The demo with several seeds beside a plain U-Net with white noise of equal parameters and steps.

    python benchmarks/demo.py --seeds 0 1 2 --output outputs/bench --results benchmarks/results

The recipe is the demo's, but for the diffusion's images: the demo's must fit into a quarter of an hour. Resumable:
what is trained, generated and scored is reused. For each seed the U-Net learns the residual of the same regression
twice: of the mean as it is, and of the shrunk mean, which is held to the input's averages too. The samples of the
second are also scored after they are held to these averages themselves: what that alone gives a U-Net. One CSV a
seed, and one of CRPS ratios over all of them.
"""

import argparse
import os
import platform
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from timing import write_rows

from physicsnemo_fs.config import (
    ConvUNetConfig,
    DemoConfig,
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    ModelConfig,
    TrainConfig,
)
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.bootstrap import Resampling, bootstrap_ratio
from physicsnemo_fs.metrics.crps import crps_fair
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import build_backbone
from physicsnemo_fs.pipelines.checkpoints import load_network, newest, save_network
from physicsnemo_fs.pipelines.demo import compare_resolutions
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.score import ScoreResult, score
from physicsnemo_fs.pipelines.train import train

DIFFUSION_IMAGES = 36000
TIMES_ON_BOTH_GRIDS = 16
HELD = "unet shrunk mean, held"
METRICS = ("crps_fair", "mae", "rmse", "relative_l2", "spread_skill", "spectrum_error_mean", "spectrum_error_max")
COLUMNS = (
    "setting", "seed", "model", "metric", "value", "ci_lo", "ci_hi", "n_times", "n_members", "parameters",
    "date", "machine", "versions", "command",
)  # fmt: skip


def demo_config(overrides: list[str]) -> DemoConfig:
    """Compose the demo's configuration, with the benchmark's images and what is asked for instead."""
    images = f"train.training.diffusion_hp.training_duration={DIFFUSION_IMAGES}"
    with initialize_config_module("physicsnemo_fs.conf", version_base="1.3"):
        return OmegaConf.to_object(compose("config_demo", overrides=[images, *overrides]))  # type: ignore[return-value]


def matching_unet(parameters: int, in_channels: int, like: ModelConfig) -> ConvUNetConfig:
    """Give the U-Net whose deepest level is as wide as equal parameters allow."""

    def config(deepest: int) -> ConvUNetConfig:
        return ConvUNetConfig(model_channels=like.model_channels, channel_mult=[*like.channel_mult[:-1], deepest])

    def count(deepest: int) -> int:
        return sum(p.numel() for p in build_backbone(config(deepest), in_channels, 1).parameters())

    return config(min(range(1, 40), key=lambda d: abs(count(d) - parameters)))


def plain(path: Path, target: Path) -> Path:
    """Write the regression as it was trained: not shrunk, not held to averages."""
    if not target.exists():
        network = load_network(path, FSRegressionSR)
        network.set_gain(torch.ones_like(network.gain))
        if network.conservation is not None:
            network.conservation.release()
        save_network(network, target)
    return target


def ensemble(
    config: DemoConfig,
    training: TrainConfig,
    regression: Path,
    path: Path,
    resolution: int,
    mode: str = "all",
    max_times: int | None = None,
) -> Path:
    """Generate one file, or keep the one that the same configuration made."""
    diffusion = newest(Path(training.run_dir) / "diffusion", "FSEDMPrecondSR.0.*.mdlus")
    io = GenerationIOConfig(
        reg_ckpt_filename=str(regression),
        res_ckpt_filename=str(diffusion) if mode == "all" else None,
        output_filename=str(path),
    )
    generation = GenerationConfig(
        num_ensembles=config.num_ensembles,
        seed_batch_size=config.seed_batch_size,
        resolution=resolution,
        inference_mode=mode,
        max_times=max_times,
        replace=True,
        io=io,
    )
    return generate(
        GenerateConfig(
            run_dir=training.run_dir, dataset=training.dataset, generation=generation, sampler=config.sampler
        )
    )


def parameters(path: Path | None, kind: type) -> int:
    """Count a checkpoint's parameters."""
    return 0 if path is None else sum(p.numel() for p in load_network(path, kind).parameters())


def on_both_grids(
    config: DemoConfig, training: TrainConfig, mean: Path, prefix: Path, seed: int, name: str
) -> list[dict]:
    """Compare the same seeds on the training grid and on the finer one, over some of the fields.

    Scores on both need a truth on both: a store of few modes has none on the finer one.
    """
    grids = (training.dataset.resolution or training.dataset.reference_resolution, config.fine_resolution)
    paths = [prefix.with_name(f"{prefix.name}_{n}_of_both.nc") for n in grids]
    for path, resolution in zip(paths, grids, strict=True):
        ensemble(config, training, mean, path, resolution, max_times=TIMES_ON_BOTH_GRIDS)
    found = compare_resolutions(*paths)
    figures = {"consistency_field": found.field, "consistency_residual": found.residual}
    if all(holds_truth(path) for path in paths):
        folders = [prefix.parent / f"scores_{path.stem}" for path in paths]
        results = [score([p], f, kmax=config.kmax, quiet=True) for p, f in zip(paths, folders, strict=True)]
        coarse, fine = (value(result, "crps_fair") for result in results)
        figures[f"crps_fair at {grids[1]} / at {grids[0]}"] = fine / coarse
    return [
        row(seed, name, metric, number, times=TIMES_ON_BOTH_GRIDS, members=config.num_ensembles)
        for metric, number in figures.items()
    ]


def holds_truth(path: Path) -> bool:
    """Tell whether a file has what it can be scored against."""
    with EnsembleFile(path) as file:
        return file.has_truth


def run_seed(config: DemoConfig, seed: int, output: Path) -> list[dict]:
    """Train, generate and score every model of one seed; give the CSV rows."""
    base = replace(config.train, seed=seed)
    resolution = base.dataset.resolution or base.dataset.reference_resolution
    ours = replace(base, run_dir=str(output / "operator"))
    trained = train(ours)
    assert trained.regression is not None  # noqa: S101 - stage=all trains both
    size = parameters(trained.diffusion, FSEDMPrecondSR)
    conditions = load_network(trained.diffusion, FSEDMPrecondSR).img_in_channels + 1
    unet = matching_unet(size, conditions, config.train.model)
    plain_mean = plain(trained.regression, output / "FSRegressionSR_plain.0.0.mdlus")
    runs = {"operator": (ours, trained.regression)}
    for name, mean in {"unet": plain_mean, "unet shrunk mean": trained.regression}.items():
        training = replace(base, model=unet, stage="diffusion", run_dir=str(output / name.replace(" ", "_")))
        training.noise = replace(base.noise, kernel="white")
        io = replace(base.training.io, regression_checkpoint_path=str(mean))
        training.training = replace(base.training, io=io, conserve=False)
        train(training)
        runs[name] = (training, mean)
    rows = []
    files: dict[str, Path] = {}
    for name, (training, mean) in runs.items():
        files[name] = ensemble(config, training, mean, output / f"{stem_of(name, resolution)}.nc", resolution)
        rows += on_both_grids(config, training, mean, output / name.replace(" ", "_"), seed, name)
    dressed = output / f"{stem_of('dressed', resolution)}.nc"
    files["dressed"] = ensemble(config, ours, trained.regression, dressed, resolution, "dressed")
    for name, path in files.items():
        pair = [path] if name == "operator" else [path, files["operator"]]
        result = score(pair, output / f"scores_{path.stem}", kmax=config.kmax, quiet=True)
        model = result.rows[0].model
        count = (
            parameters(newest(Path(runs[name][0].run_dir) / "diffusion", "*.mdlus"), FSEDMPrecondSR)
            if name in runs
            else 0
        )
        for r in result.rows:
            if r.model == model and r.metric in METRICS:
                rows.append(row(seed, name, r.metric, r.value, r.ci_lo, r.ci_hi, r.n_times, r.n_members, count))
            if name == "operator" and r.model in ("regression", "interpolation") and r.metric in METRICS:
                rows.append(row(seed, r.model, r.metric, r.value, r.ci_lo, r.ci_hi, r.n_times, r.n_members, size))
            if r.metric == "crps_ratio" and (name == "operator") == (r.model in ("regression", "interpolation")):
                compared = r.model if name == "operator" else "operator"
                metric = f"crps of {compared} / {name}, paired"
                rows.append(row(seed, compared, metric, r.value, r.ci_lo, r.ci_hi, r.n_times, r.n_members))
    held = held_crps(output, resolution)
    rows.append(row(seed, HELD, "crps_fair", float(held.mean()), times=len(held), members=config.num_ensembles))
    return rows


def held_crps(folder: Path, resolution: int) -> np.ndarray:
    """Give the fair CRPS of each field for the U-Net's samples moved to the averages that the shrunk mean has."""
    mean = load_network(newest(folder / "operator" / "regression", "FSRegressionSR.0.*.mdlus"), FSRegressionSR)
    scores = []
    with EnsembleFile(folder / f"{stem_of('unet shrunk mean', resolution)}.nc") as file:
        for time in range(len(file.times)):
            truth, about = file.truth("vorticity", time), file.regression("vorticity", time)
            residual = torch.from_numpy(file.prediction("vorticity", time) - about)[:, None]
            held = residual if mean.conservation is None else mean.conservation(residual)
            scores.append(crps_fair(held[:, 0].numpy() + about, truth).mean())
    return np.array(scores)


def stem_of(name: str, resolution: int) -> str:
    """Give the name of a model's samples file, without its suffix."""
    return "dressed" if name == "dressed" else f"{name.replace(' ', '_')}_{resolution}"


def over_seeds(folders: list[Path], resolution: int, frames: int) -> list[dict]:
    """Give the operator's CRPS over that of each other model, means over the seeds, trajectories resampled in pairs.

    The test fields are the same for all seeds, ``frames`` of each trajectory, one trajectory after the other.
    """
    own = np.mean(
        [crps_of_fields(f / f"scores_{stem_of('operator', resolution)}", "ensemble") for f in folders], axis=0
    )
    others = {}
    for name in ("unet", "unet shrunk mean", "dressed"):
        stem = stem_of(name, resolution)
        model = "dressed regression" if name == "dressed" else f"ensemble ({stem})"
        others[name] = np.mean([crps_of_fields(f / f"scores_{stem}", model) for f in folders], axis=0)
    others[HELD] = np.mean([held_crps(f, resolution) for f in folders], axis=0)
    rows = []
    for name, other in others.items():
        found = bootstrap_ratio(own, other, Resampling(np.arange(len(own)) // frames))
        metric = f"crps of operator / {name}, paired"
        rows.append(row("all", "operator", metric, found.estimate, found.low, found.high, len(own)))
    return rows


def crps_of_fields(folder: Path, model: str) -> np.ndarray:
    """Give the fair CRPS of each test field."""
    with xr.open_dataset(folder / "scores.nc", group=f"models/{model}") as scores:
        (variable,) = [name for name, values in scores.items() if values.dims == ("metric", "time")]
        return scores[variable].sel(metric="crps_fair").values


def value(result: ScoreResult, metric: str) -> float:
    """Give a metric of the first model."""
    return result.row(result.rows[0].model, metric, result.rows[0].variable).value


def row(
    seed: int | str, model: str, metric: str, value: float, lo=np.nan, hi=np.nan, times=0, members=0, size=0
) -> dict:
    """Make one CSV row without its provenance."""
    return {
        "seed": seed, "model": model, "metric": metric, "value": f"{value:.6g}", "ci_lo": f"{lo:.6g}",
        "ci_hi": f"{hi:.6g}", "n_times": times, "n_members": members, "parameters": size,
    }  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--setting", default="kolmogorov", help="dataset configuration")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--results", type=Path, default=Path("outputs/bench/results"))
    arguments, overrides = parser.parse_known_args()
    config = demo_config([f"dataset@train.dataset={arguments.setting}", *overrides])
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    provenance = {
        "setting": arguments.setting,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{device} {platform.machine()}",
        "versions": f"physicsnemo-fs {version('physicsnemo-fs')} torch {version('torch')}",
        "command": shlex.join(
            [
                "python",
                "benchmarks/demo.py",
                "--setting",
                arguments.setting,
                "--seeds",
                *map(str, arguments.seeds),
                *overrides,
            ]
        ),
    }
    folders = [arguments.output / arguments.setting / f"seed{seed}" for seed in arguments.seeds]
    for seed, folder in zip(arguments.seeds, folders, strict=True):
        write(
            run_seed(config, seed, folder), arguments.results / f"demo_{arguments.setting}_seed{seed}.csv", provenance
        )
    dataset = config.train.dataset
    rows = over_seeds(folders, dataset.resolution or dataset.reference_resolution, dataset.test_frames)
    write(rows, arguments.results / f"demo_{arguments.setting}_all.csv", provenance)


def write(rows: list[dict], path: Path, provenance: dict) -> None:
    """Write a CSV and print its figures."""
    with atomic_path(path) as temporary:
        write_rows(temporary, [{name: (provenance | r)[name] for name in COLUMNS} for r in rows])
    print("\n".join(f"seed {r['seed']} {r['model']:18} {r['metric']:40} {r['value']}" for r in rows))


if __name__ == "__main__":
    main()
