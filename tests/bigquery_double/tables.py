"""Datasets, tables and views, and what a query sees of their rows."""

from __future__ import annotations

import copy
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NamedTuple

from tests.bigquery_double import arrow
from tests.bigquery_double.schema import TYPES, Field, RowRefused, added

DAY = 86_400_000_000
PAST, FUTURE = 3650 * DAY, 366 * DAY
"""How far from now the partitions lie that rows can be streamed to, in microseconds.
https://cloud.google.com/bigquery/docs/write-api#streaming_to_time-partitioned_tables : 10 years back, 1 year ahead."""

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_SEQUENCE_NUMBER = re.compile(r"[0-9A-Fa-f]{1,16}(?:/[0-9A-Fa-f]{1,16}){0,3}")

Row = tuple[Any, ...]


class Refused(Exception):
    """A request that BigQuery refuses, by its REST reason: `notFound`, `duplicate`, `invalid`, …"""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def unknown(asks: int, what: str) -> Refused:
    """How REST answers the n-th ask after a table or dataset that it does not know yet: in turns as not found, and as
    not allowed."""
    if asks % 2:
        return Refused("notFound", f"Not found: {what} was not found in location US")
    return Refused("accessDenied", f"Access Denied: {what}: Permission denied (or it may not exist).")


class TableName(NamedTuple):
    """PROJECT.DATASET.TABLE"""

    project: str
    dataset: str
    table: str

    @classmethod
    def parse(cls, name: str) -> TableName:
        project, dataset, table = name.rsplit(".", 2)
        return cls(project, dataset, table)

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"


class Change(NamedTuple):
    """The change of a key that stands: `row` is None for a delete."""

    sequence_number: tuple[int, ...]
    ingested: int
    row: Row | None


class Contents(NamedTuple):
    """What a table holds: its rows, each with its place in the order of arrival, and the changes by key."""

    rows: list[tuple[int, Row]]
    changes: dict[Row, Change]


def sequence_number(text: str | None) -> tuple[int, ...]:
    """The sections of a `_CHANGE_SEQUENCE_NUMBER` as unsigned numbers; a change without one comes before all others.

    1 to 4 sections separated by `/`, each of 1 to 16 hexadecimal digits, compared section by section:
    https://cloud.google.com/bigquery/docs/change-data-capture#manage_custom_ordering . Raises RowRefused.
    """
    if text is None:
        return ()
    if not _SEQUENCE_NUMBER.fullmatch(text):
        raise RowRefused(f"_CHANGE_SEQUENCE_NUMBER: {text!r} is not 1 to 4 sections of 1 to 16 hexadecimal digits")
    return tuple(int(section, 16) for section in text.split("/"))


def merged_labels(labels: Mapping[str, str] | None, changes: Mapping[str, str | None] | None) -> dict[str, str] | None:
    """Labels after an update: those that it does not name stay, those that are null in it go. Raises Refused.
    https://cloud.google.com/bigquery/docs/deleting-labels ; what a label may be:
    https://cloud.google.com/bigquery/docs/labels-intro#requirements"""
    if changes is None:
        return None
    merged = {name: value for name, value in {**(labels or {}), **changes}.items() if value is not None}
    for name, value in merged.items():
        if not _LABEL_KEY.fullmatch(name) or not _LABEL_VALUE.fullmatch(value):
            raise Refused("invalid", f"Label {name!r}: {value!r} has characters that a label cannot have, or too many")
    return merged


