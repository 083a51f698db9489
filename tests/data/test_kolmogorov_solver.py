# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The flow solver against exact solutions, conservation laws and its own order."""

import itertools
import math
import os
import signal
import sys
from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_module
from jaxtyping import TypeCheckError
from omegaconf import OmegaConf

from physicsnemo_fs.data.flow.kolmogorov import KolmogorovConfig, _Run, simulate
from physicsnemo_fs.data.flow.solver import INITIAL_STD, KolmogorovSolver, initial_spectrum, pad_spectrum
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.assembly import kolmogorov_splits
from physicsnemo_fs.testing import assert_close, relative_error

DOUBLE = torch.float64


def turbulent_state(solver: KolmogorovSolver, trajectories: int = 2, time: float = 8.0) -> torch.Tensor:
    start = torch.stack([initial_spectrum(3, member, solver) for member in range(trajectories)])
    return solver.advance(start, time, 2.0 / solver.grid)


def mode_sum(solver: KolmogorovSolver, values: torch.Tensor) -> torch.Tensor:
    """Sum over all modes of a real field from its stored half: columns above zero stand for two."""
    return values[..., 0].sum(-1) + 2 * values[..., 1:].sum((-2, -1))


def squared_wavenumber(solver: KolmogorovSolver) -> torch.Tensor:
    ky = torch.fft.fftfreq(solver.grid, 1 / solver.grid, dtype=DOUBLE)[:, None]
    kx = torch.arange(solver.band + 1, dtype=DOUBLE)[None, :]
    return ky**2 + kx**2


def energy(solver: KolmogorovSolver, spectrum: torch.Tensor) -> torch.Tensor:
    u, v = solver.velocity(spectrum)
    return 0.5 * (u**2 + v**2).mean((-2, -1))


def test_taylor_green_vortex_decays_as_the_exact_solution():
    reynolds, k = 30.0, 3
    solver = KolmogorovSolver(32, reynolds, forcing_amplitude=0.0, dtype=DOUBLE)
    s = 2 * math.pi * torch.arange(32, dtype=DOUBLE) / 32
    vortex = torch.sin(k * s)[:, None] * torch.sin(k * s)[None, :]
    later = solver.to_grid(solver.advance(solver.to_spectrum(vortex), 5.0, 0.1))
    assert_close(later, vortex * math.exp(-2 * k**2 / reynolds * 5.0), 1e-13)


def test_drag_damps_every_mode_alike():
    plain, damped = (KolmogorovSolver(32, 30.0, 4, 0.0, drag, DOUBLE) for drag in (0.0, 0.2))
    s = 2 * math.pi * torch.arange(32, dtype=DOUBLE) / 32
    vortex = torch.sin(s)[:, None] * torch.sin(s)[None, :]
    fields = [solver.to_grid(solver.advance(solver.to_spectrum(vortex), 2.0, 0.1)) for solver in (plain, damped)]
    assert_close(fields[1], fields[0] * math.exp(-0.4), 1e-13)


def test_force_varies_along_rows_with_the_classic_sign():
    solver = KolmogorovSolver(32, 40.0, dtype=DOUBLE)
    rest = torch.zeros(32, 32, dtype=DOUBLE)
    y = 2 * math.pi * torch.arange(32, dtype=DOUBLE)[:, None] / 32
    assert_close(
        solver.to_grid(solver.tendency(solver.to_spectrum(rest))),
        (-4 * torch.cos(4 * y)).expand(32, 32),
        1e-14,
    )


def test_velocity_has_the_vorticity_and_no_divergence():
    solver = KolmogorovSolver(48, 40.0, dtype=DOUBLE)
    spectrum = initial_spectrum(0, 0, solver)
    u, v = (solver.to_spectrum(component) for component in solver.velocity(spectrum))
    ky = torch.fft.fftfreq(48, 1 / 48, dtype=DOUBLE)[:, None]
    kx = torch.arange(solver.band + 1, dtype=DOUBLE)[None, :]
    assert_close(torch.view_as_real(1j * kx * v - 1j * ky * u), torch.view_as_real(spectrum), 1e-14)
    assert (1j * kx * u + 1j * ky * v).abs().max() < 1e-15


def test_advection_form_equals_the_gradient_form():
    solver = KolmogorovSolver(48, 40.0, forcing_amplitude=0.0, dtype=DOUBLE)
    spectrum = turbulent_state(solver, 1)[0]
    ky = torch.fft.fftfreq(48, 1 / 48, dtype=DOUBLE)[:, None]
    kx = torch.arange(solver.band + 1, dtype=DOUBLE)[None, :]
    u, v = solver.velocity(spectrum)
    gradient = u * solver.to_grid(1j * kx * spectrum) + v * solver.to_grid(1j * ky * spectrum)
    expected = -solver.to_spectrum(gradient)
    assert_close(torch.view_as_real(solver.tendency(spectrum)), torch.view_as_real(expected), 1e-13)


def test_energy_changes_by_input_minus_dissipation():
    reynolds, window, steps = 40.0, 0.1, 40
    solver = KolmogorovSolver(32, reynolds, dtype=DOUBLE)
    states = [turbulent_state(solver)]
    for _ in range(steps):
        states.append(solver.take_steps(states[-1], 1, window / steps))
    path = torch.stack(states)
    y = 2 * math.pi * torch.arange(32, dtype=DOUBLE)[:, None] / 32
    work = (solver.velocity(path)[0] * torch.sin(4 * y)).mean((-2, -1))
    loss = mode_sum(solver, path.abs().square()) / reynolds
    simpson = torch.tensor([1.0] + [4.0, 2.0] * (steps // 2 - 1) + [4.0, 1.0], dtype=DOUBLE)[:, None]
    balance = (simpson * (work - loss)).sum(0) * window / steps / 3
    assert_close(energy(solver, path[-1]) - energy(solver, path[0]), balance, 1e-8)


def test_inviscid_truncated_flow_conserves_energy_and_enstrophy():
    solver = KolmogorovSolver(32, math.inf, forcing_amplitude=0.0, dtype=DOUBLE)
    start = initial_spectrum(1, 0, solver)
    end = solver.advance(start, 2.0, 0.01)
    for weight in (torch.ones(()), 1 / squared_wavenumber(solver).clamp(min=1)):
        before, after = (mode_sum(solver, weight * state.abs().square()) for state in (start, end))
        assert abs(after / before - 1) < 1e-9
    assert relative_error(solver.to_grid(end), solver.to_grid(start)) > 0.5


def test_time_stepping_has_fourth_order():
    solver = KolmogorovSolver(32, 40.0, dtype=DOUBLE)
    start = turbulent_state(solver)
    reference = solver.advance(start, 1.0, 0.0025)
    errors = [(solver.advance(start, 1.0, dt) - reference).norm() for dt in (0.04, 0.02, 0.01)]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(3.8 < order < 4.4 for order in orders), orders


def test_one_seed_is_one_initial_function_on_every_grid():
    small, large = (KolmogorovSolver(grid, 40.0, dtype=DOUBLE) for grid in (32, 96))
    coarse, fine = (solver.to_grid(initial_spectrum(5, 2, solver)) for solver in (small, large))
    assert_close(coarse, fine[::3, ::3], 1e-14)


@pytest.mark.parametrize(("reynolds", "tolerance"), [(4.0, 1e-11), (40.0, 2e-4)])
def test_one_seed_is_one_trajectory_on_64_and_128_nodes_for_a_short_time(reynolds, tolerance):
    """To rounding where viscosity keeps the flow within the smaller band; else up to what it cuts off."""
    small, large = (KolmogorovSolver(grid, reynolds, dtype=DOUBLE) for grid in (64, 128))
    coarse, fine = (
        solver.to_grid(solver.advance(initial_spectrum(5, 0, solver), 0.5, 0.02)) for solver in (small, large)
    )
    assert_close(coarse, fine[::2, ::2], tolerance)


def test_initial_condition_has_its_standard_deviation_and_no_mean():
    solver = KolmogorovSolver(32, 40.0, dtype=DOUBLE)
    fields = torch.stack([solver.to_grid(initial_spectrum(0, member, solver)) for member in range(200)])
    assert fields.mean((-2, -1)).abs().max() < 1e-15
    assert abs(fields.std().item() / INITIAL_STD - 1) < 0.02


def test_padding_a_spectrum_keeps_the_function():
    small, large = KolmogorovSolver(32, 40.0, dtype=DOUBLE), KolmogorovSolver(64, 40.0, dtype=DOUBLE)
    spectrum = turbulent_state(small, 1)
    padded = large.to_grid(pad_spectrum(spectrum, small, large))
    assert_close(padded[:, ::2, ::2], small.to_grid(spectrum), 1e-14)


def test_trajectories_do_not_depend_on_how_many_are_run():
    flow = KolmogorovConfig(grid=32, spin_up=((32, 1.0),), frames=2, trajectories=70, seed=4)
    many = torch.stack(list(simulate(flow)))
    few = torch.stack(list(simulate(replace(flow, trajectories=3))))
    assert_close(few, many[:, :3], 1e-6)


def on_cores(monkeypatch, count):
    monkeypatch.setattr("physicsnemo_fs.data.flow.kolmogorov.usable_cores", lambda: count)


def test_trajectories_do_not_depend_on_the_number_of_cores(monkeypatch):
    flow = KolmogorovConfig(grid=64, spin_up=((32, 1.0), (64, 0.2)), interval=0.2, frames=2, trajectories=50, seed=4)
    found = []
    for cores in (1, 3):
        on_cores(monkeypatch, cores)
        found.append(torch.stack(list(simulate(flow))))
    assert torch.equal(*found)


def test_a_stop_ends_all_threads_of_a_simulation_soon(monkeypatch):
    on_cores(monkeypatch, 2)
    flow = KolmogorovConfig(grid=32, spin_up=((32, 1000.0),), frames=1, trajectories=1000)
    shares = []

    def stop(share):
        shares.append(share)
        if len(shares) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("physicsnemo_fs.data.flow.kolmogorov.PIECE_STEPS", 5)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    torch.set_num_threads(2)
    try:
        with pytest.raises(SystemExit):
            next(simulate(flow, progress=stop))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
        signal.signal(signal.SIGTERM, before)
    assert len(shares) < 50  # of 2500 of each group


def test_a_blow_up_in_any_thread_ends_the_others(monkeypatch):
    on_cores(monkeypatch, 2)
    monkeypatch.setattr("physicsnemo_fs.data.flow.kolmogorov.PIECE_STEPS", 5)
    shares = []
    run = _Run(KolmogorovConfig(grid=32, spin_up=((32, 1000.0),)), "cpu", shares.append)
    state = torch.stack([initial_spectrum(0, member, run.solver) for member in range(64)])
    with pytest.raises(InputError, match="blew up"):
        run.over(lambda one: run.advance(run.solver, one, 1000.0), [state, math.nan * state])
    assert len(shares) < 50  # of 2500


def test_stages_reach_the_flow_of_a_direct_run():
    direct = KolmogorovConfig(
        reynolds=4.0, spin_up=((64, 0.8),), frames=2, interval=0.1, trajectories=1, precision="float64"
    )
    staged = replace(direct, spin_up=((48, 0.4), (64, 0.4)))
    a, b = (torch.stack(list(simulate(flow))) for flow in (direct, staged))
    assert_close(b, a, 1e-6)


def test_store_grid_without_loss_keeps_the_function():
    flow = KolmogorovConfig(grid=32, spin_up=((32, 2.0),), frames=1, trajectories=1)
    (full,), (stored,) = simulate(flow), simulate(replace(flow, store_grid=24))
    assert stored.shape == (1, 24, 24)
    assert_close(stored[:, ::3, ::3], full[:, ::4, ::4], 1e-6)


def test_progress_adds_up_to_the_whole():
    shares = []
    flow = KolmogorovConfig(grid=48, spin_up=((32, 1.0), (48, 0.5)), frames=3, trajectories=40)
    for _ in simulate(flow, progress=shares.append):
        pass
    assert sum(shares) == pytest.approx(1.0)
    assert len(shares) > 3


def test_blow_up_tells_to_reduce_the_time_step():
    flow = KolmogorovConfig(grid=32, dt=1.0, spin_up=((32, 100.0),), trajectories=1)
    with pytest.raises(InputError, match="reduce dt"):
        next(simulate(flow))


@pytest.mark.parametrize(
    "change",
    [
        {"reynolds": 0.0},
        {"frames": 0},
        {"drag": -1.0},
        {"dt": 0.0},
        {"spin_up": ((64, 1.0), (32, 1.0))},
        {"spin_up": ((32, 1.0),)},
        {"spin_up": ((12, 1.0), (64, 1.0))},
        {"grid": 63, "spin_up": ()},
        {"store_grid": 128},
    ],
)
def test_impossible_flows_are_refused(change):
    with pytest.raises(InputError):
        KolmogorovConfig(**change)


def test_an_unknown_precision_is_refused():
    with pytest.raises((InputError, TypeCheckError)):
        KolmogorovConfig(precision="float16")


@pytest.mark.slow
def test_the_preset_of_reynolds_1000_is_stable_and_resolved():
    """Advection at the corner mode stays within the reach of fourth-order Runge-Kutta on the imaginary axis, 2.83."""
    with initialize_config_module("physicsnemo_fs.conf", version_base="1.3"):
        preset = OmegaConf.to_object(compose("config_train", ["dataset=kolmogorov_re1000"])).dataset
    flow = replace(kolmogorov_splits(preset).train, trajectories=1, frames=1)
    run = _Run(flow, "cpu", None)
    (state,) = run.spun_up_states()
    u, v = run.solver.velocity(state)
    assert float((u.abs() + v.abs()).max()) * flow.dt * run.solver.band < 2.83
    power = state.abs().square()
    ky = torch.fft.fftfreq(flow.grid, 1 / flow.grid)[:, None]
    shell = torch.hypot(ky.expand_as(power[0]), torch.arange(power.shape[-1]).expand_as(power[0])).round().long()
    enstrophy = torch.zeros(100).index_add_(0, shell.flatten().clamp(max=99), power[0].flatten())
    assert float(enstrophy[55:64].mean() / enstrophy.max()) < 1e-3
    assert float(enstrophy[58:64].mean() / enstrophy[40:46].mean()) < 0.6
