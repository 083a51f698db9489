# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The dataset of gridded fields: pairing, windows, patches, missing values, regions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gridded_files import hours
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.builder.geometry import cut, row_areas
from physicsnemo_fs.data.datasets.gridded import GriddedDataset
from physicsnemo_fs.data.datasets.joined import JoinedDataset
from physicsnemo_fs.data.fields.missing import Missing
from physicsnemo_fs.data.fields.views import ArrayFields, CachedFields, CoarseFields, CutFields
from physicsnemo_fs.data.types import Channel, DownscalingDataset
from physicsnemo_fs.data.warps import Log1p
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.testing import assert_close

NAMES = ("t2m", "tp")
FINE = ArrayFields.random(NAMES, times=8, shape=(12, 16))
CHANNELS = (Channel("t2m", "1", 0.5, 2.0), Channel("tp", "1", -0.1, 0.5))


def coarse_source(origin=(-4.0, -8.0)):
    """Give a coarse source of its own, larger than the fine domain."""
    wide = ArrayFields.random(("t2m", "z"), times=10, shape=(20, 24), seed=1)
    coarse = CoarseFields(wide, 4)
    shifted = replace(coarse.grid, origin=origin, latitude=None, longitude=None)
    moments = np.datetime64("2019-12-31T23", "ns") + np.arange(10) * np.timedelta64(1, "h")
    return ArrayFields(coarse.read(range(10)), moments, shifted, coarse.channels)


def test_it_is_a_downscaling_dataset():
    dataset = GriddedDataset(FINE, None, CHANNELS, factor=4)
    assert isinstance(dataset, DownscalingDataset)
    assert isinstance(JoinedDataset([dataset]), DownscalingDataset)
    assert dataset.thread_safe


def test_truth_and_block_averages_are_normalised():
    batch = GriddedDataset(FINE, None, CHANNELS, factor=4).fetch([3, 1])
    values = FINE.values[[3, 1]].astype(float)
    weights = row_areas(FINE.grid)[:, None] * np.ones(16)
    blocks = [a.reshape(*a.shape[:-2], 3, 4, 4, 4).sum((-3, -1)) for a in (values * weights, weights)]
    for i, channel in enumerate(CHANNELS):
        assert_close(batch.target[:, i], torch.tensor((values[:, i] - channel.mean) / channel.std).float(), 1e-6)
        average = torch.tensor(blocks[0][:, i] / blocks[1])
        assert_close(batch.coarse[:, i], ((average - channel.mean) / channel.std).float(), 1e-5)
    assert batch.valid is None
    assert batch.lead_time is None
    assert batch.index.tolist() == [3, 1]


def test_windows_are_frames_of_each_variable():
    single, window = (GriddedDataset(FINE, None, CHANNELS, factor=4, window_size=k) for k in (0, 1))
    assert [c.name for c in window.input_channels] == ["t2m@-1", "t2m", "t2m@+1", "tp@-1", "tp", "tp@+1"]
    assert len(window) == 6
    assert np.array_equal(window.times, FINE.times[1:-1])
    together, alone = window.fetch([2]).coarse[0], single.fetch([2, 3, 4]).coarse
    assert torch.equal(together, torch.cat([alone[:, 0], alone[:, 1]]))


def test_an_input_of_its_own_is_matched_in_space_and_time():
    source = coarse_source()
    inputs = (Channel("t2m", "1", 9.0, 9.0), Channel("z", "1", 1.0, 2.0))
    dataset = GriddedDataset(FINE, source, CHANNELS, inputs, window_size=1)
    batch = dataset.fetch([0])
    frames = source.values[[0, 1, 2]][:, :, 1:4, 2:6]
    assert_close(batch.coarse[0, :3], torch.tensor((frames[:, 0] - 0.5) / 2.0), 1e-6)
    assert_close(batch.coarse[0, 3:], torch.tensor((frames[:, 1] - 1.0) / 2.0), 1e-6)
    assert dataset.input_channels[0].mean == 0.5
    assert dataset.coarse_grid.shape == (3, 4)
    assert (dataset.coarse_grid.origin, dataset.coarse_grid.extent) == (FINE.grid.origin, FINE.grid.extent)
    assert len(dataset) == 8


