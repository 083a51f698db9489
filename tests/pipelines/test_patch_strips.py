# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""One member on several processes has the same bits as on one."""

import pytest
import torch
from ranks import on_ranks

from physicsnemo_fs.data.types import Grid
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.patching import LazyCondition, WindowedSampler
from physicsnemo_fs.diffusion.sampling import Churn
from physicsnemo_fs.diffusion.spectra import Matern
from physicsnemo_fs.diffusion.strips import Strips, Team
from physicsnemo_fs.distributed import process_group
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.models.patched import FSPatchedEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.nn.windows import WindowGrid

SHAPE, PATCH, EXTENT = (72, 40), (20, 24), (1.8, 1.0)
SMALL = {"model_channels": 2, "channel_mult": (1, 2), "level_grid": (16, 8), "n_modes": (0, 2), "boundary": "pad"}


def setting(boundary, overlap):
    torch.manual_seed(0)
    grid = Grid(SHAPE, EXTENT, registration="cell", boundary=boundary)
    field = RandomField(Matern(1.0, 0.2), EXTENT, boundary, registration="cell")
    cut = {"patch_shape": PATCH, "domain_shape": SHAPE, "overlap": overlap, "domain_boundary": boundary}
    backbone, mean = FSUNO(1 + 1 + 2 + 1 + 4 + 2, 1, **SMALL), FSRegressionSR(FSUNO(3, 1, **SMALL), **cut).eval()
    for network in (backbone, mean):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, 0, 0.1)
    options = {"context_channels": [1, 2], "sigma_min": 0.01, "sigma_max": 20.0}
    denoiser = FSPatchedEDMPrecondSR(backbone, noise=field.to_dict(), **cut, **options).eval()
    sampler = WindowedSampler.for_denoiser(denoiser, num_steps=2, churn=Churn(2.0))
    coarse_grid = grid.at((18, 10))
    coarse, invariants = torch.randn(2, 2, 18, 10), torch.randn(2, 1, *SHAPE)
    return sampler, mean, LazyCondition.on_grids(coarse, invariants, coarse_grid, grid)


def alone(boundary, overlap):
    sampler, regression, condition = setting(boundary, overlap)
    mean = regression.fused(condition)
    return mean + sampler.sample(condition.with_mean(mean), [3, 4])


@torch.no_grad()
def together(boundary, overlap, path):
    with process_group(1) as ranks:
        sampler, regression, condition = setting(boundary, overlap)
        team = Team.among(ranks.rank, ranks.world_size)
        strips = Strips(sampler.denoiser.windows(SHAPE), team)
        first, stop = strips.own
        sums = regression.strips(condition, rows=strips.rows)
        mean = strips.fuse(sums, torch.zeros(2, 1, stop - first, SHAPE[1]))
        given = condition.with_mean(strips.extended(mean), first)
        whole = strips.gathered(mean + sampler.sample(given, [3, 4], team=team))
        if ranks.is_main:
            torch.save(whole, path)
        else:
            assert whole is None


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("overlap", [(4, 6), (14, 6)], ids=["neighbours overlap", "three rows overlap"])
@pytest.mark.parametrize("boundary", ["bounded", "periodic"])
def test_the_member_has_the_same_bits_on_any_number_of_processes(boundary, overlap, processes, tmp_path):
    expected = alone(boundary, overlap)
    assert on_ranks(processes, together, boundary, overlap, tmp_path / "member.pt") == [0] * processes
    assert torch.equal(torch.load(tmp_path / "member.pt", weights_only=True), expected)


@pytest.mark.parametrize("boundary", ["bounded", "periodic"])
def test_one_process_alone_is_the_sampler(boundary, tmp_path):
    together(boundary, (4, 6), tmp_path / "member.pt")
    assert torch.equal(torch.load(tmp_path / "member.pt", weights_only=True), alone(boundary, (4, 6)))


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_strips_cover_the_domain_and_share_only_what_windows_reach(processes):
    windows = WindowGrid((100, 30), (24, 30), (6, 0))
    strips = [Strips(windows, Team(rank, processes)) for rank in range(processes)]
    lines = [line for s in strips for line in range(*s.own)]
    assert lines == list(range(100))
    assert [row for s in strips for row in s.rows] == list(range(len(windows.rows.starts)))
    assert sum(b - a for s in strips for a, b in s._reached(s.team.rank)) <= (processes - 1) * 24


def test_more_processes_than_rows_of_windows_are_refused():
    with pytest.raises(InputError, match=r"got 3 rows for 4 processes; .* at most 3"):
        Strips(WindowGrid((64, 64), (32, 32), (8, 8)), Team(0, 4))
