# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Ensembles as Zarr folders: the same content as the NetCDF file, whole or not at all."""

import netCDF4
import numpy as np
import pytest
import xarray as xr
from ensemble_files import GEOGRAPHIC, LATITUDE, make_fields, make_spec, write_file

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import COMPLETE, LAYOUT_ATTRIBUTE
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.io.writer import EnsembleWriter
from physicsnemo_fs.io.zarr_folder import define


@pytest.fixture
def pair(tmp_path):
    spec = make_spec(grid=GEOGRAPHIC)
    return write_file(tmp_path / "s.nc", spec), write_file(tmp_path / "s.zarr", spec)


def test_the_reader_finds_the_same_in_both(pair):
    with EnsembleFile(pair[0]) as one, EnsembleFile(pair[1]) as other:
        assert one.variables == other.variables
        assert one.input_variables == other.input_variables
        assert one.grid == other.grid
        np.testing.assert_array_equal(other.grid.latitude, LATITUDE)
        np.testing.assert_array_equal(one.times, other.times)
        assert one.blocks.tolist() == other.blocks.tolist()
        assert one.seeds.tolist() == other.seeds.tolist()
        assert one.members.tolist() == other.members.tolist()
        assert one.provenance == other.provenance
        assert set(one.groups) == set(other.groups)
        assert one.channel("t2m") == other.channel("t2m")
        for read in ("prediction", "truth", "regression", "input", "input_native"):
            np.testing.assert_array_equal(getattr(one, read)("t2m", 1), getattr(other, read)("t2m", 1))


def test_xarray_reads_the_folder(pair):
    root, group = xr.open_zarr(pair[1]), xr.open_zarr(pair[1], group="prediction")
    assert root.time.values[1] == np.datetime64("2020-01-01T06")
    assert group.t2m.dims == ("ensemble", "time", "y", "x")
    assert group.t2m.attrs["units"] == "K"
    np.testing.assert_array_equal(group.t2m[:, 0], make_fields(0, make_spec())["prediction"][:, 0])


def test_only_a_complete_result_is_read(pair, tmp_path):
    with netCDF4.Dataset(pair[0], "a") as dataset:
        dataset["provenance"].delncattr(COMPLETE)
    define(tmp_path / "begun.zarr", make_spec())
    for path in (pair[0], tmp_path / "begun.zarr"):
        with pytest.raises(InputError, match=r"\.\w+ must be complete: it is not"):
            EnsembleFile(path)
    with netCDF4.Dataset(pair[0], "a") as dataset:
        dataset.setncattr(LAYOUT_ATTRIBUTE, "1.0")
    with EnsembleFile(pair[0]) as older:
        assert older.layout_version == "1.0"


def test_a_lost_field_is_not_missing_values(pair):
    (pair[1] / "truth" / "t2m" / "c" / "1" / "0" / "0").unlink()
    with EnsembleFile(pair[1]) as file:
        file.truth("t2m", 0)
        with pytest.raises(InputError, match=r"truth/t2m of s\.zarr is not readable \(files of it are lost\)"):
            file.truth("t2m", 1)


def test_an_interrupted_writer_leaves_the_old_folder(tmp_path):
    path = write_file(tmp_path / "s.zarr", make_spec())

    def interrupted():
        with EnsembleWriter(path, make_spec()) as writer:
            writer.write(0, **make_fields(0, make_spec()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]
    with EnsembleFile(path) as file:
        assert file.prediction("t2m", 2).shape == (3, 8, 12)
    write_file(path, make_spec(member_seeds=(1, 2, 3)))
    with EnsembleFile(path) as file:
        assert file.seeds.tolist() == [1, 2, 3]
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match="not a readable Zarr 3 folder"):
        EnsembleFile(tmp_path / "empty.zarr")
    (tmp_path / "file.zarr").write_text("")
    with pytest.raises(InputError, match="must not be a file"):
        write_file(tmp_path / "file.zarr", make_spec())
    with pytest.raises(InputError, match=r"must end in \.nc or \.zarr"):
        EnsembleWriter(tmp_path / "s.txt", make_spec())
