# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The comparison of precisions trains pairs that differ in rounding only, and reports their losses."""

import csv
import doctest

import precision_training as benchmark
import pytest

TINY = """
dataset.grid=32 dataset.spin_up=[[32,2.0]] dataset.test_grid=32 dataset.test_spin_up=[[32,2.0]]
dataset.train_trajectories=4 dataset.train_frames=4 dataset.validation_trajectories=2 dataset.validation_frames=2
dataset.test_trajectories=2 dataset.test_frames=2 dataset.reference_resolution=32 dataset.interval=0.5
dataset.evaluation_interval=null dataset.resolution=32
model.model_channels=4 model.channel_mult=[1,2] model.level_grid=[32,16] model.n_modes=[0,3]
training.hp.lr_rampup=0 training.hp.total_batch_size=8 training.io.print_progress_freq=16
training.calibration_samples=16 training.io.validation_samples=4
"""


def test_examples():
    assert doctest.testmod(benchmark).failed == 0


@pytest.mark.slow
def test_a_tiny_comparison(tmp_path, monkeypatch):
    arguments = f"--seeds 0 1 --images 64 --regression-images 32 --output {tmp_path} --results {tmp_path}".split()
    overrides = [f"train.{key}" for key in f"{TINY} dataset.data_path={tmp_path / 'data'}".split()]
    monkeypatch.setattr("sys.argv", ["precision_training.py", *arguments, *overrides])
    benchmark.main()
    rows = list(csv.DictReader(next(tmp_path.glob("*.csv")).open()))
    found = {(row["precision"], row["seed"]): float(row["value"]) for row in rows if row["seed"] != "all"}
    assert len(rows) == 3 * (2 + 2) + 1
    # rounded as in the table, those of one seed may agree
    assert any(found["fp32", seed] != found["amp-bf16", seed] for seed in "01")
    for seed in "01":
        full, half = found["fp32", seed], found["amp-bf16", seed]
        assert half == pytest.approx(full, rel=0.02)
        assert found["amp-bf16 - fp32", seed] == pytest.approx(half - full, abs=2e-6)


def test_one_seed_has_no_spread(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["precision_training.py", "--seeds", "0"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "--seeds needs two different seeds" in capsys.readouterr().err
