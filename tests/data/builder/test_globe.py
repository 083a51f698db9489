# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Longitudes have no end: regions and coarse partners of sources round the globe, wherever these begin."""

import numpy as np
import pytest
from wavy_fields import WavyFields, degrees

from physicsnemo_fs.data.builder.geometry import edges
from physicsnemo_fs.data.builder.places import Region, place_regions
from physicsnemo_fs.data.builder.plan import Recipe, make_plan
from physicsnemo_fs.data.builder.run import build_store
from physicsnemo_fs.data.store_reader import open_store
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.executors import InThisProcess


class Globe(WavyFields):
    """A field that is smooth on the sphere, in closed form."""

    def _frame(self, position):
        y, x = np.deg2rad(self.grid.latitude), np.deg2rad(self.grid.longitude)
        return (np.sin(y) + np.cos(y) * np.cos(x + 0.3 * position))[None].astype(np.float32)


def globe(spacing, west=-180.0, shift=0.0, name="t2m"):
    """Cells round the globe; with a shift of half a cell the outermost rows are the poles."""
    half = shift * spacing
    shape = (round(180 / spacing) + int(shift > 0), round(360 / spacing))
    grid = degrees(-90.0 - half, 90.0 + half, west - half, west - half + 360.0, shape)
    return Globe(grid=grid, channels=(WavyFields().channels[1].__class__(name, "K"),), missing=0)


def exact(fields, position):
    y, x = np.deg2rad(fields.grid.latitude), np.deg2rad(fields.grid.longitude)
    return np.sin(y) + np.cos(y) * np.cos(x + 0.3 * position)


def built(path, recipe, *sources):
    return open_store(build_store(path, make_plan(recipe, *sources), InThisProcess(), {}))


@pytest.mark.parametrize("west", [-180.0, 0.0, 172.0])
@pytest.mark.parametrize("box", [(42, 62, 160, 200), (42, 62, 160, -160), (42, 62, -200, -160)])
@pytest.mark.parametrize("spacing", [None, 0.5])
def test_a_region_across_the_date_line(tmp_path, west, box, spacing):
    store = built(tmp_path / "s", Recipe(4, (Region("pacific", box),), spacing=spacing), globe(1.0, west))
    fine, coarse = (store.fields("pacific", part) for part in ("fine", "coarse"))
    assert fine.grid.shape == ((20, 40) if spacing is None else (40, 80))
    assert (fine.grid.longitude[0, [0, -1]] % 360).round(3).tolist() == (
        [160.5, 199.5] if spacing is None else [160.25, 199.75]
    )
    np.testing.assert_allclose(fine.read([3])[0, 0], exact(fine, 3), atol=1e-6 if spacing is None else 0.02)
    np.testing.assert_allclose(coarse.read([3])[0, 0], exact(coarse, 3), atol=2e-3 if spacing is None else 0.02)


def test_regions_on_both_sides_and_across(tmp_path):
    regions = (Region("a", (0, 20, 170, 190)), Region("b", (0, 20, -20, 20)), Region("c", (0, 20, 190, 210)))
    store = built(tmp_path / "s", Recipe(4, regions), globe(1.0))
    for region in regions:
        fields = store.fields(region.name, "fine")
        np.testing.assert_allclose(fields.read([2])[0, 0], exact(fields, 2), atol=1e-6)


@pytest.mark.parametrize("box", [(0, 20, -176, -160), (0, 20, 528, 546)])
def test_regions_that_meet_across_the_date_line_overlap(box):
    with pytest.raises(InputError, match="must not overlap"):
        place_regions(globe(1.0).grid, [Region("a", (0, 20, 170, 190), "train"), Region("b", box, "test")], 4)


@pytest.mark.parametrize("method", ["conservative", "bilinear"])
@pytest.mark.parametrize(
    ("fine", "coarse"), [((-180.0, 0.0), (0.0, 0.0)), ((0.0, 0.5), (-180.0, 0.5)), ((-180.0, 0.5), (0.0, 0.5))]
)
def test_a_global_partner_of_a_global_source(tmp_path, method, fine, coarse):
    recipe = Recipe(4, coarse_method=method)
    store = built(tmp_path / "s", recipe, globe(1.0, *fine), globe(3.0, *coarse))
    fields = store.fields("all", "coarse")
    assert fields.grid.shape == (45, 90)
    gaps = np.abs(fields.read([5])[0, 0] - exact(fields, 5))
    assert gaps.max() < 0.02
    assert gaps[:, [0, -1]].max() < 1.5 * gaps[:, 1:-1].max()


def test_the_whole_globe_on_a_spacing_of_choice(tmp_path):
    store = built(tmp_path / "s", Recipe(4, spacing=2.5), globe(1.0, -180.0, 0.5))
    fine = store.fields("all", "fine")
    assert fine.grid.shape == (72, 144)
    assert edges(fine.grid, 1)[[0, -1]].tolist() == [-180.0, 180.0]
    np.testing.assert_allclose(fine.read([1])[0, 0], exact(fine, 1), atol=0.01)
