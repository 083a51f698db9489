# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Files that appear under their final name only when they are whole."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from physicsnemo_fs.errors import InputError


def make_folder(folder: str | Path) -> Path:
    """Create a folder with its parents and give its path.

    Raises:
        InputError: If it cannot be created.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the folder {folder} ({error.strerror}); choose another place") from error
    return folder


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place, synced to disk, when the block ends well.

    An exception leaves ``path`` as it was and removes the temporary file. Missing parent folders are made.

    Raises:
        InputError: If the folder cannot be made or written to, or ``path`` is a folder.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    _claim(path, temporary)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def read_json(path: Path) -> Any:
    """Read a record.

    Raises:
        InputError: If it is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove the folder or restore the file") from error


def write_json(value: Any, path: Path) -> None:
    """Write a record atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def _claim(path: Path, temporary: Path) -> None:
    if path.is_dir():
        raise InputError(f"an output file must not be a folder: {path} is one; add a file name")
    make_folder(path.parent)
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise InputError(
            f"the folder of an output file must be writable: {path.parent} is not ({error.strerror}); "
            "choose another folder"
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
