# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What determines a run: recorded in its folder, carried by its networks, compared before anything is mixed."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from physicsnemo_fs import __version__
from physicsnemo_fs.config import GROUPS, DatasetConfig, TrainConfig, stage_hyperparameters, stage_patch
from physicsnemo_fs.data.recognition import SAMPLES, data_difference, sample_numbers
from physicsnemo_fs.data.signature import NORMALISATION_TOLERANCE, data_signature, first_difference
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path, make_folder, read_record, write_json
from physicsnemo_fs.launchers import detect
from physicsnemo_fs.models.base import FSModule
from physicsnemo_fs.provenance import start_record

FINISHED = "finished.json"
RECORD = "run.json"
STARTS = "starts"
MEMORY_KEYS = ("batch_size_per_gpu", "max_patch_per_gpu")
"""Hyperparameters that only cut the work into parts: a run may continue with others, on a smaller GPU say."""


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
    channels = (*training.input_channels, *training.output_channels)
    record = configured_record(config, stage) | {
        "normalization": {c.name: [c.mean, c.std] for c in channels},
        SAMPLES: sample_numbers(training, range(len(training))),
    }
    if stage == "diffusion":
        record["regression"] = None if regression is None else regression["run"]
    return json.loads(json.dumps(record))


def configured_record(config: TrainConfig, stage: str) -> dict[str, Any]:
    """Give the part of :func:`stage_record` that is known before the data is opened."""
    hp = asdict(stage_hyperparameters(config.training, stage))
    record = {
        "physicsnemo_fs": __version__,
        "seed": config.seed,
        "dataset": asdict(config.dataset),
        "model": asdict(config.model),
        "hp": {name: value for name, value in hp.items() if name not in MEMORY_KEYS},
        "augment": config.training.augment,
        "calibration_samples": config.training.calibration_samples,
        "shrink_mean": config.training.shrink_mean,
        "conserve": config.training.conserve,
    }
    if config.training.lead_time_scale is not None:
        record["lead_time_scale"] = config.training.lead_time_scale
    if stage_patch(config.training, stage) is not None:
        record["patches"] = asdict(config.training.patches)
    if stage == "diffusion":
        record["noise"] = asdict(config.noise)
        record["hr_mean_conditioning"] = config.training.hr_mean_conditioning
        record["warm_start"] = config.training.warm_start
    return json.loads(json.dumps(record))


def trained_on(
    record: dict[str, Any], training: DownscalingDataset, regression: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Give what a network carries: the run's identity, the data's signature, and its mean's identity."""
    return {
        "run": _identity(record),
        "regression": None if regression is None else regression["run"],
        "data": data_signature(training),
    }


def state_identity(record: dict[str, Any]) -> str:
    """Name what a training state must share with the run that continues from it.

    A constant learning rate does not know where the training ends: then it may end later than was planned.
    """
    return _identity(
        record if record["hp"]["lr_decay"] != "constant" else record | {"hp": _without_duration(record["hp"])}
    )


def _identity(record: dict[str, Any]) -> str:
    """Hash a record, its samples' numbers excepted, which other machines round otherwise."""
    text = json.dumps({name: value for name, value in record.items() if name != SAMPLES}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _without_duration(hp: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hp.items() if name != "training_duration"}


def require_same_run_folder(folder: Path, record: dict[str, Any]) -> bool:
    """Refuse a folder that holds another run; tell whether ``record`` is that of its run, but longer.

    Args:
        folder: Folder of the stage.
        record: What determines the stage's result, or a part of it.

    Raises:
        InputError: If the folder's record differs, naming the first key that does, or cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        return False
    there = read_record(path, hp=dict, dataset=dict)
    difference = _difference(there, record)
    if difference is None:
        return False
    longer = record | {"hp": {**record["hp"], "training_duration": there.get("hp", {}).get("training_duration")}}
    if _difference(there, longer) is not None:
        raise InputError(f"{folder} holds a run with another {difference}; choose another run_dir or remove the folder")
    before, after = longer["hp"]["training_duration"], record["hp"]["training_duration"]
    if after < before or record["hp"]["lr_decay"] != "constant":
        raise InputError(
            f"{folder} holds a run of training_duration={before}, got {after}: only a longer training with "
            "lr_decay=constant continues it; choose another run_dir or remove the folder"
        )
    return True


def continued(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Give a folder's record of the same run, if it has one, otherwise ``record``: data may have moved since.

    Raises:
        InputError: As :func:`require_same_run_folder`.
    """
    require_same_run_folder(folder, record)
    path = folder / RECORD
    return read_record(path, hp=dict, dataset=dict) | {"hp": record["hp"]} if path.exists() else record


def _difference(there: dict[str, Any], record: dict[str, Any]) -> str | None:
    """Name the first difference in what ``record`` holds, be it a part of what determines a run."""
    kept = {name: there.get(name) for name in record}
    apart = ("dataset", SAMPLES)
    first, second = ({k: v for k, v in one.items() if k not in apart} for one in (kept, record))
    if difference := first_difference(first, second):
        return difference
    samples = (kept[SAMPLES], record[SAMPLES]) if SAMPLES in record else ([], [])  # before the data is open
    return data_difference(_learnt_from(there["dataset"]), _learnt_from(record["dataset"]), *samples)


def _learnt_from(dataset: dict[str, Any]) -> dict[str, Any]:
    """Give the part of a dataset's configuration that a training depends on."""
    schema: type[DatasetConfig] = GROUPS["dataset"].get(dataset.get("type", ""), DatasetConfig)
    return {name: value for name, value in dataset.items() if name not in schema.test_only}


def require_room(config: TrainConfig, run_dir: Path) -> None:
    """Refuse a run folder that holds another run, as far as can be told before the data is opened.

    Raises:
        InputError: Naming the first difference.
    """
    for stage in ("regression", "diffusion"):
        if config.stage not in (stage, "all"):
            continue
        longer = require_same_run_folder(run_dir / stage, configured_record(config, stage))
        if longer and stage == "regression" and (run_dir / "diffusion" / RECORD).exists():
            raise InputError(
                f"the diffusion in {run_dir} has learnt the residuals of its mean, which therefore is not trained on; "
                "give training.diffusion_hp.training_duration alone, or another run_dir"
            )


def claim_folder(config: TrainConfig, folder: Path, record: dict[str, Any], ranks: Ranks) -> None:
    """Record what determines the stage's result; refuse a folder that holds another run.

    Raises:
        InputError: If the folder's record differs, naming the first key that does, or cannot be read.
    """
    with ranks.main_first():
        longer = require_same_run_folder(folder, record)
        if ranks.is_main and (longer or not (folder / RECORD).exists()):
            make_folder(folder)
            (folder / FINISHED).unlink(missing_ok=True)
            save_config(config, folder / "config.yaml")
            write_json(record, folder / RECORD)


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the whole configuration, so that ``--config-dir <folder> --config-name config`` gives it back."""
    header = {
        "defaults": [
            "train_schema",
            *({group: f"{name}_schema"} for group in GROUPS if (name := _member(group, getattr(config, group)))),
            "hydra",
            {"override hydra/job_logging": "stdout"},
            "_self_",
        ]
    }
    values = OmegaConf.to_container(OmegaConf.structured(config))
    with atomic_path(path) as temporary:
        OmegaConf.save(OmegaConf.create({**header, **cast(dict, values)}), temporary)


def _member(group: str, chosen: Any) -> str | None:
    return next((name for name, schema in GROUPS[group].items() if type(chosen) is schema), None)


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
