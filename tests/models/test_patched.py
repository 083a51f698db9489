# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The fused denoiser: an exact one where windows are, the same however the windows are grouped."""

import pytest
import torch
from physicsnemo.diffusion.multi_diffusion import GridPatching2D
from random_networks import tiny_fsuno

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.base import FSModule
from physicsnemo_fs.models.conv_unet import FSConvUNet
from physicsnemo_fs.models.domain_condition import WholeCondition
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.nn.windows import position_channels

DOMAIN, PATCH = (40, 56), (24, 20)
LEVEL = torch.tensor(0.8)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(conditions=2, outputs=1, patch=PATCH, domain=DOMAIN, **options):
    extra = 4 * options.get("position_frequencies", 1) + len(options.get("context_channels", ()))
    extra += "lead_time_scale" in options
    backbone = tiny_fsuno(outputs + conditions + extra, outputs, boundary="pad")
    return FSPatchedEDMPrecondSR(backbone, patch, domain, **options).eval()


class Pointwise(FSModule):
    """A backbone that is a function of each sample alone."""

    boundary = "pad"

    def __init__(self, in_channels: int = 7):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, 1
        self.scale = torch.nn.Parameter(torch.tensor(0.7))

    def forward(self, x, labels):
        return torch.sin(self.scale * x.sum(1, keepdim=True) + labels[:, None, None, None])


@pytest.mark.parametrize("boundary", ["bounded", "periodic"])
@pytest.mark.parametrize("overlap", [(0, 0), (6, 5), (23, 13)])
@torch.no_grad()
def test_a_pointwise_denoiser_is_fused_exactly(boundary, overlap):
    x, y = draw(2, 1, *DOMAIN), draw(2, 2, *DOMAIN, seed=1)
    fused = FSPatchedEDMPrecondSR(Pointwise(), PATCH, DOMAIN, overlap, domain_boundary=boundary)(x, y, LEVEL)
    positions = position_channels(DOMAIN, [(0, 0)], DOMAIN, boundary, 1, x).expand(2, -1, -1, -1)
    whole = FSEDMPrecondSR(Pointwise())(x, torch.cat([y, positions], dim=1), LEVEL)
    assert (fused - whole).abs().max() < 1e-6


@torch.no_grad()
def test_windows_evaluated_together_change_rounding_only():
    net = network(context_channels=[1], overlap=(12, 7))
    x, y = draw(3, 1, *DOMAIN), draw(3, 2, *DOMAIN, seed=1)
    results = []
    for together in (1, 2, 5, 1000):
        net.set_windows((12, 7), None, together)
        results.append(net(x, y, LEVEL))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-6)


@torch.no_grad()
def test_windows_of_a_batch_invariant_network_may_be_grouped_at_will():
    net = FSPatchedEDMPrecondSR(Pointwise(), PATCH, DOMAIN)
    x, y = draw(3, 1, *DOMAIN), draw(3, 2, *DOMAIN, seed=1)
    first = net(x, y, LEVEL)
    for together in (1, 2, 5, 1000):
        net.set_windows(None, None, together)
        assert torch.equal(net(x, y, LEVEL), first)


@torch.no_grad()
def test_the_windows_of_the_field_are_those_of_training():
    """Windows with their places give what is fused, with NVIDIA's index of them too."""
    x, y, lead = draw(1, 1, 48, 60), draw(1, 2, 48, 60, seed=1), torch.tensor([6.0])
    net = network(context_channels=[0], lead_time_scale=24.0, overlap=(0, 0), domain=(48, 60))
    windows, condition = net.windows((48, 60)), WholeCondition(y)
    places = windows.places
    cut = [torch.cat([windows.crop(f, p) for p in places]) for f in (x, y)]
    shared = {"context": condition.pooled([0], PATCH).expand(6, -1, -1, -1), "lead_time_label": lead.expand(6)}
    patches = net(cut[0], cut[1], LEVEL, places=places, **shared)
    fused = net(x, y, LEVEL, lead_time_label=lead)
    torch.testing.assert_close(windows.fuse(list(patches[:, None])), fused, rtol=0, atol=1e-6)
    index = GridPatching2D((48, 60), PATCH).global_index()
    by_index = {(int(i[0, 0, 0]), int(i[1, 0, 0])): number for number, i in enumerate(index)}
    order = [by_index[p] for p in places]
    torch.testing.assert_close(net(cut[0], cut[1], LEVEL, global_index=index[order], **shared), patches)


@torch.no_grad()
def test_both_calls_and_a_single_level_or_one_a_sample():
    net = network()
    x, y = draw(2, 1, *DOMAIN), draw(2, 2, *DOMAIN, seed=1)
    expected = net(x, y, LEVEL)
    for given in (net(x, LEVEL.expand(2), y), net(x, condition=y, t=LEVEL), net(x, y, LEVEL, force_fp32=True)):
        assert torch.equal(given, expected)
    assert not torch.allclose(net(x, y, torch.tensor([0.8, 2.0]))[1], expected[1])


