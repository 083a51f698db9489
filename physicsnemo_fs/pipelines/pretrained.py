# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Small trained networks that come with the package, so that there is something to look at within a minute."""

import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path, make_folder, read_json, write_json
from physicsnemo_fs.models.base import FSModule
from physicsnemo_fs.models.edm import FSEDMPrecondSR
from physicsnemo_fs.models.regression import FSRegressionSR
from physicsnemo_fs.pipelines.checkpoints import load_network, newest, save_network

FOLDER = Path(str(files("physicsnemo_fs"))) / "pretrained"


@dataclass(frozen=True)
class Pretrained:
    """Paths of a shipped pair of networks."""

    regression: Path
    diffusion: Path


def find_pretrained(name: str) -> Pretrained:
    """Give the shipped networks of that name.

    Raises:
        InputError: If there are none, naming those there are.

    Example:
        >>> find_pretrained("kolmogorov_re40").regression.name
        'regression.mdlus'
    """
    folder = FOLDER / name
    if not (folder / "provenance.json").is_file():
        there = sorted(p.name for p in FOLDER.iterdir()) if FOLDER.is_dir() else []
        raise InputError(f"no pretrained networks named {name!r}: there are {', '.join(there) or 'none'}")
    return Pretrained(folder / "regression.mdlus", folder / "diffusion.mdlus")


def _deflate(path: Path) -> None:
    """Rewrite a zip archive with compressed entries; every reader of .mdlus takes it."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for name, content in entries.items():
            out.writestr(name, content)


def pack(run_dir: Path, folder: Path, facts: dict[str, Any]) -> None:
    """Write the newest networks of a run, their weights rounded to eight bits, with a record of where they come from.

    Args:
        run_dir: The run.
        folder: Where ``regression.mdlus``, ``diffusion.mdlus`` and ``provenance.json`` go.
        facts: What else the record says: command, date, scores.

    Raises:
        InputError: If the run is not finished.
    """
    make_folder(folder)
    for name, kind in (("regression", FSRegressionSR), ("diffusion", FSEDMPrecondSR)):
        path = newest(run_dir / name, f"{kind.__name__}.0.*.mdlus")
        if path is None:
            raise InputError(f"{run_dir / name} holds no {kind.__name__}: train it first")
        save_network(_rounded(load_network(path, kind)), folder / f"{name}.mdlus")
        _deflate(folder / f"{name}.mdlus")
    record = {
        "stages": {name: _recipe(run_dir / name) for name in ("regression", "diffusion")},
        "packages": {name: version(name) for name in ("physicsnemo-fs", "nvidia-physicsnemo", "torch")},
        **facts,
    }
    write_json(record, folder / "provenance.json")


@torch.no_grad()
def _rounded(network: FSModule) -> FSModule:
    """Give a network in half precision whose weights have bfloat16's eight bits, which compress by a sixth."""
    for parameter in network.parameters():
        parameter.copy_(parameter.bfloat16())
    return network.half()


def _recipe(folder: Path) -> dict[str, Any]:
    """Give what determines a stage, without the place where its data lay."""
    record = read_json(folder / "run.json")
    del record["dataset"]["data_path"]
    return record
