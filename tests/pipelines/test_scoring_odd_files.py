# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Files as forecasters make them by hand: nothing in them may be scored as what it is not."""

import numpy as np
import pytest
import xarray as xr

from physicsnemo_fs.config.scores import ScoreConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.foreign import open_ensemble
from physicsnemo_fs.metrics.crps import crps_fair
from physicsnemo_fs.pipelines.compare import compare
from physicsnemo_fs.pipelines.merge import merge
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.score_setting import Request
from physicsnemo_fs.pipelines.scoring import run_score

LATITUDE, LONGITUDE = np.linspace(40.0, 47.0, 10), np.linspace(172.0, 186.0, 12)
TIMES = np.arange("2021-01-01", "2021-01-05", dtype="datetime64[D]").astype("datetime64[ns]")
RANDOM = np.random.default_rng(7)
TRUTH = RANDOM.gamma(0.5, 6.0, (4, 10, 12)).astype(np.float32)
MEMBERS = RANDOM.gamma(0.5, 6.0, (5, 4, 10, 12)).astype(np.float32)
OPTIONS = {"bootstrap_samples": 5, "quiet": True}


def fields(values, dims, times=TIMES, lat=LATITUDE, lon=LONGITUDE, unit="mm"):
    coordinates = {"time": times, "lat": lat, "lon": lon}
    return xr.Dataset({"tp": (dims, values, {"units": unit})}, {k: v for k, v in coordinates.items() if k in dims})


def on_points(values, dims, times=TIMES, lat=LATITUDE, lon=LONGITUDE, unit="mm"):
    """Fields over y and x with latitudes and longitudes of their own, as groups have them."""
    positions = np.meshgrid(lat, lon, indexing="ij")
    names = zip(("lat", "lon"), positions, strict=True)
    return xr.Dataset(
        {"tp": (dims, values, {"units": unit})}, {"time": times, **{name: (("y", "x"), p) for name, p in names}}
    )


def groups(path, **datasets):
    tree = xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in datasets.items()})
    tree.to_zarr(path, consolidated=False) if path.suffix == ".zarr" else tree.to_netcdf(path)
    return path


def ensemble(members=MEMBERS, **changes):
    return on_points(members, ("ensemble", "time", "y", "x"), **changes)


def truth(values=TRUTH, **changes):
    return on_points(values, ("time", "y", "x"), **changes)


def fair(members=MEMBERS, observed=TRUTH):
    return float(crps_fair(members.astype(np.float64), observed.astype(np.float64)).mean())


def test_some_of_the_members_have_a_report_too(tmp_path):
    path = groups(tmp_path / "run.nc", prediction=ensemble(), truth=truth())
    config = ScoreConfig(path=str(path), output=str(tmp_path / "s"), max_members=3, bootstrap_samples=5)
    assert run_score(config) == 0
    assert "3 members" in (tmp_path / "s" / "report.html").read_text()


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_groups_are_joined_by_the_times_that_they_have(tmp_path, kind):
    later = np.concatenate([TIMES[::-1], TIMES[-1:] + np.timedelta64(1, "D")])
    values = np.concatenate([TRUTH[::-1], TRUTH[:1]])
    path = groups(tmp_path / f"run.{kind}", prediction=ensemble(), truth=truth(values, times=later))
    result = score([path], tmp_path / "s", **OPTIONS)
    assert result.row("run", "crps_fair", "tp").value == pytest.approx(fair(), rel=1e-6)


@pytest.mark.parametrize("kind", ["nc", "zarr"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": TIMES + np.timedelta64(1, "D")}, "'truth' of run.* must hold 2021-01-01.*: it has 4 other times"),
        ({"times": np.repeat(TIMES[:2], 2)}, "must hold each time once: 2021-01-01.* is there twice"),
        ({"lat": LATITUDE[::-1]}, "must have one grid: their latitudes or longitudes differ"),
    ],
)
def test_truth_of_other_times_or_places_is_refused(tmp_path, kind, changes, message):
    path = groups(tmp_path / f"run.{kind}", prediction=ensemble(), truth=truth(**changes))
    with pytest.raises(InputError, match=message):
        score([path], tmp_path / "s", **OPTIONS)


