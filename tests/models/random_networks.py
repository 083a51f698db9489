# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Random networks and random band-limited inputs for the tests of the models."""

import torch

from physicsnemo_fs.models.fsuno import FSUNO
from physicsnemo_fs.nn.resample import fourier_resample

TINY = {"model_channels": 4, "channel_mult": (1, 2), "level_grid": (16, 8), "n_modes": (0, 2), "embedding_channels": 8}


def generator(seed):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def randomize(network, seed=0):
    """Draw every parameter at a scale that keeps signals of order one, those that start at zero too."""
    draw = generator(seed)
    for name, parameter in network.named_parameters():
        value = torch.randn(parameter.shape, generator=draw)
        if name.endswith("spectral.weight"):
            parameter.copy_(value * parameter.shape[1] ** -0.5)
        elif parameter.ndim > 1:
            parameter.copy_(value * parameter[0].numel() ** -0.5)
        elif "norm" in name and name.endswith("weight"):
            parameter.copy_(1 + 0.2 * value)
        else:
            parameter.copy_(0.3 * value)
    return network


def tiny_fsuno(in_channels=3, out_channels=1, seed=0, **options):
    return randomize(FSUNO(in_channels, out_channels, **TINY | options), seed)


def band_limited(shape, channels=3, batch=2, degree=6, seed=0):
    """One random function with modes up to ``degree``, sampled on any grid that resolves it."""
    count = 2 * degree + 1
    coarse = torch.randn(batch, channels, count, count, dtype=torch.float64, generator=generator(seed))
    return fourier_resample(coarse, shape).float()
