# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What the entries of a batch are, and inputs that are not what their coordinates say."""

from collections import OrderedDict

import numpy as np
import pytest

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.batches import batch_places, require_fields

DAYS = np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]")
WANTED = OrderedDict(variable=np.array(["t2m"]), lat=np.arange(3.0), lon=np.arange(4.0))


def test_a_coordinate_without_values_counts_from_0():
    assert batch_places(OrderedDict(batch=np.empty(0), **WANTED), (2, 1, 3, 4)) == [("", "batch=0"), ("", "batch=1")]


def test_a_coordinate_of_another_length_than_its_dimension_is_refused():
    with pytest.raises(InputError, match=r"time must have a value for each of the 3 entries .*: got 2 values"):
        batch_places(OrderedDict(time=DAYS, **WANTED), (3, 1, 3, 4))


@pytest.mark.parametrize("shape", [(2, 1, 2, 4), (2, 1, 3, 3), (2, 2, 3, 4), (1, 3, 4)])
def test_fields_of_another_shape_than_the_input_grid_are_refused(shape):
    coords = OrderedDict(time=DAYS, **WANTED)
    require_fields((2, 1, 3, 4), coords, WANTED)
    with pytest.raises(InputError, match=r"\[time, variable=1, lat=3, lon=4\]: got shape"):
        require_fields(shape, coords, WANTED)


def test_the_shape_of_a_curvilinear_grid_is_that_of_its_points():
    north, east = np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij")
    curved = OrderedDict(WANTED, lat=north, lon=east)
    require_fields((2, 1, 3, 4), OrderedDict(time=DAYS, **curved), curved)
    with pytest.raises(InputError, match="lat=3, lon=4"):
        require_fields((2, 1, 4, 3), OrderedDict(time=DAYS, **curved), curved)
