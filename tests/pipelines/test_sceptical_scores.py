# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a sceptical user gives: files that lie, and numbers to be found again with plain numpy."""

import csv

import netCDF4
import numpy as np
import pytest
import xarray as xr
from test_scoring import GRID, LATITUDE, LONGITUDE, OPTIONS, TIMES, write

from physicsnemo_fs import cli
from physicsnemo_fs.config.scores import ScoreConfig
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.score_setting import Request, setting_for, threshold
from physicsnemo_fs.pipelines.scoring import run_score


@pytest.fixture(scope="module")
def rain(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rain") / "rain.nc")


def flat(path, values, *, member="ensemble", unit="mm h-1", times=TIMES):
    """Write a flat file as earth2studio does, without members if there is no dimension for them."""
    names = (member, "time", "lat", "lon") if values.ndim == 4 else ("time", "lat", "lon")
    coordinates = {"time": times, "lat": LATITUDE[:, 0], "lon": LONGITUDE[0]}
    xr.Dataset({"tp": (names, values.astype(np.float32), {"units": unit})}, coordinates).to_netcdf(path)
    return path


def fields(rain):
    with netCDF4.Dataset(rain) as dataset:
        return dataset["prediction"]["tp"][:].filled(np.nan), dataset["truth"]["tp"][:].filled(np.nan)


def test_weighted_scores_of_an_area_are_plain_numpys(rain, tmp_path):
    forecast, truth = (values.astype(np.float64) for values in fields(rain))
    result = score([rain], tmp_path, request=Request(areas={"box": [41, 45, -2, 3]}, weights="area"), **OPTIONS)
    inside = (LATITUDE >= 41) & (LATITUDE <= 45) & (LONGITUDE >= -2) & (LONGITUDE <= 3)
    error, spread = forecast.mean(0) - truth, forecast.var(0, ddof=1)
    pairs = np.abs(forecast[:, None] - forecast[None]).sum((0, 1)) / 12
    crps = np.abs(forecast - truth).mean(0) - pairs / 2
    for area, where in (("", np.ones(GRID.shape, dtype=bool)), ("box", inside)):
        weights = (where * np.cos(np.radians(LATITUDE)))[None] * np.ones(truth.shape)

        def mean(values, weights=weights):
            return (weights * values).sum() / weights.sum()

        expected = {
            "rmse": np.sqrt(mean(error**2)),
            "mae": mean(np.abs(error)),
            "bias": mean(error),
            "crps_fair": mean(crps),
            "spread_skill": np.sqrt(5 / 4 * mean(spread) / mean(error**2)),
            "std_dev": mean(forecast.std(0)),
            "relative_l2": np.sqrt(mean(error**2) / mean(truth**2)),
        }
        for name, value in expected.items():
            assert result.row("demo", name, "tp", area=area).value == pytest.approx(value, rel=1e-6), (name, area)


def test_an_ensemble_and_a_separate_truth_score_like_one_file(rain, tmp_path):
    forecast, truth = fields(rain)
    run = flat(tmp_path / "run.nc", forecast, member="number")
    found = score([run], tmp_path / "a", truth=flat(tmp_path / "truth.nc", truth), **OPTIONS)
    expected = score([rain], tmp_path / "b", **OPTIONS)
    for name in ("rmse", "mae", "crps_fair", "crps_biased", "std_dev", "ece"):
        assert found.row("run", name, "tp").value == expected.row("demo", name, "tp").value, name


def test_a_truth_that_is_none_is_refused(rain, tmp_path):
    forecast, truth = fields(rain)
    run = flat(tmp_path / "run.nc", forecast)
    for name, given, message in (
        ("members", flat(tmp_path / "members.nc", forecast), r"one field a time: members\.nc holds 4 members"),
        ("unit", flat(tmp_path / "unit.nc", truth, unit="m"), "one unit: 'tp' is in 'mm h-1' and in 'm'"),
        (
            "late",
            flat(tmp_path / "late.nc", truth, times=TIMES + np.timedelta64(1, "D")),
            "hold the truth of 2020-01-01",
        ),
    ):
        with pytest.raises(InputError, match=message):
            score([run], tmp_path / name, truth=given, **OPTIONS)


def test_another_unit_is_not_compared(rain, tmp_path):
    path = write(tmp_path / "metres.nc", channels=(Channel("tp", "m"),), name="metres")
    result = score([rain, path], tmp_path / "s", **OPTIONS)
    assert "must have the units of rain.nc: 'tp' is in 'm' and in 'mm h-1'" in result.failures[0][1]


def test_infinite_values_are_told(rain, tmp_path):
    path = write(tmp_path / "inf.nc", name="inf")
    with netCDF4.Dataset(path, "a") as dataset:
        dataset["prediction"]["tp"][1, 2, 3, 4] = np.inf
    result = score([path, rain], tmp_path / "s", **OPTIONS)
    assert "finite values or NaN: the forecast of 'tp' at 2020-01-03" in result.failures[0][1]
    assert result.row("demo", "mae", "tp").n_times == 6


def test_a_pattern_without_files_does_not_stop_the_others(rain, tmp_path):
    result = score([tmp_path / "none_*.nc", rain], tmp_path / "s", **OPTIONS)
    assert "no file matches" in result.failures[0][1]
    assert result.row("demo", "mae", "tp").n_times == 6


def test_the_command_says_what_failed_in_one_line_each(rain, tmp_path, monkeypatch, capsys):
    """One good file, one that is truncated, one without a group: exit status 1, and two lines."""
    (tmp_path / "cut.nc").write_bytes(rain.read_bytes()[:5000])
    netCDF4.Dataset(tmp_path / "empty.nc", "w").close()
    paths = f"path=[{tmp_path / 'cut.nc'},{rain},{tmp_path / 'empty.nc'}]"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["score_samples.py", paths, f"output={tmp_path / 's'}", "bootstrap_samples=20"])
    with pytest.raises(SystemExit) as left:
        cli.score()
    assert left.value.code == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [("cut.nc" in line, "empty.nc" in line) for line in told] == [(True, False), (False, True)]
    with (tmp_path / "s" / "scores_summary.csv").open() as stream:
        failed = [row["model"] for row in csv.DictReader(stream) if row["metric"] == "failed"]
    assert failed == ["cut.nc", "empty.nc"]
    assert "could not be scored" in (tmp_path / "s" / "report.html").read_text("utf-8")


