# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Networks of NVIDIA's CorrDiff behind the calls of this package's networks."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from physicsnemo.core.module import Module
from torch import Tensor

from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.spectra import White
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.models.base import FSModule, check_fields
from physicsnemo_fs.models.corrdiff_unet import follow_autocast
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.checkpoints import load_network, network_class

REGRESSIONS = ("UNet", "CorrDiffRegressionUNet")
DENOISERS = ("EDMPrecondSR", "EDMPrecondSuperResolution")
PLACES = {
    **dict.fromkeys(REGRESSIONS, "physicsnemo.models.diffusion_unets"),
    **dict.fromkeys(DENOISERS, "physicsnemo.diffusion.preconditioners.legacy"),
}
SIGMA_MIN, SIGMA_MAX = 0.002, 800.0
"""Noise levels that CorrDiff samples between, where a network does not limit them."""


@dataclass(frozen=True)
class Rescaling:
    """Another normalisation of condition channels: ``scale * condition + shift`` is what the network was trained on.

    Args:
        scale: Factor of each channel.
        shift: What is added to each channel.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def __call__(self, condition: Float[Tensor, "batch channel y x"]) -> Float[Tensor, "batch channel y x"]:
        """Rescale the last channels of a condition; those before them, the mean, stay as they are."""
        count = len(self.scale)
        scale, shift = (condition.new_tensor(v).view(-1, 1, 1) for v in (self.scale, self.shift))
        return torch.cat([condition[:, :-count], condition[:, -count:] * scale + shift], dim=1)


class _Adapter(FSModule):
    """What both adapters share: channels without those of the position embedding, and the grid it is made for."""

    def __init__(self, network: Module, rescaling: Rescaling | None = None):
        super().__init__()
        self.network, self.rescaling = network, rescaling
        inner: Any = network.model
        if getattr(inner, "lead_time_mode", False):
            raise InputError(
                f"{type(network).__name__} networks with lead times cannot be generated from here: their label has no "
                "counterpart; use one without (model_type=SongUNetPosEmbd)"
            )
        embedded = getattr(inner, "N_grid_channels", 0)
        self.img_in_channels = int(network.img_in_channels) - embedded
        self.img_out_channels = int(network.img_out_channels)
        self.shape = (inner.img_shape_y, inner.img_shape_x) if embedded else None

    def condition(self, condition: Tensor) -> Tensor:
        """Give the condition in the network's normalisation.

        Raises:
            InputError: If a network with positions of its own grid gets another grid.
        """
        check_fields("the condition", condition, self.img_in_channels)
        if self.shape is not None and tuple(condition.shape[-2:]) != self.shape:
            raise InputError(
                f"this network knows the positions of a grid of {self.shape}: got {tuple(condition.shape[-2:])}; "
                "generate on its own grid"
            )
        return condition if self.rescaling is None else self.rescaling(condition)


class CorrDiffRegression(_Adapter):
    """CorrDiff's regression, called as :class:`physicsnemo_fs.models.regression.FSRegressionSR`.

    Args:
        network: ``UNet`` or ``CorrDiffRegressionUNet``.
        rescaling: Normalisation of its conditions where the data has another.

    Raises:
        InputError: If the network takes lead times.
    """

    def forward(
        self, x: Tensor | None, img_lr: Float[Tensor, "batch in_channel height width"], force_fp32: bool = False
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Give the mean for conditions; ``x`` is accepted and not used."""
        condition = self.condition(img_lr)
        zeros = condition.new_zeros(condition.shape[0], self.img_out_channels, *condition.shape[-2:])
        return self.network(zeros, condition, force_fp32=force_fp32)


class CorrDiffDenoiser(_Adapter):
    """CorrDiff's denoiser, called as :class:`physicsnemo_fs.models.edm.FSEDMPrecondSR`; its noise is white.

    Args:
        network: ``EDMPrecondSR`` or ``EDMPrecondSuperResolution``.
        rescaling: Normalisation of its conditions where the data has another.
        levels: Smallest and largest noise level to sample between, within those of the network.

    Raises:
        InputError: If the network takes lead times.
    """

    def __init__(
        self,
        network: Module,
        rescaling: Rescaling | None = None,
        levels: tuple[float, float] = (SIGMA_MIN, SIGMA_MAX),
    ):
        super().__init__(network, rescaling)
        self.sigma_data = float(network.sigma_data)
        self.sigma_min = max(levels[0], float(network.sigma_min))
        self.sigma_max = min(levels[1], float(network.sigma_max))
        self.noise = RandomField(White()).to_dict()
        network.model.register_forward_hook(_as_given)

    def forward(
        self,
        x: Float[Tensor, "batch out_channel height width"],
        t: Float[Tensor, " batch"],
        condition: Float[Tensor, "batch in_channel height width"],
    ) -> Float[Tensor, "batch out_channel height width"]:
        """Give the denoised field."""
        follow_autocast(self.network.model, x.device.type)
        return self.network(x, self.condition(condition), t)


def _as_given(network: torch.nn.Module, given: tuple[Tensor, ...], found: Tensor) -> Tensor:
    """Give a U-Net's result in the dtype of its input: NVIDIA's preconditioning takes no other in a CPU's autocast."""
    return found.to(given[0].dtype)


def _of_corrdiff(path: Path | str, name: str) -> Module:
    return load_network(path, getattr(importlib.import_module(PLACES[name]), name))


def load_regression(
    path: Path | str, rescaling: Rescaling | None = None, trusted: Sequence[str] = ()
) -> FSRegressionSR | CorrDiffRegression:
    """Load a mean, of this package or of CorrDiff.

    Args:
        path: The ``.mdlus`` file.
        rescaling: Normalisation of the conditions, for networks of CorrDiff.
        trusted: Packages that classes may come from besides physicsnemo and physicsnemo_fs.

    Raises:
        InputError: If the file holds no mean, is damaged, or names a class that is not trusted.
    """
    name = network_class(path)
    if name in REGRESSIONS:
        return CorrDiffRegression(_of_corrdiff(path, name), rescaling).eval()
    return load_network(path, FSRegressionSR, trusted)


def load_denoiser(
    path: Path | str,
    rescaling: Rescaling | None = None,
    trusted: Sequence[str] = (),
    levels: tuple[float, float] = (SIGMA_MIN, SIGMA_MAX),
) -> FSEDMPrecondSR | CorrDiffDenoiser:
    """Load a denoiser, of this package or of CorrDiff.

    Args:
        path: The ``.mdlus`` file.
        rescaling: Normalisation of the conditions, for networks of CorrDiff.
        trusted: Packages that classes may come from besides physicsnemo and physicsnemo_fs.
        levels: Noise levels that a network of CorrDiff is sampled between.

    Raises:
        InputError: If the file holds no denoiser, is damaged, or names a class that is not trusted.
    """
    name = network_class(path)
    if name in DENOISERS:
        return CorrDiffDenoiser(_of_corrdiff(path, name), rescaling, levels).eval()
    return load_network(path, FSEDMPrecondSR, trusted)
