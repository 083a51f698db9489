# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Which code ran, and how it was started."""

import platform
import shlex
import shutil
import socket
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import physicsnemo_fs

PACKAGES = ("nvidia-physicsnemo", "torch", "numpy", "xarray", "netCDF4")


@cache
def code_version() -> dict[str, Any]:
    """Give the version of the package; in a clone also the git revision, and whether tracked files differ from it.

    Example:
        >>> sorted(code_version())
        ['modified', 'revision', 'version']
    """
    root = Path(physicsnemo_fs.__file__).parents[1]
    found: dict[str, Any] = {"version": physicsnemo_fs.__version__, "revision": None, "modified": None}
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return found

    def ask(*arguments: str) -> str | None:
        answer = subprocess.run([git, "-C", str(root), *arguments], capture_output=True, text=True)  # noqa: S603
        return answer.stdout.strip() if answer.returncode == 0 else None

    changes = ask("status", "--porcelain", "--untracked-files=no")
    return found | {"revision": ask("rev-parse", "HEAD"), "modified": None if changes is None else bool(changes)}


def start_record() -> dict[str, Any]:
    """Describe this start of a command, as JSON types: its own id, time, host, command, code and packages.

    Example:
        >>> record = start_record()
        >>> record["id"] != start_record()["id"], record["code"] == code_version()
        (True, True)
    """
    now = datetime.now(UTC)
    return {
        "id": f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}",
        "started": now.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "directory": str(Path.cwd()),
        "command": shlex.join(sys.argv),
        "code": code_version(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