@dataclass(eq=False)
class Table:
    """A table or view. `resource` is what was sent by REST, without the schema; rows are tuples of the columns."""

    name: TableName
    fields: tuple[Field, ...]
    resource: dict[str, Any]
    created: int
    revision: int = 1
    """Counts changes of the resource: the etag."""
    schema_revision: int = 1
    """Counts changes of the columns."""
    data_revision: int = 0
    """Counts changes of the rows."""
    _rows: list[tuple[int, Row]] = field(default_factory=list)
    _changes: dict[Row, Change] = field(default_factory=dict)
    _ingested: Iterator[int] = field(default_factory=count)
    _arrow: tuple[tuple[int, int], Any] | None = None

    @property
    def view(self) -> str | None:
        """A view's query."""
        return self.resource["view"]["query"] if "view" in self.resource else None

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        constraints = self.resource.get("tableConstraints") or {}
        return tuple((constraints.get("primaryKey") or {}).get("columns", ()))

    @property
    def partitioned_by(self) -> int | None:
        """The index of the column that the table is partitioned by."""
        column = (self.resource.get("timePartitioning") or {}).get("field")
        return None if column is None else self.index(column)

    @property
    def has_changes(self) -> bool:
        """Whether it was written to by change data capture."""
        return bool(self._changes)

    def index(self, column: str) -> int:
        """Where in a row the column stands. Raises Refused."""
        for index, each in enumerate(self.fields):
            if each.name.lower() == column.lower():
                return index
        raise Refused("invalid", f"The field {column} does not exist in the schema of {self.name}")

    def check_partition(self, row: Row, now: int) -> None:
        """Raises RowRefused for a row whose partition cannot be streamed to."""
        index = self.partitioned_by
        if index is None or row[index] is None:
            return
        if not now - PAST <= row[index] <= now + FUTURE:
            raise RowRefused(
                f"Field {self.fields[index].name}: the partition is outside the allowed bounds: 3650 days in the past "
                "and 366 days in the future relative to the current date"
            )

    def append(self, rows: Iterable[Row]) -> None:
        """Adds rows as they are: BigQuery enforces no key."""
        self._rows.extend((next(self._ingested), row) for row in rows)
        self.data_revision += 1

    def change(self, changes: Iterable[tuple[str, tuple[int, ...], Row]]) -> None:
        """Applies (UPSERT or DELETE, sequence number, row): of a key, that with the greatest sequence number stands,
        of several such the latest; a delete stands as an upsert does, so that an older upsert does not undo it.
        https://cloud.google.com/bigquery/docs/change-data-capture"""
        key = [self.index(column) for column in self.key]
        for type_, number, row in changes:
            of = tuple(row[index] for index in key)
            standing = self._changes.get(of)
            if standing is None or number >= standing.sequence_number:
                self._changes[of] = Change(number, next(self._ingested), row if type_ == "UPSERT" else None)
        self.data_revision += 1

    def replace(self, rows: Iterable[Row]) -> None:
        """Leaves these rows alone, as DML does."""
        self.restore(Contents([(next(self._ingested), row) for row in rows], {}))

    def contents(self) -> Contents:
        """What there is, to be restored."""
        return Contents(list(self._rows), dict(self._changes))

    def restore(self, contents: Contents) -> None:
        self._rows, self._changes = contents
        self.data_revision += 1

    def rows(self) -> list[Row]:
        """What a query sees now."""
        width = len(self.fields)
        if self._changes:
            key = [self.index(column) for column in self.key]
            rows = [row for ingested, row in self._rows if self._stands(ingested, tuple(row[index] for index in key))]
            rows += [change.row for change in self._changes.values() if change.row is not None]
        else:
            rows = [row for _, row in self._rows]
        if any(len(row) < width for row in rows):
            missing: Row = tuple([] if each.mode == "REPEATED" else None for each in self.fields)
            rows = [row + missing[len(row) :] for row in rows]
        return rows

    def arrow(self) -> Any:
        """What a query sees now, as an Arrow table."""
        revision = self.schema_revision, self.data_revision
        if self._arrow is None or self._arrow[0] != revision:
            self._arrow = revision, arrow.table(self.fields, self.rows())
        return self._arrow[1]

    def _stands(self, ingested: int, key: Row) -> bool:
        change = self._changes.get(key)
        return change is None or change.ingested < ingested

    def alter(self, fields: Sequence[Field]) -> None:
        """Gives the table these columns. Raises Refused where they are not the old ones and more."""
        problem = next(added(self.fields, fields), None)
        if problem:
            raise Refused("invalid", f"Provided Schema does not match Table {self.name}. {problem}.")
        order = {each.name.lower(): index for index, each in enumerate(self.fields)}
        ordered = sorted(fields, key=lambda each: order.get(each.name.lower(), len(order)))
        if tuple(ordered) != self.fields:
            self.fields = tuple(ordered)
            self.schema_revision += 1
            self.revision += 1

    def merge(self, resource: Mapping[str, Any]) -> None:
        """Changes these fields of the resource, and removes those that are None; labels likewise, one by one. Raises
        Refused."""
        changed = with_partitioning(self.resource, resource)
        if "labels" in resource:
            changed["labels"] = merged_labels(self.resource.get("labels"), resource["labels"])
        check(replace(self, resource=changed))
        self.resource = without_nulls(changed)
        self.revision += 1


