# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Peak memory and seconds of one member on large domains: by windows, and on the whole domain at once.

    python benchmarks/patch_memory.py --results benchmarks/results

Every row is a process of its own, torch and python included: a mean (by windows, or whole)
and a residual of 8 channels, two steps of Heun (three evaluations), untrained networks of the smallest size; the
coarse inputs are those of a factor of 8. ``beyond`` is the peak less K times the whole float32 field. ``command`` is
``physicsnemo-fs generate`` to a NetCDF file with these networks by windows, of data without a truth or with one.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timing import cpu_name, provenance, versions, write_rows

from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.types import Batch, Channel, Grid
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.patching import LazyCondition, WindowedSampler
from physicsnemo_fs.diffusion.residual import assemble_condition
from physicsnemo_fs.diffusion.sampling import ResidualSampler
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.nn.windows import WindowGrid
from physicsnemo_fs.pipelines.checkpoints import save_network

K = 6
"""Fields of the domain's size at the peak of Heun's step: mean, x, slope, Euler's point, second slope, their sum."""
CONUS = (1056, 1792)
SHAPES = ((512, 512), (1024, 1024), (2048, 2048), CONUS)
FACTOR = 8
PATCH, OVERLAP = (128, 128), (32, 32)
PATHS = ("command", "command, truth", "windows", "whole")


class Domain:
    """A dataset plugin: one time of random coarse fields on a bounded domain, with a truth or without."""

    @dataclass
    class Options:
        """Rows, columns and channels of the domain."""

        height: int = 512
        width: int = 512
        channels: int = 8
        truth: bool = False

    def open(self, options: Options, opening: Opening) -> "Drawn":
        """Open any split."""
        return Drawn(options)


class Drawn:
    """The samples of :class:`Domain`."""

    def __init__(self, options: Domain.Options):
        self.options, self.grid = options, domain((options.height, options.width))
        self.coarse_grid = coarse_grid(self.grid)
        self.input_channels = self.output_channels = tuple(Channel(f"c{i}") for i in range(options.channels))
        self.invariant_channels: tuple[Channel, ...] = ()
        self.times, self.blocks = np.array(["2020-01-01"], "datetime64[ns]"), np.zeros(1, np.int64)

    def __len__(self) -> int:
        return 1

    def fetch(self, indices: Sequence[int], augmentation_keys: Sequence[int] | None = None) -> Batch:
        """Draw the fields."""
        draws, count = torch.Generator().manual_seed(0), len(indices)
        coarse = torch.randn(count, self.options.channels, *self.coarse_grid.shape, generator=draws)
        invariants = torch.zeros(count, 0, *self.grid.shape)
        target = (
            torch.randn(count, self.options.channels, *self.grid.shape, generator=draws) if self.options.truth else None
        )
        return Batch(coarse, invariants, target, torch.as_tensor(indices))


def domain(shape: tuple[int, int]) -> Grid:
    """Give the fine grid of a domain."""
    extent = (shape[0] / min(shape), shape[1] / min(shape))
    return Grid(shape, extent, registration="cell", boundary="bounded")


