# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Reading a CorrDiff package, this package's or NVIDIA's: variables, normalisation, networks."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from physicsnemo_fs.config import SamplerConfig
from physicsnemo_fs.data.types import Channel, DownscalingDataset
from physicsnemo_fs.data.vocabulary import UNITS
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import read_json
from physicsnemo_fs.pipelines.corrdiff_networks import SIGMA_MAX, SIGMA_MIN, Rescaling

log = logging.getLogger(__name__)

OWN = "physicsnemo_fs"
"""Key of ``metadata.json`` under which this package's exporter says what CorrDiff's keys cannot."""
LEVELS, STEPS = (SIGMA_MIN, SIGMA_MAX), 18
"""Noise levels and steps of packages that say none."""
KINDS = {"input": "input_variables", "output": "output_variables", "invariants": "invariant_variables"}


@dataclass(frozen=True)
class CorrDiffPackage:
    """A folder with two networks and what they were trained on.

    Args:
        folder: The folder.
        metadata: ``metadata.json``.
        inputs: Input channels with their normalisation.
        outputs: Output channels with theirs.
        invariants: Static channels with theirs.
    """

    folder: Path
    metadata: Mapping[str, Any]
    inputs: tuple[Channel, ...]
    outputs: tuple[Channel, ...]
    invariants: tuple[Channel, ...]

    @property
    def regression(self) -> Path:
        """The mean's checkpoint."""
        return self.folder / "regression.mdlus"

    @property
    def diffusion(self) -> Path:
        """The denoiser's checkpoint."""
        return self.folder / "diffusion.mdlus"

    @property
    def own(self) -> Mapping[str, Any] | None:
        """What this package's exporter recorded; ``None`` for other packages."""
        return self.metadata.get(OWN)

    def channels(self) -> dict[str, Channel] | None:
        """Give the normalisation by name that data of other packages is opened with: an output's before an input's.

        ``None`` for packages of this exporter, whose networks carry it.
        """
        if self.own is not None:
            return None
        return {c.name: c for c in (*self.invariants, *self.inputs, *self.outputs)}

    def rescaling(self) -> Rescaling | None:
        """Give the change from the normalisation of :meth:`channels` to the networks'; ``None`` if there is none."""
        known = self.channels()
        if known is None:
            return None
        conditions = (*self.inputs, *self.invariants)
        scale = tuple(known[c.name].std / c.std for c in conditions)
        return Rescaling(scale, tuple((known[c.name].mean - c.mean) / c.std for c in conditions))

    @property
    def levels(self) -> tuple[float, float]:
        """The noise levels that it is sampled between; the networks may limit them."""
        given = (self.metadata.get("sigma_min"), self.metadata.get("sigma_max"))
        low, high = (known if level is None else float(level) for level, known in zip(given, LEVELS, strict=True))
        return low, high

    def compare(self, sampler: SamplerConfig) -> None:
        """Warn of a sampler that is not the package's."""
        steps = self.metadata.get("number_of_steps", STEPS)
        if steps != sampler.num_steps:
            log.warning(
                "the package is sampled in %s steps, and here in %d; add sampler.num_steps=%s for those of the package",
                steps, sampler.num_steps, steps,
            )  # fmt: skip

    def require_variables(self, dataset: DownscalingDataset) -> None:
        """Refuse data whose variables are not those of the package, in their order.

        Raises:
            InputError: Naming both.
        """
        if self.own is not None:
            return
        given = (dataset.input_channels, dataset.output_channels, dataset.invariant_channels)
        for kind, own, channels in zip(KINDS, (self.inputs, self.outputs, self.invariants), given, strict=True):
            wanted, there = [c.name for c in own], [c.name for c in channels]
            if wanted != there:
                raise InputError(
                    f"the package's {kind} variables are {', '.join(wanted) or 'none'}, in this order: the dataset has "
                    f"{', '.join(there) or 'none'}; rename by new=name and order them so"
                )
            for channel in channels:
                if channel.name not in UNITS:
                    log.warning(
                        "the package does not say the unit of %s: the data's is taken, %s", channel.name, channel.unit
                    )


def read_package(folder: Path | str) -> CorrDiffPackage:
    """Read what a package says; its networks are loaded elsewhere.

    Raises:
        InputError: If the folder is no package, or a variable has no statistics.
    """
    folder = Path(folder)
    missing = [n for n in ("metadata.json", "stats.json", "regression.mdlus", "diffusion.mdlus") if _absent(folder, n)]
    if missing:
        raise InputError(f"a CorrDiff package must hold {', '.join(missing)}: {folder} does not; give its folder")
    metadata, stats = read_json(folder / "metadata.json"), read_json(folder / "stats.json")
    for name in ("input_variables", "output_variables"):
        if not metadata.get(name):
            raise InputError(f"{folder / 'metadata.json'} must name {name}: it has {', '.join(metadata) or 'nothing'}")
    if metadata.get("invariant_variables") is None and (folder / "invariants.nc").is_file():
        with xr.open_dataset(folder / "invariants.nc") as file:
            metadata["invariant_variables"] = [str(name) for name in file.data_vars]
    found = [_channels(folder, stats, kind, metadata.get(key) or []) for kind, key in KINDS.items()]
    return CorrDiffPackage(folder, metadata, *found)


def _absent(folder: Path, name: str) -> bool:
    return not (folder / name).is_file()


def _channels(folder: Path, stats: Mapping[str, Any], kind: str, names: list[str]) -> tuple[Channel, ...]:
    known = stats.get(kind, {})
    for name in names:
        if not {"mean", "std"} <= set(known.get(name, {})):
            raise InputError(
                f"{folder / 'stats.json'} must have mean and std of the {kind} variable {name!r}: it has "
                f"{', '.join(known) or 'none'}; add them"
            )
    return tuple(Channel(n, UNITS.get(n, ""), float(known[n]["mean"]), float(known[n]["std"])) for n in names)
