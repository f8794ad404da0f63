"""Queries of a DuckDB file, and what they give as Python values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import duckdb

CATALOG: Final = "warehouse"
"""The name of a warehouse's file in its connection, whatever the file's own name is."""
_STREAMED_ROWS: Final = 2_000


def new_cursor(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A cursor for which, as for its connection, a name without a catalog is one of the file's."""
    cursor = connection.cursor()
    cursor.execute(f"USE {CATALOG}.main")
    return cursor


def stream(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any] | None = None
) -> Iterator[Any]:
    """The rows of a query, never all at once."""
    cursor = new_cursor(connection)
    cursor.execute(query, parameters)
    while rows := cursor.fetchmany(_STREAMED_ROWS):
        yield from rows


def scalar(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    """The one value of a query, None where it has no row."""
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """DuckDB's constant of a text; no literal of it can hold the character NUL."""
    return "'" + text.replace("'", "''").replace("\0", "' || chr(0) || '") + "'"
