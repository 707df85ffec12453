from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mien.reports.page import page


class Outline(HTMLParser):
    """Checks that tags are closed in order, and collects the addresses that the page loads."""

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
    assert "<blockquote>\n<p>note</p>\n</blockquote>" in text
    assert "<p>Some <strong>bold</strong> and <code>code</code>.</p>" in text
    assert '<ul>\n<li>one</li>\n<li><a href="x.md">two</a></li>\n</ul>' in text
    Outline(text)


def test_a_table_has_a_header_and_rows(tmp_path):
    text = page("# t\n\n| a | b |\n| --- | ---: |\n| x&#124;y | 1 |\n|  | – |", folder=tmp_path)
    assert '<th>a</th>\n<th style="text-align:right">b</th>' in text
    assert '<td>x|y</td>\n<td style="text-align:right">1</td>' in text
    assert text.count("<td") == 4


def test_images_are_embedded(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((2, 2, 3), np.uint8))
    outline = Outline(page("# t\n\n![of nothing](a.png)", folder=tmp_path))
    assert [source.partition(",")[0] for source in outline.sources] == ["data:image/png;base64"]


def test_html_is_shown_as_text(tmp_path):
    text = page("# <script>alert(1)</script>\n\n- a & b", folder=tmp_path)
    assert "<script>" not in text
    assert "<li>a &amp; b</li>" in text


def test_a_missing_image_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        page("# t\n\n![x](nowhere.png)", folder=tmp_path)


@pytest.mark.parametrize("address", ["../secret.png", "/etc/passwd", "https://example.org/a.png"])
def test_only_images_of_the_folder_are_embedded(tmp_path, address):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "report").mkdir()
    text = page(f"# t\n\n![alternative]({address})", folder=tmp_path / "report")
    assert "<p>alternative</p>" in text
    assert Outline(text).sources == []


def test_links_that_run_scripts_stay_text(tmp_path):
    assert "href" not in page("# t\n\n[x](javascript:alert(1))", folder=tmp_path)


def test_the_title_is_the_heading_without_markup(tmp_path):
    assert "<title>A &lt;title&gt; b_c</title>" in page(r"# A *\<title\>* b\_c", folder=tmp_path)
