"""What a BigQuery warehouse contains: opens a client, and creates or upgrades the dataset, its tables and its views.

Everything is read and made by REST, which costs nothing, makes a table whole, and keeps a view's text as it was given,
so that one that has changed can be told. It is what the statements of `pipeline.warehouses.bigquery.ddl` say. With
BIGQUERY_EMULATOR_HOST set, Google's client asks that server instead.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Final

from google.api_core.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    GoogleAPICallError,
    NotFound,
    PreconditionFailed,
    RetryError,
)
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY
from google.cloud.bigquery.table import PrimaryKey, TableConstraints
from requests import RequestException

from pipeline.warehouses.bigquery import ddl
from pipeline.warehouses.bigquery.dataset import Dataset, UnusableDatasetError
from pipeline.warehouses.bigquery.news import NEWS
from schemas import tables, upgrade, views
from schemas.tables import Column, Mode, Table, Write
from schemas.upgrade import IncompatibleSchemaError

_log = logging.getLogger(__name__)
_DESCRIPTION = "Segment calls as events, contacts and accounts"
_LOGIN = "log in with: gcloud auth application-default login"
_ROLES = (
    "ask for the roles BigQuery Data Editor (roles/bigquery.dataEditor), BigQuery Job User (roles/bigquery.jobUser) and"
    " BigQuery Read Session User (roles/bigquery.readSessionUser)"
)
_MAKE_TABLES = "make the tables that are missing: python -m schemas create"
_REACHED_S: Final = 30.0
"""How long BigQuery is tried before it counts as out of reach."""
MAX_STALENESS: Final = f"0-0 0 0:{ddl.MAX_STALENESS_MINUTES}:0"
"""How old a keyed table's rows may be when it is asked, as the REST API writes an interval."""
_DAY_MS: Final = 86_400_000
_TIME: Final = bigquery.StandardSqlDataType(bigquery.StandardSqlTypeNames.TIMESTAMP)
_STANDARD_TYPES: Final = {"INTEGER": "INT64", "BOOLEAN": "BOOL", "FLOAT": "FLOAT64", "RECORD": "STRUCT"}
"""GoogleSQL's names of the types that the REST API calls by older ones."""


def connect(project: str, location: str | None = None) -> bigquery.Client:
    """A client whose queries the project pays for. Raises UnusableDatasetError where there are no credentials."""
    credentials = AnonymousCredentials() if os.environ.get("BIGQUERY_EMULATOR_HOST") else None
    with usable():
        return bigquery.Client(project, credentials, location=location)


@contextmanager
def usable() -> Iterator[None]:
    """Raises UnusableDatasetError for what a user or an administrator can put right, whatever Google's libraries raise
    for it."""
    try:
        yield
    except DefaultCredentialsError:
        raise UnusableDatasetError("there are no credentials for Google Cloud", _LOGIN) from None
    except RefreshError as error:
        raise UnusableDatasetError(f"the credentials are not accepted: {_first_line(error)}", _LOGIN) from None
    except Forbidden as error:
        raise UnusableDatasetError(f"BigQuery refuses it: {_first_line(error)}", _ROLES) from None
    except NotFound as error:
        remedy = _MAKE_TABLES if "table" in error.message.lower() else "name a project and a dataset that exist"
        raise UnusableDatasetError(_first_line(error), remedy) from None
    except PreconditionFailed as error:
        raise UnusableDatasetError(f"somebody else has just changed it: {_first_line(error)}", "try again") from None
    except (GoogleAuthError, RequestException, RetryError) as error:
        raise UnusableDatasetError(f"BigQuery cannot be reached: {_first_line(error)}", "try again") from None


