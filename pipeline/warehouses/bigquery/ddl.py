"""BigQuery's DDL of tables and views, in GoogleSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from schemas import tables, views
from schemas.tables import KEYED, Column, Mode, Table, Type, Write
from schemas.views import TableFunction, View

_RELATIONS: Final = "|".join((*tables.BY_NAME, *(view.name for view in views.ALL)))
_REFERENCE: Final = re.compile(rf"--[^\n]*|'(?:[^'\\]|\\.)*'|\b(FROM|INTO|JOIN) ({_RELATIONS})\b")
"""A comment, a constant, or a keyword and the table or view that follows it."""
MAX_STALENESS_MINUTES: Final = 15
"""How old a keyed table's rows may be when BigQuery is asked. Without it each query merges the changes that are still
pending, and meanwhile the table cannot be copied or read by the Storage API."""

_KEPT: Final = "expiration_timestamp = NULL"
"""Said of every table and view, since a dataset may have a default by which new ones expire, and their partitions:
https://cloud.google.com/bigquery/docs/updating-datasets#table-expiration"""

LABELS: Final[Mapping[str, str]] = {"managed-by": "segment-bigquery"}
"""The labels of BigQuery's dataset, tables and views, for example to find their cost in a bill."""


def statements(dataset: str | None = None) -> Iterator[str]:
    """Every table, view and function, in the order in which they can be made."""
    for table in tables.ALL:
        yield f"{create_table(table, dataset)};"
    for view in views.ALL:
        yield f"{create_view(view, dataset)};"
    for function in views.FUNCTIONS:
        yield f"{create_function(function, dataset)};"


def create_table(table: Table, dataset: str | None = None) -> str:
    """`CREATE TABLE IF NOT EXISTS`, one statement without the semicolon; `dataset` is `DATASET` or `PROJECT.DATASET`.

    BigQuery's keys are not enforced: only a table that is written by upserts has one, which change data capture needs.
    """
    parts = [_column(column, "  ") for column in table.columns]
    if table.write is Write.UPSERT:
        parts.append(f"  PRIMARY KEY ({_names(table.key)}) NOT ENFORCED")
    clauses = []
    if table.partition_by:
        clauses.append(f"PARTITION BY TIMESTAMP_TRUNC(`{table.partition_by}`, DAY)")
    if table.cluster_by:
        clauses.append(f"CLUSTER BY {_names(table.cluster_by)}")
    stale = [f"max_staleness = INTERVAL {MAX_STALENESS_MINUTES} MINUTE"] if table in KEYED else []
    clauses.append(labelled(table.description, *stale, *_kept(table)))
    columns = ",\n".join(parts)
    return "\n".join([f"CREATE TABLE IF NOT EXISTS {qualified(table.name, dataset)} (", columns, ")", *clauses])


def create_view(view: View, dataset: str | None = None) -> str:
    """`CREATE OR REPLACE VIEW`, one statement without the semicolon; `dataset` is `DATASET` or `PROJECT.DATASET`."""
    name = qualified(view.name, dataset)
    options = labelled(view.description, _KEPT)
    return f"CREATE OR REPLACE VIEW {name}\n{options} AS\n{view_query(view, dataset)}"


def keep_table(table: Table, dataset: str | None = None) -> str:
    """`ALTER TABLE`, after which neither a table nor its partitions expire."""
    return f"ALTER TABLE {qualified(table.name, dataset)} SET OPTIONS ({', '.join(_kept(table))})"


def create_function(function: TableFunction, dataset: str | None = None) -> str:
    """`CREATE OR REPLACE TABLE FUNCTION`, one statement without the semicolon; its parameters are times."""
    parameters = ", ".join(f"{name} TIMESTAMP" for name in function.parameters)
    return (
        f"CREATE OR REPLACE TABLE FUNCTION {qualified(function.name, dataset)}({parameters})\n"
        f"OPTIONS ({described(function.description)}) AS\n{in_dataset(function.sql, dataset)}"
    )


def view_query(view: View, dataset: str | None = None) -> str:
    """The view's query, on tables and views of the dataset."""
    return in_dataset(view.sql, dataset)


def in_dataset(sql: str, dataset: str | None = None) -> str:
    """A query or a statement, on tables and views of the dataset."""
    return _REFERENCE.sub(
        lambda match: f"{match[1]} {qualified(match[2], dataset)}" if match[2] else match[0],
        sql,
    )


def qualified(name: str, dataset: str | None = None) -> str:
    """The GoogleSQL path of a table or view; a project's name may hold dots, a dataset's cannot."""
    return ".".join(f"`{part}`" for part in (*(dataset.rsplit(".", 1) if dataset else ()), name))


def labelled(description: str, *more: str) -> str:
    """GoogleSQL's options of a table or view."""
    labels = ", ".join(f"('{name}', '{value}')" for name, value in LABELS.items())
    return f"OPTIONS ({', '.join((described(description), f'labels = [{labels}]', *more))})"


def described(description: str) -> str:
    """GoogleSQL's option for the description of a table, view or column."""
    text = description.replace("\\", "\\\\").replace("'", "\\'")
    return f"description = '{text}'"


def type_name(column: Column) -> str:
    """The column's type as BigQuery writes it: `ARRAY<STRUCT<audience_key STRING, is_member BOOL>>`."""
    if column.type is Type.STRUCT:
        spelled = f"STRUCT<{', '.join(f'{field.name} {type_name(field)}' for field in column.fields)}>"
    else:
        spelled = column.type.value
    return f"ARRAY<{spelled}>" if column.mode is Mode.REPEATED else spelled


def _column(column: Column, indent: str) -> str:
    if column.type is Type.STRUCT:
        fields = ",\n".join(_column(field, indent + "  ") for field in column.fields)
        spelled = f"STRUCT<\n{fields}\n{indent}>"
    else:
        spelled = column.type.value
    if column.mode is Mode.REPEATED:
        spelled = f"ARRAY<{spelled}>"
    required = " NOT NULL" if column.mode is Mode.REQUIRED else ""
    return f"{indent}`{column.name}` {spelled}{required} OPTIONS ({described(column.description)})"


def _kept(table: Table) -> Iterator[str]:
    """GoogleSQL's options of a table that is kept for ever."""
    yield _KEPT
    if table.partition_by:
        yield "partition_expiration_days = NULL"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
