# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Domains that fit no GPU: conditions made where a window needs them, and sampling by windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.diffusion.noise import RandomField, Span
from physicsnemo_fs.diffusion.residual import interpolation_matrices
from physicsnemo_fs.diffusion.sampling import ResidualSampler
from physicsnemo_fs.diffusion.solvers import integrate, make_solver
from physicsnemo_fs.diffusion.strips import Strips, Team
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.domain_condition import DomainCondition, WholeCondition
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.nn.windows import Place, WindowGrid, area_matrix
from physicsnemo_fs.random import generator

ALONE = Team()
"""One process by itself."""


@dataclass(frozen=True)
class LazyCondition:
    r"""What a denoiser sees of a domain: the mean, the interpolated coarse fields, the invariants; made by windows.

    A window of the interpolated coarse field is :math:`R_w\, y\, C_w^T` with the rows of two interpolation matrices, so
    that the coarse channels never exist on the whole fine grid.

    Args:
        coarse: Coarse fields on their own grid.
        invariants: Static fields on the fine grid.
        rows: Interpolation along the rows, from :func:`~physicsnemo_fs.diffusion.residual.interpolation_matrices`.
        columns: Interpolation along the columns.
        mean: The mean on the fine grid, for a denoiser that sees it.
        top: Row of the domain that the mean begins with, if it is a band of rows.

    Example:
        >>> fine, cells = Grid((32, 48), (2.0, 3.0)), Grid((8, 12), (2.0, 3.0), registration="cell")
        >>> condition = LazyCondition.on_grids(torch.randn(1, 2, 8, 12), torch.zeros(1, 1, 32, 48), cells, fine)
        >>> windows = WindowGrid(fine.shape, (16, 16), (4, 4), boundary="periodic")
        >>> condition.shape, condition.crop(windows, (24, 40)).shape
        ((1, 3, 32, 48), torch.Size([1, 3, 16, 16]))
    """

    coarse: Float[Tensor, "batch input coarse_height coarse_width"]
    invariants: Float[Tensor, "batch invariant height width"]
    rows: Float[Tensor, "height coarse_height"]
    columns: Float[Tensor, "width coarse_width"]
    mean: Float[Tensor, "batch output height width"] | None = None
    top: int | None = None

    @classmethod
    def on_grids(cls, coarse: Tensor, invariants: Tensor, coarse_grid: Grid, grid: Grid) -> "LazyCondition":
        """Make the conditions of a dataset's batch."""
        return cls(coarse, invariants, *interpolation_matrices(coarse_grid, grid, coarse))

    def with_mean(self, mean: Float[Tensor, "batch output height width"], top: int | None = None) -> "LazyCondition":
        """Give the same conditions with the mean before them, or with a band of it that begins at the row ``top``."""
        return replace(self, mean=mean, top=top)

    def __getitem__(self, samples: Int[Tensor, " sample"]) -> "LazyCondition":
        """Give the conditions of some samples; fields are shared where there is one sample."""
        coarse, invariants = chosen(self.coarse, samples), chosen(self.invariants, samples)
        mean = None if self.mean is None else chosen(self.mean, samples)
        return replace(self, coarse=coarse, invariants=invariants, mean=mean)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, channels, height and width of the whole."""
        channels = self.coarse.shape[1] + self.invariants.shape[1] + (0 if self.mean is None else self.mean.shape[1])
        return self.coarse.shape[0], channels, self.rows.shape[0], self.columns.shape[0]

    def crop(self, windows: WindowGrid, place: Place, samples: slice = slice(None)) -> Tensor:
        """Give a window of all channels."""
        rows, columns = self.rows[windows.rows.index(place[0])], self.columns[windows.columns.index(place[1])]
        near_rows, near_columns = _used(rows), _used(columns)
        near = self.coarse[samples, :, near_rows, near_columns]
        parts = [rows[:, near_rows] @ near @ columns[:, near_columns].T]
        parts.append(windows.crop(self.invariants[samples], place))
        if self.mean is not None:
            parts.insert(0, windows.crop(self.mean[samples], place, self.top))
        return torch.cat(parts, dim=1)

    def pooled(self, channels: Sequence[int], cells: tuple[int, int]) -> Tensor:
        """Give some channels averaged over the cells of a grid of the whole domain."""
        rows, columns = (area_matrix(n, m).to(self.coarse) for n, m in zip(self.shape[2:], cells, strict=True))
        before = 0 if self.mean is None else self.mean.shape[1]
        inputs = range(before, before + self.coarse.shape[1])
        pooled = []
        for channel in channels:
            if channel in inputs:
                field, left, right = self.coarse[:, channel - before], rows @ self.rows, columns @ self.columns
            else:
                source, first = (self.mean, 0) if channel < before else (self.invariants, inputs.stop)
                assert source is not None  # noqa: S101 - channels before the inputs are the mean's
                field, left, right = source[:, channel - first], rows, columns
            pooled.append(left @ field @ right.T)
        return torch.stack(pooled, dim=1)


def chosen(fields: Tensor, samples: Int[Tensor, " sample"]) -> Tensor:
    """Give the fields of some samples, without a copy where there is only one.

    Example:
        >>> one = torch.randn(1, 2, 4, 4)
        >>> chosen(one, torch.tensor([0, 0, 0])).untyped_storage().data_ptr() == one.untyped_storage().data_ptr()
        True
    """
    return fields.expand(len(samples), *fields.shape[1:]) if len(fields) == 1 else fields[samples]


def _used(matrix: Tensor) -> slice:
    """Give the columns between the first and the last that are not zero."""
    used = matrix.abs().amax(dim=0).nonzero().flatten()
    return slice(int(used[0]), int(used[-1]) + 1)


@dataclass(frozen=True)
class WindowedSampler(ResidualSampler):
    """Samples of the residual on domains of any size, with a denoiser that is fused from windows at every noise level.

    The latents are the one random field of the whole domain. Beside conditions and result there are at most four
    fields of the domain's size (five with the mean), whatever the number of windows; on several processes
    (:class:`~physicsnemo_fs.diffusion.strips.Team`) each has its rows of them only.

    Example:
        >>> from physicsnemo_fs.diffusion.noise import RandomField
        >>> from physicsnemo_fs.diffusion.spectra import Matern
        >>> from physicsnemo_fs.models.fsuno import FSUNO
        >>> backbone = FSUNO(1 + 2 + 4, 1, channel_mult=(1, 2), level_grid=(16, 8), n_modes=(0, 2), boundary="pad")
        >>> noise = RandomField(Matern(0.5, 0.1), boundary="bounded").to_dict()
        >>> denoiser = FSPatchedEDMPrecondSR(backbone, (24, 24), (32, 48), noise=noise, sigma_min=0.01, sigma_max=20.0)
        >>> WindowedSampler.for_denoiser(denoiser, num_steps=2).sample(torch.randn(1, 2, 32, 48), keys=[1]).shape
        torch.Size([1, 1, 32, 48])
    """

    denoiser: FSPatchedEDMPrecondSR

    @torch.no_grad()
    def sample(
        self,
        condition: Float[Tensor, "batch condition height width"] | DomainCondition,
        keys: Sequence[int],
        watch: Callable[[], None] | None = None,
        encoded: Tensor | None = None,
        lead_time: Float[Tensor, " batch"] | None = None,
        team: Team = ALONE,
    ) -> Float[Tensor, "batch channel own width"]:
        """Draw one residual for each condition, with a team all its processes together.

        Every process of a team calls it with the same arguments, its own rows of the mean excepted.

        Args:
            condition: Conditions of the whole domain; a team's mean in it is a band that begins with this process's
                own rows (:meth:`Strips.extended`).
            keys: One key per sample; the sample is a function of its key and its condition alone.
            watch: Called before every evaluation of the whole domain; what it raises ends the sampling.
            encoded: Nothing: windows have conditions of their own.
            lead_time: Lead time of each sample in hours; used if the network sees it.
            team: Processes that make the samples together, this one its strip of rows: the same bits as alone.

        Raises:
            InputError: If there is not one key per condition, or fewer rows of windows than processes.
        """
        given = WholeCondition(condition) if isinstance(condition, Tensor) else condition
        shape = (given.shape[2], given.shape[3])
        hours = self._labels(lead_time).get("lead_time_label")
        strips = Strips(self.denoiser.windows(shape), team)

        def clean(x: Tensor, t: Tensor) -> Tensor:
            if watch is not None:
                watch()
            if team.size == 1:
                return self.denoiser.fused(x, t, given, hours)
            band = strips.extended(x)
            return strips.fuse(self.denoiser.strips(band, t, given, hours, strips.rows, strips.own[0]), x)

        return self._integrated(clean, FieldRows(self.scheduler.field, shape, strips.own), keys, given.shape[0])

    def _integrated(
        self, denoise: Callable[[Tensor, Tensor], Tensor], field: "FieldRows", keys: Sequence[int], count: int
    ) -> Tensor:
        """Go from the latents of a field to clean samples.

        Args:
            denoise: Gives the denoised fields for fields and their noise levels; its result is overwritten.
            field: Gives the noise on this process's part of the domain.
            keys: One key per sample.
            count: Number of samples.

        Raises:
            InputError: If there is not one key per sample.
        """
        if len(keys) != count:
            raise InputError(f"there must be one key per sample: got {len(keys)} keys for {count} samples")
        parameter = next(self.denoiser.parameters())
        levels = self.scheduler.timesteps(self.num_steps, device=parameter.device, dtype=parameter.dtype)

        def slope(x: Tensor, t: Tensor) -> Tensor:
            """Give ``(x - D(x)) / sigma`` in the place of ``D(x)``."""
            return denoise(x, t).sub_(x).div_(-t.reshape(-1, 1, 1, 1))

        solver = self.churn.around(make_solver(self.solver, slope), field, keys, levels)
        channels, options = self.denoiser.img_out_channels, {"device": levels.device, "dtype": levels.dtype}
        return integrate(solver, field.sample(keys, channels, **options).mul_(levels[0]), levels)


@dataclass(frozen=True)
class FieldRows:
    """A random field on a fixed grid, of which some rows are kept.

    Args:
        field: The field.
        shape: Rows and columns of the whole grid.
        rows: First row and one past the last that are kept; all if not given.
    """

    field: RandomField
    shape: tuple[int, int]
    rows: Span | None = None

    def sample(self, keys: Sequence[int], channels: int, shape: Any = None, **options: Any) -> Tensor:
        """Give the rows of the whole field of some keys, as :meth:`RandomField.sample`; ``shape`` is not used."""
        return self.field.sample(keys, channels, self.shape, rows=self.rows, **options)


def sampler_for(denoiser: FSEDMPrecondSR, **options: Any) -> ResidualSampler:
    """Give the sampler that fits a checkpoint, of whole fields or of windows.

    Args:
        denoiser: The trained network.
        options: As for :meth:`ResidualSampler.for_denoiser`.

    Raises:
        InputError: If the checkpoint does not describe its noise.
    """
    kind = WindowedSampler if isinstance(denoiser, FSPatchedEDMPrecondSR) else ResidualSampler
    return kind.for_denoiser(denoiser, **options)


def draw_place(key: int, shape: tuple[int, int], patch: tuple[int, int], boundary: str) -> Place:
    """Draw the place of a training window from a key.

    On a bounded domain every sample is as likely to be the window's centre, and windows that would reach over the edge
    are moved inside: those at the edges, which every sampling needs, are seen as often as their share of the domain.

    Args:
        key: Key of the draw.
        shape: Rows and columns of the domain.
        patch: Rows and columns of the window.
        boundary: ``"periodic"`` or ``"bounded"``.

    Example:
        >>> draw_place(3, (64, 64), (64, 32), "bounded")[0]
        0
    """
    draws = generator(key, "patch-place")
    place = []
    for size, length in zip(shape, patch, strict=True):
        centre = int(torch.randint(size, (), generator=draws))
        place.append(centre if boundary == "periodic" else min(max(centre - length // 2, 0), size - length))
    return place[0], place[1]
