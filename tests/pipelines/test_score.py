# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import csv
import re

import netCDF4
import numpy as np
import pytest
import xarray as xr

from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.writer import EnsembleWriter
from physicsnemo_fs.pipelines.score import score

GRID = Grid((16, 16), (1.0, 1.0), unit="km")
COARSE = GRID.at((4, 4))
TIMES = np.arange("2020-01-01", "2020-01-09", dtype="datetime64[D]").astype("datetime64[ns]")
OUTPUTS = (Channel("t2m", "K"), Channel("u10m", "m s-1"))
COLUMNS = [
    "model",
    "metric",
    "variable",
    "lead_time",
    "value",
    "ci_lo",
    "ci_hi",
    "n_times",
    "n_members",
    "estimator",
    "area",
]


def truths(seed=0):
    return np.random.default_rng(seed).normal(280.0, 3.0, (8, 2, 16, 16)).astype(np.float32)


def write_samples(path, *, members=4, noise=1.0, model_name="demo", truth=None, times=TIMES, **changes):
    """An ensemble around the truth; the regression is off by 2, the input by 3 (t2m only)."""
    random = np.random.default_rng(members)
    truth = truths() if truth is None else truth
    spec = EnsembleSpec(
        GRID,
        COARSE,
        times,
        np.arange(times.size) // 2,
        OUTPUTS,
        (OUTPUTS[0],),
        tuple(range(members)),
        {"model_name": model_name} if model_name else {},
        **changes,
    )
    with EnsembleWriter(path, spec) as writer:
        for index in range(times.size):
            centre = truth[index] + noise * random.normal(size=(2, 16, 16))
            writer.write(
                index,
                centre + noise * random.normal(size=(members, 2, 16, 16)),
                input=truth[index, :1] + 3,
                input_native=np.zeros((1, 4, 4)),
                truth=truth[index] if spec.has_truth else None,
                regression=truth[index] + 2 if spec.has_regression else None,
            )
    return path


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("samples") / "samples.nc")


@pytest.fixture(scope="module")
def result(samples, tmp_path_factory):
    return score([samples], tmp_path_factory.mktemp("scores"), kmax=6, bootstrap_samples=200, quiet=True)


def test_models_are_the_ensemble_and_its_baselines(result):
    assert list(dict.fromkeys((row.model, row.variable) for row in result.rows)) == [
        ("demo", "t2m"),
        ("demo", "u10m"),
        ("interpolation", "t2m"),
        ("regression", "t2m"),
        ("regression", "u10m"),
    ]


def test_baselines_have_their_known_errors(result):
    for metric in ("mae", "rmse", "bias", "crps", "crps_biased"):
        assert result.row("regression", metric, "u10m").value == pytest.approx(2.0, rel=1e-4)
        assert result.row("interpolation", metric, "t2m").value == pytest.approx(3.0, rel=1e-4)
    fair = result.row("regression", "crps_fair", "t2m")
    assert np.isnan(fair.value)
    assert "mae" in fair.estimator


def test_the_ensemble_is_calibrated_and_has_an_interval(result):
    """Members and truth are exchangeable around a centre: CRPS of N(0, 1) is 1/sqrt(pi), 2048 points."""
    row = result.row("demo", "crps_fair", "t2m")
    assert row.value == pytest.approx(1 / np.sqrt(np.pi), abs=0.05)
    assert row.ci_lo < row.value < row.ci_hi
    assert (row.n_times, row.n_members, row.estimator) == (8, 4, "fair")
    assert result.row("demo", "spread_skill", "t2m").value == pytest.approx(1.0, abs=0.07)
    assert result.row("demo", "missing_points", "t2m").value == 0.0


def test_comparisons_are_paired(result):
    ratio = result.row("regression", "crps_ratio", "t2m")
    crps = result.row("demo", "crps_fair", "t2m").value
    assert ratio.value == pytest.approx(2.0 / crps, rel=1e-4)
    assert "paired" in ratio.estimator
    assert ratio.ci_lo < ratio.value < ratio.ci_hi


