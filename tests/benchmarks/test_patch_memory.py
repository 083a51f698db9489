# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import csv
import sys

import patch_memory
import pytest


@pytest.mark.slow
def test_both_paths_are_measured_in_processes_of_their_own(tmp_path, monkeypatch, capsys):
    command = ["patch_memory.py", "--shapes", "128", "256", "--channels", "1", "--steps", "1"]
    command += ["--paths", "command, truth", "whole"]
    monkeypatch.setattr(sys, "argv", [*command, "--results", str(tmp_path)])
    patch_memory.main()
    (path,) = tmp_path.glob("patch_memory_*.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["windows"]) for row in rows] == [("command, truth", "3"), ("whole", "1")]
    assert all(0 < float(row["peak_mib"]) < 6000 for row in rows)


def committed():
    (path,) = (patch_memory.Path(patch_memory.__file__).parent / "results").glob("patch_memory_*.csv")
    with path.open() as file:
        return {(row["path"], int(row["height"]), int(row["width"])): row for row in csv.DictReader(file)}


@pytest.mark.parametrize("path", ["windows", "command", "command, truth"])
def test_the_committed_memory_does_not_grow_with_the_number_of_windows(path):
    rows = committed()
    beyond = [float(rows[path, n, n]["beyond_mib"]) for n in (512, 2048)]
    assert abs(beyond[1] / beyond[0] - 1) < 0.1
    if path != "command, truth":
        assert float(rows[path, *patch_memory.CONUS]["peak_mib"]) < 6 * 1024