@pytest.mark.parametrize("order", ["lat lon number time", "lon number lat time", "time lon lat number"])
def test_dimensions_may_come_in_any_order(tmp_path, order):
    members = fields(MEMBERS, ("number", "time", "lat", "lon")).transpose(*order.split())
    members.to_netcdf(tmp_path / "flat.nc")
    fields(TRUTH, ("time", "lat", "lon")).transpose("lon", "time", "lat").to_netcdf(tmp_path / "truth.nc")
    result = score([tmp_path / "flat.nc"], tmp_path / "s", truth=tmp_path / "truth.nc", **OPTIONS)
    assert result.row("flat", "crps_fair", "tp").value == pytest.approx(fair(), rel=1e-6)
    prediction = ensemble().transpose("y", "ensemble", "x", "time")
    path = groups(tmp_path / "grouped.nc", prediction=prediction, truth=truth().transpose("x", "time", "y"))
    result = score([path], tmp_path / "g", **OPTIONS)
    assert result.row("grouped", "crps_fair", "tp").value == pytest.approx(fair(), rel=1e-6)


def test_a_field_in_hours_is_no_time(tmp_path):
    fields(MEMBERS, ("number", "time", "lat", "lon"), unit="hours").to_netcdf(tmp_path / "sun.nc")
    fields(TRUTH, ("time", "lat", "lon"), unit="hours").to_netcdf(tmp_path / "truth.nc")
    result = score([tmp_path / "sun.nc"], tmp_path / "s", truth=tmp_path / "truth.nc", **OPTIONS)
    assert result.row("sun", "crps_fair", "tp").value == pytest.approx(fair(), rel=1e-6)


def test_latitudes_that_no_attribute_names_are_found(tmp_path):
    flat = ensemble().rename(ensemble="sample", y="ilat", x="ilon").drop_attrs()
    for name in ("lat", "lon"):
        flat[name].encoding["coordinates"] = None
    flat.reset_coords(["lat", "lon"]).to_netcdf(tmp_path / "run.nc")
    with open_ensemble(tmp_path / "run.nc") as source:
        assert source.variables == ("tp",)
        np.testing.assert_array_equal(source.grid.latitude[:, 0], LATITUDE)


def test_a_truth_file_that_has_a_time_twice_is_refused(tmp_path):
    fields(MEMBERS, ("number", "time", "lat", "lon")).to_netcdf(tmp_path / "run.nc")
    twice = fields(np.concatenate([9 * TRUTH[:1], TRUTH]), ("time", "lat", "lon"), np.concatenate([TIMES[:1], TIMES]))
    twice.to_netcdf(tmp_path / "truth.nc")
    with pytest.raises(InputError, match=r"truth.nc must hold each time once: 2021-01-01"):
        score([tmp_path / "run.nc"], tmp_path / "s", truth=tmp_path / "truth.nc", **OPTIONS)


def test_scores_never_replace_samples_truth_or_what_else_is_no_scores(tmp_path):
    paths = [groups(tmp_path / name, prediction=ensemble(), truth=truth()) for name in ("a.nc", "b.nc")]
    before = paths[1].read_bytes()
    with pytest.raises(InputError, match=r"would overwrite .*b.nc, which holds no scores"):
        score(paths[:1], paths[1], **OPTIONS)
    fields(MEMBERS, ("number", "time", "lat", "lon")).to_netcdf(tmp_path / "run.nc")
    fields(TRUTH, ("time", "lat", "lon")).to_netcdf(tmp_path / "truth.nc")
    with pytest.raises(InputError, match=r"would overwrite .*truth.nc"):
        score([tmp_path / "run.nc"], tmp_path / "truth.nc", truth=tmp_path / "truth.nc", **OPTIONS)
    assert paths[1].read_bytes() == before
    for _ in range(2):
        score(paths[:1], tmp_path / "scores.nc", **OPTIONS)


def test_a_further_file_must_lie_at_the_same_places(tmp_path):
    first = groups(tmp_path / "first.nc", prediction=ensemble(), truth=truth())
    turned = fields(MEMBERS[:, :, ::-1], ("number", "time", "lat", "lon"), lat=LATITUDE[::-1])
    turned.to_netcdf(tmp_path / "turned.nc")
    result = score([first, tmp_path / "turned.nc"], tmp_path / "s", **OPTIONS)
    ((path, message),) = result.failures
    assert path.name == "turned.nc"
    assert "turn its rows" in message


@pytest.mark.parametrize("changes", [{"lat": LATITUDE[::-1]}, {"unit": "m"}])
def test_an_input_that_is_no_forecast_of_the_truth_is_no_baseline(tmp_path, changes):
    path = groups(tmp_path / "run.nc", prediction=ensemble(), truth=truth(), input=truth(**changes))
    result = score([path], tmp_path / "s", **OPTIONS)
    assert {row.model for row in result.rows} == {"run"}


