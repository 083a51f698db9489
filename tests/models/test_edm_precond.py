# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The preconditioned denoiser: its closed form, its two calls, and NVIDIA's own losses and samplers."""

import math
from functools import partial

import pytest
import torch
from physicsnemo.core.module import Module
from physicsnemo.diffusion import DiffusionModel
from physicsnemo.diffusion.generate.legacy_generate import diffusion_step
from physicsnemo.diffusion.metrics.legacy_losses import ResidualLoss
from physicsnemo.diffusion.metrics.losses import MSEDSMLoss
from physicsnemo.diffusion.noise_schedulers import EDMNoiseScheduler
from physicsnemo.diffusion.samplers import sample
from physicsnemo.diffusion.samplers.legacy_deterministic_sampler import deterministic_sampler
from physicsnemo.diffusion.samplers.legacy_stochastic_sampler import stochastic_sampler
from physicsnemo.diffusion.samplers.samplers import SOLVERS
from random_networks import tiny_fsuno
from torch import nn

from physicsnemo_fs.diffusion.noise import NoiseLike, RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.diffusion.solvers import EulerSolver, HeunSolver, integrate
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.nn.conservation import cell_average
from physicsnemo_fs.nn.resample import radial_filter
from physicsnemo_fs.testing import assert_close, relative_error

SINGLE = 3e-6  # measured at most 8e-7
SIGMA_DATA = [0.5, 2.0]
SIGMA = torch.tensor([0.3, 5.0])
FIELD = RandomField(Matern(0.5, 0.1))
KEYS = [11, 12]


class ConstantBackbone(Module):
    """F = value; keeps what it was given."""

    def __init__(self, value=0.0, in_channels=5, out_channels=2):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x, labels):
        self.given = x.detach(), labels.detach()
        return self.value.expand(x.shape[0], self.out_channels, *x.shape[-2:])


