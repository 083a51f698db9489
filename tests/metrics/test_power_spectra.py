# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.metrics.spectra import (
    energetic_shells,
    max_spectrum_error,
    mean_spectrum_error,
    radial_power_spectrum,
    spectrum_error_db,
    wavenumber_shells,
    window_for,
)

SIZES = st.integers(4, 24)


def wave(shape, ky, kx, phase=0.3):
    y, x = (np.arange(n) / n for n in shape)
    return np.cos(2 * np.pi * (ky * y[:, None] + kx * x) + phase)


@given(SIZES, SIZES, st.floats(0.5, 4.0), st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_parseval(height, width, ratio, seed):
    field = np.random.default_rng(seed).normal(size=(height, width))
    power = radial_power_spectrum(field, (1.0, ratio))
    assert power.sum() == pytest.approx((field**2).mean(), rel=1e-12)


@given(st.integers(-7, 7), st.integers(-7, 7))
@settings(max_examples=15, deadline=None)
def test_a_wave_has_its_power_in_its_shell(ky, kx):
    power = radial_power_spectrum(wave((16, 16), ky, kx), (1.0, 1.0))
    shell = int(np.rint(np.hypot(ky, kx)))
    assert power[shell] == pytest.approx(power.sum(), rel=1e-12)


def test_physical_wavenumbers_on_a_rectangle():
    """20 km x 40 km: a wave of 5 km has wavenumber 0.2 / km along either axis."""
    shells = wavenumber_shells((16, 64), (20.0, 40.0))
    for ky, kx in ((4, 0), (0, 8)):
        power = radial_power_spectrum(wave((16, 64), ky, kx), (20.0, 40.0))
        assert shells.wavenumber[power.argmax()] == pytest.approx(0.2)
    assert shells.width == pytest.approx(0.05)
    assert shells.complete == 7


def test_one_function_has_one_spectrum_on_every_grid():
    fields = [wave((n, n), 3, 4) + 0.1 * wave((n, n), -6, 2) for n in (16, 32, 48)]
    spectra = [radial_power_spectrum(field, (2.0, 2.0))[:8] for field in fields]
    np.testing.assert_allclose(spectra[1], spectra[0], atol=1e-15)
    np.testing.assert_allclose(spectra[2], spectra[0], atol=1e-15)


def test_many_fields_at_once():
    fields = np.random.default_rng(0).normal(size=(2, 3, 8, 10))
    power = radial_power_spectrum(fields, (1.0, 1.0))
    np.testing.assert_array_equal(power[1, 2], radial_power_spectrum(fields[1, 2], (1.0, 1.0)))


def test_the_window_keeps_white_noise_and_stops_leakage():
    """A ramp on a bounded domain: without a window its jump fills all wavenumbers."""
    noise = np.random.default_rng(0).normal(size=(200, 32, 32))
    windowed = radial_power_spectrum(noise, (1.0, 1.0), "hann").sum(-1).mean()
    assert windowed == pytest.approx(1.0, abs=0.02)
    ramp = np.arange(64) / 64 * np.ones((64, 1))
    leaked, kept = (radial_power_spectrum(ramp, (1.0, 1.0), window) for window in ("none", "hann"))
    assert leaked[20] / leaked[1] > 1e-3
    assert kept[20] / kept[1] < 1e-6
    assert window_for(Grid((4, 4), (1.0, 1.0))) == "none"
    assert window_for(Grid((4, 4), (1.0, 1.0), boundary="bounded")) == "hann"


def test_errors_in_decibels():
    truth = np.array([5.0, 4.0, 2.0, 1.0, 1e-9])
    shells = energetic_shells(truth, complete=4)
    assert shells.tolist() == [1, 2, 3]
    np.testing.assert_allclose(spectrum_error_db(10 * truth, truth, shells), 10.0)
    power = truth * 10 ** np.array([0.0, 0.1, -0.2, 0.0, 3.0])
    assert mean_spectrum_error(power, truth, shells) == pytest.approx(1.0)
    assert max_spectrum_error(power, truth, shells) == pytest.approx(2.0)
    assert energetic_shells(truth, complete=4, kmax=2).tolist() == [1, 2]
    assert energetic_shells(truth, complete=3, kmax=9).tolist() == [1, 2, 3]


def test_no_shells_give_no_number():
    empty = energetic_shells(np.ones(2), complete=0)
    assert np.isnan(mean_spectrum_error(np.ones(2), np.ones(2), empty))
    assert np.isnan(max_spectrum_error(np.ones((3, 2)), np.ones((3, 2)), empty)).all()
