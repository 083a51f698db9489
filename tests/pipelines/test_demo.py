# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The whole job in small: every file is made, a second run reuses them."""

import os
import re

import pytest
from ranks import on_ranks
from small_run import small_config

from physicsnemo_fs.config import DemoConfig, FSUNOConfig, SamplerConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.pipelines.demo import Stopwatch, demo
from physicsnemo_fs.pipelines.doctor import report


def small_demo(data, folder):
    train = small_config(data, folder / "unused")
    train.dataset.resolution = 16
    train.model = FSUNOConfig(model_channels=4, channel_mult=[1, 2], level_grid=[16, 8], n_modes=[0, 2])
    return DemoConfig(
        str(folder / "demo"),
        train,
        SamplerConfig(num_steps=2),
        num_ensembles=2,
        fine_resolution=32,
        fine_times=3,
        kmax=6,
    )


def test_the_demo_makes_a_report_and_reuses_what_is_done(data, tmp_path, capsys):
    config = small_demo(data, tmp_path)
    path = demo(config)
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / "demo").rglob("*") if p.suffix in (".nc", ".mdlus")}
    assert "<html" in path.read_text()[:300]
    printed = capsys.readouterr().out
    for word in ("relative L2", "fair CRPS", "spread/skill", "same seed", "network evaluations", "report.html"):
        assert word in printed
    with (
        EnsembleFile(tmp_path / "demo" / "samples_16.nc") as own,
        EnsembleFile(tmp_path / "demo" / "samples_32.nc") as fine,
    ):
        assert len(fine.times) == 3
        assert set(fine.times) < set(own.times)
    demo(config)
    reused = {p: t for p, t in first.items() if "scores" not in str(p)}
    assert {p: p.stat().st_mtime_ns for p in reused} == reused
    assert not (tmp_path / "unused").exists()


def test_a_second_resolution_that_is_not_finer_is_refused_before_anything_is_done(data, tmp_path):
    config = small_demo(data, tmp_path)
    config.fine_resolution = 16
    with pytest.raises(InputError, match="finer than the resolution of training, 16: got 16; set fine_resolution=32"):
        demo(config)
    assert not (tmp_path / "demo").exists()


def test_the_time_of_a_step_is_that_of_its_result(tmp_path):
    result = tmp_path / "result"

    def seconds(took, makes):
        watch = Stopwatch(tmp_path / "timings.json")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.perf_counter", iter([0.0, took]).__next__)
            with watch.step("make", result):
                if makes:
                    result.write_text(str(took))
                    os.utime(result, ns=(0, int(took)))
        return Stopwatch(tmp_path / "timings.json").seconds["make"]

    assert seconds(9.0, True) == 9.0
    assert seconds(20.0, False) == 9.0
    assert seconds(3.0, True) == 3.0


def test_two_ranks_make_the_report_of_one(data, tmp_path, capfd):
    config = small_demo(data, tmp_path)
    assert on_ranks(2, demo, config) == [0, 0]
    printed = capfd.readouterr().out
    assert printed.count("== score") == printed.count("spread/skill 1") + printed.count("spread/skill 0") == 1
    assert "2 processes" in (tmp_path / "demo" / "report.html").read_text()
    alone = small_demo(data, tmp_path / "alone")
    demo(alone)
    two, one = (float(re.search(r"fair CRPS ([0-9.]+)", text)[1]) for text in (printed, capfd.readouterr().out))
    assert two == pytest.approx(one, rel=1e-3)


def test_the_doctor_names_versions_and_the_kernel():
    text = report()
    assert "torch" in text
    assert "spectral kernel" in text
