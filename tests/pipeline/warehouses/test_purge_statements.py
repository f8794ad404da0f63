"""The purge's statements are GoogleSQL, and read no partitioned table without a filter on its partitions; what they do
is tested with the command, in DuckDB and in BigQuery's double."""

from __future__ import annotations

import re

import pytest
from sqlglot import exp, parse_one

from pipeline.warehouses.bigquery import ddl
from pipeline.warehouses.duckdb.googlesql import translated
from schemas import purge, tables
from schemas.tables import IDENTITY_CALLS, Type
from tests.schemas import googlesql

PARAMETERS = {"ids": "ARRAY<STRING>", "changes": "ARRAY<STRING>", "deleted_at": "INT64", "delete_id": "STRING"}


def test_googlesql_takes_every_statement() -> None:
    analyzer = googlesql.available()
    for table in tables.ALL:
        analyzer.create(ddl.create_table(table))
    for statement in purge.STATEMENTS:
        named = {name: type_ for name, type_ in PARAMETERS.items() if f"@{name}" in statement}
        analyzer.analyze(statement, **named)


@pytest.mark.parametrize("statement", purge.STATEMENTS)
def test_each_partitioned_table_is_filtered_by_its_partitions(statement: str) -> None:
    """As BigQuery asks for where `require_partition_filter` is set: a comparison of the column with a constant, in a
    conjunction of the table's own WHERE."""
    parsed = parse_one(statement, read="bigquery")
    for named in parsed.find_all(exp.Table):
        table = tables.BY_NAME.get(named.name)
        if table is None or table.partition_by is None:
            continue
        reading = named.find_ancestor(exp.Select, exp.Update, exp.Delete)
        assert reading is not None
        where = reading.args["where"].this
        conditions = where.flatten() if isinstance(where, exp.And) else [where]
        filters = [
            each
            for each in conditions
            if isinstance(each, exp.GTE)
            and each.this.sql("bigquery") == f"{table.name}.{table.partition_by}"
            and not each.expression.find(exp.Column, exp.Parameter, exp.Select)
        ]
        assert len(filters) == 1, statement


@pytest.mark.parametrize("statement", purge.STATEMENTS)
def test_duckdb_gets_no_array_that_it_would_walk_for_each_row(statement: str) -> None:
    assert "ARRAY_CONTAINS" not in translated(statement)


def test_a_column_of_the_log_is_stripped_unless_it_is_an_id_or_a_time() -> None:
    stripped = set(re.findall(r"(\w+) = (?:JSON|CASE type WHEN 'track'|TO_JSON|NULL|''|\[\])", purge.STRIP_CALLS))
    kept = {column.name for column in IDENTITY_CALLS.columns} - stripped
    ids = {"message_id", "type", "user_id", "anonymous_id", "previous_id", "group_id", "connection"}
    assert kept == ids | {column.name for column in IDENTITY_CALLS.columns if column.type is Type.TIMESTAMP}
