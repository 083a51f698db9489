# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Time the spectral convolution on a CUDA device; without one, write what the byte model says.

Every row says which in its column ``kind``: "measured" or "modelled". Variants: PhysicsNeMo's layer eager and by
torch.compile, and the backends "pruned_fft" and "triton". All of them are compared with a float64 oracle on the CPU
for a few channels, and with the eager layer at the size that is timed, before anything is timed. Speed-ups are
against the fastest of the first three with the same dtype, pass and use of CUDA graphs.

Example: python benchmarks/spectral_conv_gpu.py --output spectral_conv_gpu.csv
"""

import argparse
import math
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import triton
from gpu_timing import capture, copy_bandwidth, peak_mib, quantiles, time_rounds
from roofline import FSUNO_BRANCHES, LAYERS, PASSES, TORCH_VARIANTS, VARIANTS, Case, limit_bytes, variant_bytes
from spectral_conv_variants import (
    DEVICE,
    FAILURES,
    PRECISIONS,
    Variant,
    build_variants,
    comparable,
    draw,
    largest_error,
    make_run,
    oracle_errors,
)
from timing import provenance, versions, write_rows

from physicsnemo_fs.kernels import choose_backend

COLUMNS = (
    "kind", *Case._fields, "dtype", "pass", "cuda_graph", "variant", "p20_us", "p50_us", "p80_us", "rounds",
    "modelled_mb", "modelled_us", "limit_us", "speedup_over_best_torch", "share_of_limit", "peak_mib",
    "relative_error", "note",
)  # fmt: skip


def main() -> None:
    """Measure or model every case, print and write the rows."""
    args = parse_arguments()
    if args.modelled or not torch.cuda.is_available():
        print("modelled from bytes moved, not measured" + ("" if args.modelled else ": there is no CUDA device"))
        save(args.output, modelled_rows(args.bandwidth), "none", args.bandwidth)
        return
    refuse_unsupported_devices()
    bandwidth = copy_bandwidth()
    print(f"{torch.cuda.get_device_name()}, copies {bandwidth / 1e12:.2f} TB/s")
    rows = []
    for row_group in measured_rows(args, bandwidth):
        rows += row_group
        save(args.output, rows, torch.cuda.get_device_name(), bandwidth)
    failures = [row["note"] for row in rows if row["note"]]
    if failures:
        raise SystemExit(f"{len(failures)} of {len(rows)} rows hold no time, see their note; first: {failures[0]}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=8, help="no new case is begun after this time")
    parser.add_argument("--quick", action="store_true", help="three cases, float32 and bfloat16, 10 rounds")
    parser.add_argument("--modelled", action="store_true", help="write the model's table even with a CUDA device")
    parser.add_argument("--bandwidth", type=float, default=4.3e12, help="bytes a second of the modelled table")
    return parser.parse_args()


def refuse_unsupported_devices() -> None:
    """Stop with one line if the Triton kernels cannot run on the current device."""
    try:
        choose_backend(DEVICE, (8, 8), "triton", torch.bfloat16)
    except ValueError as error:
        raise SystemExit(f"{torch.cuda.get_device_name()}: {error}; or --modelled for the model's table") from None


def modelled_rows(bandwidth: float) -> list[dict]:
    """Give the model's table at ``bandwidth`` bytes a second."""
    rows = []
    for case in (*LAYERS, *FSUNO_BRANCHES):
        for dtype in PRECISIONS:
            for passes in PASSES:
                group = [base_row("modelled", case, dtype, passes, v, "", bandwidth) for v in VARIANTS]
                if dtype == "float32":
                    group[-1]["note"] = "traffic only; arithmetic without matrix units takes longer"
                rows += finish(group)
    return rows


def measured_rows(args: argparse.Namespace, bandwidth: float) -> Iterator[list[dict]]:
    """Give the rows of one case, dtype and pass after the other, until the time is up."""
    started = time.monotonic()
    cases = (LAYERS[0], LAYERS[2], FSUNO_BRANCHES[0]) if args.quick else (*LAYERS, *FSUNO_BRANCHES)
    dtypes = ("float32", "bfloat16") if args.quick else tuple(PRECISIONS)
    for number, case in enumerate(cases):
        if time.monotonic() - started > 60 * args.minutes:
            print(f"time is up, left out: {', '.join(map(str, cases[number:]))}")
            return
        torch._dynamo.reset()
        variants = build_variants(case)
        for dtype in dtypes:
            torch.set_float32_matmul_precision(PRECISIONS[dtype].products)
            errors = oracle_errors(case, dtype)
            for passes in PASSES:
                group = measure(case, dtype, passes, variants, errors, 10 if args.quick else args.rounds, bandwidth)
                print_rows(group)
                yield group


