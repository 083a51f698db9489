# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The sampler of residuals on Gaussian data: x0 ~ N(0, S) observed as y = x0 + e, e ~ N(0, R), mode by mode.

The posterior N(S y / (S + R), P), P = S R / (S + R), has a closed-form denoiser; the probability flow multiplies the
deviation of each mode from its mean by sqrt(P / (P + sigma^2 L)), L the power of the noise.
"""

import pytest
import torch
from physicsnemo.core.module import Module
from torch import nn

from physicsnemo_fs.diffusion.modes import measure_power, shell_count, shell_mean
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.sampling import Churn, ResidualSampler
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.nn.resample import fourier_resample
from physicsnemo_fs.testing import assert_close, relative_error

DOUBLE = torch.float64
BAND = 12
MODES = (BAND, BAND)
SHAPE = (26, 26)
SIGMA_MIN, SIGMA_MAX = 0.005, 10.0
NOISE, DATA = Matern(0.5, 0.1, max_wavenumber=BAND), Matern(1.5, 0.2, max_wavenumber=BAND)
FIELD = RandomField(NOISE)
NOISE_POWER = NOISE.mode_variance(MODES)[0]
PRIOR_POWER = 0.25 * DATA.mode_variance(MODES)[0]
OBSERVATION_POWER = 0.02 * NOISE_POWER
GAIN = PRIOR_POWER / (PRIOR_POWER + OBSERVATION_POWER).clamp(min=1e-300)
POWER = GAIN * OBSERVATION_POWER


def multiply(x, per_mode):
    """Multiply the modes -BAND..BAND of fields by numbers, drop the others."""
    height, width = x.shape[-2:]
    grid = torch.zeros(*per_mode.shape[:-2], height, width // 2 + 1, dtype=DOUBLE)
    grid[..., (torch.arange(-BAND, BAND + 1) % height)[:, None], torch.arange(BAND + 1)] = per_mode
    return torch.fft.irfft2(torch.fft.rfft2(x) * grid.to(x.dtype), s=x.shape[-2:])


class GaussianBackbone(Module):
    """The F with which the preconditioned network is the exact denoiser: F = (D - c_skip x) / c_out."""

    in_channels, out_channels = 2, 1

    def __init__(self, sigma_data):
        super().__init__()
        self.sigma_data = sigma_data
        self.dtype_carrier = nn.Parameter(torch.zeros(1))

    def forward(self, x, labels):
        d, sigma = self.sigma_data, (4 * labels).exp().view(-1, 1, 1, 1)
        total = (sigma.square() + d**2).sqrt()
        state, mean = x[:, :1] * total, multiply(x[:, 1:], GAIN)
        outside = (POWER == 0).to(DOUBLE)
        weight = POWER / (POWER + sigma.double().square() * NOISE_POWER + outside)
        denoised = mean + multiply(state - mean, weight)
        return (denoised - (d / total) ** 2 * state) / (sigma * d / total)


def gaussian_sampler(dtype=DOUBLE, **options):
    network = FSEDMPrecondSR(
        GaussianBackbone(0.5), 0.5, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, noise=FIELD.to_dict()
    )
    return ResidualSampler.for_denoiser(network.to(dtype), **options)


def observation(shape=SHAPE, count=1, dtype=DOUBLE):
    data = 0.5 * RandomField(DATA).sample([7], 1, shape, dtype=DOUBLE)
    error = 0.02**0.5 * FIELD.sample([8], 1, shape, dtype=DOUBLE)
    return (data + error).expand(count, -1, -1, -1).to(dtype)


def flow(y, keys):
    """The exact end of the probability flow that starts at sigma_max times the noise of the keys."""
    mean = multiply(y, GAIN)
    start = SIGMA_MAX * FIELD.sample(keys, 1, y.shape[-2:], dtype=DOUBLE)
    ratio = (POWER / (POWER + SIGMA_MAX**2 * NOISE_POWER).clamp(min=1e-300)).sqrt()
    return mean + multiply(start - mean, ratio)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"solver": "euler", "num_steps": 200}, 0.01),
        ({"solver": "heun", "num_steps": 80}, 5e-4),
        ({"solver": "dpm2", "num_steps": 80}, 5e-4),
        ({"solver": "heun", "num_steps": 80, "schedule": "exponential"}, 5e-4),
    ],
    ids=lambda value: value["solver"] if isinstance(value, dict) else "",
)
def test_a_sample_is_the_end_of_the_exact_flow(options, tolerance):
    """Measured 3e-3 for Euler and at most 2e-4 for the others."""
    keys, y = [1, 2], observation(count=2)
    assert_close(gaussian_sampler(**options).sample(y, keys), flow(y, keys), tolerance)


@pytest.mark.parametrize(("churn", "tolerance"), [(Churn(), 0.02), (Churn(20.0), 0.06)], ids=["flow", "churn"])
def test_samples_have_the_posterior_mean_and_covariance(churn, tolerance):
    """Within four Monte Carlo errors, and the error of the steps."""
    count = 150
    y = observation(count=count)
    residuals = gaussian_sampler(num_steps=40, churn=churn).sample(y, range(count))
    mean, variance = multiply(y[:1], GAIN), float(2 * POWER.sum() - POWER[:, 0].sum())
    assert (residuals.mean(dim=0) - mean[0]).abs().max() < 4.5 * (variance / count) ** 0.5
    power, expected = measure_power(residuals - mean)[0], shell_mean(POWER[None])[0]
    error = 4 / (count * shell_count(MODES) / 2).sqrt()
    assert bool(((power / expected - 1).abs() < error + tolerance).all())


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("churn", [Churn(), Churn(20.0)], ids=["flow", "churn"])
def test_a_key_is_one_sample_at_64_and_128(dtype, tolerance, churn):
    """Measured 4e-16 and 2e-7."""
    sampler = gaussian_sampler(dtype, churn=churn)
    coarse, fine = (sampler.sample(observation((n, n), 1, dtype), [5]) for n in (64, 128))
    assert coarse.dtype == dtype
    assert_close(fine[..., ::2, ::2], coarse, tolerance)


def network_sampler(**options):
    """A sampler round a random network."""
    backbone = FSUNO(3, 2, model_channels=4, channel_mult=(1, 2), level_grid=(32, 16), n_modes=(0, 4))
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=max(1, parameter[0].numel()) ** -0.5)
    noise = RandomField(Matern(0.5, 0.1)).to_dict()
    network = FSEDMPrecondSR(backbone.eval(), [0.5, 1.0], sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, noise=noise)
    return ResidualSampler.for_denoiser(network, **options)


@pytest.mark.parametrize("churn", [Churn(), Churn(20.0)], ids=["flow", "churn"])
def test_a_network_draws_the_same_function_at_64_and_128(churn):
    """The noise has modes on all scales; below the coarser grid's limit the samples agree: measured 5e-7."""
    sampler = network_sampler(num_steps=6, churn=churn)
    condition = torch.randn(1, 1, 17, 17, generator=torch.Generator().manual_seed(0))
    coarse, fine = (sampler.sample(fourier_resample(condition, (n, n)), [5]) for n in (64, 128))
    assert_close(fourier_resample(fine, (64, 64)), coarse, 3e-6)
    assert relative_error(fine[..., ::2, ::2], coarse) > 1e-3


