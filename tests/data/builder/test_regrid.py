# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Regridding: means are conserved, constants stay, missing values are left out."""

import numpy as np
import pytest

from physicsnemo_fs.data.builder.geometry import (
    coarsened,
    covering_window,
    cut,
    edges,
    equal_area_edges,
    latlon,
    nesting_factor,
    row_areas,
)
from physicsnemo_fs.data.builder.regrid import block_average, regrid
from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.errors import InputError

RANDOM = np.random.default_rng(0)


def degrees(south, north, west, east, shape):
    grid = Grid(shape, (north - south, east - west), (south, west), "cell", "bounded", "degrees")
    return latlon(grid)


def area_mean(field, grid):
    areas = np.diff(equal_area_edges(grid, 0))[:, None] * np.ones(grid.shape[1])
    valid = np.isfinite(field)
    return float((np.where(valid, field, 0) * areas).sum(dtype=np.float64) / areas[valid].sum())


@pytest.mark.parametrize("shape", [(12, 16), (7, 5), (37, 50), (63, 41), (1, 1)])
def test_conservative_regridding_conserves_the_area_weighted_mean(shape):
    source = degrees(35.0, 65.0, -10.0, 30.0, (36, 48))
    target = degrees(35.0, 65.0, -10.0, 30.0, shape)
    field = RANDOM.standard_normal((2, *source.shape)).astype(np.float32)
    moved = regrid(field, source, target, "conservative")
    assert moved.shape == (2, *shape)
    assert moved.dtype == np.float32
    for before, after in zip(field, moved, strict=True):
        assert area_mean(after, target) == pytest.approx(area_mean(before, source), abs=1e-6)


def test_conservative_regridding_of_a_part_conserves_the_mean_of_that_part():
    source = degrees(40.0, 60.0, 0.0, 20.0, (40, 40))
    target = degrees(45.0, 55.0, 5.0, 15.0, (13, 17))
    window = covering_window(source, target)
    field = RANDOM.standard_normal((1, *source.shape)).astype(np.float32)
    moved = regrid(field[:, *window], cut(source, window), target, "conservative")
    assert area_mean(moved[0], target) == pytest.approx(area_mean(field[0, 10:30, 10:30], cut_inner(source)), abs=1e-6)


def cut_inner(source):
    return cut(source, (slice(10, 30), slice(10, 30)))


def test_block_averages_conserve_the_mean_of_what_is_there():
    grid = degrees(50.0, 58.0, 0.0, 8.0, (32, 32))
    field = RANDOM.gamma(0.3, 5.0, grid.shape).astype(np.float32)
    field[RANDOM.random(grid.shape) < 0.3] = np.nan
    whole = np.where(np.isfinite(field), field, 0)
    coarse = block_average(whole, 4, row_areas(grid))
    assert area_mean(coarse, coarsened(grid, 4)) == pytest.approx(area_mean(whole, grid), rel=1e-6)
    block = field[:4, :4]
    expected = area_mean(block, cut(grid, (slice(0, 4), slice(0, 4))))
    assert block_average(field, 4, row_areas(grid), least_valid=0.0)[0, 0] == pytest.approx(expected, rel=1e-6)


def test_whole_blocks_need_no_library_and_agree_with_it(monkeypatch):
    source = degrees(40.0, 50.0, 0.0, 10.0, (20, 20))
    target = coarsened(source, 5)
    field = RANDOM.standard_normal((1, 20, 20)).astype(np.float32)
    by_library = regrid_by_library(field, source, target)
    monkeypatch.setitem(__import__("sys").modules, "xarray_regrid", None)
    np.testing.assert_allclose(regrid(field, source, target, "conservative"), by_library, atol=1e-6)
    with pytest.raises(InputError, match=r"physicsnemo-fs\[regrid\]"):
        regrid(field, source, source.at((3, 3)), "conservative")


def regrid_by_library(field, source, target):
    from physicsnemo_fs.data.builder.regrid import _conservative

    return _conservative(field.astype(np.float64), source, target)


@pytest.mark.parametrize(("rows", "columns"), [(180, 360), (181, 360), (91, 144), (36, 72)])
def test_conservative_regridding_of_the_globe_conserves_its_mean(rows, columns):
    """A grid whose outermost rows are the poles, too."""
    half = 90.0 / (rows - 1) if rows % 2 else 0.0
    source = degrees(-90.0 - half, 90.0 + half, -180.0, 180.0, (rows, columns))
    target = degrees(-90.0, 90.0, -180.0, 180.0, (45, 64))
    field = RANDOM.standard_normal((1, *source.shape)).astype(np.float32)
    moved = regrid(field, source, target, "conservative")
    assert area_mean(moved[0], target) == pytest.approx(area_mean(field[0], source), abs=1e-6)


