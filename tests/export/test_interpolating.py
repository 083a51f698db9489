# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Interpolation of a data source to a model's input grid (extra earth2studio)."""

import numpy as np
import pytest
import torch

pytest.importorskip("earth2studio", reason='needs pip install "physicsnemo-fs[earth2studio]"')

from physicsnemo_fs.export.workflow import bilinear, on_grid

Y, X = np.meshgrid(np.arange(6.0), np.arange(8.0), indexing="ij")
NORTH, EAST = 40.0 + 0.5 * Y - 0.01 * X**2, 250.0 + 0.6 * X + 0.02 * X * Y
FIELD = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("flips", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("rounding", [0.0, 2e-5])
def test_a_curvilinear_grid_is_the_same_in_any_order_of_rows_and_columns(flips, rounding):
    """Border points too, where rounding of the coordinates puts them a metre outside."""
    there = [np.flip(v, flips) - rounding for v in (NORTH, EAST)]
    found = on_grid(FIELD.flip([-2 + f for f in flips]), there, [NORTH, EAST])
    assert torch.equal(found, FIELD)


def test_points_that_a_larger_curvilinear_grid_has_keep_their_values_beside_missing_ones():
    hole = FIELD.clone()
    hole[:, 0] = torch.nan
    found = on_grid(hole, [NORTH, EAST - 360.0], [NORTH[1:4, 2:5], EAST[1:4, 2:5]])
    assert torch.equal(found, FIELD[:, 1:4, 2:5])


@pytest.mark.parametrize("rounding", [0.0, 2e-5, -2e-5])
def test_values_that_are_missing_outside_the_domain_do_not_spread_into_it(rounding):
    latitude, longitude = np.arange(6.0) + rounding, np.arange(8.0) - rounding
    hole = FIELD.clone()
    hole[:, [0, -1]], hole[..., [0, -1]] = torch.nan, torch.nan
    found = bilinear(hole, latitude, longitude, np.arange(1.0, 5.0), np.arange(1.0, 7.0))
    assert torch.equal(found, FIELD[:, 1:-1, 1:-1])
    assert bilinear(hole, latitude, longitude, np.array([0.5]), np.array([3.0])).isnan().all()
