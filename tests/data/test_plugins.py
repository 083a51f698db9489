# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from physicsnemo_fs.config import FSUNOConfig, PluginDatasetConfig, TrainConfig, check_groups
from physicsnemo_fs.data import plugins
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.pipelines.assembly import open_dataset

WAVES = """
from dataclasses import dataclass

import numpy as np
import torch

from physicsnemo_fs.data.types import Batch, Channel, Grid


@dataclass
class Options:
    amplitude: float = 1.0
    samples: int = 8


class Dataset:
    def __init__(self, options):
        self.options = options
        self.input_channels = self.output_channels = (Channel("height", "m"),)
        self.invariant_channels = ()
        self.grid = Grid((16, 16), (1.0, 1.0))
        self.coarse_grid = Grid((4, 4), (1.0, 1.0), registration="cell")
        self.times = np.datetime64("2020-01-01", "ns") + np.arange(options.samples) * np.timedelta64(1, "D")
        self.blocks = np.arange(options.samples)

    def __len__(self):
        return self.options.samples

    def fetch(self, indices, augmentation_keys=None):
        phase = torch.tensor([[[[float(i)]]] for i in indices])
        x = torch.arange(16.0).view(1, 1, 1, 16).expand(len(indices), 1, 16, 16)
        target = self.options.amplitude * torch.sin(x * torch.pi / 8 + phase)
        coarse = torch.nn.functional.avg_pool2d(target, 4)
        return Batch(coarse, torch.zeros(len(indices), 0, 16, 16), target, torch.tensor(list(indices)))


class Waves:
    Options = Options

    def open(self, options, opening):
        return Dataset(options)


nothing = 3
"""


@pytest.fixture
def waves(tmp_path):
    path = tmp_path / "waves.py"
    path.write_text(WAVES)
    return path


@pytest.fixture
def installed(waves, monkeypatch):
    monkeypatch.syspath_prepend(waves.parent)
    point = EntryPoint("waves", "waves:Waves", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == plugins.GROUP else [])


def test_an_installed_plugin_and_a_file_open_the_same_dataset(installed, waves):
    for name in ("waves", "waves:Waves", f"{waves}:Waves", f"{waves}::Waves"):
        config = PluginDatasetConfig(type=name, options={"amplitude": 2.0})
        check_groups(TrainConfig(dataset=config, model=FSUNOConfig()))
        dataset = open_dataset(config, Opening("train"))
        assert isinstance(dataset, DownscalingDataset)
        assert dataset.options.amplitude == 2.0
        assert len(dataset) == 8


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tides", {}, "no dataset plugin is named 'tides': installed are waves"),
        ("waves:Tides", {}, "waves:Tides cannot be imported: .* has no attribute 'Tides'"),
        ("nowhere.waves:Waves", {}, "nowhere.waves:Waves cannot be imported: No module named 'nowhere'"),
        ("missing.py:Waves", {}, "no such file: missing.py"),
        ("waves:nothing", {}, "waves:nothing must be a dataset plugin"),
        ("waves", {"amplitud": 2.0}, "amplitud.* the options are amplitude, samples"),
        ("waves", {"samples": "many"}, "samples|many"),
    ],
)
def test_a_mistake_is_named(installed, name, options, message):
    with pytest.raises(InputError, match=message):
        open_dataset(PluginDatasetConfig(type=name, options=options), Opening("train"))


def test_a_plugin_is_trained_from_the_command_line(waves, tmp_path):
    command = [sys.executable, "-m", "physicsnemo_fs.cli", "train", "dataset=plugin", f"run_dir={tmp_path / 'run'}"]
    command += [f"dataset.type='{waves}:Waves'", "+dataset.options.amplitude=3", "stage=regression"]
    command += ["training.hp.training_duration=16", "training.hp.total_batch_size=8", "training.calibration_samples=4"]
    command += ["model.channel_mult=[1,2]", "model.level_grid=[16,8]", "model.n_modes=[0,2]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "regression" / "FSRegressionSR.0.16.mdlus").is_file()
