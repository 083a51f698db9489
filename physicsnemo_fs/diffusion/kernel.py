# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Covariance kernels of random fields as spectral densities on a torus.

A stationary random field on the torus of extent :math:`(L_y, L_x)` is
:math:`\xi(p) = \sum_k \sqrt{\lambda_k}\, z_k\, e^{2\pi i (k_y y / L_y + k_x x / L_x)}` with standard complex
Gaussians :math:`z_{-k} = \bar z_k`; its covariance is trace class if :math:`\sum_k \lambda_k` is finite.
A kernel gives :math:`\lambda_k` as a function of the physical wavenumber
:math:`\kappa = |(k_y / L_y, k_x / L_x)|` in cycles per unit length (on the unit torus: the mode's radius).

Every kernel has pointwise variance one. The constant that makes it so is a sum over all modes of the torus,
or over the band ``max_wavenumber``, never over the modes of a grid: a mode has the same variance on every
grid. White noise has no such constant because its sum diverges, see
:class:`physicsnemo_fs.diffusion.spectra.White`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from physicsnemo_fs.diffusion.modes import ROUNDING, half_plane_weights, radial_wavenumber
from physicsnemo_fs.errors import InputError

_SUMMED_MODES = 512


@dataclass(frozen=True, kw_only=True)
class Kernel(ABC):
    """Covariance of an isotropic random field of unit pointwise variance.

    Args:
        max_wavenumber: Band limit in cycles per unit length; ``None`` for all modes. Within it the field is
            the same function, point by point, on every grid that resolves the band.
    """

    kind: ClassVar[str]
    max_wavenumber: float | None = None

    def __post_init__(self):
        if self.max_wavenumber is not None:
            require_positive(self, "max_wavenumber")

    @property
    def channels(self) -> int | None:
        """Number of channels the kernel was made for; ``None`` if every channel has the same law."""
        return None

    def of_channel(self, channel: int) -> "Kernel":
        """Give the kernel of one channel: this one, unless it was made for several."""
        return self

    @abstractmethod
    def mode_variance(
        self, modes: tuple[int, int], extent: tuple[float, float] = (1.0, 1.0), span: tuple[int, int] | None = None
    ) -> Float64[Tensor, "channel rows columns"]:
        r"""Give :math:`\lambda_k` of the half plane, rows and columns as in
        :func:`physicsnemo_fs.diffusion.modes.radial_wavenumber`.

        Args:
            modes: Highest mode ``(m_y, m_x)`` of each axis.
            extent: Physical lengths ``(Ly, Lx)`` of the torus.
            span: First column and one past the last; all by default.

        Returns:
            One row, or one row per channel of a kernel made for several; zero beyond the band limit.
        """

    def to_dict(self) -> dict[str, Any]:
        """Give the kernel as plain JSON types; :func:`physicsnemo_fs.diffusion.spectra.kernel_from_dict` reads them."""
        return {"kind": self.kind, **{name: as_lists(value) for name, value in asdict(self).items()}}


class DensityKernel(Kernel):
    """Kernel given by a spectral density and normalised by its sum over the torus or the band."""

    @abstractmethod
    def density(self, wavenumber: Float64[Tensor, " *shape"]) -> Float64[Tensor, " channel *shape"]:
        """Give the spectral density up to a constant, one row or one row per channel."""

    @abstractmethod
    def tail(self, wavenumber: float) -> Float64[Tensor, " channel"]:
        r"""Give :math:`\int_\kappa^\infty 2\pi q f(q)\, dq` of the density :math:`f` beyond a wavenumber."""

    @property
    def last_measured_wavenumber(self) -> float:
        """Wavenumber from which :meth:`tail` holds."""
        return 0.0

    def mode_variance(
        self, modes: tuple[int, int], extent: tuple[float, float] = (1.0, 1.0), span: tuple[int, int] | None = None
    ) -> Float64[Tensor, "channel rows columns"]:
        """Give the density over its sum, see :meth:`Kernel.mode_variance`."""
        wavenumber = radial_wavenumber(modes, extent, span)
        density = self.density(wavenumber)
        if self.max_wavenumber is not None:
            density = density * (wavenumber <= self.max_wavenumber * ROUNDING)
        return density / _total(self, extent)[:, None, None]


@lru_cache(maxsize=64)
def _total(kernel: DensityKernel, extent: tuple[float, float]) -> Float64[Tensor, " channel"]:
    if kernel.max_wavenumber is not None:
        return _disc_sum(kernel, kernel.max_wavenumber, extent)
    radius = max(_SUMMED_MODES / max(extent), kernel.last_measured_wavenumber)
    return _disc_sum(kernel, radius, extent) + extent[0] * extent[1] * kernel.tail(radius)


def _disc_sum(kernel: DensityKernel, radius: float, extent: tuple[float, float]) -> Float64[Tensor, " channel"]:
    modes = (int(radius * extent[0] * ROUNDING), int(radius * extent[1] * ROUNDING))
    wavenumber = radial_wavenumber(modes, extent)
    weights = half_plane_weights(modes)
    slabs = [
        (kernel.density(slab) * (slab <= radius * ROUNDING) * weights).sum(dim=(-2, -1))
        for slab in wavenumber.split(256)
    ]
    return torch.stack(slabs).sum(dim=0)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def require_positive(kernel: Kernel, name: str, or_zero: bool = False) -> None:
    """Refuse an argument of a kernel that is no positive finite number."""
    value = getattr(kernel, name)
    if not (is_number(value) and (value > 0 or (or_zero and value == 0))):
        raise InputError(f"kernel {kernel.kind}: {name} must be a positive finite number: got {value!r}")


def as_lists(value: Any) -> Any:
    """Turn tuples within tuples into lists."""
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


def as_tuples(value: Any) -> Any:
    """Turn sequences within sequences, texts excepted, into tuples."""
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(as_tuples(item) for item in value) if is_sequence else value
