# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Writing a run as a CorrDiff package that earth2studio loads."""

import logging
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physicsnemo_fs.config import GROUPS, DatasetConfig, ExportConfig, PluginDatasetConfig, nearest
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.signature import normalisation
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.card import model_card
from physicsnemo_fs.export.expressible import choose_class, obstacles
from physicsnemo_fs.export.grids import Positions, positions, ringed
from physicsnemo_fs.export.naming import named, package_channel, vocabulary
from physicsnemo_fs.export.package_model import FUNCTION_SPACE, PackageModel, Variable
from physicsnemo_fs.export.self_test import SelfTest, self_test
from physicsnemo_fs.files import make_folder, read_json, write_json
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import open_dataset, region_names
from physicsnemo_fs.pipelines.checkpoints import file_hash, load_network, newest
from physicsnemo_fs.pipelines.corrdiff_package import OWN
from physicsnemo_fs.pipelines.member_sources import make_sampler
from physicsnemo_fs.pipelines.run_record import FINISHED, require_same_data, require_same_run
from physicsnemo_fs.provenance import code_version

log = logging.getLogger(__name__)

GRID_TOLERANCE = 1e-3
NO_BOUNDS = 10.0
"""Makes the stock class reach the ``sampler_type`` that it refuses, instead of stumbling over the grids."""


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
    if target.exists() and not (config.overwrite and (target / "metadata.json").is_file()):
        raise InputError(
            f"{target} is there already: choose another package folder, or overwrite=true for a package of before"
        )
    networks = _Networks.of(config)
    dataset, region = _open(config, networks)
    model = _model(config, networks, dataset, region)
    output = positions(model.grid)
    coarse = positions(model.coarse_grid, model.grid)
    found = obstacles(model, output, coarse, config.sampler)
    model_class = choose_class(config.model_class, found, config.allow_white_latents)
    own_differences = _differences(model, config) if model_class == "stock" else ()
    for text in (*own_differences, *(o.text for o in found if model_class == "stock")):
        log.warning("the package differs from generate.py: %s", text)
    if model_class == "regional" and config.model_class == "auto":
        log.info("for CorrDiffRegional, as earth2studio's CorrDiff cannot run it: %s", "; ".join(o.text for o in found))
    with _appearing(target) as folder:
        _write_files(folder, config, networks, model, model_class, output, coarse)
        test = self_test(folder, model, dataset, model_class)
        differences = (*own_differences, *(o.text for o in found if model_class == "stock"), *test.differences)
        card = model_card(config, model, model_class, output, coarse, test, differences, networks.run)
        (folder / "README.md").write_text(card)
    log.info(test.text)
    return Exported(target, model_class, test, differences)


@dataclass(frozen=True)
class _Networks:
    """The final networks of a run, which are those of the moving average."""

    run: Path
    record: dict[str, Any]
    regression_path: Path
    diffusion_path: Path
    regression: FSRegressionSR
    diffusion: FSEDMPrecondSR

    @classmethod
    def of(cls, config: ExportConfig) -> "_Networks":
        run = Path(config.run)
        if not (run / "diffusion" / "run.json").is_file():
            raise InputError(f"{run} must be the folder of a run with both stages: it has no diffusion/run.json")
        mean = Path(config.reg_ckpt_filename) if config.reg_ckpt_filename else _finished(run / "regression")
        residual = Path(config.res_ckpt_filename) if config.res_ckpt_filename else None
        residual = residual or newest(run / "diffusion", f"{FSEDMPrecondSR.__name__}.0.*.mdlus")
        if residual is None:
            raise InputError(f"{run / 'diffusion'} holds no checkpoint: train the diffusion first")
        regression, diffusion = load_network(mean, FSRegressionSR), load_network(residual, FSEDMPrecondSR)
        require_same_run(regression, diffusion)
        if regression.trained_on is None or diffusion.trained_on is None or diffusion.noise is None:
            raise InputError(f"the networks of {run} must say what they were trained on: train them with this version")
        return cls(run, read_json(run / "diffusion" / "run.json"), mean, residual, regression, diffusion)


def _finished(folder: Path) -> Path:
    mark = folder / FINISHED
    if not mark.is_file():
        raise InputError(f"the regression in {folder} is not finished: train it to its end, or give reg_ckpt_filename")
    return folder / read_json(mark)["network"]


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


