"""What dbt would have BigQuery do, as the statements of one run: dbt's own commands with its adapter for BigQuery,
which opens no connection here and finds the tables that it is told of.

In dbt's environment: `python bigquery_statements.py FILE CATALOG ARGUMENT…` writes the statements into FILE, as a JSON
array. CATALOG is a JSON object: the columns of tables that are there, by name. ARGUMENTs are dbt's.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import agate
from dbt.adapters.bigquery import BigQueryAdapter, BigQueryConnectionManager
from dbt.adapters.bigquery.connections import BigQueryAdapterResponse
from dbt.cli.main import dbtRunner
from dbt_common.clients.agate_helper import Integer

PASSED = agate.Table(
    [[0, False, False]],
    ["failures", "should_warn", "should_error"],
    [Integer(), agate.Boolean(), agate.Boolean()],
)
"""The outcome of a test."""
DIFFERENT_DAYS = agate.Table([["2025-01-02"], ["2025-02-28"]], ["received_day"], [agate.Text()])
"""What models ask for before they are made."""


class Recorded:
    """Takes the place of BigQuery, with the columns of its tables."""

    def __init__(self, catalog: Mapping[str, Sequence[str]]) -> None:
        self.catalog = catalog
        self.statements: list[str] = []

    def execute(self, _: Any, sql: str, *__: Any, **___: Any) -> tuple[BigQueryAdapterResponse, Any]:
        self.statements.append(sql)
        answer = PASSED if " as failures" in sql else DIFFERENT_DAYS
        return BigQueryAdapterResponse(_message="recorded", rows_affected=0), answer

    def relations(self, adapter: Any, schema: Any) -> list[Any]:
        return [
            adapter.Relation.create(database=schema.database, schema=schema.schema, identifier=name, type="table")
            for name in self.catalog
        ]

    def columns(self, adapter: Any, relation: Any) -> list[Any]:
        return [adapter.Column(name, "STRING") for name in self.catalog.get(relation.identifier, ())]

    def take_place(self) -> None:
        def opened(connection: Any) -> Any:
            connection.state, connection.handle = "open", io.BytesIO()  # only ever closed
            return connection

        manager: Any = BigQueryConnectionManager
        manager.open = staticmethod(opened)
        manager.execute = lambda *arguments, **named: self.execute(*arguments, **named)
        adapter: Any = BigQueryAdapter
        adapter.list_schemas = lambda *_: []
        for change in ("create_schema", "drop_relation", "update_columns", "update_table_description"):
            setattr(adapter, change, lambda *_, **__: None)
        adapter.list_relations_without_caching = lambda own, schema: self.relations(own, schema)
        adapter.get_columns_in_relation = lambda own, relation: self.columns(own, relation)
        adapter.is_replaceable = lambda *_: True


def main(file: str, catalog: str, *arguments: str) -> int:
    """Runs dbt, and returns its exit status."""
    recorded = Recorded(json.loads(catalog))
    recorded.take_place()
    result = dbtRunner().invoke([*arguments])
    if result.exception is not None:
        print(result.exception, file=sys.stderr)
    Path(file).write_text(json.dumps(recorded.statements), "utf-8")
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
