# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
r"""Two-dimensional Kolmogorov flow: a batched pseudo-spectral solver, and trajectories of it.

On the torus :math:`[0, 2\pi]^2` the vorticity :math:`\omega = \partial_x v - \partial_y u` obeys

.. math::

    \partial_t \omega + u \cdot \nabla \omega = \tfrac{1}{Re} \Delta \omega - \mu \omega - A n \cos(n y),

the flow driven by the body force :math:`A \sin(n y)` along x, with an optional linear drag :math:`\mu`.
Fields are ``[..., y, x]``: rows are y, so the forcing varies along axis -2 and is constant along axis -1.
Nodes are at ``2 pi i / N``.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.resample import fourier_resample
from physicsnemo_fs.random import generator

INITIAL_BAND = 10
"""Highest wavenumber of the initial condition along either axis."""

INITIAL_STD = 1.0
"""Pointwise standard deviation of the initial vorticity."""

STEP_TIMES_GRID = 2.56
"""Default time step times grid size: 0.04 on 64 nodes, 0.02 on 128."""

CHUNK_VALUES = 16 * 64**2
"""Values advanced together, so that a step's arrays stay in the processor's cache."""

PIECE_STEPS = 25
"""Steps between two looks at an integration: is it finite, and how far is it."""


@dataclass(frozen=True)
class KolmogorovConfig:
    """What determines a set of Kolmogorov-flow trajectories, frame by frame.

    Times are in flow time units: the box is 2 pi long and the force has amplitude 1.

    Args:
        reynolds: Reynolds number, the inverse of the viscosity.
        forcing_mode: Wavenumber ``n`` of the force.
        forcing_amplitude: Amplitude ``A`` of the body force.
        drag: Linear drag; 0 is the classic flow, 0.1 damps the largest scales within 10 time units.
        grid: Nodes along each axis; modes up to ``(grid - 1) // 3`` are carried (2/3 rule).
        dt: Longest time step on ``grid``, longer on coarser grids in proportion; ``None`` gives
            ``2.56 / grid``. Steps are shortened to divide each duration.
        spin_up: Stages ``(grid, time)`` before the first recorded frame, from coarse grids to ``grid``; the
            spectrum is padded from one grid to the next. Empty records from the initial condition.
        interval: Time between recorded frames.
        frames: Recorded frames of a trajectory.
        trajectories: Number of trajectories, each with its own initial condition.
        seed: Seed of the initial conditions; the same seed is the same functions on every grid.
        store_grid: Grid of the recorded frames, at most ``grid``; ``None`` is ``grid``. A smaller one keeps
            the modes below half of it, without loss if ``store_grid > 2 * ((grid - 1) // 3)``.
        precision: Floating-point type of the integration.

    Raises:
        InputError: If a number is out of its range.

    Example:
        >>> KolmogorovConfig(grid=128, spin_up=((64, 20.0), (128, 5.0))).dt_on(64)
        0.04
    """

    reynolds: float = 40.0
    forcing_mode: int = 4
    forcing_amplitude: float = 1.0
    drag: float = 0.0
    grid: int = 64
    dt: float | None = None
    spin_up: Sequence[Sequence[int | float]] = ((32, 100.0), (64, 10.0))
    interval: float = 1.0
    frames: int = 32
    trajectories: int = 128
    seed: int = 0
    store_grid: int | None = None
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self):
        object.__setattr__(self, "spin_up", tuple((int(grid), float(time)) for grid, time in self.spin_up))
        for name in ("reynolds", "forcing_mode", "interval", "frames", "trajectories", "dt", "store_grid"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive: got {value}; choose a positive value")
        for name in ("drag", "forcing_amplitude"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must not be negative: got {getattr(self, name)}; use 0 for none")
        self._check_grids()
        if self.precision not in ("float32", "float64"):
            raise InputError(f"precision must be float32 or float64: got {self.precision!r}; choose one")

    def _check_grids(self) -> None:
        stages = [grid for grid, _ in self.stages] or [self.grid]
        if sorted(stages) != stages or stages[-1] != self.grid or any(time < 0 for _, time in self.stages):
            raise InputError(
                f"spin_up must be stages (grid, time) of rising grids and times from 0, the last on grid "
                f"{self.grid}: got {self.spin_up}; end it with ({self.grid}, 5.0)"
            )
        if any(grid % 2 or grid <= 3 * self.forcing_mode for grid in stages):
            raise InputError(
                f"grids must be even and above 3 * forcing_mode = {3 * self.forcing_mode}: got {stages}; "
                "choose other grids"
            )
        if self.stored > self.grid:
            raise InputError(
                f"store_grid must not exceed grid {self.grid}: got {self.store_grid}; reduce it or raise grid"
            )

    @property
    def stages(self) -> tuple[tuple[int, float], ...]:
        """Grid and time of each spin-up stage."""
        return tuple((int(grid), time) for grid, time in self.spin_up)

    @property
    def stored(self) -> int:
        """Grid size of the recorded frames."""
        return self.store_grid or self.grid

    def dt_on(self, grid: int) -> float:
        """Give the longest time step used on a grid of that size."""
        return STEP_TIMES_GRID / grid if self.dt is None else self.dt * self.grid / grid


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


def simulate(
    config: KolmogorovConfig,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> Iterator[Float[Tensor, "trajectory y x"]]:
    """Yield the recorded frames in time order, each the vorticity of all trajectories at one time.

    Trajectory ``i`` depends on the seed and on ``i``, not on how many are run; memory holds one frame.

    Args:
        config: Flow, grids, times and seed.
        device: Where to compute; frames are returned there.
        progress: Called after each piece of work with its share of the whole; the shares sum to 1.

    Yields:
        Vorticity, ``float32`` or ``float64`` as ``config.precision``.

    Raises:
        InputError: If the integration becomes non-finite.

    Example:
        >>> flow = KolmogorovConfig(grid=32, spin_up=((32, 1.0),), frames=3, trajectories=2)
        >>> [tuple(frame.shape) for frame in simulate(flow)]
        [(2, 32, 32), (2, 32, 32), (2, 32, 32)]
    """
    run = _Run(config, device, progress)
    states = run.spun_up_states()
    for frame in range(config.frames):
        if frame:
            states = [run.advance(run.solver, state, config.interval) for state in states]
        yield torch.cat([run.recorded(state) for state in states])


class _Run:
    """Stepping through a configuration's grids, with progress and checks."""

    def __init__(self, config: KolmogorovConfig, device: torch.device | str, progress: Callable | None):
        self.config = config
        self.device = device
        self.progress = progress
        self.solver = self._solver_on(config.grid)

    def _solver_on(self, grid: int) -> KolmogorovSolver:
        c = self.config
        dtype = torch.float64 if c.precision == "float64" else torch.float32
        return KolmogorovSolver(grid, c.reynolds, c.forcing_mode, c.forcing_amplitude, c.drag, dtype, self.device)

    def spun_up_states(self) -> list[Tensor]:
        stages = [(self._solver_on(grid), time) for grid, time in self.config.stages] or [(self.solver, 0.0)]
        members = range(self.config.trajectories)
        size = max(1, CHUNK_VALUES // self.config.grid**2)
        return [self._spun_up(members[start : start + size], stages) for start in members[::size]]

    def _spun_up(self, members: range, stages: list[tuple[KolmogorovSolver, float]]) -> Tensor:
        solver = stages[0][0]
        state = torch.stack([initial_spectrum(self.config.seed, member, solver) for member in members])
        for finer, time in stages:
            state = self.advance(finer, pad_spectrum(state, solver, finer), time)
            solver = finer
        return state

    def recorded(self, state: Tensor) -> Tensor:
        field = self.solver.to_grid(state)
        stored = self.config.stored
        return field if stored == self.config.grid else fourier_resample(field, (stored, stored))

    def advance(self, solver: KolmogorovSolver, state: Tensor, duration: float) -> Tensor:
        """Integrate piece by piece, reporting progress and refusing numbers that are not finite."""
        steps = step_count(duration, self.config.dt_on(solver.grid))
        for done in range(0, steps, PIECE_STEPS):
            piece = min(PIECE_STEPS, steps - done)
            state = solver.take_steps(state, piece, duration / steps)
            self._check_finite(state, duration / steps, solver.grid)
            if self.progress is not None:
                self.progress(len(state) * piece * solver.grid**2 / self._total_work)
        return state

    def _check_finite(self, state: Tensor, dt: float, grid: int) -> None:
        if not torch.isfinite(torch.view_as_real(state).sum()):
            raise InputError(
                f"the flow must stay finite: it blew up on grid {grid} at Reynolds number "
                f"{self.config.reynolds:g} with a time step of {dt:.3g}; reduce dt"
            )

    @functools.cached_property
    def _total_work(self) -> int:
        """Steps times nodes of all trajectories."""
        config = self.config
        recording = [(config.grid, config.interval)] * (config.frames - 1)
        stages = [*config.stages, *recording]
        return config.trajectories * sum(step_count(t, config.dt_on(g)) * g**2 for g, t in stages)
