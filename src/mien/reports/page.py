"""Reports as one self-contained HTML file: images embedded, light or dark as the reader's system."""

from __future__ import annotations

import base64
import html
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

STYLE = """\
:root { color-scheme: light dark; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 0.8rem; }
blockquote { margin: 1rem 0; padding: 0.1rem 1rem; border-left: 4px solid #0072b2; }
p, li { max-width: 62rem; }
div.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.5rem; border-bottom: 1px solid #8884; text-align: left; }
th { vertical-align: bottom; }
td { white-space: nowrap; }
img { max-width: 100%; height: auto; background: white; border-radius: 6px; }
code { overflow-wrap: anywhere; }
"""


def page(markdown: str, *, folder: Path) -> str:
    """Return the HTML of a report.

    Args:
        markdown: CommonMark with tables; its first line is the heading that becomes the title. HTML in it is shown as
            text.
        folder: Of its images, PNG files, which are embedded.

    Raises:
        OSError: An image cannot be read.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", _embedded_image)
    parser.add_render_rule("table_open", lambda *_: '<div class="table"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = parser.parse(markdown)
    title = next((token for token in tokens if token.type == "inline"), None)
    body = parser.renderer.render(tokens, parser.options, {"folder": folder})
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(_text(title))}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _embedded_image(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    """Render an image beside the report as a data URI; any other address as its alternative text."""
    name, alt = str(tokens[index].attrs["src"]), html.escape(tokens[index].content)
    if Path(name).name != name:
        return alt
    data = base64.b64encode((env["folder"] / name).read_bytes()).decode()
    return f'<img alt="{alt}" src="data:image/png;base64,{data}">'


def _text(token: Token | None) -> str:
    """Return the text of a heading without its markup."""
    return "".join(child.content for child in (token and token.children) or ())
