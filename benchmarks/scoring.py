# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Scoring beside CorrDiff's way of it, on one file, each in a process of its own, in pairs.

    python benchmarks/scoring.py --output scoring.csv

CorrDiff's way is that of its ``score_samples.py``: xarray opens the file, xskillscore gives RMSE, CRPS (biased) and
MAE, xarray the standard deviation, one time after the other. Ours are all standard scores of the same variables:
these four, fair CRPS, bias, spread, rank histogram, spectra of every member, distributions and maps; also those of
the file's two baselines, where it has them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from timing import write_csv

from physicsnemo_fs.data.types import Channel, Grid
from physicsnemo_fs.io.layout import EnsembleSpec
from physicsnemo_fs.io.writer import EnsembleWriter

VARIABLES = ("t2m", "u10m", "v10m", "tp")


def write_samples(path: Path, times: int, members: int, size: int, variables: tuple[str, ...] = VARIABLES) -> None:
    """Write a file of red-noise fields, as this project writes them."""
    random = np.random.default_rng(0)
    grid = Grid((size, size), (3.0 * size, 3.0 * size), boundary="bounded", unit="km")
    wavenumber = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)) * size
    amplitude = (1 + wavenumber / 4) ** -1.8

    def fields(count: int) -> np.ndarray:
        modes = random.normal(size=(count, *amplitude.shape)) + 1j * random.normal(size=(count, *amplitude.shape))
        found = np.fft.irfft2(modes * amplitude, s=grid.shape)
        return (280 + 5 * found / found.std()).astype(np.float32)

    channels = tuple(Channel(name, "K") for name in variables)
    hours = np.datetime64("2020-01-01", "ns") + 6 * np.arange(times) * np.timedelta64(1, "h")
    spec = EnsembleSpec(
        grid, grid.at((8, 8)), hours, np.arange(times), channels, (), tuple(range(members)), has_regression=False
    )
    nothing = (np.zeros((0, *grid.shape)), np.zeros((0, 8, 8)))
    with EnsembleWriter(path, spec) as writer:
        for index in range(times):
            drawn = np.stack([fields(len(channels)) for _ in range(members)])
            writer.write(index, drawn, truth=fields(len(channels)), input=nothing[0], input_native=nothing[1])


def score_ours(path: Path, output: Path) -> None:
    """Score with this project."""
    from physicsnemo_fs.pipelines.score import score

    score([path], output, quiet=True)


def score_corrdiff(path: Path) -> None:
    """Score the way CorrDiff does."""
    import xarray as xr
    import xskillscore

    def opened(group: str) -> xr.Dataset:
        root = xr.open_dataset(path)
        return xr.open_dataset(path, group=group).merge(root).set_coords(["lon", "lat"])

    space, results = ["x", "y"], []
    for index in range(opened("truth").sizes["time"]):
        chosen = {"time": slice(index, index + 1)}
        truth, prediction = (opened(group).isel(chosen).load() for group in ("truth", "prediction"))
        mean = prediction.mean("ensemble")
        single = mean.expand_dims("ensemble")
        results.append(
            (
                xskillscore.rmse(truth, mean, dim=space),
                xskillscore.crps_ensemble(truth, prediction, member_dim="ensemble", dim=space),
                prediction.std("ensemble").mean(space),
                xskillscore.crps_ensemble(truth, single, member_dim="ensemble", dim=space),
            )
        )


@dataclass(frozen=True)
class Cost:
    """What a piece of work took.

    Args:
        seconds: Of a clock on the wall.
        cpu_seconds: Of the processor, all threads of this process together; a busy machine hardly changes them.
        extra_mb: Largest memory during the work beyond that before it.
    """

    seconds: float
    cpu_seconds: float
    extra_mb: float


def cost_of(work: Callable[[], object]) -> Cost:
    """Do the work and say what it took. The kernel's record of the largest memory is set back first (Linux only)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, wall, processor = _memory("VmRSS"), time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - processor, _memory("VmHWM") - before)


def _memory(kind: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1e3


def measure(kind: str, path: Path) -> Cost:
    """Warm up, score one file in this process, and say what it took."""
    from physicsnemo_fs.metrics.scorecard import Scorecard

    if kind == "corrdiff":
        import xarray as xr
        import xskillscore

        small = xr.DataArray(np.ones((2, 4)), dims=("ensemble", "x"))
        xskillscore.crps_ensemble(small[0], small, member_dim="ensemble", dim=["x"])  # compiles
        return cost_of(lambda: score_corrdiff(path))
    random = np.random.default_rng(0)
    card = Scorecard(Grid((8, 8), (1.0, 1.0)), 2)
    card.add(np.datetime64("2020-01-01"), random.random((2, 8, 8)), random.random((8, 8)))
    import_module("physicsnemo_fs.pipelines.score")
    with tempfile.TemporaryDirectory() as folder:
        return cost_of(lambda: score_ours(path, Path(folder)))


def measured(kind: str, path: Path) -> Cost:
    """Give what :func:`measure` gives in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", kind, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode:
        raise RuntimeError(run.stderr)
    return Cost(*map(float, run.stdout.split()[-3:]))


def main() -> None:
    """Time both, each in a process of its own, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="CSV to write")
    parser.add_argument("--file", type=Path, help="score this file instead of a new one")
    parser.add_argument("--shape", type=int, nargs=3, default=(6, 32, 448), metavar=("TIMES", "MEMBERS", "SIZE"))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", default=("corrdiff", "ours"))
    options = parser.parse_args()
    if options.measure:
        print(*astuple(measure(options.measure[0], Path(options.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "samples.nc"
        if options.file is None:
            write_samples(path, *options.shape)
        rows = []
        for repeat in range(options.repeats):
            for kind in options.kinds:
                cost = measured(kind, path)
                print(f"{repeat} {kind:9s} {cost.cpu_seconds:7.2f} s of CPU  +{cost.extra_mb:5.0f} MB", flush=True)
                shape = dict(zip(("times", "members", "size"), options.shape, strict=True))
                rows.append({"pair": repeat, "kind": kind, **shape, **asdict(cost)})
            found = {row["kind"]: row for row in rows if row["pair"] == repeat}
            if len(found) == 2:
                ratios = (found["corrdiff"][clock] / found["ours"][clock] for clock in ("seconds", "cpu_seconds"))
                print("ratio {:.1f}, of CPU time {:.1f}".format(*ratios), flush=True)
    if options.output:
        write_csv(options.output, rows)


if __name__ == "__main__":
    main()
