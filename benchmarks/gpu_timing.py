# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Times and memory of work on a CUDA device: events, flushed second-level cache, CUDA graphs."""

import statistics
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor

Run = Callable[[], tuple[Tensor, ...]]
WARM_UPS = 3


def time_rounds(runs: Mapping[Hashable, Callable], rounds: int) -> dict[Hashable, list[float]]:
    """Give the microseconds of each run in each round, after two rounds that are thrown away.

    Before each run a buffer of four times the second-level cache is overwritten. Launches that the device has to
    wait for are part of the time.
    """
    cache = torch.cuda.get_device_properties().L2_cache_size
    buffer = torch.empty(4 * cache, dtype=torch.int8, device="cuda")
    times: dict[Hashable, list[float]] = {key: [] for key in runs}
    for number in range(rounds + 2):
        events = {}
        for key, run in runs.items():
            buffer.zero_()
            events[key] = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            events[key][0].record()
            run()
            events[key][1].record()
        torch.cuda.synchronize()
        if number >= 2:
            for key, (start, end) in events.items():
                times[key].append(1e3 * start.elapsed_time(end))
    return times


def quantiles(values: list[float]) -> tuple[float, float, float]:
    """Give p20, p50 and p80.

    Example:
        >>> quantiles([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        (2.0, 3.5, 5.0)
    """
    low, *_, high = statistics.quantiles(values, n=5, method="inclusive")
    return low, statistics.median(values), high


def capture(run: Run) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
    """Record a run as a CUDA graph; give its replay and the tensors that each replay fills."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run()
    return graph.replay, results


def peak_mib(run: Run) -> float:
    """Give by how much a run raises the allocated memory at most, results included."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def copy_bandwidth(gibibytes: float = 1.0) -> float:
    """Give the bytes a second, read and written, of a copy within the device."""
    source = torch.randn(int(gibibytes * 2**28), device="cuda")
    target = torch.empty_like(source)
    times = time_rounds({"copy": lambda: target.copy_(source)}, 20)["copy"]
    return 2e6 * source.nbytes / statistics.median(times)
