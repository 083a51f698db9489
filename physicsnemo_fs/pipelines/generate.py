# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Generate an ensemble to one NetCDF file."""

import json
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import nvtx
import torch
from torch import Tensor
from tqdm import tqdm

from physicsnemo_fs.config import GenerateConfig
from physicsnemo_fs.data.datasets.forecast_stores import forecast_times
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.signature import normalisation
from physicsnemo_fs.data.types import Batch, Channel, DownscalingDataset
from physicsnemo_fs.diffusion.residual import assemble_condition, interpolate_coarse
from physicsnemo_fs.distributed import Ranks, process_group
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.io.writer import EnsembleWriter
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.assembly import knows_its_statistics, open_dataset, region_names
from physicsnemo_fs.pipelines.checkpoints import file_hash, load_network, newest
from physicsnemo_fs.pipelines.member_sources import MemberSource, member_source
from physicsnemo_fs.pipelines.pictures import samples_picture
from physicsnemo_fs.pipelines.pretrained import Pretrained, find_pretrained
from physicsnemo_fs.pipelines.run_record import require_same_data, require_same_run
from physicsnemo_fs.pipelines.stages import FirstGuess, Mean, regression_channels, to_device
from physicsnemo_fs.precision import autocast
from physicsnemo_fs.random import derive_key

PACKAGES = ("physicsnemo-fs", "nvidia-physicsnemo", "torch", "numpy", "netCDF4")
FORECAST_NAME = re.compile(r"\d{10}f\d{2,3}")


@dataclass(frozen=True)
class Networks:
    """What generates: the mean, and the residual's denoiser unless it is not needed."""

    regression: FSRegressionSR | None
    diffusion: FSEDMPrecondSR | None
    files: dict[str, str]


MODEL_NAMES = {
    "all": "ensemble",
    "diffusion": "diffusion",
    "regression": "regression mean",
    "dressed": "dressed regression",
    "dressed_interpolation": "dressed interpolation",
}


def generate(config: GenerateConfig, reuse: bool = False) -> Path:
    """Generate as :func:`generate_regions`, and give the first path: the only one, unless the split has regions."""
    return generate_regions(config, reuse)[0]


def generate_regions(config: GenerateConfig, reuse: bool = False) -> list[Path]:
    """Generate ``num_ensembles`` members for each time and write them to ``output_filename``.

    A member's noise is a function of (seed, member, time, region): it depends neither on the batch size nor on which
    other times are generated, and it is the same function at every resolution. A split of several regions gives one
    file for each, ``<name>_<region>.nc``.

    Args:
        config: The whole configuration.
        reuse: Keep output files that the same configuration and checkpoints made.

    Raises:
        InputError: If a checkpoint, the data, a time or the output does not fit.
    """
    with process_group(config.perf.num_threads) as ranks:
        if ranks.world_size > 1:
            raise InputError(
                f"generation runs on one process for now: got {ranks.world_size}; start generate.py without a launcher"
            )
        shipped = find_pretrained(config.pretrained) if config.pretrained else None
        networks = _load_networks(config, shipped, ranks)
        path = Path(config.generation.io.output_filename)
        if config.generation.num_ensembles < 1:
            raise InputError(f"generation.num_ensembles must be at least 1: got {config.generation.num_ensembles}")
        if path.suffix != ".nc":
            raise InputError(f"generation.io.output_filename must end in .nc: got {path}")
        known = knows_its_statistics(config.dataset) and shipped is None
        session = _Session(config, networks, None if known else _trained_channels(networks), ranks)
        regions = region_names(config.dataset, config.generation.split)
        if len(regions) < 2:
            return [session.write(path, regions[0] if regions else None, reuse)]
        return [session.write(path.with_stem(f"{path.stem}_{region}"), region, reuse) for region in regions]


