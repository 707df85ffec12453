from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mien.reports.page import page


class Outline(HTMLParser):
    """Checks that tags are closed in order and gathers what the page loads."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.sources = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.sources += [value for key, value in attributes if key in ("src", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_each_block_becomes_its_element(tmp_path):
    text = page("# A *title*\n\n> note\n\nSome **bold** and `code`.\n\n- one\n- [two](x.md)\n", folder=tmp_path)
    assert "<h1>A <em>title</em></h1>" in text
    assert "<blockquote><p>note</p></blockquote>" in text
    assert "<p>Some <strong>bold</strong> and <code>code</code>.</p>" in text
    assert '<ul>\n<li>one</li>\n<li><a href="x.md">two</a></li>\n</ul>' in text
    Outline(text)


def test_a_table_has_a_head_and_rows(tmp_path):
    text = page("# t\n\n| a | b |\n| --- | ---: |\n| x&#124;y | 1 |\n|  | – |", folder=tmp_path)
    assert "<thead><tr><th>a</th><th>b</th></tr></thead>" in text
    assert "<tr><td>x|y</td><td>1</td></tr>" in text
    assert text.count("<td>") == 4


def test_pictures_go_inside(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((2, 2, 3), np.uint8))
    outline = Outline(page("# t\n\n![of nothing](a.png)", folder=tmp_path))
    assert [source.partition(",")[0] for source in outline.sources] == ["data:image/png;base64"]


def test_a_name_with_html_in_it_is_shown_as_text(tmp_path):
    text = page("# <script>alert(1)</script>\n\n- a & b", folder=tmp_path)
    assert "<script>" not in text
    assert "<li>a &amp; b</li>" in text


def test_a_missing_picture_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        page("# t\n\n![x](nowhere.png)", folder=tmp_path)
