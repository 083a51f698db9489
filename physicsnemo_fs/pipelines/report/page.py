# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""HTML of a report: one page without scripts, fonts or anything else from outside."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import matplotlib
from matplotlib.figure import Figure

from physicsnemo_fs.pipelines import figures

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
POINTS_TO_PIXELS = 1.55
"""Largest size of a figure on the page: text of 9 points has some 14 pixels, however narrow the figure is."""
THEMED = {
    figures.INK: "ink",
    figures.MUTED: "muted",
    figures.RULE: "rule",
    figures.BLUE: "blue",
    figures.VERMILLION: "vermillion",
    figures.GREEN: "green",
    figures.PURPLE: "purple",
}
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --raised: #f5f6f8; --ink: #1b1d20; --muted: #646a73;
  --rule: #d9dce1; --blue: #0072b2; --vermillion: #d55e00; --green: #009e73; --purple: #b0518a; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --raised: #1e2228; --ink: #e8eaed; --muted: #9aa2ad; --rule: #363c45;
    --blue: #56b4e9; --vermillion: #f0853a; --green: #2fc59a; --purple: #e09bc4; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; }
main { max-width: 60rem; margin: 0 auto; padding: 4.5rem 1.5rem 5rem; }
h1 { font-size: 2.15rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0.2rem 0 1.2rem; text-wrap: balance; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 4.2rem 0 0.6rem; text-wrap: balance; }
p, li, figcaption { max-width: 44rem; }
p { margin: 0.6rem 0; }
.over { color: var(--muted); font-size: 0.95rem; margin: 0; }
.lead { font-size: 1.2rem; line-height: 1.55; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: 1rem;
  margin: 2rem 0 0; padding: 0; }
