# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What users ask of scoring: presets, thresholds, areas, masks, workers, batches with a bad file, comparisons."""

import csv
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from physicsnemo_fs.arguments import positional
from physicsnemo_fs.config.scores import ScoreConfig
from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.writer import EnsembleWriter
from physicsnemo_fs.pipelines.compare import NEITHER, compare, comparison_table
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.score_setting import Request, area_mask, cell_areas, threshold
from physicsnemo_fs.pipelines.score_store import read_sums
from physicsnemo_fs.pipelines.scoring import run_score

LATITUDE, LONGITUDE = np.meshgrid(np.linspace(40.0, 47.5, 16), np.linspace(-4.0, 5.5, 20), indexing="ij")
GRID = Grid((16, 20), (800.0, 800.0), boundary="bounded", unit="km", latitude=LATITUDE, longitude=LONGITUDE)
PLANE = Grid((16, 16), (1.0, 1.0))
TIMES = np.arange("2020-01-01", "2020-01-07", dtype="datetime64[D]").astype("datetime64[ns]")
RAIN = Channel("tp", "mm h-1", long_name="precipitation")
OPTIONS = {"bootstrap_samples": 50, "quiet": True}


def write(path, *, channels=(RAIN,), grid=GRID, members=4, scale=1.0, name="demo", draw=None):
    """Members and truth are exchangeable draws of a gamma distribution, times ``scale`` for the members."""
    draw = draw or (lambda random, n: random.gamma(0.4, 8.0, (n, len(channels), *grid.shape)))
    spec = EnsembleSpec(
        grid,
        grid.at((4, 4)),
        TIMES,
        np.arange(6) // 2,
        channels,
        (),
        tuple(range(members)),
        {"model_name": name},
        has_regression=False,
    )
    with EnsembleWriter(path, spec) as writer:
        for index in range(6):
            fields = draw(np.random.default_rng(index), members + 1)
            nothing = {"input": np.zeros((0, *grid.shape)), "input_native": np.zeros((0, 4, 4))}
            writer.write(index, scale * fields[1:], truth=fields[0], **nothing)
    return path


