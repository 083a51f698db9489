# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What determines a run: recorded in its folder, carried by its networks, compared before anything is mixed."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from physicsnemo_fs import __version__
from physicsnemo_fs.config import TrainConfig, stage_hyperparameters
from physicsnemo_fs.data.signature import NORMALISATION_TOLERANCE, data_signature, first_difference
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path, make_folder, read_json, write_json
from physicsnemo_fs.launchers import detect
from physicsnemo_fs.models.base import FSModule
from physicsnemo_fs.provenance import start_record

FINISHED = "finished.json"
STARTS = "starts"


def record_start(config: Any, folder: Path, ranks: Ranks) -> None:
    """Write ``starts/<id>.json``: when, where, by which command and code this start ran, with its whole configuration.

    Args:
        config: The whole configuration.
        folder: Folder of the run.
        ranks: This process among its peers; the main one writes.
    """
    if not ranks.is_main:
        return
    place = {"launcher": detect().launcher, "ranks": ranks.world_size, "device": str(ranks.device)}
    record = start_record() | place | {"config": asdict(config)}
    write_json(record, folder / STARTS / f"{record['id']}.json")


def stage_record(
    config: TrainConfig, stage: str, training: DownscalingDataset, regression: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Give what determines a stage's result, as JSON types.

    Args:
        config: The whole configuration.
        stage: ``"regression"`` or ``"diffusion"``.
        training: The training split.
        regression: What the diffusion's mean was trained on.
    """
    record = {
        "physicsnemo_fs": __version__,
        "seed": config.seed,
        "dataset": asdict(config.dataset),
        "model": asdict(config.model),
        "hp": asdict(stage_hyperparameters(config.training, stage)),
        "augment": config.training.augment,
        "calibration_samples": config.training.calibration_samples,
        "shrink_mean": config.training.shrink_mean,
        "normalization": {c.name: [c.mean, c.std] for c in (*training.input_channels, *training.output_channels)},
    }
    if stage == "diffusion":
        record["noise"] = asdict(config.noise)
        record["hr_mean_conditioning"] = config.training.hr_mean_conditioning
        record["regression"] = None if regression is None else regression["run"]
    return json.loads(json.dumps(record))


def trained_on(
    record: dict[str, Any], training: DownscalingDataset, regression: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Give what a network carries: the run's identity, the data's signature, and its mean's identity."""
    text = json.dumps(record, sort_keys=True)
    return {
        "run": hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        "regression": None if regression is None else regression["run"],
        "data": data_signature(training),
    }


def claim_folder(config: TrainConfig, folder: Path, record: dict[str, Any], ranks: Ranks) -> None:
    """Record what determines the stage's result; refuse a folder that holds another run.

    Raises:
        InputError: If the folder's record differs, naming the first key that does, or cannot be read.
    """
    path = folder / "run.json"
    if path.exists():
        difference = first_difference(read_json(path), record)
        if difference:
            raise InputError(
                f"{folder} holds a run with another {difference}; choose another run_dir or remove the folder"
            )
    elif ranks.is_main:
        make_folder(folder)
        write_json(record, path)
        with atomic_path(folder / "config.yaml") as temporary:
            OmegaConf.save(OmegaConf.structured(config), temporary)
    ranks.barrier()


def require_same_data(network: FSModule, name: str, dataset: DownscalingDataset) -> None:
    """Refuse data that a network was not trained on; a network without a record takes any.

    Raises:
        InputError: Naming the first difference.
    """
    record = network.trained_on
    if record is None:
        return
    here = data_signature(dataset)
    difference = first_difference(
        record["data"], {name: here[name] for name in record["data"]}, NORMALISATION_TOLERANCE
    )
    if difference:
        raise InputError(
            f"the {name} was trained on data with another {difference}; give the dataset configuration of its training"
        )


def require_same_run(regression: FSModule, diffusion: FSModule) -> None:
    """Refuse a denoiser together with a mean that it was not trained on.

    Raises:
        InputError: If their records differ.
    """
    if regression.trained_on is None or diffusion.trained_on is None:
        return
    expected, found = diffusion.trained_on["regression"], regression.trained_on["run"]
    if expected not in (None, found):
        raise InputError(
            f"the diffusion checkpoint was trained on the residuals of regression run {expected}, but the regression "
            f"checkpoint is of run {found}; give the pair of one training"
        )
