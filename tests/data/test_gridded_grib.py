# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""GRIB files: several kinds of levels in one file, fields across Greenwich, nothing written beside the data."""

import numpy as np
import pytest

from physicsnemo_fs.data.fields.gridded import open_fields
from physicsnemo_fs.errors import InputError

eccodes = pytest.importorskip("eccodes")
pytest.importorskip("cfgrib")

DRAWS = np.random.default_rng(0)
TEMPERATURE = DRAWS.normal(280, 1, (3, 3, 4))
GEOPOTENTIAL = {level: DRAWS.normal(5e4, 10, (3, 3, 4)) for level in (500, 850)}


def message(name, hour, values, level=None, west=4.0):
    """Give one field from north to south, from ``west`` eastward in steps of one degree."""
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_{'sfc' if level is None else 'pl'}_grib2")
    rows, columns = values.shape
    keys = {
        "Nj": rows,
        "Ni": columns,
        "latitudeOfFirstGridPointInDegrees": 52.0,
        "latitudeOfLastGridPointInDegrees": 53.0 - rows,
        "longitudeOfFirstGridPointInDegrees": west,
        "longitudeOfLastGridPointInDegrees": (west + columns - 1) % 360,
        "iDirectionIncrementInDegrees": 1.0,
        "jDirectionIncrementInDegrees": 1.0,
        "dataDate": 20200101,
        "dataTime": 100 * hour,
        "shortName": name,
        "bitsPerValue": 24,
    }
    if level is not None:
        keys = {"level": level, **keys}
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set_values(handle, values.ravel())
    encoded = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return encoded


def everything(west=4.0):
    surface = [message("2t", hour, TEMPERATURE[hour], west=west) for hour in range(3)]
    levels = [message("z", h, z[h], level, west) for level, z in GEOPOTENTIAL.items() for h in range(3)]
    return b"".join(surface + levels)


@pytest.mark.parametrize("west", [4.0, 358.0])
def test_surface_and_pressure_levels_are_read_from_one_file(tmp_path, west):
    path = tmp_path / "a.grib2"
    path.write_bytes(everything(west))
    fields = open_fields(path, ["t2m", "z@850"])
    assert [(c.name, c.unit) for c in fields.channels] == [("t2m", "K"), ("z@850", "m**2 s**-2")]
    values = fields.read([2, 0])
    assert np.allclose(values[:, 0], TEMPERATURE[[2, 0], ::-1], atol=1e-4)
    assert np.allclose(values[:, 1], GEOPOTENTIAL[850][[2, 0], ::-1], atol=1e-2)
    assert np.allclose(fields.grid.x, (west + 180) % 360 - 180 + np.arange(4))
    assert np.allclose(fields.grid.y, [50, 51, 52])
    assert [p.name for p in tmp_path.iterdir()] == ["a.grib2"]


def test_files_of_one_time_each(tmp_path):
    for hour in range(3):
        (tmp_path / f"{hour}.grb2").write_bytes(message("2t", hour, TEMPERATURE[hour]))
    fields = open_fields(tmp_path, ["t2m"], region=[50.5, 52.5, 4.5, 6.5])
    assert np.allclose(fields.read([1])[0, 0], TEMPERATURE[1, 1::-1, 1:3], atol=1e-4)
    assert fields.lead_hours is None


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "a.grib2"
    path.write_bytes(everything()[:-20])
    with pytest.raises(InputError, match=r"a\.grib2 must be a whole cfgrib file"):
        open_fields(path, ["t2m"])
