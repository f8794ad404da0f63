"""HTML that cannot be broken by what it shows: text is escaped when it becomes a part of it."""

from __future__ import annotations

import html
from typing import Final

from pipeline.errors import printable

_WITHOUT_END: Final = frozenset({"meta", "br"})
"""Elements of HTML that have no content, and no end tag."""


class Markup(str):
    """HTML or SVG as it is. Any other text is escaped where it is put into an element."""

    __slots__ = ()


def element(tag: str, /, *content: str | None, **attributes: str | float | None) -> Markup:
    """An element. Text of the content is escaped, `Markup` is not; None is left out. `class_` is the attribute `class`,
    `stroke_width` is `stroke-width`."""
    shown = "".join(
        f' {attribute.rstrip("_").replace("_", "-")}="{html.escape(printable(str(value)))}"'
        for attribute, value in attributes.items()
        if value is not None
    )
    if tag in _WITHOUT_END:
        return Markup(f"<{tag}{shown}>")
    return Markup(f"<{tag}{shown}>{joined(*content)}</{tag}>")


def joined(*content: str | None) -> Markup:
    """The content of an element: control characters, also those that turn the direction of writing, are shown as
    escapes."""
    return Markup("".join(_escaped(part) for part in content if part is not None))


def given(value: str) -> Markup:
    """A text that somebody sent, whose direction of writing does not change that of what surrounds it."""
    return element("bdi", value)


def document(title: str, style: str, *content: str | None, class_: str | None = None) -> str:
    """A whole page. It runs no script and asks for nothing: the browser itself is told to refuse both."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    page = element("html", head, element("body", *content, class_=class_), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(printable(text))
