# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.patching import LazyCondition, WindowedSampler, draw_place
from physicsnemo_fs.diffusion.residual import assemble_condition, interpolate_coarse, interpolation_matrices
from physicsnemo_fs.diffusion.sampling import Churn, ResidualSampler
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.base import FSModule
from physicsnemo_fs.models.domain_condition import WholeCondition
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.nn.windows import WindowGrid

SHAPE, COARSE, PATCH = (32, 48), (8, 12), (20, 24)
GRIDS = {
    "cells on a torus": (Grid(COARSE, (2.0, 3.0), registration="cell"), Grid(SHAPE, (2.0, 3.0))),
    "nodes on a torus": (Grid(COARSE, (2.0, 3.0)), Grid(SHAPE, (2.0, 3.0))),
    "cells, bounded": (
        Grid(COARSE, (2.0, 3.0), registration="cell", boundary="bounded"),
        Grid(SHAPE, (2.0, 3.0), registration="cell", boundary="bounded"),
    ),
    "shifted, bounded": (
        Grid((9, 12), (2.25, 3.0), (-0.125, 0.1), registration="node", boundary="bounded"),
        Grid(SHAPE, (2.0, 3.0), registration="cell", boundary="bounded"),
    ),
}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=GRIDS)
def grids(request):
    return GRIDS[request.param]


def test_matrices_interpolate_as_the_function_does(grids):
    coarse_grid, grid = grids
    rows, columns = interpolation_matrices(coarse_grid, grid, torch.zeros(1, dtype=torch.float64))
    coarse = draw(2, 3, *coarse_grid.shape).double()
    torch.testing.assert_close(rows @ coarse @ columns.T, interpolate_coarse(coarse, coarse_grid, grid))


def test_windows_of_lazy_conditions_are_those_of_the_whole(grids):
    coarse_grid, grid = grids
    coarse, invariants, mean = draw(2, 3, *coarse_grid.shape), draw(2, 1, *SHAPE, seed=1), draw(2, 2, *SHAPE, seed=2)
    whole = torch.cat([mean, assemble_condition(coarse, invariants, coarse_grid, grid)], dim=1)
    lazy = LazyCondition.on_grids(coarse, invariants, coarse_grid, grid).with_mean(mean)
    assert lazy.shape == tuple(whole.shape)
    windows = WindowGrid(SHAPE, PATCH, (8, 8), boundary=grid.boundary)
    for place in windows.places:
        torch.testing.assert_close(lazy.crop(windows, place), windows.crop(whole, place), rtol=0, atol=3e-6)
        one = lazy.crop(windows, place, slice(1, 2))
        torch.testing.assert_close(one, windows.crop(whole[1:], place), rtol=0, atol=3e-6)
    channels = [0, 3, 4, 5]  # of the mean, the inputs and the invariants
    torch.testing.assert_close(
        lazy.pooled(channels, PATCH), WholeCondition(whole).pooled(channels, PATCH), rtol=0, atol=3e-6
    )


def denoiser(**options):
    torch.manual_seed(0)
    extra = 4 + len(options.get("context_channels", ()))
    small = {"model_channels": 2, "channel_mult": (1, 2), "level_grid": (16, 8), "n_modes": (0, 2)}
    backbone = FSUNO(1 + 3 + extra, 1, **small, boundary="pad")
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    noise = RandomField(Matern(1.0, 0.2), (2.0, 3.0), "bounded", registration="cell").to_dict()
    options = {"noise": noise, "sigma_min": 0.01, "sigma_max": 20.0} | options
    return FSPatchedEDMPrecondSR(backbone, PATCH, SHAPE, **options).eval()


@pytest.mark.parametrize("solver", ["euler", "heun", "dpm2"])
@pytest.mark.parametrize("churn", [0.0, 4.0])
def test_the_sampler_is_that_of_any_denoiser(solver, churn):
    """The fused denoiser needs no sampler of its own: the lean one rounds differently."""
    net, condition = denoiser(context_channels=[1]), draw(2, 3, *SHAPE)
    options = {"solver": solver, "num_steps": 3, "churn": Churn(churn)}
    lean = WindowedSampler.for_denoiser(net, **options).sample(condition, [3, 4])
    plain = ResidualSampler.for_denoiser(net, **options).sample(condition, [3, 4])
    torch.testing.assert_close(lean, plain, rtol=0, atol=1e-4 * float(plain.std()))


def test_a_member_depends_on_its_key_alone():
    sampler = WindowedSampler.for_denoiser(denoiser(), num_steps=2)
    condition = draw(1, 3, *SHAPE).expand(3, -1, -1, -1)
    three, one = sampler.sample(condition, [3, 4, 5]), sampler.sample(condition[:1], [4])
    torch.testing.assert_close(three[1:2], one, rtol=0, atol=1e-5)
    assert not torch.allclose(three[0], three[1], atol=0.1)
    with pytest.raises(InputError, match="one key per sample: got 2 keys for 3"):
        sampler.sample(condition, [3, 4])


class Local(FSModule):
    """A backbone whose values depend on the same point alone."""

    boundary = "pad"

    def __init__(self):
        super().__init__()
        self.in_channels, self.out_channels = 3, 2
        self.factor = torch.nn.Parameter(torch.tensor([[1.0, 2.0, 0.5], [0.3, -1.0, 1.0]]))

    def forward(self, x, labels=None):
        return torch.tanh(torch.einsum("oc,bchw->bohw", self.factor, x))


@pytest.mark.parametrize("boundary", ["bounded", "periodic"])
@pytest.mark.parametrize("together", [1, 3, 100])
def test_the_mean_of_windows_is_the_mean(boundary, together):
    condition, cut = draw(2, 3, *SHAPE), {"patch_shape": PATCH, "domain_shape": SHAPE, "overlap": (8, 8)}
    whole = FSRegressionSR(Local(), [0, -1]).eval()
    fused = FSRegressionSR(Local(), [0, -1], domain_boundary=boundary, max_patch_per_gpu=together, **cut).eval()
    expected = whole(None, condition).detach()
    for given in (condition, WholeCondition(condition)):
        torch.testing.assert_close(fused(None, given).detach(), expected, rtol=0, atol=2e-6)


def test_places_cover_a_torus_evenly_and_a_bounded_domain_to_its_edges():
    for boundary in ("periodic", "bounded"):
        places = torch.tensor([draw_place(key, (16, 20), (8, 6), boundary) for key in range(2000)])
        counts = places[:, 0].bincount(minlength=16) / 2000
        if boundary == "periodic":
            assert (counts - 1 / 16).abs().max() < 0.02
        else:
            assert counts[9:].max() == 0
            expected = torch.tensor([5 / 16, *[1 / 16] * 7, 4 / 16])
            assert (counts[:9] - expected).abs().max() < 0.03
    assert draw_place(5, (16, 20), (8, 6), "bounded") == draw_place(5, (16, 20), (8, 6), "bounded")