@pytest.fixture(scope="module")
def rain(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rain") / "rain.nc")


def test_the_precipitation_preset_is_fathoms_routine(rain, tmp_path):
    result = score([rain], tmp_path, request=Request("precipitation"), **OPTIONS)
    names = {row.metric for row in result.rows}
    assert {f"crps_fair_{kind}{size}" for kind in ("mean", "max") for size in (4, 16)} <= names
    assert {"class_ratio_0_1", "class_ratio_1_10", "class_ratio_10_25", "class_ratio_50_200"} <= names
    assert {"fss_5_10", "annual_maximum_bias", "ralsd", "ece", "roc_area_10", "log_histogram_bias"} <= names
    assert result.row("demo", "class_ratio_1_10", "tp").value == pytest.approx(1.0, abs=0.1)
    assert "mm h-1" in result.row("demo", "event_ratio_10", "tp").estimator


def test_the_fluid_preset_derives_vorticity(tmp_path):
    channels = (Channel("u", "m s-1"), Channel("v", "m s-1"))
    path = write(tmp_path / "flow.nc", channels=channels, grid=PLANE, draw=lambda r, n: r.normal(size=(n, 2, 16, 16)))
    result = score([path], tmp_path, request=Request("fluid"), **OPTIONS)
    for name in ("energy_ratio", "enstrophy_ratio"):
        assert result.row("demo", name, "vorticity").value == pytest.approx(1.0, abs=0.15)
    assert np.isfinite(result.row("demo", "wasserstein", "vorticity").value)


def test_the_insar_preset_compares_distributions_of_images(tmp_path):
    def draw(random, count):
        phase = random.vonmises(random.normal(size=(count, 1, 1)), 1.5, (count, 16, 16))
        return np.stack([np.cos(phase), np.sin(phase)], axis=1)

    path = write(tmp_path / "sar.nc", channels=(Channel("phase_cos"), Channel("phase_sin")), grid=PLANE, draw=draw)
    result = score([path], tmp_path, request=Request("insar"), **OPTIONS)
    total = result.row("demo", "w_total", "phase").value
    parts = [result.row("demo", name, "phase").value for name in ("w_var", "w_skew")]
    assert total == pytest.approx(sum(parts))
    assert 0 < total < 0.5


def test_areas_masks_and_weights_choose_points(rain, tmp_path):
    with netCDF4.Dataset(tmp_path / "land.nc", "w") as dataset:
        dataset.createDimension("y", 16)
        dataset.createDimension("x", 20)
        dataset.createVariable("land", "f4", ("y", "x"))[:] = LATITUDE < 43.0
    request = Request(areas={"south": [40.0, 42.99, -180, 180]}, weights="area")
    areas = score([rain], tmp_path / "a", request=request, **OPTIONS)
    masked = score([rain], tmp_path / "m", request=Request(mask=f"{tmp_path}/land.nc:land", weights="area"), **OPTIONS)
    for name in ("mae", "crps_fair", "spread_skill"):
        expected = masked.row("demo", name, "tp").value
        assert areas.row("demo", name, "tp", area="south").value == pytest.approx(expected), name
        assert areas.row("demo", name, "tp").value != expected


def test_a_box_may_cross_the_meridian_where_longitudes_jump():
    grid = Grid((2, 4), (1.0, 1.0), latitude=np.zeros((2, 4)), longitude=np.array([[350.0, 355.0, 0.0, 5.0]] * 2))
    assert area_mask("a", [-1, 1, -6, 1], grid)[0].tolist() == [False, True, True, False]


def test_a_box_holds_the_points_on_its_edges_in_single_precision_too():
    latitude, longitude = np.meshgrid(np.linspace(40.1, 41.2, 12), np.linspace(-5.1, 6.6, 14), indexing="ij")
    positions = {"latitude": latitude.astype(np.float32), "longitude": longitude.astype(np.float32)}
    assert area_mask("a", [40.1, 41.2, -5.1, 6.6], Grid((12, 14), (1.0, 1.0), **positions)).all()
    assert area_mask("a", [40.2, 40.3, 354.9, 357.6], Grid((12, 14), (1.0, 1.0), **positions)).sum() == 2 * 4


def test_cells_of_a_projection_of_equal_areas_weigh_the_same():
    """Lambert's azimuthal equal-area projection about the pole; longitudes jump within."""
    y, x = np.meshgrid(np.linspace(-0.4, 0.5, 40), np.linspace(-0.5, 0.4, 50), indexing="ij")
    latitude = 90 - np.degrees(2 * np.arcsin(np.hypot(x, y) / 2))
    areas = cell_areas(latitude, np.degrees(np.arctan2(y, x)))
    np.testing.assert_allclose(areas, 1.0, rtol=3e-3)  # one-sided differences at the edges
    np.testing.assert_allclose(cell_areas(LATITUDE, LONGITUDE), np.cos(np.radians(LATITUDE)), rtol=1e-12)


@pytest.mark.parametrize(
    ("request_options", "message"),
    [
        ({"thresholds": {"tp": ["1 mm"]}}, "must be in its unit 'mm h-1': got '1 mm'"),
        ({"thresholds": {"rain": [1]}}, r"thresholds are for scored variables: got \['rain'\], there are \['tp'\]"),
        ({"thresholds": {"tp": ["much"]}}, "must be a number"),
        ({"areas": {"mars": [80, 85, 0, 10]}}, "must hold points of the grid"),
        ({"areas": {"mars": [2, 1, 0, 10]}}, "south < north"),
        ({"areas": {"mars": [None, 1, 0, 10]}}, "south < north"),
        ({"areas": {"mars": ["a", 1, 0, 10]}}, "south < north"),
        ({"thresholds": {"tp": [1.0000001, 1.0000002]}}, "all different: got .* which are named"),
        ({"mask": "none.nc:land"}, "no such file"),
        ({"windows": [4], "thresholds": {"tp": [1]}}, "odd"),
    ],
)
def test_requests_that_do_not_fit_are_refused(rain, tmp_path, request_options, message):
    with pytest.raises(InputError, match=message):
        score([rain], tmp_path, request=Request(**request_options), **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_units_are_read_however_they_are_written():
    for text in ("5", "5 mm h-1", "5 mm/h", "5.0mm h**-1"):
        assert threshold(text, RAIN) == 5.0


def test_a_bad_file_does_not_stop_the_others(rain, tmp_path, capsys):
    truncated = tmp_path / "truncated.nc"
    truncated.write_bytes(rain.read_bytes()[: rain.stat().st_size // 2])
    blank = write(tmp_path / "blank.nc", name="blank")
    with netCDF4.Dataset(blank, "a") as dataset:
        dataset["prediction"]["tp"][:] = np.nan
    other = write(tmp_path / "other.nc", name="other", scale=1.2)
    paths = [str(p) for p in (truncated, rain, tmp_path / "none.nc", blank, other)]
    failed = run_score(ScoreConfig(path=paths, output=str(tmp_path / "s"), report=False, bootstrap_samples=20))
    assert failed == 3
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    assert any("truncated.nc" in e for e in errors)
    assert any("no such file" in e for e in errors)
    assert any("blank" in e and "missing" in e for e in errors)
    with (tmp_path / "s" / "scores_summary.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert {line["model"] for line in lines if line["metric"] == "crps_fair"} == {"demo", "other"}
    assert sum(line["metric"] == "failed" for line in lines) == 3


def test_damage_within_a_file_is_found_and_told(tmp_path):
    paths = [write(tmp_path / f"part_{n}.nc", scale=1.0 + n) for n in range(2)]
    content = bytearray(paths[1].read_bytes())
    content[len(content) // 3 : 2 * len(content) // 3] = bytes(len(content) // 3)
    paths[1].write_bytes(bytes(content))
    result = score([tmp_path / "part_*.nc"], tmp_path / "s", **OPTIONS)
    assert [path.name for path, _ in result.failures] == ["part_1.nc"]
    assert result.row("demo", "mae", "tp").n_times == 6


def test_truth_on_another_grid_is_refused(tmp_path):
    path = write(tmp_path / "a.nc")
    with netCDF4.Dataset(path) as source, netCDF4.Dataset(tmp_path / "b.nc", "w") as target:
        for name, size in (("time", 6), ("ensemble", 4), ("y", 16), ("x", 20)):
            target.createDimension(name, size)
        time = target.createVariable("time", "i8", ("time",))
        time.units = source["time"].units
        time[:] = source["time"][:]
        dimensions = ("ensemble", "time", "y", "x")
        target.createGroup("prediction").createVariable("tp", "f4", dimensions)[:] = source["prediction"]["tp"][:]
        truth = target.createGroup("truth")
        truth.createDimension("y", 8)
        truth.createVariable("tp", "f4", ("time", "y", "x"))[:] = source["truth"]["tp"][:, :8]
    with pytest.raises(InputError, match=r"must have one grid: 'tp' has \(16, 20\) and \(8, 20\)"):
        score([tmp_path / "b.nc"], tmp_path / "s", **OPTIONS)


def test_scores_of_parts_are_the_scores_of_all(tmp_path):
    """Sums read back from scores.nc of two files merge to those of one pass over both."""
    paths = [write(tmp_path / f"part_{n}.nc", scale=1.0 + 0.1 * n) for n in range(2)]
    together = score([tmp_path / "part_*.nc"], tmp_path / "both", **OPTIONS)
    whole = read_sums(together.scores_path)["demo"]["tp"][0]
    for region, path in enumerate(paths):
        part = read_sums(score([path], tmp_path / str(region), **OPTIONS).scores_path)["demo"]["tp"][0]
        mine = [case for case in whole.cases if case.region == region]
        for name in ("crps_fair", "squared_error", "power"):
            for case, own in zip(mine, part.cases, strict=True):
                np.testing.assert_array_equal(whole.statistics[name][case].total, part.statistics[name][own].total)


def test_a_better_run_wins_and_equal_ones_do_not(rain, tmp_path):
    wide = write(tmp_path / "wide.nc", name="wide", scale=2.0)
    scores = [score([path], tmp_path / path.stem, **OPTIONS).scores_path for path in (rain, wide)]
    for paths in (scores, [rain, wide]):
        found = {row.metric: row for row in compare(paths, bootstrap_samples=200)}
        row = found["crps_fair"]
        assert (row.reference, row.model, row.winner, row.n_times, row.n_blocks) == ("demo", "wide", "demo", 6, 3)
        assert row.ci_lo < row.difference < row.ci_hi
        assert row.difference == pytest.approx(row.value - row.reference_value)
        assert found["bias"].winner == "demo"
        assert found["spread"].winner == ""
    same = compare([scores[0], scores[0]], bootstrap_samples=50)
    assert {row.winner for row in same} <= {NEITHER, ""}
    assert all(row.difference == 0 for row in same if np.isfinite(row.difference))
    assert "crps_fair" in comparison_table(same, 0.95)


def test_runs_of_other_truths_are_not_compared(rain, tmp_path):
    other = write(tmp_path / "o.nc", name="o", draw=lambda r, n: r.gamma(0.5, 9.0, (n, 1, *GRID.shape)))
    scores = [score([path], tmp_path / path.stem, **OPTIONS).scores_path for path in (rain, other)]
    with pytest.raises(InputError, match="one truth"):
        compare(scores)
    with pytest.raises(InputError, match="two runs or more"):
        compare(scores[:1])
    with pytest.raises(InputError, match="scores only or samples only"):
        compare([scores[0], rain])


def test_corrdiffs_positional_call_is_understood(rain, tmp_path):
    assert positional(["path=a.nc", "seed=1"]) == ["path=a.nc", "seed=1"]
    assert positional(["a.nc", "b.nc", "out", "--n-ensemble=-1"]) == ["path=[a.nc,b.nc]", "output=out"]
    with pytest.raises(InputError, match="two files IN OUT"):
        positional(["a.nc"])
    script = Path(__file__).parents[2] / "examples" / "corrdiff_fs" / "score_samples.py"
    command = [sys.executable, str(script), str(rain), str(tmp_path / "out.nc"), "--n-ensemble", "3", "report=false"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert xr.open_dataset(tmp_path / "out.nc").attrs["n_ensemble"] == 3


def test_the_page_of_scores_tells_what_they_mean(tmp_path):
    truth = write(tmp_path / "wet.nc", scale=1.5)
    config = ScoreConfig(path=str(truth), output=str(tmp_path / "s"), preset="precipitation", bootstrap_samples=50)
    assert run_score(config) == 0
    html = (tmp_path / "s" / "report.html").read_text("utf-8")
    for words in ("too wet", "reliability", "Do the extremes come as often", "Where is it good", "Every number"):
        assert words in html, words
    assert "<script" not in html
