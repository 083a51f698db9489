# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which files fields come from, for messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from physicsnemo_fs.data.fields.views import FieldView
from physicsnemo_fs.data.types import Fields
from physicsnemo_fs.errors import InputError


def place_of(fields: Fields, channel: int, position: int) -> str:
    """Say of which time and, if it is known, of which file a field is: ``at 2020-01-01T00 in a.nc``."""
    fields = _behind(fields)
    moment = f" at {fields.times[position]}" if len(fields.times) else ""
    find = getattr(fields, "file_of", None)
    return f"{moment} in {find(channel, position)}" if find else moment


def paths_of(fields: Fields | None) -> list[Path]:
    """Give the files that fields are read from; none if they have none."""
    return list(getattr(_behind(fields), "paths", []))


def files_of(fields: Fields | None) -> str:
    """Name the first file of some fields and say how many further ones there are; nothing if they have none."""
    paths = paths_of(fields)
    further = f" and {len(paths) - 1} further files" if len(paths) > 1 else ""
    return f"{paths[0]}{further}" if paths else ""


@contextmanager
def named_files(**sources: Fields | None) -> Iterator[None]:
    """Add to an error which files the fields of a ``with`` block come from.

    Example:
        >>> with named_files(target=None):
        ...     pass
    """
    try:
        yield
    except InputError as error:
        found = {role: files_of(fields) for role, fields in sources.items()}
        new = {role: files for role, files in found.items() if files and files.split(" and ")[0] not in str(error)}
        named = [f"{role} {files}" for role, files in new.items()]
        raise InputError(f"{error} ({', '.join(named)})" if named else str(error)) from error


def fingerprint(path: Path) -> list[str | int]:
    """Give what tells a file from an earlier state of it: its path, size and time of change.

    Of a Zarr store it is the number of its arrays, groups and their metadata, and the last time that one changed;
    chunks that are written anew in place are not noticed.
    """
    if not path.is_dir():
        state = path.stat()
        return [str(path), state.st_size, state.st_mtime_ns]
    parts = [path, *(part for depth in ("*", "*/*") for part in path.glob(depth))]
    return [str(path), len(parts), max(part.stat().st_mtime_ns for part in parts)]


def _behind(fields: Any) -> Any:
    while isinstance(fields, FieldView):
        fields = fields.source
    return fields
