"""The purge's script is GoogleSQL; what it does is tested with the command, in DuckDB and in BigQuery's double."""

from __future__ import annotations

import re

from schemas import ddl, purge, tables
from tests.schemas import googlesql


def test_googlesql_takes_every_statement() -> None:
    analyzer = googlesql.available()
    for table in tables.ALL:
        analyzer.create(ddl.googlesql(table))
    statements = re.split(r";\n+", purge.GOOGLESQL)
    assert len(statements) == len(purge.duckdb())
    for statement in statements:
        parameters = {"id": "STRING"} if "@id" in statement else {}
        if "CREATE" in statement:
            analyzer.create(statement, **parameters)
        else:
            analyzer.analyze(statement, **parameters)
