# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiffRegional: earth2studio's CorrDiff for any output grid, with noise that is a function."""

import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.grids import positions
from physicsnemo_fs.export.package_model import FILES, FUNCTION_SPACE, INVARIANTS, MEMBER_BATCH, PackageModel
from physicsnemo_fs.pipelines.corrdiff_networks import load_denoiser, load_regression
from physicsnemo_fs.pipelines.corrdiff_package import OWN

try:
    from earth2studio.models.auto import Package
    from earth2studio.models.batch import batch_func
    from earth2studio.models.dx import CorrDiff
    from earth2studio.utils import interp
except ImportError as error:
    raise ImportError(
        f"CorrDiffRegional needs earth2studio, which is not whole here ({error}): "
        'pip install "physicsnemo-fs[earth2studio]"'
    ) from error

Coordinates = OrderedDict
LAST = ("variable", "lat", "lon")
"""Dimensions of a field; those before them are batch dimensions."""


class CorrDiffRegional(CorrDiff):
    """earth2studio's CorrDiff for any output grid; for networks of this package also with their own noise.

    - Output grids of one latitude a row and one longitude a column, non-square and projected ones run too.
    - Packages written for ``model_class=regional`` run as ``generate.py`` does: the same interpolation of the input,
      transforms, coloured noise and solvers, several members a network call. A member's noise is a function of (seed,
      member, valid time) and of the coordinates of every further leading dimension, not of the batch.
    - All other packages give exactly what ``CorrDiff`` gives wherever that works.

    Networks are loaded by this package's rules: no pickle, and no class of an untrusted package.

    Attributes:
        number_of_samples: Members.
        seed: Seed of the first member; ``None`` draws one at every call.
        member_batch: Members a network call; changes results by rounding only.

    Example:
        Given a package, ``CorrDiffRegional.from_pretrained("package")`` loads it.
    """

    function_space: PackageModel | None = None
    member_batch = MEMBER_BATCH

    @classmethod
    def load_model(
        cls,
        package: Package,
        device: str | None = None,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
    ) -> "CorrDiffRegional":
        """Load a package.

        Args:
            package: The package.
            device: Where to run.
            sigma_min: Smallest noise level, for packages of the stock class.
            sigma_max: Largest noise level, for packages of the stock class.

        Raises:
            InputError: If a network is damaged or of a class that is not trusted.
        """
        metadata = cls._load_json_from_package(package, "metadata.json")
        if metadata.get("sampler_type") != FUNCTION_SPACE:
            load_regression(package.resolve("regression.mdlus"))
            load_denoiser(package.resolve("diffusion.mdlus"))
            return super().load_model(package, device, sigma_min, sigma_max)
        if sigma_min is not None or sigma_max is not None:
            raise InputError("the noise levels of this package are its own: set sampler.sigma_min, sigma_max on export")
        names = (*FILES, INVARIANTS) if metadata[OWN]["invariants"] else FILES
        files = {name: Path(package.resolve(name)) for name in names}
        model = PackageModel.from_files(files, device or "cpu")
        return cls._of(model, metadata, cls._load_json_from_package(package, "stats.json"), device)

    @classmethod
    def _of(
        cls, model: PackageModel, metadata: dict[str, Any], stats: dict[str, Any], device: str | None
    ) -> "CorrDiffRegional":
        def moments(kind: str, names: Sequence[str]) -> dict[str, Tensor]:
            return {m: torch.tensor([stats[kind][n][m] for n in names], device=device) for m in ("mean", "std")}

        inputs, outputs, statics = ([v.name for v in vs] for vs in (model.inputs, model.outputs, model.statics))
        coarse, fine = positions(model.coarse_grid), positions(model.grid)
        grids = [torch.as_tensor(v, device=device) for p in (coarse, fine) for v in (p.latitude, p.longitude)]
        fields = OrderedDict(zip(statics, model.invariants[0], strict=True))
        loaded = cls(
            inputs,
            outputs,
            model.denoiser,
            model.regression,
            *grids,
            *moments("input", inputs).values(),
            *moments("output", outputs).values(),
            invariants=fields or None,
            invariant_center=moments("invariants", statics)["mean"],
            invariant_scale=moments("invariants", statics)["std"],
            number_of_samples=metadata["number_of_samples"],
            number_of_steps=metadata["number_of_steps"],
            sampler_type=FUNCTION_SPACE,
            hr_mean_conditioning=metadata["hr_mean_conditioning"],
            seed=metadata["seed"],
        )
        loaded.function_space = model
        return loaded

    def _register_buffers(
        self,
        lat_input_grid: Tensor,
        lon_input_grid: Tensor,
        lat_output_grid: Tensor,
        lon_output_grid: Tensor,
        *others: Any,
    ) -> None:
        grids = (lat_input_grid, lon_input_grid)
        if self.sampler_type != FUNCTION_SPACE:
            mixed = lat_input_grid.ndim == 2 and lat_output_grid.ndim == 1
            output = torch.meshgrid(lat_output_grid, lon_output_grid, indexing="ij") if mixed else None
            super()._register_buffers(*grids, *(output or (lat_output_grid, lon_output_grid)), *others)
        else:
            self._register_moments(*others)
            self.register_buffer("lat_input_grid", lat_input_grid)
            self.register_buffer("lon_input_grid", lon_input_grid)
            self.lat_input_numpy, self.lon_input_numpy = (grid.cpu().numpy() for grid in grids)
        self._set_output(lat_output_grid, lon_output_grid)

    def _set_output(self, latitude: Tensor, longitude: Tensor) -> None:
        self.register_buffer("lat_output_grid", latitude)
        self.register_buffer("lon_output_grid", longitude)
        self.lat_output_numpy, self.lon_output_numpy = latitude.cpu().numpy(), longitude.cpu().numpy()
        self.img_shape = (latitude.shape[0], longitude.shape[-1])

    def _register_moments(
        self,
        in_center: Tensor,
        in_scale: Tensor,
        invariant_center: Tensor,
        invariant_scale: Tensor,
        out_center: Tensor,
        out_scale: Tensor,
        invariants: OrderedDict | None,
    ) -> None:
        self.invariant_variables = list(invariants or ())
        self.register_buffer("invariants", torch.stack(list(invariants.values())) if invariants else None)
        self.register_buffer("in_center", torch.cat([in_center, invariant_center]).view(1, -1, 1, 1))
        self.register_buffer("in_scale", torch.cat([in_scale, invariant_scale]).view(1, -1, 1, 1))
        self.register_buffer("out_center", out_center.view(1, -1, 1, 1))
        self.register_buffer("out_scale", out_scale.view(1, -1, 1, 1))

    def _setup_sampler(self, sampler_type: str) -> Callable | None:
        return None if sampler_type == FUNCTION_SPACE else super()._setup_sampler(sampler_type)

    def _interpolate(self, x: Tensor) -> Tensor:
        latitude, longitude = self.lat_output_grid, self.lon_output_grid
        if self._interpolator is not None or latitude.ndim == 2:
            return super()._interpolate(x)
        latitude, longitude = torch.meshgrid(latitude, longitude, indexing="ij")
        return interp.latlon_interpolation_regular(x, self.lat_input_grid, self.lon_input_grid, latitude, longitude)

    def at_resolution(self, height: int, width: int) -> "CorrDiffRegional":
        """Give the same model with its output on another grid of the domain: a seed is one field at every resolution.

        Raises:
            InputError: If the package is not of function-space networks.
        """
        if self.function_space is None:
            raise InputError("only packages of model_class=regional have an output at other resolutions")
        model = self.function_space.at_resolution((height, width))
        fine = positions(model.grid)
        changed = object.__new__(type(self))
        changed.__dict__ = {**self.__dict__, "_buffers": dict(self._buffers), "function_space": model}
        changed._set_output(
            *(torch.as_tensor(v, device=self.in_center.device) for v in (fine.latitude, fine.longitude))
        )
        return changed

    def to(self, device: torch.device | str) -> "CorrDiffRegional":
        """Move the model to a device."""
        super().to(device)
        if self.function_space is not None:
            self.function_space = self.function_space.to(device)
        return self

    def __call__(self, x: Tensor, coords: Coordinates) -> tuple[Tensor, Coordinates]:
        """Give members for input fields.

        Args:
            x: Fields in earth2studio's units, ``[..., variable, lat, lon]``.
            coords: Their coordinates, those of :meth:`input_coords` last; ``time`` and ``lead_time`` before them give
                the valid time that the noise of function-space networks belongs to.

        Returns:
            Members ``[..., sample, variable, lat, lon]`` and their coordinates.
        """
        return self._members(x, coords, places=batch_places(coords, x.shape))

    @batch_func()
    def _members(self, x: Tensor, coords: Coordinates, places: list[tuple[str, ...]]) -> tuple[Tensor, Coordinates]:
        output = self.output_coords(coords)
        if self.function_space is None:
            return torch.stack([self._forward(field).float() for field in x]), output
        seed = secrets.randbits(31) if self.seed is None else self.seed
        keys = self.function_space.keys(seed, self.number_of_samples, places)
        together = max(1, self.member_batch // self.number_of_samples)
        pieces = [self._drawn(x[i : i + together], keys[i : i + together]) for i in range(0, len(x), together)]
        return torch.cat(pieces), output

    @torch.inference_mode()
    def _drawn(self, x: Tensor, keys: list[list[int]]) -> Tensor:
        assert self.function_space is not None  # noqa: S101 - _members sees to it
        members = self.function_space.members(self.function_space.condition(x), keys, self.member_batch)
        return self.function_space.physical(members)


def batch_places(coords: Coordinates, shape: Sequence[int]) -> list[tuple[str, ...]]:
    """Give for each entry of the batch what its noise belongs to: the valid time, then other leading coordinates.

    Without a time the first place is empty. The order is that of the flattened leading dimensions; a coordinate without
    values counts from 0.

    Args:
        coords: Coordinates of an input.
        shape: Its shape.

    Example:
        >>> hours = np.array([0, 6], "timedelta64[h]")
        >>> days = np.array(["2020-01-01"], "datetime64[ns]")
        >>> rest = {"variable": np.array(["t2m"]), "lat": np.zeros(2), "lon": np.zeros(2)}
        >>> batch_places(OrderedDict(time=days, lead_time=hours, **rest), (1, 2, 1, 2, 2))[1]
        ('2020-01-01T06:00:00.000000000',)
    """
    leading = [
        (name, np.asarray(values) if len(values) == size else np.arange(size))
        for (name, values), size in zip(coords.items(), shape, strict=False)
        if name not in LAST
    ]
    sizes = [len(values) for _, values in leading]
    places = []
    for flat in range(math.prod(sizes)):
        index = np.unravel_index(flat, sizes) if sizes else ()
        entry = {name: values[i] for (name, values), i in zip(leading, index, strict=True)}
        places.append(_place(entry))
    return places


def _place(entry: dict[str, Any]) -> tuple[str, ...]:
    time = entry.pop("time", None)
    if time is None:
        return ("", *(f"{name}={value}" for name, value in entry.items()))
    valid = np.datetime64(time, "ns") + np.timedelta64(entry.pop("lead_time", np.timedelta64(0, "ns")), "ns")
    return (str(valid), *(f"{name}={value}" for name, value in entry.items()))
