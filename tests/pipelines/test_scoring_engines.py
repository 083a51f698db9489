# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Processes, ranks of mpirun and a Dask cluster score what one process scores, in every bit."""

import gc
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from test_scoring import OPTIONS, write

from physicsnemo_fs.executors import open_executor
from physicsnemo_fs.pipelines.score import score
from physicsnemo_fs.pipelines.score_setting import Request

REQUEST = Request(thresholds={"tp": [1, 10]}, areas={"south": [40.0, 42.99, -180, 180]}, weights="area")


@pytest.fixture(scope="module")
def rain(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rain") / "rain.nc")


@pytest.fixture(scope="module")
def alone(rain, tmp_path_factory):
    return score([rain], tmp_path_factory.mktemp("alone"), request=REQUEST, **OPTIONS)


@pytest.fixture
def no_collection():
    """Keep the garbage collector from closing datasets that other tests left open, in a thread that works here."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_threads_take_turns_at_the_file(rain, alone, tmp_path, no_collection):
    """Dask's workers have several threads, and NetCDF's library takes one."""
    with ThreadPoolExecutor(4) as executor:
        found = score([rain], tmp_path, request=REQUEST, executor=executor, workers=4, **OPTIONS)
    assert str(found.rows) == str(alone.rows)


@pytest.mark.slow
def test_a_dask_cluster_scores_by_its_address(rain, alone, tmp_path, no_collection):
    distributed = pytest.importorskip("distributed", reason="needs dask: install physicsnemo-fs[dask]")
    options = {"n_workers": 2, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, open_executor(address=cluster.scheduler_address) as executor:
        found = score([rain], tmp_path, request=REQUEST, executor=executor, workers=4, **OPTIONS)
    assert str(found.rows) == str(alone.rows)


@pytest.mark.slow
def test_workers_that_live_on_read_a_replaced_file_anew(rain, alone, tmp_path):
    path = shutil.copy(rain, tmp_path / "rain.nc")
    with open_executor("processes", 1) as executor:
        options = {"request": REQUEST, "executor": executor, "workers": 1, **OPTIONS}
        first = score([path], tmp_path / "a", **options)
        assert str(first.rows) == str(alone.rows)
        for name in ("tp_crps_map", "tp_histogram", "tp_event_10"):
            with xr.open_dataset(first.scores_path, group="models/demo") as found:
                with xr.open_dataset(alone.scores_path, group="models/demo") as known:
                    np.testing.assert_array_equal(found[name], known[name])
        other = write(tmp_path / "other.nc", scale=2.0)
        os.replace(other, path)
        again = score([path], tmp_path / "b", **options)
    expected = score([path], tmp_path / "c", request=REQUEST, **OPTIONS)
    assert str(again.rows) == str(expected.rows) != str(alone.rows)


@pytest.mark.slow
def test_ranks_of_mpirun_score(rain, tmp_path):
    launcher = shutil.which("mpirun", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    if launcher is None:
        pytest.skip("needs mpirun: install physicsnemo-fs[mpi]")
    mpirun = [launcher, "--oversubscribe", "--allow-run-as-root", "-n", "2", sys.executable, "-m", "physicsnemo_fs"]
    options = ["report=false", "bootstrap_samples=50", "weights=area", "thresholds={tp: [1, 10]}"]
    command = [*mpirun, "score", f"path={rain}", f"output={tmp_path / 's'}", *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    expected = score([rain], tmp_path / "alone", request=replace(REQUEST, areas={}), **OPTIONS)
    assert (tmp_path / "s" / "scores_summary.csv").read_text() == expected.summary_path.read_text()
