# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The files of a package."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physicsnemo_fs.config import ExportConfig
from physicsnemo_fs.export.finished_run import FinishedRun
from physicsnemo_fs.export.grids import Positions, ringed
from physicsnemo_fs.export.integrity import with_hashes
from physicsnemo_fs.export.naming import statistics
from physicsnemo_fs.export.package_model import FUNCTION_SPACE, PackageModel
from physicsnemo_fs.files import exclusive, make_folder, write_json
from physicsnemo_fs.pipelines.corrdiff_package import OWN
from physicsnemo_fs.provenance import code_version

GRID_TOLERANCE = 1e-3
NO_BOUNDS = 10.0
"""Makes the stock class reach the ``sampler_type`` that it refuses, instead of stumbling over the grids."""


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of ``target`` when the block ends well, and is removed otherwise.

    What a killed process left is removed when the same folder is written again.

    Raises:
        InputError: If another process writes the same folder, or it cannot be made.
    """
    new, old = (target.with_name(f".{target.name}.{what}") for what in ("partial", "replaced"))
    with exclusive(target.with_name(f".{target.name}.lock"), f"one export writes {target.name}"):
        shutil.rmtree(new, ignore_errors=True)
        make_folder(new)
        try:
            yield new
            shutil.rmtree(old, ignore_errors=True)
            if target.exists():
                target.rename(old)
            new.rename(target)
        finally:
            for folder in (new, old):
                shutil.rmtree(folder, ignore_errors=True)


def write_files(
    folder: Path,
    config: ExportConfig,
    networks: FinishedRun,
    model: PackageModel,
    model_class: str,
    output: Positions,
    coarse: Positions,
) -> None:
    """Write all but the model card.

    Args:
        folder: Where to.
        config: The whole configuration.
        networks: The networks' files.
        model: Networks, variables and grids.
        model_class: ``"stock"`` or ``"regional"``.
        output: Latitudes and longitudes of the output.
        coarse: The same of the input.
    """
    shutil.copyfile(networks.regression_path, folder / "regression.mdlus")
    shutil.copyfile(networks.diffusion_path, folder / "diffusion.mdlus")
    write_json(statistics(model), folder / "stats.json")
    _write_grid(output, folder / "output_latlon_grid.nc")
    _write_grid(ringed(coarse) if model_class == "stock" else coarse, folder / "input_latlon_grid.nc")
    if model.statics:
        _write_invariants(model, folder / "invariants.nc")
    write_json(with_hashes(_metadata(config, networks, model, model_class), folder), folder / "metadata.json")


def _metadata(config: ExportConfig, networks: FinishedRun, model: PackageModel, model_class: str) -> dict[str, Any]:
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
            "noise": model.denoiser.noise,
            "sampler": asdict(config.sampler),
            **model.record(),
        },
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
