"""What a DuckDB warehouse contains: opens its file, and creates or upgrades its tables and views."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from pipeline.warehouses.duckdb import ddl
from schemas import tables, upgrade, views
from schemas.upgrade import IncompatibleSchemaError

STORAGE = "v1.2.0"
"""The oldest DuckDB that can open the file; older formats cannot compress JSON, at ten times the size."""
_LOCK = re.compile(r"Conflicting lock is held in .*?(PID \d+)")


class UnusableFileError(Exception):
    """Why a warehouse's file cannot be opened, in one line: the problem, and what would be right."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def path(url: str) -> str | None:
    """The file of `duckdb:///relative` or `duckdb:////absolute`, or None for anything else."""
    scheme, _, file = url.partition(":///")
    return file if scheme == "duckdb" and file else None


def connect(file: str, *, read_only: bool = False) -> DuckDBPyConnection:
    """Opens the file, new if it is missing; until it is closed no other process can, unless both only read it, which
    needs a file that is there. Raises UnusableFileError."""
    file = os.path.abspath(file)
    folder = os.path.dirname(file)
    if not os.path.isdir(folder):
        raise UnusableFileError(f"there is no folder {folder}", "make it, or name a file in another one")
    if os.path.isdir(file):
        raise UnusableFileError(f"{file} is a folder", "name a file in it")
    if read_only and not os.path.exists(file):
        raise UnusableFileError(f"there is no file {file}", "name the file that a job has written")
    try:
        return duckdb.connect(file, read_only, config={"storage_compatibility_version": STORAGE})
    except duckdb.Error as error:
        problem = str(error).partition("\n")[0]
    if lock := _LOCK.search(problem):
        raise UnusableFileError(f"{file} is in use by another process ({lock[1]})", "close it, or wait until it ends")
    if "not a valid DuckDB database" in problem:
        raise UnusableFileError(f"{file} is not a DuckDB file", "name another file, or one that does not exist yet")
    raise UnusableFileError(f"{file} cannot be opened: {problem}", "name a file that DuckDB can write")


def create(connection: DuckDBPyConnection) -> tuple[str, ...]:
    """Makes the tables and columns that are missing, every description and every view, in one transaction.

    Returns the tables and columns that it made, a line each; no data are touched. Raises IncompatibleSchemaError,
    with nothing changed, where what exists cannot hold what this version writes.
    """
    existing = _existing(connection)
    incompatible = tuple(_incompatible(existing))
    if incompatible:
        raise IncompatibleSchemaError(incompatible)
    made = []
    connection.begin()
    try:
        for table in tables.ALL:
            if table.name in existing:
                for column in upgrade.difference(table, existing[table.name].columns, ddl.type_name).added:
                    type_ = ddl.type_name(column)
                    connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN "{column.name}" {type_}')
                    made.append(f"column {table.name}.{column.name}")
            else:
                made.append(f"table {table.name}")
            connection.execute(ddl.create_table(table))
        for view in views.ALL:
            connection.execute(ddl.create_view(view))
    except duckdb.Error:
        connection.rollback()
        raise
    connection.commit()
    return tuple(made)


class _Relation(NamedTuple):
    """A table or view that exists: whether it is a view, its columns' types by name, and its primary key."""

    is_view: bool
    columns: Mapping[str, str]
    key: tuple[str, ...]


def _existing(connection: DuckDBPyConnection) -> Mapping[str, _Relation]:
    relations = connection.execute(
        """
        SELECT lower(table_name), any_value(table_type = 'VIEW'), map(list(lower(column_name)), list(data_type))
        FROM information_schema.tables JOIN information_schema.columns USING (table_catalog, table_schema, table_name)
        WHERE table_catalog = current_database() AND table_schema = current_schema()
        GROUP BY 1
        """
    ).fetchall()
    keys = connection.execute(
        """
        SELECT lower(table_name), list_transform(constraint_column_names, lambda name: lower(name))
        FROM duckdb_constraints()
        WHERE constraint_type = 'PRIMARY KEY'
          AND database_name = current_database() AND schema_name = current_schema()
        """
    ).fetchall()
    key = {table: tuple(columns) for table, columns in keys}
    return {name: _Relation(is_view, columns, key.get(name, ())) for name, is_view, columns in relations}


def _incompatible(existing: Mapping[str, _Relation]) -> Iterator[str]:
    for table in tables.ALL:
        relation = existing.get(table.name)
        if relation is None:
            continue
        if relation.is_view:
            yield f"table {table.name}: there is a view of that name"
            continue
        yield from upgrade.difference(table, relation.columns, ddl.type_name).incompatible
        if relation.key != table.key:
            key, wanted = ", ".join(relation.key) or "none", ", ".join(table.key)
            yield f"table {table.name}: its primary key is {key}, which cannot become {wanted}"
    for view in views.ALL:
        if view.name in existing and not existing[view.name].is_view:
            yield f"view {view.name}: there is a table of that name"
