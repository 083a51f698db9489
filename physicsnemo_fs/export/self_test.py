# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Runs a package once against the pipeline: the same noise in, the same field out."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.diffusion.residual import assemble_condition, interpolate_coarse
from physicsnemo_fs.diffusion.sampling import ResidualSampler
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.naming import has_earth2studio
from physicsnemo_fs.export.package_model import PackageModel, Variable
from physicsnemo_fs.pipelines.member_sources import Diffused
from physicsnemo_fs.random import member_key
from physicsnemo_fs.testing import relative_error

TOLERANCE = 1e-5
SEED, MEMBERS = 7, 2
NOTABLE = 0.05
"""Share of the members' spread from which another interpolation of the input is said to matter."""


@dataclass(frozen=True)
class SelfTest:
    """What was run, and how well it agreed.

    Args:
        text: One line that says both.
        error: Relative L2 difference of normalised fields.
        differences: What the package's class does otherwise, with numbers.
    """

    text: str
    error: float
    differences: tuple[str, ...] = ()


class GivenLatents(FunctionSpaceScheduler):
    """Noise levels of another scheduler, and latents that are given instead of drawn.

    Args:
        scheduler: Noise levels.
        latents: Standard noise, ``[sample, channel, y, x]``.
    """

    def __init__(self, scheduler: FunctionSpaceScheduler, latents: Float[Tensor, "sample channel y x"]):
        super().__init__(
            scheduler.field,
            sigma_min=scheduler.sigma_min,
            sigma_max=scheduler.sigma_max,
            rho=scheduler.rho,
            sigma_data=scheduler.sigma_data,
            schedule=scheduler.schedule,
        )
        self.latents = latents

    def init_latents(self, spatial_shape, tN, *, device=None, dtype=None, keys=None):
        """Give the latents at the first noise level."""
        return tN.view(-1, 1, 1, 1) * self.latents.to(tN)


def torch_latents(seeds: Sequence[int], channels: int, shape: tuple[int, int]) -> Float[Tensor, "seed channel y x"]:
    """Give the white noise that earth2studio's CorrDiff draws on a CPU for each seed."""
    return torch.stack(
        [torch.randn(channels, *shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
    )


def self_test(folder: Path, model: PackageModel, dataset: DownscalingDataset, model_class: str) -> SelfTest:
    """Run a package on one time of a dataset, and compare its members with the pipeline's.

    With earth2studio the package's class runs; without, the package's files alone are read and run.

    Args:
        folder: The package.
        model: Networks, grids and variables of the run.
        dataset: Data to take the time from.
        model_class: ``"stock"`` or ``"regional"``.

    Raises:
        InputError: If the fields differ by more than rounding.
    """
    position = len(dataset) // 2
    time = dataset.times[position]
    batch = dataset.fetch([position])
    physical = _physical_input(batch.coarse, model.inputs)
    coarse = torch.stack([v.channel.normalize(physical[:, i]) for i, v in enumerate(model.inputs)], dim=1)
    condition = assemble_condition(coarse, batch.invariants, dataset.coarse_grid, dataset.grid)
    hours = batch.lead_time if model.sees_lead_time else None
    fields = torch.stack([_single(v.conversion(physical[:, i].double())) for i, v in enumerate(model.inputs)], dim=1)
    if not has_earth2studio():
        found, error = _files_alone(folder, model, condition, fields, time, hours)
        what = (
            "its files, read back and run by this package; earth2studio is not installed here, so its class was not "
            'run (pip install "physicsnemo-fs[earth2studio]")'
        )
        return _checked(what, error)
    if model_class == "regional":
        expected = _pipeline(model, model.sampler, condition, _keys(model, time), hours)
        found = _run_class(_load(folder, "CorrDiffRegional"), fields, time, hours)
        return _checked("CorrDiffRegional in earth2studio", _difference(model, found[0], expected))
    return _stock(folder, model, condition, fields, time)


def _stock(folder: Path, model: PackageModel, condition: Tensor, fields: Tensor, time: np.datetime64) -> SelfTest:
    latents = torch_latents([SEED + m for m in range(MEMBERS)], len(model.outputs), model.grid.shape)
    sampler = replace(model.sampler, scheduler=GivenLatents(model.sampler.scheduler, latents))
    expected = _pipeline(model, sampler, condition, list(range(MEMBERS)), None)
    stock = _load(folder, "CorrDiff")
    ring = torch.nn.functional.pad(fields, (1, 1, 1, 1), mode="replicate")
    own = _run_class(stock, ring)[0]
    exact = interpolate_coarse(fields, model.coarse_grid, model.grid)[0]
    stock._interpolate = lambda x: exact
    error = _difference(model, _run_class(stock, ring)[0], expected)
    test = _checked("earth2studio's CorrDiff, on the input as the pipeline interpolates it", error)
    between = _difference(model, own, expected)
    if between < TOLERANCE:
        return test
    spread = (expected[0] - expected[1]).std() / 2**0.5
    share = float((_normal(model, own) - expected).square().mean().sqrt() / spread)
    strength = "" if share < NOTABLE else ": more than is small; use model_class=regional"
    text = f"its own interpolation of the input moves members by {share:.1%} of their spread{strength}"
    return replace(test, differences=(text,))


def _files_alone(
    folder: Path, model: PackageModel, condition: Tensor, fields: Tensor, time: np.datetime64, hours: Tensor | None
) -> tuple[Tensor, float]:
    loaded = PackageModel.load(folder)
    expected = _pipeline(model, model.sampler, condition, _keys(model, time), hours)
    keys = loaded.keys(SEED, MEMBERS, [[str(time)]])
    found = loaded.physical(loaded.members(loaded.condition(fields), keys, lead_time=hours))[0]
    return found, _difference(model, found, expected)


def _physical_input(coarse: Tensor, variables: Sequence[Variable]) -> Tensor:
    """Give the input in the unit of the training, rounded as a file would be."""
    exact = coarse.double()
    return torch.stack([_single(v.channel.denormalize(exact[:, i])) for i, v in enumerate(variables)], dim=1)


def _single(values: Tensor) -> Tensor:
    return values.float()


def _keys(model: PackageModel, time: np.datetime64) -> list[int]:
    where = () if model.region is None else (model.region,)
    return [member_key(SEED + m, str(time), *where) for m in range(MEMBERS)]


@torch.no_grad()
def _pipeline(
    model: PackageModel, sampler: ResidualSampler, condition: Tensor, keys: list[int], hours: Tensor | None
) -> Float[Tensor, "member output y x"]:
    """Give normalised members as ``generate.py`` makes them."""
    conditions = condition.expand(len(keys), -1, -1, -1)
    with_mean = model.denoiser.img_in_channels != condition.shape[1]
    lead_time = None if hours is None else hours.expand(len(keys))
    mean = model.mean(conditions, lead_time)
    return Diffused(sampler, with_mean).members(mean, conditions, keys, lead_time=lead_time)


def _normal(model: PackageModel, fields: Tensor) -> Tensor:
    exact = fields.double()
    return torch.stack([v.normalize(exact[..., i, :, :]) for i, v in enumerate(model.outputs)], dim=-3)


def _difference(model: PackageModel, fields: Tensor, expected: Tensor) -> float:
    """Compare physical fields with normalised members, in normalised units, least values cut off in both.

    What float32 cannot tell apart in physical units does not count: 280 K has steps of 3e-5 K.
    """
    physical = model.physical(expected)
    wanted, found = _normal(model, physical), _normal(model, fields)
    step = _normal(model, physical + torch.finfo(torch.float32).eps * physical.double().abs()) - wanted
    excess = ((found - wanted).abs() - step.abs()).clamp(min=0.0)
    return relative_error(wanted + excess, wanted)


def _load(folder: Path, name: str) -> Any:
    if name == "CorrDiff":
        from earth2studio.models.dx import CorrDiff

        return CorrDiff.from_pretrained(str(folder))
    from physicsnemo_fs.export.corrdiff_regional import CorrDiffRegional

    return CorrDiffRegional.from_pretrained(str(folder))


def _run_class(loaded: Any, fields: Tensor, time: np.datetime64 | None = None, hours: Tensor | None = None) -> Tensor:
    """Give the members of one time, ``[1, member, output, y, x]``."""
    loaded.number_of_samples, loaded.seed = MEMBERS, SEED
    coordinates = loaded.input_coords()
    first = {"batch": np.zeros(1)}
    if time is not None:
        lead = np.zeros(1) if hours is None else hours.double().numpy()
        ahead = np.round(lead * 3600e9).astype("timedelta64[ns]")
        first = {"time": np.array([time], "datetime64[ns]") - ahead, "lead_time": ahead}
        fields = fields[:, None]
    found, _ = loaded(fields, OrderedDict(first | {n: coordinates[n] for n in ("variable", "lat", "lon")}))
    return found if time is None else found[:, 0]


def _checked(what: str, error: float) -> SelfTest:
    if not error <= TOLERANCE:
        raise InputError(
            f"the package must give the pipeline's fields: {what} gave others (relative difference {error:.1e}, "
            f"tolerance {TOLERANCE:.0e}); no package was written"
        )
    rounding = f"{error:.1e}" if error else "float32 rounding"
    return SelfTest(f"self-test: {what}; the same noise gave the same field to {rounding}", error)
