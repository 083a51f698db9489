# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from physicsnemo_fs.diffusion.dressing import SCALES, DressedMean, _fair_crps, fit_dressing
from physicsnemo_fs.diffusion.modes import measure_power, shell_count, shell_mean
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.metrics.crps import crps_fair
from physicsnemo_fs.testing import assert_close

DOUBLE = torch.float64
SQUARE = (1.0, 1.0)
STEP = SCALES[1] - SCALES[0]
ERROR = RandomField(Matern(1.0, 0.05))
SHAPE = (32, 32)
COUNT = 32


def errors(count=COUNT, shape=SHAPE, field=ERROR, first=0):
    noise = field.sample(range(first, first + count), 1, shape)
    return noise / noise.square().mean().sqrt()


def test_members_are_the_mean_plus_a_scaled_unit_field():
    dressed = DressedMean(ERROR, torch.tensor([0.5, 2.0]))
    mean = torch.randn(2, 2, *SHAPE)
    members, noise = dressed.sample(mean, [4, 5]), ERROR.sample([4, 5], 2, SHAPE)
    assert_close(members - mean, torch.tensor([0.5, 2.0]).view(2, 1, 1) * noise, 1e-6)


def test_spread_of_members_is_the_scale():
    """Of a unit field with all of its modes on the grid: measured within 2 %."""
    field = RandomField(Matern(1.0, 0.05, max_wavenumber=15))
    members = DressedMean(field, torch.tensor([0.5, 2.0])).sample(torch.zeros(64, 2, *SHAPE), range(64))
    torch.testing.assert_close(members.square().mean((0, 2, 3)).sqrt(), torch.tensor([0.5, 2.0]), rtol=0.05, atol=0)


def test_a_key_is_one_member_on_every_grid():
    dressed = DressedMean(RandomField(Matern(1.0, 0.05, max_wavenumber=15)), torch.ones(1))
    coarse, fine = (dressed.sample(torch.zeros(1, 1, n, n, dtype=DOUBLE), [3]) for n in (32, 64))
    assert_close(fine[..., ::2, ::2], coarse, 1e-12)


def test_fit_of_gaussian_errors_finds_their_scale_and_spectrum():
    """The forecast that equals the law of the errors has the least CRPS: the factor is one, up to a grid step."""
    truth = torch.randn(COUNT, 1, *SHAPE)
    dressed = fit_dressing([(truth, truth - 0.5 * errors())], SQUARE, "periodic")
    assert abs(float(dressed.scale) / 0.5 - 1) < 1.5 * STEP
    modes = (15, 15)
    found, expected = (shell_mean(field.kernel.mode_variance(modes))[0] for field in (dressed.field, ERROR))
    error = 4 / (COUNT * shell_count(modes) / 2).sqrt()
    share = expected.sum() / found.sum()
    assert bool(((found * share / expected - 1).abs() < error + 0.1).all())


def test_fit_of_a_mixture_finds_the_scale_of_least_crps():
    r"""Half of the errors are zero, half N(0, 1): d/ds of sqrt(2/pi) (s + sqrt(s^2 + 1)) / 2 - s / sqrt(pi) vanishes at

    s / sqrt(s^2 + 1) = sqrt 2 - 1, s = 0.455, that is 0.644 of the root mean square of the errors.
    """
    error = torch.cat([errors(), torch.zeros(COUNT, 1, *SHAPE)])
    dressed = fit_dressing([(error, torch.zeros_like(error))], SQUARE, "periodic")
    assert abs(float(dressed.scale) - 0.455) < 1.5 * STEP * 2**-0.5


def test_channels_are_fitted_apart_and_batches_do_not_matter():
    truth, error = torch.zeros(COUNT, 2, *SHAPE), errors()
    mean = torch.cat([0.5 * error, 2.0 * errors(first=500, field=RandomField(Matern(0.5, 0.2)))], dim=1)
    whole = fit_dressing([(truth, mean)], SQUARE, "periodic")
    streamed = fit_dressing(zip(truth.split(10), mean.split(10), strict=True), SQUARE, "periodic")
    assert torch.equal(streamed.scale, whole.scale)
    assert streamed.field == whole.field
    torch.testing.assert_close(whole.scale, torch.tensor([0.5, 2.0]), rtol=2.1 * STEP, atol=0)
    slope = [float(whole.field.kernel.mode_variance((15, 15))[c, 15, [1, 8]].log().diff()) for c in (0, 1)]
    assert slope[0] != slope[1]


def test_long_domains_keep_their_isotropic_spectrum():
    extent, field = (1.0, 2.0), RandomField(Matern(1.0, 0.05), (1.0, 2.0))
    error = field.sample(range(24), 1, (32, 64))
    dressed = fit_dressing([(error, torch.zeros_like(error))], extent, "periodic")
    members = dressed.sample(torch.zeros(24, 1, 32, 64), range(24))
    found, expected = (measure_power(values, extent)[0, 1:14] for values in (members, error))
    assert bool(((found / expected - 1).abs() < 0.5).all())


def test_bounded_errors_give_members_whose_edges_do_not_match():
    field = RandomField(Matern(1.5, 0.3), boundary="bounded")
    error = field.sample(range(COUNT), 1, SHAPE)
    dressed = fit_dressing([(error, torch.zeros_like(error))], SQUARE, "bounded")
    members = dressed.sample(torch.zeros(COUNT, 1, *SHAPE), range(COUNT))
    across = (members[..., 0] - members[..., -1]).square().mean()
    along = (members[..., 0] - members[..., 1]).square().mean()
    assert across > 5 * along


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="at least one batch of errors: got none"):
        fit_dressing([], SQUARE, "periodic")


@pytest.mark.parametrize("count", [2, 8])
def test_the_score_of_the_fit_is_the_fair_crps(count):
    members, truth = torch.randn(count, 3, 2, 5, 4, dtype=DOUBLE), torch.randn(3, 2, 5, 4, dtype=DOUBLE)
    expected = torch.as_tensor(crps_fair(members.numpy(), truth.numpy())).mean((0, 2, 3))
    assert_close(_fair_crps(members, truth), expected, 1e-12)
