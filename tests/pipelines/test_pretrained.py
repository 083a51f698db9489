# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Shipped networks: small, loadable, and the same map as what they were packed from."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_run import small_dataset

from physicsnemo_fs.config import (
    GenerateConfig,
    GenerationConfig,
    GenerationIOConfig,
    KolmogorovDatasetConfig,
    SamplerConfig,
)
from physicsnemo_fs.data.normalize import Moments
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.data.types import Channel
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.pipelines import pretrained
from physicsnemo_fs.pipelines.assembly import open_dataset
from physicsnemo_fs.pipelines.generate import generate


def configuration(data, path, **options):
    generation = GenerationConfig(num_ensembles=2, io=GenerationIOConfig(output_filename=str(path)))
    config = GenerateConfig(dataset=small_dataset(data), generation=generation, sampler=SamplerConfig(num_steps=3))
    return replace(config, **options)


def members(path):
    with EnsembleFile(path) as file:
        return np.stack([file.prediction("vorticity", t) for t in range(len(file.times))])


def test_packed_networks_sample_what_the_run_samples(data, run_dir, tmp_path, monkeypatch):
    pretrained.pack(run_dir, tmp_path / "packed", {"command": "test"})
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    packed = members(generate(configuration(data, tmp_path / "p.nc", pretrained="packed")))
    original = members(generate(configuration(data, tmp_path / "o.nc", run_dir=str(run_dir))))
    assert np.abs(packed - original).max() < 0.02 * np.abs(original).max()


@given(mean=st.floats(-1e3, 1e3), std=st.floats(1e-6, 1e6))
def test_a_known_normalisation_is_kept_to_the_bit(mean, std):
    found = Moments(1, mean, std**2)
    assert (found.mean, found.std) == (mean, std)


def test_a_known_normalisation_spares_the_training_split(tmp_path):
    known = {"vorticity": Channel("vorticity", mean=0.0, std=2.0)}
    dataset = open_dataset(small_dataset(tmp_path), Opening("test", channels=known))
    assert dataset.output_channels[0].std == 2.0
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match=r"no pretrained networks named 'era5': there are .*kolmogorov_re40"):
        pretrained.find_pretrained("era5")


def test_the_shipped_networks_are_small_and_beat_interpolation(tmp_path):
    shipped = pretrained.find_pretrained("kolmogorov_re40")
    assert sum(p.stat().st_size for p in shipped.regression.parent.iterdir()) < 2_000_000
    dataset = KolmogorovDatasetConfig(data_path=str(tmp_path), test_grid=64, test_spin_up=[[64, 25.0]])
    dataset.test_trajectories = dataset.test_frames = 1
    config = configuration(tmp_path, tmp_path / "s.nc", pretrained="kolmogorov_re40", dataset=dataset)
    path = generate(replace(config, sampler=SamplerConfig(num_steps=6)))
    with EnsembleFile(path) as file:
        truth, mean = file.truth("vorticity", 0), file.prediction("vorticity", 0).mean(axis=0)
        interpolation = file.input("vorticity", 0)
    assert np.linalg.norm(mean - truth) < 0.5 * np.linalg.norm(interpolation - truth)
    assert path.with_suffix(".png").stat().st_size > 10_000
