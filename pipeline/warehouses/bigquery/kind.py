"""BigQuery datasets as a kind of warehouse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pipeline.errors import UsageError
from pipeline.snapshots import Snapshot
from pipeline.warehouses.bigquery import ddl
from pipeline.warehouses.bigquery.dataset import Dataset, UnusableDatasetError, dataset
from schemas import compact
from transforms.core import google_clients

if TYPE_CHECKING:
    from pipeline.warehouses.bigquery.view_schema import BigQueryViewSchema
    from pipeline.warehouses.bigquery.warehouse import BigQueryWarehouse

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
        dataset = self._dataset(url)
        with _clients(url):
            from pipeline.warehouses.bigquery.warehouse import BigQueryWarehouse
        return BigQueryWarehouse(dataset, create, update)

    def ddl(self, dataset: str | None) -> Iterator[str]:
        if dataset is not None and not _DATASET.fullmatch(dataset):
            raise UsageError(
                "is not a dataset", "name it as DATASET or PROJECT.DATASET", option="--dataset", value=dataset
            )
        return ddl.statements(dataset)

    def create(self, url: str, location: str | None) -> tuple[str, ...]:
        dataset = self._dataset(url)
        with _clients(url):
            from pipeline.warehouses.bigquery import catalog
        try:
            return catalog.create(catalog.connect(dataset.project), dataset, location)
        except UnusableDatasetError as error:
            raise UsageError(error.problem, error.remedy, option="--warehouse", value=url) from None

    def compaction(self, url: str) -> str:
        return ddl.in_dataset(compact.SCRIPT, str(self._dataset(url)))

    def snapshot(self, url: str, path: str) -> Snapshot:
        problem = f"copies a warehouse that is a file; {url} can be read while jobs write it"
        raise UsageError(problem, "leave it out", option="--snapshot", value=path)

    @contextmanager
    def view_schema(self, url: str, name: str) -> Iterator[BigQueryViewSchema]:
        dataset = self._dataset(url)
        with _clients(url):
            from pipeline.warehouses.bigquery import catalog
            from pipeline.warehouses.bigquery.view_schema import BigQueryViewSchema
        try:
            yield BigQueryViewSchema(catalog.connect(dataset.project), dataset, Dataset(dataset.project, name))
        except UnusableDatasetError as error:
            raise UsageError(error.problem, error.remedy, option="--warehouse", value=url) from None

    def _dataset(self, url: str) -> Dataset:
        named = dataset(url)
        if named is None:
            remedy = "give bigquery://PROJECT_ID/DATASET, such as bigquery://acme-data/segment"
            raise UsageError("is not the URL of a dataset", remedy, option="--warehouse", value=url)
        return named


@contextmanager
def _clients(url: str) -> Iterator[None]:
    """Imports Google's clients, or what needs them. Raises UsageError where they are not installed."""
    try:
        yield
    except ImportError as error:
        raise google_clients.missing(error, option="--warehouse", value=url) from None
