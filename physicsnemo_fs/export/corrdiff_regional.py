# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiffRegional: earth2studio's CorrDiff for any output grid, with noise that is a function."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.arguments import whole
from physicsnemo_fs.export.batches import (
    Coordinates,
    batch_places,
    lead_hours,
    require_fields,
    require_same,
    require_whole,
)
from physicsnemo_fs.export.grids import positions
from physicsnemo_fs.export.integrity import DESCRIPTION, absent, recorded_files, require_as_exported
from physicsnemo_fs.export.package_model import FUNCTION_SPACE, MEMBER_BATCH, PackageModel
from physicsnemo_fs.files import read_record
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
        number_of_steps: Steps of the reverse diffusion, for packages of ``model_class=regional``.
        seed: Seed of the first member, an integer; ``None`` draws one at every call.
        member_batch: Members a network call; changes results by rounding only.

    Example:
        Given a package, ``CorrDiffRegional.from_pretrained("package")`` loads it.
    """

    function_space: PackageModel | None = None
    package_hash: str | None = None
    member_batch = MEMBER_BATCH
    one_member = False

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
            InputError: If a network is damaged or of a class that is not trusted, or a file of a package of this
                project is missing or was changed.
        """
        described = _file(package, "metadata.json")
        metadata = read_record(described)
        stock = metadata.get("sampler_type") != FUNCTION_SPACE
        files = {"metadata.json": described}
        if OWN in metadata or not stock:
            files |= {name: _file(package, name) for name in recorded_files(metadata)}
        if stock:
            if OWN in metadata:
                require_as_exported(files)
            load_regression(_file(package, "regression.mdlus"))
            load_denoiser(_file(package, "diffusion.mdlus"))
            return super().load_model(package, device, sigma_min, sigma_max)
        if sigma_min is not None or sigma_max is not None:
            raise InputError("the noise levels of this package are its own: set sampler.sigma_min, sigma_max on export")
        model = PackageModel.from_files(files, device or "cpu")
        return cls._of(model, metadata, read_record(files["stats.json"]), device)

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
        loaded.function_space, loaded.package_hash = model, metadata[OWN][DESCRIPTION]
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

    def output_coords(self, input_coords: Coordinates) -> Coordinates:
        """Give the coordinates of the output for those of an input.

        Raises:
            KeyError: If a dimension is missing.
            ValueError: If variables, their order or the grid are not those of :meth:`input_coords`, or an attribute
                is no number that it may be.
        """
        require_same(input_coords, self.input_coords())
        self._require_numbers()
        found = super().output_coords(input_coords)
        if self.one_member:
            del found["sample"]
        return found

    def _require_numbers(self) -> None:
        whole("number_of_samples", self.number_of_samples, 1)
        whole("number_of_steps", self.number_of_steps, 2 if self.function_space is None else 1)
        whole("member_batch", self.member_batch, 1)
        if self.seed is not None:
            whole("seed", self.seed)

    def single(self, member: int = 0) -> "CorrDiffRegional":
        """Give a model of one member and without the dimension ``sample``, as ``earth2studio.run.diagnostic`` needs it.

        Args:
            member: Which one: its seed is ``seed + member``.

        Raises:
            InputError: If it is no whole number.
        """
        seed = None if self.seed is None else whole("seed", self.seed) + whole("member", member, 0)
        return self._changed(number_of_samples=1, seed=seed, one_member=True)

    def _changed(self, **attributes: Any) -> "CorrDiffRegional":
        """Give the same model, networks shared, with other attributes."""
        changed = object.__new__(type(self))
        changed.__dict__ = {**self.__dict__, "_buffers": dict(self._buffers), **attributes}
        return changed

    def at_resolution(self, height: int, width: int) -> "CorrDiffRegional":
        """Give the same model with its output on another grid of the domain: a seed is one field at every resolution.

        Raises:
            InputError: If the package is not of function-space networks, or a number of points is no whole number.
        """
        if self.function_space is None:
            raise InputError("only packages of model_class=regional have an output at other resolutions")
        model = self.function_space.at_resolution((whole("height", height, 1), whole("width", width, 1)))
        fine = positions(model.grid)
        changed = self._changed(function_space=model)
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

        Raises:
            InputError: If coordinates or shape do not fit, or the input of function-space networks has missing values.
        """
        wanted = self.input_coords()
        require_same(coords, wanted)
        require_fields(x.shape, coords, wanted)
        hours = lead_hours(coords, x.shape)
        return self._members(x, coords, places=batch_places(coords, x.shape), hours=hours)

    @batch_func()
    def _members(
        self, x: Tensor, coords: Coordinates, places: list[tuple[str, ...]], hours: np.ndarray | None
    ) -> tuple[Tensor, Coordinates]:
        output = self.output_coords(coords)
        if self.function_space is None:
            found = torch.stack([self._forward(field).float() for field in x])
            return (found[:, 0] if self.one_member else found), output
        require_whole(x, self.input_variables)
        seed = secrets.randbits(31) if self.seed is None else whole("seed", self.seed)
        keys = self.function_space.keys(seed, self.number_of_samples, places)
        together = max(1, self.member_batch // self.number_of_samples)
        parts = [slice(i, i + together) for i in range(0, len(x), together)]
        lead_time = None if hours is None else torch.as_tensor(hours, dtype=torch.float32, device=x.device)
        drawn = (self._drawn(x[p], keys[p], None if lead_time is None else lead_time[p]) for p in parts)
        found = torch.cat(list(drawn))
        return (found[:, 0] if self.one_member else found), output

    @torch.inference_mode()
    def _drawn(self, x: Tensor, keys: list[list[int]], lead_time: Tensor | None) -> Tensor:
        model = self.function_space
        assert model is not None  # noqa: S101 - _members sees to it
        model = replace(model, sampler=replace(model.sampler, num_steps=self.number_of_steps))
        return model.physical(model.members(model.condition(x), keys, self.member_batch, lead_time))


def _file(package: Package, name: str) -> Path:
    try:
        return Path(package.resolve(name))
    except FileNotFoundError as error:
        raise absent(name, package.root) from error
