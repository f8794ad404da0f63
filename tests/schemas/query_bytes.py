"""What questions read of a billion events in BigQuery: the columns that DuckDB's plan scans, by their widths in the
sample."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import duckdb

from judge import replay
from pipeline.warehouses.duckdb import ddl
from pipeline.warehouses.duckdb.transpile import transpiled
from schemas import views
from schemas.tables import EVENTS, Type
from tests.warehouse import EXAMPLES

EVENTS_HELD: Final = 1_000_000_000
DAYS_HELD: Final = 365
_COLUMNS: Final = tuple(column.name for column in EVENTS.columns)


class Question(NamedTuple):
    """A question in GoogleSQL, and of how many days' partitions its filter on `received_at` leaves."""

    text: str
    sql: str
    days: int


_WEEK: Final = "received_at >= '2024-12-24 00:00:00+00'"
_MONTH: Final = "received_at >= '2024-12-01 00:00:00+00'"
_QUARTER: Final = "received_at >= '2024-10-02 00:00:00+00'"
_DAY: Final = "received_at >= '2024-12-01 00:00:00+00' AND received_at < '2024-12-02 00:00:00+00'"
QUESTIONS: Final = (
    Question("events by name, 7 days", f"SELECT type, name, COUNT(*) FROM events WHERE {_WEEK} GROUP BY type, name", 7),
    Question(
        "the same, with people",
        f"SELECT type, name, COUNT(DISTINCT external_id) FROM events_resolved WHERE {_WEEK} GROUP BY type, name",
        7,
    ),
    Question(
        "people by day, 30 days",
        "SELECT DATE(timestamp, 'UTC') AS day, COUNT(DISTINCT external_id) FROM events_resolved"
        f" WHERE {_MONTH} GROUP BY day",
        30,
    ),
    Question(
        "the most active companies, 30 days",
        f"SELECT account_id, COUNT(*) FROM events_resolved WHERE {_MONTH} GROUP BY account_id",
        30,
    ),
    Question(
        "who did one event, 90 days",
        f"SELECT DISTINCT external_id, email FROM events_resolved WHERE {_QUARTER} AND type = 'Action' AND name = 'n1'",
        90,
    ),
    Question(
        "a property of one event, 30 days",
        "SELECT JSON_VALUE(properties, '$.plan') AS plan, COUNT(*) FROM events"
        f" WHERE {_MONTH} AND type = 'Action' AND name = 'n1' GROUP BY plan",
        30,
    ),
    Question(
        "pages by campaign, 7 days",
        f"SELECT context_campaign_name, COUNT(*) FROM pages WHERE {_WEEK} GROUP BY context_campaign_name",
        7,
    ),
    Question(
        "what happened in the last month, by name",
        "SELECT name, COUNT(DISTINCT external_id)"
        " FROM events_between('2024-12-01 00:00:00+00', '2025-01-01 00:00:00+00') GROUP BY name",
        31,
    ),
    Question("companies by day, all of it", "SELECT * FROM account_activity_daily", DAYS_HELD),
    Question("when people were active, all of it", "SELECT * FROM contact_activity", DAYS_HELD),
    Question(
        "events by name, 7 days, without copies",
        f"SELECT name, COUNT(*) FROM events_unique WHERE {_WEEK} GROUP BY name",
        7,
    ),
    Question("one day as it is", f"SELECT * FROM events WHERE {_DAY}", 1),
)


class Scan(NamedTuple):
    """A scan of a table: the columns that it reads, and those of them that it is filtered by."""

    columns: frozenset[str]
    filtered: frozenset[str]

    @property
    def is_bounded(self) -> bool:
        """Whether it reads only some of the partitions."""
        return "received_at" in self.filtered


def planner() -> duckdb.DuckDBPyConnection:
    """Tables and views with an event and a logged call of each day of 2024; what removes copies is as in BigQuery."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for statement in ddl.statements():
        connection.execute(statement)
    for view in views.ALL:
        if view.name in views.COPIES_REMOVED:
            connection.execute(f"CREATE OR REPLACE VIEW {view.name} AS {transpiled(view.sql)}")
    days = (
        "(SELECT n, TIMESTAMPTZ '2024-01-01 12:00:00+00' + to_days(n::INTEGER) AS noon FROM range(366) AS numbers(n))"
    )
    connection.execute(
        "INSERT INTO events (message_id, type, name, timestamp, received_at, connection, properties, context)"
        " SELECT n, ['Page', 'Screen', 'Action', 'Zoom'][n % 4 + 1], 'n' || n % 7, noon, noon, 'web', '{}', '{}'"
        f" FROM {days}"
    )
    connection.execute(
        "INSERT INTO identity_calls (message_id, type, timestamp, received_at, connection, traits, context, payload)"
        " SELECT n, ['alias', 'delete', 'group', 'identify', 'track', 'zoom'][n % 6 + 1], noon, noon, 'web', '{}',"
        f" '{{}}', '{{}}' FROM {days}"
    )
    return connection


def scans(connection: duckdb.DuckDBPyConnection, sql: str, table: str = EVENTS.name) -> list[Scan]:
    """The scans of a table that a question in GoogleSQL takes."""
    ((_, plan),) = connection.execute(f"EXPLAIN (FORMAT JSON) {transpiled(sql)}").fetchall()
    return list(_scans(json.loads(plan)[0], table))


def _scans(node: Mapping[str, Any], table: str) -> Iterator[Scan]:
    info = node["extra_info"]
    if str(info.get("Table", "")).endswith(f".{table}"):
        projections, filters = (info.get(name, []) for name in ("Projections", "Filters"))
        filters = filters if isinstance(filters, str) else " AND ".join(filters)
        filtered = frozenset(re.findall(r"\b(\w+) ?(?:[<>=!]|IS\b|IN\b)", filters))
        yield Scan(filtered.union([projections] if isinstance(projections, str) else projections), filtered)
    for child in node["children"]:
        yield from _scans(child, table)


def widths() -> dict[str, float]:
    """The bytes of each column of `events` in the sample, on average, as BigQuery counts them: two and the UTF-8 of a
    text, eight of a time, none of NULL."""
    events = replay(EXAMPLES.read_bytes().splitlines()).events.values()
    total: Counter[str] = Counter()
    for event in events:
        for column in EVENTS.columns:
            total[column.name] += _bytes(event.get(column.name), column.type)
    return {column.name: total[column.name] / len(events) for column in EVENTS.columns}


def _bytes(value: Any, type_: Type) -> int:
    if value is None:
        return 0
    if type_ is Type.TIMESTAMP:
        return 8
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False) if type_ is Type.JSON else value
    return 2 + len(text.encode())


def query_bytes() -> str:
    """The questions with what they read, as a table of Markdown."""
    width = widths()
    lines = ["| question | of | columns of `events` | GB |", "| --- | --- | --- | ---: |"]
    with planner() as connection:
        for question in QUESTIONS:
            of_events = scans(connection, question.sql)
            read = sum(
                sum(width[name] for name in scan.columns) * (question.days if scan.is_bounded else DAYS_HELD)
                for scan in of_events
            )
            names = [name for name in _COLUMNS if any(name in scan.columns for scan in of_events)]
            shown = ", ".join(names) if len(names) < len(_COLUMNS) else "all"
            (asked,) = re.findall(r" FROM (\w+)", question.sql)
            size = read * EVENTS_HELD / DAYS_HELD / 1e9
            lines.append(f"| {question.text} | `{asked}` | {shown} | {size:,.1f} |")
    return "\n".join(lines)
