# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Maps by cartopy, where it is installed (extra ``maps``); no test needs a network."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from test_scoring import GRID, write

from physicsnemo_fs.config.pictures import PictureConfig
from physicsnemo_fs.data.datasets.lambert import HRRR_PROJECTION
from physicsnemo_fs.io.foreign import open_ensemble
from physicsnemo_fs.pipelines import map_axes
from physicsnemo_fs.pipelines.video import picture

LAMBERT = replace(GRID, longitude=GRID.longitude - 98.0, projection=HRRR_PROJECTION)


@pytest.fixture
def cartopy(monkeypatch, tmp_path):
    """Give cartopy with folders of its own, and no way out to a network."""
    found = pytest.importorskip("cartopy", reason="needs cartopy: install physicsnemo-fs[maps]")
    for name in ("pre_existing_data_dir", "data_dir"):
        monkeypatch.setitem(found.config, name, tmp_path / name)

    def refuse(*arguments, **options):
        raise AssertionError("a map must need no network")

    pytest.importorskip("cartopy.crs")
    monkeypatch.setattr("socket.socket.connect", refuse)
    return found


@pytest.mark.parametrize(("grid", "name"), [(GRID, "PlateCarree"), (LAMBERT, "LambertConformal")], ids=["plain", "own"])
def test_maps_have_the_projection_of_the_grid(cartopy, tmp_path, grid, name):
    path = write(tmp_path / "a.nc", grid=grid)
    with open_ensemble(path) as source:
        assert map_axes.can_map(source.grid)
        projection = map_axes.projection_of(source.grid)
    assert type(projection).__name__ == name
    plain = imread(picture(PictureConfig(path=str(path), output=str(tmp_path / "p.png"), max_times=1, maps=False)))
    drawn = imread(picture(PictureConfig(path=str(path), output=str(tmp_path / "m.png"), max_times=1)))
    assert drawn.std() > 0.05
    assert drawn.shape != plain.shape or not np.array_equal(drawn, plain)


def test_coastlines_are_drawn_where_their_file_is(cartopy, tmp_path):
    shapefile = pytest.importorskip("shapefile", reason="needs pyshp: install physicsnemo-fs[maps]")

    def axis():
        return map_axes.map_axis(Figure(), (1, 1, 1), np.zeros(GRID.shape), GRID)

    assert map_axes.coastline_file() is None
    before = len(axis().get_children())
    path = tmp_path / "data_dir" / map_axes.COASTLINES.format(resolution="110m")
    path.parent.mkdir(parents=True)
    with shapefile.Writer(str(path), shapeType=shapefile.POLYLINE) as writer:
        writer.field("name", "C")
        writer.line([[[-4.0, 40.0], [5.0, 47.0]]])
        writer.record("a coast")
    assert map_axes.coastline_file() == path
    assert len(axis().get_children()) == before + 1


def test_files_keep_the_projection_of_their_grid(tmp_path):
    for name in ("a.nc", "a.zarr"):
        with open_ensemble(write(tmp_path / name, grid=LAMBERT)) as source:
            assert source.grid.projection == HRRR_PROJECTION
    with open_ensemble(write(tmp_path / "b.nc")) as source:
        assert source.grid.projection is None


def test_a_grid_across_the_date_line_stays_in_one_piece(cartopy):
    grid = replace(GRID, longitude=(GRID.longitude + 180 + 180) % 360 - 180)
    projection = map_axes.projection_of(grid)
    middle, _ = projection.transform_point(-179.25, 0.0, cartopy.crs.PlateCarree())
    assert middle == pytest.approx(0.0, abs=1e-6)
