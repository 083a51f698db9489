# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The whole job in small: every file is made, a second run reuses them."""

from small_run import small_config

from physicsnemo_fs.config import DemoConfig, FSUNOConfig, SamplerConfig
from physicsnemo_fs.pipelines.demo import demo
from physicsnemo_fs.pipelines.doctor import report


def test_the_demo_makes_a_report_and_reuses_what_is_done(data, tmp_path, capsys):
    train = small_config(data, tmp_path / "unused")
    train.dataset.resolution = 16
    train.model = FSUNOConfig(model_channels=4, channel_mult=[1, 2], level_grid=[16, 8], n_modes=[0, 2])
    config = DemoConfig(
        str(tmp_path / "demo"), train, SamplerConfig(num_steps=2), num_ensembles=2, fine_resolution=32, kmax=6
    )
    path = demo(config)
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / "demo").rglob("*") if p.suffix in (".nc", ".mdlus")}
    assert "<html" in path.read_text()[:300]
    printed = capsys.readouterr().out
    for word in ("relative L2", "fair CRPS", "spread/skill", "same seed", "network evaluations", "report.html"):
        assert word in printed
    demo(config)
    reused = {p: t for p, t in first.items() if "scores" not in str(p)}
    assert {p: p.stat().st_mtime_ns for p in reused} == reused
    assert not (tmp_path / "unused").exists()


def test_the_doctor_names_versions_and_the_kernel():
    text = report()
    assert "torch" in text
    assert "spectral kernel" in text
