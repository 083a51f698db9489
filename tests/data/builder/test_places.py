# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Regions are whole coarse cells inside their boxes."""

from dataclasses import replace

import numpy as np
import pytest

from physicsnemo_fs.data.builder.geometry import edges, latlon, nesting_factor
from physicsnemo_fs.data.builder.places import Region, place_regions
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError


def source(shape=(40, 60), origin=(50.0, 230.0), spacing=0.25):
    extent = (shape[0] * spacing, shape[1] * spacing)
    return latlon(Grid(shape, extent, origin, "cell", "bounded", "degrees"))


def span(grid):
    return [round(float(e), 9) for axis in (0, 1) for e in edges(grid, axis)[[0, -1]]]


def test_without_regions_the_whole_domain_is_one_trimmed_to_whole_blocks():
    (place,) = place_regions(source((33, 49)), [], factor=8)
    assert place.region == Region("all")
    assert place.window == (slice(0, 32), slice(0, 48))
    assert place.coarse.shape == (4, 6)
    assert not place.regridded


def test_neighbouring_regions_share_edges_but_no_cells():
    west, east = place_regions(
        source(), [Region("w", (50, 60, 230, 236), "train"), Region("e", (50, 60, 236, 245), "test")], factor=4
    )
    assert (west.window[1], east.window[1]) == (slice(0, 24), slice(24, 60))


@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
def test_boxes_may_count_longitude_from_anywhere(turn):
    (place,) = place_regions(source(), [Region("r", (52, 54, 231 + turn, 235 + turn))], factor=4)
    assert span(place.fine) == [52.0, 54.0, 231.0, 235.0]


@pytest.mark.parametrize("spacing", [None, 0.125])
def test_tiles_are_equal_parts_of_their_region(spacing):
    region = Region("sea", (52.0, 58.0, 232.0, 240.0), "test")
    (whole,) = place_regions(source(), [region], 4, spacing)
    tiles = place_regions(source(), [replace(region, tile=(8, 12))], 4, spacing)
    rows, columns = whole.fine.shape[0] // 8, whole.fine.shape[1] // 12
    assert [t.region.name for t in tiles] == [f"sea_{r:02d}_{c:02d}" for r in range(rows) for c in range(columns)]
    assert {(t.fine.shape, t.coarse.shape, t.region.split) for t in tiles} == {((8, 12), (2, 3), "test")}
    for tile in tiles:
        row, column = (int(part) for part in tile.region.name.split("_")[1:])
        np.testing.assert_allclose(tile.fine.latitude, whole.fine.latitude[row * 8 :, column * 12 :][:8, :12])
        np.testing.assert_allclose(tile.fine.longitude, whole.fine.longitude[row * 8 :, column * 12 :][:8, :12])
        if spacing is None:
            np.testing.assert_allclose(tile.source.latitude, tile.fine.latitude)


def test_a_box_across_the_zero_meridian():
    grid = source((40, 1440), (50.0, -180.0))
    (place,) = place_regions(grid, [Region("r", (52, 54, 358, 363))], factor=4)
    assert span(place.fine) == [52.0, 54.0, -2.0, 3.0]


def test_a_spacing_of_choice_is_counted_from_the_origin():
    (place,) = place_regions(source(), [Region("r", (52, 54.1, 231, 235))], factor=4, spacing=0.1, origin=(0.2, 0.0))
    assert span(place.fine) == [52.2, 53.8, 231.2, 234.8]
    assert place.fine.shape == (16, 36)
    assert nesting_factor(place.fine, place.coarse) == 4
    assert place.regridded
    assert span(place.source)[0] <= 52.2


def test_projected_regions_are_windows_of_their_own_rows_and_columns():
    y, x = np.meshgrid(np.linspace(40, 50, 20), np.linspace(-100, -90, 30), indexing="ij")
    grid = Grid((20, 30), (2e6, 3e6), unit="m", latitude=y, longitude=x + 0.02 * y, projection={"a": 1})
    (place,) = place_regions(grid, [Region("r", (42, 47, 262, 266))], factor=2)
    assert place.fine.latitude.min() >= 41.5
    assert place.fine.shape[0] % 2 == 0
    assert place.coarse.latitude.shape == place.coarse.shape


def test_an_origin_that_is_no_corner_is_refused():
    with pytest.raises(InputError, match=r"fine.origin must be \[latitude, longitude\]"):
        place_regions(source(), [], factor=4, spacing=0.1, origin=(0.0, 0.0, 0.0))


def test_a_box_beyond_the_poles_is_told_the_globe():
    with pytest.raises(InputError, match="-90 to 90 by -180 to 180 degrees"):
        place_regions(source((180, 360), (-90.0, -180.0), 1.0), [Region("r", (-110, 0, 0, 10))], factor=4)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (
            [Region("r", (10, 20, 231, 235))],
            r"region r must hold cells of the source only: box \[10.0, 20.0, 231.0, 235.0\]",
        ),
        ([Region("r", (52, 52.5, 231, 235))], "the source spans 50 to 60 by 230 to 245 degrees"),
        ([Region("r"), Region("r")], "a name of its own"),
        (
            [Region("a", (50, 55, 230, 240), "train"), Region("b", (54, 58, 238, 245), "test")],
            r"must not overlap: a \(train\) and b \(test\)",
        ),
    ],
)
def test_regions_that_do_not_fit_are_refused(regions, message):
    with pytest.raises(InputError, match=message):
        place_regions(source(), regions, factor=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a/b",), "name must be letters"),
        (("a", (1, 2, 3, 4), "dev"), "must be one of train, validation, test: got 'dev'"),
        (("a", (60, 50, 0, 1)), r"\[south, north, west, east\]"),
        (("a", (50, 60, 170, 170)), "with an area"),
    ],
)
def test_a_region_that_is_none_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Region(*arguments)
