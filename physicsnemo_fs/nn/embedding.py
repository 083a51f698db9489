# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Embeddings of the noise level and of position."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class NoiseLevelEmbedding(nn.Module):
    r"""Embed a noise label :math:`c_\text{noise} = \ln(\sigma)/4` by random-free Fourier features and two layers.

    Args:
        channels: Width of the embedding.
        frequencies: Number of geometrically spaced frequencies between :math:`e^{-1}` and :math:`e^{3}`.

    Example:
        >>> NoiseLevelEmbedding(24)(torch.zeros(5)).shape
        torch.Size([5, 24])
    """

    frequency: Tensor

    def __init__(self, channels: int, frequencies: int = 16):
        super().__init__()
        self.register_buffer("frequency", torch.linspace(-1, 3, frequencies).exp(), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * frequencies, channels), nn.SiLU(), nn.Linear(channels, channels), nn.SiLU()
        )

    def forward(self, noise_label: Float[Tensor, " batch"]) -> Float[Tensor, "batch channel"]:
        """Embed one label a sample."""
        angle = noise_label.to(self.frequency.dtype)[:, None] * self.frequency
        return self.layers(torch.cat([angle.sin(), angle.cos()], dim=1))


def coordinate_channels(
    kind: str, shape: tuple[int, int], like: Tensor
) -> Float[Tensor, "coordinate height width"] | None:
    """Give position channels that are functions of the physical position, not of the grid.

    Args:
        kind: ``"none"``; ``"periodic"``: sine and cosine of ``2 pi s`` along both axes (4 channels);
            ``"bounded"``: cell-centre position in [-1, 1] along both axes (2 channels).
        shape: Grid ``(height, width)``.
        like: Tensor whose dtype and device are used.

    Raises:
        ValueError: For another kind.

    Example:
        >>> coordinate_channels("periodic", (8, 8), torch.zeros(1)).shape
        torch.Size([4, 8, 8])
    """
    if kind == "none":
        return None
    height, width = shape
    rows = torch.arange(height, dtype=torch.float64, device=like.device)[:, None].expand(shape)
    columns = torch.arange(width, dtype=torch.float64, device=like.device)[None, :].expand(shape)
    if kind == "periodic":
        y, x = 2 * math.pi * rows / height, 2 * math.pi * columns / width
        return torch.stack([y.sin(), y.cos(), x.sin(), x.cos()]).to(like.dtype)
    if kind == "bounded":
        return torch.stack([(2 * rows + 1) / height - 1, (2 * columns + 1) / width - 1]).to(like.dtype)
    raise ValueError(f"coord_features must be 'none', 'periodic' or 'bounded': got {kind!r}")


COORDINATE_COUNT = {"none": 0, "periodic": 4, "bounded": 2}
