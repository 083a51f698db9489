# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Solvers against Gaussian data: denoiser, flow and posterior are known in closed form, mode by mode."""

import math

import pytest
import torch
from physicsnemo.diffusion import samplers

from physicsnemo_fs.diffusion.modes import measure_power, shell_count, shell_mean
from physicsnemo_fs.diffusion.noise import NoiseLike, RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.diffusion.solvers import (
    ChurnSolver,
    DPM2Solver,
    EulerSolver,
    HeunSolver,
    Solver,
    integrate,
    make_solver,
)
from physicsnemo_fs.diffusion.spectra import Matern, White
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.testing import relative_error

NOISE = Matern(0.5, 0.1, max_wavenumber=12)
DATA = Matern(2.0, 0.2, max_wavenumber=12)
DATA_STD = 0.5
FIELD = RandomField(NOISE)
DOUBLE = torch.float64
MODES = (12, 12)


def on_grid(values, shape):
    """Rearrange values per mode, rows -m..m, to the rows of the real FFT on a grid; zero elsewhere."""
    grid = values.new_zeros(shape[0], shape[1] // 2 + 1)
    rows = torch.arange(-MODES[0], MODES[0] + 1) % shape[0]
    grid[rows[:, None], torch.arange(MODES[1] + 1)] = values
    return grid


def multiply(x, multiplier):
    return torch.fft.irfft2(torch.fft.rfft2(x) * multiplier, s=x.shape[-2:])


class GaussianData:
    """Data x0 ~ N(mean, S), noise covariance L: D(x) = (S x + sigma^2 L mean) / (S + sigma^2 L) per mode."""

    def __init__(self, shape, power=None, mean=None):
        power = DATA_STD**2 * DATA.mode_variance(MODES)[0] if power is None else power
        self.noise = on_grid(NOISE.mode_variance(MODES)[0], shape)
        self.power = on_grid(power, shape)
        self.band = (self.noise > 0).double()
        self.mean = torch.zeros(shape, dtype=DOUBLE) if mean is None else mean

    def __call__(self, x, sigma):
        sigma = sigma.double().reshape(-1, 1, 1, 1)
        noise = sigma.square() * self.noise
        return self.mean + multiply(x - self.mean, self.band * self.power / (self.power + noise + 1 - self.band))

    def flow(self, x, first, last):
        """The exact probability flow: each mode scales with its standard deviation."""
        ratio = (self.power + last**2 * self.noise) / (self.power + first**2 * self.noise + 1 - self.band)
        return self.mean + multiply(x - self.mean, self.band * ratio.sqrt())


class LegacyNetwork:
    """What NVIDIA's older samplers ask of a network."""

    sigma_min, sigma_max = 0.0, math.inf
    round_sigma = staticmethod(torch.as_tensor)

    def __init__(self, denoise):
        self.denoise = denoise

    def __call__(self, x, img_lr, sigma, class_labels=None):
        return self.denoise(x, sigma)


def counted(function):
    def wrapper(x, t):
        wrapper.calls += 1
        return function(x, t)

    wrapper.calls = 0
    return wrapper


def start(scheduler, shape, keys, num_steps):
    levels = scheduler.timesteps(num_steps, dtype=DOUBLE)
    return levels, scheduler.init_latents((1, *shape), levels[:1].expand(len(keys)), keys=keys)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpm2", 2)])
def test_order_of_convergence(name, order):
    """Measured orders .99, 2.03, 2.02 and errors 1.7e-2, 6.3e-4, 3.2e-4 with 64 steps."""
    scheduler, data = FunctionSpaceScheduler(FIELD), GaussianData((32, 32))
    solver = make_solver(name, scheduler.get_denoiser(x0_predictor=data))
    x = 5 * FIELD.sample([1, 2], 1, (32, 32), dtype=DOUBLE)
    exact = data.flow(x, 5.0, 0.05)
    errors = []
    for num_steps in (32, 64):
        levels = 5.0 * 0.01 ** torch.linspace(0, 1, num_steps + 1, dtype=DOUBLE)
        errors.append(relative_error(integrate(solver, x, levels), exact))
    assert abs(math.log2(errors[0] / errors[1]) - order) < 0.1
    assert errors[1] < {1: 2e-2, 2: 1e-3}[order]


@pytest.mark.parametrize("name", ["euler", "heun", "dpm2"])
@pytest.mark.parametrize("num_steps", [1, 2, 12])
def test_evaluations_are_as_documented(name, num_steps):
    scheduler = FunctionSpaceScheduler(FIELD)
    denoiser = counted(scheduler.get_denoiser(x0_predictor=lambda x, t: x / 2))
    solver = make_solver(name, denoiser)
    levels, x = start(scheduler, (26, 26), [1], num_steps)
    assert torch.isfinite(integrate(solver, x, levels)).all()
    assert denoiser.calls == solver.evaluations(num_steps)
    assert make_solver("heun", denoiser).evaluations(12) == 23


@pytest.mark.parametrize("solver_class", [EulerSolver, HeunSolver, DPM2Solver])
def test_they_run_under_nvidias_sample(solver_class):
    scheduler, data = FunctionSpaceScheduler(FIELD), GaussianData((26, 26))
    denoiser = scheduler.get_denoiser(x0_predictor=data)
    solver = solver_class(denoiser)
    levels, x = start(scheduler, (26, 26), [1, 2], 8)
    sampled = samplers.sample(denoiser, x, scheduler, 8, solver=solver)
    assert isinstance(solver, samplers.Solver)
    assert isinstance(solver, Solver)
    assert torch.equal(sampled, integrate(solver, x, levels))
    if solver_class is not DPM2Solver:
        name = "heun" if solver_class is HeunSolver else "euler"
        assert relative_error(sampled, samplers.sample(denoiser, x, scheduler, 8, solver=name)) < 1e-12


@pytest.mark.parametrize(("S_churn", "tolerance"), [(0.0, 0.01), (15.0, 0.05)])
@pytest.mark.parametrize("name", ["heun", "dpm2"])
def test_samples_have_the_covariance_of_the_data(name, S_churn, tolerance):
    """Power per shell within the Monte Carlo error and that of the steps: measured .008, with churn .03."""
    shape, count = (26, 26), 100
    scheduler, data = FunctionSpaceScheduler(FIELD), GaussianData(shape)
    levels, x = start(scheduler, shape, range(count), 60)
    solver = make_solver(name, scheduler.get_denoiser(x0_predictor=data))
    if S_churn:
        solver = ChurnSolver(solver, FIELD, range(count), levels, S_churn=S_churn)
    power = measure_power(integrate(solver, x, levels))[0]
    expected = DATA_STD**2 * shell_mean(DATA.mode_variance(MODES))[0]
    error = 4 / (count * shell_count(MODES) / 2).sqrt()
    assert bool(((power / expected - 1).abs() < error + tolerance).all())


def test_churn_without_colour_would_not_keep_the_law():
    """White churn noise of the same variance changes the power of the largest scales."""
    shape, count = (26, 26), 50
    scheduler, data = FunctionSpaceScheduler(FIELD), GaussianData(shape)
    levels, x = start(scheduler, shape, range(count), 30)
    solver = make_solver("heun", scheduler.get_denoiser(x0_predictor=data))
    expected = float(DATA_STD**2 * shell_mean(DATA.mode_variance(MODES))[0, 1])
    ratio = []
    for noise in (FIELD, RandomField(White(max_wavenumber=12))):
        churned = ChurnSolver(solver, noise, range(count), levels, S_churn=15.0)
        ratio.append(float(measure_power(integrate(churned, x, levels))[0, 1]) / expected)
    assert abs(ratio[0] - 1) < 0.25
    assert abs(ratio[1] - 1) > 0.5


@pytest.mark.parametrize("S_churn", [0.0, 10.0])
def test_conditional_samples_have_the_posterior_mean_and_variance(S_churn):
    """Observe y = x0 + e per mode: the posterior is N(S y / (S + R), S R / (S + R))."""
    shape, count = (26, 26), 200
    prior = DATA_STD**2 * DATA.mode_variance(MODES)[0]
    error_power = 0.05 * NOISE.mode_variance(MODES)[0]
    in_band = (prior > 0).double()
    gain = prior / (prior + error_power + 1 - in_band)
    observed = DATA_STD * RandomField(DATA).sample([99], 1, shape, dtype=DOUBLE)[0, 0]
    observed = observed + 0.05**0.5 * FIELD.sample([98], 1, shape, dtype=DOUBLE)[0, 0]
    mean = multiply(observed, on_grid(gain, shape))
    posterior = GaussianData(shape, power=gain * error_power, mean=mean)
    scheduler = FunctionSpaceScheduler(FIELD, sigma_max=10.0)
    levels, x = start(scheduler, shape, range(count), 40)
    solver = HeunSolver(scheduler.get_denoiser(x0_predictor=posterior))
    if S_churn:
        solver = ChurnSolver(solver, FIELD, range(count), levels, S_churn=S_churn)
    samples = integrate(solver, x, levels)
    variance = float((gain * error_power).sum() * 2 - (gain * error_power)[:, 0].sum())
    assert (samples.mean(dim=0)[0] - mean).abs().max() < 4.5 * math.sqrt(variance / count)
    spread = float((samples - mean).square().mean())
    assert abs(spread / variance - 1) < 0.1


@pytest.mark.parametrize("name", ["euler", "heun", "dpm2"])
@pytest.mark.parametrize("S_churn", [0.0, 10.0])
def test_a_key_is_one_sample_at_every_resolution(name, S_churn):
    scheduler, samples = FunctionSpaceScheduler(FIELD), {}
    for points in (64, 128):
        data = GaussianData((points, points))
        levels, x = start(scheduler, (points, points), [1, 2], 12)
        solver = make_solver(name, scheduler.get_denoiser(x0_predictor=data))
        if S_churn:
            solver = ChurnSolver(solver, FIELD, [1, 2], levels, S_churn=S_churn)
        samples[points] = integrate(solver, x, levels)
    assert (samples[128][..., ::2, ::2] - samples[64]).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["euler", "heun", "dpm2"])
def test_a_member_does_not_depend_on_the_batch_bit_by_bit(name):
    scheduler = FunctionSpaceScheduler(RandomField(Matern(0.5, 0.1)))
    denoiser = scheduler.get_denoiser(x0_predictor=lambda x, t: x / (1 + t.square()).reshape(-1, 1, 1, 1))

    def sample(keys):
        levels, x = start(scheduler, (16, 20), keys, 10)
        solver = ChurnSolver(make_solver(name, denoiser), scheduler.field, keys, levels, S_churn=5.0)
        first = integrate(solver, x, levels)
        assert torch.equal(integrate(solver, x, levels), first)
        return first

    together = sample([1, 2, 3, 4])
    assert torch.equal(together, torch.cat([sample([1]), sample([2, 3]), sample([4])]))


def test_churn_stays_within_its_levels():
    scheduler = FunctionSpaceScheduler(FIELD)
    levels, x = start(scheduler, (26, 26), [1], 10)
    raised = []

    class Recorder:
        def step(self, x, t_cur, t_next):
            raised.append(float(t_cur[0]))
            return x

    integrate(ChurnSolver(Recorder(), FIELD, [1], levels, S_churn=2.0, S_min=0.1, S_max=5.0), x, levels)
    expected = [level * (1.2 if 0.1 <= level <= 5 else 1.0) for level in levels[:-1].tolist()]
    assert raised == pytest.approx(expected)
    assert ChurnSolver(Recorder(), FIELD, [1], levels, S_churn=100.0).gamma == math.sqrt(2) - 1


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_nvidias_deterministic_sampler_gives_the_same_samples(name):
    scheduler, data = FunctionSpaceScheduler(FIELD), GaussianData((26, 26))
    levels, x = start(scheduler, (26, 26), [1, 2], 9)
    ours = integrate(make_solver(name, scheduler.get_denoiser(x0_predictor=data)), x, levels)
    theirs = samplers.deterministic_sampler(
        LegacyNetwork(data),
        FIELD.sample([1, 2], 1, (26, 26), dtype=DOUBLE),
        torch.zeros(2, 1, 26, 26),
        num_steps=9,
        sigma_min=0.002,
        sigma_max=20.0,
        solver=name,
        randn_like=NoiseLike(FIELD, [1, 2]),
        dtype=DOUBLE,
    )
    assert relative_error(ours, theirs) < 1e-11


def test_nvidias_stochastic_sampler_gives_the_same_samples():
    """With our noise as its randn_like; it computes its time steps in float32."""
    scheduler, data = FunctionSpaceScheduler(FIELD), GaussianData((26, 26))
    levels, x = start(scheduler, (26, 26), [1, 2], 9)
    solver = HeunSolver(scheduler.get_denoiser(x0_predictor=data))
    ours = integrate(ChurnSolver(solver, FIELD, [1, 2], levels, S_churn=2.0, S_noise=1.01), x, levels)
    theirs = samplers.stochastic_sampler(
        LegacyNetwork(data),
        FIELD.sample([1, 2], 1, (26, 26), dtype=DOUBLE),
        torch.zeros(2, 1, 26, 26),
        num_steps=9,
        sigma_min=0.002,
        sigma_max=20.0,
        S_churn=2.0,
        S_noise=1.01,
        randn_like=NoiseLike(FIELD, [1, 2]),
    )
    assert relative_error(ours, theirs) < 1e-4


def test_bad_arguments_are_refused():
    solver, levels = EulerSolver(lambda x, t: x), torch.tensor([2.0, 1.0, 0.0])
    with pytest.raises(InputError, match="euler, heun, dpm2"):
        make_solver("rk4", lambda x, t: x)
    with pytest.raises(InputError, match="not negative"):
        ChurnSolver(solver, FIELD, [1], levels, S_churn=-1.0)
    churned, x = ChurnSolver(solver, FIELD, [1], levels, S_churn=1.0), torch.zeros(1, 1, 26, 26)
    with pytest.raises(InputError, match="time_steps"):
        churned.step(x, torch.tensor([1.5]), torch.tensor([1.0]))
    with pytest.raises(InputError, match="one key per sample"):
        churned.step(x.expand(2, -1, -1, -1), torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0]))
    with pytest.raises(InputError, match="together"):
        HeunSolver(lambda x, t: x).step(x.expand(2, -1, -1, -1), torch.ones(2), torch.tensor([0.0, 0.5]))