def test_the_summary_is_the_result(result):
    with result.summary_path.open() as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0]) == COLUMNS
    assert len(table) == len(result.rows)
    for line, row in zip(table, result.rows, strict=True):
        assert (line["model"], line["metric"], line["variable"]) == (row.model, row.metric, row.variable)
        np.testing.assert_allclose(float(line["value"]), row.value, rtol=1e-8)


def test_scores_have_corrdiffs_form(result, samples):
    """Metric and time for each variable, CorrDiff's four metrics first, with xskillscore's meaning."""
    scores = xr.open_dataset(result.scores_path)
    assert list(scores.data_vars) == ["t2m", "u10m"]
    assert scores["t2m"].dims == ("metric", "time")
    assert scores["metric"].values[:4].tolist() == ["rmse", "crps", "std_dev", "mae"]
    np.testing.assert_array_equal(scores["time"].values, TIMES)
    prediction = xr.open_dataset(samples, group="prediction")["t2m"].astype(float)
    truth = xr.open_dataset(samples, group="truth")["t2m"].astype(float)
    error, space = prediction.mean("ensemble") - truth, ["y", "x"]
    pairs = np.abs(prediction - prediction.rename(ensemble="other")).mean(["ensemble", "other"])
    expected = {
        "rmse": np.sqrt((error**2).mean(space)),
        "crps": (np.abs(prediction - truth).mean("ensemble") - pairs / 2).mean(space),
        "std_dev": prediction.std("ensemble").mean(space),
        "mae": np.abs(error).mean(space),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(scores["t2m"].sel(metric=name), value, rtol=1e-10, err_msg=name)


def test_scores_hold_no_string_variable(result):
    """Readers that open the file once for each group would crash (netcdf4-python issue 1444)."""
    with netCDF4.Dataset(result.scores_path) as dataset:
        for group in (dataset, *dataset["models"].groups.values()):
            assert all(variable.dtype is not str for variable in group.variables.values())
            assert group["metric"][:4].tolist() == ["rmse", "crps", "std_dev", "mae"]


def test_each_model_keeps_spectra_and_ranks(result):
    group = xr.open_dataset(result.scores_path, group="models/demo")
    assert group["t2m_rank_histogram"].sizes == {"rank": 5}
    assert float(group["t2m_rank_histogram"].sum()) == pytest.approx(1.0)
    assert group.attrs["n_ensemble"] == 4
    power, truth = group["t2m_power"].values, group["t2m_truth_power"].values
    assert truth[1:].sum() == pytest.approx(truths()[:, 0].var((1, 2)).mean(), rel=1e-4)
    error = np.abs(10 * np.log10(power[1:7] / truth[1:7]))
    assert result.row("demo", "spectrum_error_mean", "t2m").value == pytest.approx(error.mean())
    assert result.row("demo", "spectrum_error_max", "t2m").value == pytest.approx(error.max())
    regression = xr.open_dataset(result.scores_path, group="models/regression")
    np.testing.assert_allclose(regression["t2m_power"][1:], truth[1:], rtol=1e-4)


def test_the_table_names_every_model(result):
    lines = result.table.splitlines()
    assert len(lines) == 7
    assert [line.split()[0] for line in lines[1:6]] == [
        "demo",
        "demo",
        "interpolation",
        "regression",
        "regression",
    ]
    assert "95 % interval" in lines[0]


def test_a_second_file_is_scored_on_the_same_truth(samples, tmp_path):
    dressed = write_samples(tmp_path / "dressed.nc", members=3, noise=2.0, model_name="dressed", has_truth=False)
    result = score([samples, dressed], tmp_path, bootstrap_samples=50, quiet=True)
    models = list(dict.fromkeys(row.model for row in result.rows))
    assert models == ["demo", "dressed", "interpolation", "regression"]
    assert result.row("dressed", "crps_ratio", "t2m").value == pytest.approx(2.0, abs=0.15)
    assert result.row("dressed", "crps_fair", "t2m").n_members == 3


def test_equal_names_are_told_apart(samples, tmp_path):
    other = write_samples(tmp_path / "other.nc")
    result = score([samples, other], tmp_path, bootstrap_samples=10, quiet=True)
    assert {row.model for row in result.rows} >= {"demo (samples)", "demo (other)"}
    twice = score([samples, samples], tmp_path, bootstrap_samples=10, quiet=True)
    assert [message for _, message in twice.failures] == [f"each file must be given once: {samples} is given twice"]


def test_scoring_is_repeatable_and_the_seed_decides(samples, tmp_path):
    first, second, third = (
        score([samples], tmp_path / str(i), seed=seed, bootstrap_samples=50, quiet=True).rows
        for i, seed in enumerate((0, 0, 1))
    )
    assert str(first) == str(second) != str(third)


def test_the_first_members_alone(samples, tmp_path):
    result = score([samples], tmp_path / "two.nc", max_members=2, bootstrap_samples=10, quiet=True)
    assert result.row("demo", "crps_fair", "t2m").n_members == 2
    assert result.scores_path == tmp_path / "two.nc"
    assert result.summary_path == tmp_path / "two_summary.csv"
    with pytest.raises(InputError, match="1 to 4"):
        score([samples], tmp_path, max_members=5, quiet=True)


def test_one_member_is_scored_by_its_absolute_error(tmp_path):
    path = write_samples(tmp_path / "one.nc", members=1)
    result = score([path], tmp_path, bootstrap_samples=10, quiet=True)
    assert result.row("demo", "crps", "t2m").value == result.row("demo", "mae", "t2m").value
    assert np.isnan(result.row("demo", "crps_fair", "t2m").value)


def test_missing_truth_points_are_skipped_and_counted(tmp_path):
    truth = truths()
    truth[2, 0, :4] = np.nan
    path = write_samples(tmp_path / "gaps.nc", truth=np.nan_to_num(truth, nan=280.0), has_regression=False)
    with netCDF4.Dataset(path, "a") as dataset:
        dataset["truth"]["t2m"][2] = truth[2, 0]
    result = score([path], tmp_path, bootstrap_samples=10, quiet=True)
    assert result.row("demo", "missing_points", "t2m").value == 64.0
    assert np.isfinite(result.row("demo", "crps_fair", "t2m").value)


def test_corrdiff_files_are_scored(samples, tmp_path):
    """The same numbers without provenance, coordinates and regression, with times in reverse."""
    path = tmp_path / "corrdiff.nc"
    with netCDF4.Dataset(samples) as source, netCDF4.Dataset(path, "w") as target:
        for name, size in (("time", None), ("ensemble", None), ("y", 16), ("x", 16)):
            target.createDimension(name, size)
        time = target.createVariable("time", "f8", ("time",))
        time.units = source["time"].units
        time[:] = source["time"][::-1]
        for name in ("truth", "prediction"):
            variable = target.createGroup(name).createVariable("t2m", "f4", source[name]["t2m"].dimensions)
            variable[:] = source[name]["t2m"][..., ::-1, :, :]
    ours = score([samples], tmp_path / "ours", bootstrap_samples=10, quiet=True)
    theirs = score([path], tmp_path / "theirs", bootstrap_samples=10, quiet=True)
    for metric in ("rmse", "crps", "std_dev", "mae", "crps_fair"):
        expected = ours.row("demo", metric, "t2m").value
        assert theirs.row("corrdiff", metric, "t2m").value == pytest.approx(expected, rel=1e-12)


def test_files_that_do_not_belong_together_are_refused(samples, tmp_path):
    def refused(message, **changes):
        other = write_samples(tmp_path / "other.nc", model_name="other", **changes)
        result = score([samples, other], tmp_path / "scores", bootstrap_samples=10, quiet=True)
        ((path, told),) = result.failures
        assert path == other
        assert re.search(message, told)
        assert {row.model for row in result.rows if row.metric != "failed"} == {"demo", "interpolation", "regression"}
        with result.summary_path.open() as stream:
            (line,) = [line for line in csv.DictReader(stream) if line["metric"] == "failed"]
        assert (line["model"], line["estimator"]) == ("other.nc", told)

    refused("4 of 8 are missing", times=TIMES[:4])
    refused(r"one truth: 't2m' of other\.nc", truth=truths(seed=1))
    with pytest.raises(InputError, match="at least one file"):
        score([], tmp_path)
    with pytest.raises(InputError, match=r"needs truth: blind\.nc"):
        score([write_samples(tmp_path / "blind.nc", has_truth=False)], tmp_path)
    assert not (tmp_path / "scores.nc").exists()


def test_absent_rows_are_named(result):
    with pytest.raises(InputError, match=r"no score 'crpss'.*'demo'.*'crps_fair'"):
        result.row("demo", "crpss", "t2m")


def test_the_table_is_printed(samples, tmp_path, capsys):
    result = score([samples], tmp_path, bootstrap_samples=10)
    assert result.table in capsys.readouterr().out


def test_scores_never_replace_what_they_score(tmp_path):
    path = write_samples(tmp_path / "s.nc")
    before = path.read_bytes()
    with pytest.raises(InputError, match="must not replace what they score"):
        score([path], path, quiet=True)
    assert path.read_bytes() == before


def two_regions(folder, **options):
    for number in range(2):
        write_samples(folder / f"{options.get('model_name', 'demo')}_{number}.nc", truth=truths(number), **options)
    return str(folder / f"{options.get('model_name', 'demo')}_*.nc")


def test_regions_are_scored_together(tmp_path):
    pattern = two_regions(tmp_path)
    together = score([pattern], tmp_path / "both", quiet=True)
    apart = [score([tmp_path / f"demo_{n}.nc"], tmp_path / f"{n}", quiet=True) for n in range(2)]
    for metric in ("mae", "crps_fair", "bias"):
        values = [result.row("demo", metric, "t2m").value for result in apart]
        assert together.row("demo", metric, "t2m").value == pytest.approx(np.mean(values), rel=1e-12)
    assert together.row("demo", "mae", "t2m").n_times == 16
    scores = xr.open_dataset(together.scores_path)
    assert scores.attrs["independent_blocks"] == 8
    assert scores["region"].values.tolist() == [0] * 8 + [1] * 8


def test_models_are_compared_region_by_region(tmp_path):
    patterns = [two_regions(tmp_path), two_regions(tmp_path, model_name="other", noise=2.0)]
    result = score(patterns, tmp_path / "scores", quiet=True)
    assert result.row("other", "crps_ratio", "t2m").value > 1.5


def test_regions_that_do_not_belong_together_are_refused(tmp_path):
    pattern = two_regions(tmp_path)
    alone = write_samples(tmp_path / "single.nc", model_name="single")
    result = score([pattern, alone], tmp_path / "scores", bootstrap_samples=10, quiet=True)
    assert result.failures == (
        (alone, "every model must have the same regions: got 2 with demo_0.nc and 1 with single.nc"),
    )
    assert result.row("demo", "mae", "t2m").n_times == 16
    write_samples(tmp_path / "demo_1.nc", members=5, truth=truths(1))
    result = score([pattern], tmp_path / "scores", bootstrap_samples=10, quiet=True)
    assert "must have the 4 members of demo_0.nc: demo_1.nc has 5" in result.failures[0][1]
    assert result.row("demo", "mae", "t2m").n_times == 8
    with pytest.raises(InputError, match="no file matches"):
        score([tmp_path / "none_*.nc"], tmp_path / "scores", quiet=True)
