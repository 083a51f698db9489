# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Two-dimensional Kolmogorov flow: a batched pseudo-spectral solver.

On the torus :math:`[0, 2\pi]^2` the vorticity :math:`\omega = \partial_x v - \partial_y u` obeys

.. math::

    \partial_t \omega + u \cdot \nabla \omega = \tfrac{1}{Re} \Delta \omega - \mu \omega - A n \cos(n y),

the flow driven by the body force :math:`A \sin(n y)` along x, with an optional linear drag :math:`\mu`.
Fields are ``[..., y, x]``: rows are y, so the forcing varies along axis -2 and is constant along axis -1.
Nodes are at ``2 pi i / N``.
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from physicsnemo_fs.random import generator

INITIAL_BAND = 10
"""Highest wavenumber of the initial condition along either axis."""

INITIAL_STD = 1.0
"""Pointwise standard deviation of the initial vorticity."""


class KolmogorovSolver:
    r"""Pseudo-spectral right-hand side and time stepping on one grid.

    The state is the set of Fourier coefficients :math:`\hat\omega_{k_y k_x}` with ``norm="forward"``, which
    do not depend on the grid, shape ``[..., grid, band + 1]``: all rows of :math:`k_y`, and :math:`k_x` from
    0 to ``band``. Modes beyond ``band = (grid - 1) // 3`` on either axis are zero, so that products do not
    alias. Advection has the form with four transforms of Basdevant (1983, J. Comput. Phys. 50, 209-214),

    .. math:: u \cdot \nabla \omega = \partial_{xy} (v^2 - u^2) + (\partial_{xx} - \partial_{yy}) (u v),

    and damping is integrated exactly, by an integrating factor within the classical fourth-order Runge-Kutta
    method.

    Args:
        grid: Nodes along each axis.
        reynolds: Reynolds number; ``math.inf`` for an inviscid flow.
        forcing_mode: Wavenumber of the force.
        forcing_amplitude: Amplitude of the body force, 0 for a decaying flow.
        drag: Linear drag.
        dtype: ``torch.float32`` or ``torch.float64``.
        device: Where to compute.

    Example:
        >>> solver = KolmogorovSolver(32, reynolds=40.0, dtype=torch.float64)
        >>> y = torch.arange(32, dtype=torch.float64)[:, None] * (2 * math.pi / 32)
        >>> laminar = -(40.0 / 4) * torch.cos(4 * y).expand(32, 32)
        >>> later = solver.to_grid(solver.advance(solver.to_spectrum(laminar), duration=1.0, dt=0.1))
        >>> torch.allclose(later, laminar)
        True
    """

    def __init__(
        self,
        grid: int,
        reynolds: float,
        forcing_mode: int = 4,
        forcing_amplitude: float = 1.0,
        drag: float = 0.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self.grid = grid
        self.band = (grid - 1) // 3
        self.dtype = dtype
        self.device = torch.device(device)
        ky = torch.fft.fftfreq(grid, 1 / grid, dtype=dtype, device=device)[:, None]
        kx = torch.arange(self.band + 1, dtype=dtype, device=device)[None, :]
        squared = ky**2 + kx**2
        self._kept = (ky.abs() <= self.band).to(dtype)
        inverse = self._kept / squared.clamp(min=1)
        self._velocity = torch.stack([1j * ky * inverse, -1j * kx * inverse])
        self._from_difference = ky * kx * self._kept
        self._from_product = (kx**2 - ky**2) * self._kept
        self._damping_rate = -squared / reynolds - drag
        self._forcing = torch.zeros_like(squared)
        self._forcing[[forcing_mode, -forcing_mode], 0] = -0.5 * forcing_amplitude * forcing_mode

    def to_spectrum(self, vorticity: Float[Tensor, "*lead y x"]) -> Complex[Tensor, "*lead ky kx"]:
        """Give the carried Fourier coefficients of a vorticity field."""
        return self._transform(vorticity.to(self.device, self.dtype)) * self._kept

    def _transform(self, field: Float[Tensor, "*lead y x"]) -> Complex[Tensor, "*lead ky kx"]:
        half = torch.fft.rfft(field, norm="forward")[..., : self.band + 1]
        return torch.fft.fft(half, dim=-2, norm="forward")

    def to_grid(self, spectrum: Complex[Tensor, "*lead ky kx"]) -> Float[Tensor, "*lead y x"]:
        """Give the field of Fourier coefficients at the nodes."""
        return torch.fft.irfft(torch.fft.ifft(spectrum, dim=-2, norm="forward"), n=self.grid, norm="forward")

    def velocity(self, spectrum: Complex[Tensor, "*lead ky kx"]) -> tuple[Tensor, Tensor]:
        """Give the velocity ``(u, v)`` along x and y at the nodes."""
        x_factor, y_factor = self._velocity
        return self.to_grid(x_factor * spectrum), self.to_grid(y_factor * spectrum)

    def tendency(self, spectrum: Complex[Tensor, "*lead ky kx"]) -> Complex[Tensor, "*lead ky kx"]:
        """Give advection and forcing, the part of the right-hand side without damping."""
        u, v = self.velocity(spectrum)
        difference = self._transform((v - u) * (v + u))
        product = self._transform(u * v)
        tendency = torch.addcmul(self._forcing, self._from_difference, difference)
        return torch.addcmul(tendency, self._from_product, product)

    def rate(self, spectrum: Complex[Tensor, "*lead ky kx"]) -> Complex[Tensor, "*lead ky kx"]:
        """Give the whole right-hand side, viscosity and drag included."""
        return self.tendency(spectrum) + self._damping_rate * spectrum

    def advance(
        self, spectrum: Complex[Tensor, "*lead ky kx"], duration: float, dt: float
    ) -> Complex[Tensor, "*lead ky kx"]:
        """Integrate for ``duration`` in equal steps of at most ``dt``."""
        steps = step_count(duration, dt)
        return self.take_steps(spectrum, steps, duration / steps) if steps else spectrum

    def take_steps(
        self, spectrum: Complex[Tensor, "*lead ky kx"], steps: int, dt: float
    ) -> Complex[Tensor, "*lead ky kx"]:
        """Take ``steps`` steps of exactly ``dt``."""
        half_decay = torch.exp(self._damping_rate * (dt / 2))
        decay = half_decay**2
        for _ in range(steps):
            halfway, end = half_decay * spectrum, decay * spectrum
            first = self.tendency(spectrum)
            second = self.tendency(torch.addcmul(halfway, half_decay * (dt / 2), first))
            third = self.tendency(torch.add(halfway, second, alpha=dt / 2))
            fourth = self.tendency(torch.addcmul(end, half_decay * dt, third))
            end = torch.addcmul(end, decay * (dt / 6), first)
            end = torch.addcmul(end, half_decay * (dt / 3), second.add_(third))
            spectrum = end.add_(fourth, alpha=dt / 6)
        return spectrum


def step_count(duration: float, dt: float) -> int:
    """Give the least number of equal steps of at most ``dt`` that fill ``duration``.

    Example:
        >>> step_count(0.75, 0.04), step_count(1.0, 0.1), step_count(0.0, 0.1)
        (19, 10, 0)
    """
    return math.ceil(duration / dt * (1 - 1e-12))


def initial_spectrum(seed: int, trajectory: int, solver: KolmogorovSolver) -> Complex[Tensor, "ky kx"]:
    r"""Draw one random initial condition, the same function on every grid that carries its band.

    A Gaussian random field of zero mean and pointwise standard deviation ``INITIAL_STD``, band-limited to
    ``INITIAL_BAND`` along each axis, with mode variance proportional to :math:`(|k|^2 + 49)^{-5/2}`
    (the form of Li et al. 2021, Fourier neural operator, arXiv:2010.08895, section 5.3).

    Example:
        >>> coarse, fine = KolmogorovSolver(32, 40.0), KolmogorovSolver(64, 40.0)
        >>> a, b = (s.to_grid(initial_spectrum(7, 0, s)) for s in (coarse, fine))
        >>> torch.allclose(a, b[::2, ::2], atol=1e-6)
        True
    """
    band = INITIAL_BAND
    draws = generator(seed, "kolmogorov-initial", trajectory)
    real, imaginary = torch.randn(2, 2 * band + 1, band + 1, generator=draws, dtype=torch.float64)
    ky = torch.arange(-band, band + 1, dtype=torch.float64)[:, None]
    kx = torch.arange(band + 1, dtype=torch.float64)[None, :]
    scale = (ky**2 + kx**2 + 49) ** -1.25
    scale[band, 0] = 0
    variance = 2 * (2 * scale[:, 1:].square().sum() + scale[:, 0].square().sum())
    modes = torch.complex(real, imaginary) * scale * (INITIAL_STD / variance.sqrt())
    modes[:band, 0] = modes[band + 1 :, 0].flip(0).conj()
    kept = min(band, solver.band)
    spectrum = torch.zeros(solver.grid, solver.band + 1, dtype=torch.complex128)
    spectrum[torch.arange(-kept, kept + 1), : kept + 1] = modes[band - kept : band + kept + 1, : kept + 1]
    return spectrum.to(solver.device, solver.dtype.to_complex())


def pad_spectrum(
    spectrum: Complex[Tensor, "*lead ky kx"], coarse: KolmogorovSolver, fine: KolmogorovSolver
) -> Complex[Tensor, "*lead fine_ky fine_kx"]:
    """Carry the coefficients of a coarser grid to a finer one; the new modes are zero."""
    padded = spectrum.new_zeros(*spectrum.shape[:-2], fine.grid, fine.band + 1)
    rows = torch.arange(-coarse.band, coarse.band + 1, device=spectrum.device)
    padded[..., rows, : coarse.band + 1] = spectrum[..., rows, :]
    return padded
