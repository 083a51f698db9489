# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a training would do: its data, networks, steps, sizes and time, measured without writing anything."""

import math
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from physicsnemo_fs.config import HyperParameters, TrainConfig, stage_hyperparameters
from physicsnemo_fs.data.types import Channel, DownscalingDataset
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.spectra import White
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.files import read_record
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.archives import tensors_of
from physicsnemo_fs.pipelines.assembly import is_unsimulated, relative_extent
from physicsnemo_fs.pipelines.checkpoints import load_network
from physicsnemo_fs.pipelines.numerals import duration, size_text
from physicsnemo_fs.pipelines.run_record import FINISHED
from physicsnemo_fs.pipelines.stage_building import diffusion_backbone, diffusion_stage, read_noise, regression_stage
from physicsnemo_fs.pipelines.stages import Stage
from physicsnemo_fs.pipelines.trainer import Trainer
from physicsnemo_fs.pipelines.training_state import States

STEPS = 4
"""Steps that are measured, the first of which prepares."""


def describe(config: TrainConfig, training: DownscalingDataset, validation: DownscalingDataset, ranks: Ranks) -> str:
    """Say what a training would do, as lines of text, after a few steps of each stage that are not kept.

    Args:
        config: The whole configuration.
        training: The training split.
        validation: The validation split.
        ranks: The processes, which measure together.
    """
    note = "; to be simulated first" if is_unsimulated(training) or is_unsimulated(validation) else ""
    inputs = f"{_named(training.input_channels)} on {_shape(training.coarse_grid.shape)}"
    lines = [
        f"run         {config.run_dir}",
        f"data        {config.dataset.type}: {len(training)} training samples, {len(validation)} for validation{note}",
        f"fields      {inputs} to {_named(training.output_channels)} on {_shape(training.grid.shape)}",
        f"processes   {ranks.world_size} on {ranks.device}",
    ]
    for stage in _stages(config, training, ranks):
        lines += _stage_lines(config, stage, training, validation, ranks)
    return "\n".join(lines)


@contextmanager
def kept_statistics(path: Path) -> Iterator[Path]:
    """Give a copy of a file of statistics that may be written, for the time of a ``with`` block."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if path.exists():
            shutil.copy(path, copy)
        yield copy


def _stages(config: TrainConfig, training: DownscalingDataset, ranks: Ranks) -> Iterator[Stage]:
    if config.stage in ("regression", "all"):
        yield regression_stage(config, training)
    if config.stage in ("diffusion", "all"):
        regression = _mean(config, training).to(ranks.device).requires_grad_(False)
        noise = _noise(Path(config.run_dir) / "diffusion" / "noise.json", training)
        yield diffusion_stage(config, training, regression, diffusion_backbone(config, training, regression), noise)


def _mean(config: TrainConfig, training: DownscalingDataset) -> FSRegressionSR:
    """Give the trained mean, or an untrained one, which takes as long."""
    folder, given = Path(config.run_dir) / "regression", config.training.io.regression_checkpoint_path
    if given is None and (folder / FINISHED).exists():
        given = str(folder / read_record(folder / FINISHED, network=str)["network"])
    if given is None:
        return regression_stage(config, training).network
    return load_network(given, FSRegressionSR, config.trusted_packages)


def _noise(path: Path, training: DownscalingDataset) -> dict[str, Any]:
    """Give the noise that was measured, or white noise, which takes as long."""
    if path.exists():
        return read_noise(path)
    field = RandomField(
        White(), relative_extent(training), training.grid.boundary, registration=training.grid.registration
    )
    scales = [1.0] * len(training.output_channels)
    levels = {"sigma_min": 0.002, "sigma_max": 80.0, "P_mean": -1.2, "P_std": 1.2}
    return {"sigma_data": scales, "field": field.to_dict(), **levels}


def _stage_lines(
    config: TrainConfig, stage: Stage, training: DownscalingDataset, validation: DownscalingDataset, ranks: Ranks
) -> list[str]:
    hp, io = stage_hyperparameters(config.training, stage.name), config.training.io
    folder = Path(config.run_dir) / stage.name
    micro = min(hp.batch_size_per_gpu or hp.total_batch_size, math.ceil(hp.total_batch_size / ranks.world_size))
    one_batch = replace(config.training, io=replace(io, validation_samples=micro * ranks.world_size))
    trainer = Trainer(stage, training, validation, one_batch, hp, config.seed, folder, ranks)
    parameters = sum(p.numel() for p in trainer.network.parameters())
    step = trainer.rehearse(STEPS)
    check = _seconds(trainer) * math.ceil(min(len(validation), io.validation_samples) / (micro * ranks.world_size))
    done = max(States(folder).image_counts(), default=0)
    left = _steps(hp, done)
    validations = math.ceil(hp.training_duration / io.validation_freq) - done // io.validation_freq if left else 0
    state, network = _bytes(trainer.state()), _bytes(trainer.network.state_dict())
    kept = io.save_n_recent_checkpoints * (state + network) + network
    times = math.ceil(hp.training_duration / io.save_checkpoint_freq)
    return [
        f"{stage.name}",
        f"  network   {type(trainer.network).__name__} of {parameters:,} parameters",
        f"  steps     {left} of {hp.total_batch_size} images in micro-batches of {micro}"
        + (f", after image {done}" if done else "")
        + f": {hp.training_duration / len(training):.3g} epochs",
        f"  disk      {size_text(kept)}: the {io.save_n_recent_checkpoints} newest of {times} checkpoints of "
        f"{size_text(state + network)}, and the best network; {size_text(kept + state + network)} while one is written",
        f"  memory    {_memory(ranks)}",
        f"  time      {duration(left * step + validations * check)}, at {step:.2g} s a step and {check:.2g} s for each "
        f"of {validations} validations",
    ]


def _steps(hp: HyperParameters, done: int) -> int:
    return math.ceil(max(0, hp.training_duration - done) / hp.total_batch_size)


def _seconds(trainer: Trainer) -> float:
    started = time.perf_counter()
    trainer.validate()
    return time.perf_counter() - started


def _memory(ranks: Ranks) -> str:
    if ranks.device.type == "cuda":
        return f"{size_text(torch.cuda.max_memory_allocated(ranks.device))} on the GPU of each process"
    return f"{size_text(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)} of each process"


def _bytes(state: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors_of(state))


def _named(channels: Sequence[Channel]) -> str:
    return ", ".join(f"{c.name} [{c.unit}]" for c in channels)


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
