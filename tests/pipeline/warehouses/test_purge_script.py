"""The purge's script is GoogleSQL; what it does is tested with the command, in DuckDB and in BigQuery's double."""

from __future__ import annotations

import re

from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.duckdb import ddl as duckdb_ddl
from schemas import purge, tables
from tests.schemas import googlesql


def test_googlesql_takes_every_statement() -> None:
    analyzer = googlesql.available()
    for table in tables.ALL:
        analyzer.create(bigquery_ddl.create_table(table))
    statements = re.split(r";\n+", purge.GOOGLESQL)
    assert len(statements) == len(duckdb_ddl.purge_statements())
    for statement in statements:
        parameters = {"id": "STRING"} if "@id" in statement else {}
        if "CREATE" in statement:
            analyzer.create(statement, **parameters)
        else:
            analyzer.analyze(statement, **parameters)
