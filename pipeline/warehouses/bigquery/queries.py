"""Queries of BigQuery, and their results as Python values."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from google.api_core.exceptions import PreconditionFailed
from google.cloud import bigquery
from google.cloud.bigquery import ArrayQueryParameter, QueryJobConfig, ScalarQueryParameter
from google.cloud.bigquery.table import RowIterator
from msgspec.structs import replace
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipeline.warehouses.bigquery.catalog import MAX_STALENESS, usable
from pipeline.warehouses.bigquery.dataset import Dataset, UnusableDatasetError
from pipeline.warehouses.bigquery.news import NEWS
from schemas.tables import Column, Mode, Table, Type

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
MAX_STALENESS_LABEL: Final = "max_staleness_before"
"""What a keyed table's `max_staleness` was before a query lifted it, and a number of that query: `0-0s0s4c0c0_1f3a5b7c`
for `0-0 0 4:0:0`, since a label holds only lower-case letters, digits, `_` and `-`. Empty when it is given back."""
_SIGNS, _LETTERS = " :.", "scp"
"""The signs of an interval that a label cannot have, and what stands for them."""
_LIFTS: Final = 10
"""How often a query is asked when somebody else sets max_staleness meanwhile."""
_CONTENDED: Final = Retrying(
    retry=retry_if_exception_type(PreconditionFailed),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=stop_after_attempt(10),
    reraise=True,
)
"""Between the look at a table and its change somebody else may have changed it."""


def query(
    client: bigquery.Client,
    statement: str,
    parameters: Mapping[str, int | str | Sequence[str]] | None = None,
    default_dataset: Dataset | None = None,
) -> RowIterator:
    """Runs a statement, or a script, to its end. The rows of its last result are fetched as they are asked for, a page
    at a time. The default dataset is that of names without one. Raises UnusableDatasetError where a table is missing,
    or not to be read, and is no news."""
    config = QueryJobConfig(query_parameters=[_typed(name, value) for name, value in (parameters or {}).items()])
    if default_dataset is not None:
        config.default_dataset = str(default_dataset)
    with usable():
        return NEWS.once_known(lambda: client.query_and_wait(statement, job_config=config))


def query_freshest(
    client: bigquery.Client,
    statement: str,
    table: Table,
    dataset: Dataset,
    parameters: Mapping[str, int | str | Sequence[str]] | None = None,
    default_dataset: Dataset | None = None,
) -> RowIterator:
    """Runs a query of a keyed table that sees every change that BigQuery has received.

    With `max_staleness` a query may answer from a table to which the changes of the last minutes are not applied;
    without it they are merged when the table is queried. So it is lifted meanwhile, and a label of the table keeps it:
    where the process dies, the next such query gives it back. Several may run at once: the first to end gives it back,
    and the others, which may have seen less since, ask again. Raises UnusableDatasetError where that goes on.
    https://cloud.google.com/bigquery/docs/change-data-capture#manage_table_staleness
    """
    name = f"{dataset}.{table.name}"
    for _ in range(_LIFTS):
        mark = _lift_max_staleness(client, name)
        try:
            rows = query(client, statement, parameters, default_dataset)
        finally:
            was_lifted = _restore_max_staleness(client, name, mark)
        if was_lifted:
            return rows
    raise UnusableDatasetError(f"max_staleness of {name} is set again each time that it is lifted", "try again later")


@_CONTENDED.wraps
def _lift_max_staleness(client: bigquery.Client, name: str) -> str:
    """Returns the mark of the query that has lifted it: the label's value; empty where the server is an emulator that
    keeps no labels.

    The default over a mark is what `create` gives a table that a dead process has left without. Any other value was
    set by the user since.
    """
    table = NEWS.once_known(lambda: client.get_table(name))
    mark = _mark_of(table)
    if mark and table.max_staleness is None:
        return mark
    if mark and table.max_staleness == MAX_STALENESS:
        interval = _interval(mark)
    else:
        interval = table.max_staleness or MAX_STALENESS
    return _mark_of(_change_max_staleness(client, table, None, _new_mark(interval)))


@_CONTENDED.wraps
def _restore_max_staleness(client: bigquery.Client, name: str, mark: str) -> bool:
    """Gives `max_staleness` back; False where somebody else has set it since it was lifted."""
    table = NEWS.once_known(lambda: client.get_table(name))
    if _mark_of(table) != mark or table.max_staleness is not None:
        return False
    if mark:
        _change_max_staleness(client, table, _interval(mark), "")
    return True


def _change_max_staleness(
    client: bigquery.Client, table: bigquery.Table, interval: str | None, mark: str
) -> bigquery.Table:
    """Raises PreconditionFailed where the table has changed since it was looked at."""
    table.max_staleness = interval
    table.labels[MAX_STALENESS_LABEL] = mark
    return client.update_table(table, ["max_staleness", "labels"])


def _mark_of(table: bigquery.Table) -> str:
    return table.labels.get(MAX_STALENESS_LABEL) or ""


def _new_mark(interval: str) -> str:
    return f"{interval.translate(str.maketrans(_SIGNS, _LETTERS))}_{secrets.token_hex(4)}"


def _interval(mark: str) -> str:
    return mark.partition("_")[0].translate(str.maketrans(_LETTERS, _SIGNS))


def plain(column: Column, value: Any) -> Any:
    """A value as the warehouse's `Contents` gives it: a timestamp as microseconds since the epoch."""
    if value is None:
        return None
    if column.mode is Mode.REPEATED:
        return [plain(replace(column, mode=Mode.REQUIRED), item) for item in value]
    if column.type is Type.STRUCT:
        return {field.name: plain(field, value[field.name]) for field in column.fields}
    return (value - _EPOCH) // timedelta(microseconds=1) if column.type is Type.TIMESTAMP else value


def _typed(name: str, value: int | str | Sequence[str]) -> ScalarQueryParameter | ArrayQueryParameter:
    if isinstance(value, int):
        return ScalarQueryParameter(name, "INT64", value)
    if isinstance(value, str):
        return ScalarQueryParameter(name, "STRING", value)
    return ArrayQueryParameter(name, "STRING", value)
