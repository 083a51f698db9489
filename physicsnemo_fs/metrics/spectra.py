# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Radial power spectra on physical wavenumbers.

Shell :math:`j` holds the modes with :math:`\mathrm{round}(\kappa L) = j`, where :math:`\kappa` is the modulus
of the wave vector in cycles per unit length and :math:`L` the shorter side of the domain. On a square domain
:math:`j` is the integer wavenumber; a function has the same spectrum on every grid that carries it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.metrics.statistics import FloatArray

Window = Literal["none", "hann"]


@dataclass(frozen=True)
class Shells:
    """Shells of a grid's real-FFT modes.

    Args:
        index: Shell of each mode.
        multiplicity: How often each mode of the half plane counts (2, or 1 on the self-conjugate columns).
        wavenumber: Centre of each shell in cycles per unit of the grid.
        complete: Number of the last shell that the grid holds entirely.
    """

    index: Int[np.ndarray, "height half_width"]
    multiplicity: Float[np.ndarray, " half_width"]
    wavenumber: Float[np.ndarray, " shell"]
    complete: int

    @property
    def width(self) -> float:
        """Width of a shell in cycles per unit."""
        return float(self.wavenumber[1]) if len(self.wavenumber) > 1 else 1.0


@lru_cache(maxsize=32)
def wavenumber_shells(shape: tuple[int, int], extent: tuple[float, float]) -> Shells:
    """Give the shells of a grid.

    Args:
        shape: Number of samples ``(height, width)``.
        extent: Physical lengths ``(Ly, Lx)``.

    Example:
        >>> shells = wavenumber_shells((8, 8), (2.0, 2.0))
        >>> shells.wavenumber[:3].tolist(), shells.complete
        ([0.0, 0.5, 1.0], 3)
    """
    height, width = shape
    short = min(extent)
    ky = np.fft.fftfreq(height, extent[0] / height)
    kx = np.fft.rfftfreq(width, extent[1] / width)
    index = np.rint(np.hypot(ky[:, None], kx) * short).astype(np.int64)
    multiplicity = np.full(width // 2 + 1, 2.0)
    multiplicity[0] = 1.0
    if width % 2 == 0:
        multiplicity[-1] = 1.0
    nyquist = min(height / extent[0], width / extent[1]) / 2 * short
    return Shells(index, multiplicity, np.arange(index.max() + 1) / short, max(int(np.floor(nyquist - 0.5)), 0))


@lru_cache(maxsize=32)
def _hann(shape: tuple[int, int]) -> Float[np.ndarray, "height width"]:
    """Give the separable Hann window of mean square one."""
    rows, columns = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in shape)
    window = np.outer(rows, columns)
    return window / np.sqrt((window**2).mean())


def radial_power_spectrum(
    fields: Float[np.ndarray, "*lead height width"], extent: tuple[float, float], window: Window = "none"
) -> Float[np.ndarray, "*lead shell"]:
    r"""Give the power in each wavenumber shell, up to the corner of the spectral plane.

    .. math:: P_j = \sum_{k \in \text{shell } j} |\hat u_k|^2, \qquad \sum_j P_j = \overline{u^2}

    Divide by :attr:`Shells.width` for a spectral density. Shells beyond :attr:`Shells.complete` lack modes. The
    transform has the precision of the fields, without their mean: in float32 its floor is some 1e-14 of the peak.

    Args:
        fields: Real fields without NaN.
        extent: Physical lengths ``(Ly, Lx)`` of the domain.
        window: ``"none"`` for periodic domains; ``"hann"`` for bounded ones takes off the mean and tapers the
            edges, with the mean square of white noise unchanged.

    Example:
        >>> s = np.arange(32) / 32
        >>> wave = np.sin(2 * np.pi * 5 * s) * np.ones((32, 1))
        >>> power = radial_power_spectrum(wave, (1.0, 1.0))
        >>> int(power.argmax()), round(float(power.sum()), 6)
        (5, 0.5)
    """
    shape = (fields.shape[-2], fields.shape[-1])
    shells = wavenumber_shells(shape, extent)
    index, count = shells.index.ravel(), len(shells.wavenumber)
    multiplicity = np.broadcast_to(shells.multiplicity, shells.index.shape).ravel()
    kind = fields.dtype if fields.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    taper = _hann(shape).astype(kind) if window == "hann" else None
    rows = []
    for field in fields.reshape(-1, *shape):
        mean = field.mean(dtype=np.float64)
        anomaly = (field - mean).astype(kind)  # kelvins keep their digits in single precision
        modes = torch.fft.rfft2(torch.from_numpy(anomaly if taper is None else anomaly * taper))
        squares = torch.view_as_real(modes).square().sum(-1).numpy().ravel() * multiplicity
        row = np.bincount(index, squares, minlength=count) / float(field.size) ** 2
        row[0] += 0.0 if window == "hann" else mean**2
        rows.append(row)
    return np.array(rows).reshape(*fields.shape[:-2], count)


