# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Whether the files of a package are those that were exported."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physicsnemo_fs.errors import InputError
from physicsnemo_fs.files import read_record
from physicsnemo_fs.pipelines.checkpoints import file_hash
from physicsnemo_fs.pipelines.corrdiff_package import OWN

FREE = ("number_of_samples", "number_of_steps", "seed")
"""Entries of ``metadata.json`` that are defaults of attributes, and may be changed."""
LEFT_OUT = ("metadata.json", "README.md")
"""Files without a hash: the one that holds them, and the text for people."""
FILES, DESCRIPTION = "files", "description"
"""Where ``metadata.json`` keeps the hashes of the other files, and its own."""


def with_hashes(metadata: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Give ``metadata.json`` with the hashes of the files in a folder, and of itself."""
    hashes = {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.name not in LEFT_OUT}
    described = {**metadata, OWN: {**metadata[OWN], FILES: hashes}}
    return {**described, OWN: {**described[OWN], DESCRIPTION: _hash(described)}}


def recorded_files(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Give the hash of every file by name.

    Raises:
        InputError: If the package does not say them.
    """
    own = metadata.get(OWN)
    found = own.get(FILES) if isinstance(own, dict) else None
    if not isinstance(found, dict):
        raise InputError(
            f"metadata.json must say under {OWN!r} what was exported: this one does not; export the package again"
        )
    return found


def require_as_exported(files: Mapping[str, Path]) -> None:
    """Refuse a package with other files than those that its exporter wrote: another network, grid, static field ...

    Args:
        files: The files by name.

    Raises:
        InputError: Naming the file that is missing or differs.
    """
    metadata = read_record(files["metadata.json"])
    hashes = recorded_files(metadata)
    for name, expected in hashes.items():
        if name not in files or not files[name].is_file():
            raise absent(name, files["metadata.json"].parent)
        if file_hash(files[name]) != expected:
            raise InputError(
                f"{name} must be the one that was exported: {files[name]} was changed or replaced; copy or export the "
                "package again"
            )
    if _hash(metadata) != metadata[OWN].get(DESCRIPTION):
        raise InputError(
            f"only {', '.join(FREE)} may be changed in metadata.json: {files['metadata.json']} has another change; "
            "export the package again"
        )


def absent(name: str, place: object) -> InputError:
    """Say that a file is not there."""
    return InputError(f"a package must hold {name}: {place} does not; give its folder, copy or export it again")


def _hash(metadata: Mapping[str, Any]) -> str:
    own = {key: value for key, value in metadata[OWN].items() if key != DESCRIPTION}
    described = {**{key: value for key, value in metadata.items() if key not in FREE}, OWN: own}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
