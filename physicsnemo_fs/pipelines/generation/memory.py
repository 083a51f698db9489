# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""As many samples a network call as fit into memory."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from physicsnemo_fs.distributed import Ranks
from physicsnemo_fs.errors import InputError

logger = logging.getLogger(__name__)

MOST = 64
"""Largest batch that is chosen automatically: beyond it networks hardly become faster."""
SHARE = 0.8
"""Share of the free memory that a batch may take."""
EXHAUSTED = re.compile(r"not enough memory|can't allocate memory|out of memory", re.IGNORECASE)
MEMINFO = Path("/proc/meminfo")


class Portions:
    """Calls of a network that shrink when the memory is exhausted.

    Args:
        size: Samples of the first calls.

    Example:
        >>> Portions(2).run(lambda part: torch.arange(5)[part] ** 2, 5).tolist()
        [0, 1, 4, 9, 16]
    """

    def __init__(self, size: int):
        self.size = size

    def run(self, call: Callable[[slice], Tensor], count: int) -> Tensor:
        """Give the results for ``count`` samples.

        Args:
            call: Gives the results for a part of the samples.
            count: Samples in all, at least 1.

        Raises:
            InputError: If one sample alone does not fit into memory.
        """
        found: list[Tensor] = []
        start = 0
        while start < count:
            part = slice(start, min(start + self.size, count))
            result = self._try(call, part)
            if result is not None:
                found.append(result)
                start = part.stop
        return torch.cat(found) if len(found) > 1 else found[0]

    def _try(self, call: Callable[[slice], Tensor], part: slice) -> Tensor | None:
        try:
            return call(part)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not (isinstance(error, torch.OutOfMemoryError) or EXHAUSTED.search(str(error))):
                raise
            reason = str(error).splitlines()[0]
        tried = part.stop - part.start
        if tried == 1:
            raise InputError(f"one sample must fit into memory: it does not ({reason}); generate on a smaller grid")
        self.size = tried // 2
        logger.warning("%d samples do not fit into memory (%s): going on with %d", tried, reason, self.size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


def fitting_batch(call: Callable[[int], object], networks: list[torch.nn.Module], ranks: Ranks) -> int:
    """Give how many samples a network call fit into the free memory, a power of two.

    On a GPU the memory of one sample is measured; on a CPU it is bounded by all values that the networks' layers give.

    Args:
        call: Calls the networks with so many samples.
        networks: The networks.
        ranks: This process.
    """
    if ranks.device.type == "cuda":
        needed = _peak(call, 2, ranks.device) - _peak(call, 1, ranks.device)
        free = torch.cuda.mem_get_info(ranks.device)[0]
    else:
        needed = _given_out(call, networks)
        free = available_memory() // int(os.environ.get("LOCAL_WORLD_SIZE", ranks.world_size))
    fitting = int(SHARE * free / max(needed, 1))
    return min(MOST, 1 << max(fitting.bit_length() - 1, 0))


def _peak(call: Callable[[int], object], count: int, device: torch.device) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    call(count)
    return torch.cuda.max_memory_allocated(device)


def _given_out(call: Callable[[int], object], networks: list[torch.nn.Module]) -> int:
    total = 0

    def count(module: torch.nn.Module, given: object, result: object) -> None:
        nonlocal total
        if isinstance(result, Tensor):
            total += result.element_size() * result.numel()

    handles = [module.register_forward_hook(count) for network in networks for module in network.modules()]
    try:
        call(1)
    finally:
        for handle in handles:
            handle.remove()
    return total


def available_memory() -> int:
    """Give the bytes of main memory that are free, or can be made so."""
    if not MEMINFO.exists():
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = re.search(r"MemAvailable:\s+(\d+) kB", MEMINFO.read_text())
    return 1024 * int(found[1]) if found else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