@torch.no_grad()
def test_every_channel_the_network_sees_counts():
    net = network(context_channels=[0], lead_time_scale=24.0, position_frequencies=2)
    x, y, lead = draw(1, 1, *DOMAIN), draw(1, 2, *DOMAIN, seed=1), torch.tensor([6.0])
    first = net(x, y, LEVEL, lead_time_label=lead)
    assert not torch.allclose(net(x, y, LEVEL, lead_time_label=2 * lead), first)
    far = y.clone()
    far[..., -4:, -4:] += 30  # outside of every window at the origin: seen by them as context alone
    assert not torch.allclose(net(x, far, LEVEL, lead_time_label=lead)[..., :4, :4], first[..., :4, :4])


@torch.no_grad()
def test_another_resolution_scales_the_windows():
    net = network(overlap=(8, 4))
    fine = net.windows((80, 112))
    assert (fine.patch, fine.overlap) == ((48, 40), (16, 8))
    assert len(fine) == len(net.windows(DOMAIN))
    assert net(draw(1, 1, 80, 112), draw(1, 2, 80, 112), LEVEL).shape == (1, 1, 80, 112)


def test_a_network_without_places_takes_any_domain():
    net = network(position_frequencies=0)
    assert net.windows((64, 33)).patch == PATCH
    assert net(draw(1, 1, 64, 33), draw(1, 2, 64, 33), LEVEL).shape == (1, 1, 64, 33)


@torch.no_grad()
def test_checkpoint_keeps_the_windows(tmp_path):
    net = network(context_channels=[1], overlap=(10, 6), margin=(2, 1), domain_boundary="periodic")
    net.save(str(tmp_path / "net.mdlus"))
    loaded = FSPatchedEDMPrecondSR.from_checkpoint(str(tmp_path / "net.mdlus")).eval()
    x, y = draw(1, 1, *DOMAIN), draw(1, 2, *DOMAIN, seed=1)
    assert torch.equal(loaded(x, y, LEVEL), net(x, y, LEVEL))
    assert loaded.windows(DOMAIN) == net.windows(DOMAIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch": (48, 20)}, r"a patch must fit the domain: got 48 rows in 40; give at most 40"),
        ({"overlap": (24, 4)}, r"overlap must be smaller than the patch: got 24 and 24 rows"),
        ({"patch": (12, 20)}, r"finest grid: got 12 x 20 samples for model.level_grid=\[16, 8\]; give a patch of at l"),
        ({"max_patch_per_gpu": 0}, r"max_patch_per_gpu must be at least 1: got 0"),
        ({"context_channels": [2]}, r"context channels must be conditions: got in_channels=8 and context_channels"),
        ({"patch": (16, 16, 16)}, r"patch_shape needs rows and columns"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)


def test_a_patch_must_resolve_the_modes():
    backbone = tiny_fsuno(7, 1, boundary="pad", level_grid=None, local_kernel=1, n_modes=(12, 4))
    with pytest.raises(InputError, match=r"modes: got 24 x 20 samples .*n_modes=\[12, 4\]; .* at most 10 modes"):
        FSPatchedEDMPrecondSR(backbone, PATCH, DOMAIN)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (lambda: tiny_fsuno(7), r"a window is not periodic, but FSUNO wraps at its edges; give model.boundary=pad"),
        (lambda: FSConvUNet(7, 1, channel_mult=(1, 2)), r"FSConvUNet wraps .*; give model=fsuno model.boundary=pad"),
        (lambda: tiny_fsuno(7, boundary="pad", coord_features="bounded"), r"a backbone with positions of its own"),
    ],
)
def test_a_backbone_that_no_window_can_have_is_refused(backbone, message):
    with pytest.raises(InputError, match=message):
        FSPatchedEDMPrecondSR(backbone(), PATCH, DOMAIN)


def test_positions_of_another_domain_are_refused():
    with pytest.raises(InputError, match=r"those of a domain of 40 x 56: got 64 x 64, which is no whole multiple"):
        network()(draw(1, 1, 64, 64), draw(1, 2, 64, 64), LEVEL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x, y: net(x, y[:, :1], LEVEL), r"the conditions must have shape \(1, 2, 40, 56\): got \(1, 1, 40"),
        (lambda net, x, y: net(x, None, LEVEL), r"the conditions must have shape"),
        (lambda net, x, y: net(x, y, LEVEL, places=[(0, 0)]), r"windows of 24 x 20 need one place each: got \("),
        (
            lambda net, x, y: net(x[..., :24, :20], y[..., :24, :20], LEVEL, places=[(0, 0)]),
            r"sees 1 channels of the whole domain \(context\), shape \(1, 1, 24, 20\): got none",
        ),
        (lambda net, x, y: net(x, y, LEVEL, torch.zeros(1, 1)), "no use for class_labels"),
        (lambda net, x, y: net(x, y, LEVEL, lead_time_label=torch.ones(1)), "no use for lead_time_label"),
    ],
)
def test_calls_that_do_not_fit_are_refused(call, message):
    net = network(context_channels=[0])
    with pytest.raises(ValueError, match=message):
        call(net, draw(1, 1, *DOMAIN), draw(1, 2, *DOMAIN))
