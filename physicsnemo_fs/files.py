# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Files that appear under their final name only when they are whole."""

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import UnionType
from typing import IO, Any

from physicsnemo_fs.errors import InputError

logger = logging.getLogger(__name__)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What writing fails with on a full or read-only disk, or beyond a quota."""
TORCH_WRITES = re.compile(r"PytorchStreamWriter|inline_container")
"""Names the part of torch that writes, which says nothing of why it failed."""
NETCDF_WRITES = re.compile(r"^NetCDF: ")
"""The same of the netCDF library."""
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What file systems answer that know no locks."""


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

    An exception leaves ``path`` as it was and removes the temporary file; what a killed process left is removed when
    the same file is written again. Missing parent folders are made.

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
    temporary = path.with_name(f".{path.stem}.{_place()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    _claim(path, temporary)
    _remove_leftovers(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def told_if_full(folder: Path, kept: str, writer: re.Pattern[str] = TORCH_WRITES) -> Iterator[None]:
    """Turn what a full or read-only disk makes writing fail with into one line.

    Args:
        folder: Where a ``with`` block writes.
        kept: What is kept, for the message.
        writer: What the errors of a library that writes say, which are no ``OSError``.

    Raises:
        InputError: In place of such errors; others pass.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = error.errno in NO_ROOM if isinstance(error, OSError) else writer.search(str(error))
        if not full:
            raise
        raise unwritable(folder, kept, error) from error


def unwritable(folder: Path, kept: str, error: Exception) -> InputError:
    """Say that writing below a folder failed, what is kept, and what to do."""
    reason = "the writer of torch failed" if TORCH_WRITES.search(str(error)) else " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    return InputError(
        f"could not write below {folder} ({reason}); {kept}: make space or repair the folder, and run the same command "
        "again"
    )


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Keep other processes out of a ``with`` block by a lock file that is there as long as the block.

    The lock ends with this process, however it ends. Its folder is made, and removed again if nothing else is in it.

    Args:
        path: The lock file.
        what: What only one process may do, for the message.

    Raises:
        InputError: If another process is in the block.
    """
    made = not path.parent.exists()
    make_folder(path.parent)
    lock = _locked(path, what)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.close()
        if made and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _locked(path: Path, what: str) -> IO[str]:
    while True:
        try:
            lock = open(path, "w")  # noqa: SIM115 - kept open: closing it ends the lock
        except OSError as error:
            raise InputError(
                f"the folder {path.parent} must be writable ({error.strerror}); choose another folder"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise InputError(f"{what}: another process is at work in {path.parent}; wait for it or end it") from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            logger.warning("%s: the file system has no locks, so this is not checked", what)
            return lock
        if path.exists() and os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
            return lock
        lock.close()  # its owner removed it meanwhile


def read_json(path: Path) -> Any:
    """Read a record.

    Raises:
        InputError: If it is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove the folder or restore the file") from error


def read_record(path: Path, **kinds: type | UnionType) -> dict[str, Any]:
    """Read a record that is an object.

    Args:
        path: The file.
        kinds: Types of entries that it must have.

    Raises:
        InputError: If it is none, or an entry is missing or of another type.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "finished.json"
        >>> write_json({"network": "a.mdlus"}, path)
        >>> read_record(path, network=str)
        {'network': 'a.mdlus'}
    """
    found = read_json(path)
    bad = [name for name, kind in kinds.items() if not isinstance(found, dict) or not isinstance(found.get(name), kind)]
    if bad or not isinstance(found, dict):
        what = f"it has no {bad[0]}" if bad else "it is no object"
        raise InputError(f"{path} is damaged ({what}); remove the folder or restore the file")
    return found


def write_json(value: Any, path: Path) -> None:
    """Write a record atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


@cache
def _place() -> str:
    """Name this machine and, in a container, its own world of processes."""
    world = os.stat("/proc/self/ns/pid").st_ino if os.path.exists("/proc/self/ns/pid") else 0
    return hashlib.blake2b(f"{socket.gethostname()} {world}".encode(), digest_size=4).hexdigest()


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files for ``path`` whose process, of this machine, is no more."""
    name = re.compile(re.escape(f".{path.stem}.{_place()}-") + r"(\d+)-\w+\.partial" + re.escape(path.suffix))
    for other in path.parent.iterdir():
        if (found := name.fullmatch(other.name)) and not _runs(int(found[1])):
            other.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
