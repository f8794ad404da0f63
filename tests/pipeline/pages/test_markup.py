"""HTML that cannot be broken by what it shows."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import printable
from pipeline.pages.markup import Markup, document, element, joined
from pipeline.pages.markup import given as sent

CASES = [
    (element("p", "a < b & c"), "<p>a &lt; b &amp; c</p>"),
    (element("p", element("b", "x"), None, " y"), "<p><b>x</b> y</p>"),
    (element("a", "x", href='#"><script>', class_="k"), '<a href="#&quot;&gt;&lt;script&gt;" class="k">x</a>'),
    (element("path", stroke_width=1.5, fill=None), '<path stroke-width="1.5"></path>'),
    (element("meta", name="viewport", content="x"), '<meta name="viewport" content="x">'),
    (joined(Markup("<br>"), "<br>"), "<br>&lt;br&gt;"),
    (sent("\u202ex"), "<bdi>\\u202ex</bdi>"),
    (element("p", "line\nbreak\x00"), "<p>line\\nbreak\\x00</p>"),
]


def test_cases() -> None:
    for found, expected in CASES:
        assert found == expected
        assert isinstance(found, Markup)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text())
def test_any_text_stays_text(text: str, attribute: str) -> None:
    reader = Reader()
    reader.feed(element("p", text, title=attribute))
    reader.close()
    assert reader.tags == ["p"]
    assert reader.text == printable(text)
    assert reader.attributes == [("title", printable(attribute))]


def test_a_document_forbids_the_browser_everything() -> None:
    page = document("a <title>", "p { color: red }", element("p", "x"))
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "<title>a &lt;title&gt;</title>" in page
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\"" in page
