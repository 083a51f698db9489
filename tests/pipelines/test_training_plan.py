# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""A dry run of training: the plan is told, nothing is written."""

import os
import re
from dataclasses import replace

import pytest
from ranks import on_ranks
from small_run import small_config

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.train import train


def dry(config):
    return replace(config, training=replace(config.training, dry_run=True))


def files(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_a_dry_run_says_the_plan_and_writes_nothing(data, run_dir, tmp_path, capsys, monkeypatch):
    before = files(data)
    monkeypatch.chdir(tmp_path)
    train(dry(small_config(data, tmp_path / "run")))
    text = capsys.readouterr().out
    assert "kolmogorov: 16 training samples, 4 for validation" in text
    assert re.search(r"vorticity \[s-1\].* on 4 x 4 to vorticity \[s-1\] on 32 x 32\n", text)
    assert re.search(r"regression\n  network   FSRegressionSR of [\d,]+ parameters\n", text)
    assert text.count("6 of 8 images in micro-batches of 8: 3 epochs") == 2
    assert (
        len(re.findall(r"  time      [\d.]+ s, at [\d.e-]+ s a step and [\d.e-]+ s for each of 2 validations", text))
        == 2
    )
    assert list(tmp_path.iterdir()) == []
    assert files(data) == before


def test_its_sizes_are_those_of_the_files(data, run_dir, tmp_path, capsys):
    train(dry(small_config(data, tmp_path / "run")))
    text = capsys.readouterr().out
    for stage in ("regression", "diffusion"):
        pair = sum(next((run_dir / stage).glob(f"*.48.{end}")).stat().st_size for end in ("pt", "mdlus"))
        number, unit = re.search(rf"{stage}\n.*\n.*\n  disk .* 3 checkpoints of ([\d.]+) (kB|MB)", text).groups()
        assert 0.7 * pair < float(number) * {"kB": 1e3, "MB": 1e6}[unit] < 1.1 * pair


def test_a_dry_run_of_a_finished_run_has_nothing_left(data, run_dir, capsys):
    before = files(run_dir)
    train(dry(small_config(data, run_dir)))
    assert capsys.readouterr().out.count("  steps     0 of 8 images in micro-batches of 8, after image 48") == 2
    assert files(run_dir) == before


def test_data_that_is_not_simulated_yet_is_not_simulated(run_dir, tmp_path, capsys):
    train(dry(small_config(tmp_path / "data", tmp_path / "run")))
    assert "16 training samples, 4 for validation; to be simulated first" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_refuses_what_the_training_would(data, run_dir):
    with pytest.raises(InputError, match="holds a run with another seed"):
        train(replace(dry(small_config(data, run_dir)), seed=1))


def test_several_ranks_plan_together(data, run_dir, tmp_path, capfd):
    assert on_ranks(2, train, dry(small_config(data, tmp_path / "run"))) == [0, 0]
    text = capfd.readouterr().out
    assert text.count("processes   2 on cpu") == 1
    assert "of 8 images in micro-batches of 4" in text
    assert not os.listdir(tmp_path)
