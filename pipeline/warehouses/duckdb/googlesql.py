"""GoogleSQL on a DuckDB file, for commands that change its tables."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

import duckdb

from pipeline.warehouses.base import Parameters
from schemas.tables import Table

_STREAMED_ROWS: Final = 1_000


class DuckDbGoogleSql:
    """The tables of a file, in the transaction of a cursor."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def rows(self, statement: str, parameters: Parameters | None = None) -> Iterator[tuple[Any, ...]]:
        self._cursor.execute(translated(statement), dict(parameters or {}))
        while rows := self._cursor.fetchmany(_STREAMED_ROWS):
            yield from rows

    def newest_rows(
        self, table: Table, statement: str, parameters: Parameters | None = None
    ) -> Iterator[tuple[Any, ...]]:
        return self.rows(statement, parameters)

    def change(self, statement: str, parameters: Parameters | None = None) -> int:
        row = self._cursor.execute(translated(statement), dict(parameters or {})).fetchone()
        return int(row[0]) if row else 0


@functools.cache
def translated(statement: str) -> str:
    """A statement in DuckDB's SQL."""
    from sqlglot import ErrorLevel, exp, parse_one

    parsed = parse_one(statement, read="bigquery")
    for comparison in list(parsed.find_all(exp.In)):
        unnested = comparison.args.get("unnest")
        if unnested is not None:  # DuckDB joins a subquery; an array it would walk for each row
            query = exp.Subquery(this=exp.select(exp.Explode(this=unnested.expressions[0].copy())))
            comparison.replace(exp.In(this=comparison.this.copy(), query=query))
    return parsed.sql("duckdb", comments=False, unsupported_level=ErrorLevel.RAISE)
