"""Queries of BigQuery, and what they find as Python values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from google.cloud import bigquery
from google.cloud.bigquery import ArrayQueryParameter, QueryJobConfig, ScalarQueryParameter
from google.cloud.bigquery.table import RowIterator
from msgspec.structs import replace

from schemas.bigquery import MAX_STALENESS, Dataset
from schemas.tables import Column, Mode, Table, Type

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def query(
    client: bigquery.Client,
    statement: str,
    parameters: dict[str, int | str | Sequence[str]] | None = None,
    default_dataset: Dataset | None = None,
) -> RowIterator:
    """Runs a statement, or a script, to its end. The rows of its last result are fetched as they are asked for, a page
    at a time. The default dataset is that of names without one."""
    config = QueryJobConfig(query_parameters=[_typed(name, value) for name, value in (parameters or {}).items()])
    if default_dataset is not None:
        config.default_dataset = str(default_dataset)
    return client.query_and_wait(statement, job_config=config)


@contextmanager
def freshest(client: bigquery.Client, table: Table, dataset: Dataset) -> Iterator[None]:
    """Until it ends, queries of a keyed table see every change that BigQuery has received.

    With `max_staleness` a query may answer from a table to which the changes of the last minutes are not applied;
    without it they are merged when the table is queried. A table that was left without it gets the default.
    https://cloud.google.com/bigquery/docs/change-data-capture#manage_table_staleness
    """
    name = f"{dataset}.{table.name}"
    before = client.get_table(name).max_staleness
    _set_max_staleness(client, name, None)
    try:
        yield
    finally:
        _set_max_staleness(client, name, before or MAX_STALENESS)


def _set_max_staleness(client: bigquery.Client, name: str, interval: str | None) -> None:
    changed = bigquery.Table(name)
    changed.max_staleness = interval
    client.update_table(changed, ["max_staleness"])


def plain(column: Column, value: Any) -> Any:
    """A value as the warehouse's `Contents` gives it: a timestamp as microseconds since the epoch."""
    if value is None:
        return None
    if column.mode is Mode.REPEATED:
        return [plain(replace(column, mode=Mode.REQUIRED), each) for each in value]
    if column.type is Type.STRUCT:
        return {each.name: plain(each, value[each.name]) for each in column.fields}
    return (value - _EPOCH) // timedelta(microseconds=1) if column.type is Type.TIMESTAMP else value


def _typed(name: str, value: int | str | Sequence[str]) -> ScalarQueryParameter | ArrayQueryParameter:
    if isinstance(value, int):
        return ScalarQueryParameter(name, "INT64", value)
    if isinstance(value, str):
        return ScalarQueryParameter(name, "STRING", value)
    return ArrayQueryParameter(name, "STRING", value)
