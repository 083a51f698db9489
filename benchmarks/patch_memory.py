# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Peak memory and seconds of one member on large domains: by windows, and on the whole domain at once.

    python benchmarks/patch_memory.py --results benchmarks/results

Every row is a process of its own, torch and python included: a mean (by windows, or whole)
and a residual of 8 channels, two steps of Heun (three evaluations), untrained networks of the smallest size; the
coarse inputs are those of a factor of 8. ``beyond`` is the peak less K times the whole float32 field.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from timing import cpu_name, provenance, versions, write_rows

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.patching import LazyCondition, WindowedSampler, windowed_mean
from physicsnemo_fs.diffusion.residual import assemble_condition
from physicsnemo_fs.diffusion.sampling import ResidualSampler
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR

K = 6
"""Fields of the domain's size at the peak of Heun's step: mean, x, slope, Euler's point, second slope, their sum."""
CONUS = (1056, 1792)
SHAPES = ((512, 512), (1024, 1024), (2048, 2048), CONUS)
FACTOR = 8
PATCH, OVERLAP = (128, 128), (32, 32)


def member(path: str, shape: tuple[int, int], channels: int, together: int, steps: int) -> dict:
    """Generate one member of untrained networks in this process; give the row."""
    torch.manual_seed(0)
    extent = (shape[0] / min(shape), shape[1] / min(shape))
    grid = Grid(shape, extent, registration="cell", boundary="bounded")
    coarse_grid = grid.at((shape[0] // FACTOR, shape[1] // FACTOR))
    coarse, invariants = torch.randn(1, channels, *coarse_grid.shape), torch.zeros(1, 0, *shape)
    small = {"model_channels": 4, "channel_mult": (1, 2), "level_grid": (64, 32), "n_modes": (0, 4), "boundary": "pad"}
    field = RandomField(Matern(0.5, 0.05), extent, "bounded", registration="cell")
    common = {"noise": field.to_dict(), "sigma_min": 0.01, "sigma_max": 20.0}
    regression = FSRegressionSR(FSUNO(channels, channels, **small), list(range(channels))).eval()
    start = time.perf_counter()
    with torch.no_grad():
        if path == "windows":
            backbone = FSUNO(3 * channels + 4, channels, **small)
            denoiser = FSPatchedEDMPrecondSR(
                backbone, PATCH, shape, OVERLAP, max_patch_per_gpu=together, **common
            ).eval()
            condition = LazyCondition.on_grids(coarse, invariants, coarse_grid, grid)
            windows = denoiser.windows(shape)
            mean = windowed_mean(regression, condition, windows, together)
            sampler = WindowedSampler.for_denoiser(denoiser, num_steps=steps)
            result = sampler.sample(condition.with_mean(mean), keys=[1]).add_(mean)
        else:
            whole = FSEDMPrecondSR(FSUNO(3 * channels, channels, **small), **common).eval()
            assembled = assemble_condition(coarse, invariants, coarse_grid, grid)
            mean = regression(None, assembled)
            sampler = ResidualSampler.for_denoiser(whole, num_steps=steps)
            result = mean + sampler.sample(torch.cat([mean, assembled], dim=1), keys=[1])
    seconds = time.perf_counter() - start
    assert result.isfinite().all()  # noqa: S101 - a wrong result has no time
    assert result.shape == (1, channels, *shape)  # noqa: S101 - the same
    peak, field_size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result.nbytes / 2**20
    return {
        "path": path,
        "height": shape[0],
        "width": shape[1],
        "channels": channels,
        "windows": len(windows) if path == "windows" else 1,
        "windows_at_once": together if path == "windows" else 1,
        "steps": steps,
        "seconds": round(seconds, 1),
        "peak_mib": round(peak),
        "field_mib": round(field_size, 1),
        "beyond_mib": round(peak - K * field_size),
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
    rows = [in_a_process(arguments, path, shape) for path in ("windows", "whole") for shape in shapes]
    context = {"k": K, "patch": PATCH[0], "overlap": OVERLAP[0], "device": cpu_name(), **provenance(), **versions()}
    arguments.results.mkdir(parents=True, exist_ok=True)
    write_rows(arguments.results / f"patch_memory_{context['date']}.csv", [row | context for row in rows])


if __name__ == "__main__":
    main()
