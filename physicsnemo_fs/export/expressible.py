# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""What earth2studio's own CorrDiff class cannot do as ``generate.py`` does it, and what to do instead."""

from dataclasses import dataclass

from physicsnemo_fs.config import SamplerConfig
from physicsnemo_fs.data.warps import Identity
from physicsnemo_fs.diffusion.noise import RandomField
from physicsnemo_fs.diffusion.spectra import White
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.grids import Positions
from physicsnemo_fs.export.package_model import PackageModel
from physicsnemo_fs.models.windowed import has_windows

WHITE_LATENTS = "allow_white_latents=true (or --allow-white-latents)"
INSTEAD = "use model_class=regional, which physicsnemo_fs.export.CorrDiffRegional loads"


@dataclass(frozen=True)
class Obstacle:
    """A reason against the stock class.

    Args:
        text: What it cannot do.
        waiver: What accepts the difference, for the message; empty if nothing does.
    """

    text: str
    waiver: str = ""


def obstacles(model: PackageModel, output: Positions, coarse: Positions, sampler: SamplerConfig) -> list[Obstacle]:
    """List what the stock class cannot do as ``generate.py`` does it.

    Args:
        model: The networks, their variables and grids.
        output: Latitudes and longitudes of the output.
        coarse: The same of the input.
        sampler: The reverse diffusion.
    """
    found = [*_of_grids(output, coarse), *_of_sampler(sampler)]
    levels, limits = model.sampler.scheduler, model.denoiser
    if levels.sigma_min < limits.sigma_min or levels.sigma_max > limits.sigma_max:
        found.append(
            Obstacle(f"it keeps noise levels within the network's, {limits.sigma_min:.3g} to {limits.sigma_max:.3g}")
        )
    if has_windows(model.regression) or has_windows(model.denoiser):
        found.append(Obstacle("it cuts no domain into the windows (patches) that the networks were trained on"))
    if model.sees_lead_time:
        found.append(Obstacle("it gives the networks no lead time, which they were trained with"))
    field = RandomField.from_dict(model.denoiser.noise)
    if not (isinstance(field.kernel, White) and field.kernel.max_wavenumber is None):
        kind = model.denoiser.noise["kernel"]["kind"]
        found.append(
            Obstacle(
                f"the networks were trained with coloured noise ({kind}), and the stock class draws white noise: its "
                "members would be wrong",
                WHITE_LATENTS,
            )
        )
    variables = (*model.inputs, *model.statics, *model.outputs)
    if warped := dict.fromkeys(v.name for v in variables if not isinstance(v.channel.warp, Identity)):
        found.append(Obstacle(f"it knows mean and standard deviation only: transformed are {', '.join(warped)}"))
    if cut := [v.name for v in model.outputs if v.channel.minimum is not None]:
        found.append(
            Obstacle(f"it does not cut off values of {', '.join(cut)} below their least one", "model_class=stock")
        )
    return found


def _of_grids(output: Positions, coarse: Positions) -> list[Obstacle]:
    found = []
    if output.regular:
        found.append(Obstacle("it fails on an output grid of one latitude a row and one longitude a column"))
    elif output.shape[0] != output.shape[1]:
        found.append(Obstacle(f"it fails on an output grid that is not square: {output.shape}"))
    if output.crosses_greenwich or coarse.crosses_greenwich:
        found.append(Obstacle("it cannot interpolate across the meridian of Greenwich"))
    return found


def _of_sampler(sampler: SamplerConfig) -> list[Obstacle]:
    standard = SamplerConfig()
    found = [
        Obstacle(f"it has no sampler.{name}={getattr(sampler, name)}")
        for name in ("solver", "schedule", "rho", "S_churn")
        if getattr(sampler, name) != getattr(standard, name)
    ]
    if sampler.num_steps < 2:
        found.append(Obstacle("its sampler gives NaN with sampler.num_steps=1; take 2 or more"))
    return found


def choose_class(wanted: str, found: list[Obstacle], allow_white_latents: bool) -> str:
    """Give ``"stock"`` or ``"regional"``.

    Raises:
        InputError: If the stock class is asked for and cannot do it, saying why and what to do.
    """
    accepted = {f"model_class={wanted}", *([WHITE_LATENTS] if allow_white_latents else [])}
    left = [obstacle for obstacle in found if obstacle.waiver not in accepted]
    if wanted == "regional" or (wanted == "auto" and left):
        return "regional"
    if left:
        waivers = sorted({obstacle.waiver for obstacle in left})
        ways = [INSTEAD, *waivers] if all(waivers) else [INSTEAD]
        reasons = "; ".join(obstacle.text for obstacle in left)
        raise InputError(f"earth2studio's CorrDiff cannot run this: {reasons}; {', or '.join(ways)}")
    return "stock"
