"""What dbt would have BigQuery do, as Google's analyzer reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pipeline.warehouses.bigquery import ddl
from schemas import tables, views
from tests.schemas import googlesql
from tests.schemas.googlesql import GoogleSQL

SOURCES = "your-project.segment"
ANALYZED = re.compile(r"\s*(?:CREATE|DELETE|SELECT|WITH)\b", re.IGNORECASE)
SCRIPTS_OWN = re.compile(r"\s*(?:DECLARE|SET|MERGE|DROP)\b", re.IGNORECASE)
"""What dbt adds to a model: it has variables, which the analyzer does not know."""
MAX_PARTITION = "_dbt_max_partition"


def warehouse() -> GoogleSQL:
    """The tables and views of the pipeline."""
    analyzer = googlesql.available()
    for table in tables.ALL:
        analyzer.create(ddl.create_table(table, SOURCES))
    for view in views.ALL:
        analyzer.create(ddl.create_view(view, SOURCES))
    return analyzer


def analyzed(analyzer: GoogleSQL, statements: list[str]) -> Iterator[str]:
    """Analyzes each statement after those before it, and gives those that were."""
    for statement in statements:
        if not ANALYZED.match(statement):
            assert SCRIPTS_OWN.match(statement), statement
            continue
        sql = statement.replace(MAX_PARTITION, "@newest")
        parameters = {"newest": "DATE"} if MAX_PARTITION in statement else {}
        try:
            made = re.match(r"\s*CREATE", sql, re.IGNORECASE)
            (analyzer.create if made else analyzer.analyze)(sql, **parameters)
        except googlesql.InvalidSqlError as error:
            pytest.fail(f"{error}\n{statement}", pytrace=False)
        yield statement