def create(client: bigquery.Client, dataset: Dataset, location: str | None = None) -> tuple[str, ...]:
    """Makes the dataset, tables, columns and views that are missing, and views anew that read otherwise. A keyed table
    without primary key or `max_staleness` gets it.

    `location` is where a new dataset lies; BigQuery's default is the multi-region US. Returns what it made, a line
    each; no data are touched. Raises IncompatibleSchemaError, with nothing changed, where what exists cannot hold
    what this version writes, and UnusableDatasetError, also where a table that exists expires.
    """
    with usable():
        made = [f"dataset {dataset}"] if create_dataset(client, dataset, location) else []
        existing = _existing(client, dataset)
        _check(dataset, existing)
        for table in tables.ALL:
            current = existing.get(table.name)
            if current is None:
                created = NEWS.once_known(partial(client.create_table, _table(table, dataset), exists_ok=True))
                _keep(client, created)
                made.append(f"table {table.name}")
            else:
                made += _upgrade(client, table, current)
        for view in views.ALL:
            if _make_view(client, dataset, view, existing.get(view.name)):
                made.append(f"view {view.name}")
        for function in views.FUNCTIONS:
            if _make_function(client, dataset, function):
                made.append(f"function {function.name}")
        NEWS.learn([*(table.created for table in existing.values()), datetime.now(timezone.utc) if made else None])
    return tuple(made)


def lacking(client: bigquery.Client, dataset: Dataset) -> tuple[str, ...]:
    """The tables and columns that `create` would make, a line each. Raises as `create` does."""
    with usable():
        NEWS.learn([client.get_dataset(str(dataset), retry=DEFAULT_RETRY.with_timeout(_REACHED_S)).created])
        existing = _existing(client, dataset)
        _check(dataset, existing)
        NEWS.learn(table.created for table in existing.values())
        return tuple(
            line
            for table in tables.ALL
            for current in (existing.get(table.name),)
            for line in ([f"table {table.name}"] if current is None else _missing(table, current))
        )


def create_dataset(client: bigquery.Client, dataset: Dataset, location: str | None) -> bool:
    """Whether the dataset was missing. Raises UnusableDatasetError where it lies elsewhere."""
    try:
        current = client.get_dataset(str(dataset), retry=DEFAULT_RETRY.with_timeout(_REACHED_S))
    except NotFound:
        current = None
    if current is not None:
        if location is not None and current.location.lower() != location.lower():
            raise UnusableDatasetError(
                f"dataset {dataset} lies in {current.location}, and cannot be moved", "leave the location out"
            )
        NEWS.learn([current.created])
        return False
    wanted = bigquery.Dataset(str(dataset))
    if location is not None:
        wanted.location = location
    wanted.description = _DESCRIPTION
    wanted.labels = dict(ddl.LABELS)
    NEWS.learn([datetime.now(timezone.utc)])
    try:
        client.create_dataset(wanted)
    except Conflict:  # somebody else has just made it
        return False
    except BadRequest as error:
        raise UnusableDatasetError(_first_line(error), "name another location") from None
    return True


def _existing(client: bigquery.Client, dataset: Dataset) -> Mapping[str, bigquery.Table]:
    """The tables and views of ours that exist, by name."""
    ours = {*tables.BY_NAME, *(view.name for view in views.ALL)}
    listed = NEWS.once_known(lambda: list(client.list_tables(str(dataset))))
    existing = [item for item in listed if item.table_id in ours]
    if existing:
        NEWS.learn(item.created for item in existing)
    return {item.table_id: NEWS.once_known(partial(client.get_table, item.reference)) for item in existing}


def _table(table: Table, dataset: Dataset) -> bigquery.Table:
    made = bigquery.Table(f"{dataset}.{table.name}", [_field(column) for column in table.columns])
    made.description = table.description
    made.labels = dict(ddl.LABELS)
    if table.partition_by:
        made.time_partitioning = bigquery.TimePartitioning(field=table.partition_by)
    if table.cluster_by:
        made.clustering_fields = list(table.cluster_by)
    if table.write is Write.UPSERT:
        made.table_constraints = _primary_key(table)
    if table in tables.KEYED:
        made.max_staleness = MAX_STALENESS
    return made


