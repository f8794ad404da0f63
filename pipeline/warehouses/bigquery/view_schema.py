"""A dataset of views of the tables of another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.cloud import bigquery

from pipeline.warehouses.bigquery import catalog, ddl
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.queries import query
from schemas.views import View


class BigQueryViewSchema:
    """The views of a dataset, which is made, where that of the tables lies, where it is missing."""

    def __init__(self, client: bigquery.Client, tables: Dataset, views: Dataset) -> None:
        self._client = client
        self._tables = tables
        self._views = views
        with catalog.usable():
            location = client.get_dataset(str(tables)).location
        catalog.create_dataset(client, views, location)

    def rows(self, statement: str) -> Iterator[tuple[Any, ...]]:
        return (row.values() for row in query(self._client, statement, None, self._tables))

    def existing(self) -> Mapping[str, str]:
        with catalog.usable():
            names = [view.reference for view in self._client.list_tables(str(self._views)) if view.table_type == "VIEW"]
            return {name.table_id: self._client.get_table(name).description or "" for name in names}

    def make(self, view: View) -> None:
        wanted = bigquery.Table(f"{self._views}.{view.name}")
        wanted.view_query = ddl.view_query(view, str(self._tables))
        wanted.description = view.description
        wanted.labels = dict(ddl.LABELS)
        with catalog.usable():
            catalog.make_or_change_view(self._client, wanted)

    def drop(self, name: str) -> None:
        with catalog.usable():
            self._client.delete_table(f"{self._views}.{name}")