def measure(
    case: Case,
    dtype: str,
    passes: str,
    variants: dict[str, Variant],
    oracle: dict[str, float],
    rounds: int,
    bandwidth: float,
) -> list[dict]:
    """Check, then time all variants with and without CUDA graphs in the same rounds."""
    x, cotangent = draw(case, PRECISIONS[dtype].dtype)
    expected = [r.float() for r in comparable(make_run(variants["eager"], x, cotangent, passes)())]
    rows, runs = {}, {}
    for name, variant in variants.items():
        run = make_run(variant, x, cotangent, passes)
        for graph in (False, True):
            row = rows[name, graph] = base_row("measured", case, dtype, passes, name, graph, bandwidth)
            try:
                replay, results = capture(run) if graph else (run, run())
                replay()
                row["peak_mib"] = "" if graph else round(peak_mib(run), 1)
            except FAILURES as error:
                row["note"] = str(error).splitlines()[0][:160]
                continue
            worst = max(largest_error(results, expected), oracle.get(name, 0.0), key=lambda e: (math.isnan(e), e))
            row["relative_error"] = f"{worst:.2e}"
            if worst <= PRECISIONS[dtype].tolerance:
                runs[name, graph] = replay
            else:
                row["note"] = f"not timed: relative error {worst:.2e} exceeds {PRECISIONS[dtype].tolerance:.0e}"
            del results
    for key, times in time_rounds(runs, rounds).items():
        rows[key]["p20_us"], rows[key]["p50_us"], rows[key]["p80_us"] = quantiles(times)
        rows[key]["rounds"] = rounds
    return [row for graph in (False, True) for row in finish([r for (_, g), r in rows.items() if g is graph])]


def base_row(kind: str, case: Case, dtype: str, passes: str, variant: str, graph: bool | str, bandwidth: float) -> dict:
    """Give a row with what is known before any time."""
    item = PRECISIONS[dtype].dtype.itemsize
    traffic = variant_bytes(variant, case, passes, item)
    known = {
        "kind": kind, **case._asdict(), "dtype": dtype, "pass": passes, "cuda_graph": graph, "variant": variant,
        "modelled_mb": traffic / 1e6, "modelled_us": 1e6 * traffic / bandwidth,
        "limit_us": 1e6 * limit_bytes(case, passes, item) / bandwidth,
    }  # fmt: skip
    return dict.fromkeys(COLUMNS, "") | known


def finish(group: list[dict]) -> list[dict]:
    """Fill in the ratios of rows that differ in the variant only, and round.

    They are ratios of measured medians or, in modelled rows, of modelled times.
    """
    times = {row["variant"]: time_of(row) for row in group if time_of(row) is not None}
    torch_times = [value for name, value in times.items() if name in TORCH_VARIANTS]
    for row in group:
        if row["variant"] in times:
            row["share_of_limit"] = round(row["limit_us"] / times[row["variant"]], 3)
            row["speedup_over_best_torch"] = round(min(torch_times) / times[row["variant"]], 3) if torch_times else ""
        for name in ("p20_us", "p50_us", "p80_us", "limit_us", "modelled_us", "modelled_mb"):
            row[name] = row[name] if row[name] == "" else round(row[name], 2)
    return group


def time_of(row: dict) -> float | None:
    """Give the row's time of its own kind, if it has one."""
    value = row["p50_us" if row["kind"] == "measured" else "modelled_us"]
    return None if value == "" else value


def save(path: Path, rows: list[dict], device: str, bandwidth: float) -> None:
    """Write the rows with where, when and how they were made."""
    context = {"device": device, "bandwidth_tb_s": round(bandwidth / 1e12, 3), "commit": commit(), **provenance()}
    context |= versions() | {"triton": triton.__version__, "cuda": torch.version.cuda or ""}
    write_rows(path, [row | context for row in rows])


def commit() -> str:
    """Give the commit of this checkout, marked if something is not committed."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)  # noqa: S603 - fixed
    return done.stdout.strip() or "unknown"


def print_rows(rows: list[dict]) -> None:
    """Print one line a row."""
    for row in rows:
        case = Case(*(row[field] for field in Case._fields))
        graph = "graph" if row["cuda_graph"] else ""
        print(
            f"{case!s:>22} {row['dtype']:>9} {row['pass']:>17} {graph:>6} {row['variant']:>11} {row['p50_us']!s:>9} us"
            f" {row['speedup_over_best_torch']!s:>7} x {row['share_of_limit']!s:>6} of limit {row['note']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
