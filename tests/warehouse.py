"""Reads a DuckDB warehouse back into the judge's tables, and makes two of them comparable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from pipeline.replay import Row, Tables, canonical, microseconds
from schemas.tables import BY_NAME, Type

BESIDES = frozenset({"updated_at", "written_at", "failed_at", "payload"})
"""Columns that the judge does not have: when a row was written, and the log's bytes."""


def tables(file: Path) -> Tables:
    """What the warehouse holds. No other process may have the file open."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return Tables(
            events={row["message_id"]: row for row in rows(connection, "events")},
            identity_calls={row["message_id"]: row for row in rows(connection, "identity_calls")},
            contacts={row["external_id"]: row for row in rows(connection, "contacts")},
            accounts={row["account_id"]: row for row in rows(connection, "accounts")},
            identities={row["id"]: row["external_id"] for row in rows(connection, "identities")},
            memberships={(row["external_id"], row["account_id"]): row for row in rows(connection, "memberships")},
            dead_letters=sorted(connection.execute("SELECT reason, payload FROM dead_letters").fetchall()),
        )


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Row]:
    """The rows of a table: timestamps as microseconds since the epoch, JSON as values."""
    columns = [column for column in BY_NAME[table].columns if column.name not in BESIDES]
    connection.execute("SET TimeZone = 'UTC'")
    found = connection.execute(f"SELECT {', '.join(column.name for column in columns)} FROM {table}")
    for values in found.fetchall():
        yield {
            column.name: json.loads(value) if column.type is Type.JSON and value is not None else _plain(value)
            for column, value in zip(columns, values, strict=True)
        }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return microseconds(value)
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {name: _plain(field) for name, field in value.items()}
    return value


def comparable(tables: Tables) -> Mapping[str, Mapping[str, str]]:
    """Each table's rows by key as canonical JSON, which tells 1 from 1.0 and from true, as `==` does not."""
    keyed = {name: table for name, table in vars(tables).items() if isinstance(table, dict)}
    shown = {name: {str(key): canonical(row) for key, row in table.items()} for name, table in keyed.items()}
    return {**shown, "dead_letters": dict.fromkeys(map(str, tables.dead_letters), "")}
