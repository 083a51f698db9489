# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Covariance of fused samples against the overlap, with the exact denoiser of every window of a Gaussian prior.

    python benchmarks/patch_gaussian.py --results benchmarks/results

On a circle the prior is N(0, K), the noise N(0, C), and a window w is denoised exactly, E[x0_w | x_w] =
K_ww (K_ww + sigma^2 C_ww)^-1 x_w. The fused sampler is linear, so that the covariance of its samples is computed, not
estimated. An error is the largest over all pairs of points up to one correlation length apart, relative to the
covariance of the same sampler with the exact denoiser of the whole domain. Seconds on one core.
"""

import argparse
import math
from itertools import pairwise, product
from pathlib import Path

import torch
from timing import cpu_name, provenance, versions, write_rows
from torch import Tensor

from physicsnemo_fs.nn.windows import WindowAxis, usual_margin

LENGTH = 4
"""Correlation length in samples."""
PATCH = 48
WINDOWS = 4
COVARIANCES = {
    "exponential": lambda r: torch.exp(-r),
    "matern32": lambda r: (1 + math.sqrt(3) * r) * torch.exp(-math.sqrt(3) * r),
    "white": lambda r: (r == 0).double(),
}


def covariance(kind: str, size: int) -> Tensor:
    """Give the covariance matrix of a stationary field on a circle."""
    distance = torch.arange(size, dtype=torch.float64)
    row = COVARIANCES[kind](torch.minimum(distance, size - distance) / LENGTH)
    index = torch.arange(size)
    return row[(index[:, None] - index) % size]


def fused_denoiser(axis: WindowAxis, weights: Tensor, prior: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Give the matrix of the weighted sum of the windows' exact denoisers."""
    fused = torch.zeros_like(prior)
    for start, weight in zip(axis.starts, weights, strict=True):
        index = axis.index(start)
        inside = (index[:, None], index)
        fused[inside] += weight[:, None] * torch.linalg.solve(prior[inside] + sigma**2 * noise[inside], prior[inside]).T
    return fused


def sample_covariance(
    axis: WindowAxis, prior: Tensor, noise: Tensor, weights: Tensor | None = None, steps: int = 60
) -> Tensor:
    """Give the covariance of the samples of Heun's method on EDM's noise levels."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = torch.cat([(80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7, torch.zeros(1)])
    given = axis.weights if weights is None else weights

    def slope(x: Tensor, sigma: Tensor) -> Tensor:
        return (x - fused_denoiser(axis, given, prior, noise, sigma) @ x) / sigma

    x = levels[0] * torch.linalg.cholesky(noise + 1e-12 * torch.eye(axis.size, dtype=torch.float64))
    for level, following in pairwise(levels):
        first = slope(x, level)
        euler = x + (following - level) * first
        x = euler if following == 0 else x + (following - level) * 0.5 * (first + slope(euler, following))
    return x @ x.T


def uniform_weights(axis: WindowAxis) -> Tensor:
    """Give the weights of physicsnemo's patching: one over the number of windows at each sample."""
    count = torch.zeros(axis.size, dtype=torch.float64)
    for start in axis.starts:
        count[axis.index(start)] += 1
    return torch.stack([1 / count[axis.index(start)] for start in axis.starts])


def largest_error(prior: str, noise: str, overlap: int, margin: int, uniform: bool = False) -> dict:
    """Give one row: the largest relative errors of covariance and variance.

    Example:
        >>> row = largest_error("exponential", "exponential", 0, 0)  # noise of the prior's covariance: exact
        >>> row["covariance_error"] < 1e-4
        True
    """
    size = WINDOWS * (PATCH - overlap)
    axis = WindowAxis(size, PATCH, overlap, margin, periodic=True)
    k, c = covariance(prior, size), covariance(noise, size)
    reference = sample_covariance(WindowAxis(size, size, 0, periodic=True), k, c)
    samples = sample_covariance(axis, k, c, uniform_weights(axis) if uniform else None)
    relative = samples / reference - 1
    index = torch.arange(size)
    errors = [relative[index, (index + lag) % size].abs().max() for lag in range(LENGTH + 1)]
    return {
        "prior": prior,
        "noise": noise,
        "weights": "uniform" if uniform else "smooth",
        "overlap_in_correlation_lengths": overlap / LENGTH,
        "margin": margin,
        "covariance_error": round(float(torch.stack(errors).max()), 5),
        "variance_error": round(float(errors[0]), 5),
    }


def plot(rows: list[dict], path: Path) -> None:
    """Draw the errors against the overlap."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for panel, prior in zip(panels, ("exponential", "matern32"), strict=True):
        for noise, weights in product(COVARIANCES, ("smooth", "uniform")):
            line = [r for r in rows if (r["prior"], r["noise"], r["weights"]) == (prior, noise, weights)]
            x = [r["overlap_in_correlation_lengths"] for r in line]
            y = [max(r["covariance_error"], 1e-5) for r in line]
            panel.semilogy(x, y, "o-" if weights == "smooth" else "x:", label=f"{noise} noise, {weights} weights")
        panel.axhline(0.05, color="grey", lw=0.8)
        panel.set(title=f"{prior} prior", xlabel="overlap (correlation lengths)")
    panels[0].set_ylabel("largest relative error of the covariance")
    panels[1].legend(fontsize=7)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Compute, write and draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("outputs/patches"), help="folder of the CSV and the PNG")
    arguments = parser.parse_args()
    rows = []
    for prior, noise, uniform in product(("exponential", "matern32"), COVARIANCES, (False, True)):
        for overlap in (0, 2, 4, 6, 8, 12, 16, 20):
            rows.append(largest_error(prior, noise, overlap, 0 if uniform else usual_margin(overlap), uniform))
            print(*list(rows[-1].values()))
    context = {"patch": PATCH, "correlation_length": LENGTH, "device": cpu_name(), **provenance(), **versions()}
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"patch_gaussian_{context['date']}.csv"
    write_rows(path, [row | context for row in rows])
    plot(rows, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
