# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import csv
import sys

import patches
import pytest

SMALL = [
    "dataset.grid=96",
    "dataset.store_grid=64",
    "dataset.spin_up=[[96,0.5]]",
    "dataset.test_grid=96",
    "dataset.test_store_grid=64",
    "dataset.test_spin_up=[[96,0.5]]",
    "dataset.train_trajectories=2",
    "dataset.train_frames=4",
    "dataset.validation_trajectories=2",
    "dataset.test_trajectories=2",
    "dataset.reference_resolution=64",
    "training.hp.total_batch_size=2",
    "training.hp.lr_rampup=2",
]


@pytest.mark.slow
def test_every_phase_is_done_once(tmp_path, monkeypatch):
    done = {}

    def in_this_process(arguments, *what):
        if what not in done:
            done[what] = patches.PHASES[what[0]](arguments, *what[1:])
        return done[what]

    options = ["--models", "operator, windows", "--seeds", "3", "--patch", "32", "--members", "2", "--steps", "2"]
    budget = ["--minutes", "0", "--mean-minutes", "0", "--output", str(tmp_path), "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["patches.py", *options, *budget, *SMALL, f"dataset.data_path={tmp_path}"])
    monkeypatch.setattr(patches, "phase", in_this_process)
    patches.main()
    (path,) = tmp_path.glob("patches_*.csv")
    with path.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["model"], row["seed"], row["images"], row["fields"]) == ("operator, windows", "3", "2", "2")
    assert float(row["seam_ratio"]) > 0
    assert 0 < float(row["cpu_s_a_member"]) < 60
    assert all(found["cpu_ms_an_image"] > 0 for what, found in done.items() if what[0] == "speed")
    assert [what[0] for what in done] == ["speed", "mean", "speed", "train", "sample", "score"]
