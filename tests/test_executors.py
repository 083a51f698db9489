# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The engines that work is handed to."""

import os
import signal
import subprocess
import sys

import pytest

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.executors import open_executor, usable_cores


def test_work_in_this_process_gives_results_and_errors():
    with open_executor("none") as executor:
        assert executor.submit(pow, 2, 5).result() == 32
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()


@pytest.mark.slow
def test_processes_have_one_thread_each_and_leave_the_environment_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with open_executor(workers=2) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        assert executor.submit(os.getpid).result() != os.getpid()
    assert (os.environ["OMP_NUM_THREADS"], os.environ.get("MKL_NUM_THREADS")) == ("7", None)
    assert usable_cores() >= 1


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal\n"
        "from physicsnemo_fs.executors import open_executor\n"
        "if __name__ == '__main__':\n"
        "    with open_executor('processes', 1) as executor:\n"
        "        print(executor.submit(os.getpid).result(), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The worker holds the pipe of standard output too: its end is that of the worker.
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert run.returncode == -signal.SIGKILL
    assert int(run.stdout) > 0


@pytest.mark.slow
def test_a_dask_cluster_works_by_its_address():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        with open_executor(address=cluster.scheduler_address) as executor:
            assert executor.submit(pow, 2, 5).result() == 32


@pytest.mark.slow
def test_mpi_ranks_work(tmp_path, mpirun):
    script = tmp_path / "work.py"
    script.write_text(
        "from physicsnemo_fs.executors import open_executor\n"
        "with open_executor() as executor:\n"
        "    if executor is not None:\n"
        "        print(sum(executor.submit(pow, 2, n).result() for n in range(4)))\n"
    )
    run = subprocess.run(mpirun(2, str(script)), capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "15", run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("threads",), "executor must be one of auto, processes, mpi, dask, none: got 'threads'"),
        (("mpi",), "needs mpirun with two or more processes"),
        (("dask",), "add dask_address=tcp://host:8786"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(arguments, message, monkeypatch):
    monkeypatch.delenv("OMPI_COMM_WORLD_SIZE", raising=False)
    with pytest.raises(InputError, match=message):
        with open_executor(*arguments):
            pass
