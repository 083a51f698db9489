# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One program as several ranks on this machine, started as torchrun starts them."""

import logging
import os
import sys
from collections.abc import Sequence

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from physicsnemo_fs.errors import START_AGAIN
from physicsnemo_fs.executors import usable_cores

MOST = 4
"""More ranks would leave each too few samples of a batch."""


def worthwhile_ranks(batch: int, cores: int | None = None) -> int:
    """Give how many ranks train fastest on this machine's CPU: as many as share a batch evenly, up to four.

    Two ranks of one thread train the demo 1.7 times as fast as one rank of two threads, whose operations are too small
    to share, and do not stand still when another program takes a core. With a GPU one rank is best.

    Args:
        batch: Samples of a step.
        cores: Usable cores; by default this process's.

    Example:
        >>> worthwhile_ranks(16, cores=1), worthwhile_ranks(16, cores=3), worthwhile_ranks(9, cores=64)
        (1, 2, 3)
    """
    if cores is None:
        cores = 1 if torch.cuda.is_available() else usable_cores()
    return max(count for count in range(1, min(cores, MOST, batch) + 1) if batch % count == 0)


def run_ranks(command: Sequence[str], count: int) -> None:
    """Run a command as so many ranks, the cores shared evenly, and wait for all.

    Args:
        command: Program and arguments.
        count: Ranks.

    Raises:
        SystemExit: With the status of the rank that failed first; ``START_AGAIN`` after a signal.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // count)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(launch, command[0])(*command[1:])
    except ChildFailedError as error:
        sys.exit(error.get_first_failure()[1].exitcode)
    except SignalException:
        sys.exit(START_AGAIN)
