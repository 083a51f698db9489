# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import netCDF4
import numpy as np
import pytest
import torch
from ensemble_files import make_fields, make_spec, write_file

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.io.writer import EnsembleWriter

DATED = {"history", "date_created"}


def contents(group):
    """Give data and attributes of a file, dates and history excepted."""
    found = {("attributes", name): group.getncattr(name) for name in group.ncattrs() if name not in DATED}
    for name, variable in group.variables.items():
        variable.set_auto_mask(False)
        found[name] = (variable.dtype, variable.dimensions, np.asarray(variable[...]).tolist())
        found |= {(name, key): np.asarray(variable.getncattr(key)).tolist() for key in variable.ncattrs()}
    for name, child in group.groups.items():
        found |= {(name, key): value for key, value in contents(child).items()}
    return found


def test_what_is_written_is_read(tmp_path):
    spec = make_spec()
    with EnsembleFile(write_file(tmp_path / "samples.nc", spec)) as file:
        for index in range(3):
            fields = make_fields(index, spec)
            for c, name in enumerate(file.variables):
                np.testing.assert_array_equal(file.prediction(name, index), fields["prediction"][:, c])
                np.testing.assert_array_equal(file.truth(name, index), fields["truth"][c])
                np.testing.assert_array_equal(file.regression(name, index), fields["regression"][c])
            np.testing.assert_array_equal(file.input("z500", index), fields["input"][2])
            np.testing.assert_array_equal(file.input_native("z500", index), fields["input_native"][2])


def test_two_runs_differ_in_dates_only(tmp_path):
    paths = [write_file(tmp_path / name, make_spec()) for name in ("a.nc", "b.nc")]
    with netCDF4.Dataset(paths[0]) as first, netCDF4.Dataset(paths[1]) as second:
        assert str(contents(first)) == str(contents(second))


def test_members_may_come_in_slices_and_as_tensors(tmp_path):
    spec = make_spec()
    whole = write_file(tmp_path / "whole.nc", spec)
    with EnsembleWriter(tmp_path / "parts.nc", spec) as writer:
        for index in (2, 0, 1):
            fields = {name: torch.from_numpy(value) for name, value in make_fields(index, spec).items()}
            prediction = fields.pop("prediction")
            writer.write(index, prediction[2:], members=slice(2, 3), **fields)
            writer.write(index, prediction[:2], members=slice(0, 2))
    with netCDF4.Dataset(whole) as first, netCDF4.Dataset(tmp_path / "parts.nc") as second:
        assert str(contents(first)) == str(contents(second))


def test_bit_rounding_stays_within_its_bound(tmp_path):
    spec = make_spec()
    path = write_file(tmp_path / "rounded.nc", spec, significant_bits=10)
    exact = make_fields(0, spec)
    with EnsembleFile(path) as file:
        relative = np.abs(file.prediction("t2m", 0) / exact["prediction"][:, 0] - 1).max()
        np.testing.assert_array_equal(file.truth("t2m", 0), exact["truth"][0])
    assert 0 < relative <= 2.0**-11


def test_an_exception_leaves_no_file(tmp_path):
    def interrupted():
        with EnsembleWriter(tmp_path / "samples.nc", make_spec()) as writer:
            writer.write(0, **make_fields(0, make_spec()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_keeps_the_old_file(tmp_path):
    path = write_file(tmp_path / "samples.nc", make_spec())
    before = path.read_bytes()
    with pytest.raises(InputError, match="6 of 9 are missing"), EnsembleWriter(path, make_spec()) as writer:
        writer.write(1, **make_fields(1, make_spec()))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("group", ["input", "truth", "regression"])
def test_a_missing_field_is_found_on_closing(tmp_path, group):
    spec = make_spec()

    def write_all_but_one():
        with EnsembleWriter(tmp_path / "samples.nc", spec) as writer:
            for index in range(3):
                fields = make_fields(index, spec)
                if index == 1:
                    del fields[group]
                writer.write(index, **fields)

    with pytest.raises(InputError, match=f"{group} must be written for every time: time index 1"):
        write_all_but_one()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def writer(tmp_path):
    opened = EnsembleWriter(tmp_path / "samples.nc", make_spec())
    with opened:
        yield opened
        for index in range(3):
            opened.write(index, **make_fields(index, make_spec()))


def test_wrong_shapes_are_refused(writer):
    fields = make_fields(0, make_spec())
    with pytest.raises(InputError, match=r"prediction must have shape \(3, 2, 8, 12\): got \(2, 2, 8, 12\)"):
        writer.write(0, fields["prediction"][:2])
    with pytest.raises(InputError, match=r"truth must have shape \(2, 8, 12\)"):
        writer.write(0, fields["prediction"], truth=fields["truth"][:1])
    with pytest.raises(InputError, match="time_index must be 0 to 2: got 3"):
        writer.write(3, **fields)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_non_finite_predictions_are_refused_by_name(writer, value):
    prediction = make_fields(1, make_spec())["prediction"].astype(np.float64)
    prediction[2, 1, 3, 4] = value
    with pytest.raises(InputError, match=r"'u10m' at time index 1 \(2020-01-01T06.*member 2 \(seed 13\)"):
        writer.write(1, prediction)


def test_truth_may_have_missing_points(tmp_path):
    spec = make_spec()
    with EnsembleWriter(tmp_path / "samples.nc", spec) as writer:
        for index in range(3):
            fields = make_fields(index, spec)
            fields["truth"][0, 0, 0] = np.nan
            writer.write(index, **fields)
    with EnsembleFile(tmp_path / "samples.nc") as file:
        assert np.isnan(file.truth("t2m", 0)).sum() == 1


def test_undeclared_fields_are_refused(tmp_path):
    spec = make_spec(has_regression=False)
    fields = make_fields(0, make_spec())
    with pytest.raises(InputError, match="regression was given"):
        with EnsembleWriter(tmp_path / "samples.nc", spec) as writer:
            writer.write(0, **fields)


def test_unusable_targets_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "samples.nc", tmp_path):
        with pytest.raises(InputError), EnsembleWriter(target, make_spec()):
            pass
    with pytest.raises(InputError, match="1 to 23"):
        EnsembleWriter(tmp_path / "samples.nc", make_spec(), significant_bits=0)
    with pytest.raises(RuntimeError, match="with block"):
        EnsembleWriter(tmp_path / "samples.nc", make_spec()).write(0, np.zeros(1))


def test_a_full_disk_is_reported(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("physicsnemo_fs.io.netcdf_file.NetCDFFile.put", full)
    with pytest.raises(InputError, match="disk full"):
        with EnsembleWriter(tmp_path / "samples.nc", make_spec()) as writer:
            writer.write(0, np.zeros((3, 2, 8, 12)))
