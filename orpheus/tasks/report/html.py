"""The page of a report: one HTML file that needs nothing else, its style, its tables and their sorting."""

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

from orpheus.base.text_table import number

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2430; --soft: #667085; --line: #e3e7ee; --band: #f6f8fb;
  --c0: #2f6db5; --c1: #d9682b; --c2: #2e9a72; --c3: #8d5bb8; --c4: #b8902f; --c5: #c4507f; --good: #1f8a57; --bad: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e4e8ee; --soft: #98a2b3; --line: #2c3440;
  --band: #1b212b; --c0: #6ba6ea; --c1: #f0935c; --c2: #5cc79d; --c3: #ba90e0; --c4: #dcb95c; --c5: #e58ab0;
  --good: #5cc79d; --bad: #f08a7e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 80px; }
h1 { font-size: 26px; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 44px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 20px 0 6px; }
p.note { color: var(--soft); margin: 2px 0 12px; max-width: 100ch; }
nav { position: sticky; top: 0; z-index: 2; background: var(--paper); border-bottom: 1px solid var(--line);
  padding: 8px 24px; font-size: 13px; display: flex; gap: 4px 16px; flex-wrap: wrap; }
nav a { color: var(--soft); text-decoration: none; } nav a:hover { color: var(--ink); }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: middle; }
th { position: sticky; top: 0; background: var(--paper); font-weight: 600; color: var(--soft); white-space: nowrap; z-index: 1; }
table.sorts th { cursor: pointer; } table.sorts th:hover { color: var(--ink); }
th[data-order="1"]::after { content: " ▴"; } th[data-order="-1"]::after { content: " ▾"; }
td { white-space: nowrap; } td.long { white-space: normal; min-width: 380px; } td.n { text-align: right; } tr:hover td { background: var(--band); }
.box { overflow: auto; max-height: 640px; border: 1px solid var(--line); border-radius: 8px; display: inline-block; max-width: 100%; }
.box table { margin: 0; } .row { display: flex; flex-wrap: wrap; gap: 18px; align-items: flex-start; }
.card { border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; background: var(--band); min-width: 230px; flex: 1; }
.card dl { display: grid; grid-template-columns: auto 1fr; gap: 1px 12px; margin: 6px 0 0; font-size: 13px; }
.card dt { color: var(--soft); } .card dd { margin: 0; overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }
.chip { display: inline-block; padding: 1px 8px; margin: 2px 4px 2px 0; border-radius: 9px; font-size: 12.5px; border: 1px solid var(--line); }
.hit { border-color: var(--good); color: var(--good); } .miss { border-color: var(--soft); color: var(--soft); border-style: dashed; }
.false { border-color: var(--bad); color: var(--bad); } .better { color: var(--good); font-weight: 600; } .worse { color: var(--bad); font-weight: 600; }
.warn { border-left: 4px solid var(--c1); padding: 6px 12px; background: var(--band); border-radius: 4px; margin: 10px 0; }
svg { display: block; } svg.cell { display: inline-block; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg text.title { font-size: 13px; font-weight: 600; fill: var(--ink); } svg text.name { fill: var(--ink); }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--soft); } svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .bar { fill-opacity: .55; } svg .dot { fill-opacity: .8; } svg .dot:hover { r: 6; } svg .mark { stroke: var(--soft); stroke-dasharray: 2 2; } svg .whisker { stroke: var(--ink); fill: none; stroke-width: 1; }
.legend { font-size: 13px; color: var(--soft); margin: 4px 0; } .legend > span { margin-right: 16px; } .legend > span.chip { margin-right: 4px; }
.track { border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; margin: 12px 0; }
.track audio { width: 100%; margin-top: 8px; } .track svg, .track .gram { max-width: 100%; }
details > summary { cursor: pointer; color: var(--soft); margin: 8px 0; } code { font-size: 12.5px; overflow-wrap: anywhere; }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const order = head.dataset.order === "-1" ? 1 : -1;
    heads.forEach(one => delete one.dataset.order);
    head.dataset.order = order;
    const key = row => { const cell = row.cells[column]; const text = cell.dataset.sort ?? cell.textContent.trim();
      const value = parseFloat(text); return cell.dataset.sort === "" ? null : isNaN(value) ? text : value; };
    const rows = [...table.tBodies[0].rows].map(row => [key(row), row]);
    rows.sort(([a], [b]) => a === null ? 1 : b === null ? -1 :
      order * (typeof a === "string" || typeof b === "string" ? -String(a).localeCompare(String(b)) : a - b));
    rows.forEach(([, row]) => table.tBodies[0].append(row));
  }));
}
for (const track of document.querySelectorAll(".track")) {
  const audio = track.querySelector("audio"), cursors = [...track.querySelectorAll(".cursor")];
  if (!audio || !cursors.length) continue;
  const left = +cursors[0].dataset.left, width = +cursors[0].dataset.width, seconds = +cursors[0].dataset.seconds;
  const move = () => { const x = left + width * Math.min(audio.currentTime / seconds, 1);
    for (const one of cursors) { one.setAttribute("x1", x); one.setAttribute("x2", x); }
    if (!audio.paused) requestAnimationFrame(move); };
  for (const name of ["play", "seeked", "timeupdate"]) audio.addEventListener(name, move);
  for (const gram of track.querySelectorAll("svg.gram")) gram.addEventListener("click", event => {
    const box = gram.getBoundingClientRect(), view = gram.viewBox.baseVal.width;
    audio.currentTime = Math.max(0, Math.min(seconds, ((event.clientX - box.left) / box.width * view - left) / width * seconds));
    audio.play(); });
}
"""


_LONG = 60  # characters from which on a cell is wrapped


class Html(str):
    """Text that is HTML already."""


class Cell(NamedTuple):
    """A cell of a table: what is shown, and what it is sorted by (None: last)."""

    shown: Any
    key: Any = ""


class Section(NamedTuple):
    """A part of the page; `body` is HTML."""

    title: str
    body: str
    note: str = ""


def escape(value: Any) -> str:
    """Text for HTML; `Html` stays as it is."""
    return value if isinstance(value, Html) else html.escape(str(value))


def table(heads: Sequence[Any], rows: Sequence[Sequence[Any]], *, sorts: bool = False, box: bool = False) -> Html:
    """A table; numbers stand right, a `Cell` says what it is sorted by."""
    kind = ' class="sorts"' if sorts else ""
    lines = [f"<table{kind}><thead><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr></thead><tbody>"]
    for row in rows:
        lines.append(f"<tr>{''.join(_cell(one) for one in row)}</tr>")
    lines.append("</tbody></table>")
    text = "\n".join(lines)
    return Html(f'<div class="box">{text}</div>' if box else text)


def _cell(value: Any) -> str:
    shown, key = (value.shown, value.key) if isinstance(value, Cell) else (value, "")
    right = isinstance(shown, int | float) and not isinstance(shown, bool)
    sorted_by = f' data-sort="{"" if key is None else escape(key)}"' if isinstance(value, Cell) else ""
    text = number(shown) if isinstance(shown, float) else "–" if shown is None else escape(shown)
    kind = " class=n" if right else " class=long" if len(str(shown)) > _LONG and not isinstance(shown, Html) else ""
    return f"<td{kind}{sorted_by}>{text}</td>"


def legend(names: Sequence[str], colours: Sequence[str]) -> Html:
    """Which colour is whose; nothing for a single one."""
    if len(names) < 2:
        return Html("")
    items = (
        f'<span><i class="swatch" style="background:{c}"></i>{escape(n)}</span>'
        for n, c in zip(names, colours, strict=True)
    )
    return Html(f'<div class="legend">{"".join(items)}</div>')


def warning(text: str) -> Html:
    """A remark that stands out."""
    return Html(f'<div class="warn">{escape(text)}</div>')


def page(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The whole file.

    Args:
        title: Of the window.
        intro: HTML above the sections.
        sections: In order; empty ones are left out.
    """
    shown = [section for section in sections if section.body]
    links = "".join(f'<a href="#s{i}">{escape(one.title)}</a>' for i, one in enumerate(shown))
    parts = []
    for index, one in enumerate(shown):
        note = f'<p class="note">{escape(one.note)}</p>' if one.note else ""
        parts.append(f'<section id="s{index}"><h2>{escape(one.title)}</h2>{note}{one.body}</section>')
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><nav>{links}</nav><main>{intro}\n{chr(10).join(parts)}\n</main><script>{SCRIPT}</script></body></html>\n"
    )
