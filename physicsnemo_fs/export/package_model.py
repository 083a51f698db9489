# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A package as a function: coarse fields in physical units in, members in physical units out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.config import SamplerConfig
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.data.vocabulary import Conversion
from physicsnemo_fs.diffusion.residual import assemble_condition, interpolate_coarse
from physicsnemo_fs.diffusion.sampling import ResidualSampler
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.grids import Positions, grid_from_dict, grid_to_dict, located, with_positions
from physicsnemo_fs.export.integrity import require_as_exported
from physicsnemo_fs.files import read_json
from physicsnemo_fs.models.base import sees_lead_time
from physicsnemo_fs.models.windowed import has_windows
from physicsnemo_fs.pipelines.corrdiff_networks import (
    CorrDiffDenoiser,
    CorrDiffRegression,
    load_denoiser,
    load_regression,
)
from physicsnemo_fs.pipelines.corrdiff_package import OWN
from physicsnemo_fs.pipelines.generation.networks import windows_of
from physicsnemo_fs.pipelines.member_sources import make_sampler
from physicsnemo_fs.random import member_key

AS_IT_IS = Conversion()
MEMBER_BATCH = 16
"""Members a network call."""
FILES = (
    "metadata.json",
    "stats.json",
    "regression.mdlus",
    "diffusion.mdlus",
    "output_latlon_grid.nc",
    "input_latlon_grid.nc",
)
INVARIANTS = "invariants.nc"
FUNCTION_SPACE = "function space: load with physicsnemo_fs.export.CorrDiffRegional"
"""``sampler_type`` of packages that the stock class must not run: it refuses them with this text."""


@dataclass(frozen=True)
class Variable:
    """A channel of the networks, and what earth2studio calls it.

    Args:
        name: earth2studio's name.
        channel: The channel as it was trained, in the unit of the training.
        conversion: From that unit to earth2studio's.
    """

    name: str
    channel: Channel
    conversion: Conversion = AS_IT_IS

    def normalize(self, value):
        """Turn values in earth2studio's unit into normalised ones."""
        return self.channel.normalize(self.conversion.undo(value))

    def denormalize(self, value):
        """Turn normalised values into ones of earth2studio's unit."""
        return self.conversion(self.channel.denormalize(value))

    def to_dict(self) -> dict[str, Any]:
        """Give the variable as JSON types."""
        return {"name": self.name, "channel": self.channel.to_dict(), "conversion": asdict(self.conversion)}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> "Variable":
        """Give the variable that :meth:`to_dict` described."""
        return Variable(record["name"], Channel.from_dict(record["channel"]), Conversion(**record["conversion"]))


