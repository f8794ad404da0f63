"""What a DuckDB file holds, for commands that only look."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import duckdb
from msgspec.structs import replace

from pipeline.warehouses.base import Parameters
from pipeline.warehouses.duckdb.googlesql import translated
from pipeline.warehouses.duckdb.sql import new_cursor, quoted, stream
from schemas.segment import ALIAS, IDENTIFY
from schemas.tables import IDENTITY_CALLS, Column, Mode, Table, Type


class DuckDbContents:
    """What a file holds that was opened for reading."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def log(self, ids: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
        query = f"SELECT payload, connection FROM {IDENTITY_CALLS.name}"
        if ids is None:
            return stream(self._connection, query)
        carried = " OR ".join(f"{name} IN (SELECT unnest($ids))" for name in ("user_id", "anonymous_id", "previous_id"))
        return stream(self._connection, f"{query} WHERE {carried}", {"ids": list(ids)})

    def pairs(self) -> Iterator[tuple[str, str]]:
        return stream(
            self._connection,
            f"SELECT DISTINCT coalesce(previous_id, anonymous_id) AS previous, user_id FROM {IDENTITY_CALLS.name}"
            f" WHERE type IN ('{ALIAS}', '{IDENTIFY}') AND previous IS NOT NULL AND user_id IS NOT NULL",
        )

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        names = [column.name for column in table.columns]
        columns = ", ".join(_plain(column, quoted(column.name)) for column in table.columns)
        for values in stream(self._connection, f"SELECT {columns} FROM {table.name}"):
            yield dict(zip(names, values, strict=True))

    def query(self, statement: str, parameters: Parameters | None = None) -> Iterator[dict[str, Any]]:
        cursor = new_cursor(self._connection)
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(translated(statement), dict(parameters or {}))
        names = [name for name, *_ in cursor.description]
        while values := cursor.fetchone():
            yield dict(zip(names, values, strict=True))


def _plain(column: Column, value: str) -> str:
    """SQL of a column's value as `Contents.rows` gives it."""
    if column.mode is Mode.REPEATED:
        return f"list_transform({value}, lambda element: {_plain(replace(column, mode=Mode.NULLABLE), 'element')})"
    if column.type is Type.STRUCT:
        fields = (
            f"{quoted(field.name)} := {_plain(field, f'{value}.{quoted(field.name)}')}" for field in column.fields
        )
        return f"struct_pack({', '.join(fields)})"
    return f"epoch_us({value})" if column.type is Type.TIMESTAMP else value
