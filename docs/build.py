# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""Build the documentation: ``python docs/build.py`` writes ``docs/_build``, ``--check`` tests ``configuration.md``."""

import argparse
import pkgutil
import shutil
import sys
import types
from collections.abc import Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_origin

import omegaconf

import physicsnemo_fs
from physicsnemo_fs.config import GROUPS, REPLACED_CONFIGS, REPLACED_KEYS, SCHEMAS

DOCS = Path(__file__).parent
OUTPUT = DOCS / "_build"
CONFIGURATION = DOCS / "configuration.md"
PAGES = (
    "index",
    "concepts",
    "data",
    "datasets",
    "configuration",
    "coming-from-corrdiff",
    "files",
    "patches",
    "kernels",
    "clusters",
    "earth2studio",
    "extending",
)
NEED_EXTRAS = {
    "physicsnemo_fs.export.corrdiff_regional": "earth2studio",
    "physicsnemo_fs.export.workflow": "earth2studio",
}
"""Modules that are documented only where what they import is installed."""
LICENCE = "<!-- SPDX-FileCopyrightText: The physicsnemo_fs developers -->\n<!-- SPDX-License-Identifier: Apache-2.0 -->"
COMMANDS = {
    "train": "`physicsnemo-fs train`, `examples/corrdiff_fs/train.py`",
    "generate": "`physicsnemo-fs generate`, `examples/corrdiff_fs/generate.py`",
    "score": "`physicsnemo-fs score`, `examples/corrdiff_fs/score_samples.py`",
    "compare": "`physicsnemo-fs compare`",
    "merge": "`physicsnemo-fs merge`",
    "picture": "`physicsnemo-fs picture`",
    "video": "`physicsnemo-fs video`",
    "build": "`physicsnemo-fs build`, `examples/corrdiff_fs/build.py`",
    "export": "`physicsnemo-fs export`, `examples/corrdiff_fs/export.py`",
    "demo": "`physicsnemo-fs demo`, `make demo`",
}
PREAMBLE = """\
# Configuration reference

`docs/build.py` generates this page from the schemas in `physicsnemo_fs/config/`; do not edit it by hand.

Every command composes one configuration with [Hydra](https://hydra.cc). Change a key on the command line:

```
physicsnemo-fs train run_dir=outputs/mine model=conv_unet training.hp.lr=1e-3
physicsnemo-fs train --cfg job          # print the configuration that would run
physicsnemo-fs train --config-dir my/conf --config-name my_train
```

- `key=value` and `++key=value` set a key that exists. A key that does not exist is refused; the error names the
  nearest one, if one is near.
- `group=option` picks another schema: `dataset=...` and `model=...`. In the demo they are `dataset@train.dataset=...`
  and `model@train.model=...`.
- The defaults below are those of the schemas. The files in `conf/` are presets of them: `--cfg job` shows the values
  in effect.
- `null` means "none"; the meaning says what happens then. **required** marks a key without a default.
- `run.json` and `config.yaml` of a run, and the NetCDF file of an ensemble, record the values that were used.
"""


def type_name(annotation: Any) -> str:
    """Give a type in words.

    Example:
        >>> type_name(list[int] | None), type_name(float)
        ('list of int, or null', 'float')
    """
    if isinstance(annotation, types.UnionType):
        names = [type_name(a) for a in get_args(annotation) if a is not type(None)]
        return ", or ".join([*names, "null"])
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        return "list" if item is Any else f"list of {type_name(item)}"
    return "any" if annotation is Any else annotation.__name__


def default_value(field: Field) -> Any:
    """Give a field's default."""
    return field.default if field.default_factory is NO_DEFAULT else field.default_factory()


def _default_text(value: Any) -> str:
    if value == omegaconf.MISSING:
        return "**required**"
    if value is None or isinstance(value, bool):
        return f"`{ {None: 'null', True: 'true', False: 'false'}[value] }`"
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _is_section(field: Field) -> bool:
    return is_dataclass(default_value(field))


def key_table(schema: type) -> list[str]:
    """Give the Markdown table of a schema's own keys; sub-schemas are left out."""
    lines = ["| key | type | default | choices | meaning |", "|---|---|---|---|---|"]
    for field in fields(schema):
        if not _is_section(field):
            choices = ", ".join(f"`{c}`" for c in field.metadata["choices"])
            row = (field.name, type_name(field.type), _default_text(default_value(field)), choices)
            meaning = _cell(field.metadata["help"])
            lines.append(f"| `{row[0]}` | {row[1]} | {row[2]} | {row[3]} | {meaning} |")
    return lines


def sections(schema: type, prefix: str = "") -> Iterator[tuple[str, type, str]]:
    """Give (dotted key, schema, meaning) of every sub-schema, those of groups excepted."""
    for field in fields(schema):
        if _is_section(field) and field.name not in GROUPS:
            value = type(default_value(field))
            yield prefix + field.name, value, field.metadata["help"]
            yield from sections(value, f"{prefix}{field.name}.")


def _section_places() -> dict[type, list[str]]:
    places: dict[type, list[str]] = {}
    for command, schema in SCHEMAS.items():
        for key, section, _ in sections(schema):
            places.setdefault(section, []).append(f"`{key}` ({command})")
    return places


