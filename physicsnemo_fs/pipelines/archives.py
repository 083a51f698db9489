# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Reading zip archives of unknown origin: bounded in entries and size, checked, never unpacked to a folder."""

import io
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from physicsnemo_fs.errors import InputError

MOST_TENSORS = 200_000
LARGEST_TEXT = 16 * 2**20
MOST_COMPRESSED = 20
"""Largest ratio of an archive's content to its size; weights hardly compress, bombs do."""
SMALL = 64 * 2**20
"""Content that may be compressed any further."""
BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, OSError, IndexError)
"""What Python's reader raises for archives that are not whole."""


def read_archive(path: Path, names: Collection[str], wanted: Collection[str] | None = None) -> dict[str, bytes]:
    """Give the content of a zip archive that holds exactly the entries ``names``.

    Args:
        path: The file.
        names: Entries; those that end in ``.json`` may hold 16 MiB, all of them 20 times the file's size.
        wanted: Those of them to read; all by default.

    Raises:
        InputError: If the archive is damaged, holds other entries, one of them twice, or more than the bounds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sorted(e.filename for e in entries) != sorted(names):
                raise InputError(f"{path} must hold {sorted(names)}: it holds {[e.filename for e in entries][:5]}")
            if sum(e.file_size for e in entries) > max(SMALL, MOST_COMPRESSED * path.stat().st_size):
                raise InputError(f"{path} unpacks to more than {MOST_COMPRESSED} times its size; use another file")
            return {e.filename: _read(archive, e) for e in entries if wanted is None or e.filename in wanted}
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{path} is truncated or damaged ({error}); use another checkpoint") from error


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read an entry; zipfile stops at the size that the header declares and compares the checksum."""
    if entry.filename.endswith(".json") and entry.file_size > LARGEST_TEXT:
        raise InputError(f"{entry.filename} of {archive.filename} must be below 16 MiB: it has {entry.file_size}")
    with archive.open(entry) as file:
        content = file.read()
    if len(content) != entry.file_size:
        raise zipfile.BadZipFile(f"{entry.filename} ends early")
    return content


def load_tensors(source: Path | bytes, name: str, device: torch.device | str = "cpu") -> Any:
    """Read what ``torch.save`` wrote: tensors and plain types, nothing unpickled beyond them.

    Before torch sees it, the archive's checksums are compared, and compressed entries (which torch never writes) are
    refused, so that it holds no more than its size; afterwards no tensor may claim values that the archive does not
    hold.

    Args:
        source: The file or its content.
        name: What to call it in messages.
        device: Where the tensors are wanted.

    Raises:
        InputError: If it is damaged, or holds anything else.
    """
    file: IO[bytes] = open(source, "rb") if isinstance(source, Path) else io.BytesIO(source)  # noqa: SIM115
    with file:
        try:
            size = _checked_size(file, name)
            file.seek(0)
            found = torch.load(file, map_location=device, weights_only=True)
        except InputError:
            raise
        except Exception as error:  # the restricted unpickler raises whatever damaged opcodes lead to
            raise InputError(
                f"{name} is damaged or holds more than tensors ({type(error).__name__}); use another checkpoint"
            ) from error
    _require_held(found, size, name)
    return found


def _checked_size(file: IO[bytes], name: str) -> int:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {e.filename for e in entries}
        if len(entries) > MOST_TENSORS or len(names) != len(entries):
            raise InputError(f"{name} must hold at most {MOST_TENSORS} entries, each once: it has {len(entries)}")
        if any(e.compress_type != zipfile.ZIP_STORED or e.file_size != e.compress_size for e in entries):
            raise InputError(f"{name} must hold tensors as torch.save writes them: an entry is compressed")
        if (damaged := archive.testzip()) is not None:
            raise InputError(f"{name} is damaged: the checksum of {damaged} differs; use another checkpoint")
        return sum(e.file_size for e in entries)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Give the tensors within nested dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for key in value:
            yield from tensors_of(value[key])
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_of(entry)


def _require_held(found: Any, size: int, name: str) -> None:
    storages: dict[int, int] = {}
    for tensor in tensors_of(found):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if tensor.layout != torch.strided or tensor.numel() * tensor.element_size() > storage.nbytes():
            raise InputError(
                f"{name} holds a tensor of {tuple(tensor.shape)} with fewer values; use another checkpoint"
            )
    if sum(storages.values()) > size:
        raise InputError(f"{name} claims more values than it holds; use another checkpoint")
