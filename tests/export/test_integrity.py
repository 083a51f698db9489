# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A package with other files than those that were exported is refused, with the name of the file."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import xarray as xr
from export_runs import exporting

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.package import export_package
from physicsnemo_fs.export.package_model import PackageModel

OWN = "physicsnemo_fs"


@pytest.fixture(scope="module")
def packages(runs, tmp_path_factory):
    """Packages of both classes, by name."""
    folder = tmp_path_factory.mktemp("whole")
    return {name: export_package(exporting(runs(name), folder / name)).folder for name in ("white_square", "windows")}


@pytest.fixture
def copy(packages, tmp_path):
    return shutil.copytree(packages["windows"], tmp_path / "p")


def load(folder):
    """Load with the class where there is one, and the files alone elsewhere."""
    if find_spec("earth2studio") is None:
        return PackageModel.load(folder)
    from physicsnemo_fs.export import CorrDiffRegional

    return CorrDiffRegional.from_pretrained(str(folder))


def change_metadata(folder, change):
    metadata = json.loads((folder / "metadata.json").read_text())
    change(metadata)
    (folder / "metadata.json").write_text(json.dumps(metadata))


def change_fields(path, change):
    with xr.open_dataset(path) as file:
        fields = change(file.load())
    path.unlink()
    fields.to_netcdf(path)


@pytest.mark.parametrize("name", ["regression.mdlus", "diffusion.mdlus"])
def test_networks_of_another_run_are_refused(name, packages, copy):
    shutil.copy(packages["white_square"] / name, copy / name)
    with pytest.raises(InputError, match=rf"^{name} must be the one that was exported: .* changed or replaced; copy"):
        load(copy)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("invariants.nc", lambda d: d * 2),
        ("invariants.nc", lambda d: d.isel(y=slice(None, None, -1))),
        ("invariants.nc", lambda d: d * np.nan),
        ("invariants.nc", lambda d: d.isel(y=slice(10))),
        ("invariants.nc", lambda d: d.rename(orography="z0")),
        ("output_latlon_grid.nc", lambda d: d.assign_coords(lat=d.lat + 5)),
        ("input_latlon_grid.nc", lambda d: d.isel(lat=slice(5))),
    ],
)
def test_other_static_fields_and_grids_are_refused(name, change, copy):
    change_fields(copy / name, change)
    with pytest.raises(InputError, match=rf"^{name} must be the one that was exported"):
        load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(sampler_type="stochastic"),
        lambda m: m.update(inference_mode="regression"),
        lambda m: m[OWN]["sampler"].update(S_churn=2.0),
        lambda m: m[OWN]["windows"]["denoiser"].update(overlap=[8, 8]),
        lambda m: m[OWN]["windows"].update(denoiser=None),
        lambda m: m[OWN]["inputs"][0]["channel"].update(mean=0.0),
    ],
)
def test_another_description_is_refused(change, copy):
    change_metadata(copy, change)
    with pytest.raises(InputError, match=r"^only number_of_samples, number_of_steps, seed may be changed in metadata"):
        load(copy)


def test_defaults_of_attributes_may_be_changed(copy):
    change_metadata(copy, lambda m: m.update(number_of_samples=3, number_of_steps=2, seed=5))
    assert load(copy) is not None


@pytest.mark.parametrize("name", ["stats.json", "regression.mdlus", "input_latlon_grid.nc", "invariants.nc"])
def test_missing_files_are_named(name, copy):
    (copy / name).unlink()
    with pytest.raises(InputError, match=rf"a package must hold {name}: .* does not; give its folder, copy or export"):
        load(copy)


def test_a_package_without_this_projects_description_is_refused(copy):
    change_metadata(copy, lambda m: m.pop(OWN))
    with pytest.raises(InputError, match=r"must say under 'physicsnemo_fs' what was exported.*; export the pack"):
        load(copy)


def test_packages_for_the_stock_class_are_checked_too(packages, tmp_path):
    folder = shutil.copytree(packages["white_square"], tmp_path / "p")
    change_fields(folder / "invariants.nc", lambda d: d * 2)
    with pytest.raises(InputError, match=r"^invariants\.nc must be the one that was exported"):
        load(folder)
