# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: an ``.mdlus`` network for inference beside the ``.pt`` state that training resumes from.

Nothing is unpickled: tensors are read with ``weights_only=True``, and a network's class must belong to physicsnemo or
physicsnemo_fs before its module is imported.
"""

import hashlib
import json
import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypeVar

import torch
from physicsnemo.core.module import Module

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path

TRUSTED_PACKAGES = ("physicsnemo", "physicsnemo_fs")
LARGEST_ENTRY = 16 * 2**30
NetworkT = TypeVar("NetworkT", bound=Module)


def network_path(folder: Path, name: str, images: int) -> Path:
    """Give the path of a network after ``images`` training images, in CorrDiff's naming.

    Example:
        >>> network_path(Path("run"), "FSRegressionSR", 4800).name
        'FSRegressionSR.0.4800.mdlus'
    """
    return folder / f"{name}.0.{images}.mdlus"


def newest(folder: Path, pattern: str) -> Path | None:
    """Give the file of ``folder`` that matches ``pattern`` and has the largest image count, if there is one."""
    found = [(int(m[1]), p) for p in folder.glob(pattern) if (m := re.search(r"\.0\.(\d+)\.\w+$", p.name))]
    return max(found)[1] if found else None


def save_network(network: Module, path: Path) -> None:
    """Write a network atomically."""
    with atomic_path(path) as temporary:
        network.save(temporary)


def _read_arguments(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}; give the path of an .mdlus file, or train first")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry.file_size for entry in archive.infolist()}
            if set(entries) != {"model.pt", "args.json", "metadata.json"} or max(entries.values()) > LARGEST_ENTRY:
                raise InputError(f"{path} is no network checkpoint: it holds {sorted(entries)[:5]}")
            arguments = json.loads(archive.read("args.json"))
            if not isinstance(arguments, dict) or archive.testzip() is not None:
                raise zipfile.BadZipFile("an entry is damaged")
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise InputError(f"{path} is truncated or no .mdlus file ({error}); use another checkpoint") from error
    return arguments


def load_network(path: Path | str, kind: type[NetworkT]) -> NetworkT:
    """Load a network of class ``kind`` in evaluation mode.

    Args:
        path: The ``.mdlus`` file.
        kind: The class it must hold.

    Raises:
        InputError: If the file is missing, truncated, of another class, or names a class outside physicsnemo and
            physicsnemo_fs.
    """
    path = Path(path)
    arguments = _read_arguments(path)
    described = [arguments, *(v for k, v in arguments.items() if k.startswith("__physicsnemo.Module__"))]
    for entry in described:
        package = str(entry.get("__module__", "")).split(".")[0]
        if package not in TRUSTED_PACKAGES:
            raise InputError(
                f"{path} asks for class {entry.get('__name__')!r} of the package {package!r}, which is not trusted; "
                f"only {' and '.join(TRUSTED_PACKAGES)} are"
            )
    if arguments["__name__"] != kind.__name__:
        raise InputError(f"{path} holds a {arguments['__name__']}, but a {kind.__name__} is needed here")
    try:
        network = kind.from_checkpoint(str(path))
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} holds more than tensors, or is damaged: use another checkpoint") from error
    except (RuntimeError, TypeError, ValueError, EOFError, OSError, KeyError) as error:
        raise InputError(f"{path} cannot be loaded as {kind.__name__}: {str(error).splitlines()[0]}") from error
    return network.eval()


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state (tensors and plain types) atomically."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a training state.

    Raises:
        InputError: If the file is truncated or holds anything but tensors and plain types.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise InputError(
            f"the training state {path} is damaged ({type(error).__name__}); delete it to resume from the one before"
        ) from error


def file_hash(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
