# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The valid time of a forecast is never mistaken for its start."""

import numpy as np
import pytest
import xarray as xr
from gridded_files import hours, store

from physicsnemo_fs.data.fields.gridded import open_fields
from physicsnemo_fs.errors import InputError

STARTS = hours(3, step=24)
STEPS = np.array([0, 6, 12], "timedelta64[h]").astype("timedelta64[ns]")
VALUES = np.random.default_rng(0).normal(size=(3, 3, 2, 2)).astype("f4")
PLACE = {"latitude": [0.0, 1.0], "longitude": [0.0, 1.0]}


def forecast(start="time", lead="step", leads=STEPS, **coordinates):
    dims = (start, lead, "latitude", "longitude")
    return xr.Dataset({"t2m": (dims, VALUES)}, {start: STARTS, lead: leads, **PLACE, **coordinates})


def valid(start="time", lead="step"):
    return ((start, lead), STARTS[:, None] + STEPS)


@pytest.mark.parametrize(
    ("dataset", "lead"),
    [
        (forecast(valid_time=valid()), "step"),
        (forecast(), "step"),
        (forecast(leads=[0, 6, 12]), "step"),
        (forecast("init_time", "lead_time"), "lead_time"),
        (forecast("reftime", "lead_time", time=valid("reftime", "lead_time")), "lead_time"),
        (forecast("time", "prediction_timedelta"), "prediction_timedelta"),
        (forecast().assign(valid_time=valid()), "step"),
    ],
    ids=["valid_time", "time_step", "step_in_hours", "init_time", "reftime", "weatherbench", "no_coordinate"],
)
def test_the_valid_time_is_start_and_lead(tmp_path, dataset, lead):
    dataset[lead].attrs["units"] = "hours"
    if dataset[lead].dtype.kind == "m":
        del dataset[lead].attrs["units"]
    path = store(dataset, tmp_path / "v3.zarr")
    fields = open_fields(path, ["t2m"], select={lead: "6h"})
    assert np.array_equal(fields.times, STARTS + STEPS[1])
    assert fields.lead_hours.tolist() == [6, 6, 6]
    assert np.array_equal(fields.read([2])[0, 0], VALUES[2, 1])
    with pytest.raises(InputError, match=rf"select=\{{{lead}: 6h\}}"):
        open_fields(path, ["t2m"])


def test_the_steps_of_one_forecast_are_its_times(tmp_path):
    path = store(forecast().isel(time=[1]), tmp_path / "a.nc")
    fields = open_fields(path, ["t2m"])
    assert np.array_equal(fields.times, STARTS[1] + STEPS)
    assert fields.lead_hours.tolist() == [0, 6, 12]
    assert np.array_equal(fields.read([2])[0, 0], VALUES[1, 2])


@pytest.mark.parametrize("names", [{}, {"standard_name": "time"}, {"standard_name": "forecast_reference_time"}])
def test_a_time_beside_one_lead_time_is_told_by_the_file_only(tmp_path, names):
    dataset = forecast().isel(step=1)
    dataset["time"].attrs.update(names)
    path = store(dataset, tmp_path / "a.nc")
    if not names:
        with pytest.raises(InputError, match=r"'time' of 't2m' may be the start .* 6 h later; set its attribute"):
            open_fields(path, ["t2m"])
        return
    ahead = STEPS[1] if "reference" in names["standard_name"] else STEPS[0]
    assert np.array_equal(open_fields(path, ["t2m"]).times, STARTS + ahead)


def test_valid_times_beside_their_start_stay(tmp_path):
    dataset = forecast().isel(time=1).drop_vars("time").rename(step="time")
    lead = ("time", [0, 6, 12], {"units": "hours"})
    dataset = dataset.assign_coords(time=STARTS[1] + STEPS, forecast_period=lead, forecast_reference_time=STARTS[1])
    fields = open_fields(store(dataset, tmp_path / "a.nc"), ["t2m"])
    assert np.array_equal(fields.times, STARTS[1] + STEPS)
    assert fields.lead_hours.tolist() == [0, 6, 12]


def test_starts_without_lead_times_are_refused(tmp_path):
    dataset = forecast("init_time").isel(step=0, drop=True)
    with pytest.raises(InputError, match="'init_time', but neither lead nor valid times"):
        open_fields(store(dataset, tmp_path / "a.nc"), ["t2m"])
    static = open_fields(store(dataset.isel(init_time=0), tmp_path / "b.nc"), ["t2m"])
    assert len(static.times) == 0


def test_times_without_a_unit_are_told(tmp_path):
    dataset = forecast().isel(step=0, drop=True).assign_coords(time=[0, 1, 2])
    with pytest.raises(InputError, match=r"numbers without a beginning.*'hours since 2000-01-01'"):
        open_fields(store(dataset, tmp_path / "a.nc"), ["t2m"])
