# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Covariance kernels with a closed form (Matern, white, the classic exponential), and every kernel by its name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from physicsnemo_fs.diffusion.kernel import DensityKernel, Kernel, as_tuples, require_positive
from physicsnemo_fs.diffusion.matched import Matched
from physicsnemo_fs.errors import InputError


@dataclass(frozen=True)
class Matern(DensityKernel):
    r"""Matérn covariance, :math:`\lambda_k \propto (4\pi^2\kappa^2 + 2\nu/\ell^2)^{-(\nu+1)}` in two
    dimensions.

    Samples have fewer than :math:`\nu` mean-square derivatives. On the plane the correlation at distance
    ``d`` is :math:`e^{-d/\ell}` for :math:`\nu = 1/2` and :math:`(1 + r) e^{-r}`, :math:`r = \sqrt 3
    d/\ell`, for 3/2.

    Args:
        nu: Smoothness, positive. The noise must not be smoother than the data: 1/2 and 1 are usual.
        length_scale: Correlation length in the unit of the extent.
        max_wavenumber: Band limit in cycles per unit length.

    Raises:
        InputError: If an argument is not positive and finite.

    Example:
        >>> from physicsnemo_fs.diffusion.modes import half_plane_weights
        >>> variance = Matern(1.0, 0.1).mode_variance((255, 255))
        >>> round(float((variance * half_plane_weights((255, 255))).sum()), 3)
        1.0

    Source: Lord, Powell and Shardlow, "An Introduction to Computational Stochastic PDEs", example 7.17.
    """

    kind: ClassVar[str] = "matern"
    nu: float
    length_scale: float

    def __post_init__(self):
        super().__post_init__()
        require_positive(self, "nu")
        require_positive(self, "length_scale")

    def density(self, wavenumber: Float64[Tensor, " *shape"]) -> Float64[Tensor, " channel *shape"]:
        """Give :math:`(1 + (2πκℓ)²/2ν)^{-(ν+1)}`."""
        return (1 + self._curvature * wavenumber.square()).pow(-(self.nu + 1))[None]

    def tail(self, wavenumber: float) -> Float64[Tensor, " channel"]:
        """Give the integral of the density beyond a wavenumber, exact."""
        edge = (1 + self._curvature * wavenumber**2) ** -self.nu
        return torch.tensor([math.pi / self._curvature * edge / self.nu], dtype=torch.float64)

    @property
    def _curvature(self) -> float:
        return (2 * math.pi * self.length_scale) ** 2 / (2 * self.nu)


@dataclass(frozen=True)
class White(DensityKernel):
    r"""White noise: every mode has the same variance.

    Without a band limit this is band-limited white noise *of the grid*: :math:`\lambda_k` is one over the
    number of modes below the grid's Nyquist mode, so that the pixel variance is one, and the variance of a
    given mode depends on the grid (a quarter when the resolution doubles). It is not a random function: use
    it for comparison. With ``max_wavenumber`` it is a sharp band of equal modes, the same function on every
    grid that resolves it.

    Example:
        >>> [round(1 / float(White().mode_variance((m, m))[0, 0, 0])) for m in (7, 15)]
        [225, 961]
    """

    kind: ClassVar[str] = "white"

    def density(self, wavenumber: Float64[Tensor, " *shape"]) -> Float64[Tensor, " channel *shape"]:
        """Give ones."""
        return torch.ones_like(wavenumber)[None]

    def tail(self, wavenumber: float) -> Float64[Tensor, " channel"]:
        """Give infinity: white noise is not trace class."""
        return torch.tensor([math.inf], dtype=torch.float64)

    def mode_variance(
        self, modes: tuple[int, int], extent: tuple[float, float] = (1.0, 1.0), span: tuple[int, int] | None = None
    ) -> Float64[Tensor, "channel rows columns"]:
        """Give one over the number of modes, of the band or else of the grid."""
        if self.max_wavenumber is not None:
            return super().mode_variance(modes, extent, span)
        rows, columns = 2 * modes[0] + 1, 2 * modes[1] + 1
        first, stop = span or (0, modes[1] + 1)
        return torch.full((1, rows, stop - first), 1 / (rows * columns), dtype=torch.float64)


@dataclass(frozen=True)
class LegacyRBF(Kernel):
    r"""The classic code's "RBF" kernel :math:`e^{-d / (2 s^2)} + \epsilon^2 \delta`, scaled to unit variance.

    It is not a radial basis function: the distance is not squared, so this is :class:`Matern` with
    :math:`\nu = 1/2` and :math:`\ell = 2 s^2`, plus white noise of the grid with relative pixel variance
    :math:`\epsilon^2` (the nugget that lets a Cholesky factorisation succeed). At s = 0.05 the correlation
    length is 0.005, nearly white on 64 points. The nugget depends on the grid as :class:`White` does.
    Offered for comparison.

    Args:
        scale: The classic parameter ``s``; its square has the unit of the extent.
        eps: Standard deviation of the nugget relative to the field.
        max_wavenumber: Band limit in cycles per unit length.

    Raises:
        InputError: If ``scale`` is not positive or ``eps`` is negative.

    Example:
        >>> LegacyRBF(0.5).exponential.length_scale
        0.5
    """

    kind: ClassVar[str] = "legacy_rbf"
    scale: float
    eps: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        require_positive(self, "scale")
        require_positive(self, "eps", or_zero=True)

    @property
    def exponential(self) -> Matern:
        """The part without nugget."""
        return Matern(0.5, 2 * self.scale**2, max_wavenumber=self.max_wavenumber)

    def mode_variance(
        self, modes: tuple[int, int], extent: tuple[float, float] = (1.0, 1.0), span: tuple[int, int] | None = None
    ) -> Float64[Tensor, "channel rows columns"]:
        """Give the variance of the exponential part plus the nugget's, over their sum."""
        nugget = White(max_wavenumber=self.max_wavenumber).mode_variance(modes, extent, span)
        return (self.exponential.mode_variance(modes, extent, span) + self.eps**2 * nugget) / (1 + self.eps**2)


_KERNELS: dict[str, type[Kernel]] = {cls.kind: cls for cls in (Matern, White, LegacyRBF, Matched)}


def kernel_from_dict(spec: Mapping[str, Any]) -> Kernel:
    """Make the kernel that :meth:`Kernel.to_dict` described.

    Args:
        spec: ``{"kind": ..., argument: value, ...}`` in plain JSON types.

    Raises:
        InputError: If the kind is unknown, an argument is missing or unknown, or a value does not fit.

    Example:
        >>> kernel_from_dict(Matern(0.5, 0.1).to_dict())
        Matern(max_wavenumber=None, nu=0.5, length_scale=0.1)
    """
    arguments = dict(spec)
    kind = arguments.pop("kind", None)
    if kind not in _KERNELS:
        raise InputError(f"kernel kind must be one of {', '.join(sorted(_KERNELS))}: got {kind!r}")
    known = {f.name for f in fields(_KERNELS[kind])}
    if unknown := sorted(set(arguments) - known):
        raise InputError(f"kernel {kind} takes {', '.join(sorted(known))}: got {', '.join(unknown)}")
    try:
        return _KERNELS[kind](**{name: as_tuples(value) for name, value in arguments.items()})
    except TypeError as error:
        raise InputError(f"kernel {kind} takes {', '.join(sorted(known))}: got {arguments}; {error}") from None
