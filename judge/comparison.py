"""Where a warehouse's rows and the replay's differ. What a table is, the caller knows: rows are plain values here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from judge.json_text import canonical
from judge.values import Row

Key = tuple[str, ...]
"""The values of a row's key columns."""

_LONGEST: Final = 200
"""Characters of a value that are shown."""
_ABSENT: Final = object()


@dataclass(frozen=True)
class Difference:
    """Where the warehouse and the replay differ: in a value, at a column or a path in one (`traits.color`), or where
    `path` is empty in that only one has the row.

    `stored` is what the table has and `expected` what the replay has, as JSON; None where there is no such row.
    """

    table: str
    key: Key
    path: str
    stored: str | None
    expected: str | None

    def __str__(self) -> str:
        place = f"{self.table} {', '.join(map(canonical, self.key))}"
        if self.stored is None:
            return f"{place}: no row in the table, in the replay {_cut(self.expected)}"
        if self.expected is None:
            return f"{place}: no row in the replay, in the table {_cut(self.stored)}"
        return f"{place}: {self.path} is {_cut(self.stored)} in the table, {_cut(self.expected)} in the replay"


def compare(table: str, stored: Mapping[Key, Row], expected: Mapping[Key, Row]) -> Iterator[Difference]:
    """What differs between the rows of a table, by key. A row has its columns but the key, as JSON has values. Of both
    rows those columns are compared that the replay has a rule for."""
    for key in sorted(stored.keys() | expected.keys()):
        stored_row, expected_row = stored.get(key), expected.get(key)
        if stored_row is None or expected_row is None:
            yield Difference(table, key, "", _row_text(stored_row), _row_text(expected_row))
            continue
        for column, value in expected_row.items():
            yield from _compare_values(table, key, column, stored_row.get(column), value)


def _compare_values(table: str, key: Key, path: str, stored: Any, expected: Any) -> Iterator[Difference]:
    """Where two values differ; of two objects, field by field."""
    if isinstance(stored, dict) and isinstance(expected, dict):
        for name in sorted(stored.keys() | expected.keys()):
            values = (value.get(name, _ABSENT) for value in (stored, expected))
            yield from _compare_values(table, key, f"{path}.{name}", *values)
    elif _text(stored) != _text(expected):
        yield Difference(table, key, path, _text(stored), _text(expected))


def _text(value: Any) -> str:
    """The value as canonical JSON, which tells 1 from 1.0 and from true."""
    return "absent" if value is _ABSENT else canonical(value)


def _row_text(row: Row | None) -> str | None:
    return (
        None if row is None else canonical({name: value for name, value in row.items() if value not in (None, [], {})})
    )


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
