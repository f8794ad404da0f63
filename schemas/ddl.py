"""The DDL of a table, in GoogleSQL and in DuckDB's SQL, and what a table that is already there lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from schemas.tables import KEYED, Column, Mode, Table, Type, Write

MAX_STALENESS_MINUTES = 15
"""How old a keyed table's rows may be when BigQuery is asked. Without it each query merges the changes that are still
pending, and meanwhile the table cannot be copied or read by the Storage API."""

LABELS: Mapping[str, str] = {"managed-by": "segment-bigquery"}
"""The labels of BigQuery's dataset, tables and views, for example to find their cost in a bill."""

_DUCKDB_TYPES: Mapping[Type, str] = {
    Type.STRING: "VARCHAR",
    Type.INT64: "BIGINT",
    Type.BOOL: "BOOLEAN",
    Type.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    Type.BYTES: "BLOB",
    Type.JSON: "JSON",
}


def googlesql(table: Table, dataset: str | None = None) -> str:
    """`CREATE TABLE IF NOT EXISTS`, one statement without the semicolon; `dataset` is `DATASET` or `PROJECT.DATASET`.

    BigQuery's keys are not enforced: only a table that is written by upserts has one, which change data capture needs.
    """
    parts = [_googlesql_column(column, "  ") for column in table.columns]
    if table.write is Write.UPSERT:
        parts.append(f"  PRIMARY KEY ({_googlesql_names(table.key)}) NOT ENFORCED")
    clauses = []
    if table.partition_by:
        clauses.append(f"PARTITION BY TIMESTAMP_TRUNC(`{table.partition_by}`, DAY)")
    if table.cluster_by:
        clauses.append(f"CLUSTER BY {_googlesql_names(table.cluster_by)}")
    stale = [f"max_staleness = INTERVAL {MAX_STALENESS_MINUTES} MINUTE"] if table in KEYED else []
    clauses.append(labelled(table.description, *stale))
    columns = ",\n".join(parts)
    return "\n".join([f"CREATE TABLE IF NOT EXISTS {qualified(table.name, dataset)} (", columns, ")", *clauses])


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


def duckdb(table: Table) -> str:
    """A script that creates the table if it is missing and sets every description; its key is enforced."""
    parts = [
        f'  "{c.name}" {duckdb_type(c)}{"" if c.mode is Mode.NULLABLE else " NOT NULL"}'
        f"{' USING COMPRESSION zstd' if c.type is Type.JSON else ''}"
        for c in table.columns
    ]
    parts.append(f"  PRIMARY KEY ({_duckdb_names(table.key)})")
    columns = ",\n".join(parts)
    return "\n".join(
        [
            f'CREATE TABLE IF NOT EXISTS "{table.name}" (',
            columns,
            ");",
            f'COMMENT ON TABLE "{table.name}" IS {duckdb_text(table.description)};',
            *(
                f'COMMENT ON COLUMN "{table.name}"."{column.name}" IS {duckdb_text(column.description)};'
                for column in table.columns
            ),
        ]
    )


def duckdb_type(column: Column) -> str:
    """The column's type as DuckDB writes it: `STRUCT(audience_key VARCHAR, is_member BOOLEAN)[]`."""
    if column.type is Type.STRUCT:
        spelled = f"STRUCT({', '.join(f'{field.name} {duckdb_type(field)}' for field in column.fields)})"
    else:
        spelled = _DUCKDB_TYPES[column.type]
    return f"{spelled}[]" if column.mode is Mode.REPEATED else spelled


def duckdb_text(text: str) -> str:
    """DuckDB's literal of a text."""
    return "'" + text.replace("'", "''") + "'"


def googlesql_type(column: Column) -> str:
    """The column's type as BigQuery writes it: `ARRAY<STRUCT<audience_key STRING, is_member BOOL>>`."""
    if column.type is Type.STRUCT:
        spelled = f"STRUCT<{', '.join(f'{field.name} {googlesql_type(field)}' for field in column.fields)}>"
    else:
        spelled = column.type.value
    return f"ARRAY<{spelled}>" if column.mode is Mode.REPEATED else spelled


class IncompatibleSchemaError(Exception):
    """What stands in the way of an upgrade: a line for each table or column."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class SchemaDifference(NamedTuple):
    """How a table that is already there differs: the columns to add, and in one line each what cannot be changed."""

    added: tuple[Column, ...]
    incompatible: tuple[str, ...]


def difference(table: Table, existing: Mapping[str, str], spelled: Callable[[Column], str]) -> SchemaDifference:
    """What it takes to make `existing` (column name to type, in the words of `spelled`) hold `table`.

    A column is added as NULLABLE. A type is never changed, a key column never added, a column never dropped.
    """
    types = {name.lower(): type_ for name, type_ in existing.items()}
    missing = [column for column in table.columns if column.name not in types]
    return SchemaDifference(
        tuple(column for column in missing if column.name not in table.key),
        tuple(_incompatible(table, types, spelled)),
    )


def _incompatible(table: Table, types: Mapping[str, str], spelled: Callable[[Column], str]) -> Iterator[str]:
    for column in table.columns:
        there = types.get(column.name)
        if there is None:
            if column.name in table.key:
                yield f"table {table.name}, column {column.name}: is missing, and a key column cannot be added"
        elif _folded(there) != _folded(spelled(column)):
            yield f"table {table.name}, column {column.name}: is {there}, which cannot become {spelled(column)}"


def _folded(type_: str) -> str:
    """A type without what a warehouse may write in another way: quotes around names, case and spaces."""
    return type_.replace('"', "").replace("`", "").replace(" ", "").upper()


def _googlesql_column(column: Column, indent: str) -> str:
    if column.type is Type.STRUCT:
        fields = ",\n".join(_googlesql_column(field, indent + "  ") for field in column.fields)
        spelled = f"STRUCT<\n{fields}\n{indent}>"
    else:
        spelled = column.type.value
    if column.mode is Mode.REPEATED:
        spelled = f"ARRAY<{spelled}>"
    required = " NOT NULL" if column.mode is Mode.REQUIRED else ""
    return f"{indent}`{column.name}` {spelled}{required} OPTIONS ({described(column.description)})"


def _googlesql_names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _duckdb_names(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