@pytest.mark.parametrize("churn", [Churn(), Churn(20.0)], ids=["flow", "churn"])
def test_a_sample_depends_on_its_key_and_condition_alone(churn):
    """Measured 2e-7 between batch sizes."""
    sampler, keys = network_sampler(num_steps=4, churn=churn), [3, 9, 4]
    conditions = torch.randn(3, 1, 20, 24)
    together = sampler.sample(conditions, keys)
    for i, key in enumerate(keys):
        assert_close(together[i : i + 1], sampler.sample(conditions[i : i + 1], [key]), 2e-6)
    assert torch.equal(sampler.sample(conditions, keys), together)
    for condition, key in ((conditions[:1], 9), (conditions[1:2], 3)):
        assert relative_error(sampler.sample(condition, [key]), together[:1]) > 0.01


def test_noise_and_levels_come_from_the_checkpoint_unless_given():
    network = network_sampler().denoiser
    scheduler = ResidualSampler.for_denoiser(network).scheduler
    assert (scheduler.sigma_min, scheduler.sigma_max) == (SIGMA_MIN, SIGMA_MAX)
    assert scheduler.field.to_dict() == network.noise
    other = ResidualSampler.for_denoiser(network, sigma_min=0.1, sigma_max=3.0, rho=5.0, schedule="exponential")
    levels = other.scheduler.timesteps(3)
    torch.testing.assert_close(levels, torch.tensor([3.0, 0.3**0.5, 0.1, 0.0]))
    polynomial = ResidualSampler.for_denoiser(network, sigma_min=1.0, sigma_max=16.0, rho=2.0).scheduler
    torch.testing.assert_close(polynomial.timesteps(3), torch.tensor([16.0, 6.25, 1.0, 0.0]))


def test_sampling_leaves_no_graph_and_takes_the_dtype_of_the_condition():
    residual = network_sampler(num_steps=2).sample(torch.randn(1, 1, 16, 16, dtype=DOUBLE), [1])
    assert not residual.requires_grad
    assert residual.dtype == DOUBLE


def test_misfits_are_refused():
    sampler, condition = network_sampler(num_steps=2), torch.zeros(2, 1, 16, 16)
    with pytest.raises(InputError, match="one key per sample: got 3 keys for 2 samples"):
        sampler.sample(condition, [1, 2, 3])
    with pytest.raises(ValueError, match="the condition must have shape"):
        sampler.sample(condition.expand(2, 2, -1, -1), [1, 2])
    with pytest.raises(InputError, match="solver must be one of euler, heun, dpm2: got 'rk4'"):
        network_sampler(solver="rk4").sample(condition, [1, 2])
    with pytest.raises(InputError, match="does not say which noise it was trained with"):
        ResidualSampler.for_denoiser(FSEDMPrecondSR(sampler.denoiser.backbone))
    with pytest.raises(InputError, match=r"0 < sigma_min < sigma_max: got 0\.0, inf"):
        ResidualSampler.for_denoiser(FSEDMPrecondSR(sampler.denoiser.backbone, noise=FIELD.to_dict()))