def window_for(grid: Grid) -> Window:
    """Give the window that a grid's boundary asks for: none on a torus, Hann on a bounded domain."""
    return "none" if grid.boundary == "periodic" else "hann"


def energetic_shells(
    truth_power: Float[np.ndarray, " shell"], complete: int, kmax: int | None = None, floor: float = 1e-4
) -> Int[np.ndarray, " chosen"]:
    """Give the complete shells, from 1, where the truth has at least ``floor`` times its peak power.

    Args:
        truth_power: Mean power spectrum of the truth.
        complete: Last complete shell of the grid.
        kmax: If given, every shell 1 to ``kmax`` is chosen instead.
        floor: Share of the peak below which a shell counts as empty.

    Example:
        >>> energetic_shells(np.array([9.0, 1.0, 0.1, 1e-6, 1e-7]), complete=4).tolist()
        [1, 2]
    """
    last = complete if kmax is None else min(kmax, complete)
    shells = np.arange(1, last + 1)
    if kmax is not None or not shells.size:
        return shells
    return shells[truth_power[shells] >= floor * truth_power[shells].max()]


def spectrum_error_db(
    power: Float[np.ndarray, "*lead shell"], truth_power: Float[np.ndarray, "*lead shell"], shells: np.ndarray
) -> Float[np.ndarray, "*lead chosen"]:
    r"""Give the deviation of a power spectrum from the truth's in decibels: :math:`10 \log_{10}(P / P_t)`.

    Example:
        >>> spectrum_error_db(np.array([1.0, 10.0, 1.0]), np.ones(3), np.array([1, 2])).tolist()
        [10.0, 0.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(power[..., shells] / truth_power[..., shells])


def mean_spectrum_error(
    power: Float[np.ndarray, "*lead shell"], truth_power: Float[np.ndarray, "*lead shell"], shells: np.ndarray
) -> FloatArray:
    """Give the mean over shells of the absolute spectrum error in decibels; NaN without shells."""
    error = np.abs(spectrum_error_db(power, truth_power, shells))
    return error.mean(-1) if shells.size else np.full(error.shape[:-1], np.nan)[()]


def max_spectrum_error(
    power: Float[np.ndarray, "*lead shell"], truth_power: Float[np.ndarray, "*lead shell"], shells: np.ndarray
) -> FloatArray:
    """Give the largest absolute spectrum error over shells in decibels; NaN without shells."""
    error = np.abs(spectrum_error_db(power, truth_power, shells))
    return error.max(-1) if shells.size else np.full(error.shape[:-1], np.nan)[()]


def log_spectral_distance(
    power: Float[np.ndarray, "*lead shell"], truth_power: Float[np.ndarray, "*lead shell"], shells: np.ndarray
) -> FloatArray:
    r"""Give the radially averaged log-spectral distance (RALSD) of each spectrum from the truth's, in decibels.

    .. math:: \sqrt{\frac1K \sum_j \left( 10 \log_{10} \frac{P_j}{P_{t,j}} \right)^2}

    (Harris et al. 2022, doi:10.1029/2022MS003120.) Unlike the error of the mean spectrum it is taken field by field:
    members that are too rough and too smooth in turn do not cancel. NaN without shells or without power.

    Args:
        power: Power spectra of members.
        truth_power: The truth's.
        shells: Wavenumber shells to use.

    Example:
        >>> log_spectral_distance(np.array([1.0, 10.0, 1.0]), np.ones(3), np.array([1])).tolist()
        10.0
    """
    error = spectrum_error_db(power, truth_power, shells)
    error = np.where(np.isfinite(error), error, np.nan)
    return np.sqrt((error**2).mean(-1)) if shells.size else np.full(error.shape[:-1], np.nan)[()]