.tile { background: var(--raised); border-radius: 0.6rem; padding: 1rem 1.15rem 1.05rem; }
.tile dt { color: var(--muted); font-size: 0.85rem; }
.tile dd { margin: 0; }
.tile .value { font-size: 1.75rem; line-height: 1.35; font-weight: 600; letter-spacing: -0.01em; white-space: nowrap; }
.tile .value small { font-size: 0.55em; font-weight: 500; letter-spacing: 0; }
.tile .note { font-size: 0.83rem; line-height: 1.45; color: var(--muted); }
figure { margin: 1.4rem 0 0; break-inside: avoid; }
.lead + .tiles, .tiles + .lead { margin-top: 1.8rem; }
details + .over { margin-top: 6rem; }
figure svg { display: block; width: 100%; height: auto; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { color: var(--muted); font-size: 0.88rem; line-height: 1.5; margin-top: 0.6rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-top: 1.4rem; font-size: 0.93rem; break-inside: avoid; }
caption { text-align: left; color: var(--muted); font-size: 0.88rem; caption-side: bottom; padding-top: 0.7rem;
  max-width: 44rem; }
th, td { text-align: right; padding: 0.5rem 0 0.5rem 1.1rem; vertical-align: top; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { font-weight: 500; color: var(--muted); font-size: 0.85rem; line-height: 1.35; vertical-align: bottom;
  white-space: normal; }
tbody th { font-weight: 500; white-space: normal; min-width: 9rem; }
td .interval { display: block; font-size: 0.78rem; color: var(--muted); }
td b { font-weight: 700; }
tr.judged th { font-weight: 700; }
tr.judged th, tr.judged td { background: var(--raised); }
.scores th:first-child { padding-left: 0.6rem; }
.scores th:last-child, .scores td:last-child { padding-right: 0.6rem; }
details { margin-top: 4.2rem; }
summary { font-size: 1.3rem; font-weight: 700; cursor: pointer; }
.limits { padding-left: 1.2rem; }
.limits li { margin: 0.5rem 0; }
.stages td:nth-child(2) { width: 8rem; }
.stages td:last-child { width: 55%; }
.bar { display: block; height: 0.75rem; margin-top: 0.4rem; border-radius: 0.15rem; background: var(--blue); }
.facts { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: 0.35rem 1.6rem; margin: 1.6rem 0 0;
  font-size: 0.93rem; }
.facts dt { color: var(--muted); }
.facts dt::first-letter, .stages th::first-letter { text-transform: uppercase; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
code { font: 0.9em ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
footer { margin-top: 4.5rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--muted);
  font-size: 0.85rem; }
@media (max-width: 40rem) {
  main { padding-top: 2rem; }
  figure.wide svg { min-width: 36rem; }
  .facts { grid-template-columns: 1fr; gap: 0 0; }
  .facts dd { margin-bottom: 0.6rem; }
}
@media print {
  body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  h2 { margin-top: 2rem; }
  h2, h2 + p { break-after: avoid; }
  .tiles { grid-template-columns: repeat(4, 1fr); gap: 0.6rem; }
  .tile { padding: 0.6rem 0.7rem; break-inside: avoid; }
  .tile .value { font-size: 1.35rem; }
  .wide { overflow: visible; }
}
"""


def text(plain: str) -> str:
    """Escape plain text, and keep numbers on one line with what belongs to them.

    Example:
        >>> text("a < b") + text("64 × 64").replace("\\u00a0", "_")
        'a &lt; b64_×_64'
    """
    glued = re.sub(r"(?<=\d) (?=[×%]|dB)|(?<=×) (?=\d)", "\u00a0", plain)
    return escape(re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", glued))


@dataclass(frozen=True)
class Tile:
    """A number that matters.

    Args:
        label: What it is.
        value: The number, ready to read.
        unit: Its unit, or empty.
        note: One line of meaning.
    """

    label: str
    value: str
    unit: str
    note: str


@dataclass(frozen=True)
class Cell:
    """A number of the table.

    Args:
        value: The number.
        interval: Its interval, or empty.
        best: Whether it is the best of its column.
    """

    value: str
    interval: str = ""
    best: bool = False


def page(title: str, body: Sequence[str]) -> str:
    """Give the whole document.

    Args:
        title: Title of the document, plain text.
        body: HTML of its parts.
    """
    inside = "\n".join(part for part in body if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{inside}\n</main>\n</body>\n</html>\n"
    )


def heading(plain: str, level: int = 2) -> str:
    """Give the heading of the page (level 1) or of a section (2)."""
    return f"<h{level}>{text(plain)}</h{level}>"


def paragraph(plain: str, kind: str = "") -> str:
    """Give a paragraph; nothing for an empty text."""
    opening = f'<p class="{kind}">' if kind else "<p>"
    return f"{opening}{text(plain)}</p>" if plain else ""


def folded(title: str, part: str) -> str:
    """Give a part that a click on its title opens."""
    return f"<details><summary>{text(title)}</summary>{part}</details>"


def side_by_side(parts: Sequence[str]) -> str:
    """Put parts beside each other where there is room."""
    return f'<div class="pair">{"".join(parts)}</div>'


def tiles(items: Sequence[Tile]) -> str:
    """Give a row of numbers that matter."""
    parts = []
    for item in items:
        unit = f" <small>{text(item.unit)}</small>" if item.unit else ""
        parts.append(
            f'<div class="tile"><dt>{text(item.label)}</dt><dd class="value">{text(item.value)}{unit}</dd>'
            f'<dd class="note">{text(item.note)}</dd></div>'
        )
    return f'<dl class="tiles">{"".join(parts)}</dl>'


def table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]], caption: str, judged: str = "") -> str:
    """Give a table of numbers.

    Args:
        heads: Heads of the columns, that of the names first.
        rows: Name and cells of each row.
        caption: What the table says, below it.
        judged: Name of the row to set off.
    """
    head = "".join(f'<th scope="col">{text(label)}</th>' for label in heads)
    lines = []
    for name, cells in rows:
        kind = ' class="judged"' if name == judged else ""
        columns = "".join(_cell(cell) for cell in cells)
        lines.append(f'<tr{kind}><th scope="row">{text(name)}</th>{columns}</tr>')
    return (
        f'<div class="wide"><table class="scores"><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    value = f"<b>{text(cell.value)}</b>" if cell.best else text(cell.value)
    interval = f'<span class="interval">{text(cell.interval)}</span>' if cell.interval else ""
    return f"<td>{value}{interval}</td>"


def bullets(items: Sequence[str]) -> str:
    """Give a list of sentences."""
    return f'<ul class="limits">{"".join(f"<li>{text(item)}</li>" for item in items if item)}</ul>'


def stage_times(rows: Sequence[tuple[str, str, float]]) -> str:
    """Give the time of each stage with a bar.

    Args:
        rows: Name, time in words and share of the whole of each stage.
    """
    lines = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{text(time)}</td>'
        f'<td><span class="bar" style="width: {100 * share:.2f}%"></span></td></tr>'
        for name, time, share in rows
    )
    return f'<table class="stages"><tbody>{lines}</tbody></table>' if rows else ""


def facts_list(facts: Sequence[tuple[str, str]]) -> str:
    """Give names and values; those of ``command`` are set as code."""
    parts = []
    for name, value in facts:
        content = f"<code>{escape(value)}</code>" if name == "command" else text(value)
        parts.append(f"<dt>{text(name)}</dt><dd>{content}</dd>")
    return f'<dl class="facts">{"".join(parts)}</dl>' if parts else ""


def picture(figure: Figure, name: str, description: str, caption: str = "", wide: bool = True) -> str:
    """Give a figure as inline SVG whose lines and text follow the page's colours.

    Args:
        figure: What to draw.
        name: A name unique on the page; its ids begin with it.
        description: What a reader who cannot see it should know.
        caption: Text below.
        wide: Whether narrow screens scroll it instead of shrinking it.
    """
    words = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>{_svg(figure, name, description)}{words}</figure>"


def _svg(figure: Figure, name: str, description: str) -> str:
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", dpi=144, metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'(xlink:)?href="#', f'href="#{name}-', svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", svg)
    for colour, role in THEMED.items():
        svg = svg.replace(colour, f"var(--{role}, {colour})")
    size = re.search(r'viewBox="[^"]+"', svg)
    widest = f'style="max-width: {POINTS_TO_PIXELS * 72 * figure.get_figwidth():.0f}px"'
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    label = escape(description, quote=True)
    start = f'<svg {names} {size[0] if size else ""} {widest} role="img" aria-label="{label}">'
    return start + svg[svg.index(">") + 1 :].strip()
