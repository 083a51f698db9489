# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The GPU benchmark says what was measured and what was modelled, and times nothing that is wrong."""

import csv
import doctest
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
gpu_timing = pytest.importorskip("gpu_timing")
benchmark = pytest.importorskip("spectral_conv_gpu")
variants = pytest.importorskip("spectral_conv_variants")

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
CASE = benchmark.Case(2, 3, 5, 16, 4)


@pytest.fixture
def on_cpu(monkeypatch):
    """Run what is meant for a GPU on the CPU: no graphs, the clock instead of events, "compile" not compiled."""

    def time_rounds(runs, rounds):
        times = {key: [] for key in runs}
        for key in [*runs] * rounds:
            started = time.perf_counter()
            runs[key]()
            times[key].append(1e6 * (time.perf_counter() - started))
        return times

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for module in (benchmark, variants):
        monkeypatch.setattr(module, "DEVICE", torch.device("cpu"))
    monkeypatch.setattr(torch, "compile", lambda layer, dynamic: layer)
    monkeypatch.setattr(benchmark, "capture", lambda run: (run, run()))
    monkeypatch.setattr(benchmark, "peak_mib", lambda run: 1.0)
    monkeypatch.setattr(benchmark, "time_rounds", time_rounds)
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_examples():
    assert doctest.testmod(gpu_timing).failed == 0


def test_without_a_device_every_row_is_modelled_and_no_time_looks_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["spectral_conv_gpu.py", "--output", str(tmp_path / "table.csv")])
    benchmark.main()
    assert "not measured: there is no CUDA device" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert len(rows) == 8 * 4 * 2 * 4
    assert {row["kind"] for row in rows} == {"modelled"}
    assert {row[name] for row in rows for name in ("p20_us", "p50_us", "p80_us", "peak_mib", "rounds")} == {""}


def test_the_committed_table_is_what_the_model_says():
    path = max(RESULTS.glob("spectral_conv_gpu_modelled_*.csv"))
    committed = list(csv.DictReader(path.open()))
    for row, expected in zip(committed, benchmark.modelled_rows(4.3e12), strict=True):
        assert {name: row[name] for name in benchmark.COLUMNS} == {name: str(v) for name, v in expected.items()}


def test_the_table_in_the_documentation_is_the_models():
    table = {}
    for row in benchmark.modelled_rows(4.3e12):
        case = benchmark.Case(*(row[field] for field in benchmark.Case._fields))
        if row["pass"] == benchmark.PASSES[1]:
            table[case, row["variant"], row["dtype"]] = row
    page = (RESULTS.parents[1] / "docs" / "kernels.md").read_text()
    for case in benchmark.LAYERS:
        shown = ("eager", "float32"), ("pruned_fft", "float32"), ("triton", "tf32"), ("triton", "bfloat16")
        times = [f"{table[case, *key]['modelled_us']:.0f}" for key in shown]
        half = table[case, "triton", "bfloat16"]
        cells = (case, *times, f"{half['limit_us']:.0f}", f"{half['speedup_over_best_torch']:.1f}")
        assert f"| {' | '.join(map(str, cells))} |" in page


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("passes", benchmark.PASSES)
@pytest.mark.parametrize("dtype", benchmark.PRECISIONS)
def test_variants_agree_and_failures_say_why(dtype, passes):
    """Triton needs a GPU here: its rows hold the reason and no time; the others are measured."""
    oracle = variants.oracle_errors(CASE, dtype)
    rows = benchmark.measure(CASE, dtype, passes, variants.build_variants(CASE), oracle, 5, 1e9)
    assert len(rows) == 8
    for row in rows:
        assert list(row) == list(benchmark.COLUMNS)
        assert row["kind"] == "measured"
        if row["variant"] == "triton":
            assert row["p50_us"] == row["speedup_over_best_torch"] == row["relative_error"] == ""
            assert row["note"].startswith("backend 'triton' needs an NVIDIA GPU")
        else:
            assert row["p20_us"] <= row["p50_us"] <= row["p80_us"]
            assert float(row["relative_error"]) <= benchmark.PRECISIONS[dtype].tolerance
            assert not row["note"]


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("error", [1.0, float("nan")])
def test_a_wrong_variant_is_not_timed(error):
    oracle = {"eager": 0.0, "pruned_fft": error}
    rows = benchmark.measure(CASE, "float32", "forward", variants.build_variants(CASE), oracle, 5, 1e9)
    wrong = [row for row in rows if row["variant"] == "pruned_fft"]
    assert [row["p50_us"] for row in wrong] == ["", ""]
    assert all(row["note"].startswith("not timed: relative error") for row in wrong)


def test_ratios_are_against_the_fastest_torch_variant():
    times = {"eager": 40.0, "compile": 30.0, "pruned_fft": 20.0, "triton": 5.0}
    group = [benchmark.base_row("measured", CASE, "float32", "forward", v, False, 1e9) for v in times]
    for row in group:
        row["p50_us"], row["limit_us"] = times[row["variant"]], 2.5
    benchmark.finish(group)
    assert [row["speedup_over_best_torch"] for row in group] == [0.5, 0.667, 1.0, 4.0]
    assert group[-1]["share_of_limit"] == 0.5


def test_a_device_without_the_kernels_gets_one_line(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old GPU")
    with pytest.raises(SystemExit, match=r"^Old GPU: backend 'triton' needs compute capability 8\.0: got 7\.5.*$"):
        benchmark.refuse_unsupported_devices()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_small_case_is_measured_on_the_gpu():
    torch._dynamo.reset()
    case = benchmark.Case(2, 8, 8, 32, 8)
    oracle = variants.oracle_errors(case, "bfloat16")
    rows = benchmark.measure(case, "bfloat16", "forward+backward", variants.build_variants(case), oracle, 5, 1e12)
    assert [row["note"] for row in rows] == [""] * 8
    assert all(row["p50_us"] > 0 for row in rows)
    assert gpu_timing.copy_bandwidth(0.01) > 0
