# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Calibration on Gaussian data: truth ~ N(0, S), mean = H truth + independent noise, all known mode by mode."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from physicsnemo_fs.diffusion.calibration import calibrate
from physicsnemo_fs.diffusion.modes import radial_wavenumber, shell_count, shell_mean
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.nn.resample import radial_filter
from physicsnemo_fs.testing import assert_close

DOUBLE = torch.float64
BAND = 12
SHAPE = (26, 26)
COUNT = 200
MODES = (BAND, BAND)
TRUTH, ERROR = Matern(1.5, 0.2, max_wavenumber=BAND), Matern(0.5, 0.05, max_wavenumber=BAND)
ERROR_STD = 0.3
FILTER = torch.linspace(1.0, 0.0, BAND + 2, dtype=DOUBLE).square()[None]


def pairs(shape=SHAPE, count=COUNT):
    truth = RandomField(TRUTH).sample(range(count), 1, shape, dtype=DOUBLE)
    error = RandomField(ERROR).sample(range(1000, 1000 + count), 1, shape, dtype=DOUBLE)
    return truth, radial_filter(truth, FILTER) + ERROR_STD * error


def filter_at_modes():
    wavenumber = radial_wavenumber(MODES)
    lower = wavenumber.floor().long().clamp(max=BAND)
    return FILTER[0, lower] + (FILTER[0, lower + 1] - FILTER[0, lower]) * (wavenumber - lower).clamp(max=1)


@pytest.fixture(scope="module")
def data():
    return pairs()


@pytest.fixture(scope="module")
def found(data):
    return calibrate([data], gain_shells=BAND + 1)


def monte_carlo_error():
    """Four standard errors of a shell's relative power."""
    return 4 / (COUNT * shell_count(MODES) / 2).sqrt()


def test_residual_power_is_that_of_the_missing_part_and_the_error(found):
    s, n = TRUTH.mode_variance(MODES), ERROR_STD**2 * ERROR.mode_variance(MODES)
    expected = shell_mean((1 - filter_at_modes()).square() * s + n)
    assert found.residual_power.shape == (1, BAND + 1)
    assert bool(((found.residual_power / expected - 1).abs() < monte_carlo_error()).all())
    assert bool(((found.field_power / shell_mean(s) - 1).abs() < monte_carlo_error()).all())


def test_gain_is_the_wiener_gain(found):
    """g = sum H s / sum (H^2 s + n) over a shell; measured within 0.012."""
    s, n, h = TRUTH.mode_variance(MODES), ERROR_STD**2 * ERROR.mode_variance(MODES), filter_at_modes()
    expected = shell_mean(h * s) / shell_mean(h.square() * s + n)
    assert found.gain.shape == (1, BAND + 1)
    assert (found.gain - expected)[0, 1:BAND].abs().max() < 0.05
    assert found.gain[0, 0] == 1


def test_residual_std_is_the_root_mean_square(found, data):
    truth, mean = data
    assert_close(found.residual_std, (truth - mean).square().mean().sqrt()[None], 1e-14)
    assert found.count == COUNT


def test_unequal_samples_are_measured():
    """Residuals of sizes 1 and 3: shares .1 and .9 of the square, whose mean is 5."""
    truth = torch.ones(10, 1, 32, 32) * torch.tensor([1.0, 3.0]).repeat(5)[:, None, None, None]
    found = calibrate([(truth, torch.zeros_like(truth))], gain_shells=4)
    logs = torch.tensor([1.0, 3.0]).log() - 0.5 * math.log(5.0)
    shift = float(0.1 * logs[0] + 0.9 * logs[1])
    assert found.scale_shift == pytest.approx(shift, abs=1e-6)
    assert found.scale_spread == pytest.approx(0.3 * math.log(3.0), abs=1e-6)


@pytest.mark.parametrize("sizes", [[COUNT], [1, 99, 100], [64, 64, 72]])
def test_streamed_batches_give_the_same_answer(found, data, sizes):
    streamed = calibrate(zip(*(part.split(sizes) for part in data), strict=True), gain_shells=BAND + 1)
    for name in ("count", "residual_std", "residual_power", "field_power", "gain"):
        torch.testing.assert_close(getattr(streamed, name), getattr(found, name), rtol=1e-12, atol=1e-15)


def test_shared_samples_give_the_same_answer(data):
    """Three processes, their sums added: each asks for its n-th total when all have."""
    shares = [tuple(part[rank::3] for part in data) for rank in range(3)]
    together, asked = threading.Barrier(3), [[], [], []]

    def measured(rank):
        def total(sums):
            asked[rank].append(sums)
            together.wait(timeout=30)
            return sum(sums[len(asked[rank]) - 1] for sums in asked)

        return calibrate([shares[rank]], BAND + 1, total=total)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(measured, range(3)))
    alone = calibrate([data], BAND + 1)
    for name, value in vars(alone).items():
        for one in found:
            torch.testing.assert_close(getattr(one, name), value, rtol=1e-12, atol=1e-14)


def test_channels_are_measured_apart(data, found):
    truth, mean = data
    both = calibrate([(torch.cat([truth, 2 * truth], 1), torch.cat([mean, 2 * mean], 1))], gain_shells=BAND + 1)
    torch.testing.assert_close(both.residual_std, found.residual_std * torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(both.residual_power, found.residual_power * torch.tensor([[1.0], [4.0]]))
    torch.testing.assert_close(both.gain, found.gain.expand(2, -1))


def test_answer_does_not_depend_on_the_resolution():
    coarse, fine = (calibrate([pairs(shape, 8)], gain_shells=BAND + 1) for shape in (SHAPE, (52, 52)))
    assert_close(fine.residual_std, coarse.residual_std, 1e-12)
    assert_close(fine.residual_power[:, : BAND + 1], coarse.residual_power, 1e-12)
    assert_close(fine.gain[:, :BAND], coarse.gain[:, :BAND], 1e-10)


def test_shells_of_a_long_domain_count_cycles_of_its_shorter_side():
    extent = (1.0, 2.0)
    fields = RandomField(TRUTH, extent).sample(range(60), 1, (26, 52), dtype=DOUBLE)
    found = calibrate([(fields, torch.zeros_like(fields))], gain_shells=5, extent=extent)
    modes = (BAND, 2 * BAND)
    expected = shell_mean(TRUTH.mode_variance(modes, extent), extent)
    error = 5 / (60 * shell_count(modes, extent) / 2).sqrt()
    shells = min(found.field_power.shape[1], expected.shape[1])
    assert shells >= BAND
    assert bool(((found.field_power[:, :shells] / expected[:, :shells] - 1).abs() < error[:shells]).all())


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="at least one batch"):
        calibrate([], gain_shells=5)