def _field(column: Column, *, added: bool = False) -> bigquery.SchemaField:
    """A column; one that is added to a table is never REQUIRED, since existing rows have no value for it."""
    mode = Mode.NULLABLE if added and column.mode is Mode.REQUIRED else column.mode
    fields = [_field(inner) for inner in column.fields]
    return bigquery.SchemaField(column.name, column.type.value, mode.value, None, column.description, fields)


def _primary_key(table: Table) -> TableConstraints:
    """It is never enforced, and change data capture goes by it."""
    return TableConstraints(PrimaryKey(list(table.key)), None)


def _missing(table: Table, current: bigquery.Table) -> Mapping[str, Column]:
    """The columns that a table lacks, by the lines that describe them."""
    added = upgrade.difference(table, _types(current), ddl.type_name).added
    return {f"column {table.name}.{column.name}": column for column in added}


def _upgrade(client: bigquery.Client, table: Table, current: bigquery.Table) -> list[str]:
    """Adds to a table what it lacks, and returns that. What somebody else has changed meanwhile is an error."""
    missing = _missing(table, current)
    made, changed = [*missing], []
    if missing:
        current.schema = [*current.schema, *(_field(column, added=True) for column in missing.values())]
        changed.append("schema")
    if table.write is Write.UPSERT and not _key(current):
        current.table_constraints = _primary_key(table)
        changed.append("table_constraints")
        made.append(f"primary key of {table.name}")
    if table in tables.KEYED and current.max_staleness is None:
        current.max_staleness = MAX_STALENESS
        changed.append("max_staleness")
        made.append(f"max_staleness of {table.name}")
    if changed:
        client.update_table(current, changed)
    return made


def _make_view(client: bigquery.Client, dataset: Dataset, view: views.View, current: bigquery.Table | None) -> bool:
    """Whether the view was missing, or read otherwise."""
    wanted = bigquery.Table(f"{dataset}.{view.name}")
    wanted.view_query = ddl.view_query(view, str(dataset))
    wanted.description = view.description
    wanted.labels = dict(ddl.LABELS)
    if current is not None and (current.view_query, current.description) == (wanted.view_query, wanted.description):
        return False
    _put_view(client, wanted, is_new=current is None)
    return True


def make_or_change_view(client: bigquery.Client, wanted: bigquery.Table) -> None:
    """Makes a view, or makes it anew."""
    try:
        client.get_table(wanted.reference)
        is_new = False
    except NotFound:
        is_new = True
    _put_view(client, wanted, is_new=is_new)


def _put_view(client: bigquery.Client, wanted: bigquery.Table, *, is_new: bool) -> None:
    if is_new:
        _keep(client, NEWS.once_known(partial(client.create_table, wanted, exists_ok=True)))
    else:
        client.update_table(wanted, ["view_query", "description", "labels"])


def _make_function(client: bigquery.Client, dataset: Dataset, function: views.TableFunction) -> bool:
    """Whether the table function was missing, or read otherwise. A role that made tables before there were functions
    may not make them: that stops no job."""
    wanted = bigquery.Routine(
        f"{dataset}.{function.name}",
        type_=bigquery.RoutineType.TABLE_VALUED_FUNCTION,
        language="SQL",
        body=ddl.in_dataset(function.sql, str(dataset)),
        description=function.description,
        arguments=[bigquery.RoutineArgument(name=name, data_type=_TIME) for name in function.parameters],
    )
    try:
        current = _routine(client, wanted)
        if current is None:
            NEWS.once_known(partial(client.create_routine, wanted, exists_ok=True))
        elif (current.body, current.description) == (wanted.body, wanted.description):
            return False
        else:
            client.update_routine(wanted, ["type_", "language", "body", "description", "arguments"])
    except Forbidden as error:
        _log.warning("the function %s was not made: %s", wanted.reference, _first_line(error))
        return False
    return True


def _routine(client: bigquery.Client, wanted: bigquery.Routine) -> bigquery.Routine | None:
    try:
        return client.get_routine(wanted.reference)
    except NotFound:
        return None