class _Session:
    """Networks, and what is made of them once for all regions."""

    def __init__(self, config: GenerateConfig, networks: Networks, channels: dict[str, Channel] | None, ranks: Ranks):
        self.config, self.networks, self.channels, self.ranks = config, networks, channels, ranks
        self.provenance = _provenance(config, networks)
        self._source: MemberSource | None = None

    def write(self, path: Path, region: str | None, reuse: bool) -> Path:
        """Generate one region to one file."""
        generation, networks = self.config.generation, self.networks
        provenance = self.provenance if region is None else {**self.provenance, "region": region}
        if reuse and path.exists() and _made_by(path, provenance):
            return path
        dataset = self._open(region)
        _check_channels(networks, dataset)
        _check_records(networks, dataset)
        chosen = _choose_times(dataset, generation.times, generation.max_times)
        seeds = [generation.seed + m for m in range(generation.num_ensembles)]
        if generation.inference_mode == "regression":
            seeds = seeds[:1]
        interpolated = generation.inference_mode == "dressed_interpolation"
        mean: Mean | None = FirstGuess.of(dataset) if interpolated else networks.regression
        spec = EnsembleSpec(
            grid=dataset.grid,
            coarse_grid=dataset.coarse_grid,
            times=dataset.times[chosen],
            blocks=dataset.blocks[chosen],
            output_channels=dataset.output_channels,
            input_channels=dataset.input_channels,
            member_seeds=tuple(seeds),
            provenance=provenance,
            has_truth=dataset.fetch([int(chosen[0])]).target is not None,
            has_regression=networks.regression is not None and not interpolated,
        )
        if self._source is None:
            self._source = member_source(self.config, mean, networks.diffusion, dataset, self.channels, self.ranks)
        times = [str(dataset.times[position]) for position in chosen]
        keys = [[_member_key(seed, time, region) for seed in seeds] for time in times]
        title = "generate" if region is None else f"generate {region}"
        with (
            EnsembleWriter(path, spec) as writer,
            tqdm(total=len(times) * len(seeds), unit="member", desc=title) as bar,
        ):
            for position, fields in _generate(self.config, mean, self._source, dataset, chosen, keys, self.ranks, bar):
                with nvtx.annotate("write"):
                    writer.write(position, **fields)
        if generation.picture:
            samples_picture(path, path.with_suffix(".png"))
        return path

    def _open(self, region: str | None) -> DownscalingDataset:
        generation = self.config.generation
        opening = Opening(
            generation.split,  # type: ignore[arg-type]
            generation.resolution,
            self.channels,
            truth_required=False,
            ranks=self.ranks,
            region=region,
        )
        return open_dataset(self.config.dataset, opening)


def _member_key(seed: int, time: str, region: str | None) -> int:
    return derive_key(seed, "member", time) if region is None else derive_key(seed, "member", time, region)


def _made_by(path: Path, provenance: dict[str, Any]) -> bool:
    with EnsembleFile(path) as file:
        return file.provenance == json.loads(json.dumps(provenance))


def _load_networks(config: GenerateConfig, shipped: Pretrained | None, ranks: Ranks) -> Networks:
    mode, io, run_dir = config.generation.inference_mode, config.generation.io, Path(config.run_dir)
    mean, residual = io.reg_ckpt_filename, io.res_ckpt_filename
    if shipped is not None:
        mean, residual = mean or str(shipped.regression), residual or str(shipped.diffusion)
    files: dict[str, Path] = {}
    if mode != "diffusion":
        files["regression"] = _find(mean, run_dir / "regression", FSRegressionSR, "reg_ckpt_filename")
    if mode in ("all", "diffusion"):
        files["diffusion"] = _find(residual, run_dir / "diffusion", FSEDMPrecondSR, "res_ckpt_filename")
    regression = load_network(files["regression"], FSRegressionSR) if "regression" in files else None
    diffusion = load_network(files["diffusion"], FSEDMPrecondSR) if "diffusion" in files else None
    return Networks(
        None if regression is None else regression.to(ranks.device),
        None if diffusion is None else diffusion.to(ranks.device),
        {name: file_hash(path) for name, path in files.items()},
    )


def _find(given: str | None, folder: Path, kind: type, key: str) -> Path:
    path = Path(given) if given else newest(folder, f"{kind.__name__}.0.*.mdlus")
    if path is None:
        raise InputError(f"no {kind.__name__} checkpoint in {folder}: train first, or set generation.io.{key}")
    return path


def _trained_channels(networks: Networks) -> dict[str, Channel] | None:
    """Give the normalisation that the networks were trained with; ``None`` if they do not say."""
    network = networks.diffusion or networks.regression
    record = None if network is None else network.trained_on
    return None if record is None else normalisation(record["data"])


def _check_channels(networks: Networks, dataset: DownscalingDataset) -> None:
    conditions, outputs = regression_channels(dataset)
    expected = {}
    if networks.regression is not None:
        expected["regression"] = (networks.regression, [conditions])
    if networks.diffusion is not None:
        with_mean = [conditions + outputs] if networks.regression is not None else []
        expected["diffusion"] = (networks.diffusion, [conditions, *with_mean])
    for name, (network, allowed) in expected.items():
        if network.img_in_channels not in allowed or network.img_out_channels != outputs:
            raise InputError(
                f"the {name} checkpoint takes {network.img_in_channels} condition channels and gives "
                f"{network.img_out_channels}, but the dataset has {conditions} and {outputs}; use the dataset "
                "configuration it was trained with"
            )


