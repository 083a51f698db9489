# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Streaming statistics: the same as at once, whatever the pieces and the grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.normalize import Moments, moments_of
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.resample import fourier_resample


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 60), max_size=4), offset=st.floats(-1e6, 1e6))
def test_pieces_give_the_moments_of_the_whole(seed, cuts, offset):
    values = np.random.default_rng(seed).normal(offset, 2.0, 60)
    values[::7] = np.nan
    moments = Moments()
    for piece in np.split(values, sorted(cuts)):
        moments = moments.updated(piece)
    assert moments.count + moments.missing == 60
    assert moments.missing == np.isnan(values).sum()
    assert moments.mean == pytest.approx(np.nanmean(values), rel=1e-12, abs=1e-12)
    assert moments.std == pytest.approx(np.nanstd(values), rel=1e-9)


def test_merging_does_not_depend_on_the_order():
    a, b = moments_of([1.0, 2.0, 5.0]), moments_of([10.0, np.nan])
    assert a.merged(b).std == pytest.approx(b.merged(a).std, rel=1e-15)
    assert a.merged(Moments()) == a
    assert Moments().merged(Moments(missing=2)).missing == 2


def test_single_precision_values_are_summed_in_double():
    values = np.full(1_000_000, 1e4 + 0.5, dtype=np.float32)
    assert moments_of(values).mean == 1e4 + 0.5
    assert moments_of(values).std == 0.0


def test_statistics_do_not_depend_on_the_grid():
    coarse = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    coarse = fourier_resample(coarse, (64, 64))
    a, b = moments_of(coarse), moments_of(fourier_resample(coarse, (128, 128)))
    assert b.mean == pytest.approx(a.mean, abs=1e-14)
    assert b.std == pytest.approx(a.std, rel=1e-12)


def test_no_values_have_no_spread():
    with pytest.raises(InputError, match="got none, and 2 missing"):
        _ = moments_of([np.nan, np.nan]).std
