# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import netCDF4
import numpy as np
import pytest
from ensemble_files import (
    GEOGRAPHIC,
    HEIGHT,
    MEMBERS,
    PLANE,
    TIMES,
    WIDTH,
    make_spec,
    write_corrdiff_file,
    write_file,
)

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.layout import ENSEMBLE_ALIASES, LAYOUT_ATTRIBUTE
from physicsnemo_fs.io.reader import EnsembleFile


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_file(tmp_path_factory.mktemp("reader") / "samples.nc", make_spec())


def test_the_header_is_the_spec(path):
    with EnsembleFile(path) as file:
        assert file.variables == ("t2m", "u10m")
        assert file.input_variables == ("t2m", "z500")
        np.testing.assert_array_equal(file.times, TIMES)
        assert file.blocks.tolist() == [4, 4, 9]
        assert file.members.tolist() == [0, 1, 2]
        assert file.seeds.tolist() == [11, 12, 13]
        assert file.grid == PLANE
        assert file.provenance["sampler"] == {"solver": "heun", "steps": 12}
        assert file.model_name == "demo"
        assert (file.has_truth, file.has_regression) == (True, True)
        assert file.channel("t2m").unit == "K"


def test_geographic_grid_survives(tmp_path):
    with EnsembleFile(write_file(tmp_path / "geographic.nc", make_spec(grid=GEOGRAPHIC))) as file:
        assert file.grid == GEOGRAPHIC
        np.testing.assert_array_equal(file.grid.longitude, GEOGRAPHIC.longitude)


@pytest.mark.parametrize("name", ENSEMBLE_ALIASES)
def test_corrdiff_files_are_read(tmp_path, name):
    with EnsembleFile(write_corrdiff_file(tmp_path / "corrdiff.nc", name)) as file:
        assert file.layout_version is None
        assert file.model_name == "corrdiff"
        np.testing.assert_array_equal(file.times, TIMES)
        assert file.blocks[0] == file.blocks[1] != file.blocks[2]
        assert file.prediction("t2m", 1).shape == (MEMBERS, HEIGHT, WIDTH)
        assert file.truth("t2m", 1).dtype == np.float32
        assert not file.has_regression
        assert file.seeds is None


def test_the_extent_of_a_geographic_grid_is_great_circle_distance(tmp_path):
    """7 degrees of latitude over 7 steps; one step more is the extent of 8 cells."""
    with EnsembleFile(write_corrdiff_file(tmp_path / "corrdiff.nc")) as file:
        height, width = file.grid.extent
        assert file.grid.unit == "km"
        assert height == pytest.approx(8 * np.radians(1.0) * 6371.0, rel=1e-4)
        mean_cosine = np.cos(np.radians(np.linspace(40.0, 47.0, HEIGHT))).mean()
        assert width == pytest.approx(12 * np.radians(1.0) * 6371.0 * mean_cosine, rel=1e-4)


def test_any_order_of_dimensions(tmp_path):
    path = tmp_path / "transposed.nc"
    values = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    with netCDF4.Dataset(path, "w") as dataset:
        for name, size in (("time", 2), ("member", 3), ("y", 4), ("x", 5)):
            dataset.createDimension(name, size)
        time = dataset.createVariable("time", "i4", ("time",))
        time.units = "days since 2000-01-01"
        time[:] = [0, 1]
        group = dataset.createGroup("prediction")
        group.createVariable("t2m", "f4", ("time", "member", "y", "x"))[:] = values
        group.createVariable("alone", "f4", ("time", "y", "x"))[:] = values[:, 0]
    with EnsembleFile(path) as file:
        np.testing.assert_array_equal(file.prediction("t2m", 1), values[1])
        np.testing.assert_array_equal(file.prediction("alone", 1), values[1, :1])
        assert file.grid.extent == (4.0, 5.0)


def test_missing_things_are_named_with_what_is_there(path):
    with EnsembleFile(path) as file:
        with pytest.raises(InputError, match=r"variable 'z500'.*\['t2m', 'u10m'\]"):
            file.truth("z500", 0)
        with pytest.raises(InputError, match=r"group 'analysis'.*'prediction'"):
            file.fields("analysis")
        with pytest.raises(InputError, match="0 to 2: got 3"):
            file.truth("t2m", 3)


def test_files_that_are_not_ensembles_are_refused(path, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        EnsembleFile(tmp_path / "absent.nc")
    with pytest.raises(InputError, match="no such file"):
        EnsembleFile(tmp_path)
    text = tmp_path / "text.nc"
    text.write_text("time,value\n")
    with pytest.raises(InputError, match="not a readable NetCDF-4 file"):
        EnsembleFile(text)
    with netCDF4.Dataset(tmp_path / "other.nc", "w") as dataset:
        dataset.createGroup("forecast")
    with pytest.raises(InputError, match=r"group 'prediction'.*\['forecast'\]"):
        EnsembleFile(tmp_path / "other.nc")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(path, tmp_path, share):
    content = path.read_bytes()
    short = tmp_path / "short.nc"
    short.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="truncated"):
        EnsembleFile(short)


def test_newer_layouts_and_other_calendars_are_refused(tmp_path):
    newer = write_file(tmp_path / "newer.nc", make_spec())
    with netCDF4.Dataset(newer, "a") as dataset:
        dataset.setncattr(LAYOUT_ATTRIBUTE, "2.0")
    with pytest.raises(InputError, match=r"layout 2\.0.*update"):
        EnsembleFile(newer)
    foreign = write_corrdiff_file(tmp_path / "noleap.nc")
    with netCDF4.Dataset(foreign, "a") as dataset:
        dataset["time"].calendar = "360_day"
    with pytest.raises(InputError, match="360_day"):
        EnsembleFile(foreign)
