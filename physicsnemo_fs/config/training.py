# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training."""

from dataclasses import dataclass, replace

from physicsnemo_fs.config.datasets import DatasetConfig
from physicsnemo_fs.config.keys import key
from physicsnemo_fs.config.models import ModelConfig, NoiseConfig
from physicsnemo_fs.config.patches import PatchConfig, PatchHyperParameters

TRUSTED = "Packages besides physicsnemo and physicsnemo_fs that classes of checkpoints may be imported from."


@dataclass
class HyperParameters(PatchHyperParameters):
    """Optimisation of one stage."""

    training_duration: int = key(24000, "Images to train on.", least=1)
    total_batch_size: int = key(16, "Images a step over all ranks.", least=1)
    batch_size_per_gpu: int | None = key(
        None, "Images a rank and micro-batch; null uses total_batch_size / ranks.", least=1
    )
    optimizer: str = key(
        "muon",
        "muon (for the convolutions between hidden channels, AdamW for the rest) or adamw.",
        choices=("muon", "adamw"),
    )
    lr: float = key(5e-3, "Peak learning rate.", least=0, below=1e6)
    lr_rampup: int = key(960, "Images of linear warm-up.", least=0)
    lr_decay: str = key("cosine", "cosine to zero at the end, or constant.", choices=("cosine", "constant"))
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
    optimizer: str | None = key(None, "muon or adamw.", choices=("muon", "adamw"))
    lr: float | None = key(None, "Peak learning rate.", least=0, below=1e6)
    lr_rampup: int | None = key(None, "Images of linear warm-up.", least=0)
    lr_decay: str | None = key(None, "cosine or constant.", choices=("cosine", "constant"))
    weight_decay: float | None = key(None, "Decoupled weight decay.", least=0)
    grad_clip_threshold: float | None = key(None, "Largest norm of the gradient.", above=0)
    ema_halflife: int | None = key(None, "Half-life of the moving average in images.", least=1)
    patience: int | None = key(None, "Validations without improvement before an early stop.", least=1)


@dataclass
class PerformanceConfig:
    """Precision and speed."""

    fp_optimizations: str = key(
        "fp32",
        "fp32, amp-bf16 for autocast, or auto: amp-bf16 where the hardware multiplies bfloat16 matrices.",
        choices=("fp32", "amp-bf16", "auto"),
    )
    num_threads: int | None = key(None, "CPU threads a rank; null leaves torch's choice.", least=1)
    longest_pause: float | None = key(
        1800.0,
        "Seconds without a micro-batch, a batch of a validation or a network evaluation after which a process counts "
        "as hanging and ends; null never.",
        above=0,
    )


@dataclass
class TrainingPerformanceConfig(PerformanceConfig):
    """Precision and speed of training."""

    torch_compile: bool = key(False, "Compile the network.")
    prefetch: int | None = key(
        None, "Micro-batches read ahead; null takes 2 on a GPU and 0 on a CPU, whose cores the network needs.", least=0
    )
    data_workers: int = key(2, "Threads a rank that read; a dataset that is not thread-safe uses one.", least=1)


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
        2, "Checkpoints kept, the newest first; the best and the final network are always kept.", least=1
    )
    resume: str = key(
        "auto",
        "auto continues from the newest checkpoint, latest_good from the newest that is whole, never refuses a folder "
        "with checkpoints.",
        choices=("auto", "latest_good", "never"),
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
    patches: PatchConfig = key(PatchConfig, "What windows are told of their domain, where hp.patch_shape_x is given.")
    augment: bool = key(True, "Augment by the dataset's exact symmetries.")
    shrink_mean: bool = key(True, "Fit the regression's gain per wavenumber on the training data.")
    conserve: bool | None = key(
        None,
        "Hold means and samples to the input's averages over its cells; null does so where the input is exactly the "
        "truth's averages, on whole periodic domains.",
    )
    calibration_samples: int = key(1024, "Training samples that spectra and gain are measured on.", least=1)
    hr_mean_conditioning: bool = key(True, "Give the regression mean to the diffusion network as a condition.")
    warm_start: bool = key(True, "Start the denoiser from the mean's weights, where its backbone is of the same build.")
    lead_time_scale: float | None = key(
        None,
        "Hours that the lead time of a forecast is divided by to be a channel of both networks; null for none.",
        above=0,
    )
    dry_run: bool = key(False, "Measure a few steps and say what the training would take; nothing is written.")


@dataclass
class TrainConfig:
    """``train.py``."""

    run_dir: str = key("outputs/run", "Folder of this run.")
    stage: str = key("all", "regression, diffusion or all.", choices=("regression", "diffusion", "all"))
    seed: int = key(0, "Seed of initial weights, sample order, augmentation and noise.")
    dataset: DatasetConfig = key(DatasetConfig, "The data.")
    model: ModelConfig = key(ModelConfig, "The backbone of both networks.")
    noise: NoiseConfig = key(NoiseConfig, "The diffusion's noise.")
    training: TrainingConfig = key(TrainingConfig, "The training.")
    trusted_packages: list[str] = key([], TRUSTED)


def stage_patch(training: TrainingConfig, stage: str) -> tuple[int, int] | None:
    """Give rows and columns of the windows that a stage trains on; ``None`` for the whole domain.

    Example:
        >>> training = TrainingConfig(hp=HyperParameters(patch_shape_x=64))
        >>> stage_patch(training, "diffusion"), stage_patch(training, "regression")
        ((64, 64), None)
    """
    return training.hp.patch_shape if stage == "diffusion" or training.patches.mean else None


def stage_hyperparameters(training: TrainingConfig, stage: str) -> HyperParameters:
    """Give the hyperparameters of a stage: ``hp`` with the stage's own values on top.

    Example:
        >>> training = TrainingConfig(diffusion_hp=StageHyperParameters(lr=1e-3))
        >>> stage_hyperparameters(training, "diffusion").lr, stage_hyperparameters(training, "regression").lr
        (0.001, 0.005)
    """
    own = training.regression_hp if stage == "regression" else training.diffusion_hp
    return replace(training.hp, **{name: value for name, value in vars(own).items() if value is not None})
