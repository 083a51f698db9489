# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Covariance with the spectrum of given data: measured power by shell, extrapolated by an exponential tail."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from physicsnemo_fs.diffusion.kernel import DensityKernel, as_tuples, is_number, require_positive
from physicsnemo_fs.diffusion.modes import radial_wavenumber, shell_mean
from physicsnemo_fs.errors import InputError

_ENERGETIC = 1e-6
_FIT_ITERATIONS = 8
_FLATTEST_TAIL = -1e-3


@dataclass(frozen=True)
class Matched(DensityKernel):
    r"""Covariance with the spectrum of given data, one row per channel.

    Per-mode power by shell :math:`q = \kappa L`, L the shorter side, log-linear between integer shells, then
    an exponential tail :math:`p_K e^{a (q - K)}` beyond the last shell K. A floor of ``floor`` times the
    largest power is added, flat up to K and falling as :math:`(q / K)^{-3}` beyond, so that no mode is
    without noise and the field stays trace class.

    Args:
        power: Power per mode by shell 0..K, one row per channel, any unit; see
            :func:`physicsnemo_fs.diffusion.modes.measure_power`.
        tail_slope: Slope ``a`` of the logarithm of the power per shell, one per channel, negative.
        length: Shorter side L of the domain on which the power was measured.
        floor: Floor relative to the largest power of the channel.
        max_wavenumber: Band limit in cycles per unit length.

    Raises:
        InputError: If a row is empty, negative or all zero, rows differ in length, or a slope is not
            negative.

    Example:
        >>> from physicsnemo_fs.diffusion.modes import half_plane_weights
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
        require_positive(self, "length")
        require_positive(self, "floor")
        object.__setattr__(self, "power", as_tuples(self.power))
        object.__setattr__(self, "tail_slope", as_tuples(self.tail_slope))
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
        slopes = tuple(min(_log_slope(row[first : last + 1]), _FLATTEST_TAIL) for row in source.double())
        measured = power[:, : last + 1].double().cpu()
        table = measured
        for _ in range(_FIT_ITERATIONS):
            kernel = cls(as_tuples(table.tolist()), slopes, length=length, floor=floor)
            reached = shell_mean(kernel.density(radial_wavenumber((last + 1, last + 1)) / length))
            table = table * measured / reached[:, : last + 1]
        return cls(as_tuples(table.tolist()), slopes, length=length, floor=floor, max_wavenumber=max_wavenumber)

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


def _check_table(power: tuple[tuple[float, ...], ...], tail_slope: tuple[float, ...]) -> None:
    lengths = {len(row) for row in power}
    if len(lengths) != 1 or min(lengths) < 2:
        raise InputError(f"kernel matched: power needs rows of one length, at least two shells: got {lengths}")
    for row in power:
        if not all(is_number(value) and value >= 0 for value in row) or max(row) == 0:
            raise InputError("kernel matched: power must be finite, not negative and not all zero; check the fields")
    if len(tail_slope) != len(power) or not all(is_number(a) and a < 0 for a in tail_slope):
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
