from __future__ import annotations

import json
import shlex
from itertools import groupby
from types import SimpleNamespace

import pytest
from markdown_it import MarkdownIt

from mien import escape
from mien.escape import INVISIBLE, code, csv_cell, json_line, literal, shell_word, visible

NASTY = "\x1b[31m\n\u202e\x9b2J 表情 \udcff"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [b]é 表情 \U0001f600\\", "a [b]é 表情 \U0001f600\\"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\r\nlines\tand\u2028more", r"two\r\nlines\tand\u2028more"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("caf\udce9", r"caf\udce9"),
        ("\x9b31m", r"\x9b31m"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, expected: str) -> None:
    assert visible(text) == expected


@pytest.mark.parametrize(
    "name",
    [
        *(
            "<b>x</b>",
            "&lt;",
            "*a* _b_ `c` ~~d~~",
            "[a](b) ![c](d)",
            "a|b",
            "\\*",
            "# a #",
            "- a",
            "--- ",
            "+ a",
            "1. a",
        ),
        *("    code", "a\n\n- b", "https://example.org www.example.org", "$x$", "", "snake_case", "[x]: /y"),
    ],
)
@pytest.mark.parametrize("place", ["{}", "# {}", "- {}", "> {}", "**x {}**", "| a |\n| --- |\n| {} |"])
def test_a_name_in_markdown_is_plain_text(name: str, place: str) -> None:
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    assert kinds(parser, place.format(literal(name))) == kinds(parser, place.format("plain" if name else ""))
    shown = "".join(token.content for token in leaves(parser, f"x {literal(name)} y"))
    assert shown == f"x {visible(name)} y"


@pytest.mark.parametrize("text", ["a", "`", "a``b", "```\n# x"])
def test_code_holds_any_text(text: str) -> None:
    (span,) = leaves(MarkdownIt(), code(text))
    assert (span.type, span.content) == ("code_inline", visible(text))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_in_a_cell_is_text(text: str) -> None:
    assert csv_cell(text) == f"'{visible(text)}"


@pytest.mark.parametrize("text", ["\x1b[31mred.jpg", "a\nb", "\u202egpj.exe", "\x9b2J", "=\x1b[2J"])
def test_no_character_of_a_cell_acts_on_a_terminal(text: str) -> None:
    assert str(csv_cell(text)).removeprefix("'") == visible(text)


def test_json_on_a_terminal_shows_what_it_is_read_as() -> None:
    text = json_line({"source": NASTY})
    assert not INVISIBLE.search(text)
    assert json.loads(text) == {"source": NASTY}


def test_numbers_and_other_texts_stay_as_they_are_in_cells() -> None:
    assert [csv_cell(value) for value in (-1, -0.5, "a=b", "", "caf\udce9")] == [-1, -0.5, "a=b", "", r"caf\udce9"]


def leaves(parser: MarkdownIt, text: str) -> list:
    return [leaf for token in parser.parse(text) for leaf in token.children or () if leaf.content]


def kinds(parser: MarkdownIt, text: str) -> list[str]:
    """Return the kinds of a text's elements; neighbouring pieces of text count as one."""
    found = [leaf.type for token in parser.parse(text) for leaf in (token.children or [token])]
    return [kind for kind, _ in groupby("text" if kind == "text_special" else kind for kind in found)]


def test_a_word_of_a_command_is_one_argument_in_the_shell_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shlex.split(shell_word("my models/it's.h5")) == ["my models/it's.h5"]
    monkeypatch.setattr(escape, "sys", SimpleNamespace(platform="win32"))
    assert shell_word(r"C:\models\net.h5") == r"C:\models\net.h5"
    for text in (r"C:\my models\net.h5", "a&b.onnx", "a;b", "mien[train]"):
        assert shell_word(text) == f'"{text}"'
