# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Stored numbers become the values that the netCDF library makes of them."""

import netCDF4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physicsnemo_fs.data.fields.packing import Packing

KINDS = ("i1", "i2", "i4", "u1", "u2", "f4", "f8")


def stored_numbers(kind):
    if kind[0] == "f":
        return st.floats(-1000, 1000, width=32)
    info = np.iinfo(kind)
    return st.integers(max(info.min, -40_000), min(info.max, 70_000))


@st.composite
def variables(draw):
    kind = draw(st.sampled_from(KINDS))
    number = stored_numbers(kind)
    attributes = {}
    if draw(st.booleans()):
        attributes["missing_value"] = draw(number)
    if draw(st.booleans()):
        ends = sorted((draw(number), draw(number)))
        ranged = [("valid_range", ends), ("valid_min", ends[0]), ("valid_max", ends[1])]
        attributes |= dict([draw(st.sampled_from(ranged))])
    if kind == "i1" and draw(st.booleans()):
        attributes = {"_Unsigned": "true"}
    if draw(st.booleans()):
        attributes |= {"scale_factor": draw(st.sampled_from([0.5, -0.01])), "add_offset": 10.0}
    bytewise = kind in ("i1", "u1")  # a byte that nobody wrote is data here, as by the format, not as by netCDF4
    fill = draw(number if bytewise else st.none() | number)
    special = [attributes.get("missing_value"), fill]
    values = [*draw(st.lists(number, min_size=1, max_size=8)), *(v for v in special if v is not None)]
    return kind, attributes, fill, values


@given(variables())
def test_it_is_what_netcdf_gives(drawn):
    kind, attributes, fill, values = drawn
    with netCDF4.Dataset("memory.nc", "w", diskless=True) as file:
        file.createDimension("n", len(values) + 1)
        variable = file.createVariable("v", kind, ("n",), fill_value=fill)
        numeric = {k: v if isinstance(v, str | float) else np.asarray(v, kind) for k, v in attributes.items()}
        packed = {k: v for k, v in numeric.items() if k in ("scale_factor", "add_offset")}
        variable.setncatts({k: np.asarray(v, kind) if isinstance(v, float) else v for k, v in numeric.items()} | packed)
        variable.set_auto_maskandscale(False)
        variable[:-1] = np.asarray(values, kind)
        stored = variable[:]
        packing = Packing.of(
            np.dtype(kind), {k: variable.getncattr(k) for k in variable.ncattrs()}, netCDF4.default_fillvals
        )
        variable.set_auto_maskandscale(True)
        expected = np.ma.filled(variable[:].astype("f8"), np.nan)
    np.testing.assert_allclose(packing.unpack(stored), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [0.01, -0.01])
def test_a_valid_range_of_values_applies_to_packed_ones(scale):
    attributes = {"scale_factor": scale, "add_offset": 10.0, "valid_range": np.array([9.0, 11.0])}
    found = Packing.of(np.dtype("i2"), attributes).unpack(np.array([-101, -100, 0, 100, 101], "i2"))
    np.testing.assert_allclose(found, [np.nan, 10 - 100 * scale, 10, 10 + 100 * scale, np.nan])


def test_one_end_of_a_valid_range_is_enough():
    attributes = {"scale_factor": -1.0, "valid_max": 5.0}
    found = Packing.of(np.dtype("i2"), attributes).unpack(np.array([-6, -5, 30], "i2"))
    np.testing.assert_allclose(found, [np.nan, 5.0, -30.0])
    plain = Packing.of(np.dtype("f4"), {"valid_max": 0.1}).unpack(np.array([0.1, 0.2], "f4"))
    np.testing.assert_allclose(plain, [0.1, np.nan])


@pytest.mark.parametrize("name", ["missing_value", "_FillValue"])
@pytest.mark.parametrize("number", [1e20, -9999.5, 70_000, "none", np.nan])
def test_a_fill_value_that_the_type_cannot_hold_is_none(name, number):
    found = Packing.of(np.dtype("i2"), {name: number, "scale_factor": 0.01}).unpack(np.array([0, 5], "i2"))
    assert found.tolist() == [0.0, 0.05]


def test_a_fill_value_may_be_written_as_text():
    found = Packing.of(np.dtype("f4"), {"missing_value": "-999"}).unpack(np.array([-999, 5], "f4"))
    np.testing.assert_array_equal(found, [np.nan, 5.0])


@pytest.mark.parametrize("given", [{"valid_max": np.int64(50_000)}, {"valid_range": np.array([0, 65_535])}])
def test_a_valid_range_beyond_the_type_says_nothing(given):
    assert Packing.of(np.dtype("i2"), given).unpack(np.array([-5, 5], "i2")).tolist() == [-5.0, 5.0]


@pytest.mark.parametrize("attribute", ["0, 100", np.nan, [], 0, [1, 2, 3]])
def test_a_valid_range_that_is_none_is_not_one(attribute):
    found = Packing.of(np.dtype("i2"), {"valid_range": attribute}).unpack(np.array([-5, 5], "i2"))
    assert found.tolist() == [-5.0, 5.0]