def test_baselines_need_not_have_all_variables_nor_the_fine_grid(tmp_path):
    both = [dataset.assign(t2m=dataset["tp"] + 280) for dataset in (ensemble(), truth())]
    coarse = truth(TRUTH[:, ::2, ::2], lat=LATITUDE[::2], lon=LONGITUDE[::2])
    path = groups(tmp_path / "run.nc", prediction=both[0], truth=both[1], input=coarse, regression=truth())
    result = score([path], tmp_path / "s", **OPTIONS)
    found = {(row.model, row.variable) for row in result.rows}
    assert found == {("run", "tp"), ("run", "t2m"), ("regression", "tp")}


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        groups(tmp_path / name / "run.nc", prediction=ensemble(), truth=truth())
    result = score([tmp_path / "a" / "run.nc", tmp_path / "b" / "run.nc"], tmp_path / "s", **OPTIONS)
    assert {row.model for row in result.rows} == {"run (a/run)", "run (b/run)"}


def test_a_file_given_twice_or_with_too_few_members_leaves_the_others(tmp_path):
    first = groups(tmp_path / "first.nc", prediction=ensemble(), truth=truth())
    few = groups(tmp_path / "few.nc", prediction=ensemble(MEMBERS[:2]), truth=truth())
    result = score([first, first, few], tmp_path / "s", max_members=4, **OPTIONS)
    assert [path.name for path, _ in result.failures] == ["first.nc", "few.nc"]
    assert result.row("first", "crps_fair", "tp").value == pytest.approx(fair(MEMBERS[:4]), rel=1e-6)


@pytest.mark.parametrize(
    ("unit", "kmax", "message"),
    [("m", None, "must have one unit: got 'mm' and 'm'"), ("mm", 2, "must have one kmax: got None and 2")],
)
def test_parts_of_other_units_or_shells_do_not_merge(tmp_path, unit, kmax, message):
    parts = []
    for name, days, own, shell in (("a", slice(0, 2), "mm", None), ("b", slice(2, 4), unit, kmax)):
        (tmp_path / name).mkdir()
        options = {"times": TIMES[days], "unit": own}
        both = {"prediction": ensemble(MEMBERS[:, days], **options), "truth": truth(TRUTH[days], **options)}
        path = groups(tmp_path / name / "run.nc", **both)
        request = Request(ranges={"tp": [0, 50]})
        parts.append(score([path], tmp_path / name, request=request, kmax=shell, **OPTIONS).scores_path)
    with pytest.raises(InputError, match=message):
        merge(parts, tmp_path / "all")


def test_areas_of_one_name_that_lie_elsewhere_are_not_compared(tmp_path):
    path = groups(tmp_path / "run.nc", prediction=ensemble(), truth=truth())
    boxes = {"north": [44, 47, 172, -174], "south": [40, 43, 172, -174]}
    scores = [
        score([path], tmp_path / name, request=Request(areas={"alps": box}), **OPTIONS).scores_path
        for name, box in boxes.items()
    ]
    with pytest.raises(InputError, match="that of 'tp' in 'alps' differs"):
        compare(scores)


def test_an_unreadable_mask_is_refused_in_one_line(tmp_path):
    path = groups(tmp_path / "run.nc", prediction=ensemble(), truth=truth())
    (tmp_path / "mask.nc").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="a mask or weights must be a field in a NetCDF file"):
        score([path], tmp_path / "s", request=Request(mask=f"{tmp_path}/mask.nc:land"), **OPTIONS)


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_levels_are_refused_by_the_name_of_their_dimensions(tmp_path, kind):
    dims = ("number", "time", "level", "lat", "lon")
    dataset = fields(np.stack([MEMBERS, MEMBERS], axis=2), dims)
    path = tmp_path / f"run.{kind}"
    dataset.to_netcdf(path) if kind == "nc" else dataset.to_zarr(path, consolidated=False)
    fields(TRUTH, ("time", "lat", "lon")).to_netcdf(tmp_path / "truth.nc")
    with pytest.raises(InputError, match=r"must have dimensions \(ensemble,\) time, y, x: it has .*'level'"):
        score([path], tmp_path / "s", truth=tmp_path / "truth.nc", **OPTIONS)


@pytest.mark.parametrize("value", [0.0, -300.0, 1e20])
def test_fields_of_one_value_are_scored(tmp_path, value):
    path = groups(tmp_path / "run.nc", prediction=ensemble(MEMBERS * 0 + value), truth=truth(TRUTH * 0 + value))
    assert score([path], tmp_path / "s", **OPTIONS).row("run", "crps_fair", "tp").value == 0
