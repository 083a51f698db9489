# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Generation: the same numbers however it is batched, and clear errors."""

from dataclasses import replace

import numpy as np
import pytest
from small_run import small_config, small_dataset

from physicsnemo_fs.config import GenerateConfig, GenerationConfig, GenerationIOConfig, SamplerConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.consistency import same_seed_consistency
from physicsnemo_fs.pipelines import member_sources
from physicsnemo_fs.pipelines.checkpoints import newest
from physicsnemo_fs.pipelines.generate import generate, generate_regions
from physicsnemo_fs.pipelines.train import train

SAMPLER = SamplerConfig(num_steps=3)


def configuration(data, run_dir, path, sampler=SAMPLER, **generation):
    io = GenerationIOConfig(output_filename=str(path))
    options = GenerationConfig(num_ensembles=3, io=io)
    return GenerateConfig(
        run_dir=str(run_dir), dataset=small_dataset(data), generation=replace(options, **generation), sampler=sampler
    )


def members(path):
    with EnsembleFile(path) as file:
        return np.stack([file.prediction("vorticity", t) for t in range(len(file.times))])


@pytest.fixture(scope="module")
def samples(data, run_dir, tmp_path_factory):
    return generate(configuration(data, run_dir, tmp_path_factory.mktemp("samples") / "s.nc"))


def test_the_file_holds_what_was_asked_for(samples):
    with EnsembleFile(samples) as file:
        assert list(file.seeds) == [0, 1, 2]
        assert len(file.times) == 4
        assert file.provenance["config"]["sampler"]["num_steps"] == 3
        assert len(file.provenance["checkpoints"]["diffusion"]) == 64
        assert file.truth("vorticity", 0).shape == (32, 32)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_batch_size_changes_no_number(batch, samples, data, run_dir, tmp_path):
    path = generate(configuration(data, run_dir, tmp_path / "b.nc", seed_batch_size=batch))
    assert np.abs(members(path) - members(samples)).max() < 1e-4 * np.abs(members(samples)).max()


def test_a_time_and_a_member_do_not_depend_on_the_others(samples, data, run_dir, tmp_path):
    with EnsembleFile(samples) as file:
        time = str(file.times[2])
    path = generate(configuration(data, run_dir, tmp_path / "t.nc", times=[time], num_ensembles=1, seed=1))
    expected = members(samples)[2, 1]
    assert np.abs(members(path)[0, 0] - expected).max() < 1e-4 * np.abs(expected).max()


def test_one_configuration_gives_one_file(samples, data, run_dir, tmp_path):
    path = generate(configuration(data, run_dir, tmp_path / "again.nc"))
    assert np.array_equal(members(path), members(samples))


def test_members_differ_and_regression_mode_has_one(samples, data, run_dir, tmp_path):
    drawn = members(samples)
    assert np.abs(drawn[:, 0] - drawn[:, 1]).max() > 0.1
    path = generate(configuration(data, run_dir, tmp_path / "r.nc", inference_mode="regression"))
    with EnsembleFile(path) as file:
        assert np.allclose(file.prediction("vorticity", 0)[0], file.regression("vorticity", 0), atol=1e-5)


def test_the_dressed_mean_scatters_about_the_mean(data, run_dir, tmp_path):
    path = generate(configuration(data, run_dir, tmp_path / "d.nc", inference_mode="dressed", num_ensembles=16))
    with EnsembleFile(path) as file:
        residual = file.prediction("vorticity", 0) - file.regression("vorticity", 0)
    assert residual.std() > 0.1
    assert np.abs(residual.mean(axis=0)).max() < 5 * residual.std() / 4


def test_the_dressed_interpolation_scatters_about_the_input(data, run_dir, tmp_path):
    options = {"inference_mode": "dressed_interpolation", "num_ensembles": 64}
    path = generate(configuration(data, run_dir, tmp_path / "d.nc", **options))
    with EnsembleFile(path) as file:
        assert not file.has_regression
        deviation = file.prediction("vorticity", 0) - file.input("vorticity", 0)
    standard_error = deviation.std(axis=0, ddof=1) / 8
    assert np.abs(deviation.mean(axis=0) / standard_error).mean() < 1.2  # .80 expected of a mean of zero


def test_the_same_seed_is_the_same_function_on_a_coarser_grid(samples, data, run_dir, tmp_path):
    """Truncation to 24 points loses the modes above 11, so fields agree in that band only as far as those matter."""
    path = generate(configuration(data, run_dir, tmp_path / "c.nc", resolution=24))
    assert same_seed_consistency(members(path), members(samples)).field < 0.05


