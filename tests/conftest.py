# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Shape annotations are checked at run time; random draws are seeded."""

import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import jaxtyping
import pytest
import torch
from jaxtyping import install_import_hook

# The modules whose functions take arrays from users. Left out are those whose own checks of types are under test,
# and the kernels, which torch.compile traces.
CHECKED = (
    "physicsnemo_fs.data.datasets",
    "physicsnemo_fs.diffusion.calibration",
    "physicsnemo_fs.diffusion.dressing",
    "physicsnemo_fs.diffusion.residual",
    "physicsnemo_fs.diffusion.sampling",
    "physicsnemo_fs.io",
    "physicsnemo_fs.metrics",
    "physicsnemo_fs.models",
    "physicsnemo_fs.nn.blocks",
    "physicsnemo_fs.nn.boundary",
    "physicsnemo_fs.nn.embedding",
    "physicsnemo_fs.nn.resample",
    "physicsnemo_fs.nn.unet",
)
torch.set_num_threads(1)
install_import_hook(CHECKED, "typecheck.checked")


@pytest.fixture(autouse=True)
def seeded():
    """Start every test from the same torch seed."""
    torch.manual_seed(0)


@pytest.fixture
def unchecked():
    """Switch the tests' own shape checker off: it would refuse first, and torch.compile cannot trace it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """One small data folder for all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def run_dir(data, tmp_path_factory):
    """One small finished run for all tests."""
    from small_run import small_config

    from physicsnemo_fs.pipelines.train import train

    folder = tmp_path_factory.mktemp("run")
    train(small_config(data, folder))
    return folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Give small runs on geographic grids, each trained on first use: ``runs("white_square")``."""
    from export_runs import RUNS, trained

    made = {}

    def run(name):
        if name not in made:
            made[name] = trained(RUNS[name], tmp_path_factory.mktemp(name))
        return made[name]

    return run


@pytest.fixture(scope="session")
def mpirun():
    """Give a function: the command that starts ``arguments`` of Python on some MPI processes."""
    found = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("needs mpirun: install physicsnemo-fs[mpi]")
    options = ["--oversubscribe", "--allow-run-as-root", "--bind-to", "none"]
    return lambda processes, *arguments: [found, *options, "-n", str(processes), sys.executable, *arguments]
