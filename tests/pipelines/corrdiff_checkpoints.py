# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Networks of NVIDIA's classes with random weights, saved by themselves."""

import warnings

import torch

SMALL = {"model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": []}


def checkpoints(folder, conditions, outputs, positions=4, model_type="SongUNetPosEmbd", old=True, **options):
    """A random regression and denoiser of NVIDIA's classes, saved by themselves."""
    from physicsnemo.diffusion.preconditioners.legacy import EDMPrecondSR, EDMPrecondSuperResolution
    from physicsnemo.models.diffusion_unets import CorrDiffRegressionUNet, UNet

    torch.manual_seed(0)
    unet = {**SMALL, **({"N_grid_channels": positions} if positions else {}), "model_type": model_type, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean = (UNet if old else CorrDiffRegressionUNet)(
            img_resolution=[32, 32], img_in_channels=conditions + positions, img_out_channels=outputs, **unet
        )
        extra = {"img_channels": outputs, "scale_cond_input": False} if old else {}
        residual = (EDMPrecondSR if old else EDMPrecondSuperResolution)(
            img_resolution=[32, 32],
            img_in_channels=conditions + outputs + positions,
            img_out_channels=outputs,
            **extra,
            **unet,
        )
        for network in (mean, residual):
            for parameter in network.parameters():  # networks of this kind start at zero in their last layers
                torch.nn.init.normal_(parameter, std=0.05)
    folder.mkdir(exist_ok=True)
    mean.save(str(folder / "regression.mdlus"))
    residual.save(str(folder / "diffusion.mdlus"))
    return mean.eval(), residual.eval()