@dataclass(frozen=True)
class PackageModel:
    """Mean, denoiser and everything that turns physical fields into members.

    Args:
        regression: The mean.
        denoiser: The residual's denoiser.
        sampler: The reverse diffusion of the denoiser.
        inputs: Input variables.
        outputs: Output variables.
        statics: Static variables.
        invariants: Their normalised fields on the fine grid, ``[1, invariant, y, x]``.
        coarse_grid: Grid of the input.
        grid: Grid of the output.
        region: Region whose noise it has, where the data has several.
    """

    regression: Any
    denoiser: Any
    sampler: ResidualSampler
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    statics: tuple[Variable, ...]
    invariants: Float[Tensor, "1 invariant y x"]
    coarse_grid: Grid
    grid: Grid
    region: str | None = None

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> "PackageModel":
        """Read a package that this package's exporter wrote.

        Raises:
            InputError: If it did not, a file was changed since, or a network is not to be trusted.
        """
        folder = Path(folder)
        return cls.from_files({name: folder / name for name in (*FILES, INVARIANTS)}, device)

    @classmethod
    def from_files(cls, files: Mapping[str, Path], device: torch.device | str = "cpu") -> "PackageModel":
        """Read the files of a package by name: those of ``FILES``, and ``INVARIANTS`` if it has static variables.

        Raises:
            InputError: If the package is of another exporter, a file was changed since, or a network is not to be
                trusted.
        """
        require_as_exported(files)
        own = read_json(files["metadata.json"])[OWN]
        try:
            return cls._described(own, files, device)
        except (KeyError, TypeError) as error:
            version = own.get("code", {}).get("version", "an unknown version")
            raise InputError(
                f"{files['metadata.json']} says what this version does not know ({error}): it is of {version}; "
                "update physicsnemo-fs or export again"
            ) from error

    @classmethod
    def _described(
        cls, own: Mapping[str, Any], files: Mapping[str, Path], device: torch.device | str
    ) -> "PackageModel":
        regression = load_regression(files["regression.mdlus"]).to(device)
        denoiser = load_denoiser(files["diffusion.mdlus"]).to(device)
        for name, network in (("mean", regression), ("denoiser", denoiser)):
            if has_windows(network):
                network.set_windows(**own["windows"][name])
        grid = with_positions(grid_from_dict(own["grid"]), read_positions(files["output_latlon_grid.nc"]))
        statics = tuple(Variable.from_dict(record) for record in own["invariants"])
        return cls(
            regression,
            denoiser,
            make_sampler(SamplerConfig(**own["sampler"]), denoiser),
            tuple(Variable.from_dict(record) for record in own["inputs"]),
            tuple(Variable.from_dict(record) for record in own["outputs"]),
            statics,
            _read_invariants(files.get(INVARIANTS), statics, grid).to(device),
            _coarse_grid(grid_from_dict(own["coarse_grid"]), files["input_latlon_grid.nc"]),
            grid,
            own["region"],
        )

    @property
    def sees_lead_time(self) -> bool:
        """Whether members depend on the lead time of their input."""
        return any(map(sees_lead_time, (self.regression, self.denoiser)))

    def to(self, device: torch.device | str) -> "PackageModel":
        """Move the networks and fields to a device."""
        self.regression.to(device)
        self.denoiser.to(device)
        return replace(self, invariants=self.invariants.to(device))

    def at_resolution(self, shape: tuple[int, int]) -> "PackageModel":
        """Give the same model with its output sampled on another grid of the domain: the same members, other points.

        Static fields are interpolated.

        Raises:
            InputError: If the networks are bound to their grid, or their windows to multiples of it.
        """
        if isinstance(self.regression, CorrDiffRegression) or isinstance(self.denoiser, CorrDiffDenoiser):
            raise InputError("networks of CorrDiff know one grid: their resolution cannot be changed")
        for network in (self.regression, self.denoiser):
            if has_windows(network):
                network.windows(shape)
        grid = located(self.grid.at(shape), self.grid)
        return replace(self, grid=grid, invariants=interpolate_coarse(self.invariants, self.grid, grid))

    def condition(self, fields: Float[Tensor, "batch input coarse_y coarse_x"]) -> Float[Tensor, "batch condition y x"]:
        """Give the networks' condition for input fields in earth2studio's units."""
        parts = [variable.normalize(fields[:, i].double()).float() for i, variable in enumerate(self.inputs)]
        coarse = torch.stack(parts, dim=1)
        invariants = self.invariants.to(coarse.device).expand(len(coarse), -1, -1, -1)
        return assemble_condition(coarse, invariants, self.coarse_grid, self.grid)

    @torch.no_grad()
    def members(
        self,
        condition: Float[Tensor, "batch condition y x"],
        keys: Sequence[Sequence[int]],
        member_batch: int = MEMBER_BATCH,
        lead_time: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch member output y x"]:
        """Give normalised members of each condition, one for each of its keys.

        Args:
            condition: Conditions.
            keys: For each condition the keys of its members.
            member_batch: Members a network call; changes results by rounding only.
            lead_time: Lead time of each condition in hours, for networks that see it.

        Raises:
            InputError: If the networks see lead times and none are given.
        """
        if self.sees_lead_time and lead_time is None:
            raise InputError(
                "these networks see the lead time of their input: give coordinates time and lead_time before variable"
            )
        mean = self.mean(condition, lead_time)
        with_mean = self.denoiser.img_in_channels != condition.shape[1]
        whole = torch.cat([mean, condition], dim=1) if with_mean else condition
        count = len(keys[0])
        flat = [key for row in keys for key in row]
        pieces = []
        for start in range(0, len(flat), member_batch):
            part = torch.arange(start, min(start + member_batch, len(flat)), device=condition.device)
            chosen = part // count
            hours = None if lead_time is None else lead_time[chosen]
            residual = self.sampler.sample(whole[chosen], [flat[i] for i in part.tolist()], lead_time=hours)
            pieces.append(mean[chosen] + residual)
        return torch.cat(pieces).unflatten(0, (len(keys), count))

    def mean(
        self, condition: Float[Tensor, "batch condition y x"], lead_time: Float[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch output y x"]:
        """Give the normalised mean of each condition."""
        labels = {"lead_time_label": lead_time} if sees_lead_time(self.regression) else {}
        return self.regression(None, condition, **labels)

    def physical(self, members: Float[Tensor, "*lead output y x"]) -> Float[Tensor, "*lead output y x"]:
        """Turn normalised members into fields in earth2studio's units, float32."""
        exact = members.double()
        fields = [variable.denormalize(exact[..., i, :, :]) for i, variable in enumerate(self.outputs)]
        return torch.stack(fields, dim=-3).float()

    def keys(self, seed: int, count: int, places: Sequence[Sequence[str]]) -> list[list[int]]:
        """Give the keys of ``count`` members at each place: its time, then whatever else tells it from others."""
        where = () if self.region is None else (self.region,)
        return [[member_key(seed + m, place[0], *where, *place[1:]) for m in range(count)] for place in places]

    def record(self) -> dict[str, Any]:
        """Give what :meth:`load` needs beside the files of the networks and static fields, as JSON types."""
        return {
            "inputs": [variable.to_dict() for variable in self.inputs],
            "outputs": [variable.to_dict() for variable in self.outputs],
            "invariants": [variable.to_dict() for variable in self.statics],
            "coarse_grid": grid_to_dict(self.coarse_grid),
            "grid": grid_to_dict(self.grid),
            "region": self.region,
            "windows": {"mean": _windows(self.regression), "denoiser": _windows(self.denoiser)},
            **windows_of((self.denoiser, self.regression), self.grid.shape),
        }


def _windows(network: object) -> dict[str, Any] | None:
    """Give how a network of windows cuts a domain, for its ``set_windows``; a checkpoint does not say it."""
    if not has_windows(network):
        return None
    return {name: getattr(network, name) for name in ("overlap", "margin", "max_patch_per_gpu")}


def read_positions(path: Path) -> Positions:
    """Give the latitudes and longitudes in a grid file of a package."""
    with xr.open_dataset(path) as file:
        return Positions(file["lat"].values, file["lon"].values)


def _coarse_grid(grid: Grid, path: Path) -> Grid:
    """Give the coarse grid with its positions, those of a ring around it left out."""
    found = read_positions(path)
    if found.shape != grid.shape:
        found = Positions(*(v[(slice(1, -1),) * v.ndim] for v in (found.latitude, found.longitude)))
    return with_positions(grid, found)


def _read_invariants(path: Path | None, variables: Sequence[Variable], grid: Grid) -> Tensor:
    if not variables:
        return torch.zeros(1, 0, *grid.shape)
    if path is None:
        raise InputError(f"the package needs invariants.nc: it has the static variables {[v.name for v in variables]}")
    with xr.open_dataset(path) as file:
        parts = [v.normalize(torch.from_numpy(file[v.name].values.copy()).double()).float() for v in variables]
    return torch.stack(parts)[None]
