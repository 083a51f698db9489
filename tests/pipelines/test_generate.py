# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Generation: the same numbers however it is batched, and clear errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from generated import configuration, members, same_to_rounding
from small_run import small_config, small_dataset

from physicsnemo_fs.config import GenerationPerformanceConfig, SamplerConfig
from physicsnemo_fs.data.opening import Opening
from physicsnemo_fs.diffusion.sampling import ResidualSampler
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.metrics.consistency import same_seed_consistency
from physicsnemo_fs.nn.conservation import cell_average
from physicsnemo_fs.nn.resample import fourier_resample
from physicsnemo_fs.pipelines import member_sources
from physicsnemo_fs.pipelines.assembly import open_dataset
from physicsnemo_fs.pipelines.checkpoints import newest
from physicsnemo_fs.pipelines.generate import generate, generate_regions
from physicsnemo_fs.pipelines.train import train


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
    assert same_to_rounding(members(path), members(samples))


def test_a_time_and_a_member_do_not_depend_on_the_others(samples, data, run_dir, tmp_path):
    with EnsembleFile(samples) as file:
        time = str(file.times[2])
    path = generate(configuration(data, run_dir, tmp_path / "t.nc", times=[time], num_ensembles=1, seed=1))
    expected = members(samples)[2, 1]
    assert same_to_rounding(members(path)[0, 0], expected)


def test_one_configuration_gives_one_file(samples, data, run_dir, tmp_path):
    path = generate(configuration(data, run_dir, tmp_path / "again.nc"))
    assert np.array_equal(members(path), members(samples))


@pytest.mark.parametrize("resolution", [32, 48])
def test_members_and_mean_average_to_the_input_over_its_cells(resolution, data, run_dir, tmp_path):
    path = generate(configuration(data, run_dir, tmp_path / "a.nc", resolution=resolution))
    test = open_dataset(small_dataset(data), Opening("test"))
    wanted = test.output_channels[0].denormalize(test.fetch(range(len(test))).coarse).double()
    with EnsembleFile(path) as file:
        means = np.stack([file.regression("vorticity", t) for t in range(len(file.times))])
    for fields in (members(path), means[:, None]):
        known = fourier_resample(torch.from_numpy(fields).double(), (32, 32))  # the band of the training grid
        averages = cell_average(known, (4, 4))
        assert (averages - wanted).abs().max() < 1e-5 * wanted.abs().max()


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


def test_a_finished_file_is_kept_and_another_configuration_replaces_it_only_on_demand(data, run_dir, tmp_path):
    config = configuration(data, run_dir, tmp_path / "x.nc", num_ensembles=1)
    path = generate(config)
    first = path.stat().st_mtime_ns
    assert generate(replace(config, perf=replace(config.perf, num_threads=1))).stat().st_mtime_ns == first
    config.generation.seed = 5
    with pytest.raises(InputError, match=r"another config\.generation\.seed \(0 there, 5 here\).*replace=true"):
        generate(config)
    assert path.stat().st_mtime_ns == first
    config.generation.replace = True
    assert generate(config).stat().st_mtime_ns > first
    with EnsembleFile(path) as file:
        assert list(file.seeds) == [5]


@pytest.mark.parametrize("mode", ["all", "regression", "dressed"])
def test_bfloat16_changes_the_denoiser_only(mode, samples, data, run_dir, tmp_path):
    perf = GenerationPerformanceConfig(fp_optimizations="amp-bf16")
    path = generate(replace(configuration(data, run_dir, tmp_path / "b.nc", inference_mode=mode), perf=perf))
    exact = generate(configuration(data, run_dir, tmp_path / "f.nc", inference_mode=mode))
    difference, spread = np.abs(members(path) - members(exact)).max(), members(samples).std()
    if mode == "all":
        assert 1e-5 * spread < difference < 0.1 * spread
    else:
        assert difference == 0


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
        ({"times": [], "times_range": ["2000-01-01", "2000-01-02"]}, "exclude each other"),
        ({"times": []}, "must name a time"),
        ({"times_range": ["2000-01-02", "2000-01-01"]}, "must be .start, end, hours."),
        ({"times_range": ["2000-01-02"]}, "must be .start, end, hours."),
        ({"times_range": ["2000-01-01", "2000-01-02", -6]}, "must be .start, end, hours."),
        ({"times_range": ["1999-01-01", "1999-01-02", 24]}, "1999-01-01.* is not among the 4 times"),
        ({"times_range": ["2000-01-01", "NaT", 6]}, "must be .start, end, hours."),
        ({"times_range": ["2000-01-01", "2200-01-01", 1e-6]}, r"2000-01-01T00:00:00.0036\d* is not among the 4 times"),
        ({"times": ["9999-01-01"]}, "'9999-01-01' is not one from 1678 to 2261"),
        ({"seed_batch_size": 2.5}, "a whole number from 1, or auto"),
        ({"times": ["1999-01-01"]}, "is not among the 4 times of the split, which run from"),
        ({"times": ["yesterday"]}, "must be ISO times"),
        ({"num_ensembles": 0}, "num_ensembles must be at least 1"),
        ({"resolution": 3}, "resolution must lie between the coarse grid 4"),
        ({"resolution": 8}, "at least 16 x 16 points: got a fine grid of 8 x 8; raise .*generation.resolution"),
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
    ("change", "message"),
    [
        ({"test_frames": 2}, r"window_size=1 needs 3 frames a trajectory: got dataset\.test_frames=2"),
        ({"test_frames": 3, "evaluation_interval": 9.0}, r"interval=0\.5 apart: got dataset\.evaluation_interval=9"),
    ],
)
def test_a_window_without_room_is_refused_before_anything_is_simulated(change, message, run_dir, tmp_path):
    config = configuration(tmp_path / "data", run_dir, tmp_path / "s.nc")
    dataset = replace(config.dataset, window_size=1, **change)
    with pytest.raises(InputError, match=message):
        generate(replace(config, dataset=dataset))
    assert not list(tmp_path.iterdir())


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


