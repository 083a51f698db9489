# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The networks that generate: found, loaded, and compared with each other and with the data."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from physicsnemo_fs.config import GenerateConfig, PatchGeneration
from physicsnemo_fs.data.signature import normalisation
from physicsnemo_fs.data.types import Channel, DownscalingDataset
from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.models.windowed import has_windows
from physicsnemo_fs.pipelines.checkpoints import file_hash, names_of, newest
from physicsnemo_fs.pipelines.corrdiff_networks import (
    CorrDiffDenoiser,
    CorrDiffRegression,
    load_denoiser,
    load_regression,
)
from physicsnemo_fs.pipelines.corrdiff_package import CorrDiffPackage, read_package
from physicsnemo_fs.pipelines.pretrained import Pretrained
from physicsnemo_fs.pipelines.run_record import require_same_data, require_same_run
from physicsnemo_fs.pipelines.stages import regression_channels, require_grid

PACKAGES = ("physicsnemo-fs", "nvidia-physicsnemo", "torch", "numpy", "netCDF4")


@dataclass(frozen=True)
class Networks:
    """What generates: the mean, and the residual's denoiser unless it is not needed."""

    regression: FSRegressionSR | CorrDiffRegression | None
    diffusion: FSEDMPrecondSR | CorrDiffDenoiser | None
    files: dict[str, str]
    package: CorrDiffPackage | None = None


MODEL_NAMES = {
    "all": "ensemble",
    "diffusion": "diffusion",
    "regression": "regression mean",
    "dressed": "dressed regression",
    "dressed_interpolation": "dressed interpolation",
}


def load_networks(config: GenerateConfig, shipped: Pretrained | None, ranks: Ranks) -> Networks:
    """Load what ``generation.inference_mode`` needs onto this process's device.

    Raises:
        InputError: If a checkpoint is missing or of another kind.
    """
    mode, io, run_dir = config.generation.inference_mode, config.generation.io, Path(config.run_dir)
    mean, residual = io.reg_ckpt_filename, io.res_ckpt_filename
    package = read_package(config.package) if config.package else None
    given = package or shipped
    if given is not None:
        mean, residual = mean or str(given.regression), residual or str(given.diffusion)
    files: dict[str, Path] = {}
    if mode != "diffusion":
        files["regression"] = _find(mean, run_dir / "regression", FSRegressionSR, "reg_ckpt_filename")
    if mode in ("all", "diffusion"):
        files["diffusion"] = _find(residual, run_dir / "diffusion", FSEDMPrecondSR, "res_ckpt_filename")
    rescaling = None if package is None else package.rescaling()
    regression = (
        load_regression(files["regression"], rescaling, config.trusted_packages) if "regression" in files else None
    )
    levels = {} if package is None else {"levels": package.levels}
    diffusion = (
        load_denoiser(files["diffusion"], rescaling, config.trusted_packages, **levels)
        if "diffusion" in files
        else None
    )
    if package is not None and diffusion is not None:
        package.compare(config.sampler)
    cut_windows((regression, diffusion), config.generation)
    if config.perf.torch_compile:
        for network in (regression, diffusion):
            if network is not None:
                inner: Any = getattr(network, "backbone", network)
                inner.compile()
    return Networks(
        None if regression is None else regression.to(ranks.device),
        None if diffusion is None else diffusion.to(ranks.device),
        {name: file_hash(path) for name, path in files.items()},
        package,
    )


def cut_windows(networks: Sequence[object], given: PatchGeneration) -> bool:
    """Set how networks of windows cut a domain; tell whether any of them is one."""
    windowed = [network for network in networks if has_windows(network)]
    overlap, margin = (None if n is None else (n, n) for n in (given.overlap_pix, given.boundary_pix))
    for network in windowed:
        network.set_windows(overlap, margin, given.max_patch_per_gpu)
    return bool(windowed)


def _find(given: str | None, folder: Path, kind: type, key: str) -> Path:
    found = (newest(folder, f"{name}.0.*.mdlus") for name in names_of(kind))
    path = Path(given) if given else next((path for path in found if path is not None), None)
    if path is None:
        raise InputError(f"no {kind.__name__} checkpoint in {folder}: train first, or set generation.io.{key}")
    return path


def trained_channels(networks: Networks) -> dict[str, Channel] | None:
    """Give the normalisation that the networks were trained with; ``None`` if they do not say."""
    if networks.package is not None and (channels := networks.package.channels()) is not None:
        return channels
    network = networks.diffusion or networks.regression
    record = None if network is None else network.trained_on
    return None if record is None else normalisation(record["data"])


def require_fit(networks: Networks, dataset: DownscalingDataset) -> None:
    """Refuse data that the networks were not trained on, and networks of different trainings.

    Raises:
        InputError: Naming the first difference.
    """
    if networks.package is not None:
        networks.package.require_variables(dataset)
    _require_channels(networks, dataset)
    for network in (networks.regression, networks.diffusion):
        if not has_windows(network):
            require_grid(getattr(network, "backbone", None), dataset)
    _require_same(networks, dataset)


def _require_channels(networks: Networks, dataset: DownscalingDataset) -> None:
    conditions, outputs = regression_channels(dataset)
    expected: dict[str, tuple[Any, list[int]]] = {}
    if networks.regression is not None:
        expected["regression"] = (networks.regression, [conditions])
    if networks.diffusion is not None:
        with_mean = [conditions + outputs] if networks.regression is not None else []
        expected["diffusion"] = (networks.diffusion, [conditions, *with_mean])
    if networks.regression is None and networks.diffusion is not None:
        given = networks.diffusion.img_in_channels
        if given == conditions + outputs and networks.diffusion.img_out_channels == outputs:
            raise InputError(
                f"generation.inference_mode=diffusion needs a denoiser that does not see the mean: this one takes "
                f"{given} condition channels, {outputs} of them the mean's; generate in mode all, or train with "
                "training.hr_mean_conditioning=false"
            )
    for name, (network, allowed) in expected.items():
        if network.img_in_channels not in allowed or network.img_out_channels != outputs:
            raise InputError(
                f"the {name} checkpoint takes {network.img_in_channels} condition channels and gives "
                f"{network.img_out_channels}, but the dataset has {conditions} and {outputs}; use the dataset "
                "configuration it was trained with"
            )


def _require_same(networks: Networks, dataset: DownscalingDataset) -> None:
    for name, network in (("regression", networks.regression), ("diffusion", networks.diffusion)):
        if network is not None:
            require_same_data(network, f"{name} checkpoint", dataset)
    if networks.regression is not None and networks.diffusion is not None:
        require_same_run(networks.regression, networks.diffusion)


def windows_of(networks: Sequence[Any], shape: tuple[int, int]) -> dict[str, Any]:
    """Give the windows that a domain is cut into, as JSON types under ``"patches"``; nothing if it is not cut.

    Args:
        networks: Denoiser and mean: the first that has windows is meant.
        shape: Rows and columns of the domain.
    """
    for network in networks:
        if has_windows(network):
            return {"patches": network.windows(shape).to_dict()}
    return {}


def provenance_of(config: GenerateConfig, networks: Networks) -> dict[str, Any]:
    """Give what made a result, as JSON types."""
    return {
        "model_name": MODEL_NAMES[config.generation.inference_mode],
        "config": asdict(config),
        "checkpoints": networks.files,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }
