# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training and generation on two ranks of mpirun: what one process gives."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from generated import configuration, everything
from small_run import small_config
from test_train import assert_equal_up_to_rounding

from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.train import train

PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from generated import configuration
from small_run import small_config
from physicsnemo_fs.pipelines.generate import generate
from physicsnemo_fs.pipelines.train import train
data, trained, run_dir, output = map(Path, sys.argv[2:])
train(small_config(data, trained))
generate(configuration(data, run_dir, output, seed_batch_size=2))
"""
ROOT = ("OMPI_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT")


@pytest.fixture
def mpirun():
    """Give the command line that starts two ranks, and its environment."""
    found = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("needs mpirun: install physicsnemo-fs[mpi]")
    place = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_", "OMPI_", "PMI_", "SLURM_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(place)}
    environment |= {name + end: "1" for name in ROOT for end in ("", "_CONFIRM")}
    return [found, "--oversubscribe", "--bind-to", "none", "-n", "2"], environment | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_mpirun_trains_and_generates(mpirun, data, run_dir, tmp_path):
    command, environment = mpirun
    (tmp_path / "both.py").write_text(PROGRAM)
    pipelines = Path(__file__).parents[1] / "pipelines"
    paths = [tmp_path / "both.py", pipelines, data, tmp_path / "trained", run_dir, tmp_path / "two" / "s.nc"]
    call = [*command, sys.executable, "-W", "ignore", *map(str, paths)]
    run = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    assert_equal_up_to_rounding(tmp_path / "trained", run_dir, "regression")
    one = generate(configuration(data, run_dir, tmp_path / "one" / "s.nc", seed_batch_size=2))
    assert everything(tmp_path / "two" / "s.nc") == everything(one)
    assert train(small_config(data, tmp_path / "trained")).diffusion is not None
