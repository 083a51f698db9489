# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures of samples, written while training and generating."""

from pathlib import Path

import torch

from physicsnemo_fs.data.sampler import evenly_spread
from physicsnemo_fs.data.types import DownscalingDataset
from physicsnemo_fs.diffusion.patching import sampler_for
from physicsnemo_fs.diffusion.residual import assemble_condition
from physicsnemo_fs.io.reader import EnsembleFile
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.figures import Panel, field_scale, panel_figure, save_figure
from physicsnemo_fs.pipelines.numerals import unit_text
from physicsnemo_fs.pipelines.stages import labels_of, to_device
from physicsnemo_fs.random import derive_key

PICTURE_SAMPLES = 3
PICTURE_MEMBERS = 2


@torch.no_grad()
def ensemble_picture(
    dataset: DownscalingDataset, regression: FSRegressionSR, denoiser: FSEDMPrecondSR | None, path: Path
) -> None:
    """Draw a few samples of a dataset: coarse, truth, mean and, with a denoiser, two members.

    Args:
        dataset: Where the samples come from, evenly spread.
        regression: The mean.
        denoiser: The residual's denoiser, if there is one yet.
        path: The PNG to write.
    """
    ids = evenly_spread(len(dataset), PICTURE_SAMPLES)
    batch = to_device(dataset.fetch(ids), next(regression.parameters()).device)
    condition = assemble_condition(batch.coarse, batch.invariants, dataset.coarse_grid, dataset.grid)
    mean = regression(None, condition, **labels_of(regression, batch))
    members = []
    if denoiser is not None:
        with_mean = denoiser.img_in_channels != condition.shape[1]
        given = torch.cat([mean, condition], dim=1) if with_mean else condition
        sampler = sampler_for(denoiser)
        for member in range(PICTURE_MEMBERS):
            keys = [derive_key(member, "picture", i) for i in ids]
            members.append((mean + sampler.sample(given, keys, lead_time=batch.lead_time)).cpu())
    channel = dataset.output_channels[0]
    names = [c.name for c in dataset.input_channels]
    rows = []
    for i in range(len(ids)):
        row = [("coarse", batch.coarse[i, names.index(channel.name)].cpu())] if channel.name in names else []
        if batch.target is not None:
            truth = batch.target[i, 0]
            row.append(("truth", (truth if batch.valid is None else truth.where(batch.valid[i, 0], torch.nan)).cpu()))
        row.append(("mean", mean[i, 0].cpu()))
        row += [(f"member {m}", members[m][i, 0]) for m in range(len(members))]
        rows.append([(title, channel.denormalize(field.numpy())) for title, field in row])
    scale = field_scale(
        [field for row in rows for _, field in row], f"{channel.long_name or channel.name} [{unit_text(channel.unit)}]"
    )
    save_figure(panel_figure([[Panel(title, field, scale) for title, field in row] for row in rows]), path)


def samples_picture(samples: Path, path: Path) -> None:
    """Draw the first time of a samples file: input, mean, truth, two members and the spread of all.

    Args:
        samples: A file of generated ensembles.
        path: The PNG to write.
    """
    with EnsembleFile(samples) as file:
        name = file.variables[0]
        members = file.prediction(name, 0)
        row = [("input", file.input(name, 0))] if name in file.input_variables else []
        row += [("mean", file.regression(name, 0))] if file.has_regression else []
        row += [("truth", file.truth(name, 0))] if file.has_truth else []
        row += [(f"member {m}", members[m]) for m in range(min(PICTURE_MEMBERS, len(members)))]
        channel = file.channel(name)
        label = f"{channel.long_name or name} [{unit_text(channel.unit)}]"
    scale = field_scale([field for _, field in row], label)
    panels = [Panel(title, field, scale) for title, field in row]
    if len(members) > 1:
        spread = members.std(axis=0, ddof=1)
        panels.append(Panel("spread", spread, field_scale([spread], f"spread of {label}")))
    half = len(row) - PICTURE_MEMBERS if len(members) > 1 else len(row)
    save_figure(panel_figure([line for line in (panels[:half], panels[half:]) if line]), path)