def test_thresholds_convert_from_other_units():
    assert threshold("5 mm", Channel("tp", "m")) == pytest.approx(0.005)
    assert threshold("20 degC", Channel("t2m", "K")) == pytest.approx(293.15)
    assert threshold("1e-2 m", Channel("tp", "kg m-2")) == pytest.approx(10.0)
    with pytest.raises(InputError, match="must be in its unit 'K': got '3 parsec'"):
        threshold("3 parsec", Channel("t2m", "K"))


def test_precipitation_as_a_flux_has_the_events_of_a_day():
    flux = Channel("pr", "kg m-2 s-1", standard_name="precipitation_flux")
    found = setting_for(Request("climate"), flux, GRID, 0.0, 1e-3).thresholds
    np.testing.assert_allclose(np.array(found) * 86400, [1, 10, 25, 50, 200])


def test_many_members_are_scored(tmp_path):
    path = write(tmp_path / "many.nc", members=120)
    result = score([path], tmp_path / "s", request=Request(thresholds={"tp": [1]}), **OPTIONS)
    assert result.row("demo", "crps_fair", "tp").n_members == 120
    assert result.row("demo", "spread_skill", "tp").value == pytest.approx(1.0, abs=0.1)
    gap = result.row("demo", "crps_biased", "tp").value - result.row("demo", "crps_fair", "tp").value
    assert 0 < gap < 0.02 * result.row("demo", "crps_fair", "tp").value


@pytest.mark.parametrize("case", ["gap", "dry", "alone"])
def test_a_page_is_written_of_whatever_was_scored(tmp_path, case):
    """A hole that never closes, a truth without rain, a single member."""

    def draw(random, count):
        values = random.gamma(0.4, 8.0, (count, 1, *GRID.shape))
        values[0] = 0.0 if case == "dry" else values[0]
        values[0, 0, :3, :4] = np.nan if case == "gap" else values[0, 0, :3, :4]
        return values

    path = write(tmp_path / "a.nc", draw=draw, members=1 if case == "alone" else 3)
    config = ScoreConfig(path=str(path), output=str(tmp_path / "s"), preset="climate", bootstrap_samples=20)
    assert run_score(config) == 0
    page = (tmp_path / "s" / "report.html").read_text("utf-8")
    told = {"gap": "at every time points are missing", "dry": "the truth does not vary", "alone": "A single member"}
    assert told[case] in page
    assert ">nan<" not in page
