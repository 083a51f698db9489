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
grid. White noise has no such constant because its sum diverges, see :class:`White`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from physicsnemo_fs.errors import InputError

_ROUNDING = 1 + 1e-9
_SUMMED_MODES = 512
_SAMPLES_PER_FFT = 256
_ENERGETIC = 1e-6
_FIT_ITERATIONS = 8


def modes_below_nyquist(shape: tuple[int, int]) -> tuple[int, int]:
    """Give the highest mode of each axis that a grid resolves strictly below its Nyquist mode.

    Example:
        >>> modes_below_nyquist((64, 65))
        (31, 32)
    """
    return (shape[0] - 1) // 2, (shape[1] - 1) // 2


def radial_wavenumber(
    modes: tuple[int, int], extent: tuple[float, float] = (1.0, 1.0), span: tuple[int, int] | None = None
) -> Float64[Tensor, "rows columns"]:
    r"""Give :math:`\kappa` of the half plane of modes: rows :math:`-m_y..m_y`, columns :math:`0..m_x`.

    Args:
        modes: Highest mode ``(m_y, m_x)`` of each axis.
        extent: Physical lengths ``(Ly, Lx)`` of the torus.
        span: First column and one past the last; all by default.

    Example:
        >>> radial_wavenumber((1, 1))[1].tolist()
        [0.0, 1.0]
    """
    rows = torch.arange(-modes[0], modes[0] + 1, dtype=torch.float64) / extent[0]
    columns = torch.arange(*(span or (0, modes[1] + 1)), dtype=torch.float64) / extent[1]
    return torch.hypot(rows[:, None], columns)


def half_plane_weights(modes: tuple[int, int]) -> Float64[Tensor, " columns"]:
    """Give how many modes of the full plane each column stands for: one for column 0, two for the others.

    Example:
        >>> half_plane_weights((1, 2)).tolist()
        [1.0, 2.0, 2.0]
    """
    weights = torch.full((modes[1] + 1,), 2.0, dtype=torch.float64)
    weights[0] = 1.0
    return weights


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
            _require_positive(self, "max_wavenumber")

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
        r"""Give :math:`\lambda_k` of the half plane of modes (layout of :func:`radial_wavenumber`).

        Args:
            modes: Highest mode ``(m_y, m_x)`` of each axis.
            extent: Physical lengths ``(Ly, Lx)`` of the torus.
            span: First column and one past the last; all by default.

        Returns:
            One row, or one row per channel of a kernel made for several; zero beyond the band limit.
        """

    def to_dict(self) -> dict[str, Any]:
        """Give the kernel as plain JSON types, for checkpoints; :func:`kernel_from_dict` is the inverse."""
        return {"kind": self.kind, **{name: _as_lists(value) for name, value in asdict(self).items()}}


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
            density = density * (wavenumber <= self.max_wavenumber * _ROUNDING)
        return density / _total(self, extent)[:, None, None]


@lru_cache(maxsize=64)
def _total(kernel: DensityKernel, extent: tuple[float, float]) -> Float64[Tensor, " channel"]:
    if kernel.max_wavenumber is not None:
        return _disc_sum(kernel, kernel.max_wavenumber, extent)
    radius = max(_SUMMED_MODES / max(extent), kernel.last_measured_wavenumber)
    return _disc_sum(kernel, radius, extent) + extent[0] * extent[1] * kernel.tail(radius)


def _disc_sum(kernel: DensityKernel, radius: float, extent: tuple[float, float]) -> Float64[Tensor, " channel"]:
    modes = (int(radius * extent[0] * _ROUNDING), int(radius * extent[1] * _ROUNDING))
    wavenumber = radial_wavenumber(modes, extent)
    weights = half_plane_weights(modes)
    slabs = [
        (kernel.density(slab) * (slab <= radius * _ROUNDING) * weights).sum(dim=(-2, -1))
        for slab in wavenumber.split(256)
    ]
    return torch.stack(slabs).sum(dim=0)


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
        _require_positive(self, "nu")
        _require_positive(self, "length_scale")

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
        _require_positive(self, "scale")
        _require_positive(self, "eps", or_zero=True)

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