def test_the_format_is_told_by_the_name(data, run_dir, tmp_path):
    with pytest.raises(InputError, match=r"must end in \.nc or \.zarr: got .*s\.png"):
        generate(configuration(data, run_dir, tmp_path / "s.png"))


def test_a_range_of_times_is_generated(samples, data, run_dir, tmp_path):
    with EnsembleFile(samples) as file:
        start, end = str(file.times[0]), str(file.times[1])
        hours = float((file.times[1] - file.times[0]) / np.timedelta64(1, "h"))
    path = generate(configuration(data, run_dir, tmp_path / "r.nc", times_range=[start, end, hours]))
    assert same_to_rounding(members(path), members(samples)[:2])


def test_zarr_holds_what_netcdf_holds(samples, data, run_dir, tmp_path):
    path = generate(configuration(data, run_dir, tmp_path / "s.zarr", picture=True))
    assert (tmp_path / "s.png").exists()
    assert np.array_equal(members(path), members(samples))
    with EnsembleFile(path) as file, EnsembleFile(samples) as other:
        assert file.grid == other.grid
        assert list(file.seeds) == list(other.seeds)
        for name in ("truth", "regression", "input", "input_native"):
            assert np.array_equal(getattr(file, name)("vorticity", 1), getattr(other, name)("vorticity", 1))
    assert generate(configuration(data, run_dir, path)) == path


def test_bits_are_rounded_on_demand(samples, data, run_dir, tmp_path):
    config = configuration(data, run_dir, tmp_path / "b.nc")
    config.generation.io.significant_bits = 8
    path = generate(config)
    assert 0 < np.abs(members(path) / members(samples) - 1).max() <= 2.0**-9
    assert path.stat().st_size < 0.9 * samples.stat().st_size


def test_a_dry_run_says_the_plan_and_writes_nothing(data, run_dir, tmp_path, capsys):
    config = configuration(data, run_dir, tmp_path / "d.nc", seed_batch_size=2)
    config.dry_run = True
    generate(config)
    text = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    for part in ("3 of each of 4 times", "8 pieces of at most 2 samples, 0 of them finished", "60 of the denoiser"):
        assert part in text
    assert "vorticity" in text
    config.dry_run = False
    generate(config)
    config.dry_run = True
    generate(config)
    assert "8 of them finished" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["all", "dressed"])
def test_a_dry_run_simulates_nothing(mode, run_dir, tmp_path, capsys):
    config = configuration(tmp_path / "data", run_dir, tmp_path / "d.nc", inference_mode=mode)
    config.dry_run = True
    generate(config)
    assert "d.nc; its data is to be simulated first\nmembers     3 of each of 4 times" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_batch_may_be_sized_by_the_memory(samples, data, run_dir, tmp_path):
    path = generate(configuration(data, run_dir, tmp_path / "a.nc", seed_batch_size="auto"))
    assert same_to_rounding(members(path), members(samples))
    with EnsembleFile(path) as file:
        assert file.provenance["batch"] == 12


def test_a_full_memory_halves_the_calls(samples, data, run_dir, tmp_path, monkeypatch, caplog):
    sample, sizes = ResidualSampler.sample, []

    def limited(self, condition, keys, watch=None, encoded=None, lead_time=None):
        sizes.append(len(keys))
        if len(keys) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sample(self, condition, keys, watch, encoded)

    monkeypatch.setattr(ResidualSampler, "sample", limited)
    path = generate(configuration(data, run_dir, tmp_path / "m.nc"))
    assert max(sizes[3:]) <= 2
    assert "do not fit into memory" in caplog.text
    assert same_to_rounding(members(path), members(samples))


def test_a_sample_that_does_not_fit_is_refused(data, run_dir, tmp_path, monkeypatch):
    def full(self, condition, keys, watch=None, encoded=None, lead_time=None):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(ResidualSampler, "sample", full)
    with pytest.raises(InputError, match="one sample must fit into memory"):
        generate(configuration(data, run_dir, tmp_path / "m.nc"))


def test_compiled_networks_give_the_same_numbers(samples, data, run_dir, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compiled.append(type(self).__name__))
    config = configuration(data, run_dir, tmp_path / "c.nc")
    config.perf.torch_compile = True
    assert np.array_equal(members(generate(config)), members(samples))
    assert compiled == ["FSUNO", "FSUNO"]
