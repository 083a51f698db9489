# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The code that ran is named: by revision in a clone, by version elsewhere."""

import shutil
import subprocess

import pytest

import physicsnemo_fs
from physicsnemo_fs.provenance import code_version

GIT = shutil.which("git")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Give the folder that an empty copy of the package lies in."""
    monkeypatch.setattr(physicsnemo_fs, "__file__", str(tmp_path / "physicsnemo_fs" / "__init__.py"))
    code_version.cache_clear()
    yield tmp_path
    code_version.cache_clear()


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run([GIT, "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)


def test_outside_a_clone_the_version_is_all(installed):
    assert code_version() == {"version": physicsnemo_fs.__version__, "revision": None, "modified": None}


@pytest.mark.skipif(GIT is None, reason="needs git")
def test_a_package_inside_the_clone_of_another_project_has_no_revision(installed, monkeypatch):
    git(installed, "init")
    inner = installed / "lib" / "physicsnemo_fs" / "__init__.py"
    monkeypatch.setattr(physicsnemo_fs, "__file__", str(inner))
    assert code_version()["revision"] is None


@pytest.mark.skipif(GIT is None, reason="needs git")
@pytest.mark.parametrize("changed", [False, True])
def test_in_a_clone_the_revision_and_changes_are_known(installed, changed):
    (installed / "a.txt").write_text("one")
    git(installed, "init")
    git(installed, "add", "a.txt")
    git(installed, "commit", "-m", "one")
    if changed:
        (installed / "a.txt").write_text("two")
    (installed / "untracked.txt").write_text("")
    found = code_version()
    assert found["revision"] == git(installed, "rev-parse", "HEAD").stdout.strip()
    assert found["modified"] is changed