def _command(name: str, schema: type) -> list[str]:
    lines = [f"## {name}", "", f"Commands: {COMMANDS[name]}. Configuration: `config_{name}`."]
    if any(not _is_section(field) for field in fields(schema)):
        lines += ["", *key_table(schema)]
    parts = [f"- `{key}` ({section.__name__}): {meaning}" for key, section, meaning in sections(schema)]
    parts += [f"- `{key}`: {_group_options(key)}." for key in _group_keys(schema)]
    return [*lines, *(["", "Sections of this configuration:", "", *parts] if parts else []), ""]


def _group_keys(schema: type, prefix: str = "") -> Iterator[str]:
    for field in fields(schema):
        if field.name in GROUPS:
            yield prefix + field.name
        elif _is_section(field):
            yield from _group_keys(type(default_value(field)), f"{prefix}{field.name}.")


def _group_options(key: str) -> str:
    options = ", ".join(f"`{option}`" for option in GROUPS[key.split(".")[-1]])
    return f"a group, one of {options}"


def _summary(schema: type) -> str:
    return (schema.__doc__ or "").split("\n")[0].replace("``", "`")


def configuration_page() -> str:
    """Give the configuration reference as Markdown."""
    lines = [LICENCE, "", PREAMBLE]
    for name, schema in SCHEMAS.items():
        lines += _command(name, schema)
    for group, options in GROUPS.items():
        for option, schema in options.items():
            lines += [f"## {group}={option}", "", _summary(schema), "", *key_table(schema), ""]
    for section, places in _section_places().items():
        if any(not _is_section(field) for field in fields(section)) and section not in SCHEMAS.values():
            lines += [f"## {section.__name__}", "", f"{_summary(section)} Found at {', '.join(places)}.", ""]
            lines += [*key_table(section), ""]
    lines += ["## Replaced names", "", "These names of CorrDiff are refused with the replacement named.", ""]
    lines += ["| name | replacement |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(text)} |" for name, text in (REPLACED_KEYS | REPLACED_CONFIGS).items()]
    return "\n".join(lines) + "\n"


def api_modules() -> list[str]:
    """Name every public module of the package, the YAML folder excepted."""
    found = pkgutil.walk_packages(physicsnemo_fs.__path__, "physicsnemo_fs.")
    names = ["physicsnemo_fs", *(module.name for module in found)]
    left_out = [module for module, extra in NEED_EXTRAS.items() if find_spec(extra) is None]
    names = [name for name in names if name not in left_out]
    return [name for name in names if "._" not in name and not name.startswith("physicsnemo_fs.conf.")]


def api_page() -> str:
    """Give the list of modules, each with its first line, as Markdown."""
    import pdoc.doc

    lines = ["# API reference", "", "| module | content |", "|---|---|"]
    for name in api_modules():
        summary = pdoc.doc.Module.from_name(name).docstring.split("\n\n")[0].replace("\n", " ")
        lines.append(f"| [{name}](api/{name.replace('.', '/')}.html) | {_cell(summary)} |")
    return "\n".join(lines) + "\n"


def render_page(markdown: str, title: str) -> str:
    """Give a Markdown page as HTML in pdoc's style, with links between pages turned to their HTML."""
    import markupsafe
    import pdoc.render
    import pdoc.render_helpers

    for name in PAGES:
        markdown = markdown.replace(f"({name}.md", f"({name}.html")
    template = pdoc.render.env.from_string(
        '{% extends "frame.html.jinja2" %}{% block title %}{{ heading }}{% endblock %}'
        '{% block nav %}<ul>{% for p in pages %}<li><a href="{{ p }}.html">{{ p }}</a></li>{% endfor %}'
        '<li><a href="api.html">API reference</a></li></ul>{% endblock %}'
        '{% block content %}<main class="pdoc"><section class="module-info"><div class="docstring">{{ body }}</div>'
        "</section></main>{% endblock %}"
    )
    body = markupsafe.Markup(pdoc.render_helpers.to_html(markdown))  # noqa: S704 - our own pages
    return template.render(heading=title, body=body, pages=PAGES)


def configure_pdoc() -> None:
    """Set how pdoc reads docstrings."""
    import pdoc.render

    pdoc.render.configure(docformat="google", math=True, show_source=True, include_undocumented=False)


def _write_api(folder: Path) -> None:
    import pdoc.doc
    import pdoc.render

    modules = {name: pdoc.doc.Module.from_name(name) for name in api_modules()}
    for name, module in modules.items():
        path = folder / f"{name.replace('.', '/')}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pdoc.render.html_module(module, modules), encoding="utf-8")
    (folder / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")


def build(output: Path = OUTPUT) -> None:
    """Write the pages and the API documentation to ``output``."""
    CONFIGURATION.write_text(configuration_page(), encoding="utf-8")
    configure_pdoc()
    output.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        markdown = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        (output / f"{name}.html").write_text(render_page(markdown, name), encoding="utf-8")
    (output / "api.html").write_text(render_page(api_page(), "API reference"), encoding="utf-8")
    _write_api(output / "api")
    shutil.copytree(DOCS / "images", output / "images", dirs_exist_ok=True)


def is_current() -> bool:
    """Tell whether the committed configuration reference is what the schemas say."""
    return CONFIGURATION.exists() and CONFIGURATION.read_text(encoding="utf-8") == configuration_page()


def main() -> None:
    """Build, or with ``--check`` exit with status 1 if ``configuration.md`` is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only test that configuration.md is current")
    if parser.parse_args().check:
        if not is_current():
            sys.exit("docs/configuration.md must match physicsnemo_fs/config/: it does not; run docs/build.py")
        return
    build()
    print(f"wrote {OUTPUT / 'index.html'}")


if __name__ == "__main__":
    main()