def test_longitudes_a_circle_apart_are_the_same_place():
    source = coarse_source()
    turned = ArrayFields(source.values, source.times, replace(source.grid, origin=(-4.0, 352.0)), source.channels)
    batches = [GriddedDataset(FINE, s, CHANNELS, s.channels).fetch([5]) for s in (source, turned)]
    assert torch.equal(batches[0].coarse, batches[1].coarse)


def test_input_on_the_fine_grid_is_allowed():
    dataset = GriddedDataset(FINE, FINE, CHANNELS, FINE.channels)
    batch = dataset.fetch([1])
    assert torch.equal(batch.coarse, batch.target)


@settings(max_examples=20, deadline=None)
@given(
    key=st.integers(0, 2**62),
    sample=st.integers(0, 5),
    rows=st.sampled_from([4, 8, 12]),
    columns=st.sampled_from([4, 12]),
)
def test_a_patch_is_a_part_of_the_whole_field(key, sample, rows, columns):
    static = CutFields(
        ArrayFields.random(("orography",), times=1, shape=(12, 16), seed=3), (slice(0, 12), slice(0, 16))
    )
    static.times = static.times[:0]
    options = {"factor": 4, "window_size": 1, "invariants": static}
    whole = GriddedDataset(FINE, None, CHANNELS, **options).fetch([sample])
    dataset = GriddedDataset(FINE, None, CHANNELS, patch=(rows, columns), **options)
    patch = dataset.fetch([sample], [key])
    assert dataset.grid.shape == (rows, columns) == patch.target.shape[-2:]
    assert dataset.coarse_grid.shape == (rows // 4, columns // 4) == patch.coarse.shape[-2:]
    places = [
        (y, x)
        for y in range(0, 13 - rows, 4)
        for x in range(0, 17 - columns, 4)
        if torch.equal(whole.target[..., y : y + rows, x : x + columns], patch.target)
    ]
    ((y, x),) = places
    assert torch.equal(whole.invariants[..., y : y + rows, x : x + columns], patch.invariants)
    part = whole.coarse[..., y // 4 : (y + rows) // 4, x // 4 : (x + columns) // 4]
    assert_close(patch.coarse, part, 1e-6)


def test_every_place_is_drawn_and_depends_on_the_key_alone():
    dataset = GriddedDataset(FINE, None, CHANNELS, factor=4, patch=(4, 4))
    places = {tuple(dataset.fetch([0], [key]).target[0, 0, 0, :2].tolist()) for key in range(150)}
    assert len(places) == 12
    together, alone = dataset.fetch([5, 2, 5], [7, 8, 9]), dataset.fetch([2], [8])
    assert torch.equal(together.target[1], alone.target[0])
    assert not torch.equal(together.target[0], together.target[2])


def test_patches_without_keys_tile_the_domain():
    dataset = GriddedDataset(FINE, None, CHANNELS, factor=4, patch=(8, 8), patches_per_time=4)
    assert len(dataset) == 32
    assert len(np.unique(dataset.times)) == 32
    assert dataset.blocks.tolist() == [18262] * 32
    tiles = dataset.fetch(range(4)).target[:, 0] * 2.0 + 0.5
    seen = {round(value, 4) for value in tiles.flatten().tolist()}
    assert seen == {round(value, 4) for value in FINE.values[0, 0].astype(float).flatten().tolist()}


def with_holes(**rules):
    values = FINE.values.copy()
    values[:, 1, :4, :6] = np.nan
    fields = ArrayFields(values, FINE.times, FINE.grid, FINE.channels)
    return GriddedDataset(fields, None, CHANNELS, factor=4, missing=rules)


def test_missing_values_are_refused_unless_declared():
    with pytest.raises(
        InputError, match=r"'tp' must have values everywhere: 12.50% are missing at 2020-01-01T02.*mask"
    ):
        with_holes().fetch([2])


def test_masked_values_are_zero_and_said_to_be_invalid():
    dataset = with_holes(tp=Missing("mask"))
    batch = dataset.fetch([2])
    assert batch.valid[0, 0].all()
    assert torch.equal(batch.valid[0, 1], torch.from_numpy(~np.isnan(dataset._target.read([2])[0, 1])))
    assert (batch.target[0, 1][~batch.valid[0, 1]] == 0).all()
    assert [c.name for c in dataset.input_channels] == ["t2m", "tp", "tp_known"]
    assert batch.coarse[0, 2].tolist() == [[0, 1, 1, 1], [1] * 4, [1] * 4]
    assert batch.coarse[0, 1, 0, 0] == 0


def test_filled_values_take_part():
    batch = with_holes(tp=Missing("fill", 0.4)).fetch([2])
    assert batch.valid is None
    assert torch.allclose(batch.target[0, 1, :4, :6], torch.tensor(1.0))


def test_infinite_values_are_refused():
    values = FINE.values.copy()
    values[1, 0, 0, 0] = np.inf
    fields = ArrayFields(values, FINE.times, FINE.grid, FINE.channels)
    with pytest.raises(InputError, match="'t2m' must be finite"):
        GriddedDataset(fields, None, CHANNELS, factor=4, missing={"t2m": Missing("mask")}).fetch([1])


@pytest.mark.parametrize("rule", [None, Missing("mask"), Missing("fill", 7.0)])
def test_static_fields_are_whole_or_filled_never_masked(rule):
    static = ArrayFields.random(("orography",), times=1, shape=(12, 16), seed=3)
    static.values[0, 0, :3] = np.nan
    rules = {} if rule is None else {"orography": rule}
    if rule is not None and rule.rule == "fill":
        batch = GriddedDataset(FINE, None, CHANNELS, factor=4, invariants=static, missing=rules).fetch([1])
        assert (batch.invariants[0, 0, :3] == 7.0).all()
        return
    with pytest.raises(
        InputError, match=r"'orography' .* 25.00% are missing.*; set dataset.missing.orography to a value"
    ):
        GriddedDataset(FINE, None, CHANNELS, factor=4, invariants=static, missing=rules)


def test_a_value_that_a_transform_makes_infinite_is_refused():
    values = np.abs(FINE.values)
    values[1, 1, 2, 3] = -0.1
    fields = ArrayFields(values, FINE.times, FINE.grid, FINE.channels)
    channels = (CHANNELS[0], replace(CHANNELS[1], warp=Log1p(0.1)))
    with pytest.raises(InputError, match=r"'tp' has values that its transform does not take: got -0\.1"):
        GriddedDataset(fields, None, channels, factor=4).fetch([1])


def test_warped_channels_are_inverted_exactly():
    rain = ArrayFields(np.abs(FINE.values), FINE.times, FINE.grid, FINE.channels)
    channels = tuple(replace(c, warp=Log1p(0.1), minimum=0.0) for c in CHANNELS)
    batch = GriddedDataset(rain, None, channels, factor=4).fetch([4])
    for i, channel in enumerate(channels):
        assert_close(channel.denormalize(batch.target[:, i]), torch.tensor(rain.values[[4], i]), 1e-5)


def placed(fields, south, west, **options):
    """Give fields on a curvilinear grid of quarter degrees per unit of the rows and columns."""
    grid = fields.grid
    latitude = south + 0.25 * np.repeat(grid.y[:, None], grid.shape[1], axis=1)
    longitude = west + 0.25 * np.repeat(grid.x[None], grid.shape[0], axis=0) + 0.01 * latitude
    return replace_grid(fields, replace(grid, latitude=latitude, longitude=longitude, unit="1", **options))


def replace_grid(fields, grid):
    return ArrayFields(fields.read(range(len(fields.times))), fields.times, grid, fields.channels)


def test_input_and_target_lie_at_one_place():
    fine, coarse = placed(FINE, 40.0, -10.0), CoarseFields(FINE, 4)
    GriddedDataset(fine, placed(coarse, 40.0, 350.0), CHANNELS, factor=4).fetch([0])
    for south, west in ((-30.0, 100.0), (42.0, -10.0), (40.0, -8.0)):
        with pytest.raises(InputError, match="must lie at one place: by their latitudes and longitudes they are"):
            GriddedDataset(fine, placed(coarse, south, west), CHANNELS, factor=4)
    turned = placed(coarse, 40.0, -10.0)
    turned = replace_grid(turned, replace(turned.grid, latitude=turned.grid.latitude[::-1]))
    with pytest.raises(InputError, match="rows and columns in one order"):
        GriddedDataset(fine, turned, CHANNELS, factor=4)


def test_input_and_target_have_one_projection():
    def lambert(fields, meridian):
        named = {"grid_mapping_name": "lambert_conformal_conic", "longitude_of_central_meridian": meridian}
        return replace_grid(fields, replace(fields.grid, projection=named))

    coarse = CoarseFields(FINE, 4)
    GriddedDataset(lambert(FINE, -97.5), lambert(coarse, -97.5), CHANNELS, factor=4)
    with pytest.raises(
        InputError, match=r"one projection: longitude_of_central_meridian is 10\.0 there and -97\.5 here"
    ):
        GriddedDataset(lambert(FINE, -97.5), lambert(coarse, 10.0), CHANNELS, factor=4)


def test_without_truth_the_input_is_refined():
    source = coarse_source()
    batches = []
    for target in (None, FINE):
        dataset = GriddedDataset(target, source, CHANNELS, source.channels, factor=4, positions=[3])
        batches.append(dataset.fetch([0]))
    assert batches[0].target is None
    blind = GriddedDataset(None, source, CHANNELS, source.channels, factor=4)
    assert blind.grid.shape == (20, 24)
    assert blind.coarse_grid.shape == (5, 6)
    assert np.allclose(blind.grid.latitude[:, 0], -3.5 + np.arange(20))
    assert blind.output_channels == CHANNELS
    assert np.array_equal(blind.times, source.times)


def test_windows_of_uneven_frames_are_refused_skipped_or_kept():
    times = hours(8)[[0, 1, 2, 3, 4, 6, 7]]
    fields = ArrayFields(FINE.values[:7], times, FINE.grid, FINE.channels)
    with pytest.raises(InputError, match=r"evenly spaced, 3600 seconds apart.*2020-01-01T04.*uneven=skip"):
        GriddedDataset(fields, None, CHANNELS, factor=4, window_size=1)
    lengths = [len(GriddedDataset(fields, None, CHANNELS, factor=4, window_size=1, uneven=u)) for u in ("skip", "keep")]
    assert lengths == [3, 5]
    assert len(GriddedDataset(fields, None, CHANNELS, factor=4)) == 7


def test_positions_choose_the_middle_frames_only():
    dataset = GriddedDataset(FINE, None, CHANNELS, factor=4, window_size=1, positions=[0, 3, 5])
    assert np.array_equal(dataset.times, FINE.times[[3, 5]])


def test_lead_times_come_with_the_samples():
    fields = ArrayFields(FINE.values, FINE.times, FINE.grid, FINE.channels, lead_hours=6.0 + np.arange(8))
    batch = GriddedDataset(fields, None, CHANNELS, factor=4, positions=[2, 5]).fetch([1, 0])
    assert batch.lead_time.tolist() == [11.0, 8.0]


class Counting(ArrayFields):
    """Counts the fields that are read."""

    reads = 0

    def read(self, positions, window=None):
        self.reads += len(positions)
        return super().read(positions, window)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 16), (0.5, 12), (1.0, 8)])
