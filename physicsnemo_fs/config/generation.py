# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Generation and scoring."""

from dataclasses import dataclass
from typing import Any

from physicsnemo_fs.config.datasets import DatasetConfig
from physicsnemo_fs.config.keys import key
from physicsnemo_fs.config.patches import PatchGeneration
from physicsnemo_fs.config.training import TRUSTED, PerformanceConfig, TrainConfig


@dataclass
class SamplerConfig:
    """The reverse diffusion."""

    solver: str = key("heun", "euler, heun or dpm2.", choices=("euler", "heun", "dpm2"))
    num_steps: int = key(12, "Steps; heun and dpm2 need 2 * num_steps - 1 network evaluations.", least=1)
    schedule: str = key("edm", "edm (polynomial) or exponential.", choices=("edm", "exponential"))
    sigma_min: float | None = key(None, "Smallest noise level; null takes the checkpoint's.", above=0)
    sigma_max: float | None = key(None, "Largest noise level; null takes the checkpoint's.", above=0)
    rho: float = key(7.0, "Exponent of the edm schedule.", above=0)
    S_churn: float = key(0.0, "Stochasticity; 0 is the deterministic flow.", least=0)
    S_min: float = key(0.0, "Smallest noise level with churn.", least=0)
    S_max: float | None = key(None, "Largest noise level with churn; null for no limit.")
    S_noise: float = key(1.0, "Scale of the churn noise.", above=0)


@dataclass
class GenerationIOConfig:
    """What generation reads and writes."""

    reg_ckpt_filename: str | None = key(None, "Regression .mdlus; null takes the newest of run_dir.")
    res_ckpt_filename: str | None = key(None, "Diffusion .mdlus; null takes the newest of run_dir.")
    output_filename: str = key("outputs/samples.nc", "What to write: .nc for NetCDF, .zarr for a Zarr folder.")
    significant_bits: int | None = key(
        None, "Mantissa bits kept of predicted values, 1 to 23: smaller files; null keeps all.", least=1, below=24
    )


@dataclass
class GenerationConfig(PatchGeneration):
    """The ensemble."""

    num_ensembles: int = key(16, "Members.", least=1)
    seed_batch_size: Any = key(
        16,
        "Members (times the times at once) a network call, or auto for what fits into memory; changes results by "
        "rounding only.",
        least=1,
        words=("auto",),
    )
    seed: int = key(0, "Seed of the first member; member m has seed + m.")
    split: str = key("test", "train, validation or test.", choices=("train", "validation", "test"))
    times: list[str] | None = key(None, "ISO times to generate; null for all of the split.")
    times_range: list[Any] | None = key(
        None, "[start, end, hours]: ISO times from start to end, both included, so many hours apart (1 if left out)."
    )
    max_times: int | None = key(None, "Most times to generate, evenly spread; null for all.", least=1)
    resolution: int | None = key(
        None, "Output grid (points along a side); null takes the dataset's resolution.", least=1
    )
    picture: bool = key(True, "Write a picture of one time beside the file.")
    replace: bool = key(
        False, "Discard a result, or unfinished work, of another configuration that has the output's name."
    )
    inference_mode: str = key(
        "all",
        "all, regression, diffusion, or dressed or dressed_interpolation (plus a fitted Gaussian field).",
        choices=("all", "regression", "diffusion", "dressed", "dressed_interpolation"),
    )
    io: GenerationIOConfig = key(GenerationIOConfig, "Files.")


@dataclass
class GenerationPerformanceConfig(PerformanceConfig):
    """Precision and speed of generation."""

    torch_compile: bool = key(False, "Compile the networks: pays for many samples.")


@dataclass
class GenerateConfig:
    """``generate.py``."""

    run_dir: str = key("outputs/run", "Training run whose newest checkpoints are used.")
    pretrained: str | None = key(None, "Shipped networks to use instead of a run's: kolmogorov_re40.")
    package: str | None = key(None, "Folder of a CorrDiff package whose networks to use instead of a run's.")
    dataset: DatasetConfig = key(DatasetConfig, "The data.")
    generation: GenerationConfig = key(GenerationConfig, "The ensemble.")
    sampler: SamplerConfig = key(SamplerConfig, "The reverse diffusion.")
    perf: GenerationPerformanceConfig = key(GenerationPerformanceConfig, "Precision and speed.")
    trusted_packages: list[str] = key([], TRUSTED)
    dry_run: bool = key(False, "Say what would be made and how long it would take, and write nothing.")


@dataclass
class DemoConfig:
    """``physicsnemo-fs demo``: data, training, ensembles at two resolutions, scores, report."""

    output: str = key("outputs/demo", "Folder of everything the demo writes, the simulated data excepted.")
    train: TrainConfig = key(TrainConfig, "The training.")
    sampler: SamplerConfig = key(SamplerConfig, "The reverse diffusion.")
    num_ensembles: int = key(16, "Members.", least=1)
    max_times: int | None = key(None, "Most test fields, evenly spread; null for all.", least=1)
    seed_batch_size: int = key(16, "Fields a network call.", least=1)
    fine_resolution: int = key(128, "The second resolution of the same ensemble.", least=1)
    fine_times: int | None = key(32, "Most test fields at the second resolution, evenly spread; null for all.", least=1)
    kmax: int = key(16, "Largest wavenumber of the spectrum error.", least=1)
    ranks: int | None = key(
        None, "Processes that train and sample on this machine; null: one with a GPU, else by the cores.", least=1
    )
