# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Averages of periodic fields over coarse cells, and fields that are held to given averages."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from physicsnemo_fs.kernels.constants import constants
from physicsnemo_fs.kernels.dispatch import without_autocast
from physicsnemo_fs.nn.resample import at_least_single, half_plane_weights, radial_multiplier, radial_wavenumber

SMALLEST_SHARE = 1e-30
"""Power below this share of the largest counts as none."""


@constants
def _at_cells(nodes: int, cells: int, highest: int, averaged: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Give the matrix [cell, node] of averages over cells, or of values at their centres, for modes up to one."""
    wavenumbers = torch.arange(1, min(highest, (nodes - 1) // 2) + 1, dtype=torch.float64, device="cpu")
    centres = 2 * math.pi * (torch.arange(cells, dtype=torch.float64, device="cpu") + 0.5) / cells
    positions = 2 * math.pi * torch.arange(nodes, dtype=torch.float64, device="cpu") / nodes
    at_centres = centres[:, None] * wavenumbers
    at_nodes = positions[:, None] * wavenumbers
    share = torch.sinc(wavenumbers / cells) if averaged else torch.ones_like(wavenumbers)
    kernel = (at_centres.cos() * share) @ at_nodes.cos().T + (at_centres.sin() * share) @ at_nodes.sin().T
    return ((1 + 2 * kernel) / nodes).to(device=device, dtype=dtype)


def _applied(field: Tensor, cells: tuple[int, int], averaged: bool, highest: tuple[int, int] | None = None) -> Tensor:
    size = (field.shape[-2], field.shape[-1])
    with without_autocast(field.device):
        rows, columns = (
            _at_cells(*axis, averaged, field.dtype, field.device)
            for axis in zip(size, cells, highest or size, strict=True)
        )
        return rows @ (field @ columns.T)


def cell_average(
    field: Float[Tensor, "*lead height width"], cells: tuple[int, int]
) -> Float[Tensor, "*lead coarse_height coarse_width"]:
    r"""Average a periodic field exactly over the cells ``[i / n, (i + 1) / n)`` of its domain.

    The field is the trigonometric polynomial through its nodes (without the Nyquist mode); averaging
    multiplies each mode by :math:`\operatorname{sinc}(k / n)` per axis, and the result is evaluated at the
    cell centres. It depends on the function only, not on the grid that stores it.

    Args:
        field: Values at nodes ``j / N``.
        cells: Number of cells ``(height, width)``.

    Example:
        >>> s = torch.arange(32, dtype=torch.float64) / 32
        >>> mean = cell_average(torch.sin(2 * torch.pi * s).expand(32, 32), (1, 4))
        >>> torch.allclose(mean, torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64) * 2 / torch.pi)
        True
    """
    return _applied(field, cells, averaged=True)


def at_cell_centres(
    field: Float[Tensor, "*lead height width"], cells: tuple[int, int]
) -> Float[Tensor, "*lead coarse_height coarse_width"]:
    """Evaluate a periodic field at the centres ``(i + 1/2) / n`` of cells.

    Args:
        field: Values at nodes ``j / N``.
        cells: Number of cells ``(height, width)``.

    Example:
        >>> s = torch.arange(32, dtype=torch.float64) / 32
        >>> values = at_cell_centres(torch.sin(2 * torch.pi * s).expand(32, 32), (1, 2))
        >>> torch.allclose(values, torch.tensor([1.0, -1.0], dtype=torch.float64))
        True
    """
    return _applied(field, cells, averaged=False)


class Conservation(nn.Module):
    r"""Hold periodic fields to given averages over cells, by the likeliest correction.

    .. math:: x \mapsto x + K\,(a - A x), \qquad K = C A^* (A C A^*)^{-1}

    ``A`` averages over the cells and ``C`` is a stationary covariance: the correction is the conditional mean of a
    Gaussian field of that covariance given its averages (kriging), as smooth as ``C`` says. With :math:`a = 0` the map
    is a projection, and takes :math:`\xi \sim N(0, C)` to :math:`N(0, C\,|\,A\xi = 0)`. In Fourier space ``A`` joins
    the modes that differ by whole numbers of cells, so that nothing larger than a mode is inverted:

    .. math:: \hat x_k \mapsto \hat x_k + \frac{\lambda_k \bar a_k}{S_q}\,\hat c_q, \qquad
        a_k = \prod_{j} \operatorname{sinc}(k_j / n_j)\, e^{i\pi k_j / n_j}, \qquad
        S_q = \sum_{k \equiv q} \lambda_k |a_k|^2, \qquad q = k \bmod n.

    Both know of the modes below ``shells`` alone, and the map leaves higher ones as they are: it is one map of
    functions, whatever the grid.

    Args:
        channels: Channels of the fields.
        cells: Number of cells ``(height, width)``.
        shells: Number of integer radial wavenumbers 0, 1, 2 ... that the spectrum of ``C`` is given at; the cells' own
            modes must be lower.

    Raises:
        ValueError: If a count is below one.

    Example:
        >>> hold = Conservation(1, (4, 4), shells=9)
        >>> x, wanted = torch.randn(2, 1, 16, 24, dtype=torch.float64), torch.randn(2, 1, 4, 4, dtype=torch.float64)
        >>> torch.equal(hold(x, wanted), x)
        True
        >>> hold.set_power(torch.exp(-torch.arange(9.0))[None])
        >>> torch.allclose(cell_average(hold(x, wanted), (4, 4)), wanted)
        True

    References:
        Harder et al., "Hard-constrained deep learning for climate downscaling" (2208.05424), for constraints of this
        kind; Rasmussen and Williams, "Gaussian processes for machine learning", eq. 2.23, for the correction.
    """

    power: Tensor

    def __init__(self, channels: int, cells: Sequence[int], shells: int = 33):
        super().__init__()
        if len(cells) != 2 or min(channels, shells, *cells) < 1:
            raise ValueError(
                f"conservation needs channels, two counts of cells and shells: got {channels}, {tuple(cells)}, {shells}"
            )
        self.cells = (int(cells[0]), int(cells[1]))
        self.register_buffer("power", torch.zeros(channels, shells))

    def set_power(self, power: Float[Tensor, "channel shell"]) -> None:
        """Set the spectrum of ``C`` in any unit; until then, and for all zeros, nothing is corrected.

        Where it rises with the wavenumber it is taken as level: what is missing at large scales would otherwise be
        moved to smaller ones, which the averages hardly see.

        Raises:
            ValueError: If its shape is not ``[channels, shells]`` or a value is negative or not finite.
        """
        if power.shape != self.power.shape or not power.isfinite().all() or bool((power < 0).any()):
            raise ValueError(
                f"power must be finite, not negative, with shape {tuple(self.power.shape)}: got {tuple(power.shape)}"
            )
        largest = power.amax(dim=1, keepdim=True)
        power = power.flip(1).cummax(dim=1).values.flip(1)
        self.power.copy_(power / torch.where(largest > 0, largest, 1.0))

    def release(self) -> None:
        """Forget the spectrum: nothing is corrected."""
        self.power.zero_()

    def forward(
        self,
        x: Float[Tensor, "batch channel height width"],
        averages: Float[Tensor, "batch channel cell_height cell_width"] | None = None,
    ) -> Float[Tensor, "batch channel height width"]:
        """Give fields with the averages, zero by default.

        Args:
            x: Periodic fields at nodes.
            averages: What they are to average to.

        Raises:
            ValueError: If the grid is not finer than the cells.
        """
        size = (x.shape[-2], x.shape[-1])
        if size[0] <= self.cells[0] or size[1] <= self.cells[1]:
            raise ValueError(f"the grid must be finer than the {self.cells} cells it is held to: got {size}")
        with without_autocast(x.device):
            x = at_least_single(x)
            last = self.power.shape[1] - 1
            highest = (last * size[0] // min(size), last * size[1] // min(size))
            found = _applied(x, self.cells, True, highest)
            return x + self._field_of(-found if averages is None else averages.to(x.dtype) - found, size)

    def _field_of(self, averages: Tensor, size: tuple[int, int]) -> Tensor:
        """Give ``K averages``."""
        rows = _alias(size[0], self.cells[0], False, averages.device)
        columns = _alias(size[1], self.cells[1], True, averages.device)
        within = radial_wavenumber(size, averages.device) < self.power.shape[1]
        power = radial_multiplier(self.power.double(), size) * within
        both = rows.abs().square() @ (power * half_plane_weights(size[1], power.device)) @ columns.abs().square().T
        both = (both + _mirrored(both)) / 2
        weight = torch.where(both > SMALLEST_SHARE, 1 / both, 0.0)
        spectrum = torch.fft.fft2(averages, norm="forward") * weight.to(averages.dtype)
        complex_type = spectrum.dtype
        spread = rows.conj().T.to(complex_type) @ spectrum @ columns.conj().to(complex_type)
        return torch.fft.irfft2(spread * power.to(averages.dtype), s=size, norm="forward")


@constants
def _alias(nodes: int, cells: int, half: bool, device: torch.device) -> Tensor:
    """Give the matrix [coarse mode, mode] of :math:`a_k` where ``k`` is the coarse mode's alias, 0 elsewhere."""
    modes = torch.fft.rfftfreq(nodes, 1 / nodes) if half else torch.fft.fftfreq(nodes, 1 / nodes)
    modes = modes.to(dtype=torch.float64, device="cpu").round()
    phase = torch.exp(1j * math.pi * modes / cells) * torch.sinc(modes / cells) * (2 * modes.abs() < nodes)
    coarse = torch.arange(cells, dtype=torch.float64, device="cpu")[:, None]
    return torch.where(modes.remainder(cells) == coarse, phase, 0.0).to(device)


def _mirrored(values: Tensor) -> Tensor:
    """Give the values at the opposite modes."""
    return torch.roll(values.flip(-2, -1), (1, 1), (-2, -1))
