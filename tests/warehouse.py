"""Reads a warehouse back into the judge's tables, and makes two of them comparable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from judge import Config, Row, Tables, canonical, microseconds, replay
from schemas.tables import BY_NAME, DEAD_LETTERS, Type
from tests.bigquery_double import BigQueryDouble
from transforms.core.secrets import redacted

EXAMPLES = Path(__file__).parents[1] / "examples" / "events.jsonl"
BESIDES = frozenset({"updated_at", "written_at", "failed_at", "payload"})
"""Columns that the judge does not have: when a row was written, and the log's bytes."""


def tables(file: Path) -> Tables:
    """What the warehouse holds. No other process may have the file open."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return _tables(lambda table: rows(connection, table))


def bigquery_tables(bigquery: BigQueryDouble, dataset: str) -> Tables:
    """What a dataset of the double holds, `PROJECT.DATASET`: of rows that came again, the last."""
    return _tables(lambda table: (_row(table, row) for row in bigquery.rows(f"{dataset}.{table}")))


def _tables(rows: Callable[[str], Iterable[Row]]) -> Tables:
    letters = {row["dead_letter_id"]: (row["reason"], row["payload"]) for row in rows("dead_letters")}
    return Tables(
        events={row["message_id"]: row for row in rows("events")},
        identity_calls={row["message_id"]: row for row in rows("identity_calls")},
        contacts={row["external_id"]: row for row in rows("contacts")},
        accounts={row["account_id"]: row for row in rows("accounts")},
        identities={row["id"]: row["external_id"] for row in rows("identities")},
        memberships={(row["external_id"], row["account_id"]): row for row in rows("memberships")},
        dead_letters=sorted(letters.values()),
    )


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[Row]:
    """The rows of a table: timestamps as microseconds since the epoch, JSON as values."""
    names = [column.name for column in BY_NAME[table].columns]
    connection.execute("SET TimeZone = 'UTC'")
    found = connection.execute(f"SELECT {', '.join(names)} FROM {table}")
    return (_row(table, dict(zip(names, values, strict=True))) for values in found.fetchall())


def _row(table: str, values: Mapping[str, Any]) -> Row:
    besides = BESIDES if table != DEAD_LETTERS.name else BESIDES - {"payload"}
    return {
        column.name: json.loads(value) if column.type is Type.JSON and value is not None else _plain(value)
        for column in BY_NAME[table].columns
        for value in (values[column.name],)
        if column.name not in besides
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
    """Each table's rows by key as canonical JSON, which tells 1 from 1.0 and from true, as `==` does not; of their
    columns those that the judge has a rule for. The judge keeps senders' secrets, of which other tests tell."""
    keyed = {name: table for name, table in vars(tables).items() if isinstance(table, dict)}
    shown = {
        name: {str(key): canonical(_judged(name, row)) for key, row in table.items()} for name, table in keyed.items()
    }
    letters = [(reason, redacted(payload)) for reason, payload in tables.dead_letters]
    return {**shown, "dead_letters": dict.fromkeys(map(str, letters), "")}


def differences(found: Tables, expected: Tables) -> list[str]:
    """In what a warehouse differs from the replay: one line for each key."""
    stored, judged = comparable(found), comparable(expected)
    return [
        f"{table} {key}: {stored[table].get(key)} is not {rows.get(key)}"
        for table, rows in judged.items()
        for key in sorted(stored[table].keys() | rows.keys())
        if stored[table].get(key) != rows.get(key)
    ]


def _judged(table: str, row: Any) -> Any:
    columns = judged_columns().get(table)
    return row if columns is None else {name: value for name, value in row.items() if name in columns}


@cache
def judged_columns() -> Mapping[str, frozenset[str]]:
    """The columns of each table that the judge fills, by a replay of the example events."""
    replayed = vars(replay(EXAMPLES.read_bytes().splitlines(), Config()))
    tables = {name: table for name, table in replayed.items() if isinstance(table, dict)}
    rows = {name: [row for row in table.values() if isinstance(row, dict)] for name, table in tables.items()}
    return {
        name: frozenset(column for row in of_table for column in row) for name, of_table in rows.items() if of_table
    }
