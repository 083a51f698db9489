# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Point observations: files with the columns of NNJA-AI's surface stations, and tables of stations."""

import numpy as np
import pytest
import xarray as xr

from physicsnemo_fs.data.observation_files import read_parquet, read_table
from physicsnemo_fs.data.observations import Observed, PointTable
from physicsnemo_fs.errors import InputError

TEMPERATURE = {"t2m": Observed("TMPSQ1.TMDB", error=1.5, unit="K")}
LATITUDE = [45.42, 8.08, 47.17, 10.0, -33.0, 60.0]
LONGITUDE = [12.38, -80.95, 20.23, -83.05, 179.5, -179.5]
KELVIN = [278.25, 301.15, None, 300.15, 290.0, 255.0]


@pytest.fixture
def archive(tmp_path):
    """A hive-partitioned folder with the columns of ``conv-adpsfc-NC000001``."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    hours = np.array(["2021-01-01T00", "2021-01-01T06", "2021-01-01T12"] * 2, "datetime64[us]")
    hours[3:] += np.timedelta64(1, "D")
    table = pa.table(
        {
            "OBS_TIMESTAMP": pa.array(hours).cast(pa.timestamp("us", "UTC")),
            "LAT": LATITUDE,
            "LON": LONGITUDE,
            "YEAR": [2021] * 6,
            "SELV": [6.0, 88.0, 85.0, 4.0, 442.0, 1.0],
            "RPID": ["16101", "78795", "12860", "78767", "94000", "20000"],
            "TMPSQ1.TMDB": pa.array(KELVIN, pa.float64()),
            "TMPSQ1.ERR": [0.5] * 6,
            "OBS_DATE": ["2021-01-01"] * 3 + ["2021-01-02"] * 3,
        }
    )
    pq.write_to_dataset(table, tmp_path / "adpsfc", partition_cols=["OBS_DATE"])
    return tmp_path / "adpsfc"


def test_a_partitioned_folder_gives_one_row_a_value(archive):
    table = read_parquet(archive, TEMPERATURE)
    assert table.value.tolist() == pytest.approx([278.25, 301.15, 300.15, 290.0, 255.0])
    assert table.time[2] == np.datetime64("2021-01-02T00")
    assert (table.units, table.dropped, table.error.tolist()) == (("K",), 1, [1.5] * 5)


def test_a_single_file_is_a_table(archive):
    (first,) = (archive / "OBS_DATE=2021-01-01").glob("*.parquet")
    assert len(read_parquet(first, TEMPERATURE)) == 2


def test_errors_may_stand_in_a_column(archive):
    assert read_parquet(archive, {"t": Observed("TMPSQ1.TMDB", error="TMPSQ1.ERR")}).error.tolist() == [0.5] * 5


def test_the_period_and_the_region_choose_rows(archive):
    assert len(read_parquet(archive, TEMPERATURE, period=["2021-01-02", "2021-01-02"])) == 3
    assert read_parquet(archive, TEMPERATURE, region=[-40, 70, 170, 190]).latitude.tolist() == [-33.0, 60.0]


def test_windows_are_half_open_and_cross_the_date_line(archive):
    table = read_parquet(archive, {**TEMPERATURE, "height": Observed("SELV", unit="m")})
    window = table.window("2021-01-02T06", "2021-01-02T12")
    assert window.of("t2m").value.tolist() == [290.0]
    assert window.of("height").value.tolist() == [442.0]
    assert len(table.window("2021-01-01", "2021-01-03", region=[-40, 70, 179, -179])) == 4


def test_rows_of_all_variables_ascend_in_time(archive):
    table = read_parquet(archive, {**TEMPERATURE, "height": Observed("SELV")})
    assert (np.diff(table.time) >= np.timedelta64(0)).all()
    assert len(table) == 11


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        ({"t": Observed("TMDB")}, {}, r"column 'TMDB'.*TMPSQ1\.TMDB"),
        ({"t": Observed("RPID")}, {}, r"'t' of .*adpsfc must be numbers: got object; name another column"),
        ({}, {}, "must be asked for variables: got none"),
        (TEMPERATURE, {"names": {"latitude": "RPID"}}, "the latitudes of .*adpsfc must be numbers: got object"),
        (TEMPERATURE, {"names": {"time": "YEAR"}}, "must hold times with a beginning: got int"),
        (TEMPERATURE, {"period": ["1999", "2000"]}, "none of 0 lies"),
        (TEMPERATURE, {"region": [0, 5, 0, 1]}, "none of 6 lies"),
        (TEMPERATURE, {"region": [5, 0, 0, 1]}, "south, north, west, east"),
        (TEMPERATURE, {"names": {"time": "WHEN"}}, "the time of its observations: it has no WHEN"),
        (TEMPERATURE, {"names": {"time": "RPID"}}, "must hold times"),
        (TEMPERATURE, {"names": {"latitude": "SELV"}}, "are the columns exchanged"),
    ],
)
def test_mistakes_are_named(archive, variables, options, message):
    with pytest.raises(InputError, match=message):
        read_parquet(archive, variables, **options)


def test_missing_and_damaged_files_are_refused(archive, tmp_path):
    with pytest.raises(InputError, match="must exist"):
        read_parquet(tmp_path / "gone", TEMPERATURE)
    (part,) = (archive / "OBS_DATE=2021-01-02").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:300])
    with pytest.raises(InputError, match="download it again"):
        read_parquet(archive, TEMPERATURE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is none"):
        read_parquet(tmp_path / "empty", TEMPERATURE)


@pytest.fixture
def stations():
    times = np.array(["2021-01-01T00", "2021-01-01T06"], "datetime64[ns]")
    wind = np.array([[3.0, np.nan], [5.0, 6.0]], np.float32)
    coordinate = {"standard_name": "latitude"}
    return xr.Dataset(
        {"ff": (("station", "time"), wind, {"units": "m s-1"}), "phi": ("station", [52.0, 53.0], coordinate)},
        {"time": times, "lon": ("station", [350.0, 13.0])},
    )


def test_stations_by_time_are_a_table(stations, tmp_path):
    stations.to_netcdf(tmp_path / "stations.nc")
    table = read_table(tmp_path / "stations.nc", {"wind": Observed("ff", error=1.0)})
    assert table.value.tolist() == [3.0, 5.0, 6.0]
    assert table.longitude.tolist() == [-10.0, 13.0, 13.0]
    assert table.latitude.tolist() == [52.0, 53.0, 53.0]
    assert (table.units, table.dropped) == (("m s-1",), 1)


def test_tables_that_are_none_are_refused(stations, tmp_path):
    (tmp_path / "a.nc").write_bytes(b"no table")
    with pytest.raises(InputError, match="that xarray opens"):
        read_table(tmp_path / "a.nc", {"wind": Observed("ff")})
    with pytest.raises(InputError, match="must hold times: got float64"):
        read_table(stations, {"wind": Observed("ff")}, names={"time": "lon"})
    with pytest.raises(InputError, match="all 4 are missing"):
        read_table(stations * np.nan, {"wind": Observed("ff")}, names={"latitude": "lon"})


def test_columns_of_a_table_fit_together():
    day, zero = np.array(["2021-01-01"] * 2, "datetime64[ns]"), np.zeros(2)
    none = np.zeros(2, np.float32)
    with pytest.raises(InputError, match="one length"):
        PointTable(day, zero, zero, none, none[:1], np.zeros(2, int), ("t",), ("K",))
    with pytest.raises(InputError, match="must ascend"):
        PointTable(
            day - np.arange(2) * np.timedelta64(1, "D"), zero, zero, none, none, np.zeros(2, int), ("t",), ("K",)
        )
