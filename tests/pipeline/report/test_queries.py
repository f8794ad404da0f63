"""Every query of a report: GoogleSQL's analyzer takes it, it gives the same in GoogleSQL as in DuckDB, and it reads no
more than its period."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import Raw, convert
from sqlglot import exp, parse_one

from pipeline.options import parse
from pipeline.report import queries
from pipeline.report.queries import Query
from pipeline.run import run
from pipeline.warehouses import open_warehouse
from pipeline.warehouses.bigquery import ddl
from schemas import tables, views
from schemas.tables import BY_NAME, Column, Mode, Row, Table, Type
from tests.histories import WHOLE, history, line
from tests.schemas import googlesql
from tests.transforms.core.calls import START_MS

ALL = {query.name: query for query in queries.all_queries()}
TYPES = {"since": "INT64", "until": "INT64", "ids": "ARRAY<STRING>"}
VALUES: Mapping[str, Any] = {
    "since": (START_MS // 1000 - 40 * 86_400) * 1_000_000,
    "until": (START_MS // 1000 + 40 * 86_400) * 1_000_000,
    "step_1": "Signed Up",
    "step_2": "Paid",
    "step_3": "Paid",
}
TWICE = tables.APPENDED
"""Tables that may hold a row twice in BigQuery."""


def test_every_file_is_a_query() -> None:
    assert set(ALL) - {"funnel"} == {file.stem for file in Path(queries.__file__).with_name("sql").iterdir()}


@pytest.mark.parametrize("query", ALL.values(), ids=ALL)
def test_a_query_says_what_it_gives(query: Query) -> None:
    assert re.fullmatch(r"[A-Z].*\.", query.description)


@pytest.mark.parametrize(
    "query", [*ALL.values(), *(queries.funnel(steps) for steps in (1, 2, 10))], ids=lambda query: query.name
)
def test_googlesql_takes_a_query(query: Query, in_googlesql: googlesql.GoogleSQL) -> None:
    in_googlesql.analyze(query.sql, **{name: TYPES.get(name, "STRING") for name in query.parameters})


@pytest.mark.parametrize("query", ALL.values(), ids=ALL)
def test_the_parameters_are_those_of_the_text(query: Query) -> None:
    found = {parameter.name for parameter in parse_one(query.sql, read="bigquery").find_all(exp.Parameter)}
    assert found == query.parameters


LARGE = {
    **dict.fromkeys(("events", "events_unique", "events_resolved"), "received_at"),
    **dict.fromkeys(("identity_calls", "identity_calls_unique"), "received_at"),
    "dead_letters": "failed_at",
}
"""The tables that are partitioned, and the views of them, by the column that bounds what is read."""
WHOLE_LOG = {"merges"}
"""Queries that read the log from its beginning, of narrow columns."""


@pytest.mark.parametrize("query", ALL.values(), ids=ALL)
def test_what_is_large_is_read_within_bounds(query: Query) -> None:
    statement = parse_one(query.sql, read="bigquery")
    for table in statement.find_all(exp.Table):
        if table.name not in LARGE:
            continue
        select = table.find_ancestor(exp.Select)
        assert select is not None
        where = select.args["where"]
        bounds = {
            comparison.right.sql("bigquery")
            for comparison in where.find_all(exp.GTE, exp.LT)
            if comparison.left.name == LARGE[table.name]
        }
        if query.name in WHOLE_LOG:
            assert len(bounds) == 1
            assert "1960-01-01" in bounds.pop()
        elif table.name == "dead_letters":
            assert bounds == {"TIMESTAMP_MICROS(@since)"}
        else:
            assert bounds == {"TIMESTAMP_MICROS(@since)", "TIMESTAMP_MICROS(@until)"}


# ---- the same in both ----

DOUBLED = [
    *(
        {"type": "identify", "userId": id, "traits": {"email": "Ann@acme.example"}, "timestamp": START_MS}
        for id in "xy"
    ),
    *({"type": "group", "userId": id, "groupId": id, "traits": {"name": "One"}, "timestamp": START_MS} for id in "xy"),
]
"""Two contacts with one address, and two accounts with one name."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of a random history of some weeks."""
    folder = tmp_path_factory.mktemp("both")
    rng = Random(11)
    alphabet = dataclasses.replace(WHOLE, ids=(*WHOLE.ids, *(f"q{number}" for number in range(12))))
    lines = [b"{", b'{"type": "jump", "userId": "a"}', *map(line, DOUBLED)]
    for message in history(rng, 70, alphabet):
        at = START_MS + rng.randrange(-60, 60) * 86_400_000 // 2
        lines.append(line({**message, "timestamp": at, "receivedAt": at + 1000}))
        if rng.random() < 0.3:
            page = {"type": "page", "userId": rng.choice(alphabet.ids), "timestamp": at, "receivedAt": at}
            lines.append(line({**page, "context": {"groupId": rng.choice(("acme", "nobody"))}}))
    (folder / "calls.jsonl").write_bytes(b"\n".join(lines))
    run(*parse([f"--input={folder}/calls.jsonl", f"--warehouse=duckdb:///{folder}/warehouse.duckdb"]), "")
    return folder / "warehouse.duckdb"


