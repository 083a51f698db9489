# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Training on windows: one noise and one mean a sample, and losses that no grouping changes."""

from dataclasses import replace

import pytest
import torch

from physicsnemo_fs.config.patches import PatchConfig, PatchHyperParameters
from physicsnemo_fs.data.types import Batch, Channel, Grid
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.scheduler import FunctionSpaceScheduler
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.patch_stage import PatchDiffusionStage, patch_channels, window_options
from physicsnemo_fs.pipelines.stages import DiffusionStage, Draw

SHAPE, PATCH = (32, 40), (16, 24)
DRAWS = [Draw(0, "test", 0, i) for i in range(2)]
NET = {"model_channels": 2, "channel_mult": [1, 2], "level_grid": [16, 8], "n_modes": [0, 2], "boundary": "pad"}


class Data:
    grid = Grid(SHAPE, (0.8, 1.0), boundary="bounded", registration="cell")
    coarse_grid = Grid((8, 10), (0.8, 1.0), boundary="bounded", registration="cell")
    input_channels = (Channel("t"), Channel("u"))
    output_channels = (Channel("t"),)
    invariant_channels = (Channel("z"),)

    def batch(self, valid=None, lead=None):
        draws = torch.Generator().manual_seed(0)
        fields = [torch.randn(2, n, *s, generator=draws) for n, s in ((2, (8, 10)), (1, SHAPE), (1, SHAPE))]
        return Batch(*fields, torch.arange(2), valid, lead)


def stage(patch_num=3, max_patch_per_gpu=None, mean=True, lead_time_scale=None, **options):
    torch.manual_seed(0)
    data, config = Data(), PatchConfig(**options)
    regression = FSRegressionSR(FSUNO(3, 1, **NET)).eval()
    field = RandomField(Matern(1.0, 0.2), (0.8, 1.0), "bounded", registration="cell")
    backbone = FSUNO(4 + mean + patch_channels(config, data) + (lead_time_scale is not None), 1, **NET)
    for network in (regression, backbone):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, 0, 0.1)
    common = {"sigma_data": [1.0], "sigma_min": 0.01, "sigma_max": 20.0, "noise": field.to_dict()}
    cut = window_options(PATCH, config, data, int(mean))
    network = FSPatchedEDMPrecondSR(backbone, **cut, **common, lead_time_scale=lead_time_scale).eval()
    scheduler = FunctionSpaceScheduler(field, sigma_min=0.01, sigma_max=20.0, sigma_data=1.0)
    whole = DiffusionStage(network, regression, data, scheduler, mean)
    return PatchDiffusionStage(**vars(whole), patch_num=patch_num, max_patch_per_gpu=max_patch_per_gpu)


class Seen(torch.nn.Module):
    """Records what the network is called with."""

    def __init__(self, network):
        super().__init__()
        self.network, self.calls = network, []

    def forward(self, *arguments, **named):
        self.calls.append((*arguments, named))
        return self.network(*arguments, **named)


def test_no_grouping_changes_losses_or_gradients():
    results = []
    for together in (None, 1, 4, 100):
        one = stage(max_patch_per_gpu=together)
        pieces = one.pieces(one.network, Data().batch(), DRAWS)
        assert len(pieces) == {None: 1, 1: 6, 4: 2, 100: 1}[together]
        total = 0
        for piece in pieces:
            loss = piece().sum()
            loss.backward()
            total += float(loss.detach())
        losses = one.losses(one.network, Data().batch(), DRAWS).detach()
        assert losses.shape == (2,)
        assert total == pytest.approx(float(losses.sum()), rel=1e-5)
        results.append((losses, torch.cat([p.grad.flatten() for p in one.network.parameters()])))
    for losses, gradient in results[1:]:
        torch.testing.assert_close(losses, results[0][0], rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient, results[0][1], rtol=0, atol=1e-5 * float(gradient.abs().max()))


