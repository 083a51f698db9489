# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""The documentation is current, its examples run, and its links and keys exist."""

import doctest
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from physicsnemo_fs.config import REPLACED_CONFIGS, REPLACED_KEYS, SCHEMAS, known_keys

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def load_build():
    specification = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


BUILD = load_build()
PAGES = sorted(DOCS.glob("*.md"))


def test_examples_of_the_builder():
    assert doctest.testmod(BUILD).failed == 0


def test_configuration_reference_is_current():
    assert BUILD.is_current(), "run python docs/build.py"


def test_configuration_reference_names_every_key():
    page = BUILD.configuration_page()
    missing = {
        key
        for schema in SCHEMAS.values()
        for key in known_keys(schema)
        if f"`{key}`" not in page and f"| `{key.split('.')[-1]}` |" not in page
    }
    assert not missing


def test_stale_reference_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(BUILD, "CONFIGURATION", tmp_path / "configuration.md")
    assert not BUILD.is_current()
    monkeypatch.setattr("sys.argv", ["build.py", "--check"])
    with pytest.raises(SystemExit, match=r"run docs/build\.py"):
        BUILD.main()


def test_every_page_is_built():
    assert {path.stem for path in PAGES} == set(BUILD.PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_python_blocks_run(page):
    """The blocks of a page run one after the other in one namespace."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    namespace = {"__name__": f"docs_{page.stem}"}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)  # noqa: S102 - our own examples


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.stem)
def test_relative_links_exist(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_pages_render(page):
    html = BUILD.render_page(page.read_text(encoding="utf-8"), page.stem)
    assert "<h1" in html
    assert not re.search(r'href="[^":]*\.md', html)


def test_keys_of_the_corrdiff_page_exist():
    """Every dotted key in its column "here" is a key of some command."""
    known = {key for schema in SCHEMAS.values() for key in known_keys(schema)}
    text = (DOCS / "coming-from-corrdiff.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|", text, flags=re.M)
    keys = {
        name.split("=")[0]
        for row in rows
        for name in re.findall(r"`((?:training|generation|sampler|perf|noise|dataset|model)\.[A-Za-z_.]+)", row)
    }
    assert len(keys) > 20
    assert keys <= known


def test_replaced_names_are_on_the_corrdiff_page():
    text = (DOCS / "coming-from-corrdiff.md").read_text(encoding="utf-8")
    names = [*REPLACED_KEYS, *REPLACED_CONFIGS]
    assert [name for name in names if name not in text and name.split(".")[-1] not in text] == []


def test_every_module_can_be_documented():
    """Every module is listed in the reference, and says what it is for."""
    pytest.importorskip("pdoc")
    lines = BUILD.api_page().splitlines()[4:]
    assert any("physicsnemo_fs.kernels.spectral_conv.op" in line for line in lines)
    assert [line for line in lines if line.endswith("|  |")] == []


@pytest.mark.slow
def test_documentation_builds(tmp_path, monkeypatch):
    pytest.importorskip("pdoc")
    monkeypatch.setattr(BUILD, "CONFIGURATION", tmp_path / "configuration.md")
    BUILD.build(tmp_path / "site")
    assert (tmp_path / "site" / "index.html").exists()
    assert "FSUNO" in (tmp_path / "site" / "api" / "physicsnemo_fs" / "models" / "fsuno.html").read_text()


def test_pictures_go_with_the_pages(monkeypatch, tmp_path):
    monkeypatch.setattr(BUILD, "_write_api", lambda folder: None)
    monkeypatch.setattr(BUILD, "CONFIGURATION", tmp_path / "configuration.md")
    BUILD.build(tmp_path / "built")
    for page in (tmp_path / "built").glob("*.html"):
        for picture in re.findall(r'<img src="([^":]+)"', page.read_text(encoding="utf-8")):
            assert (page.parent / picture).exists(), page.name


def shell_scripts():
    """Whole scripts: those among the examples, and the blocks of pages that name their shell."""
    for path in sorted((ROOT / "examples").rglob("*.sh")):
        yield pytest.param(path.read_text(encoding="utf-8"), id=path.name)
    for page in PAGES:
        for number, block in enumerate(re.findall(r"^```\w*\n(#!.*?)^```", page.read_text("utf-8"), re.M | re.S)):
            yield pytest.param(block, id=f"{page.stem}-{number}")


@pytest.mark.parametrize("text", shell_scripts())
def test_shell_scripts_parse(text):
    run = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)  # noqa: S607
    assert (run.returncode, run.stderr) == (0, "")


def test_the_template_for_slurm_is_there():
    assert sum("#SBATCH" in parameters.values[0] for parameters in shell_scripts()) >= 1
