"""BigQuery's double with every table in it, and the process's connections to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from pipeline.warehouses.bigquery.append_stream import AppendStream
from schemas.tables import ALL, Column, Table, Write
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.schema import Field
from tests.bigquery_double.tables import TableName

PROJECT, DATASET = "analytics-prod", "segment"


def field(column: Column) -> Field:
    return Field(column.name, column.type.value, column.mode.value, None, tuple(map(field, column.fields)))


def create(bigquery: BigQueryDouble, table: Table) -> None:
    resource: dict[str, Any] = {}
    if table.write is Write.UPSERT:
        resource["tableConstraints"] = {"primaryKey": {"columns": list(table.key)}}
    if table.partition_by is not None:
        resource["timePartitioning"] = {"type": "DAY", "field": table.partition_by}
    name = TableName(PROJECT, DATASET, table.name)
    bigquery.catalog.create_table(name, tuple(map(field, table.columns)), resource)


@pytest.fixture
def open_bigquery(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[BigQueryDouble]]:
    """Starts a double with its options, and has this process write to it."""

    @contextmanager
    def opened(**options: Any) -> Iterator[BigQueryDouble]:
        with BigQueryDouble(**options) as bigquery:
            monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", bigquery.storage_target)
            bigquery.catalog.create_dataset(PROJECT, DATASET, {})
            for table in ALL:
                create(bigquery, table)
            try:
                yield bigquery
            finally:
                AppendStream.close_all()

    return opened


@pytest.fixture
def bigquery(open_bigquery: Callable[..., AbstractContextManager[BigQueryDouble]]) -> Iterator[BigQueryDouble]:
    with open_bigquery() as opened:
        yield opened
