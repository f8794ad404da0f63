"""What a page of a command shows, read from its HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

_WITHOUT_END = {"meta", "br"}
_ADDRESSES = ("href", "src", "srcset", "xlink:href", "action", "data", "poster")


class Page(HTMLParser):
    """The tables of a page by the heading before each, its texts, and everything that a browser may ask for or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self._heading = ""
        self._rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self._open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag not in _WITHOUT_END:
            self._open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in _ADDRESSES]
        self.scripts += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form", "img"):
            self.scripts.append(tag)
        if tag in ("h1", "h2", "h3"):
            self._heading = ""
        elif tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _WITHOUT_END:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "table":
            name = self._heading
            while name in self.tables:
                name += "'"
            self.tables[name] = self._rows

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.texts.append(data)
        if {"h1", "h2", "h3"} & {*self._open}:
            self._heading += data
        if "tr" in self._open and {"td", "th"} & {*self._open}:
            self._rows[-1][-1] += data

    def numbers(self, heading: str) -> Iterator[list[str | int]]:
        """The rows under the head of the table that has this heading, numbers as such."""
        for row in self.tables[heading][1:]:
            yield [int(cell.replace(",", "")) if cell.replace(",", "").isdecimal() else cell for cell in row]
