# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What a generation would do: its pieces, sizes, network evaluations and time, without writing anything."""

import resource
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from physicsnemo_fs.data.sampler import rank_share
from physicsnemo_fs.pipelines.assembly import is_unsimulated
from physicsnemo_fs.pipelines.generation.plan import Piece, value_bytes
from physicsnemo_fs.pipelines.generation.sampling import Job, PieceSampler
from physicsnemo_fs.pipelines.numerals import duration, size_text


def describe(path: Path, job: Job, pieces: Sequence[Piece], finished: set[int], batch: int, processes: int) -> str:
    """Say what would be made, as lines of text. Samples one piece, to tell the time.

    Args:
        path: The result.
        job: What is generated.
        pieces: All pieces.
        finished: Numbers of those that are there.
        batch: Samples of a piece.
        processes: Processes that share them.
    """
    spec, todo = job.spec, [piece for piece in pieces if piece.number not in finished]
    members, times, *grid = spec.shape
    shares = [len(rank_share(len(todo), rank, processes)) for rank in range(processes)]
    outputs = ", ".join(f"{c.name} [{c.unit}]" for c in spec.output_channels)
    size = value_bytes(spec, pieces)
    evaluations = sum(len(piece) for piece in todo) * job.source.evaluations
    twice = "; twice that for a moment" if path.suffix == ".nc" else ""
    lines = [
        f"result      {path}" + ("; its data is to be simulated first" if is_unsimulated(job.dataset) else ""),
        f"members     {members} of each of {times} times from {_second(spec.times[0])} to {_second(spec.times[-1])}",
        f"fields      {outputs} on {grid[0]} x {grid[1]} points; {_and_fields(job)}",
        f"work        {len(pieces)} pieces of at most {batch} samples, {len(finished)} of them finished",
        f"processes   {processes}, with {_counts(shares)} pieces each",
        f"evaluations {evaluations} of the denoiser, {job.source.evaluations} a member",
        f"size        {size_text(size)} before compression{twice}",
    ]
    if todo:
        seconds, memory = _measure(job, todo[0], batch)
        total = seconds * max(shares) if len(todo) > 1 else seconds
        lines.append(f"memory      {memory}")
        lines.append(f"time        {duration(total)}, at {seconds:.2g} s a piece of {len(todo[0])} samples")
    return "\n".join(lines)


def _measure(job: Job, piece: Piece, batch: int) -> tuple[float, str]:
    sampler = PieceSampler(job, batch)
    if job.ranks.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.ranks.device)
        sampler.sample(piece)  # the first call chooses kernels
    start = time.perf_counter()
    made = sampler.sample(piece)
    assert made is not None  # noqa: S101 - this process works alone
    for _ in sampler.fields(made):
        pass
    seconds = time.perf_counter() - start
    if job.ranks.device.type == "cuda":
        return seconds, f"{size_text(torch.cuda.max_memory_allocated(job.ranks.device))} on the GPU of each process"
    return seconds, f"{size_text(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)} of each process"


def _second(moment) -> str:
    return str(moment.astype("datetime64[s]"))


def _and_fields(job: Job) -> str:
    groups = [name for name in job.spec.field_groups if name != "input_native"]
    return f"once a time {', '.join(groups)}"


def _counts(shares: Sequence[int]) -> str:
    low, high = min(shares), max(shares)
    return str(low) if low == high else f"{low} to {high}"
