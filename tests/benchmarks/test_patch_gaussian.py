# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Fused exact denoisers of a Gaussian prior: what the committed curve says, at its decisive points."""

import patch_gaussian
import pytest
from patch_gaussian import LENGTH, largest_error

TWO_LENGTHS = 2 * LENGTH


@pytest.mark.parametrize(("prior", "noise"), [("exponential", "matern32"), ("matern32", "exponential")])
def test_two_correlation_lengths_of_overlap_are_enough_with_coloured_noise(prior, noise):
    assert largest_error(prior, noise, TWO_LENGTHS, 3)["covariance_error"] < 0.005
    assert largest_error(prior, noise, 0, 0)["covariance_error"] > 0.15


def test_noise_of_the_priors_covariance_is_exact_without_any_overlap():
    """The posterior mean is then a multiple of the noisy field: each point's denoiser needs no other point."""
    assert largest_error("exponential", "exponential", 0, 0)["covariance_error"] < 1e-4


def test_white_noise_needs_more():
    assert largest_error("exponential", "white", TWO_LENGTHS, 3)["covariance_error"] < 0.06
    assert largest_error("exponential", "white", 3 * LENGTH, 4)["covariance_error"] < 0.015


def test_uniform_weights_do_not_converge():
    for overlap in (TWO_LENGTHS, 4 * LENGTH):
        assert largest_error("exponential", "white", overlap, 0, uniform=True)["covariance_error"] > 0.25


def test_the_curve_is_drawn(tmp_path):
    rows = [
        largest_error("exponential", "exponential", overlap, 0, uniform) for overlap in (0, 4) for uniform in (0, 1)
    ]
    patch_gaussian.plot(rows, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