def test_memory_keeps_as_many_fields_as_its_budget_holds(share, expected):
    counting = Counting(FINE.values, FINE.times, FINE.grid, FINE.channels)
    budget = int(share * FINE.values.nbytes)
    cached = GriddedDataset(counting, None, CHANNELS, factor=4, patch=(4, 8), cache_bytes=budget)
    plain = GriddedDataset(FINE, None, CHANNELS, factor=4, patch=(4, 8))
    for epoch in range(2):
        keys = list(range(8 * epoch, 8 * epoch + 8))
        assert torch.equal(cached.fetch(range(8), keys).target, plain.fetch(range(8), keys).target)
    assert counting.reads == expected


def test_what_is_in_memory_is_not_changed_by_its_users():
    cached = CachedFields(FINE, 2**20)
    cached.read([0])[:] = 0.0
    assert np.array_equal(cached.read([0, 1]), FINE.values[:2])


def region(seed, shape=(12, 16)):
    fields = ArrayFields.random(NAMES, times=3, shape=shape, seed=seed)
    return GriddedDataset(fields, None, CHANNELS, factor=4, patch=(8, 8))


@settings(max_examples=20, deadline=None)
@given(ids=st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_joined_regions_give_their_own_samples(ids):
    parts = [region(0), region(1, (16, 8)), region(2)]
    joined = JoinedDataset(parts)
    batch = joined.fetch(ids, [100 + i for i in ids])
    assert batch.index.tolist() == ids
    for row, i in enumerate(ids):
        alone = parts[i // 3].fetch([i % 3], [100 + i])
        assert torch.equal(batch.target[row], alone.target[0])
        assert torch.equal(batch.coarse[row], alone.coarse[0])
    assert len(np.unique(joined.times)) == len(joined) == 9
    assert joined.blocks.shape == (9,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GriddedDataset(None, None, CHANNELS), "neither"),
        (lambda: GriddedDataset(FINE, None, CHANNELS, factor=5), "must fill the grid"),
        (lambda: GriddedDataset(FINE, None, CHANNELS[:1], factor=4), "output_channels must name"),
        (lambda: GriddedDataset(FINE, coarse_source(), CHANNELS, CHANNELS), "input_channels must name"),
        (
            lambda: GriddedDataset(FINE, coarse_source(origin=(-4.0, -7.5)), CHANNELS),
            r"columns span.*physicsnemo-fs build",
        ),
        (lambda: GriddedDataset(FINE, None, CHANNELS, factor=4, patch=(6, 8)), "whole coarse cells"),
        (lambda: GriddedDataset(FINE, None, CHANNELS, factor=4, patch=(16, 8)), "fit the domain"),
        (lambda: GriddedDataset(FINE, None, CHANNELS, factor=4, window_size=4), "reduce window_size"),
        (lambda: GriddedDataset(FINE, None, CHANNELS, factor=4, invariants=FINE), "invariants must be static"),
        (lambda: JoinedDataset([]), "got none"),
        (lambda: JoinedDataset([region(0), GriddedDataset(FINE, None, CHANNELS, factor=4)]), "patch_shape"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_an_input_in_another_unit_than_the_output_of_its_name_is_refused():
    source = coarse_source()
    inputs = (Channel("t2m", "degC"), source.channels[1])
    with pytest.raises(InputError, match=r"'t2m' must have one unit.*degC"):
        GriddedDataset(FINE, source, CHANNELS, inputs)


def test_an_input_that_lacks_a_time_is_refused():
    source = coarse_source()
    short = ArrayFields(source.values[:5], source.times[:5], source.grid, source.channels)
    with pytest.raises(InputError, match=r"same times.*2020-01-01T04.*3 further"):
        GriddedDataset(FINE, short, CHANNELS, source.channels)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [("mask", Missing("mask")), ("refuse", Missing()), ({"fill": 1}, Missing("fill", 1.0)), (0, Missing("fill", 0.0))],
)
def test_rules_for_missing_values(declared, expected):
    assert Missing.parse("tp", declared) == expected


@pytest.mark.parametrize("declared", ["drop", {"fill": None}, {"mask": 1}, True, float("nan"), None])
def test_other_rules_are_refused(declared):
    with pytest.raises(InputError, match="refused, masked or filled"):
        Missing.parse("tp", declared)


def test_a_part_of_fields_is_a_part_everywhere():
    part = CutFields(FINE, (slice(2, 10), slice(4, 12)))
    assert part.grid == cut(FINE.grid, (slice(2, 10), slice(4, 12)))
    assert np.array_equal(part.read([1], (slice(1, 3), slice(0, 5))), FINE.values[[1], :, 3:5, 4:9])
    assert np.array_equal(part.read([1]), FINE.values[[1], :, 2:10, 4:12])
