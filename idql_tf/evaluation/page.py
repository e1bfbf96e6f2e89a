"""Small HTML pieces of a report. All text that comes in is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); line-height: 1.55;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  Arial, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 40px 24px 72px; }
header { border-bottom: 3px solid var(--accent); padding-bottom: 18px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 20px; margin: 44px 0 10px; }
h2.run { font-size: 24px; border-top: 3px solid var(--accent); padding-top: 28px;
  margin-top: 64px; }
h3 { font-size: 16px; margin: 28px 0 6px; }
p { margin: 8px 0 12px; }
.kind { color: var(--accent); font-size: 13px; font-weight: 600;
  letter-spacing: .06em; text-transform: uppercase; margin: 0 0 4px; }
.facts, figcaption, .small { color: var(--soft); font-size: 14px; }
.facts { margin: 0; overflow-wrap: anywhere; }
.reading { font-size: 17px; }
.note { background: #fff8e6; border-left: 4px solid #e69f00; padding: 8px 14px;
  font-size: 14px; margin: 12px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 14px 0 8px; font-size: 14.5px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: 13px;
  border-bottom: 2px solid #cbd2d9; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.lead td { font-weight: 600; }
.wide td:not(:last-child) { white-space: nowrap; }
table.pairs td { text-align: left; overflow-wrap: anywhere; }
table.pairs td:first-child { color: var(--soft); width: 210px; padding-left: 0; }
figure { margin: 18px 0 26px; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
figure.narrow img { max-width: 560px; margin: 0 auto; }
figcaption { margin-top: 6px; }
pre { background: #f5f7fa; border: 1px solid var(--line); border-radius: 6px;
  padding: 12px 14px; font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas,
  "Liberation Mono", monospace; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--accent); }
footer { margin-top: 56px; border-top: 1px solid var(--line); padding-top: 12px; }
@media print { main { max-width: none; padding: 0; } body { font-size: 11pt; }
  h2, h3 { break-after: avoid; } table, pre { break-inside: avoid; }
  @page { margin: 18mm 16mm; } }
"""


def document(title: str, body: str) -> str:
    """A whole page; `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def element(tag: str, text: str, css: str = "") -> str:
    """One element around escaped text."""
    name = f' class="{css}"' if css else ""
    return f"<{tag}{name}>{html.escape(text)}</{tag}>"


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], lead: int | None = 0
) -> str:
    """A table of text; row number `lead` is set in bold."""
    head = "".join(element("th", text) for text in header)
    body = ""
    for index, row in enumerate(rows):
        cells = "".join(element("td", text) for text in row)
        body += f"<tr{' class=lead' if index == lead else ''}>{cells}</tr>\n"
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>"
    )


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """A two-column table of names and values."""
    body = "".join(
        f"<tr>{element('td', name)}{element('td', value)}</tr>\n"
        for name, value in rows
    )
    return f'<table class="pairs">\n<tbody>\n{body}</tbody>\n</table>'


def figure(svg: str | None, caption: str, narrow: bool = False) -> str:
    """A picture with its caption; nothing where there is no picture.

    As an image of its own, so that ids inside two SVGs cannot clash.
    """
    if svg is None:
        return ""
    data = base64.b64encode(svg.encode()).decode()
    css = ' class="narrow"' if narrow else ""
    return (
        f'<figure{css}><img alt="{html.escape(caption)}" '
        f'src="data:image/svg+xml;base64,{data}">'
        f"{element('figcaption', caption)}</figure>"
    )


def folded(title: str, text: str) -> str:
    """Preformatted text, closed until the reader opens it."""
    return (
        f"<details>{element('summary', title)}<pre>{html.escape(text)}</pre></details>"
    )
