# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Facts about the repository itself."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GIT = shutil.which("git")


def tracked(*patterns):
    listed = subprocess.run([str(GIT), "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


@pytest.fixture(scope="module")
def in_checkout():
    if GIT is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")


def test_a_bare_import_of_kernels_is_refused():
    run = subprocess.run([sys.executable, "-c", "import kernels"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert "import physicsnemo_fs.kernels, not kernels" in run.stderr


def test_importing_the_package_is_light():
    code = "import sys, physicsnemo_fs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.usefixtures("in_checkout")
def test_every_source_file_names_its_licence():
    for path in tracked("*.py", "*.yaml", "Makefile"):
        assert "SPDX-License-Identifier: Apache-2.0" in path.read_text()[:300], path


@pytest.mark.usefixtures("in_checkout")
def test_no_large_file_is_tracked():
    for path in tracked():
        assert path.stat().st_size < 2_000_000, path


@pytest.mark.slow
@pytest.mark.usefixtures("in_checkout")
def test_the_wheel_holds_the_tree(tmp_path):
    source = tmp_path / "source"
    for path in tracked():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for link in ("kernels", "conf"):
        (source / "physicsnemo_fs" / link).symlink_to(Path("..") / link)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        str(path.relative_to(ROOT)).replace("kernels/", "physicsnemo_fs/kernels/", 1)
        if path.relative_to(ROOT).parts[0] == "kernels"
        else str(path.relative_to(ROOT)).replace("conf/", "physicsnemo_fs/conf/", 1)
        if path.relative_to(ROOT).parts[0] == "conf"
        else str(path.relative_to(ROOT))
        for path in tracked("physicsnemo_fs/*.py", "kernels/*.py", "kernels/*.json", "conf/*.yaml", "conf/*.py")
    }
    assert expected <= names
    assert not any(name.startswith(("kernels/", "conf/", "tests/")) for name in names)
