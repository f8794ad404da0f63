"""Tables, numbers and times as the pages show them that commands make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.pages.markup import Markup, element, given
from schemas.tables import Timestamp
from transforms.core import times

Cell = str | int | None

NONE: Final = "-"
"""What stands where there is nothing."""
LONGEST_VALUE: Final = 200
"""Characters of a value that are shown."""
_UTC: Final = " UTC"
_WORD: Final = 12
"""Characters of a cell that stays on its line."""
_LONG: Final = 40
"""Characters of a cell that gets more room."""


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """A table; numbers are at the right of their columns."""
    if not rows:
        return nothing()
    kinds = [_kind(values) for values in zip(*rows, strict=True)]
    head = (element("th", title, class_=kind, scope="col") for title, kind in zip(columns, kinds, strict=True))
    body = (
        element("tr", *(element("td", _cell(value), class_=kind) for value, kind in zip(row, kinds, strict=True)))
        for row in rows
    )
    drawn = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", drawn, class_="scroll")


def _kind(values: Sequence[Cell]) -> str | None:
    """The class of a column."""
    if all(isinstance(value, int) or value in (None, NONE) or value.endswith("%") for value in values):
        return "number"
    if all(value is None or (isinstance(value, str) and value.endswith(_UTC)) for value in values):
        return "time"
    longest = max(len(value) for value in values if isinstance(value, str))
    return "word" if longest <= _WORD else "long" if longest > _LONG else None


def _cell(value: Cell) -> str:
    if value is None:
        return NONE
    if isinstance(value, int):
        return f"{value:,}"
    return given(cut(value, LONGEST_VALUE)) if value else element("span", "(no name)", class_="note")


def tiles(values: Sequence[tuple[str, str]]) -> Markup:
    """Numbers that stand out, each with what it counts."""
    drawn = (element("div", element("b", value), element("span", what), class_="tile") for value, what in values)
    return element("div", *drawn, class_="tiles")


def nothing() -> Markup:
    """What stands in the place of a table or a chart without rows."""
    return element("p", "Nothing in this period.", class_="note")


def share(part: int, whole: int) -> str:
    """A part of a whole, in percent."""
    return f"{part / whole:.1%}" if whole else NONE


def cut(text: str, longest: int) -> str:
    """The text, of a long one its beginning."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def utc(at: int | None) -> str:
    """A time, in microseconds since the epoch, to the second."""
    return "never" if at is None else f"{times.iso(Timestamp(at))[:19].replace('T', ' ')}{_UTC}"