def coarse_grid(grid: Grid) -> Grid:
    """Give the grid of the coarse fields."""
    return grid.at((grid.shape[0] // FACTOR, grid.shape[1] // FACTOR))


def networks(
    path: str, shape: tuple[int, int], channels: int, together: int = 16
) -> tuple[FSRegressionSR, FSEDMPrecondSR]:
    """Give untrained networks of the smallest size: a mean, and a denoiser that sees it."""
    torch.manual_seed(0)
    small = {"model_channels": 4, "channel_mult": (1, 2), "level_grid": (64, 32), "n_modes": (0, 4), "boundary": "pad"}
    field = RandomField(Matern(0.5, 0.05), domain(shape).extent, "bounded", registration="cell")
    common = {"noise": field.to_dict(), "sigma_min": 0.01, "sigma_max": 20.0}
    skip = list(range(channels))
    if path == "whole":
        regression = FSRegressionSR(FSUNO(channels, channels, **small), skip)
        return regression.eval(), FSEDMPrecondSR(FSUNO(3 * channels, channels, **small), **common).eval()
    cut = {"patch_shape": PATCH, "domain_shape": shape, "overlap": OVERLAP, "max_patch_per_gpu": together}
    regression = FSRegressionSR(FSUNO(channels, channels, **small), skip, **cut)
    return regression.eval(), FSPatchedEDMPrecondSR(FSUNO(3 * channels + 4, channels, **small), **cut, **common).eval()


def sampled(path: str, shape: tuple[int, int], channels: int, together: int, steps: int) -> None:
    """Draw one member in this process."""
    grid, mean_of, denoiser = domain(shape), *networks(path, shape, channels, together)
    coarse, invariants = torch.randn(1, channels, *coarse_grid(grid).shape), torch.zeros(1, 0, *shape)
    with torch.no_grad():
        if path == "windows":
            condition = LazyCondition.on_grids(coarse, invariants, coarse_grid(grid), grid)
            mean = mean_of(None, condition)
            sampler = WindowedSampler.for_denoiser(denoiser, num_steps=steps)
            result = sampler.sample(condition.with_mean(mean), keys=[1]).add_(mean)
        else:
            assembled = assemble_condition(coarse, invariants, coarse_grid(grid), grid)
            mean = mean_of(None, assembled)
            whole = ResidualSampler.for_denoiser(denoiser, num_steps=steps)
            result = mean + whole.sample(torch.cat([mean, assembled], dim=1), keys=[1])
    assert result.isfinite().all()  # noqa: S101 - a wrong result has no time
    assert result.shape == (1, channels, *shape)  # noqa: S101 - the same


def commanded(shape: tuple[int, int], channels: int, together: int, steps: int, truth: bool) -> None:
    """Let the command generate one member to a file."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.mdlus" for name in ("reg", "res")}
        for name, network in zip(files, networks("windows", shape, channels), strict=True):
            save_network(network, files[name])
        options = {"height": shape[0], "width": shape[1], "channels": channels, "truth": str(truth).lower()}
        arguments = [
            "dataset=plugin",
            f"dataset.type={__file__}:Domain",
            *(f"+dataset.options.{name}={value}" for name, value in options.items()),
            *(f"generation.io.{name}_ckpt_filename={path}" for name, path in files.items()),
            f"generation.io.output_filename={folder}/member.nc",
            "generation.num_ensembles=1",
            "generation.picture=false",
            f"generation.overlap_pix={OVERLAP[0]}",
            f"generation.max_patch_per_gpu={together}",
            f"sampler.num_steps={steps}",
            "perf.num_threads=1",
        ]
        command = [sys.executable, "-m", "physicsnemo_fs", "generate", *arguments]
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)  # noqa: S603 - this package


def member(path: str, shape: tuple[int, int], channels: int, together: int, steps: int) -> dict:
    """Generate one member of untrained networks; give the row."""
    start, who = time.perf_counter(), resource.RUSAGE_SELF
    if path.startswith("command"):
        commanded(shape, channels, together, steps, path == "command, truth")
        who = resource.RUSAGE_CHILDREN
    else:
        sampled(path, shape, channels, together, steps)
    seconds = time.perf_counter() - start
    peak, field_size = resource.getrusage(who).ru_maxrss / 1024, 4 * channels * shape[0] * shape[1] / 2**20
    in_windows = path != "whole"
    return {
        "path": path,
        "height": shape[0],
        "width": shape[1],
        "channels": channels,
        "windows": len(WindowGrid(shape, PATCH, OVERLAP)) if in_windows else 1,
        "windows_at_once": together if in_windows else 1,
        "steps": steps,
        "seconds": round(seconds, 1),
        "peak_mib": round(peak),
        "field_mib": round(field_size, 1),
        "beyond_mib": round(peak - K * field_size),
        "k": K,
    }


def in_a_process(arguments: argparse.Namespace, path: str, shape: tuple[int, int]) -> dict:
    """Measure one row in a fresh process."""
    options = [path, *shape, arguments.channels, arguments.together, arguments.steps]
    command = [sys.executable, __file__, "--row", *map(str, options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - this very file
    row = json.loads(done.stdout.splitlines()[-1])
    print(*(f"{name}={value}" for name, value in row.items()), flush=True)
    return row


def main() -> None:
    """Measure every row, or one row in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--together", type=int, default=8, help="windows evaluated at once")
    parser.add_argument("--steps", type=int, default=2, help="steps of Heun")
    parser.add_argument("--shapes", type=int, nargs="+", help="rows and columns of each domain, one after the other")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--results", type=Path, default=Path("outputs/patches"), help="folder of the CSV file")
    parser.add_argument("--row", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        path, *numbers = arguments.row
        height, width, channels, together, steps = map(int, numbers)
        print(json.dumps(member(path, (height, width), channels, together, steps)))
        return
    given = arguments.shapes
    shapes = SHAPES if given is None else tuple(zip(given[::2], given[1::2], strict=True))
    rows = [in_a_process(arguments, path, shape) for path in arguments.paths for shape in shapes]
    context = {"patch": PATCH[0], "overlap": OVERLAP[0], "device": cpu_name(), **provenance(), **versions()}
    arguments.results.mkdir(parents=True, exist_ok=True)
    write_rows(arguments.results / f"patch_memory_{context['date']}.csv", [row | context for row in rows])


if __name__ == "__main__":
    main()
