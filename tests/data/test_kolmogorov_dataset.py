# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The downscaling dataset: one truth for all resolutions, windows, symmetries, normalisation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physicsnemo_fs.data.datasets.kolmogorov import KolmogorovDataset
from physicsnemo_fs.data.normalize import moments_of
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.nn.conservation import cell_average
from physicsnemo_fs.nn.resample import fourier_resample
from physicsnemo_fs.testing import assert_close

TRAJECTORIES, FRAMES, GRID = 3, 7, 48


class MemorySource:
    """Random band-limited fields on any grid, the same functions for the same seed."""

    def __init__(self, grid: int = GRID, interval: float = 0.25):
        draws = torch.Generator().manual_seed(0)
        noise = torch.randn(TRAJECTORIES, FRAMES, GRID, GRID, generator=draws) * 3 + 0.5
        self.fields = fourier_resample(noise, (grid, grid))
        self.grid_size = grid
        self.trajectory_ids = np.arange(10, 10 + TRAJECTORIES)
        self.seconds = interval * np.arange(FRAMES)
        self.training_interval = 0.25
        self.forcing_mode = 4
        self.moments = moments_of(self.fields)

    def read(self, trajectories, frames):
        return self.fields[torch.from_numpy(trajectories)[:, None], torch.from_numpy(frames)]


SOURCE = MemorySource()


def everything(dataset: KolmogorovDataset, **options):
    return dataset.fetch(range(len(dataset)), **options)


def test_it_is_a_downscaling_dataset():
    assert isinstance(KolmogorovDataset(SOURCE), DownscalingDataset)


def test_shapes_channels_and_grids_agree():
    dataset = KolmogorovDataset(SOURCE, 24, coarse_size=6, window_size=2)
    batch = dataset.fetch([4, 0])
    assert batch.coarse.shape == (2, 5, 6, 6)
    assert batch.target.shape == (2, 1, 24, 24)
    assert batch.invariants.shape == (2, 2, 24, 24)
    assert batch.index.tolist() == [4, 0]
    names = [channel.name for channel in dataset.input_channels]
    assert names == ["vorticity@-2", "vorticity@-1", "vorticity", "vorticity@+1", "vorticity@+2"]
    assert dataset.grid.shape == (24, 24)
    assert dataset.coarse_grid.shape == (6, 6)
    assert all(value.dtype == torch.float32 for value in (batch.coarse, batch.target, batch.invariants))


def test_samples_run_through_trajectories_and_skip_their_ends():
    dataset = KolmogorovDataset(SOURCE, window_size=2)
    inner = FRAMES - 4
    assert len(dataset) == TRAJECTORIES * inner
    target = everything(dataset).target * dataset.output_channels[0].std + dataset.output_channels[0].mean
    assert_close(target[:, 0].reshape(TRAJECTORIES, inner, GRID, GRID), SOURCE.fields[:, 2:-2], 1e-6)
    assert dataset.blocks.tolist() == [10] * inner + [11] * inner + [12] * inner


def test_window_frames_are_the_neighbouring_coarse_fields():
    single, window = KolmogorovDataset(SOURCE), KolmogorovDataset(SOURCE, window_size=1)
    alone = everything(single).coarse.reshape(TRAJECTORIES, FRAMES, 8, 8)
    together = everything(window).coarse.reshape(TRAJECTORIES, FRAMES - 2, 3, 8, 8)
    for offset in range(3):
        assert_close(together[:, :, offset], alone[:, offset : offset + FRAMES - 2], 1e-6)


def test_times_are_unique_and_count_flow_time_as_seconds():
    times = KolmogorovDataset(SOURCE, window_size=1).times
    assert times.dtype == np.dtype("datetime64[ns]")
    assert len(np.unique(times)) == len(times)
    assert times[0] == np.datetime64("2000-01-11T00:00:00.250")
    assert times[FRAMES - 2] == np.datetime64("2000-01-12T00:00:00.250")


