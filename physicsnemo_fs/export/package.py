# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Writing a run as a CorrDiff package that earth2studio loads."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physicsnemo_fs.config import ExportConfig
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.card import model_card
from physicsnemo_fs.export.expressible import Obstacle, choose_class, obstacles
from physicsnemo_fs.export.finished_run import FinishedRun, open_test_split
from physicsnemo_fs.export.grids import positions
from physicsnemo_fs.export.naming import named, vocabulary
from physicsnemo_fs.export.package_files import appearing, write_files
from physicsnemo_fs.export.package_model import PackageModel, Variable
from physicsnemo_fs.export.self_test import SelfTest, self_test
from physicsnemo_fs.files import read_json
from physicsnemo_fs.pipelines.corrdiff_package import OWN
from physicsnemo_fs.pipelines.member_sources import make_sampler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """What an export gave.

    Args:
        folder: The package.
        model_class: ``"stock"`` or ``"regional"``.
        test: Result of the self-test.
        differences: What the package does otherwise than ``generate.py``.
    """

    folder: Path
    model_class: str
    test: SelfTest
    differences: tuple[str, ...]


def export_package(config: ExportConfig) -> Exported:
    """Write a finished run as a CorrDiff package, and run the package once against the pipeline.

    Args:
        config: The whole configuration.

    Raises:
        InputError: If the run is unfinished, the package is there, the data is gone, a name or unit is not
            earth2studio's, the class asked for cannot do what the networks need, or the self-test fails.
    """
    target = Path(config.package)
    if target.exists() and not (config.overwrite and _is_ours(target)):
        raise InputError(
            f"{target} is there already: choose another package folder, or overwrite=true for a package of before"
        )
    networks = FinishedRun.of(config)
    dataset, region = open_test_split(config, networks)
    output, coarse = positions(dataset.grid), positions(dataset.coarse_grid, dataset.grid)
    model = _model(config, networks, dataset, region)
    found = obstacles(model, output, coarse, config.sampler)
    model_class = choose_class(config.model_class, found, config.allow_white_latents)
    known = _differences(found, config) if model_class == "stock" else ()
    for text in known:
        log.warning("the package differs from generate.py: %s", text)
    if model_class == "regional" and config.model_class == "auto":
        log.info("for CorrDiffRegional, as earth2studio's CorrDiff cannot run it: %s", "; ".join(o.text for o in found))
    with appearing(target) as folder:
        write_files(folder, config, networks, model, model_class, output, coarse)
        test = self_test(folder, model, dataset, model_class)
        differences = (*known, *test.differences)
        card = model_card(config, model, model_class, output, coarse, test, differences, networks)
        (folder / "README.md").write_text(card, encoding="utf-8")
    log.info(test.text)
    return Exported(target, model_class, test, differences)


def _is_ours(folder: Path) -> bool:
    metadata = folder / "metadata.json"
    found = read_json(metadata) if metadata.is_file() else None
    return isinstance(found, dict) and OWN in found


def _model(
    config: ExportConfig, networks: FinishedRun, dataset: DownscalingDataset, region: str | None
) -> PackageModel:
    names, units = _mapping("names", config.names), _mapping("units", config.units)
    known = vocabulary()
    own = {c.name for c in (*dataset.input_channels, *dataset.output_channels)}
    for key, given in (("names", names), ("units", units)):
        if foreign := sorted(set(given) - own):
            raise InputError(f"{key} must be of the run's variables, {', '.join(sorted(own))}: got {foreign[0]!r}")
    return PackageModel(
        networks.regression,
        networks.diffusion,
        make_sampler(config.sampler, networks.diffusion),
        named(dataset.input_channels, names, units, known),
        named(dataset.output_channels, names, units, known),
        tuple(Variable(c.name, c) for c in dataset.invariant_channels),
        dataset.fetch([0]).invariants[:1].float(),
        dataset.coarse_grid,
        dataset.grid,
        region,
    )


def _mapping(key: str, given: Any) -> dict[str, str]:
    if given is not None and not isinstance(given, dict):
        raise InputError(f"{key} must be a mapping such as {{temperature: t2m}}: got {given!r}")
    return {str(name): str(value) for name, value in (given or {}).items()}


def _differences(found: list[Obstacle], config: ExportConfig) -> tuple[str, ...]:
    """Give what the stock class does otherwise than ``generate.py``, as far as that is known before it runs."""
    seeded = f"with seed={config.seed} every time has the same noise; leave the seed out"
    return (*(obstacle.text for obstacle in found), *([seeded] if config.seed is not None else []))