def fields(channels, dtype=torch.float32, seed=0, shape=(16, 20)):
    return torch.randn(2, channels, *shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


X, Y = fields(2), fields(3, seed=1)


@pytest.fixture(scope="module")
def network():
    return FSEDMPrecondSR(tiny_fsuno(5, 2), SIGMA_DATA).eval()


@pytest.fixture(scope="module")
def expected(network):
    with torch.no_grad():
        return network(X, SIGMA, Y)


@pytest.mark.parametrize("sigma_data", [0.5, SIGMA_DATA])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_preconditioning_in_closed_form(sigma_data, value):
    network = FSEDMPrecondSR(ConstantBackbone(value), sigma_data)
    s, d = SIGMA.double().view(2, 1, 1, 1), torch.tensor(sigma_data, dtype=torch.float64).view(1, -1, 1, 1)
    skip, out = d**2 / (s**2 + d**2), s * d / (s**2 + d**2).sqrt()
    assert_close(network(X, SIGMA, Y), skip * X + out * value, SINGLE)
    given, labels = network.backbone.given
    assert_close(given[:, :2], X / (s**2 + d**2).sqrt(), SINGLE)
    assert torch.equal(given[:, 2:], Y)
    assert_close(labels, SIGMA.log() / 4, SINGLE)


def test_no_noise_means_no_change():
    network = FSEDMPrecondSR(ConstantBackbone(1.0))
    assert torch.equal(network(X, torch.zeros(2), Y), X)


def test_input_of_the_backbone_has_unit_variance_for_data_of_the_stated_scale():
    network, data = FSEDMPrecondSR(ConstantBackbone(), 0.5), 0.5 * fields(2, shape=(64, 64))
    for sigma in (0.01, 0.5, 20.0):
        network(data + sigma * fields(2, shape=(64, 64), seed=5), torch.tensor([sigma]), fields(3, shape=(64, 64)))
        assert abs(network.backbone.given[0][:, :2].std() - 1) < 0.02


CALLS = {
    "legacy": lambda net: net(X, Y, SIGMA),
    "legacy, NVIDIA's positional arguments": lambda net: net(X, Y, SIGMA, None),
    "legacy, labels named and unset": lambda net: net(X, Y, SIGMA, class_labels=None, augment_labels=None),
    "legacy, sigma named": lambda net: net(X, Y, sigma=SIGMA),
    "legacy, all named": lambda net: net(x=X, img_lr=Y, sigma=SIGMA),
    "legacy, sigma [B, 1, 1, 1]": lambda net: net(X, Y, SIGMA.view(2, 1, 1, 1)),
    "legacy, float64": lambda net: net(X.double(), Y.double(), SIGMA.double()),
    "protocol": lambda net: net(X, SIGMA, Y),
    "protocol, t [B, 1, 1, 1]": lambda net: net(X, SIGMA.view(2, 1, 1, 1), Y),
    "protocol, condition named": lambda net: net(X, SIGMA, condition=Y),
    "protocol, all named": lambda net: net(x=X, t=SIGMA, condition=Y),
    "protocol, float64": lambda net: net(X.double(), SIGMA.double(), Y.double()),
    "channels last": lambda net: net(X.to(memory_format=torch.channels_last), SIGMA, Y),
}


@pytest.mark.parametrize("call", CALLS)
@torch.no_grad()
def test_two_calls_one_result(network, expected, call):
    result = CALLS[call](network)
    assert result.dtype == torch.float32
    assert_close(result, expected, SINGLE)


@pytest.mark.parametrize("sigma", [torch.tensor(0.7), torch.tensor([0.7]), torch.tensor(0.7, dtype=torch.float64)])
@torch.no_grad()
def test_one_noise_level_serves_the_batch(network, sigma):
    expected = network(X, torch.full((2,), 0.7), Y)
    assert torch.equal(network(X, Y, sigma), expected)
    assert torch.equal(network(X, sigma, Y), expected)


@torch.no_grad()
def test_without_condition():
    network = FSEDMPrecondSR(tiny_fsuno(2, 2), SIGMA_DATA)
    assert network.img_in_channels == 0
    expected = network(X, SIGMA)
    for result in (network(X, None, SIGMA), network(X, t=SIGMA), network(X, SIGMA, None), network(X, sigma=SIGMA)):
        assert torch.equal(result, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net(X, Y, SIGMA, t=SIGMA), "got 2 noise levels and 1 conditions"),
        (lambda net: net(X, SIGMA, Y, sigma=SIGMA), "got 2 noise levels and 1 conditions"),
        (lambda net: net(X, Y), "got 0 noise levels and 1 conditions"),
        (lambda net: net(X, Y, SIGMA, condition=Y), "got 1 noise levels and 2 conditions"),
        (lambda net: net(X, SIGMA), "needs a condition with 3 channels: got none"),
        (lambda net: net(X, None, SIGMA), "needs a condition with 3 channels: got none"),
        (lambda net: net(X, SIGMA, X), r"the condition must have shape \[batch, 3,"),
        (lambda net: net(Y, SIGMA, Y), r"x must have shape \[batch, 2,"),
        (lambda net: net(X, SIGMA, Y[:1]), "must share batch and grid"),
        (lambda net: net(X, SIGMA, Y[..., :16]), "must share batch and grid"),
        (lambda net: net(X, torch.ones(3), Y), "the noise level needs 1 or 2 values: got 3"),
        (lambda net: net(X, Y, SIGMA, torch.zeros(2)), "no use for class_labels"),
        (lambda net: net(X, Y, SIGMA, lead_time_label=SIGMA), "no use for lead_time_label"),
        (lambda net: net(X, Y, SIGMA, embedding_selector=print), "no use for embedding_selector"),
        (lambda net: net(X, Y, SIGMA, global_index=SIGMA, augment_labels=X), "no use for global_index, augment_labels"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(network, call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(network)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("backbone", "sigma_data", "message"),
    [
        (ConstantBackbone(), [0.5, 0.5, 0.5], "one for each of the 2 output channels: got"),
        (ConstantBackbone(), 0.0, "one positive number"),
        (ConstantBackbone(), [0.5, -1.0], "one positive number"),
        (ConstantBackbone(), float("nan"), "one positive number"),
        (ConstantBackbone(in_channels=1), 0.5, "at least its 2 output channels: got in_channels=1"),
    ],
)
def test_misfit_arguments_are_refused(backbone, sigma_data, message):
    with pytest.raises(ValueError, match=message):
        FSEDMPrecondSR(backbone, sigma_data)


@torch.no_grad()
def test_autocast_and_force_fp32(network, expected):
    with torch.autocast("cpu", torch.bfloat16):
        low, full = network(X, SIGMA, Y), network(X, Y, SIGMA, force_fp32=True)
    assert low.dtype == torch.float32
    assert 1e-5 < relative_error(low, expected) < 0.04
    assert torch.equal(full, expected)


def test_every_parameter_gets_a_gradient(network):
    network(X, SIGMA, Y).square().mean().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


def test_is_a_diffusion_model_and_has_what_the_older_samplers_ask_for(network):
    assert isinstance(network, DiffusionModel)
    assert (network.sigma_min, network.sigma_max) == (0.0, math.inf)
    assert torch.equal(network.round_sigma([1.0, 2.0]), torch.tensor([1.0, 2.0]))
    assert network.round_sigma(SIGMA) is SIGMA
    assert network.device == torch.device("cpu")


SCHEDULER = FunctionSpaceScheduler(FIELD, sigma_min=0.01, sigma_max=10.0)


def edm_levels(num_steps):
    return SCHEDULER.timesteps(num_steps, dtype=torch.float64)


@pytest.mark.parametrize(("name", "solver"), [("euler", EulerSolver), ("heun", HeunSolver)])
@torch.no_grad()
def test_runs_in_nvidias_deterministic_sampler(network, name, solver):
    noise = FIELD.sample(KEYS, 2, (16, 20))
    theirs = deterministic_sampler(network, noise, Y, num_steps=4, sigma_min=0.01, sigma_max=10.0, solver=name)
    rhs = SCHEDULER.get_denoiser(x0_predictor=lambda x, t: network(x, t, Y).double())
    ours = integrate(solver(rhs), 10.0 * noise.double(), edm_levels(4))
    assert theirs.dtype == torch.float64
    assert_close(theirs, ours, 1e-6)


@torch.no_grad()
def test_noise_levels_of_the_network_bound_nvidias_samplers():
    network = FSEDMPrecondSR(ConstantBackbone(), sigma_min=0.01, sigma_max=10.0)
    noise = FIELD.sample(KEYS, 2, (16, 20))
    bounded, asked = (
        deterministic_sampler(network, noise, Y, num_steps=3, sigma_min=low, sigma_max=high)
        for low, high in ((1e-3, 800.0), (0.01, 10.0))
    )
    assert torch.equal(bounded, asked)


@torch.no_grad()
def test_coloured_noise_enters_nvidias_stochastic_sampler(network):
    """With our noise as ``randn_like`` a repeated run repeats; white noise, or other keys, give another sample."""
    latents = FIELD.sample(KEYS, 2, (16, 20))
    options = {"num_steps": 3, "sigma_min": 0.01, "sigma_max": 10.0, "S_churn": 1.0}

    def run(randn_like, **changes):
        return stochastic_sampler(network, latents, Y, randn_like=randn_like, **options | changes)

    coloured = run(NoiseLike(FIELD, KEYS))
    assert torch.equal(run(NoiseLike(FIELD, KEYS)), coloured)
    for other in (NoiseLike(FIELD, [1, 2]), torch.randn_like):
        assert relative_error(run(other), coloured) > 0.01
    still = run(NoiseLike(FIELD, KEYS), S_churn=0.0)
    deterministic = deterministic_sampler(network, latents, Y, num_steps=3, sigma_min=0.01, sigma_max=10.0)
    assert_close(still, deterministic, 1e-5)


@torch.no_grad()
def test_runs_in_corrdiffs_generation_with_mean_conditioning():
    network, mean = FSEDMPrecondSR(tiny_fsuno(7, 2), SIGMA_DATA), fields(2, seed=4)[:1]
    sampler = partial(deterministic_sampler, num_steps=2, solver="euler")
    images = diffusion_step(network, sampler, (16, 20), 2, [[0, 1], [2, 3]], Y, 1, torch.device("cpu"), mean_hr=mean)
    assert images.shape == (4, 2, 16, 20)
    assert images.isfinite().all()


@pytest.mark.parametrize("mean_conditioning", [False, True])
def test_nvidias_residual_loss(mean_conditioning):
    """With F = 0 the loss is known: (c_skip (r + n) - r)^2 / c_out^2 of the residual r = truth - regression."""
    regression = FSRegressionSR(tiny_fsuno(3, 2), [0, 1]).eval()
    network = FSEDMPrecondSR(ConstantBackbone(in_channels=7 if mean_conditioning else 5), 0.5)
    loss = ResidualLoss(regression, P_mean=-0.5, P_std=1.0, sigma_data=0.5, hr_mean_conditioning=mean_conditioning)
    torch.manual_seed(3)
    value = loss(network, X, Y)
    torch.manual_seed(3)
    mean = regression(None, Y).detach()
    sigma = (torch.randn(2, 1, 1, 1) - 0.5).exp()
    residual, noise = X - mean, torch.randn(2, 2, 16, 20) * sigma
    skip, out = 0.25 / (sigma**2 + 0.25), 0.5 * sigma / (sigma**2 + 0.25).sqrt()
    assert_close(value, ((skip * (residual + noise) - residual) / out) ** 2, 1e-5)
    assert torch.equal(network.backbone.given[0][:, 2:], torch.cat([mean, Y], 1) if mean_conditioning else Y)
    value.mean().backward()
    assert network.backbone.value.grad != 0


@pytest.mark.parametrize("solver", SOLVERS)
@torch.no_grad()
def test_runs_in_nvidias_sample_with_each_of_its_solvers(network, solver):
    options = {"S_churn": 1.0, "num_steps": 3} if "stochastic" in solver else None
    rhs = SCHEDULER.get_denoiser(x0_predictor=lambda x, t: network(x, t, Y))
    latents = SCHEDULER.init_latents((2, 16, 20), torch.full((2,), 10.0), keys=KEYS)
    result = sample(rhs, latents, SCHEDULER, 3, solver=solver, solver_options=options)
    assert result.shape == X.shape
    assert result.isfinite().all()
    if solver in ("euler", "heun"):
        ours = {"euler": EulerSolver, "heun": HeunSolver}[solver](rhs)
        assert_close(result, integrate(ours, latents, edm_levels(3).float()), 1e-5)


@pytest.mark.parametrize(
    "scheduler",
    [FunctionSpaceScheduler(FIELD, sigma_data=0.5), EDMNoiseScheduler(sigma_data=0.5)],
    ids=["coloured", "white"],
)
def test_nvidias_denoising_loss(scheduler):
    """With F = 0 and data 0 the weighted loss is noise^2 (d / sigma)^2 / (sigma^2 + d^2), of the noise added."""
    network = FSEDMPrecondSR(ConstantBackbone(), 0.5)
    levels = torch.tensor([0.4, 3.0])
    loss = MSEDSMLoss(network, scheduler, reduction="none")
    value = loss(torch.zeros_like(X), levels, Y)
    noise = network.backbone.given[0][:, :2] * (levels.view(2, 1, 1, 1) ** 2 + 0.25).sqrt()
    s = levels.view(2, 1, 1, 1)
    assert_close(value, (noise * 0.5 / s) ** 2 / (s**2 + 0.25), 1e-5)
    mean = MSEDSMLoss(network, scheduler)(X, condition=Y)
    mean.backward()
    assert mean.isfinite()
    assert network.backbone.value.grad != 0


def test_coloured_noise_of_the_loss_has_unit_variance():
    network, levels = FSEDMPrecondSR(ConstantBackbone(), 0.5), torch.tensor([0.4, 3.0]).repeat(16)
    clean, y = torch.zeros(32, 2, 32, 32), torch.zeros(32, 3, 32, 32)
    field = RandomField(Matern(0.5, 0.1, max_wavenumber=12))
    MSEDSMLoss(network, FunctionSpaceScheduler(field))(clean, levels, y)
    s = levels.view(-1, 1, 1, 1)
    noise = network.backbone.given[0][:, :2] * (s**2 + 0.25).sqrt() / s
    assert abs(noise.square().mean() - 1) < 0.05


def test_a_noise_level_may_be_a_number():
    network = FSEDMPrecondSR(ConstantBackbone(), 0.5)
    expected = network(X, torch.full((2,), 0.7), Y)
    assert torch.equal(network(X, 0.7, Y), expected)
    assert torch.equal(network(X, Y, 0.7), expected)


def test_the_lead_time_is_a_channel_of_both_calls_and_of_encoded_conditions():
    torch.manual_seed(0)
    backbone = FSUNO(1 + 1 + 2, 1, channel_mult=(1, 2), level_grid=(16, 8), n_modes=(0, 2))
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    net = FSEDMPrecondSR(backbone, lead_time_scale=24.0).eval()
    x, y, hours = torch.randn(2, 1, 32, 32), torch.randn(2, 2, 32, 32), torch.tensor([6.0, 48.0])
    assert net.img_in_channels == 2
    first = net(x, y, torch.tensor(1.0), lead_time_label=hours)
    assert torch.equal(first, net(x, torch.tensor(1.0), y, lead_time_label=hours))
    torch.testing.assert_close(
        net(x, torch.ones(2), encoded=net.encode(y), lead_time_label=hours), first, rtol=0, atol=1e-5
    )
    other = net(x, y, torch.tensor(1.0), lead_time_label=torch.tensor([6.0, 6.0]))
    assert torch.allclose(first[0], other[0], atol=1e-6)
    assert not torch.allclose(first[1], other[1], atol=1e-3)
    with pytest.raises(ValueError, match=r"sees the lead time of each of 2 samples in hours .*: got none"):
        net(x, y, torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"and the lead time: got in_channels=1"):
        FSEDMPrecondSR(FSUNO(1, 1, channel_mult=(1, 2), level_grid=(16, 8), n_modes=(0, 2)), lead_time_scale=24.0)


@torch.no_grad()
def test_a_held_residual_averages_to_zero_over_the_cells_from_any_noise():
    network = FSEDMPrecondSR(tiny_fsuno(5, 2), SIGMA_DATA, cells=(4, 5), cell_shells=9).eval()
    free = FSEDMPrecondSR(network.backbone, SIGMA_DATA)
    assert torch.equal(network(X, Y, SIGMA), free(X, Y, SIGMA))
    network.conservation.set_power(torch.exp(-torch.arange(9.0)).expand(2, -1))
    denoised = network(X, Y, SIGMA)
    assert cell_average(denoised, (4, 5)).abs().max() < 1e-5
    assert_close(network(network.conservation(X), Y, SIGMA), denoised, SINGLE)
    sampler = partial(deterministic_sampler, num_steps=6, sigma_min=0.002, sigma_max=20.0)
    drawn = sampler(net=network, latents=X, img_lr=Y)
    assert cell_average(drawn, (4, 5)).abs().max() < 1e-4


@torch.no_grad()
def test_the_denoiser_of_a_held_gaussian_residual_is_exact():
    """Data N(0, s² PCP), noise N(0, C): the posterior mean of the projection is c_skip P x."""
    network = FSEDMPrecondSR(ConstantBackbone(0.0, 1, 1), 0.7, cells=(4, 4), cell_shells=9).double()
    power = torch.exp(-0.5 * torch.arange(9.0, dtype=torch.float64))[None]
    network.conservation.set_power(power)
    units = torch.eye(256, dtype=torch.float64).reshape(-1, 1, 16, 16)
    covariance = radial_filter(units, power).flatten(1)
    projection = network.conservation(units).flatten(1).T
    data, sigma = 0.49 * projection @ covariance @ projection.T, 0.4
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    seen = data + sigma**2 * projection @ covariance @ projection.T
    expected = data @ torch.linalg.pinv(seen, hermitian=True, rtol=1e-9) @ projection @ x.flatten()
    found = network(x, None, torch.tensor(sigma, dtype=torch.float64)).flatten()
    within = seen @ torch.linalg.pinv(seen, hermitian=True, rtol=1e-9)  # modes without noise are not seen
    assert_close(within @ found, expected, 1e-8)