def with_partitioning(resource: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A resource with these fields changed; of `timePartitioning` those that the changes name."""
    changed = {**resource, **changes}
    if changed.get("timePartitioning"):
        changed["timePartitioning"] = {**resource.get("timePartitioning", {}), **changed["timePartitioning"]}
    return changed


def without_nulls(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A resource without the fields that are None, those of `timePartitioning` likewise."""
    kept = {name: value for name, value in resource.items() if value is not None}
    if "timePartitioning" in kept:
        partitioning = {name: value for name, value in kept["timePartitioning"].items() if value is not None}
        kept["timePartitioning"] = partitioning
    return kept


def expiring(resource: Mapping[str, Any], defaults: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The resource of a new table or view with what its dataset says of expiration, where it says nothing itself. A
    partitioned table inherits the default of its partitions, or where there is none, that of tables.
    https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets#Dataset.FIELDS.default_partition_expiration_ms"""
    made = dict(resource)
    partitions, tables = (defaults.get(f"default{kind}ExpirationMs") for kind in ("Partition", "Table"))
    if partitions and made.get("timePartitioning"):
        made["timePartitioning"] = {"expirationMs": str(partitions), **made["timePartitioning"]}
    elif tables:
        made.setdefault("expirationTime", str(now // 1000 + int(tables)))
    return made


@dataclass
class Catalog:
    """Everything there is. Hold `lock` while looking at or changing tables."""

    now: int | None = None
    """The time, in microseconds since the epoch; None is the clock's."""
    datasets: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    tables: dict[TableName, Table] = field(default_factory=dict)
    stale: dict[Table, Any] = field(default_factory=dict)
    """What queries see of tables to which changes are not applied for now, as Arrow tables."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def time(self) -> int:
        return time.time_ns() // 1000 if self.now is None else self.now

    def seen(self, table: Table, *, stale: bool) -> Any:
        """What a query sees of a table, as an Arrow table; with `stale` what it sees while changes are not applied."""
        with self.lock:
            if stale and table.resource.get("maxStaleness") and table in self.stale:
                return self.stale[table]
            return table.arrow()

    def table(self, name: TableName) -> Table:
        """Raises Refused."""
        table = self.tables.get(name)
        if table is None:
            self.dataset(name.project, name.dataset)
            raise Refused("notFound", f"Not found: Table {name}")
        return table

    def dataset(self, project: str, dataset: str) -> dict[str, Any]:
        """Raises Refused."""
        resource = self.datasets.get((project, dataset))
        if resource is None:
            raise Refused("notFound", f"Not found: Dataset {project}:{dataset}")
        return resource

    def create_dataset(self, project: str, dataset: str, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Raises Refused."""
        if not re.fullmatch(r"\w{1,1024}", dataset):
            raise Refused("invalid", f'Invalid dataset ID "{dataset}". Dataset IDs must be alphanumeric')
        if (project, dataset) in self.datasets:
            raise Refused("duplicate", f"Already Exists: Dataset {project}:{dataset}")
        made = self.datasets[project, dataset] = {"location": "US", **copy.deepcopy(dict(resource))}
        return made

    def create_table(self, name: TableName, fields: Sequence[Field], resource: Mapping[str, Any]) -> Table:
        """A field of the resource that is None is said to be none: its dataset's default does not hold. Raises
        Refused."""
        defaults = self.dataset(name.project, name.dataset)
        if name in self.tables:
            raise Refused("duplicate", f"Already Exists: Table {name}")
        now = self.time()
        table = Table(name, tuple(fields), without_nulls(expiring(copy.deepcopy(dict(resource)), defaults, now)), now)
        check(table)
        self.tables[name] = table
        return table


_KEY_TYPES = {"STRING", "INT64", "BOOL", "TIMESTAMP", "DATE", "DATETIME", "NUMERIC", "BIGNUMERIC", "BYTES"}
_CLUSTER_TYPES = _KEY_TYPES - {"BYTES"}
_RESERVED = ("_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER", "_CHANGE_")


def _check_names(fields: Sequence[Field]) -> None:
    """https://cloud.google.com/bigquery/docs/schemas#column_names"""
    names = [each.name.upper() for each in fields]
    for each in fields:
        if names.count(each.name.upper()) > 1:
            raise Refused("invalid", f"Duplicate column name {each.name}")
        if each.name.upper().startswith(_RESERVED):
            raise Refused("invalid", f"Invalid field name {each.name}: its prefix is reserved")
        if each.type not in TYPES:
            raise Refused("invalid", f"Invalid value for type: {each.type} is not a type that this double knows")
        _check_names(each.fields)


def check(table: Table) -> None:
    """Raises Refused for a table that BigQuery does not make.

    Keys: https://cloud.google.com/bigquery/docs/primary-foreign-keys ; clustering:
    https://cloud.google.com/bigquery/docs/clustered-tables ; partitioning:
    https://cloud.google.com/bigquery/docs/partitioned-tables .
    """
    _check_names(table.fields)
    if len(table.key) > 16:
        raise Refused("invalid", f"Primary key of {table.name} has more than 16 columns")
    for column in table.key:
        of = table.fields[table.index(column)]
        if of.type not in _KEY_TYPES or of.mode == "REPEATED":
            raise Refused("invalid", f"Column {column} of type {of.type} cannot be in a primary key")
    clustered = (table.resource.get("clustering") or {}).get("fields", ())
    if len(clustered) > 4:
        raise Refused("invalid", "Clustering supports at most 4 columns")
    for column in clustered:
        of = table.fields[table.index(column)]
        if of.type not in _CLUSTER_TYPES or of.mode == "REPEATED":
            raise Refused("invalid", f"Column {column} of type {of.type} cannot be clustered by")
    index = table.partitioned_by
    if index is not None and (table.fields[index].type not in {"TIMESTAMP", "DATE", "DATETIME"}):
        raise Refused("invalid", f"Column {table.fields[index].name} cannot be partitioned by")
