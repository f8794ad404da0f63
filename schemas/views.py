"""The views, each written once in GoogleSQL in `sql/`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_SQL = Path(__file__).with_name("sql")
_INCLUDE = re.compile(r"^( *)-- include (_\w+\.sql)\n", re.MULTILINE)


class View(NamedTuple):
    """A view: `sql` is a GoogleSQL query on tables and views of its own dataset by their bare names."""

    name: str
    description: str
    sql: str


def _read(name: str) -> View:
    """The view of a file: its leading comment is the description, and each `-- include FILE` stands for the text of a
    file that several views share: columns, each with its comma, or a query."""
    description, sql = _halves(_SQL / f"{name}.sql")
    return View(name, description, _INCLUDE.sub(_included, sql).strip())


def _included(include: re.Match[str]) -> str:
    _, columns = _halves(_SQL / include[2])
    return "".join(f"{include[1]}{line}\n" for line in columns.splitlines())


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
        "contact_accounts",
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
