# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Noise of training windows: crops of one field of the domain, against a field of each window's own.

    python benchmarks/patch_noise.py --results benchmarks/results

Three noises of windows of 16 x 16 samples in a domain of 64 x 64, Matern 1/2 of length 0.1: ``crop`` of the domain's
field (what sampling shows the network), ``window``: the same kernel on a torus of the window's size, and ``squeezed``:
the domain's field drawn on the window's samples (what a loss does that adds noise to windows). The statistics are
exact. The excess loss is that of the best linear denoiser of one noise when it is given the crop: a Gaussian prior of
Matern 3/2, length 0.1, noise levels 0.1, 0.3, 1, 3 and 10 added. Then the seconds of crops of the whole field against
evaluating windows.
"""

import argparse
import time
from pathlib import Path

import torch
from timing import cpu_name, provenance, versions, write_rows
from torch import Tensor

from physicsnemo_fs.diffusion.kernel import Kernel
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.spectra import Matern

DOMAIN, PATCH = 64, 16
NOISE, PRIOR = Matern(0.5, 0.1), Matern(1.5, 0.1)
LEVELS = (0.1, 0.3, 1.0, 3.0, 10.0)


def covariance(kernel: Kernel, size: int, extent: float) -> Tensor:
    """Give the covariance of a window's samples, of a field on a torus of ``size`` samples and length ``extent``."""
    delta = torch.zeros(1, size, size, dtype=torch.float64)
    delta[..., 0, 0] = 1
    lags = RandomField(kernel, (extent, extent)).apply_covariance(delta)[0]
    index = torch.arange(PATCH)
    distance = (index[:, None] - index) % size
    rows, columns = distance[:, None, :, None], distance[None, :, None, :]
    return lags[rows, columns].reshape(PATCH**2, PATCH**2)


def noises() -> dict[str, Tensor]:
    """Give the covariance of each noise."""
    return {
        "crop": covariance(NOISE, DOMAIN, 1.0),
        "window": covariance(NOISE, PATCH, PATCH / DOMAIN),
        "squeezed": covariance(NOISE, PATCH, 1.0),
    }


def excess_loss(trained: Tensor, seen: Tensor, prior: Tensor) -> float:
    r"""Give the relative excess, over all noise levels, of the denoiser of one noise when it is given another.

    The loss of :math:`A = K (K + \sigma^2 C')^{-1}` at noise C is
    :math:`\mathrm{tr}(K - 2 A K + A (K + \sigma^2 C) A^T)`.
    """

    def loss(denoiser: Tensor, level: float) -> float:
        given = prior + level**2 * seen
        return float((prior - 2 * denoiser @ prior + denoiser @ given @ denoiser.T).trace())

    def total(noise: Tensor) -> float:
        return sum(loss(torch.linalg.solve(prior + s**2 * noise, prior).T, s) for s in LEVELS)

    return total(trained) / total(seen) - 1


def statistics() -> list[dict]:
    """Give the rows of the three noises.

    Example:
        >>> crop, window, squeezed = statistics()
        >>> crop["excess_loss"] == 0.0, window["edge_to_edge"] > 0.8
        (True, True)
    """
    found, prior = noises(), covariance(PRIOR, DOMAIN, 1.0)
    rows = []
    for name, matrix in found.items():
        field = matrix.reshape(PATCH, PATCH, PATCH, PATCH)
        correlation = field / float(field[0, 0, 0, 0])
        rows.append(
            {
                "what": "statistics",
                "noise": name,
                "standard_deviation": round(float(field[0, 0, 0, 0].sqrt()), 4),
                "next_sample": round(float(correlation[8, 7, 8, 8]), 4),
                "four_samples": round(float(correlation[8, 4, 8, 8]), 4),
                "edge_to_edge": round(float(correlation[8, 0, 8, PATCH - 1]), 4),
                "shared_by_overlapping_windows": 1.0 if name == "crop" else 0.0,
                "excess_loss": round(excess_loss(matrix, found["crop"], prior), 4),
            }
        )
    return rows


def seconds(size: int, channels: int, windows: int, patch: int = 64) -> list[dict]:
    """Give the seconds of the crops of one field, and of as many windows evaluated by themselves."""
    field = RandomField(NOISE, boundary="bounded")
    places = [(patch // 2 * i % (size - patch), patch // 3 * i % (size - patch)) for i in range(windows)]

    def crops() -> list[Tensor]:
        whole = field.sample([1], channels, (size, size))
        return [whole[..., r : r + patch, c : c + patch] for r, c in places]

    def evaluated() -> list[Tensor]:
        shape = (size, size)
        return [field.window([1], channels, shape, (r, r + patch), (c, c + patch)) for r, c in places]

    rows = []
    for name, draw in (("crop of the whole", crops), ("window evaluated", evaluated)):
        draw()
        start = time.perf_counter()
        draw()
        taken = round(time.perf_counter() - start, 3)
        rows.append({"what": "seconds", "noise": name, "domain": size, "windows": windows, "seconds": taken})
    return rows


def main() -> None:
    """Compute, time and write all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="sides of the timed domains")
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 4], help="windows of a sample")
    parser.add_argument("--results", type=Path, default=Path("outputs/patches"), help="folder of the CSV file")
    arguments = parser.parse_args()
    rows = statistics()
    for size in arguments.sizes:
        for windows in arguments.windows:
            rows += seconds(size, 4, windows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    context = {"device": cpu_name(), **provenance(), **versions()}
    for row in rows:
        print(*(f"{name}={value}" for name, value in row.items()))
    arguments.results.mkdir(parents=True, exist_ok=True)
    complete = [{name: row.get(name, "") for name in names} | context for row in rows]
    write_rows(arguments.results / f"patch_noise_{context['date']}.csv", complete)


if __name__ == "__main__":
    main()
