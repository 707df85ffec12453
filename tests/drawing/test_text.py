"""Text in images: every script is legible, shortened or boxed, never dropped."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.drawing import text
from mien.drawing.text import draw_text, shorten, text_width
from mien.structures import ImageArray

LETTER = 12


def written(words: str, *, letter: int = LETTER) -> ImageArray:
    """Return the words in black on white, 60 pixels high."""
    image = np.full((60, 600, 3), 255, np.uint8)
    draw_text(image, words, letter, x=0, base=40, ink=(0, 0, 0))
    return image


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(text, "_system_fonts", lambda: ())
    text._text_mask.cache_clear()
    yield
    text._text_mask.cache_clear()


def test_the_letter_height_is_that_of_a_capital() -> None:
    rows = np.flatnonzero((written("H") < 128).any(axis=(1, 2)))
    assert (rows.max(), len(rows)) == (39, LETTER)


@pytest.mark.usefixtures("no_system_fonts")
@pytest.mark.parametrize("word", ["Überraschung", "fröhlich", "радость", "удивление", "έκπληξη", "שמחה", "سعادة"])
def test_letters_of_many_languages_come_with_mien(word: str) -> None:
    assert all(text._has(text.FONT, letter) for letter in word)
    assert len({written(letter).tobytes() for letter in word}) == len(set(word))


@pytest.mark.usefixtures("no_system_fonts")
def test_a_character_that_no_font_has_is_drawn_as_a_box() -> None:
    box = written(text.NO_CHARACTER)
    assert (box < 128).any()
    assert np.array_equal(written("平"), box)
    assert text_width("平静", LETTER) > 1.5 * text_width("平", LETTER)


def test_a_font_of_the_system_draws_the_characters_that_ours_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "_system_fonts", lambda: (one_glyph_font(tmp_path / "square.ttf", "平"),))
    text._text_mask.cache_clear()
    image = written("平")[:, :, 0]
    text._text_mask.cache_clear()
    assert (image[30:38, 2:10] == 0).all()  # the font's glyph is a full square, the box of a missing one is empty


def one_glyph_font(path: Path, character: str) -> str:
    """Write a font whose only visible glyph, one em square, is that of the character."""
    builder_module = pytest.importorskip("fontTools.fontBuilder")
    pen_module = pytest.importorskip("fontTools.pens.ttGlyphPen")
    pen = pen_module.TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", "square"]
    font = builder_module.FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(character): "square"})
    font.setupGlyf({".notdef": pen_module.TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": "Square", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return str(path)


def test_line_breaks_become_spaces_and_control_characters_are_visible() -> None:
    assert np.array_equal(written("a\nb"), written("a b"))
    assert np.array_equal(written("a\x00\udc80b"), written("a\ufffd\ufffdb"))


def test_text_is_clipped_at_the_right_edge_and_kept_below_the_top() -> None:
    image = np.full((30, 20, 3), 255, np.uint8)
    draw_text(image, "surprise", LETTER, x=-5, base=0, ink=(0, 0, 0))
    assert (image < 128).any()
    draw_text(image, "surprise", LETTER, x=100, base=100, ink=(0, 0, 0))


def test_wide_text_is_shortened_by_an_ellipsis() -> None:
    whole = "an expression that nobody can spell"
    short = shorten(whole, LETTER, 100)
    assert short.endswith("…")
    assert whole.startswith(short[:-1])
    assert 60 < text_width(short, LETTER) <= 100
    assert shorten("happy", LETTER, 100) == "happy"


@given(words=st.text(st.characters(), max_size=30), letter=st.integers(0, 40), width=st.floats(0, 300))
@settings(deadline=None, max_examples=60)
def test_any_text_is_drawn(words: str, letter: int, width: float) -> None:
    assert written(shorten(words, letter, width), letter=letter).shape == (60, 600, 3)
