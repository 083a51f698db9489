# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The model card of a package."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import physicsnemo_fs
from physicsnemo_fs.config import ExportConfig
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.export.finished_run import FinishedRun
from physicsnemo_fs.export.grids import Positions, ringed
from physicsnemo_fs.export.naming import package_channel, package_unit
from physicsnemo_fs.export.package_model import PackageModel, Variable
from physicsnemo_fs.export.self_test import SelfTest
from physicsnemo_fs.models.windowed import has_windows

SHOWN = ("crps_fair", "mae", "rmse", "spread_skill", "crps_ratio")
UNSAID = "not stated"


def model_card(
    config: ExportConfig,
    model: PackageModel,
    model_class: str,
    output: Positions,
    coarse: Positions,
    test: SelfTest,
    differences: Sequence[str],
    networks: FinishedRun,
) -> str:
    """Give the text of ``README.md``: what the model is, how to run it, how good it is.

    Raises:
        InputError: If the file of scores is not readable.
    """
    record = networks.record["dataset"]
    title = config.title or f"Downscaling of {', '.join(v.name for v in model.outputs)}"
    extra = "" if model_class == "stock" else ", in `physicsnemo_fs.export.CorrDiffRegional`"
    lines = [
        f"# {title}",
        "",
        f"A CorrDiff package for earth2studio 0.19{extra}, written by physicsnemo_fs {physicsnemo_fs.__version__}.",
        "",
        "## Run it",
        "",
        "```bash",
        'pip install "physicsnemo-fs[earth2studio]"',
        "```",
        "",
        "```python",
        *_snippet(config, model_class, model),
        "```",
        "",
        "`physicsnemo_fs` must be installed wherever the package runs: its networks are classes of it.",
        "",
        "## Data",
        "",
        "| role | variable | unit | mean | standard deviation | trained as |",
        "|---|---|---|---|---|---|",
        *_rows("input", model.inputs),
        *_rows("static", model.statics),
        *_rows("output", model.outputs),
        "",
        f"- Trained on: {_source(record)}",
        f"- Input grid: {_input_grid(coarse, model_class)}",
        f"- Output grid: {_described(output)}",
        *_windows(model),
        f"- Noise: {model.denoiser.noise['kernel']['kind']}; {config.sampler.solver}, {config.sampler.num_steps} steps",
        f"- Licence of the training data: {config.data_licence or UNSAID}",
        "",
        "## Scores",
        "",
        *_scores(config, networks.run),
        "",
        "## Checks",
        "",
        f"- {test.text[0].upper()}{test.text[1:]}.",
        *(f"- Other than generate.py: {text}." for text in differences),
        "",
        "## Licence",
        "",
        f"Networks: {config.licence or UNSAID}. Code of physicsnemo_fs: Apache-2.0.",
        "",
    ]
    return "\n".join(lines)


def _source(record: Mapping[str, Any]) -> str:
    """Name the data without the machine it was on."""
    given = record.get("data_path") or []
    names = ", ".join(Path(str(path)).name for path in (given if isinstance(given, list) else [given]))
    return f"dataset={record['type']} ({names})" if names else f"dataset={record['type']}"


def _windows(model: PackageModel) -> list[str]:
    lines = []
    for name, network in (("Mean", model.regression), ("Diffusion", model.denoiser)):
        if has_windows(network):
            windows = network.windows(model.grid.shape)
            shape, overlap = (f"{a} x {b}" for a, b in (windows.patch, windows.overlap))
            lines.append(f"- {name} on {len(windows)} windows of {shape} points that share {overlap} at least")
    return lines


def _snippet(config: ExportConfig, model_class: str, model: PackageModel) -> list[str]:
    name = "CorrDiff" if model_class == "stock" else "CorrDiffRegional"
    place = "earth2studio.models.dx" if model_class == "stock" else "physicsnemo_fs.export"
    folder = json.dumps(Path(config.package).name, ensure_ascii=False)
    leads = ', lead_times=[np.timedelta64(6, "h")]' if model.sees_lead_time else ""
    return [
        *(["import numpy as np"] if leads else []),
        "from earth2studio.data import DataArrayFile",
        "from earth2studio.io import NetCDF4Backend",
        f"from {place} import {name}",
        "from physicsnemo_fs.export.workflow import downscale",
        "",
        f"model = {name}.from_pretrained({folder})",
        'source = DataArrayFile("coarse.nc")  # or any data source with the input variables, such as GFS()',
        'io = NetCDF4Backend("samples.nc", {"mode": "w"})',
        f'downscale(model, source, ["2024-01-01T00:00"], io{leads})',
        "io.close()",
    ]


def _rows(role: str, variables: Sequence[Variable]) -> list[str]:
    rows = []
    for variable in variables:
        channel = package_channel(variable)
        trained = f"{variable.channel.name} [{variable.channel.unit}]"
        kind = variable.channel.warp.to_dict()["kind"]
        of = "" if kind == "identity" else f" of its {kind}, in {variable.channel.unit}"
        moments = f"{channel.mean:.6g}{of} | {channel.std:.6g}{of}"
        rows.append(f"| {role} | {variable.name} | {package_unit(variable)} | {moments} | {trained} |")
    return rows


def _input_grid(coarse: Positions, model_class: str) -> str:
    if model_class != "stock":
        return _described(coarse)
    size = " x ".join(map(str, coarse.shape))
    return (
        f"{_described(ringed(coarse))}: one more row and column on every side than the {size} points of the training, "
        "which a package of `model_class=regional` does without"
    )


def _described(found: Positions) -> str:
    height, width = found.shape
    kind = "latitudes and longitudes" if found.regular else "points of a curvilinear grid"
    south, north = found.latitude.min(), found.latitude.max()
    west, east = found.longitude.flat[0], found.longitude.flat[-1]
    return f"{height} x {width} {kind}, {south:.3f} to {north:.3f} °N, from {west:.3f} to {east:.3f} °E"


def _scores(config: ExportConfig, run: Path) -> list[str]:
    path = Path(config.scores) if config.scores else run / "scores" / "scores_summary.csv"
    if not path.is_file():
        if config.scores:
            raise InputError(f"no scores at {path}: give the scores_summary.csv that score_samples.py wrote")
        return ["None were given. `score_samples.py` makes them; export again with `scores=.../scores_summary.csv`."]
    with open(path, newline="") as file:
        found = list(csv.DictReader(file))
    if not found or not {"model", "metric", "variable", "value"} <= set(found[0]):
        raise InputError(f"{path} must be a scores_summary.csv: it has no columns model, metric, variable, value")
    lines = ["| model | variable | metric | value | interval | members | times |", "|---|---|---|---|---|---|---|"]
    for row in found:
        if row["metric"] in SHOWN and _number(row["value"]) != "nan":
            interval = f"{_number(row.get('ci_lo'))} to {_number(row.get('ci_hi'))}"
            lines.append(
                f"| {row['model']} | {row['variable']} | {row['metric']} | {_number(row['value'])} | {interval} "
                f"| {row.get('n_members', '')} | {row.get('n_times', '')} |"
            )
    return [*lines, "", f"Units are those of the training. From `{path.name}`."]


def _number(text: str | None) -> str:
    try:
        return f"{float(text or 'nan'):.4g}"
    except ValueError:
        return str(text)