@pytest.mark.parametrize("method", ["conservative", "bilinear"])
def test_constants_stay(method):
    source = degrees(40.0, 50.0, 0.0, 10.0, (20, 20))
    target = degrees(40.0, 50.0, 0.0, 10.0, (33, 7))
    moved = regrid(np.full((1, 20, 20), 7.5, np.float32), source, target, method)
    np.testing.assert_allclose(moved, 7.5, rtol=1e-6)


def test_bilinear_regridding_is_exact_for_planes():
    source = degrees(40.0, 50.0, 0.0, 10.0, (20, 20))
    target = degrees(41.0, 49.0, 1.0, 9.0, (31, 47))
    plane = (2.0 * source.latitude - source.longitude).astype(np.float32)[None]
    np.testing.assert_allclose(
        regrid(plane, source, target, "bilinear")[0], 2.0 * target.latitude - target.longitude, atol=1e-4
    )


def test_bilinear_regridding_reaches_projected_grids_by_their_geography():
    source = degrees(40.0, 50.0, 350.0, 370.0, (20, 40))
    y, x = np.meshgrid(np.linspace(42, 48, 6), np.linspace(-5, 5, 8), indexing="ij")
    target = Grid(
        (6, 8), (6000.0, 8000.0), unit="m", latitude=y + 0.01 * x, longitude=x, projection={"grid_mapping_name": "x"}
    )
    plane = (2.0 * source.latitude - source.longitude).astype(np.float32)[None]
    expected = 2.0 * target.latitude - (target.longitude + 360.0)
    np.testing.assert_allclose(regrid(plane, source, target, "bilinear")[0], expected, atol=1e-3)
    with pytest.raises(InputError, match="choose bilinear"):
        regrid(plane, source, target, "conservative")


@pytest.mark.parametrize("method", ["conservative", "bilinear"])
def test_missing_values_are_left_out_and_mostly_missing_cells_stay_missing(method):
    source = degrees(40.0, 50.0, 0.0, 10.0, (20, 20))
    target = degrees(40.0, 50.0, 0.0, 10.0, (7, 7))
    field = np.full((1, 20, 20), 3.0, np.float32)
    field[:, :, :10] = np.nan
    moved = regrid(field, source, target, method)[0]
    assert np.isnan(moved[:, :3]).all()
    np.testing.assert_allclose(moved[:, 4:], 3.0, rtol=1e-6)


def test_nesting_is_recognised_in_spite_of_rounded_coordinates():
    fine = degrees(20.0, 55.0, 230.0, 299.999998, (3500, 7000))
    assert nesting_factor(fine, degrees(20.0, 55.0, 230.0, 300.0, (437, 875))) is None
    assert nesting_factor(fine, degrees(20.0, 55.0, 230.0, 300.0, (875, 1750))) == 4
    shifted = degrees(20.005, 55.005, 230.0, 300.0, (875, 1750))
    assert nesting_factor(fine, shifted) is None


def test_a_target_beyond_the_source_is_refused():
    source = degrees(40.0, 50.0, 0.0, 10.0, (20, 20))
    with pytest.raises(InputError, match=r"columns span 0 to 10 degrees, the region's 8 to 12"):
        covering_window(source, degrees(40.0, 50.0, 8.0, 12.0, (4, 4)))


def test_windows_keep_their_place():
    source = degrees(40.0, 50.0, 0.0, 10.0, (20, 20))
    part = cut(source, (slice(4, 8), slice(2, 12)))
    np.testing.assert_allclose(edges(part, 0), edges(source, 0)[4:9])
    np.testing.assert_allclose(part.longitude, source.longitude[4:8, 2:12])


def test_the_area_of_a_row_at_the_pole_is_that_of_its_cap():
    grid = latlon(Grid((721, 1440), (180.25, 360.0), (-90.125, -180.125), "cell", "bounded", "degrees"))
    areas = row_areas(grid)
    cap = 721 * (1 - np.sin(np.deg2rad(89.875))) / 2
    np.testing.assert_allclose(areas[[0, -1]], cap, rtol=1e-9)
