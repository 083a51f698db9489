# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time generation against CorrDiff's way: every rank samples its members, rank 0 gathers them and writes.

The shipped networks, 64 x 64 points, one thread a rank. Every round starts each variant and number of ranks anew,
interleaved; ratios are taken within a round. The clock starts when networks and data are open and one batch was
sampled, and stops when the file has its name. "outside" is the share of rank 0's time that is not spent in a network.
Both variants call the network with ``--batch`` samples, so that only what happens around it differs: give at most the
members of a time divided by the most ranks, for the gathering loop never has more of them on a rank.

Example: python benchmarks/generation.py --output generation.csv --rounds 5
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import netCDF4
import numpy as np
import torch
import torch.distributed as dist
from timing import write_csv

from physicsnemo_fs.config import (
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    GenerationPerformanceConfig,
    KolmogorovDatasetConfig,
    SamplerConfig,
)
from physicsnemo_fs.distributed import Ranks, process_group
from physicsnemo_fs.pipelines.generate import Session
from physicsnemo_fs.pipelines.generation.plan import Piece
from physicsnemo_fs.pipelines.generation.sampling import Job, PieceSampler

OURS, BASELINE = "pieces", "gather"


class NetworkTime:
    """Seconds spent in networks.

    Args:
        networks: The networks.
    """

    def __init__(self, networks: list[torch.nn.Module]):
        self.seconds = 0.0
        for network in networks:
            network.register_forward_pre_hook(self._begin)
            network.register_forward_hook(self._end)

    def _begin(self, *_: object) -> None:
        self._start = time.perf_counter()

    def _end(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start


def gathered(path: Path, job: Job, batch: int, ranks: Ranks) -> None:
    """Sample time by time: each rank its members in batches, all of them gathered to rank 0, which writes at once."""
    members, times, height, width = job.spec.shape
    own = range(ranks.rank, members, ranks.world_size)
    most = -(-members // ranks.world_size)
    names = [channel.name for channel in job.dataset.output_channels]
    sampler = PieceSampler(job, batch)
    file = netCDF4.Dataset(path, "w") if ranks.is_main else None
    if file is not None:
        for name, size in (("ensemble", members), ("time", times), ("y", height), ("x", width)):
            file.createDimension(name, size)
        for group, dimensions in (("prediction", ("ensemble", "time", "y", "x")), ("truth", ("time", "y", "x"))):
            for name in names:
                chunks = (1,) * (len(dimensions) - 2) + (height, width)
                file.createGroup(group).createVariable(
                    name, "f4", dimensions, chunksizes=chunks, compression="zlib", complevel=1
                )
    for index in range(times):
        block = torch.zeros(most, len(names), height, width)
        truth = None
        for start in range(0, len(own), batch):
            part = own[start : start + batch]
            fields = sampler.fields(sampler.sample(Piece(0, range(index, index + 1), part)))
            for place, field in fields:
                if place.group == "prediction":
                    row = own.index(place.position[0])
                    block[row, names.index(place.variable)] = torch.from_numpy(np.ascontiguousarray(field))
                elif place.group == "truth":
                    truth = field
        blocks = [torch.empty_like(block) for _ in range(ranks.world_size)] if ranks.is_main else None
        if ranks.world_size > 1:
            dist.gather(block, blocks)
        if file is not None:
            for rank, values in enumerate(blocks if ranks.world_size > 1 and blocks else [block]):
                for row, member in enumerate(range(rank, members, ranks.world_size)):
                    for channel, name in enumerate(names):
                        file["prediction"][name][member, index] = values[row, channel].numpy()
            if truth is not None:
                file["truth"][names[0]][index] = truth
    if file is not None:
        file.close()
    ranks.barrier()


def work(variant: str, arguments: argparse.Namespace) -> None:
    """Measure one variant in this process and its peers; rank 0 prints the numbers."""
    with tempfile.TemporaryDirectory() as folder, process_group(1) as ranks:
        path = Path(ranks.tell(folder)) / "samples.nc"
        config = GenerateConfig(
            pretrained="kolmogorov_re40",
            dataset=KolmogorovDatasetConfig(
                data_path=str(arguments.data), test_trajectories=arguments.times, test_frames=1
            ),
            generation=GenerationConfig(
                num_ensembles=arguments.members,
                seed_batch_size=arguments.batch,
                picture=False,
                io=GenerationIOConfig(output_filename=str(path)),
            ),
            sampler=SamplerConfig(num_steps=arguments.steps),
            perf=GenerationPerformanceConfig(num_threads=1),
        )
        session = Session(config, ranks)
        job = session.job(None)
        PieceSampler(job, arguments.batch).sample(Piece(0, range(1), range(min(arguments.batch, arguments.members))))
        inside = NetworkTime([n for n in (session.networks.regression, session.networks.diffusion) if n is not None])
        ranks.barrier()
        start = time.perf_counter()
        if variant == OURS:
            session.write(path, None)
        else:
            gathered(path, job, arguments.batch, ranks)
        seconds = time.perf_counter() - start
        if ranks.is_main:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"seconds": seconds, "outside": 1 - inside.seconds / seconds, "peak_mb": peak}))


def launch(variant: str, count: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Start a variant on so many ranks and give its numbers."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"] if count > 1 else []
    options = [f"--{name}={getattr(arguments, name)}" for name in ("data", "times", "members", "batch", "steps")]
    command = [sys.executable, *launcher, __file__, f"--variant={variant}", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)  # noqa: S603
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def rows(arguments: argparse.Namespace) -> list[dict]:
    """Measure all variants, interleaved."""
    cases = [(variant, count) for count in arguments.ranks for variant in (BASELINE, OURS)]
    launch(OURS, 1, arguments)  # simulates the data
    found: dict[tuple[str, int], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(arguments.rounds):
        for case in cases:
            found[case].append(launch(*case, arguments))
    samples = arguments.times * arguments.members
    made = []
    for variant, count in cases:
        runs, one = found[variant, count], found[variant, arguments.ranks[0]]
        against = found[BASELINE, count]
        made.append(
            {
                "case": f"{arguments.times} times x {arguments.members} members, 64^2, {arguments.steps} steps",
                "batch": arguments.batch,
                "variant": variant,
                "ranks": count,
                "members_per_second": round(samples / statistics.median(r["seconds"] for r in runs), 3),
                "speedup_over_gather": _ratio(against, runs),
                "scaling": _ratio(one, runs),
                "outside_network": round(statistics.median(r["outside"] for r in runs), 4),
                "peak_mb_rank_0": round(statistics.median(r["peak_mb"] for r in runs), 1),
                "rounds": len(runs),
                "cores": len(os.sched_getaffinity(0)),
            }
        )
    return made


def _ratio(base: list[dict[str, float]], runs: list[dict[str, float]]) -> float:
    return round(statistics.median(b["seconds"] / r["seconds"] for b, r in zip(base, runs, strict=True)), 3)


def main() -> None:
    """Measure, print and write the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--data", type=Path, default=Path("outputs/bench_data"), help="folder of the simulated data")
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variant", choices=(OURS, BASELINE), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        work(arguments.variant, arguments)
        return
    if arguments.batch * max(arguments.ranks) > arguments.members:
        parser.error("--batch times the most ranks must be at most --members: the variants' network calls would differ")
    torch.set_num_threads(1)
    found = rows(arguments)
    for row in found:
        print("  ".join(str(v) for v in row.values()))
    if arguments.output:
        write_csv(arguments.output, found)


if __name__ == "__main__":
    main()