FLATTEST_TAIL = -1e-3
"""Slope of the tail of a spectrum that does not fall, such as that of white noise."""


@dataclass(frozen=True)
class Matched(DensityKernel):
    r"""Covariance with the spectrum of given data, one row per channel.

    Per-mode power by shell :math:`q = \kappa L`, L the shorter side, log-linear between integer shells, then
    an exponential tail :math:`p_K e^{a (q - K)}` beyond the last shell K. A floor of ``floor`` times the
    largest power is added, flat up to K and falling as :math:`(q / K)^{-3}` beyond, so that no mode is
    without noise and the field stays trace class.

    Args:
        power: Power per mode by shell 0..K, one row per channel, any unit; see :func:`measure_power`.
        tail_slope: Slope ``a`` of the logarithm of the power per shell, one per channel, negative.
        length: Shorter side L of the domain on which the power was measured.
        floor: Floor relative to the largest power of the channel.
        max_wavenumber: Band limit in cycles per unit length.

    Raises:
        InputError: If a row is empty, negative or all zero, rows differ in length, or a slope is not
            negative.

    Example:
        >>> kernel = Matched(power=((1.0, 1.0, 0.1, 0.01),), tail_slope=(-2.3,))
        >>> variance = kernel.mode_variance((31, 31))
        >>> round(float((variance * half_plane_weights((31, 31))).sum()), 6)
        1.0
    """

    kind: ClassVar[str] = "matched"
    power: tuple[tuple[float, ...], ...]
    tail_slope: tuple[float, ...]
    length: float = 1.0
    floor: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        _require_positive(self, "length")
        _require_positive(self, "floor")
        object.__setattr__(self, "power", _as_tuples(self.power))
        object.__setattr__(self, "tail_slope", _as_tuples(self.tail_slope))
        _check_table(self.power, self.tail_slope)

    @classmethod
    def fit(
        cls,
        power: Float[Tensor, "channel shell"],
        *,
        tail_range: tuple[int, int] | None = None,
        tail_power: Float[Tensor, "channel tail_shell"] | None = None,
        length: float = 1.0,
        floor: float = 1e-8,
        max_wavenumber: float | None = None,
    ) -> "Matched":
        """Fit a table whose shell means are the measured power, and extrapolate its tail.

        The tail is a least-squares line through the logarithm of the power, nearly flat where that does not
        fall. The modes of a shell do not lie at its integer radius: the table is corrected until its shell means agree
        with the measured ones.

        Args:
            power: Power per mode by shell, for example of residuals; kept up to the end of the tail range.
            tail_range: First and last shell of the fit. By default the upper half of the shells that hold
                more than 1e-6 of the largest power, in every channel.
            tail_power: Power whose slope the tail takes, for example of the field itself when the spectrum of
                the residuals ends in rounding noise; by default ``power``.
            length: Shorter side of the domain on which the power was measured.
            floor: Floor relative to the largest power.
            max_wavenumber: Band limit in cycles per unit length.

        Raises:
            InputError: If the range leaves the shells or holds no power.

        Example:
            >>> shells = torch.arange(32.0)
            >>> kernel = Matched.fit(torch.exp(-0.5 * shells)[None], tail_range=(8, 16))
            >>> len(kernel.power[0]), round(kernel.tail_slope[0], 3)
            (17, -0.5)
        """
        source = power if tail_power is None else tail_power
        first, last = _energetic_range(source) if tail_range is None else tail_range
        if not 0 <= first < last < min(power.shape[1], source.shape[1]):
            raise InputError(
                f"tail_range must be two increasing shells below {min(power.shape[1], source.shape[1])}: "
                f"got ({first}, {last}); the power table has {power.shape[1]} shells"
            )
        slopes = tuple(min(_log_slope(row[first : last + 1]), FLATTEST_TAIL) for row in source.double())
        measured = power[:, : last + 1].double().cpu()
        table = measured
        for _ in range(_FIT_ITERATIONS):
            kernel = cls(_as_tuples(table.tolist()), slopes, length=length, floor=floor)
            reached = shell_mean(kernel.density(radial_wavenumber((last + 1, last + 1)) / length))
            table = table * measured / reached[:, : last + 1]
        return cls(_as_tuples(table.tolist()), slopes, length=length, floor=floor, max_wavenumber=max_wavenumber)

    @property
    def channels(self) -> int | None:
        """Number of rows; ``None`` for one row, which serves every channel."""
        return len(self.power) if len(self.power) > 1 else None

    def of_channel(self, channel: int) -> "Matched":
        """Give the kernel of one channel."""
        if self.channels is None:
            return self
        return replace(self, power=(self.power[channel],), tail_slope=(self.tail_slope[channel],))

    @property
    def last_measured_wavenumber(self) -> float:
        """Wavenumber of the last shell of the table."""
        return (len(self.power[0]) - 1) / self.length

    def density(self, wavenumber: Float64[Tensor, " *shape"]) -> Float64[Tensor, " channel *shape"]:
        """Give the interpolated power, its tail, and the floor."""
        table, floor, slope = self._table(wavenumber.device)
        last = table.shape[1] - 1
        shell = wavenumber * self.length
        lower = shell.floor().clamp(max=last - 1).long()
        fraction = (shell - lower).clamp(max=1.0)
        logarithm = (table + floor[:, None]).log()
        inside = torch.lerp(logarithm[:, lower], logarithm[:, lower + 1], fraction).exp()
        rows = (-1, *[1] * shell.ndim)
        beyond = table[:, -1].reshape(rows) * (slope.reshape(rows) * (shell - last)).exp()
        beyond = beyond + floor.reshape(rows) * (shell.clamp(min=last) / last).pow(-3)
        return torch.where(shell > last, beyond, inside)

    def tail(self, wavenumber: float) -> Float64[Tensor, " channel"]:
        """Give the integral of the density beyond a wavenumber above the last shell, exact."""
        table, floor, slope = self._table(torch.device("cpu"))
        last = table.shape[1] - 1
        shell = wavenumber * self.length
        exponential = table[:, -1] * (slope * (shell - last)).exp() * (1 / slope**2 - shell / slope)
        return 2 * math.pi * (exponential + floor * last**3 / shell) / self.length**2

    def _table(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        table = torch.tensor(self.power, dtype=torch.float64, device=device)
        slope = torch.tensor(self.tail_slope, dtype=torch.float64, device=device)
        return table, self.floor * table.amax(dim=1), slope


def measure_power(
    fields: Float[Tensor, "sample channel height width"], extent: tuple[float, float] = (1.0, 1.0)
) -> Float64[Tensor, "channel shell"]:
    r"""Give the mean power per mode :math:`E|\hat u_k|^2` by radial shell, for :class:`Matched`.

    :math:`\hat u_k` are the Fourier coefficients of the function (a sum over pixels over their number), so
    that the power summed over all modes is the mean square, whatever the grid. Shell q holds the modes with
    :math:`\mathrm{round}(\kappa \min(L_y, L_x)) = q`; only shells that both axes resolve are given.

    Args:
        fields: Real fields on a periodic grid; a bounded domain leaks power into high shells.
        extent: Physical lengths ``(Ly, Lx)`` of the domain.

    Example:
        >>> x = torch.arange(16) / 16
        >>> wave = torch.cos(2 * torch.pi * 3 * x).expand(1, 1, 16, 16)
        >>> [round(v, 4) for v in measure_power(wave)[0].tolist()[:5]]
        [0.0, 0.0, 0.0, 0.0312, 0.0]
    """
    modes = modes_below_nyquist((fields.shape[-2], fields.shape[-1]))
    rows = torch.arange(-modes[0], modes[0] + 1, device=fields.device)
    total = torch.zeros((), dtype=torch.float64, device=fields.device)
    for chunk in fields.split(_SAMPLES_PER_FFT):
        spectrum = torch.fft.rfft2(chunk.double(), norm="forward")[..., rows, : modes[1] + 1]
        total = total + spectrum.abs().square().sum(dim=0)
    return shell_mean((total / len(fields)).cpu(), extent)


def shell_mean(
    values: Float64[Tensor, "channel rows columns"], extent: tuple[float, float] = (1.0, 1.0)
) -> Float64[Tensor, "channel shell"]:
    """Average values of the half plane of modes over the radial shells that both axes resolve.

    Args:
        values: One value per mode, layout of :func:`radial_wavenumber`.
        extent: Physical lengths ``(Ly, Lx)`` of the torus.

    Example:
        >>> shell_mean(torch.ones(1, 7, 4, dtype=torch.float64)).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """
    index, weights, count = _shells((values.shape[-2] // 2, values.shape[-1] - 1), extent)
    sums = values.new_zeros(values.shape[0], int(index.max()) + 1)
    sums.index_add_(1, index.flatten(), (values * weights).flatten(start_dim=1))
    return sums[:, : len(count)] / count


def shell_count(modes: tuple[int, int], extent: tuple[float, float] = (1.0, 1.0)) -> Float64[Tensor, " shell"]:
    """Give the number of modes of the full plane in each shell of :func:`shell_mean`.

    Example:
        >>> shell_count((3, 3)).tolist()
        [1.0, 8.0, 12.0, 16.0]
    """
    return _shells(modes, extent)[2]


def _shells(modes: tuple[int, int], extent: tuple[float, float]) -> tuple[Int64[Tensor, "..."], Tensor, Tensor]:
    shorter = min(extent)
    index = (radial_wavenumber(modes, extent) * shorter).round().long()
    weights = half_plane_weights(modes).expand(index.shape)
    resolved = int(min(m * shorter / length for m, length in zip(modes, extent, strict=True)) * _ROUNDING)
    return index, weights, index.flatten().bincount(weights.flatten())[: resolved + 1]


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
        return _KERNELS[kind](**{name: _as_tuples(value) for name, value in arguments.items()})
    except TypeError as error:
        raise InputError(f"kernel {kind} takes {', '.join(sorted(known))}: got {arguments}; {error}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require_positive(kernel: Kernel, name: str, or_zero: bool = False) -> None:
    value = getattr(kernel, name)
    if not (_is_number(value) and (value > 0 or (or_zero and value == 0))):
        raise InputError(f"kernel {kernel.kind}: {name} must be a positive finite number: got {value!r}")


def _check_table(power: tuple[tuple[float, ...], ...], tail_slope: tuple[float, ...]) -> None:
    lengths = {len(row) for row in power}
    if len(lengths) != 1 or min(lengths) < 2:
        raise InputError(f"kernel matched: power needs rows of one length, at least two shells: got {lengths}")
    for row in power:
        if not all(_is_number(value) and value >= 0 for value in row) or max(row) == 0:
            raise InputError("kernel matched: power must be finite, not negative and not all zero; check the fields")
    if len(tail_slope) != len(power) or not all(_is_number(a) and a < 0 for a in tail_slope):
        raise InputError(
            f"kernel matched: tail_slope needs one negative number per row of power ({len(power)}): got "
            f"{tail_slope}; fit the tail over shells where the power falls"
        )


def _energetic_range(power: Tensor) -> tuple[int, int]:
    energetic = (power > _ENERGETIC * power.amax(dim=1, keepdim=True)).all(dim=0)
    last = int(energetic.nonzero().max()) if energetic.any() else 0
    return (last + 1) // 2, last


def _log_slope(row: Float64[Tensor, " shell"]) -> float:
    if not bool((row > 0).all()):
        raise InputError("the tail needs positive power in every shell of tail_range; choose another tail_range")
    shell = torch.arange(len(row), dtype=torch.float64, device=row.device)
    shell = shell - shell.mean()
    return float((shell * row.log()).sum() / shell.square().sum())


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value


def _as_tuples(value: Any) -> Any:
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(_as_tuples(item) for item in value) if is_sequence else value
