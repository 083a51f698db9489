# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.metrics.consistency import same_seed_consistency
from physicsnemo_fs.nn.resample import fourier_resample


@pytest.fixture
def fine():
    return torch.randn(2, 3, 32, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_one_function_on_two_grids_is_consistent(fine):
    coarse = fourier_resample(fine, (16, 20))
    consistency = same_seed_consistency(coarse, fine)
    assert consistency.field < 1e-13
    assert consistency.residual is None


def test_modes_above_the_smaller_nyquist_do_not_count():
    t = np.arange(64) / 64
    wave = np.cos(2 * np.pi * 12 * t) * np.ones((64, 1))
    coarse, fine = np.ones((16, 16)), np.ones((64, 64)) + wave
    assert same_seed_consistency(coarse, fine).field < 1e-13


def test_the_difference_is_relative(fine):
    coarse = fourier_resample(fine, (16, 20))
    assert same_seed_consistency(coarse, 1.25 * fine).field == pytest.approx(0.25, rel=1e-12)


def test_independent_noise_differs_by_the_root_of_two_norms(fine):
    other = torch.randn(2, 3, 16, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scaled = fine * (other.norm() / fourier_resample(fine, (16, 20)).norm())
    assert same_seed_consistency(other, scaled).field == pytest.approx(2**0.5, rel=0.1)


def test_a_shared_mean_does_not_hide_an_inconsistent_residual(fine):
    coarse = fourier_resample(fine, (16, 20))
    consistency = same_seed_consistency(1e3 + 1.5 * coarse, 1e3 + fine, 1e3 + 0 * coarse, 1e3 + 0 * fine)
    assert consistency.field < 1e-3
    assert consistency.residual == pytest.approx(1 / 3, rel=1e-6)


def test_wrong_pairs_are_refused(fine):
    coarse = fourier_resample(fine, (16, 20))
    with pytest.raises(InputError, match="smaller first"):
        same_seed_consistency(fine, coarse)
    with pytest.raises(InputError, match="on both grids"):
        same_seed_consistency(coarse, fine, coarse)
