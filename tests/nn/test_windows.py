# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.windows import WindowAxis, WindowGrid, area_matrix, position_channels

LAYOUTS = [
    ((96, 160), (64, 48), (16, 12)),
    ((37, 50), (20, 33), (19, 7)),
    ((65, 64), (64, 64), (16, 16)),
    ((33, 40), (10, 10), (0, 0)),
    ((48, 48), (48, 48), (0, 0)),
]


@pytest.mark.parametrize("boundary", ["bounded", "periodic"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_constant_and_smooth_fields_survive_crop_and_fuse(layout, boundary):
    windows = WindowGrid(*layout, boundary=boundary)
    height, width = windows.shape
    y, x = torch.arange(height)[:, None] / height, torch.arange(width) / width
    smooth = torch.sin(2 * math.pi * y) + torch.cos(4 * math.pi * x)
    for field in (torch.full(windows.shape, 3.7), smooth, torch.randn(windows.shape)):
        fused = windows.fuse([windows.crop(field[None, None], place) for place in windows.places])
        assert (fused[0, 0] - field).abs().max() < 1e-6


@pytest.mark.parametrize("boundary", ["bounded", "periodic"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_cover_the_domain_with_the_overlap_asked_for(layout, boundary):
    axis = WindowGrid(*layout, boundary=boundary).rows
    seen = torch.zeros(axis.size)
    for start in axis.starts:
        assert 0 <= start < axis.size
        assert boundary == "periodic" or start + axis.patch <= axis.size
        seen[axis.index(start)] += 1
    assert seen.min() >= 1
    assert all(b - a <= axis.patch - axis.overlap for a, b in zip(axis.starts, axis.starts[1:], strict=False))
    if boundary == "bounded":
        assert axis.starts[0] == 0
        assert axis.starts[-1] + axis.patch == axis.size
    assert len(set(axis.starts)) == len(axis.starts)


def test_weights_vanish_at_interior_edges_and_not_at_the_domains():
    axis = WindowAxis(100, 40, 16, margin=4)
    assert axis.starts == (0, 20, 40, 60)
    first, middle, last = axis.weights[0], axis.weights[1], axis.weights[-1]
    assert first[0] == last[-1] == 1
    for weights in (middle[:4], middle[-4:], first[-4:], last[:4]):
        assert weights.abs().max() == 0
    assert middle.diff().abs().max() < 0.25
    assert axis.borders == (24, 36, 44, 56, 64, 76)


def test_periodic_windows_are_alike():
    axis = WindowAxis(96, 32, 8, margin=2, periodic=True)
    torch.testing.assert_close(axis.weights, axis.weights[:1].expand(4, -1))
    assert axis.weights[0, :2].abs().max() == 0


def test_a_window_across_the_edge_is_joined():
    field = torch.arange(24.0).reshape(4, 6)
    windows = WindowGrid((4, 6), (2, 3), (0, 0), boundary="periodic")
    assert windows.crop(field, (3, 4)).tolist() == [[22, 23, 18], [4, 5, 0]]


def test_one_window_of_the_whole_domain_has_weight_one():
    for boundary in ("bounded", "periodic"):
        windows = WindowGrid((20, 30), (20, 30), (0, 0), boundary=boundary)
        assert len(windows) == 1
        assert windows.rows.weights.min() == 1
        assert windows.rows.borders == windows.columns.borders == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((64, 64), (96, 64), (8, 8)), r"must fit the domain: got 96 rows in 64; give at most 64"),
        (((64, 64), (32, 48), (8, 64)), r"overlap must be smaller than the patch: got 64 and 48 columns"),
        (((64, 64), (32, 32), (8, 8), (2, 5)), r"at most half of the overlap: got 5 and 8 columns; give at most 4"),
        (((64, 64), (32, 32), (8, 8), None, "torus"), r"boundary must be periodic or bounded: got 'torus'"),
    ],
)
def test_layouts_that_do_not_fit_are_refused_with_their_numbers(arguments, message):
    with pytest.raises(InputError, match=message):
        WindowGrid(*arguments)


def test_fusing_needs_every_window():
    windows = WindowGrid((8, 8), (4, 4), (0, 0))
    with pytest.raises(InputError, match="one patch for each of the 4 windows: got 3"):
        windows.fuse([torch.zeros(1, 1, 4, 4)] * 3)


def test_windows_travel_as_json():
    windows = WindowGrid((96, 160), (64, 48), (16, 12), boundary="periodic")
    again = WindowGrid.from_dict(windows.to_dict())
    assert again.places == windows.places
    assert torch.equal(again.rows.weights, windows.rows.weights)
    with pytest.raises(InputError, match="windows are described by"):
        WindowGrid.from_dict({"shape": [2, 2]})


@pytest.mark.parametrize(("size", "cells"), [(12, 4), (10, 4), (7, 7), (5, 3)])
def test_area_averages_keep_the_mean(size, cells):
    matrix = area_matrix(size, cells)
    torch.testing.assert_close(matrix.sum(1), torch.ones(cells, dtype=torch.float64))
    torch.testing.assert_close(matrix.mean(0), torch.full((size,), 1 / size, dtype=torch.float64))


@pytest.mark.parametrize("boundary", ["bounded", "periodic"])
def test_positions_are_crops_of_one_function(boundary):
    like = torch.zeros(1, dtype=torch.float64)
    windows = WindowGrid((32, 48), (12, 16), (4, 4), boundary=boundary)
    whole = position_channels((32, 48), [(0, 0)], (32, 48), boundary, 2, like)
    at_windows = position_channels((32, 48), windows.places, (12, 16), boundary, 2, like)
    for place, channels in zip(windows.places, at_windows, strict=True):
        torch.testing.assert_close(channels, windows.crop(whole, place)[0], atol=1e-12, rtol=0)


def test_positions_do_not_depend_on_the_resolution():
    coarse = position_channels((16, 16), [(0, 0)], (16, 16), "periodic", 1, torch.zeros(1))
    fine = position_channels((32, 32), [(0, 0)], (32, 32), "periodic", 1, torch.zeros(1))
    torch.testing.assert_close(fine[..., ::2, ::2], coarse)