def _check_records(networks: Networks, dataset: DownscalingDataset) -> None:
    for name, network in (("regression", networks.regression), ("diffusion", networks.diffusion)):
        if network is not None:
            require_same_data(network, f"{name} checkpoint", dataset)
    if networks.regression is not None and networks.diffusion is not None:
        require_same_run(networks.regression, networks.diffusion)


def _choose_times(dataset: DownscalingDataset, times: list[str] | None, most: int | None) -> np.ndarray:
    """Give the positions of the wanted times in the dataset.

    Raises:
        InputError: If a time is not in the split, naming the first and last ones there.
    """
    if times is None:
        count = len(dataset) if most is None else min(most, len(dataset))
        return np.array(evenly_spread(len(dataset), count), dtype=np.int64)
    wanted = _parse_times(times)
    positions = {t: i for i, t in enumerate(dataset.times)}
    missing = [str(t) for t in wanted if t not in positions]
    if missing:
        raise InputError(
            f"{missing[0]} is not among the {len(dataset)} times of the split, which run from "
            f"{dataset.times[0]} to {dataset.times[-1]}"
        )
    return np.array(sorted({positions[t] for t in wanted}))


def _parse_times(times: list[str]) -> list[np.datetime64]:
    try:
        return [forecast_times([t])[0] if FORECAST_NAME.fullmatch(t) else np.datetime64(t, "ns") for t in times]
    except ValueError as error:
        raise InputError(
            f"generation.times must be ISO times (2000-01-01T00:00:10) or forecasts (2024011212f03): {error}"
        ) from error


@torch.no_grad()
def _generate(
    config: GenerateConfig,
    mean_of: Mean | None,
    source: MemberSource,
    dataset: DownscalingDataset,
    chosen: np.ndarray,
    member_keys: list[list[int]],
    ranks: Ranks,
    bar: tqdm,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give (time position, physical fields) one time after the other."""
    with autocast(ranks.device, config.perf.fp_optimizations):
        members_of_a_time = len(member_keys[0])
        for first, count in _groups(len(chosen), members_of_a_time, config.generation.seed_batch_size):
            positions = range(first, first + count)
            batch = to_device(dataset.fetch([int(chosen[p]) for p in positions]), ranks.device)
            condition = assemble_condition(batch.coarse, batch.invariants, dataset.coarse_grid, dataset.grid)
            mean = None if mean_of is None else mean_of(None, condition)
            keys = [key for p in positions for key in member_keys[p]]
            pieces = []
            for start in range(0, len(keys), config.generation.seed_batch_size):
                part = torch.arange(start, min(start + config.generation.seed_batch_size, len(keys)))
                which = (part // members_of_a_time).to(condition.device)
                with nvtx.annotate("sample"):
                    pieces.append(
                        source.members(
                            None if mean is None else mean[which], condition[which], [keys[i] for i in part.tolist()]
                        )
                    )
                bar.update(len(part))
            members = torch.cat(pieces).unflatten(0, (count, members_of_a_time))
            interpolated = interpolate_coarse(batch.coarse, dataset.coarse_grid, dataset.grid)
            for i, position in enumerate(positions):
                yield (
                    position,
                    {
                        "prediction": _physical(members[i], dataset.output_channels),
                        "regression": _physical(mean[i], dataset.output_channels)
                        if isinstance(mean_of, FSRegressionSR) and mean is not None
                        else None,
                        "truth": _truth(batch, i, dataset.output_channels),
                        "input": _physical(interpolated[i], dataset.input_channels),
                        "input_native": _physical(batch.coarse[i], dataset.input_channels),
                    },
                )


def _groups(times: int, members: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """Give (first, count) of the times sampled together, so that small ensembles still fill a batch."""
    together = max(1, batch_size // members)
    for first in range(0, times, together):
        yield first, min(together, times - first)


def _physical(values: Tensor, channels: tuple[Channel, ...]) -> np.ndarray:
    """Denormalise ``[..., channel, y, x]``."""
    exact = values.double().cpu()
    fields = [channel.denormalize(exact[..., i, :, :]) for i, channel in enumerate(channels)]
    return (torch.stack(fields, dim=-3) if fields else exact).float().numpy()


def _truth(batch: Batch, sample: int, channels: tuple[Channel, ...]) -> np.ndarray | None:
    """Denormalise a sample's truth, NaN where it is not known."""
    if batch.target is None:
        return None
    truth = _physical(batch.target[sample], channels)
    return truth if batch.valid is None else np.where(batch.valid[sample].cpu().numpy(), truth, np.float32(np.nan))


def _provenance(config: GenerateConfig, networks: Networks) -> dict[str, Any]:
    return {
        "model_name": MODEL_NAMES[config.generation.inference_mode],
        "config": asdict(config),
        "checkpoints": networks.files,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }
