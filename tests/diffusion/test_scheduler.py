# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from physicsnemo.diffusion.metrics.losses import MSEDSMLoss
from physicsnemo.diffusion.noise_schedulers import EDMNoiseScheduler, NoiseScheduler

from physicsnemo_fs.diffusion.matched import Matched
from physicsnemo_fs.diffusion.modes import shell_count, shell_mean
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler, noise_level_distribution
from physicsnemo_fs.diffusion.spectra import Matern, White
from physicsnemo_fs.errors import InputError

FIELD = RandomField(Matern(0.5, 0.1))
DOUBLE = torch.float64


def test_it_is_a_physicsnemo_scheduler():
    assert isinstance(FunctionSpaceScheduler(FIELD), NoiseScheduler)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 100), st.floats(1e-3, 0.1), st.floats(1, 100), st.floats(1, 9))
def test_the_edm_schedule_is_nvidias(num_steps, sigma_min, sigma_max, rho):
    ours = FunctionSpaceScheduler(FIELD, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    theirs = EDMNoiseScheduler(sigma_min, sigma_max, rho)
    expected = theirs.timesteps(num_steps, dtype=DOUBLE)
    assert torch.allclose(ours.timesteps(num_steps, dtype=DOUBLE), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("schedule", ["edm", "exponential"])
def test_steps_fall_from_the_first_level_to_zero(schedule):
    scheduler = FunctionSpaceScheduler(FIELD, sigma_min=0.01, sigma_max=30.0, schedule=schedule)
    assert torch.allclose(scheduler.timesteps(1), torch.tensor([30.0, 0.0]))
    levels = scheduler.timesteps(9, dtype=DOUBLE)
    assert bool((levels.diff() < 0).all())
    assert torch.allclose(levels[[0, -2, -1]], torch.tensor([30.0, 0.01, 0.0], dtype=DOUBLE))
    if schedule == "exponential":
        assert torch.allclose(levels[1:-1] / levels[:-2], levels[1] / levels[0])


def test_noise_is_the_field_times_the_level():
    scheduler, levels = FunctionSpaceScheduler(FIELD), torch.tensor([0.5, 3.0])
    x0 = torch.randn(2, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    noise = FIELD.sample([4, 5], 1, (16, 20))
    noisy = scheduler.add_noise(x0, levels, keys=[4, 5])
    assert torch.equal(noisy, x0 + levels.reshape(2, 1, 1, 1) * noise)
    latents = scheduler.init_latents((1, 16, 20), levels, keys=[4, 5])
    assert torch.equal(latents, levels.reshape(2, 1, 1, 1) * noise)


def test_latents_are_one_function_at_every_resolution():
    scheduler = FunctionSpaceScheduler(RandomField(Matern(0.5, 0.1, max_wavenumber=15)))
    start = torch.full((2,), 20.0, dtype=DOUBLE)
    coarse = scheduler.init_latents((1, 32, 32), start, keys=[1, 2])
    fine = scheduler.init_latents((1, 64, 64), start, keys=[1, 2])
    assert (fine[..., ::2, ::2] - coarse).abs().max() < 1e-11


def test_keys_are_counted_from_the_seed():
    x0, levels = torch.zeros(3, 1, 8, 8), torch.ones(3)
    first, again, other = (FunctionSpaceScheduler(FIELD, seed=seed) for seed in (1, 1, 2))
    draws = [first.add_noise(x0, levels), first.add_noise(x0, levels)]
    assert torch.equal(again.add_noise(x0, levels), draws[0])
    assert torch.equal(again.add_noise(x0, levels), draws[1])
    assert len(torch.cat([*draws, other.add_noise(x0, levels)]).flatten(1).unique(dim=0)) == 9


def test_levels_are_log_normal_and_independent_of_the_noise():
    scheduler, count = FunctionSpaceScheduler(FIELD, P_mean=-0.7, P_std=1.4), 20_000
    logarithm = (scheduler.sample_time(count, dtype=DOUBLE, keys=range(count)).log() + 0.7) / 1.4
    assert abs(float(logarithm.mean())) < 4 / math.sqrt(count)
    assert abs(float(logarithm.square().mean()) - 1) < 4 * math.sqrt(2 / count)
    noise = FIELD.sample(range(count), 1, (1, 1), dtype=DOUBLE).flatten()
    assert abs(float(torch.corrcoef(torch.stack([logarithm, noise]))[0, 1])) < 4 / math.sqrt(count)
    assert torch.equal(
        scheduler.sample_time(1, dtype=DOUBLE, keys=[7]).log(),
        scheduler.sample_time(9, dtype=DOUBLE, keys=range(9))[7:8].log(),
    )


@pytest.mark.parametrize("sigma_data", [0.7, [0.5, 2.0]])
def test_nvidias_loss_accepts_it(sigma_data):
    """The loss of the zero predictor is w(t) times the mean square of the data."""
    scheduler = FunctionSpaceScheduler(FIELD, sigma_data=sigma_data)

    class Zero(torch.nn.Module):
        def forward(self, x, t, condition=None):
            return torch.zeros_like(x)

    loss = MSEDSMLoss(Zero(), scheduler, reduction="none")
    x0 = torch.full((4, 2, 8, 8), 3.0)
    weights = loss(x0) / 9
    smallest = 1 / torch.tensor(sigma_data).square()
    assert bool((weights.mean(dim=(0, 2, 3)) > smallest).all())
    assert scheduler.loss_weight(torch.ones(4)).shape == ((4, 2) if isinstance(sigma_data, list) else (4,))


def test_matched_noise_is_trained_around_the_data_scale():
    """Noise with the spectrum of the data decides every mode at sigma = 1."""
    power = torch.exp(-0.3 * torch.arange(32.0, dtype=DOUBLE))[None]
    levels = noise_level_distribution(power, Matched.fit(power, tail_range=(20, 31)))
    assert abs(levels.P_mean) < 0.02
    assert abs(levels.P_std - 1.2) < 1e-3
    assert levels.sigma_max == 20.0
    FunctionSpaceScheduler(FIELD, **asdict(levels))


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 1.5), st.floats(1e-3, 1e3), st.sampled_from([(32, 32), (33, 48)]))
def test_noise_levels_follow_the_rule(slope, unit, shape):
    kernel = Matern(0.5, 0.2)
    modes = ((shape[0] - 1) // 2, (shape[1] - 1) // 2)
    count, noise = shell_count(modes), shell_mean(kernel.mode_variance(modes))[0]
    power = torch.exp(-slope * torch.arange(len(count), dtype=DOUBLE))
    power = power / (power * count).sum()
    kept = power * count >= 1e-6
    level = (power / noise).sqrt().log()[kept]
    weight = (power * count).sqrt()[kept]
    weight = weight / weight.sum()
    mean = (weight * level).sum()
    spread = (1.44 + (weight * (level - mean) ** 2).sum()).sqrt()
    levels = noise_level_distribution(unit * power[None], kernel, shape=shape)
    assert levels.P_mean == pytest.approx(float(mean), abs=1e-9)
    assert levels.P_std == pytest.approx(float(spread), abs=1e-9)
    assert levels.sigma_max == pytest.approx(max(20.0, 5 * float(level.max().exp())), rel=1e-9)


def test_unequal_samples_widen_the_noise_levels():
    power = torch.exp(-0.3 * torch.arange(32.0))[None]
    kernel = Matched.fit(power, tail_range=(20, 31))
    plain = noise_level_distribution(power, kernel)
    unequal = noise_level_distribution(power, kernel, scale_shift=0.3, scale_spread=0.5)
    assert unequal.P_mean - plain.P_mean == pytest.approx(0.3)
    assert unequal.P_std**2 - plain.P_std**2 == pytest.approx(0.25)


def test_white_noise_needs_higher_levels_on_finer_grids():
    power = torch.exp(-0.5 * torch.arange(16.0))[None]
    coarse = noise_level_distribution(power, White(), shape=(32, 32))
    fine = noise_level_distribution(power, White(), shape=(64, 64))
    assert fine.P_mean - coarse.P_mean == pytest.approx(math.log(63 / 31), abs=1e-6)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="sigma_min < sigma_max"):
        FunctionSpaceScheduler(FIELD, sigma_min=1.0, sigma_max=0.5)
    with pytest.raises(InputError, match="edm or exponential"):
        FunctionSpaceScheduler(FIELD, schedule="cosine")
    scheduler = FunctionSpaceScheduler(FIELD)
    with pytest.raises(InputError, match="at least one"):
        scheduler.timesteps(0)
    with pytest.raises(InputError, match="one key per sample"):
        scheduler.add_noise(torch.zeros(2, 1, 8, 8), torch.ones(2), keys=[1])
    with pytest.raises(InputError, match="channel, height, width"):
        scheduler.init_latents((8, 8), torch.ones(2))
    with pytest.raises(InputError, match="positive variance"):
        noise_level_distribution(torch.zeros(1, 8), White())
