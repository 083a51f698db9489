# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Network checkpoints: ``.mdlus`` files for inference.

Nothing is unpickled, archives are bounded, and a network's class must belong to a trusted package before its module is
imported.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from physicsnemo.core.module import Module

import physicsnemo_fs.models.patched  # noqa: F401 - names_of knows only what is imported
from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import atomic_path
from physicsnemo_fs.pipelines.archives import load_tensors, read_archive, tensors_of
from physicsnemo_fs.pipelines.networks import NetworkBuilder

ENTRIES = ("model.pt", "args.json", "metadata.json")
CHECKSUMS = "sha256"
NetworkT = TypeVar("NetworkT", bound=Module)


def network_path(folder: Path, name: str, images: int) -> Path:
    """Give the path of a network after ``images`` training images, in CorrDiff's naming.

    Example:
        >>> network_path(Path("run"), "FSRegressionSR", 4800).name
        'FSRegressionSR.0.4800.mdlus'
    """
    return folder / f"{name}.0.{images}.mdlus"


def image_count(path: Path) -> int | None:
    """Give the image count in a checkpoint's name, if it has one.

    Example:
        >>> image_count(Path("FSRegressionSR.0.4800.mdlus")), image_count(Path("regression.mdlus"))
        (4800, None)
    """
    found = re.search(r"\.0\.(\d+)\.\w+$", path.name)
    return int(found[1]) if found else None


def newest_first(folder: Path, pattern: str) -> list[Path]:
    """Give the files of ``folder`` that match ``pattern`` by falling image count."""
    found = [(count, path) for path in folder.glob(pattern) if (count := image_count(path)) is not None]
    return [path for _, path in sorted(found, reverse=True)]


def newest(folder: Path, pattern: str) -> Path | None:
    """Give the file of ``folder`` that matches ``pattern`` and has the largest image count, if there is one."""
    return next(iter(newest_first(folder, pattern)), None)


def save_network(network: Module, path: Path) -> None:
    """Write a network atomically, with the SHA-256 of its entries in its metadata."""
    with atomic_path(path) as temporary:
        network.save(temporary)
        with zipfile.ZipFile(temporary) as archive:
            entries = {name: archive.read(name) for name in ENTRIES}
        metadata = json.loads(entries["metadata.json"])
        metadata[CHECKSUMS] = {name: _sha256(entries[name]) for name in ENTRIES[:2]}
        entries["metadata.json"] = json.dumps(metadata).encode()
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)


def names_of(kind: type[Module]) -> list[str]:
    """Give the names of a class of networks and of its subclasses.

    Example:
        >>> from physicsnemo_fs.models.regression import FSRegressionSR
        >>> names_of(FSRegressionSR)
        ['FSRegressionSR']
    """
    return [kind.__name__, *(name for sub in kind.__subclasses__() for name in names_of(sub))]


def load_network(path: Path | str, kind: type[NetworkT], trusted: Sequence[str] = ()) -> NetworkT:
    """Load a network of class ``kind`` in evaluation mode.

    Args:
        path: The ``.mdlus`` file.
        kind: The class it must hold; physicsnemo's ``Module`` takes any.
        trusted: Packages that its classes may come from besides physicsnemo and physicsnemo_fs.

    Raises:
        InputError: If the file is missing, damaged, of another class, or names a class of another package.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}; give the path of an .mdlus file, or train first")
    entries = read_archive(path, ENTRIES)
    arguments, metadata = _json(entries, "args.json", path), _json(entries, "metadata.json", path)
    _compare_checksums(entries, metadata, path)
    state = load_tensors(entries["model.pt"], f"model.pt of {path}")
    builder = NetworkBuilder(arguments, metadata, str(path), trusted, sum(t.numel() for t in tensors_of(state)))
    name = builder.check()
    if kind is not Module and name not in names_of(kind):
        raise InputError(f"{path} holds a {name}, but a {kind.__name__} is needed here")
    network = builder.build()
    if not isinstance(network, kind):
        raise InputError(f"{path} holds a {type(network).__name__}, but a {kind.__name__} is needed here")
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path} cannot be loaded as {kind.__name__}: {_first_lines(error)}") from error
    return network.eval()


def damage(path: Path, kind: type[Module], trusted: Sequence[str] = ()) -> str | None:
    """Say why a file holds no whole network of class ``kind``; ``None`` if it does.

    Args:
        path: The ``.mdlus`` file.
        kind: The class it must hold.
        trusted: Packages that its classes may come from besides physicsnemo and physicsnemo_fs.
    """
    try:
        load_network(path, kind, trusted)
    except InputError as error:
        return str(error)
    return None


def network_class(path: Path | str) -> str:
    """Give the name of the class that a checkpoint says it holds; nothing is loaded.

    Raises:
        InputError: If it is no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}; give the path of an .mdlus file, or train first")
    arguments = _json(read_archive(path, ENTRIES, wanted=("args.json",)), "args.json", path)
    return str(arguments.get("__name__"))


def _json(entries: dict[str, bytes], name: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(entries[name])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} of {path} is damaged ({error}); use another checkpoint") from error
    if not isinstance(found, dict):
        raise InputError(f"{name} of {path} is damaged: it is no object; use another checkpoint")
    return found


def _compare_checksums(entries: dict[str, bytes], metadata: dict[str, Any], path: Path) -> None:
    """Compare the checksums that were written; files of other programs have none."""
    recorded = metadata.get(CHECKSUMS, {})
    for name, expected in recorded.items() if isinstance(recorded, dict) else [(CHECKSUMS, recorded)]:
        if name not in entries or _sha256(entries[name]) != expected:
            raise InputError(f"{path} is damaged: the checksum of {name} differs; use another checkpoint")


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:2])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_hash(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
