# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Backbones and noise."""

from dataclasses import dataclass

from omegaconf import MISSING

from physicsnemo_fs.config.keys import key


@dataclass
class ModelConfig:
    """What every backbone accepts."""

    name: str = key(MISSING, "Which backbone: fsuno, conv_unet or corrdiff_unet.")
    model_channels: int = key(16, "Base width.", least=1)
    channel_mult: list[int] = key([1, 2, 3, 4], "Width of each level as a multiple of model_channels, finest first.")
    num_blocks: int = key(1, "Blocks a level.", least=1)
    embedding_channels: int = key(96, "Width of the noise-level embedding.", least=1)
    dropout: float = key(0.0, "Dropout probability.", least=0, below=1)


@dataclass
class FSUNOConfig(ModelConfig):
    """The U-shaped neural operator."""

    name: str = key("fsuno", "This backbone.")
    level_grid: list[int] | None = key(
        [64, 32, 16, 8], "Pinned grid of each level; null for the pure spectral operator."
    )
    n_modes: list[int] = key([0, 4, 4, 0], "Spectral modes of each level; 0 drops the branch.")
    local_kernel: int = key(
        3, "Width of the local stencil on the pinned grids; 1 for the pure spectral operator.", least=1
    )
    attn_levels: list[int] = key([], "Levels with self-attention.")
    coord_features: str = key(
        "none", "Position channels: none, periodic or bounded; networks of windows are told theirs instead."
    )
    boundary: str = key("periodic", "periodic, or pad for bounded domains.")
    activation: str = key("silu", "silu or gelu.")
    factorization: str | None = key(None, "tucker for spectral weights of low rank; null for dense ones.")
    rank: float | None = key(None, "Parameters of a factorised spectral weight as a share of the dense one's.")


@dataclass
class ConvUNetConfig(ModelConfig):
    """The plain convolutional U-Net on pixels: the baseline."""

    name: str = key("conv_unet", "This backbone.")


@dataclass
class CorrDiffUNetConfig(ModelConfig):
    """CorrDiff's own U-Net, NVIDIA's SongUNetPosEmbd: the baseline on equal data and budget."""

    name: str = key("corrdiff_unet", "This backbone.")
    model_channels: int = key(64, "Base width.", least=1)
    channel_mult: list[int] = key([1, 2, 2], "Width of each level as a multiple of model_channels, finest first.")
    num_blocks: int = key(4, "Residual blocks a level.", least=1)
    dropout: float = key(0.1, "Dropout probability.", least=0, below=1)
    attn_resolutions: list[int] = key([16], "Sides of the levels with self-attention, for fields of `resolution`.")
    resolution: int = key(64, "Side of the fields that attn_resolutions refers to.", least=1)
    positions: bool = key(True, "Append the place in the field; networks of windows are told theirs instead.")


@dataclass
class NoiseConfig:
    """The Gaussian random field that noises the residual."""

    kernel: str = key(
        "matched",
        "matched (to the training residual's spectrum), matern, legacy_rbf or white.",
        choices=("matched", "matern", "legacy_rbf", "white"),
    )
    nu: float = key(0.5, "Smoothness of the Matern kernel.", above=0)
    length_scale: float = key(0.1, "Length scale of the Matern kernel, as a share of the domain.", above=0)
    scale: float = key(0.05, "Scale s of legacy_rbf: exp(-|d| / (2 s^2)).", above=0)
    eps: float = key(0.01, "White nugget of legacy_rbf.")
    P_mean: float | None = key(None, "Mean of ln(sigma / sigma_data) in training; null takes it from the spectra.")
    P_std: float | None = key(None, "Spread of ln sigma in training; null takes it from the spectra.", above=0)
