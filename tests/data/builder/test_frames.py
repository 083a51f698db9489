# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Grids whose rows and columns are counted alike lie at one place of the Earth, or are refused."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wavy_fields import WavyFields, degrees

from physicsnemo_fs.data.builder.frames import require_same_place, same_frame
from physicsnemo_fs.data.builder.geometry import coarsened, cut, latlon
from physicsnemo_fs.data.builder.plan import Recipe, make_plan
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError

LAMBERT = {"grid_mapping_name": "lambert_conformal_conic", "longitude_of_central_meridian": -97.5}

FURTHER = {"standard_parallel": 38.5, "earth_radius": 6371229.0}


def curved(shape=(24, 40), north=0.0, east=0.0):
    """Give a curvilinear grid of tenths of degrees that turns by a tenth of a radian."""
    bare = Grid(shape, (float(shape[0]), float(shape[1])), registration="cell", boundary="bounded")
    y, x = np.meshgrid(bare.y, bare.x, indexing="ij")
    latitude = 45 + north + 0.1 * (y * np.cos(0.1) - x * np.sin(0.1))
    longitude = 5 + east + 0.1 * (y * np.sin(0.1) + x * np.cos(0.1)) / np.cos(np.radians(latitude))
    return replace(bare, latitude=latitude, longitude=longitude)


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 2), st.integers(0, 3), st.sampled_from([-360.0, 0.0, 360.0]))
def test_averages_over_blocks_lie_where_their_cells_do(factor, row, column, turn):
    fine = curved()
    coarse = coarsened(fine, factor)
    window = (slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
    require_same_place(cut(fine, window), replace(coarse, longitude=coarse.longitude + turn))


@pytest.mark.parametrize("shift", [(0.3, 0.0), (0.0, 0.4), (-75.0, 90.0)])
def test_grids_elsewhere_are_refused(shift):
    with pytest.raises(InputError, match="must lie at one place: by their latitudes and longitudes they are"):
        require_same_place(curved(), coarsened(curved(north=shift[0], east=shift[1]), 4))


@pytest.mark.parametrize("turned", [np.flipud, np.fliplr])
def test_rows_or_columns_that_run_otherwise_are_refused(turned):
    coarse = coarsened(curved(), 4)
    coarse = replace(coarse, latitude=turned(coarse.latitude), longitude=turned(coarse.longitude))
    with pytest.raises(InputError, match="rows and columns in one order"):
        require_same_place(curved(), coarse)


def test_one_row_or_column_is_a_place_too():
    require_same_place(cut(curved(), (slice(0, 1), slice(0, 36))), cut(curved(), (slice(0, 1), slice(0, 36))))
    grid = latlon(Grid((1, 1), (1.0, 1.0), registration="cell", boundary="bounded", unit="degrees"))
    require_same_place(grid, grid)


@pytest.mark.parametrize(("shape", "factor"), [((8, 64), 8), ((4, 32), 4), ((64, 8), 8), ((8, 8), 8)])
@pytest.mark.parametrize("north", [0.0, 25.0, 40.0])
def test_a_single_row_or_column_of_coarse_cells_is_taken_anywhere(shape, factor, north):
    fine = curved(shape, north)
    require_same_place(fine, coarsened(fine, factor))


def test_positions_that_nobody_knows_are_not_compared():
    fine, coarse = curved(), coarsened(curved(), 4)
    for grid in (fine, coarse):
        grid.latitude[:3, :3] = grid.longitude[:3, :3] = np.nan
    require_same_place(fine, coarse)
    with pytest.raises(InputError, match="must lie at one place"):
        require_same_place(fine, replace(coarse, latitude=coarse.latitude - 20.0))


def test_large_grids_cost_nothing():
    grid = Grid((4000, 8000), (4000.0, 8000.0), registration="cell", boundary="bounded")
    positions = np.broadcast_to(grid.y[:, None] / 100, grid.shape), np.broadcast_to(grid.x / 100, grid.shape)
    grid = replace(grid, latitude=positions[0], longitude=positions[1])
    tracemalloc.start()
    require_same_place(grid, grid)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "other",
    [
        {"long_name": "HRRR"},
        {"longitude_of_central_meridian": 262.5},
        {"standard_parallel": [38.5, 38.5]},
        {"standard_parallel": np.float32(38.5)},
        {"earth_radius": 6371200},
    ],
)
def test_one_projection_may_be_written_in_several_ways(other):
    grid = replace(curved(), unit="m", projection={**LAMBERT, **{k: v for k, v in FURTHER.items() if k in other}})
    again = replace(grid, projection={**grid.projection, **other})
    require_same_place(grid, again)
    assert same_frame(grid, again)
    assert same_frame(grid, replace(grid, projection=None))


def test_degrees_of_a_rotated_pole_are_no_latitudes():
    plain = degrees(48, 58, -2, 11, (20, 26))
    assert not same_frame(plain, replace(plain, projection={"grid_mapping_name": "rotated_latitude_longitude"}))


def test_projections_are_compared_by_what_both_name():
    described = {**LAMBERT, "long_name": "HRRR"}
    require_same_place(replace(curved(), projection=LAMBERT), replace(curved(), projection=described))
    moved = replace(curved(), projection={**LAMBERT, "longitude_of_central_meridian": 10.0})
    with pytest.raises(InputError, match=r"longitude_of_central_meridian is 10\.0 there and -97\.5 here"):
        require_same_place(replace(curved(), projection=LAMBERT), moved)


def test_a_build_takes_a_coarse_source_of_one_place_and_unit_only():
    fine = WavyFields(grid=curved())
    there = WavyFields(grid=coarsened(curved(), 4))
    assert make_plan(Recipe(4), fine, there).coarse_windows == ((slice(0, 6), slice(0, 10)),)
    with pytest.raises(InputError, match="coarse: two sources must lie at one place"):
        make_plan(Recipe(4), fine, WavyFields(grid=coarsened(curved(east=90.0), 4)))
    turned = replace(degrees(48, 58, -2, 11, (20, 26)), projection={"grid_mapping_name": "rotated_latitude_longitude"})
    with pytest.raises(InputError, match="coarse: to another projection only bilinear is possible: the method is cons"):
        make_plan(Recipe(4), WavyFields(grid=turned), WavyFields())
    with pytest.raises(InputError, match="another projection than the fine one must have rows of latitude"):
        make_plan(Recipe(4), WavyFields(), WavyFields(grid=replace(degrees(48, 58, -2, 11, (20, 26)), unit="m")))


def test_a_build_takes_one_unit_of_a_variable_only():
    def spelt(unit):
        return WavyFields(channels=(Channel("t2m", unit), Channel("rain", "mm")))

    make_plan(Recipe(4), spelt("K"), spelt("kelvin"))
    with pytest.raises(InputError, match=r"'t2m' must have one unit: got 'degC' and 'K'; .*\[t2m_coarse=t2m\]"):
        make_plan(Recipe(4), spelt("K"), spelt("degC"))
    with pytest.raises(InputError, match=r"say it by coarse\.variables=\[{name: t2m, unit: K}\]"):
        make_plan(Recipe(4), spelt("K"), spelt("1"))
