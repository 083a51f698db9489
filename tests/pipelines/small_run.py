# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A training small enough for tests: 32-point flow, two-level networks, a dozen steps."""

from pathlib import Path

from physicsnemo_fs.config import (
    FSUNOConfig,
    HyperParameters,
    KolmogorovDatasetConfig,
    TrainConfig,
    TrainingConfig,
    TrainingIOConfig,
)

STAGES = [[32, 2.0]]


def small_dataset(folder: Path) -> KolmogorovDatasetConfig:
    return KolmogorovDatasetConfig(
        data_path=str(folder),
        grid=32,
        spin_up=STAGES,
        test_grid=32,
        test_spin_up=STAGES,
        train_trajectories=4,
        train_frames=4,
        validation_trajectories=2,
        validation_frames=2,
        test_trajectories=2,
        test_frames=2,
        reference_resolution=32,
        interval=0.5,
        evaluation_interval=None,
        resolution=32,
    )


def small_config(data: Path, run_dir: Path, **training) -> TrainConfig:
    options = {
        "hp": HyperParameters(training_duration=48, total_batch_size=8, lr_rampup=8, ema_halflife=16),
        "io": TrainingIOConfig(
            save_checkpoint_freq=16, validation_freq=24, validation_samples=4, print_progress_freq=16
        ),
        "calibration_samples": 16,
    }
    return TrainConfig(
        run_dir=str(run_dir),
        dataset=small_dataset(data),
        model=FSUNOConfig(model_channels=4, channel_mult=[1, 2], level_grid=[32, 16], n_modes=[0, 3]),
        training=TrainingConfig(**(options | training)),
    )