def _keep(client: bigquery.Client, made: bigquery.Table) -> None:
    """Takes from a new table or view the expiration that its dataset gives to new ones: left out of the request it is
    the dataset's default (https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets)."""
    changed = []
    if made.expires is not None:
        made.expires = None
        changed.append("expires")
    if _partition_days(made) is not None:
        partitioning = made.time_partitioning
        partitioning.expiration_ms = None
        made.time_partitioning = partitioning
        changed.append("time_partitioning")
    if changed:
        NEWS.once_known(partial(client.update_table, made, changed))


def _check(dataset: Dataset, existing: Mapping[str, bigquery.Table]) -> None:
    """Raises IncompatibleSchemaError, and UnusableDatasetError where a table expires."""
    incompatible = tuple(_incompatible(existing))
    if incompatible:
        raise IncompatibleSchemaError(incompatible)
    expiring = {
        table: problem
        for table in tables.ALL
        if (current := existing.get(table.name)) is not None and (problem := _expiration(table, current)) is not None
    }
    if expiring:
        statements = "; ".join(ddl.keep_table(table, str(dataset)) for table in expiring)
        raise UnusableDatasetError("; ".join(expiring.values()), f"to keep what they hold, run: {statements}")


def _expiration(table: Table, current: bigquery.Table) -> str | None:
    """When BigQuery removes a table, or rows that every later job needs. How long partitions of events and dead letters
    are kept is the user's."""
    if current.expires is not None:
        return f"table {table.name} expires on {current.expires:%Y-%m-%d}"
    days = _partition_days(current)
    if table == tables.IDENTITY_CALLS and days is not None:
        return f"table {table.name}, which contacts and accounts are made from, loses its rows after {days:g} days"
    return None


def _partition_days(table: bigquery.Table) -> float | None:
    """After how many days a table's partitions are removed."""
    expiration_ms = table.time_partitioning.expiration_ms if table.time_partitioning else None
    return None if expiration_ms is None else int(expiration_ms) / _DAY_MS


def _incompatible(existing: Mapping[str, bigquery.Table]) -> Iterator[str]:
    for table in tables.ALL:
        current = existing.get(table.name)
        if current is None:
            continue
        if current.table_type != "TABLE":
            yield f"table {table.name}: there is a {current.table_type.lower().replace('_', ' ')} of that name"
            continue
        yield from upgrade.difference(table, _types(current), ddl.type_name).incompatible
        always = {column.name for column in table.columns if column.mode is Mode.REQUIRED}
        for field in current.schema:
            if field.mode == "REQUIRED" and field.name.lower() not in always:
                yield f"table {table.name}, column {field.name}: is NOT NULL, and not every row has a value for it"
        key = _key(current)
        if table.write is Write.UPSERT and key not in ((), table.key):
            yield f"table {table.name}: its primary key is {', '.join(key)}, which cannot become {', '.join(table.key)}"
    for view in views.ALL:
        current = existing.get(view.name)
        if current is not None and current.table_type != "VIEW":
            yield f"view {view.name}: there is a {current.table_type.lower().replace('_', ' ')} of that name"


def _key(table: bigquery.Table) -> tuple[str, ...]:
    constraints = table.table_constraints
    return tuple(constraints.primary_key.columns) if constraints and constraints.primary_key else ()


def _types(table: bigquery.Table) -> Mapping[str, str]:
    return {field.name: _type(field) for field in table.schema}


def _type(field: bigquery.SchemaField) -> str:
    """A column's type as `ddl.type_name` writes it."""
    name = _STANDARD_TYPES.get(field.field_type, field.field_type)
    if name == "STRUCT":
        name = f"STRUCT<{', '.join(f'{inner.name} {_type(inner)}' for inner in field.fields)}>"
    return f"ARRAY<{name}>" if field.mode == "REPEATED" else name


def _first_line(error: Exception) -> str:
    """The first line of an error."""
    text = error.message if isinstance(error, GoogleAPICallError) else str(error)
    return next(iter(_lines(text)), type(error).__name__)


def _lines(text: str) -> Iterable[str]:
    return (line.strip().rstrip(".") for line in text.splitlines() if line.strip())