def test_stride_thins_the_samples_but_not_the_windows():
    dense, thin = (KolmogorovDataset(SOURCE, window_size=1, sample_stride=stride) for stride in (1, 3))
    assert len(thin) == TRAJECTORIES * 2
    chosen = [0, 3, 5, 8, 10, 13]
    assert np.array_equal(thin.times, dense.times[chosen])
    assert torch.equal(everything(thin).coarse, dense.fetch(chosen).coarse)


@pytest.mark.parametrize("coarsening", ["cell_average", "pixel_average", "spectral"])
@pytest.mark.parametrize("keys", [None, list(range(TRAJECTORIES * FRAMES))])
def test_coarse_input_is_the_same_for_every_resolution(coarsening, keys):
    fine, reduced = (KolmogorovDataset(SOURCE, n, coarsening=coarsening) for n in (GRID, 20))
    a, b = (everything(dataset, augmentation_keys=keys) for dataset in (fine, reduced))
    assert torch.equal(a.coarse, b.coarse)
    assert_close(b.target, fourier_resample(a.target, (20, 20)), 1e-6)


def test_coarse_input_and_statistics_are_the_same_for_every_storing_grid():
    small, large = KolmogorovDataset(SOURCE), KolmogorovDataset(MemorySource(96))
    assert large.output_channels[0].std == pytest.approx(small.output_channels[0].std, rel=1e-5)
    assert_close(everything(large).coarse, everything(small).coarse, 1e-5)
    assert_close(everything(large).target[..., ::2, ::2], everything(small).target, 1e-5)


@settings(max_examples=15, deadline=None)
@given(key=st.integers(0, 2**62), sample=st.integers(0, TRAJECTORIES * FRAMES - 1))
def test_augmented_samples_are_consistent(key, sample):
    dataset = KolmogorovDataset(SOURCE)
    batch = dataset.fetch([sample], [key])
    channel = dataset.output_channels[0]
    target = channel.denormalize(batch.target)
    assert_close(channel.denormalize(batch.coarse), cell_average(target, (8, 8)), 1e-5)
    original = SOURCE.fields.reshape(-1, GRID, GRID)[sample].abs().flatten().sort().values
    assert_close(target.abs().flatten().sort().values, original, 1e-6)


def test_a_sample_depends_on_its_index_and_key_alone():
    dataset = KolmogorovDataset(SOURCE, 24, window_size=1)
    together = dataset.fetch([5, 2, 5], [7, 8, 9])
    alone = dataset.fetch([2], [8])
    assert_close(alone.coarse[0], together.coarse[1], 1e-6)
    assert_close(alone.target[0], together.target[1], 1e-6)
    assert (together.target[0] - together.target[2]).abs().max() > 0.1


def test_target_is_normalised_by_the_training_statistics():
    target = everything(KolmogorovDataset(SOURCE)).target
    assert abs(target.mean().item()) < 1e-5
    assert target.std().item() == pytest.approx(1.0, abs=1e-3)


def test_invariants_are_the_waves_of_the_force():
    dataset = KolmogorovDataset(SOURCE, 24)
    y = torch.from_numpy(dataset.grid.y).float()
    cosine, sine = dataset.fetch([0]).invariants[0]
    assert torch.allclose(cosine, torch.cos(4 * y)[:, None].expand(24, 24), atol=1e-5)
    assert torch.allclose(sine, torch.sin(4 * y)[:, None].expand(24, 24), atol=1e-5)
    assert [channel.name for channel in dataset.invariant_channels] == ["forcing_cos", "forcing_sin"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 64}, "stored grid 48"),
        ({"resolution": 6}, "coarse grid 8"),
        ({"window_size": 4}, "window_size"),
        ({"sample_stride": 0}, "sample_stride"),
        ({"coarse_size": 7, "coarsening": "pixel_average"}, "divides"),
    ],
)
def test_impossible_requests_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        KolmogorovDataset(SOURCE, **options)


def test_windows_must_be_spaced_as_in_training():
    coarse_in_time = MemorySource(interval=1.0)
    assert len(KolmogorovDataset(coarse_in_time)) == TRAJECTORIES * FRAMES
    with pytest.raises(InputError, match="spaced as in training"):
        KolmogorovDataset(coarse_in_time, window_size=1)
