# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What an IO backend holds, as a file for scoring: seeds, grids, packages and windows that belong together."""

import functools
import json

import numpy as np
import pytest
import xarray as xr
from export_runs import SCALE, packaged

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.collect import to_ensemble_file
from physicsnemo_fs.export.notes import ATTRIBUTE
from physicsnemo_fs.io.reader import EnsembleFile


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory):
    """Give package and samples of a run."""

    return functools.cache(lambda name: packaged(runs(name), tmp_path_factory.mktemp(name), max_times=2))


def as_written(reference):
    """The members of a samples file as an IO backend holds them."""
    with EnsembleFile(reference) as file:
        count = range(len(file.times))
        fields = {n: np.stack([SCALE[n] * file.prediction(n, i) for i in count]) for n in file.variables}
        times, grid = file.times, file.grid
    curved = bool(np.ptp(grid.latitude, axis=1).any())
    dims = ("time", "sample", "ilat", "ilon") if curved else ("time", "sample", "lat", "lon")
    places = {"lat": grid.latitude, "lon": grid.longitude % 360}
    coords = {n: (dims[2:], v) if curved else (n, v[:, 0] if n == "lat" else v[0]) for n, v in places.items()}
    return xr.Dataset({n: (dims, v) for n, v in fields.items()}, {"time": times, **coords})


@pytest.fixture
def collect(tmp_path):
    """Collect members that were written; give the file."""

    def run(written, package, reference, **options):
        written.to_netcdf(tmp_path / "written.nc")
        (tmp_path / "c.nc").unlink(missing_ok=True)
        return to_ensemble_file(tmp_path / "written.nc", package, reference, tmp_path / "c.nc", **options)

    return run


@pytest.mark.parametrize(
    ("noted", "options", "expected"),
    [([100, 101], {}, [100, 101]), (None, {"seeds": [7, 9]}, [7, 9]), (None, {}, None)],
)
def test_seeds_are_those_of_the_members_or_unknown(noted, options, expected, made, collect):
    package, reference = made("regular_wide")
    written = as_written(reference)
    written.attrs[ATTRIBUTE] = json.dumps({"seeds": noted, "package": None})
    with EnsembleFile(collect(written, package, reference, **options)) as file:
        found = file.seeds
        assert len(file.members) == 2
    assert found is None if expected is None else found.tolist() == expected


def test_seeds_are_one_for_each_member(made, collect):
    package, reference = made("regular_wide")
    with pytest.raises(InputError, match="seeds must be one for each of the 2 members: got 1"):
        collect(as_written(reference), package, reference, seeds=[1])


def test_members_package_and_reference_are_of_one_grid(made, collect):
    package, reference = made("regular_wide")
    other, elsewhere = made("greenwich")
    written = as_written(reference)
    collect(written.assign_coords(lon=written.lon - 360), package, reference)
    with pytest.raises(InputError, match=r"the package \S+ must be on the grid of the reference, 24 x 40 points from"):
        collect(written, other, reference)
    with pytest.raises(InputError, match=r"must be on the grid of the reference"):
        collect(written, package, elsewhere)
    with pytest.raises(
        InputError, match=r"output of earth2studio must be on the grid .*: it is on 24 x 40 points from 41"
    ):
        collect(written.assign_coords(lat=written.lat + 1), package, reference)
    with pytest.raises(InputError, match=r"output of earth2studio must be on the grid .*: it is on 23 x 40 points"):
        collect(written.isel(lat=slice(23)), package, reference)
    with pytest.raises(InputError, match=r"must have the reference's \(24, 40\) points: got \(23, 40\)"):
        collect(written.isel(lat=slice(23)).drop_vars(["lat", "lon"]), package, reference)


def test_members_are_collected_with_the_package_that_made_them(made, collect):
    package, reference = made("regular_wide")
    written = as_written(reference)
    written.attrs[ATTRIBUTE] = json.dumps({"seeds": [0, 1], "package": "another"})
    with pytest.raises(InputError, match=r"must be collected with the package that made them: .* is another"):
        collect(written, package, reference)


def test_windows_are_said_as_generate_says_them(made, collect):
    package, reference = made("windows")
    with EnsembleFile(reference) as theirs, EnsembleFile(collect(as_written(reference), package, reference)) as ours:
        assert ours.provenance["patches"] == theirs.provenance["patches"]


def test_a_file_that_is_there_is_overwritten_on_request_only(made, collect, tmp_path):
    package, reference = made("regular_wide")
    written = as_written(reference)
    collected = collect(written, package, reference)
    with pytest.raises(InputError, match=r"c\.nc is there already: choose another file, or replace=True"):
        to_ensemble_file(tmp_path / "written.nc", package, reference, collected)
    assert to_ensemble_file(tmp_path / "written.nc", package, reference, collected, replace=True) == collected