def test_windows_are_crops_of_one_residual_and_one_noise():
    one = stage(patch_num=4)
    seen = Seen(one.network)
    one.losses(seen, Data().batch(), DRAWS)
    ((noisy, sigma, condition, named),) = seen.calls
    assert len(sigma.unique()) == len(set(named["places"])) == 8
    mean, whole = one.mean_and_condition(Data().batch())
    windows = one.network.windows(SHAPE)
    noise = one.scheduler.field.sample([d.key("noise") for d in DRAWS], 1, SHAPE)
    for i, place in enumerate(named["places"]):
        residual = windows.crop((Data().batch().target - mean)[i // 4], place)
        drawn = (noisy[i] - residual) / sigma[i]
        torch.testing.assert_close(drawn, windows.crop(noise[i // 4], place), rtol=0, atol=2e-3)
        assert torch.equal(condition[i], windows.crop(whole[i // 4], place))
    assert named["context"].shape == (8, 2, *PATCH)


def test_a_sample_is_its_own_whatever_the_batch():
    one = stage()
    both = one.losses(one.network, Data().batch(), DRAWS)
    batch = Data().batch()
    alone = Batch(*(f[1:] for f in (batch.coarse, batch.invariants, batch.target, batch.index)))
    torch.testing.assert_close(one.losses(one.network, alone, DRAWS[1:])[0], both[1], rtol=1e-5, atol=0)
    another = one.losses(one.network, alone, [replace(DRAWS[1], epoch=1)])
    assert not torch.allclose(another[0], both[1])


def test_the_loss_is_the_mean_over_windows():
    three = stage(patch_num=3)
    singles = torch.stack(
        [piece() for piece in stage(patch_num=3, max_patch_per_gpu=1).pieces(three.network, Data().batch(), DRAWS)]
    )
    expected = singles.reshape(2, 3).sum(1)
    torch.testing.assert_close(three.losses(three.network, Data().batch(), DRAWS), expected, rtol=1e-5, atol=0)
    assert three.losses(three.network, Data().batch(), DRAWS).mean() < 10


def test_the_network_never_sees_more_windows_than_allowed():
    one = stage(patch_num=5, max_patch_per_gpu=2)
    seen = Seen(one.network)
    for piece in one.pieces(seen, Data().batch(), DRAWS):
        piece()
    assert [len(call[0]) for call in seen.calls] == [2] * 5


def test_what_stands_where_the_truth_is_unknown_changes_nothing():
    one, valid = stage(), torch.rand(2, 1, *SHAPE, generator=torch.Generator().manual_seed(1)) < 0.6
    batch = Data().batch(valid)
    filled = replace(batch, target=torch.where(valid, batch.target, 7.0))
    losses = [one.losses(one.network, b, DRAWS) for b in (batch, filled)]
    torch.testing.assert_close(*losses, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"position_frequencies": 0, "context": False}, {"mean": False}])
def test_windows_without_places_or_mean(options):
    one = stage(**options)
    assert one.losses(one.network, Data().batch(), DRAWS).isfinite().all()


def test_lead_times_are_seen():
    one = stage(lead_time_scale=24.0)
    losses = [one.losses(one.network, Data().batch(lead=torch.full((2,), h)), DRAWS) for h in (3.0, 48.0)]
    assert not torch.allclose(*losses)
    with pytest.raises(InputError, match="lead_time_scale needs forecasts with lead times"):
        one.losses(one.network, Data().batch(), DRAWS)


def test_a_failed_step_says_where_its_windows_were():
    assert "noise levels [" in stage().describe(DRAWS)
    assert "windows at [(" in stage().describe(DRAWS)


def test_a_denoiser_of_whole_fields_is_refused():
    one = stage()
    network = FSEDMPrecondSR(FSUNO(5, 1, **NET))
    with pytest.raises(InputError, match=r"needs FSPatchedEDMPrecondSR, or .*: got FSEDMPrecondSR"):
        PatchDiffusionStage(network, one.regression, one.dataset, one.scheduler)


def test_one_side_of_a_patch_makes_a_square():
    assert PatchHyperParameters().patch_shape is None
    assert PatchHyperParameters(patch_shape_x=48).patch_shape == (48, 48)
    assert PatchHyperParameters(patch_shape_x=48, patch_shape_y=32).patch_shape == (32, 48)
