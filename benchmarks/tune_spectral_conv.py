# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Measure tile sizes of the Triton kernels on this GPU and write the fastest into their table.

Every candidate runs every case; the one with the smallest geometric mean of the times is kept. A candidate that does
not fit the GPU is left out. Afterwards run ``pytest tests/kernels`` on the same GPU.

Example: python benchmarks/tune_spectral_conv.py
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterator

import torch
import triton
from triton.runtime.errors import OutOfResources

from physicsnemo_fs.kernels.spectral_conv import triton_kernels as kernels
from physicsnemo_fs.kernels.spectral_conv.triton_kernels import configs

CASES = ((8, 64, 64, 16), (16, 128, 128, 32), (4, 64, 256, 24))  # batch, channels, points along a side, modes
OPERANDS = {"half": torch.bfloat16, "tf32": torch.float32}
TRANSFORM = {
    "lines": (64, 128),
    "width": (64, 128),
    "rows": (16, 32),
    "columns": (32,),
    "across": (32, 64),
    "num_warps": (4, 8),
    "num_stages": (1, 2, 3),
}
PRODUCT = {
    "rows": (16, 32),
    "columns": (32, 64),
    "inner": (16, 32),
    "num_warps": (4, 8),
    "num_stages": (2, 3),
}


def main() -> None:
    """Tune every kernel and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--milliseconds", type=int, default=25, help="time spent on one candidate and case")
    budget = parser.parse_args().milliseconds
    if not torch.cuda.is_available():
        raise SystemExit("a CUDA device is needed: run this on the GPU whose entry is to be written")
    device = torch.device("cuda", torch.cuda.current_device())
    entry = configs.entry(device)
    own: dict[str, dict[str, dict[str, int]]] = {}
    for kernel, operand, runs in tasks(device):
        best = fastest(entry[kernel], operand, PRODUCT if kernel == "product" else TRANSFORM, runs, budget)
        own.setdefault(kernel, dict(entry[kernel]))[operand] = best
        print(kernel, operand, best)
    configs.write_entry(torch.cuda.get_device_name(device), own)
    print(f"wrote {configs.TABLE}")


def tasks(device: torch.device) -> Iterator[tuple[str, str, list[Callable]]]:
    """Give each kernel, its operands, and one call for each case."""
    for operand, dtype in OPERANDS.items():
        yield "analysis", operand, [analysis_call(case, dtype, device) for case in CASES]
        yield "synthesis", operand, [synthesis_call(case, dtype, device) for case in CASES]
    yield "product", "tf32", [call for case in CASES for call in product_calls(case, device)]


def analysis_call(case: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Callable:
    """Give a call of the analysis."""
    batch, channels, size, modes = case
    x = torch.randn(batch, channels, size, size, dtype=dtype, device=device)
    return lambda: kernels.analysis(x, modes, modes, True)


def synthesis_call(case: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Callable:
    """Give a call of the synthesis."""
    batch, channels, size, modes = case
    z = torch.randn(2 * modes * modes, batch, channels, 2, device=device)
    return lambda: kernels.synthesis(z, size, size, modes, modes, dtype)


def product_calls(case: tuple[int, int, int, int], device: torch.device) -> list[Callable]:
    """Give a call of the mixing and of its two adjoints."""
    batch, channels, _, modes = case
    y = torch.randn(2 * modes * modes, batch, channels, 2, device=device)
    weight = torch.randn(2 * modes * modes, channels, channels, 2, device=device)
    return [
        lambda: kernels.mix(y, weight),
        lambda: kernels.mix_adjoint(y, weight),
        lambda: kernels.mix_weight(y, y),
    ]


def fastest(entry: dict, operand: str, grid: dict, runs: list[Callable], budget: int) -> dict[str, int]:
    """Try every candidate in the table that the library reads, leave the best there, and give it."""
    best, best_time = entry[operand], math.inf
    for values in itertools.product(*grid.values()):
        entry[operand] = dict(zip(grid, values, strict=True))
        try:
            times = [triton.testing.do_bench(run, rep=budget, return_mode="median") for run in runs]
        except OutOfResources:
            continue
        mean = math.exp(sum(map(math.log, times)) / len(times))
        if mean < best_time:
            best, best_time = entry[operand], mean
    entry[operand] = best
    return best


if __name__ == "__main__":
    main()
