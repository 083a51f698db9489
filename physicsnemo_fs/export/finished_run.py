# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A finished run: its final networks and its data."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from physicsnemo_fs.config import GROUPS, DatasetConfig, ExportConfig, PatchGeneration, PluginDatasetConfig, nearest
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.signature import normalisation
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import read_json, read_record
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import open_dataset, region_names
from physicsnemo_fs.pipelines.checkpoints import load_network
from physicsnemo_fs.pipelines.generation.networks import cut_windows
from physicsnemo_fs.pipelines.run_record import FINISHED, require_same_data, require_same_run


@dataclass(frozen=True)
class FinishedRun:
    """The final networks of a run, which are those of the moving average."""

    run: Path
    record: dict[str, Any]
    regression_path: Path
    diffusion_path: Path
    regression: FSRegressionSR
    diffusion: FSEDMPrecondSR

    @classmethod
    def of(cls, config: ExportConfig) -> "FinishedRun":
        """Find and load the networks of ``config.run``.

        Raises:
            InputError: If a stage is missing or unfinished, or the networks do not belong together.
        """
        run = Path(config.run)
        if not (run / "diffusion" / "run.json").is_file():
            raise InputError(f"{run} must be the folder of a run with both stages: it has no diffusion/run.json")
        mean = _checkpoint(run / "regression", config.reg_ckpt_filename, "reg_ckpt_filename")
        residual = _checkpoint(run / "diffusion", config.res_ckpt_filename, "res_ckpt_filename")
        regression, diffusion = load_network(mean, FSRegressionSR), load_network(residual, FSEDMPrecondSR)
        require_same_run(regression, diffusion)
        if not cut_windows((regression, diffusion), config.patches) and config.patches != PatchGeneration():
            raise InputError("patches.* cuts a domain for networks of windows: these see whole fields; leave it out")
        if regression.trained_on is None or diffusion.trained_on is None or diffusion.noise is None:
            raise InputError(f"the networks of {run} must say what they were trained on: train them with this version")
        return cls(run, read_json(run / "diffusion" / "run.json"), mean, residual, regression, diffusion)


def _checkpoint(stage: Path, given: str | None, key: str) -> Path:
    """Give the checkpoint that is asked for, or the one that a finished stage ended with."""
    if given:
        return Path(given)
    mark = stage / FINISHED
    if not mark.is_file():
        raise InputError(f"the training in {stage} is not finished: continue it to its end, or give {key}")
    return stage / read_record(mark, network=str)["network"]


def dataset_config(record: dict[str, Any], changes: dict[str, Any] | None = None) -> DatasetConfig:
    """Give the dataset configuration that a run recorded, with some keys changed.

    Raises:
        InputError: If a key does not exist.
    """
    options = {**record, **(changes or {})}
    schema = GROUPS["dataset"].get(record["type"], PluginDatasetConfig)
    known = [field.name for field in fields(schema)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InputError(f"the run's dataset has no key {unknown[0]!r}{nearest(unknown[0], known)}")
    return schema(**options)


def open_test_split(config: ExportConfig, networks: FinishedRun) -> tuple[DownscalingDataset, str | None]:
    """Open the test split of the run's data with the networks' normalisation; give it and the name of its region.

    Raises:
        InputError: If the data is gone or of other variables, or its region is not told.
    """
    given = dataset_config(networks.record["dataset"], config.data)
    regions = region_names(given, "test")
    if len(regions) > 1 and config.region is None:
        raise InputError(f"a package has one output grid, the test split several: give region=, one of {regions}")
    if config.region is not None and config.region not in regions:
        raise InputError(
            f"the test split must have the region {config.region!r}: it has {', '.join(regions) or 'none'}"
        )
    region = config.region or (regions[0] if regions else None)
    assert networks.diffusion.trained_on is not None  # noqa: S101 - checked on loading
    channels = normalisation(networks.diffusion.trained_on["data"])
    opening = Opening("test", channels=channels, truth_required=False, region=region, simulate=False)
    dataset = open_dataset(given, opening)
    for name, network in (("regression", networks.regression), ("diffusion", networks.diffusion)):
        require_same_data(network, f"{name} checkpoint", dataset)
    return dataset, region
