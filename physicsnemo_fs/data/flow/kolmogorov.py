# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Trajectories of Kolmogorov flow: what determines them, and the frames they are recorded at."""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, wait
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from physicsnemo_fs.data.flow.solver import KolmogorovSolver, initial_spectrum, pad_spectrum, step_count
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.executors import open_threads, usable_cores
from physicsnemo_fs.nn.resample import fourier_resample

STEP_TIMES_GRID = 2.56
"""Default time step times grid size: 0.04 on 64 nodes, 0.02 on 128."""

CHUNK_VALUES = 16 * 64**2
"""Values advanced together, so that a step's arrays stay in the processor's cache."""

PIECE_STEPS = 25
"""Most steps between two looks at an integration: is it finite, is it still wanted, and how far is it."""

MOST_THREADS = 8
"""More would wait for Python, which starts each operation."""

Item = TypeVar("Item")


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


def simulate(
    config: KolmogorovConfig,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> Iterator[Float[Tensor, "trajectory y x"]]:
    """Yield the recorded frames in time order, each the vorticity of all trajectories at one time.

    Trajectory ``i`` depends on the seed and on ``i``, not on how many are run; memory holds one frame. On the CPU
    groups of trajectories are advanced in up to ``MOST_THREADS`` threads, as many as there are usable cores.

    Args:
        config: Flow, grids, times and seed.
        device: Where to compute; frames are returned there.
        progress: Called after each piece of work with its share of the whole; the shares sum to 1. It may be called
            from other threads, one call at a time.

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
            states = run.over(lambda state: run.advance(run.solver, state, config.interval), states)
        yield torch.cat([run.recorded(state) for state in states])


class _Run:
    """Stepping through a configuration's grids, with progress and checks."""

    def __init__(self, config: KolmogorovConfig, device: torch.device | str, progress: Callable | None):
        self.config = config
        self.device = device
        self.progress = progress
        self.solver = self._solver_on(config.grid)
        self._cores = usable_cores() if torch.device(device).type == "cpu" else 1
        self._reporting = threading.Lock()
        self._abandoned = threading.Event()

    def _solver_on(self, grid: int) -> KolmogorovSolver:
        c = self.config
        dtype = torch.float64 if c.precision == "float64" else torch.float32
        return KolmogorovSolver(grid, c.reynolds, c.forcing_mode, c.forcing_amplitude, c.drag, dtype, self.device)

    def spun_up_states(self) -> list[Tensor]:
        stages = [(self._solver_on(grid), time) for grid, time in self.config.stages] or [(self.solver, 0.0)]
        members = range(self.config.trajectories)
        size = max(1, CHUNK_VALUES // self.config.grid**2)
        return self.over(lambda start: self._spun_up(members[start : start + size], stages), members[::size])

    def over(self, work: Callable[[Item], Tensor], items: Sequence[Item]) -> list[Tensor]:
        """Do the work on each item, in threads; what ends one of them or the waiting ends all at their next piece."""
        count = min(self._cores, MOST_THREADS, len(items))
        if count == 1:
            return [work(item) for item in items]
        with open_threads(count, each=self._cores // count) as threads:
            futures = [threads.submit(work, item) for item in items]
            try:
                ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in ended:
                    future.result()
            except BaseException:
                self._abandoned.set()
                raise
            return [future.result() for future in futures]

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
        longest = max(1, min(PIECE_STEPS, PIECE_STEPS * CHUNK_VALUES // (len(state) * solver.grid**2)))
        for done in range(0, steps, longest):
            if self._abandoned.is_set():
                raise CancelledError
            piece = min(longest, steps - done)
            state = solver.take_steps(state, piece, duration / steps)
            self._check_finite(state, duration / steps, solver.grid)
            if self.progress is not None:
                with self._reporting:
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