@pytest.fixture(scope="module")
def in_googlesql(file: Path) -> googlesql.GoogleSQL:
    """The same rows where keys are not enforced: each that is appended is there twice."""
    dataset = googlesql.available()
    with open_warehouse(f"duckdb:///{file}").contents() as contents:
        for table in tables.ALL:
            dataset.create(ddl.create_table(table))
            rows = [_row(table, row) for row in contents.rows(table)]
            dataset.insert(table, [*rows, *rows] if table in TWICE else rows)
    for view in views.ALL:
        dataset.create(ddl.create_view(view))
        if view.name in _needed():
            dataset.query(view.sql, into=view.name)
    return dataset


def _needed() -> set[str]:
    """The views that the queries are made from, and those that these are made from."""
    sqls = {view.name: view.sql for view in views.ALL}
    needed = set().union(*(_sources(query.sql) for query in ALL.values()))
    while more := set().union(*(_sources(sqls[name]) for name in needed if name in sqls)) - needed:
        needed |= more
    return needed


def _sources(sql: str) -> set[str]:
    return {table.name for table in parse_one(sql, read="bigquery").find_all(exp.Table)}


def _row(table: Table, values: Mapping[str, Any]) -> Row:
    return table.row(**{column.name: _value(column, values[column.name]) for column in table.columns})


def _value(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.mode is Mode.REPEATED and column.type is Type.STRUCT:
        return convert(value, tuple[tables.Audience, ...])
    if column.mode is Mode.REPEATED:
        return tuple(value)
    return Raw(value.encode()) if column.type is Type.JSON else value


@pytest.mark.parametrize("query", ALL.values(), ids=ALL)
def test_googlesql_gives_the_same_rows(query: Query, file: Path, in_googlesql: googlesql.GoogleSQL) -> None:
    sql = query.sql
    with open_warehouse(f"duckdb:///{file}").contents() as contents:
        letters = sorted(row["dead_letter_id"] for row in contents.rows(BY_NAME["dead_letters"]))
        values = {**VALUES, "ids": letters}
        rows = [tuple(map(_days, row.values())) for row in query.rows(contents, values)]
    for name in query.parameters:
        value = values[name]
        sql = re.sub(rf"@{name}\b", str(value) if isinstance(value, (int, list)) else f"'{value}'", sql)
    assert rows
    assert {tuple(map(_days, row.values())) for row in in_googlesql.query(sql)} == set(rows)


def _days(value: Any) -> Any:
    """A date as its days since the epoch."""
    return (value - date(1970, 1, 1)).days if isinstance(value, date) else value
