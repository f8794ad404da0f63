"""The views, each written once in GoogleSQL in `sql/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_SQL = Path(__file__).with_name("sql")
_INCLUDE = re.compile(r"^( *)-- include (_\w+\.sql)\n", re.MULTILINE)
_JSON_TEXT = re.compile(r"\bJSON_TEXT\((\w+, '[^']*')\)")
_AS_TEXT = r"COALESCE(JSON_VALUE(\1), IF(JSON_TYPE(JSON_QUERY(\1)) = 'array', TO_JSON_STRING(JSON_QUERY(\1)), NULL))"
"""A field as Segment's own warehouse has it: an array is its JSON text, an object, which is flattened, is NULL."""


class View(NamedTuple):
    """A view: `sql` is a GoogleSQL query on tables and views of its own dataset by their bare names."""

    name: str
    description: str
    sql: str

    def with_parameters(self, *names: str) -> TableFunction:
        """The same query as a function of these times, which it names."""
        return TableFunction(self.name, self.description, names, self.sql)


class TableFunction(NamedTuple):
    """A query with parameters, each a TIMESTAMP: `sql` is as a view's."""

    name: str
    description: str
    parameters: tuple[str, ...]
    sql: str


def _read(name: str) -> View:
    """The view of a file: its leading comment is the description, and each `-- include FILE` stands for the text of a
    file that several views share: columns, each with its comma, or a query. `JSON_TEXT(document, path)` stands for a
    field as text, arrays included."""
    description, sql = _halves(_SQL / f"{name}.sql")
    return View(name, description, _JSON_TEXT.sub(_AS_TEXT, _whole(sql)).strip())


def _whole(sql: str) -> str:
    """The text with what it includes, at any depth."""
    return _INCLUDE.sub(_included, sql)


def _included(include: re.Match[str]) -> str:
    _, columns = _halves(_SQL / include[2])
    return "".join(f"{include[1]}{line}\n" for line in _whole(columns).splitlines())


def _halves(file: Path) -> tuple[str, str]:
    """A file's leading comment, on one line, and the SQL after it."""
    lines = file.read_text("utf-8").splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return " ".join(line[2:].strip() for line in lines[:start]), "".join(lines[start:])


ALL = tuple(
    _read(name)
    for name in (
        "events_unique",
        "identity_calls_unique",
        "accounts_resolved",
        "contacts_resolved",
        "events_resolved",
        "identity_calls_resolved",
        "contact_accounts",
        "contact_audiences",
        "contact_activity",
        "contact_activity_daily",
        "account_activity_daily",
        "audience_changes",
        "trait_changes",
        "account_trait_changes",
        "pages",
        "screens",
        "tracks",
        "identifies",
        "aliases",
        "users",
        "groups",
    )
)
"""Every view, after those that it is made from."""

COPIES_REMOVED: Mapping[str, str] = {"events_unique": "events", "identity_calls_unique": "identity_calls"}
"""The views that only remove copies of a message, and the tables: where keys are enforced they are the same."""

FUNCTIONS = (_read("events_between").with_parameters("first_time", "end_time"),)
"""Every table function."""