def test_a_grid_finer_than_any_truth_is_the_same_function_without_truth(samples, data, run_dir, tmp_path):
    path = generate(configuration(data, run_dir, tmp_path / "fine.nc", resolution=48))
    with EnsembleFile(path) as file:
        assert not file.has_truth
    assert same_seed_consistency(members(samples), members(path)).field < 1e-5


def test_a_reused_file_is_kept_and_another_configuration_replaces_it(data, run_dir, tmp_path):
    config = configuration(data, run_dir, tmp_path / "x.nc", num_ensembles=1)
    path = generate(config, reuse=True)
    first = path.stat().st_mtime_ns
    assert generate(config, reuse=True).stat().st_mtime_ns == first
    config.generation.seed = 5
    assert generate(config, reuse=True).stat().st_mtime_ns > first


def test_each_region_has_a_file_and_noise_of_its_own(data, run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("physicsnemo_fs.pipelines.generate.region_names", lambda config, split: ("north", "south"))
    config = configuration(data, run_dir, tmp_path / "s.nc", inference_mode="dressed", num_ensembles=2)
    fitted = []
    real = member_sources.fit_dressing
    monkeypatch.setattr(member_sources, "fit_dressing", lambda *given: fitted.append(0) or real(*given))
    paths = generate_regions(config)
    assert [path.name for path in paths] == ["s_north.nc", "s_south.nc"]
    assert len(fitted) == 1
    north, south = (members(path) for path in paths)
    assert np.abs(north - south).max() > 0.1
    with EnsembleFile(paths[1]) as file:
        assert file.provenance["region"] == "south"


def test_churn_gives_other_samples(samples, data, run_dir, tmp_path):
    sampler = SamplerConfig(num_steps=3, S_churn=1.0)
    path = generate(configuration(data, run_dir, tmp_path / "churn.nc", sampler=sampler))
    assert np.abs(members(path) - members(samples)).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": ["1999-01-01"]}, "is not among the 4 times of the split, which run from"),
        ({"times": ["yesterday"]}, "must be ISO times"),
        ({"num_ensembles": 0}, "num_ensembles must be at least 1"),
        ({"resolution": 3}, "resolution must lie between the coarse grid 4"),
    ],
)
def test_an_impossible_request_is_refused(options, message, data, run_dir, tmp_path):
    with pytest.raises(InputError, match=message):
        generate(configuration(data, run_dir, tmp_path / "x.nc", **options))
    assert not list(tmp_path.iterdir())


def test_missing_checkpoints_and_foreign_data_are_refused(data, run_dir, tmp_path):
    with pytest.raises(InputError, match=r"no FSRegressionSR checkpoint in .*: train first"):
        generate(configuration(data, tmp_path, tmp_path / "x.nc"))
    config = configuration(data, run_dir, tmp_path / "x.nc")
    config.dataset.window_size = 0
    config.dataset.forcing_mode = 4
    config.dataset.test_frames = 3
    config.dataset.window_size = 1
    with pytest.raises(InputError, match=r"the regression checkpoint takes 3 condition channels"):
        generate(config)


@pytest.mark.parametrize(
    ("change", "difference"),
    [({"lowres_scale_factor": 4}, "coarse_spacing"), ({"reynolds": 100.0}, r"input_channels\[0\]\.mean|std")],
)
def test_data_of_another_kind_is_refused(data, run_dir, tmp_path, change, difference):
    config = configuration(data, run_dir, tmp_path / "s.nc")
    other = replace(config, dataset=replace(config.dataset, **change))
    with pytest.raises(InputError, match=f"trained on data with another .*({difference})"):
        generate(other)


def test_a_mean_of_another_training_is_refused(data, run_dir, tmp_path):
    train(replace(small_config(data, tmp_path), seed=1, stage="regression"))
    config = configuration(data, run_dir, tmp_path / "s.nc")
    config.generation.io.reg_ckpt_filename = str(newest(tmp_path / "regression", "*.mdlus"))
    with pytest.raises(InputError, match="give the pair of one training"):
        generate(config)


def test_the_output_is_netcdf_by_name(data, run_dir, tmp_path):
    with pytest.raises(InputError, match=r"must end in \.nc: got .*s\.png"):
        generate(configuration(data, run_dir, tmp_path / "s.png"))
