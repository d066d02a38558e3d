"""The skeleton of a report page: one self-contained HTML file, no script or style from anywhere else."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

CSS = """
:root { --ink: #20242c; --muted: #69707d; --line: #dfe3e8; --soft: #f5f6f8; --accent: #d65d0e; --blue: #176ba0; }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: var(--ink); margin: 0; }
main { max-width: 1340px; margin: 0 auto; padding: 1.6rem 1.5rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p { max-width: 78ch; margin: .5rem 0; }
.lead { color: var(--muted); margin-top: 0; }
nav { font-size: .92rem; margin: .8rem 0 1.2rem; }
nav a { margin-right: 1.1rem; }
a { color: var(--blue); }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.card { background: var(--soft); border-radius: 8px; padding: .7rem 1.1rem; min-width: 8.5rem; }
.card b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card span { color: var(--muted); font-size: .86rem; }
.note { background: #fff4e5; border-left: 4px solid var(--accent); padding: .5rem .9rem; margin: .7rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .28rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--muted); font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
th.text, td.text { text-align: left; }
td.wrap { white-space: normal; overflow-wrap: anywhere; }
tr.group td { font-weight: 600; background: var(--soft); text-align: left; }
tr.published td { color: var(--muted); font-style: italic; }
tr.main td { font-weight: 650; }
table.sortable th, table.sortable td { padding: .28rem .55rem; }
table.sortable th { cursor: pointer; user-select: none; }
table.sortable th:hover { color: var(--ink); }
th[aria-sort=ascending]::after { content: " \\25B2"; font-size: .7em; }
th[aria-sort=descending]::after { content: " \\25BC"; font-size: .7em; }
td.bad { color: #b3261e; font-weight: 600; }
figure { margin: .8rem 0 1.4rem; }
figure img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 4px; }
figcaption { color: var(--muted); font-size: .88rem; max-width: 100ch; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
summary small { color: var(--muted); font-weight: 400; margin-left: .6rem; }
pre { background: var(--soft); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto; font-size: .86rem; }
code { font-size: .92em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; max-width: 90ch; }
dt { font-weight: 600; }
dd { margin: 0; }
@media print { details { border: 0; } nav { display: none; } }
"""

# Sorts a table by the clicked column: numbers as numbers, text as text; a second click turns the order round.  A link
# to a folded part unfolds it.
SCRIPT = """
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", unfold);
unfold();
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => {
      const text = row.cells[column].textContent.trim(), number = Number(text.replace("+", ""));
      return text !== "" && !Number.isNaN(number) ? number : text;
    };
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return up ? order : -order;
    }).forEach(row => body.appendChild(row));
  }));
});
"""


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `html` is inserted as it is, so escape what comes from outside."""

    html: str
    css: str = ""
    columns: int = 1


def text_cell(text: object) -> Cell:
    """A left-aligned cell of plain text."""
    return Cell(escape(str(text)), "text")


def number_cell(value: float | None, *, digits: int = 4, sign: bool = False, css: str = "") -> Cell:
    """A number with fixed digits; empty for `None` and nan."""
    if value is None or value != value:
        return Cell("", css)
    return Cell(f"{value:{'+' if sign else ''}.{digits}f}", css)


def table(
    heads: Sequence[Cell], rows: Sequence[tuple[str, Sequence[Cell]]], *, sortable: bool = False, sorted_by: int = -1
) -> str:
    """A table from head cells and (row class, cells); `sorted_by` is the column that the rows are ascending in."""
    order = ' aria-sort="ascending"'
    head = "".join(
        f"<th{_css(cell.css)}{order if column == sorted_by else ''}>{cell.html}</th>"
        for column, cell in enumerate(heads)
    )
    body = "\n".join(f"<tr{_css(css)}>" + "".join(_cell(cell) for cell in cells) + "</tr>" for css, cells in rows)
    kind = ' class="sortable"' if sortable else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def picture(path: str, caption: str, *, alt: str) -> str:
    """A picture by its path relative to the page, loaded when it is scrolled to."""
    source = escape(urllib.parse.quote(path), quote=True)
    return (
        f'<figure><a href="{source}"><img src="{source}" alt="{escape(alt, quote=True)}" loading="lazy"></a>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def page(title: str, body: str) -> str:
    """The whole file."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style></head>\n<body><main>\n{body}\n</main>\n"
        f"<script>{SCRIPT}</script>\n</body></html>\n"
    )


def _cell(cell: Cell) -> str:
    span = f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    return f"<td{_css(cell.css)}{span}>{cell.html}</td>"


def _css(name: str) -> str:
    return f' class="{escape(name, quote=True)}"' if name else ""