def _open(config: ExportConfig, networks: _Networks) -> tuple[DownscalingDataset, str | None]:
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
    dataset = open_dataset(given, Opening("test", channels=channels, truth_required=False, region=region))
    for name, network in (("regression", networks.regression), ("diffusion", networks.diffusion)):
        require_same_data(network, f"{name} checkpoint", dataset)
    return dataset, region


def _model(config: ExportConfig, networks: _Networks, dataset: DownscalingDataset, region: str | None) -> PackageModel:
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


def _differences(model: PackageModel, config: ExportConfig) -> tuple[str, ...]:
    cut = [v.name for v in model.outputs if v.channel.minimum is not None]
    found = []
    if cut:
        found.append(
            f"values of {', '.join(cut)} below their least one are not cut off; clip them, or use the regional"
        )
    if config.seed is not None:
        found.append(f"with seed={config.seed} every time has the same noise; leave the seed out")
    return tuple(found)


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of ``target`` when the block ends well, and is removed otherwise."""
    make_folder(target.parent)
    folder = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    make_folder(folder)
    try:
        yield folder
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_files(
    folder: Path,
    config: ExportConfig,
    networks: _Networks,
    model: PackageModel,
    model_class: str,
    output: Positions,
    coarse: Positions,
) -> None:
    shutil.copyfile(networks.regression_path, folder / "regression.mdlus")
    shutil.copyfile(networks.diffusion_path, folder / "diffusion.mdlus")
    write_json(_metadata(config, networks, model, model_class), folder / "metadata.json")
    write_json(_stats(model), folder / "stats.json")
    _write_grid(output, folder / "output_latlon_grid.nc")
    _write_grid(ringed(coarse) if model_class == "stock" else coarse, folder / "input_latlon_grid.nc")
    if model.statics:
        _write_invariants(model, folder / "invariants.nc")


def _metadata(config: ExportConfig, networks: _Networks, model: PackageModel, model_class: str) -> dict[str, Any]:
    conditions = len(model.inputs) + len(model.statics)
    levels = model.sampler.scheduler
    return {
        "input_variables": [v.name for v in model.inputs],
        "output_variables": [v.name for v in model.outputs],
        "invariant_variables": [v.name for v in model.statics],
        "number_of_samples": config.number_of_samples,
        "number_of_steps": config.sampler.num_steps,
        "sampler_type": "stochastic" if model_class == "stock" else FUNCTION_SPACE,
        "inference_mode": "both",
        "hr_mean_conditioning": networks.diffusion.img_in_channels != conditions,
        "seed": config.seed,
        "sigma_min": float(levels.sigma_min),
        "sigma_max": float(levels.sigma_max),
        "grid_spacing_tolerance": GRID_TOLERANCE,
        "grid_bounds_margin": 0.0 if model_class == "stock" else NO_BOUNDS,
        OWN: {
            "code": code_version(),
            "model_class": model_class,
            "run": networks.diffusion.trained_on["run"] if networks.diffusion.trained_on else None,
            "checkpoints": {
                "regression": file_hash(networks.regression_path),
                "diffusion": file_hash(networks.diffusion_path),
            },
            "noise": model.denoiser.noise,
            "sampler": asdict(config.sampler),
            **model.record(),
        },
    }


def _stats(model: PackageModel) -> dict[str, Any]:
    kinds = {"input": model.inputs, "output": model.outputs, "invariants": model.statics}
    return {
        kind: {c.name: {"mean": float(c.mean), "std": float(c.std)} for c in map(package_channel, variables)}
        for kind, variables in kinds.items()
    }


def _write_grid(found: Positions, path: Path) -> None:
    dims = (("lat",), ("lon",)) if found.regular else (("y", "x"), ("y", "x"))
    attributes = (
        {"units": "degrees_north", "standard_name": "latitude"},
        {"units": "degrees_east", "standard_name": "longitude"},
    )
    values = {n: (d, v, a) for n, d, v, a in zip(("lat", "lon"), dims, _values(found), attributes, strict=True)}
    (xr.Dataset(coords=values) if found.regular else xr.Dataset(values)).to_netcdf(path)


def _values(found: Positions) -> tuple[np.ndarray, np.ndarray]:
    return found.latitude, found.longitude


def _write_invariants(model: PackageModel, path: Path) -> None:
    exact = model.invariants[0].double()
    fields = {
        v.name: (("y", "x"), np.asarray(v.denormalize(exact[i]), np.float32), {"units": v.channel.unit})
        for i, v in enumerate(model.statics)
    }
    xr.Dataset(fields).to_netcdf(path)
