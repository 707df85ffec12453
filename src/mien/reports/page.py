"""Reports as one HTML file that needs no other: pictures inside, light or dark as the reader has it."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

STYLE = """\
:root { color-scheme: light dark; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 0.8rem; }
blockquote { margin: 1rem 0; padding: 0.1rem 1rem; border-left: 4px solid #0072b2; }
p, li { max-width: 62rem; }
div.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.5rem; text-align: right; border-bottom: 1px solid #8884; }
th { vertical-align: bottom; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; background: white; border-radius: 6px; }
code { overflow-wrap: anywhere; }
"""
_INLINE = (  # in text that is escaped already
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\*([^*]+)\*"), r"<em>\1</em>"),
    (re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)"), r'<a href="\2">\1</a>'),
)
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def page(markdown: str, *, folder: Path) -> str:
    """Return the HTML of a report.

    It knows the Markdown that reports are written in and no more: headings, quotes, lists, tables, pictures,
    emphasis, code and links, each block apart from the next by an empty line. HTML in it is shown as text.

    Args:
        markdown: Begins with the heading that becomes the title.
        folder: Where its pictures lie, PNG files; they go inside the page.

    Raises:
        OSError: A picture cannot be read.
    """
    blocks = markdown.strip().split("\n\n")
    title = html.escape(blocks[0].lstrip("# "))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>\n{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(_block(block, folder) for block in blocks)
        + "\n</body>\n</html>\n"
    )


def _block(block: str, folder: Path) -> str:
    lines = block.splitlines()
    if heading := re.match(r"(#{1,6}) ", block):
        level = len(heading[1])
        return f"<h{level}>{_inline(block[level + 1 :])}</h{level}>"
    if block.startswith("> "):
        return f"<blockquote><p>{_inline(block[2:])}</p></blockquote>"
    if block.startswith("- "):
        return "<ul>\n" + "\n".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "\n</ul>"
    if block.startswith("| "):
        return _table(lines)
    if picture := _PICTURE.fullmatch(block):
        data = base64.b64encode((folder / picture[2]).read_bytes()).decode()
        return f'<p><img alt="{html.escape(picture[1])}" src="data:image/png;base64,{data}"></p>'
    return f"<p>{_inline(block)}</p>"


def _table(lines: list[str]) -> str:
    """Return a table from its Markdown lines: header, a line of dashes, rows."""
    header, _, *rows = ([_inline(cell) for cell in line[2:-2].split(" | ")] for line in lines)
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _inline(text: str) -> str:
    text = html.escape(html.unescape(text))  # tables hold &#124; for |
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text
