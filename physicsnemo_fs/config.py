# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Typed configuration: every key, its type, its default and its meaning, in one place.

The YAML files of ``conf/`` are presets of these schemas; Hydra composes them, and an unknown key or a wrong type
fails before anything runs.
"""

import difflib
import operator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


def key(
    default: Any, help: str, least: float | None = None, above: float | None = None, below: float | None = None
) -> Any:
    """Declare a configuration key with its default, a line of documentation, and bounds of its value."""
    bounds = {"at least": least, "above": above, "below": below}
    metadata = {"help": help, "bounds": {k: v for k, v in bounds.items() if v is not None}}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DatasetConfig:
    """What every dataset accepts."""

    type: str = key(MISSING, "Which source: kolmogorov or ns_re40.")
    data_path: str | None = key(None, "File or folder of the data; null uses the source's default place.")
    resolution: int | None = key(None, "Fine grid (points along a side); null takes reference_resolution.", least=1)
    lowres_scale_factor: int = key(8, "Fine points per coarse cell along an axis, at `reference_resolution`.", least=1)
    window_size: int = key(0, "k: the coarse input holds the 2k+1 frames t-k ... t+k.", least=0)
    coarsening: str = key("cell_average", "How the coarse field is made: cell_average, pixel_average or spectral.")


@dataclass
class KolmogorovDatasetConfig(DatasetConfig):
    """Forced two-dimensional turbulence, simulated on first use."""

    type: str = key("kolmogorov", "This source.")
    data_path: str | None = key("outputs/data", "Folder of the simulated files; they are made if they are missing.")
    reynolds: float = key(40.0, "Reynolds number 1/viscosity.", above=0)
    forcing_mode: int = key(4, "Wavenumber n of the body force, whose curl is -n cos(n y).")
    forcing_amplitude: float = key(1.0, "Amplitude of the body force.")
    drag: float = key(0.0, "Linear drag.")
    grid: int = key(64, "Grid that training and validation trajectories are simulated on.")
    dt: float | None = key(None, "Longest time step on `grid`; null gives 2.56 / grid.")
    store_grid: int | None = key(None, "Grid that training and validation frames are stored on; null is `grid`.")
    spin_up: list[Any] = key([[64, 25.0]], "Stages [grid, flow time units] before the first frame.")
    test_grid: int = key(128, "Grid that test trajectories are simulated on.")
    test_store_grid: int | None = key(None, "Grid that test frames are stored on; null is `test_grid`.")
    test_spin_up: list[Any] = key([[64, 23.0], [128, 2.0]], "The same for test trajectories.")
    interval: float = key(2.0, "Flow time units between the frames of a training trajectory.", above=0)
    evaluation_interval: float | None = key(30.0, "The same for validation and test; null is `interval`.", above=0)
    train_trajectories: int = key(192, "Training trajectories.", least=1)
    train_frames: int = key(24, "Frames a training trajectory.", least=1)
    validation_trajectories: int = key(64, "Validation trajectories.", least=1)
    validation_frames: int = key(2, "Frames a validation trajectory.", least=1)
    test_trajectories: int = key(32, "Test trajectories.", least=1)
    test_frames: int = key(2, "Frames a test trajectory.", least=1)
    reference_resolution: int = key(
        64, "Grid that lowres_scale_factor refers to: coarse cells = this / factor.", least=1
    )
    seed: int = key(0, "Seed of the initial conditions.")


@dataclass
class NSRe40DatasetConfig(DatasetConfig):
    """The published 2D_NS_Re40.npy (Zenodo record 7495555)."""

    type: str = key("ns_re40", "This source.")
    data_path: str | None = key(None, "Path of 2D_NS_Re40.npy; must be given.")
    reference_resolution: int = key(
        64, "Grid that lowres_scale_factor refers to: coarse cells = this / factor.", least=1
    )
    skip_steps: int = key(50, "Steps at the start of each trajectory that are left out as transient.")
    axes: str = key("xy", "Order of the file's last two axes: xy or yx.")
    stride: int = key(1, "Take every stride-th step.")
    train_fraction: float = key(0.8, "Share of the trajectories for training.")
    validation_fraction: float = key(0.1, "Share of the trajectories for validation; the rest is for testing.")


@dataclass
class ModelConfig:
    """What every backbone accepts."""

    name: str = key(MISSING, "Which backbone: fsuno or conv_unet.")
    model_channels: int = key(8, "Base width.", least=1)
    channel_mult: list[int] = key([1, 4, 6, 8], "Width of each level as a multiple of model_channels, finest first.")
    num_blocks: int = key(1, "Blocks a level.", least=1)
    embedding_channels: int = key(96, "Width of the noise-level embedding.", least=1)
    dropout: float = key(0.0, "Dropout probability.", least=0, below=1)


@dataclass
class FSUNOConfig(ModelConfig):
    """The U-shaped neural operator."""

    name: str = key("fsuno", "This backbone.")
    level_grid: list[int] | None = key(
        [64, 32, 16, 8], "Pinned grid of each level; null for the pure spectral operator."
    )
    n_modes: list[int] = key([0, 4, 4, 0], "Spectral modes of each level; 0 drops the branch.")
    local_kernel: int = key(
        3, "Width of the local stencil on the pinned grids; 1 for the pure spectral operator.", least=1
    )
    attn_levels: list[int] = key([], "Levels with self-attention.")
    coord_features: str = key("none", "Position channels: none, periodic or bounded.")
    boundary: str = key("periodic", "periodic, or pad for bounded domains.")
    activation: str = key("silu", "silu or gelu.")
    factorization: str | None = key(None, "tucker for spectral weights of low rank; null for dense ones.")
    rank: float | None = key(None, "Parameters of a factorised spectral weight as a share of the dense one's.")


@dataclass
class ConvUNetConfig(ModelConfig):
    """The plain convolutional U-Net on pixels: the baseline."""

    name: str = key("conv_unet", "This backbone.")


@dataclass
class NoiseConfig:
    """The Gaussian random field that noises the residual."""

    kernel: str = key("matched", "matched (to the training residual's spectrum), matern, legacy_rbf or white.")
    nu: float = key(0.5, "Smoothness of the Matern kernel.", above=0)
    length_scale: float = key(0.1, "Length scale of the Matern kernel, as a share of the domain.", above=0)
    scale: float = key(0.05, "Scale s of legacy_rbf: exp(-|d| / (2 s^2)).", above=0)
    eps: float = key(0.01, "White nugget of legacy_rbf.")
    P_mean: float | None = key(None, "Mean of ln(sigma / sigma_data) in training; null takes it from the spectra.")
    P_std: float | None = key(None, "Spread of ln sigma in training; null takes it from the spectra.", above=0)


@dataclass
class HyperParameters:
    """Optimisation of one stage."""

    training_duration: int = key(24000, "Images to train on.", least=1)
    total_batch_size: int = key(16, "Images a step over all ranks.", least=1)
    batch_size_per_gpu: int | None = key(
        None, "Images a rank and micro-batch; null uses total_batch_size / ranks.", least=1
    )
    optimizer: str = key("muon", "muon (for the convolutions between hidden channels, AdamW for the rest) or adamw.")
    lr: float = key(5e-3, "Peak learning rate.", least=0)
    lr_rampup: int = key(960, "Images of linear warm-up.", least=0)
    lr_decay: str = key("cosine", "cosine to zero at the end, or constant.")
    weight_decay: float = key(1e-4, "Decoupled weight decay.", least=0)
    grad_clip_threshold: float | None = key(1.0, "Largest norm of the gradient; null never clips.", above=0)
    ema_halflife: int = key(5000, "Images after which an old weight counts half in the moving average.", least=1)
    patience: int | None = key(
        None, "Validations without improvement before an early stop; null never stops early.", least=1
    )


@dataclass
class StageHyperParameters:
    """The keys of `hp` that one stage sets for itself; null takes the value of `hp`."""

    training_duration: int | None = key(None, "Images to train on.", least=1)
    total_batch_size: int | None = key(None, "Images a step over all ranks.", least=1)
    batch_size_per_gpu: int | None = key(None, "Images a rank and micro-batch.", least=1)
    optimizer: str | None = key(None, "muon or adamw.")
    lr: float | None = key(None, "Peak learning rate.", least=0)
    lr_rampup: int | None = key(None, "Images of linear warm-up.", least=0)
    lr_decay: str | None = key(None, "cosine or constant.")
    weight_decay: float | None = key(None, "Decoupled weight decay.", least=0)
    grad_clip_threshold: float | None = key(None, "Largest norm of the gradient.", above=0)
    ema_halflife: int | None = key(None, "Half-life of the moving average in images.", least=1)
    patience: int | None = key(None, "Validations without improvement before an early stop.", least=1)


@dataclass
class PerformanceConfig:
    """Precision and speed."""

    fp_optimizations: str = key(
        "fp32", "fp32, amp-bf16 for autocast, or auto: amp-bf16 where the hardware multiplies bfloat16 matrices."
    )
    num_threads: int | None = key(None, "CPU threads a rank; null leaves torch's choice.", least=1)


@dataclass
class TrainingPerformanceConfig(PerformanceConfig):
    """Precision and speed of training."""

    torch_compile: bool = key(False, "Compile the network.")


@dataclass
class TrainingIOConfig:
    """What training reads and writes."""

    regression_checkpoint_path: str | None = key(
        None, "Regression .mdlus for the diffusion stage; null takes the run's."
    )
    save_checkpoint_freq: int = key(4800, "Images between checkpoints.", least=1)
    validation_freq: int = key(4800, "Images between validations.", least=1)
    validation_samples: int = key(128, "Most validation samples a validation uses.", least=1)
    save_n_recent_checkpoints: int = key(
        2, "Checkpoints kept, the newest first; the final one is always kept.", least=1
    )
    print_progress_freq: int = key(480, "Images between lines of log.jsonl.", least=1)
    sample_pictures: bool = key(True, "Write a picture of validation samples at each validation.")


@dataclass
class TrainingConfig:
    """Training of both stages."""

    hp: HyperParameters = key(HyperParameters, "Optimisation, for both stages.")
    regression_hp: StageHyperParameters = key(StageHyperParameters, "What differs in the regression stage.")
    diffusion_hp: StageHyperParameters = key(StageHyperParameters, "What differs in the diffusion stage.")
    perf: TrainingPerformanceConfig = key(TrainingPerformanceConfig, "Precision and speed.")
    io: TrainingIOConfig = key(TrainingIOConfig, "Files.")
    augment: bool = key(True, "Augment by the dataset's exact symmetries.")
    shrink_mean: bool = key(True, "Fit the regression's gain per wavenumber on the training data.")
    calibration_samples: int = key(1024, "Training samples that spectra and gain are measured on.", least=1)
    hr_mean_conditioning: bool = key(True, "Give the regression mean to the diffusion network as a condition.")


@dataclass
class TrainConfig:
    """``train.py``."""

    run_dir: str = key("outputs/run", "Folder of this run.")
    stage: str = key("all", "regression, diffusion or all.")
    seed: int = key(0, "Seed of initial weights, sample order, augmentation and noise.")
    dataset: DatasetConfig = key(DatasetConfig, "The data.")
    model: ModelConfig = key(ModelConfig, "The backbone of both networks.")
    noise: NoiseConfig = key(NoiseConfig, "The diffusion's noise.")
    training: TrainingConfig = key(TrainingConfig, "The training.")


@dataclass
class SamplerConfig:
    """The reverse diffusion."""

    solver: str = key("heun", "euler, heun or dpm2.")
    num_steps: int = key(12, "Steps; heun and dpm2 need 2 * num_steps - 1 network evaluations.", least=1)
    schedule: str = key("edm", "edm (polynomial) or exponential.")
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
    output_filename: str = key("outputs/samples.nc", "The NetCDF file to write.")


@dataclass
class GenerationConfig:
    """The ensemble."""

    num_ensembles: int = key(16, "Members.", least=1)
    seed_batch_size: int = key(
        16, "Members (times the times at once) a network call; changes results by rounding only.", least=1
    )
    seed: int = key(0, "Seed of the first member; member m has seed + m.")
    split: str = key("test", "train, validation or test.")
    times: list[str] | None = key(None, "ISO times to generate; null for all of the split.")
    max_times: int | None = key(None, "Most times to generate, evenly spread; null for all.", least=1)
    resolution: int | None = key(
        None, "Output grid (points along a side); null takes the dataset's resolution.", least=1
    )
    picture: bool = key(True, "Write a picture of one time beside the file.")
    inference_mode: str = key("all", "all, regression, diffusion, or dressed (mean plus a fitted Gaussian field).")
    io: GenerationIOConfig = key(GenerationIOConfig, "Files.")


@dataclass
class GenerateConfig:
    """``generate.py``."""

    run_dir: str = key("outputs/run", "Training run whose newest checkpoints are used.")
    pretrained: str | None = key(None, "Shipped networks to use instead of a run's: kolmogorov_re40.")
    dataset: DatasetConfig = key(DatasetConfig, "The data.")
    generation: GenerationConfig = key(GenerationConfig, "The ensemble.")
    sampler: SamplerConfig = key(SamplerConfig, "The reverse diffusion.")
    perf: PerformanceConfig = key(PerformanceConfig, "Precision and speed.")


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
    kmax: int = key(16, "Largest wavenumber of the spectrum error.", least=1)


@dataclass
class ScoreConfig:
    """``score_samples.py``."""

    path: Any = key(MISSING, "A samples file, or a list of them; the first one's truth is used.")
    output: str = key("outputs/scores", "Folder for scores.nc and scores_summary.csv, or the name of the .nc file.")
    kmax: int | None = key(None, "Largest wavenumber of the spectrum error; null takes the energetic ones.", least=1)
    confidence: float = key(0.95, "Level of the bootstrap intervals.", above=0, below=1)
    bootstrap_samples: int = key(1000, "Resamples of the bootstrap over independent blocks.", least=1)
    seed: int = key(0, "Seed of the bootstrap and of the random ties of the rank histogram.")
    max_members: int | None = key(None, "Score the first members only; null for all.", least=1)


SCHEMAS: dict[str, type] = {"train": TrainConfig, "generate": GenerateConfig, "score": ScoreConfig, "demo": DemoConfig}
GROUPS: dict[str, dict[str, type]] = {
    "dataset": {"kolmogorov": KolmogorovDatasetConfig, "ns_re40": NSRe40DatasetConfig},
    "model": {"fsuno": FSUNOConfig, "conv_unet": ConvUNetConfig},
}
REPLACED_KEYS = {
    "training.io.checkpoint_dir": "every file of a run is below run_dir",
    "training.hp.lr_rampup_img": "training.hp.lr_rampup, in images",
    "training.perf.dataloader_workers": "samples are read in the training process; leave it out",
    "training.perf.songunet_checkpoint_level": "there is no activation checkpointing; leave it out",
    "sampler.type": "sampler.S_churn: 0 is CorrDiff's deterministic sampler, above 0 its stochastic one",
    "generation.perf.force_fp16": "perf.fp_optimizations=amp-bf16",
    "generation.perf.use_fp16": "perf.fp_optimizations=amp-bf16",
    "generation/sampler": "the keys of sampler directly: sampler.S_churn=0 is CorrDiff's deterministic sampler",
    "generation.has_lead_time": "lead times are not there yet; leave it out",
    "n_ensemble": "max_members",
    "generation.perf.use_torch_compile": "generation does not compile; leave it out",
    "generation.perf": "perf.fp_optimizations and perf.num_threads",
    "generation.hr_mean_conditioning": "the checkpoint says whether it takes the mean; leave it out",
    "generation.patching": "there are no patches yet; leave it out",
    "generation.overlap_pix": "there are no patches yet; leave it out",
    "generation.boundary_pix": "there are no patches yet; leave it out",
    "training.hp.patch": "there are no patches yet; leave it out",
    "training.hp.max_patch_per_gpu": "there are no patches yet; leave it out",
    "training.hp.lr_decay_rate": "training.hp.lr_decay=cosine or constant",
    "training.io.validation_steps": "training.io.validation_samples",
    "model_size": "model.model_channels and model.channel_mult",
    "model.model_args": "the keys of model directly, such as model.model_channels",
    "wandb": "TensorBoard and log.jsonl are always written; leave it out",
    "generation.times_range": "generation.times with the list of times, or generation.max_times",
    "dataset.stats_path": "statistics are stored with the data and measured on the training split",
}
REPLACED_CONFIGS = {
    "config_training_mini_regression": "use config_train with stage=regression and a dataset",
    "config_training_mini_diffusion": "use config_train with stage=diffusion and a dataset",
    "config_generate_mini": "use config_generate with a dataset",
    "config_training_hrrr_mini": "use config_train; the HRRR-mini dataset is not there yet",
    "config_generate_hrrr_mini": "use config_generate; the HRRR-mini dataset is not there yet",
}
CHOICES = {
    "stage": ("regression", "diffusion", "all"),
    "inference_mode": ("all", "regression", "diffusion", "dressed"),
    "coarsening": ("cell_average", "pixel_average", "spectral"),
    "kernel": ("matched", "matern", "legacy_rbf", "white"),
    "lr_decay": ("cosine", "constant"),
    "optimizer": ("muon", "adamw"),
    "fp_optimizations": ("fp32", "amp-bf16", "auto"),
    "solver": ("euler", "heun", "dpm2"),
    "schedule": ("edm", "exponential"),
    "split": ("train", "validation", "test"),
}


def register_schemas() -> None:
    """Make the schemas known to Hydra, as ``<name>_schema``."""
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(name=f"{name}_schema", node=schema)
    for group, members in GROUPS.items():
        for name, schema in members.items():
            store.store(group=group, name=f"{name}_schema", node=schema)


def nearest(word: str, words: list[str] | tuple[str, ...]) -> str:
    """Give ``"; did you mean 'x'?"`` for the most similar known word, or nothing.

    Example:
        >>> nearest("solvr", ["solver", "schedule"])
        "; did you mean 'solver'?"
    """
    matches = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def known_keys(schema: Any, prefix: str = "") -> list[str]:
    """List every dotted key of a schema, sub-schemas of the groups included.

    Example:
        >>> "sampler.num_steps" in known_keys(GenerateConfig)
        True
    """
    keys = []
    for f in fields(schema):
        name = prefix + f.name
        keys.append(name)
        value = getattr(schema, f.name, None) if not isinstance(schema, type) else None
        default = f.default_factory() if callable(f.default_factory) else value
        for sub in GROUPS.get(f.name, {}).values():
            keys += known_keys(sub, name + ".")
        if is_dataclass(default) and f.name not in GROUPS:
            keys += known_keys(default, name + ".")
    return list(dict.fromkeys(keys))


WITHIN = {"at least": operator.ge, "above": operator.gt, "below": operator.lt}


def check_values(config: Any, prefix: str = "") -> None:
    """Require every enumerated key to have one of its values, and every bounded one to keep to its bounds.

    Raises:
        ValueError: Naming the key, what it may be, and the nearest choice.
    """
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            check_values(value, f"{prefix}{f.name}.")
        elif value is None:
            continue
        elif f.name in CHOICES and value not in CHOICES[f.name]:
            raise ValueError(
                f"{prefix}{f.name} must be one of {', '.join(CHOICES[f.name])}: got {value!r}"
                f"{nearest(str(value), CHOICES[f.name])}"
            )
        else:
            bounds = f.metadata.get("bounds", {})
            if not all(WITHIN[word](value, limit) for word, limit in bounds.items()):
                meaning = " and ".join(f"{word} {limit}" for word, limit in bounds.items())
                raise ValueError(f"{prefix}{f.name} must be {meaning}: got {value}")


def replacement(name: str, table: dict[str, str]) -> str | None:
    """Give what replaces a name of CorrDiff's: by the longest entry that the name starts with.

    Example:
        >>> replacement("wandb.mode", REPLACED_KEYS)
        'TensorBoard and log.jsonl are always written; leave it out'
    """
    matches = [entry for entry in table if name.startswith(entry)]
    return table[max(matches, key=len)] if matches else None


def check_groups(config: Any) -> None:
    """Require each group's own name to be that of its schema.

    Raises:
        ValueError: If ``dataset.type`` or ``model.name`` was set to another member.
    """
    for group, label in (("dataset", "type"), ("model", "name")):
        chosen = getattr(config, group, None)
        if chosen is not None and type(chosen) is not GROUPS[group].get(getattr(chosen, label)):
            raise ValueError(
                f"{group}.{label}={getattr(chosen, label)} does not choose a {group}: give {group}=<name>, "
                f"one of {', '.join(GROUPS[group])}"
            )


def stage_hyperparameters(training: TrainingConfig, stage: str) -> HyperParameters:
    """Give the hyperparameters of a stage: ``hp`` with the stage's own values on top.

    Example:
        >>> training = TrainingConfig(diffusion_hp=StageHyperParameters(lr=1e-3))
        >>> stage_hyperparameters(training, "diffusion").lr, stage_hyperparameters(training, "regression").lr
        (0.001, 0.005)
    """
    own = training.regression_hp if stage == "regression" else training.diffusion_hp
    return replace(training.hp, **{name: value for name, value in vars(own).items() if value is not None})


register_schemas()
