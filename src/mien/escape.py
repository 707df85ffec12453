"""Escape text from files, so that it is shown and never acts; each writer applies the function of its format."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterable

# Controls (line feeds and terminal escapes among them), lone surrogates, line and paragraph separators, and Unicode's
# Bidi_Control, which reorders the text around it: https://trojansource.codes
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKUP = re.compile(  # ASCII punctuation with a meaning in CommonMark or on GitHub
    r"""[\\`*\[\]<>&|~$\#]
    | (?<![^\W_])_ | _(?![^\W_])  # an underscore inside a word has none
    | :(?=//) | (?<=www)\.        # GitHub links bare addresses
    """,
    re.VERBOSE,
)
_BLOCK = re.compile(r"^(?: |-[ -]|\+ |\d+[.)] )")  # begins a list, a rule or a block of code
LONGEST_LINE = 1000  # characters of a message, which may quote a request
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection


def visible(text: str) -> str:
    r"""Return a text on one line, with control characters, bidi controls and lone surrogates as escapes: "\x1b"."""
    return INVISIBLE.sub(_as_escape, text)


def one_line(text: str) -> str:
    """Return a text on one line without control characters, and without its middle where it is too long."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 200]} … {line[-190:]}"


def literal(text: str) -> str:
    """Return Markdown that shows a name as it is, on one line."""
    escaped = _MARKUP.sub(lambda found: f"\\{found[0]}", visible(text))
    if _BLOCK.match(escaped):
        escaped = f"&#{ord(escaped[0])};{escaped[1:]}"
    return f"{escaped[:-1]}&#32;" if escaped.endswith(" ") else escaped  # a space would undo emphasis that ends here


def code(text: str) -> str:
    """Return a text as a code span of Markdown."""
    fence = _fence(text, least=1)
    return f"{fence} {visible(text)} {fence}" if "`" in text else f"{fence}{visible(text)}{fence}"


def code_block(lines: Iterable[str], *, language: str) -> str:
    """Return lines as a code block of Markdown."""
    text = "\n".join(map(visible, lines))
    fence = _fence(text, least=3)
    return f"{fence}{language}\n{text}\n{fence}"


def csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula, nor a terminal for a command.

    An apostrophe precedes texts that begin like a formula, and `visible` escapes what cannot be seen.
    """
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(_FORMULA) else visible(value)


def json_line(value: object) -> str:
    """Return JSON on one line; what cannot be seen is escaped in it, and back again once it is read."""
    return INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def shell_word(text: str) -> str:
    """Return a text as one word of a command for the user's shell: POSIX's, on Windows that of cmd and PowerShell."""
    if sys.platform != "win32":
        return shlex.quote(text)
    return text if re.fullmatch(r"[\w.:\\/=+-]+", text) else f'"{text}"'  # names of files hold no quotation marks there


def plot_text(text: str, *, longest: int = 100) -> str:
    """Return a text that matplotlib draws as it is, dollar signs included; its end is left out where it is longer."""
    shown = visible(text)
    return (shown if len(shown) <= longest else f"{shown[: longest - 1]}…").replace("$", r"\$")


def _fence(text: str, *, least: int) -> str:
    """Return more backticks than follow each other anywhere in a text."""
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`+", text)), 1)


def _as_escape(found: re.Match[str]) -> str:
    named = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    code = ord(found[0])
    return named.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
