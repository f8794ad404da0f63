"""BigQuery datasets as a kind of warehouse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.errors import UsageError
from pipeline.warehouses.bigquery import catalog, ddl
from pipeline.warehouses.bigquery.catalog import Dataset, UnusableDatasetError
from pipeline.warehouses.bigquery.view_schema import BigQueryViewSchema
from pipeline.warehouses.bigquery.warehouse import BigQueryWarehouse
from schemas import compact

_DATASET: Final = re.compile(r"(?:[\w.:-]+\.)?\w+", re.ASCII)


class BigQueryKind:
    """`bigquery://PROJECT/DATASET`."""

    scheme: Final = "bigquery"
    url_form: Final = "bigquery://PROJECT/DATASET"
    dialect: Final = "bigquery"
    noun: Final = "dataset"
    is_local: Final = False

    def check(self, url: str) -> None:
        self._dataset(url)

    def place(self, url: str) -> Dataset:
        return self._dataset(url)

    def open(self, url: str, *, create: bool, update: bool) -> BigQueryWarehouse:
        return BigQueryWarehouse(self._dataset(url), create, update)

    def ddl(self, dataset: str | None) -> Iterator[str]:
        if dataset is not None and not _DATASET.fullmatch(dataset):
            raise UsageError(
                "is no dataset", "name it as DATASET or PROJECT.DATASET", option="--dataset", value=dataset
            )
        return ddl.statements(dataset)

    def create(self, url: str, location: str | None) -> tuple[str, ...]:
        dataset = self._dataset(url)
        try:
            return catalog.create(catalog.connect(dataset.project), dataset, location)
        except UnusableDatasetError as error:
            raise UsageError(error.problem, error.remedy, option="--warehouse", value=url) from None

    def compaction(self, url: str) -> str:
        return ddl.in_dataset(compact.SCRIPT, str(self._dataset(url)))

    @contextmanager
    def view_schema(self, url: str, name: str) -> Iterator[BigQueryViewSchema]:
        dataset = self._dataset(url)
        try:
            yield BigQueryViewSchema(catalog.connect(dataset.project), dataset, Dataset(dataset.project, name))
        except UnusableDatasetError as error:
            raise UsageError(error.problem, error.remedy, option="--warehouse", value=url) from None

    def _dataset(self, url: str) -> Dataset:
        dataset = catalog.dataset(url)
        if dataset is None:
            remedy = "give bigquery://PROJECT_ID/DATASET, such as bigquery://acme-data/segment"
            raise UsageError("is not the URL of a dataset", remedy, option="--warehouse", value=url)
        return dataset
