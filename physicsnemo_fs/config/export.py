# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Export to earth2studio."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from physicsnemo_fs.config.generation import SamplerConfig
from physicsnemo_fs.config.keys import key
from physicsnemo_fs.config.patches import PatchGeneration


@dataclass
class ExportConfig:
    """``export.py``."""

    run: str = key(MISSING, "Folder of a finished run.")
    package: str = key(MISSING, "Folder to write; it must not be there yet, unless overwrite=true.")
    model_class: str = key(
        "auto",
        "Who loads it: stock (earth2studio's CorrDiff), regional (physicsnemo_fs.export.CorrDiffRegional), or auto: "
        "stock where that gives what generate.py gives.",
        choices=("auto", "stock", "regional"),
    )
    names: Any = key(None, "earth2studio's name of each variable that has another here, {temperature: t2m}.")
    units: Any = key(None, "Unit of variables whose data does not say it, {tp: mm}.")
    data: Any = key(None, "Keys of the run's dataset that differ now, {data_path: new/place/*.nc}.")
    region: str | None = key(None, "Region of the output, where the test split has several.")
    number_of_samples: int = key(4, "Members that the model gives unless asked otherwise.", least=1)
    seed: int | None = key(None, "Seed of the first member; null draws one at every call.")
    sampler: SamplerConfig = key(SamplerConfig, "The reverse diffusion.")
    patches: PatchGeneration = key(PatchGeneration, "How a domain is cut, for a denoiser of windows.")
    allow_white_latents: bool = key(
        False, "Let the stock class start from white noise although the network was trained with coloured noise."
    )
    reg_ckpt_filename: str | None = key(None, "Regression .mdlus; null takes the finished run's.")
    res_ckpt_filename: str | None = key(None, "Diffusion .mdlus; null takes the finished run's.")
    scores: str | None = key(None, "scores_summary.csv for the model card; null takes the one in run/scores.")
    title: str | None = key(None, "Title of the model card.")
    licence: str | None = key(None, "Licence of the networks, for the model card, such as Apache-2.0.")
    data_licence: str | None = key(None, "Licence of the training data, for the model card.")
    overwrite: bool = key(False, "Replace a package that is there.")
