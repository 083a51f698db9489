# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Several ranks without a launcher: forked from the test, so that nothing is imported again."""

import multiprocessing
import os
import socket
import threading
import time

import pytest
import torch
from tqdm import tqdm

LONGEST_WAIT = 120
"""Seconds after which a rank counts as hanging."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def place(rank, world_size, port):
    """Give the environment of a rank."""
    found = {"RANK": rank, "WORLD_SIZE": world_size, "LOCAL_RANK": rank, "MASTER_PORT": port}
    return {k: str(v) for k, v in found.items()} | {"MASTER_ADDR": "localhost"}


def on_ranks(world_size, task, *arguments, longest=LONGEST_WAIT):
    """Run ``task(*arguments)`` on forked ranks; give their exit statuses, -9 of those that had to be killed."""
    if torch.cuda.is_available():
        pytest.skip("ranks on CPUs only: a CUDA context does not survive a fork")
    port = free_port()

    def run(rank):
        os.environ.update(place(rank, world_size, port))
        tqdm.set_lock(threading.RLock())  # the lock that forks share would outlive a killed holder
        torch.set_num_threads(1)  # makes torch's thread pool anew, before several threads of the fork would
        task(*arguments)

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(rank,)) for rank in range(world_size)]
    for process in processes:
        process.start()
    end = time.monotonic() + longest
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    for process in processes:
        process.kill()
        process.join()
    return [process.exitcode for process in processes]
