# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The table of tile sizes is complete, and no tile reads past the padding of the cosine tables."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
configs = importlib.import_module("physicsnemo_fs.kernels.spectral_conv.triton_kernels.configs")
tables = importlib.import_module("physicsnemo_fs.kernels.spectral_conv.triton_kernels.tables")
TABLE = json.loads(configs.TABLE.read_text())
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("name", TABLE)
def test_entries_are_complete_and_fit_the_padding(name):
    entry = TABLE["default"] | TABLE[name]
    for kernel in ("analysis", "synthesis"):
        for operand in ("half", "tf32", "exact"):
            config = configs.TileConfig(**entry[kernel][operand])
            assert tables.GRID_PAD % config.lines == 0 == tables.GRID_PAD % config.width
            assert tables.MODE_PAD % config.rows == 0 == tables.MODE_PAD % config.columns
            assert min(config[:4]) >= 16
            assert config.across % config.columns == 0
    for operand in ("half", "tf32", "exact"):
        config = configs.ConcatenatedConfig(**entry["concatenated"][operand])
        assert tables.GRID_PAD % config.width == 0
        assert min(config[:3]) >= 16
    for operand in ("tf32", "exact"):
        assert min(configs.ProductConfig(**entry["product"][operand])[:3]) >= 16


def test_a_gpu_without_an_entry_takes_the_default_one(monkeypatch, tmp_path):
    table = tmp_path / "configs.json"
    own = {"analysis": {"half": {"lines": 128}}}
    table.write_text(json.dumps(TABLE | {"known GPU": own}))
    monkeypatch.setattr(configs, "TABLE", table)
    names = iter(["unknown GPU", "known GPU"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: next(names))
    unknown, known = (configs.entry.__wrapped__(torch.device("cuda", 0)) for _ in range(2))
    assert unknown == TABLE["default"]
    assert known == TABLE["default"] | own


def test_the_tuner_writes_an_entry_and_keeps_the_others(monkeypatch, tmp_path):
    table = tmp_path / "configs.json"
    table.write_text(configs.TABLE.read_text())
    monkeypatch.setattr(configs, "TABLE", table)
    configs.write_entry("default", TABLE["default"])
    assert table.read_text() == Path(configs.__file__).with_name("configs.json").read_text()
    configs.write_entry("GPU", TABLE["default"])
    assert json.loads(table.read_text()) == TABLE | {"GPU": TABLE["default"]}


def test_the_tuner_keeps_the_fastest_candidate_that_fits(monkeypatch):
    specification = importlib.util.spec_from_file_location("tune", BENCHMARKS / "tune_spectral_conv.py")
    tune = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tune)
    entry = {"half": {"lines": 0}}

    def bench(run, rep, return_mode):
        if entry["half"]["lines"] == 1:
            raise tune.OutOfResources(2, 1, "shared memory")
        return {2: 3.0, 4: 2.0, 8: 4.0}[entry["half"]["lines"]]

    monkeypatch.setattr(tune.triton.testing, "do_bench", bench)
    assert tune.fastest(entry, "half", {"lines": (1, 2, 4, 8)}, [torch.empty], 1) == {"lines": 4}
    assert entry == {"half": {"lines": 4}}
