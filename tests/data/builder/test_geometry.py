# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Finer and coarser cells of one domain."""

import numpy as np
import pytest

from physicsnemo_fs.data.builder.geometry import coarsened, latlon, refined
from physicsnemo_fs.data.types import Grid


def curved(west):
    """A grid of its own coordinates, gently curved on the globe."""
    y, x = np.meshgrid(np.linspace(50, 58, 16), np.linspace(0, 12, 24), indexing="ij")
    longitude = (west + x + 0.02 * (y - 50) ** 2 + 180.0) % 360.0 - 180.0
    grid = Grid((16, 24), (16.0, 24.0), (0.0, 0.0), "cell", "bounded", "km")
    return Grid(**{**vars(grid), "latitude": y + 0.003 * x**2, "longitude": longitude})


@pytest.mark.parametrize("west", [0.0, 174.0])
def test_cells_of_a_curved_grid_are_placed_between_those_of_the_coarse_one(west):
    fine = curved(west)
    found = refined(coarsened(fine, 4), 4)
    assert found == fine
    np.testing.assert_allclose(found.latitude, fine.latitude, atol=0.02)
    apart = (found.longitude - fine.longitude + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(apart, 0.0, atol=0.1)


def test_cells_of_a_geographic_grid_are_exact():
    fine = latlon(Grid((8, 12), (4.0, 6.0), (50.0, -3.0), "cell", "bounded", "degrees"))
    found = refined(coarsened(fine, 4), 4)
    np.testing.assert_allclose(found.latitude, fine.latitude)
    np.testing.assert_allclose(found.longitude, fine.longitude)
