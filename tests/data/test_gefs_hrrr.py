# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""CorrDiff's GEFS-HRRR forecasts: half-year Zarr stores of the published layout on a corner of HRRR's grid."""

import shutil

import numpy as np
import pytest
import xarray as xr
from published_files import HALVES, HRRR_OUTPUTS, save_forecasts, save_gefs_hrrr

from physicsnemo_fs.config.published import CATEGORIES, ISOBARIC, SURFACE
from physicsnemo_fs.data.datasets.forecast_stores import forecast_times
from physicsnemo_fs.data.datasets.gefs_hrrr import open_gefs_hrrr
from physicsnemo_fs.data.datasets.lambert import hrrr_grid, project
from physicsnemo_fs.data.types import Fields
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.testing import assert_close

CHOICE = {
    "input_surface_variables": ("u10m", "msl"),
    "input_isobaric_variables": ("u850", "r1000", "r100", "z200"),
    "output_variables": HRRR_OUTPUTS,
    "prob_variables": CATEGORIES,
    "train_years": (2022, 2023),
    "valid_years": (2024,),
    "factor": 4,
    "window": ((1, 17), (2, 22)),
    "gap": np.timedelta64(0, "s"),
    "validation": 0.2,
    "block": np.timedelta64(1, "D"),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return save_gefs_hrrr(tmp_path_factory.mktemp("gefs_hrrr"))


@pytest.fixture
def pair(published):
    return open_gefs_hrrr(published, published / "stats.json", **CHOICE)


def test_samples_are_the_forecasts_that_all_stores_hold(pair):
    assert isinstance(pair.target, Fields)
    assert isinstance(pair.coarse, Fields)
    assert len(pair.target.times) == 3 * 29
    assert (np.diff(pair.target.times) > np.timedelta64(0)).all()
    np.testing.assert_array_equal(pair.target.times, pair.coarse.times)
    assert set(pair.target.lead_hours) == {0.0, 3.0, 6.0}


def test_fields_are_found_by_start_and_lead(pair, published):
    stored = xr.open_zarr(published / "hrrr_forecast" / "hrrr_2024_01_07.zarr")
    position = int(np.flatnonzero(pair.target.times == forecast_times(["2024011306f03"])[0])[0])
    values = pair.target.read([position])[0]
    field = stored["values"].sel(time="2024011306f03", channel=["u10m", "v10m", "t2m", "precip"])
    np.testing.assert_array_equal(values[:4], field.values[:, 1:17, 2:22])
    part = pair.target.read([0, position], (slice(4, 8), slice(0, 3)))[1]
    np.testing.assert_array_equal(part, values[:, 4:8, :3])


def test_probabilities_of_precipitation_sum_to_one(pair):
    values = pair.target.read(range(20))
    chances = values[:, 4:]
    assert_close(chances.sum(axis=1), np.ones((20, 16, 20)), 1e-6)
    assert set(np.unique(chances[:, 4])) == {0.0, 1.0}


def test_the_input_is_linear_between_its_points(pair, published):
    position = int(np.flatnonzero(pair.coarse.times == forecast_times(["2022122100f06"])[0])[0])
    values = pair.coarse.read([position])[0]
    latitude, longitude = pair.coarse.grid.latitude, pair.coarse.grid.longitude % 360 - 360
    assert (values.shape, values.dtype) == ((6, 4, 5), np.float32)
    assert_close(values[0], 8 + latitude - 2 * longitude, 1e-6)
    assert_close(values[1], 8 + 6 * latitude - 2 * longitude, 1e-6)
    assert_close(values[3], 8 + 2 * latitude - 2 * longitude, 1e-6)
    assert_close(values[4], 8 + 3 * latitude - 2 * longitude, 1e-6)
    np.testing.assert_array_equal(pair.coarse.read([position], (slice(1, 3), slice(4, 5)))[0], values[:, 1:3, 4:5])


def test_grids_share_their_edges_on_the_projection(pair):
    fine, coarse = pair.target.grid, pair.coarse.grid
    assert (fine.shape, coarse.shape, fine.extent) == ((16, 20), (4, 5), coarse.extent)
    assert_close(np.array(fine.spacing), np.full(2, 3000.0), 1e-6)
    assert fine.origin == pytest.approx((-1587306.0 - 1500 + 3000, -2697520.0 - 1500 + 6000), rel=1e-9)
    y, x = project(coarse.latitude, coarse.longitude)
    assert np.abs(y - coarse.y[:, None]).max() < 30
    assert np.abs(x - coarse.x).max() < 30


def test_channels_carry_the_published_statistics(pair):
    assert [(c.name, c.mean, c.std) for c in pair.output_channels[3:5]] == [
        ("precip", 3.0, 4.0),
        ("cat_snow", 4.0, 5.0),
    ]
    by_name = {c.name: c for c in pair.input_channels}
    assert by_name["msl"].mean == SURFACE.index("msl")
    assert by_name["z200"].mean == len(SURFACE) + ISOBARIC.index("z200")


def test_the_later_year_is_for_testing(pair):
    starts = (pair.target.times - pair.target.lead_hours.astype("timedelta64[h]")).astype("datetime64[Y]")
    assert set(starts[pair.labels == 2].astype(str)) == {"2024"}
    assert np.bincount(pair.labels).tolist() == [46, 12, 29]


def test_rows_from_north_to_south_are_turned(published, pair, tmp_path):
    shutil.copytree(published, tmp_path / "turned", ignore=shutil.ignore_patterns("hrrr_2*"))
    for half in HALVES:
        stored = xr.open_zarr(published / "hrrr_forecast" / f"hrrr_{half}.zarr").load().isel(y=slice(None, None, -1))
        save_forecasts(
            tmp_path / "turned" / "hrrr_forecast" / f"hrrr_{half}.zarr",
            *(stored[name].values for name in ("values", "channel", "time", "lat", "lon")),
        )
    turned = open_gefs_hrrr(tmp_path / "turned", published / "stats.json", **CHOICE)
    part = (slice(3, 9), slice(2, 5))
    np.testing.assert_array_equal(turned.target.read([5], part), pair.target.read([5], part))
    assert turned.target.grid.origin == pytest.approx(pair.target.grid.origin, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_surface_variables": ("u10m", "t3m")}, "must hold 't3m'"),
        ({"output_variables": ("t2m", "refc"), "prob_variables": ()}, "stats.json must hold mean and std of 'refc'"),
        ({"prob_variables": ()}, "cat_none needs them"),
        ({"output_variables": ("t2m",)}, "must be among the outputs"),
        ({"window": ((1, 1057), (4, 1796))}, "within 18 x 24 points"),
        ({"factor": 3}, "must fill the grid"),
        ({"train_years": (2023, 2024)}, r"\[2024\] are for both"),
        ({"valid_years": (1990,)}, "test years must hold data"),
    ],
)
def test_choices_that_do_not_fit_are_refused(published, options, message):
    with pytest.raises(InputError, match=message):
        open_gefs_hrrr(published, published / "stats.json", **{**CHOICE, **options})


def test_what_is_missing_is_named(published, tmp_path):
    with pytest.raises(InputError, match=r"dataset\.stats_path"):
        open_gefs_hrrr(published, None, **CHOICE)
    with pytest.raises(InputError, match="it has none; set"):
        open_gefs_hrrr(tmp_path, published / "stats.json", **CHOICE)
    with pytest.raises(InputError, match="YYYYMMDDHHfLL"):
        forecast_times(["2024-01-12"])
    latitude, longitude = np.meshgrid(np.arange(30.0, 34), np.arange(250.0, 254), indexing="ij")
    with pytest.raises(InputError, match="off its Lambert grid"):
        hrrr_grid(latitude, longitude)
