"""DuckDB's DDL of tables and views: what is written in GoogleSQL is transpiled."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pipeline.warehouses.duckdb.sql import literal
from pipeline.warehouses.duckdb.transpile import transpiled
from schemas import tables, views
from schemas.tables import Column, Mode, Table, Type
from schemas.views import TableFunction, View

_TRANSLATED: Final = Path(__file__).with_name("translated")
_TYPES: Final[Mapping[Type, str]] = {
    Type.STRING: "VARCHAR",
    Type.INT64: "BIGINT",
    Type.BOOL: "BOOLEAN",
    Type.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    Type.BYTES: "BLOB",
    Type.JSON: "JSON",
}


def statements() -> Iterator[str]:
    """Every table, view and function, in the order in which they can be made."""
    yield from map(create_table, tables.ALL)
    yield from map(create_view, views.ALL)
    yield from map(create_function, views.FUNCTIONS)


def create_table(table: Table) -> str:
    """A script that creates the table if it is missing and sets every description. DuckDB enforces its key, but for
    that of events, which the jobs do with less memory and time: `message_ids`."""
    parts = [
        f'  "{c.name}" {type_name(c)}{"" if c.mode is Mode.NULLABLE else " NOT NULL"}'
        f"{' USING COMPRESSION zstd' if c.type is Type.JSON else ''}"
        for c in table.columns
    ]
    if table != tables.EVENTS:
        parts.append(f"  PRIMARY KEY ({_names(table.key)})")
    columns = ",\n".join(parts)
    return "\n".join(
        [
            f'CREATE TABLE IF NOT EXISTS "{table.name}" (',
            columns,
            ");",
            f'COMMENT ON TABLE "{table.name}" IS {literal(table.description)};',
            *(
                f'COMMENT ON COLUMN "{table.name}"."{column.name}" IS {literal(column.description)};'
                for column in table.columns
            ),
        ]
    )


@functools.cache
def create_view(view: View) -> str:
    """A script that makes the view, or makes it anew, for any DuckDB client: it needs no function or setting."""
    table = views.COPIES_REMOVED.get(view.name)  # a file has each key once
    sql = f'SELECT * FROM "{table}"' if table else _translated(view)
    return (
        f'CREATE OR REPLACE VIEW "{view.name}" AS\n{sql};\n'
        f'COMMENT ON VIEW "{view.name}" IS {literal(view.description)};'
    )


@functools.cache
def create_function(function: TableFunction) -> str:
    """A script that makes the table function, a macro, or makes it anew."""
    sql = _translated(function)
    parameters = ", ".join(function.parameters)
    return (
        f'CREATE OR REPLACE MACRO "{function.name}"({parameters}) AS TABLE\n{sql};\n'
        f'COMMENT ON MACRO TABLE "{function.name}" IS {literal(function.description)};'
    )


def _translated(query: View | TableFunction) -> str:
    """The query in DuckDB's SQL. It was translated when it was written, since that takes sqlglot half a second for all
    of them; one that has changed since then is translated here."""
    file = translation_file(query)
    if file.exists():
        digest, _, sql = file.read_text("utf-8").partition("\n")
        if digest == _digest(query):
            return sql.removesuffix("\n")
    return transpiled(query.sql, pretty=True)


def translation_file(query: View | TableFunction) -> Path:
    """Where the translation of a query is kept."""
    return _TRANSLATED / f"{query.name}.sql"


def translation(query: View | TableFunction) -> str:
    """What is kept: a digest of the query in GoogleSQL, and the query in DuckDB's SQL."""
    return f"{_digest(query)}\n{transpiled(query.sql, pretty=True)}\n"


def _digest(query: View | TableFunction) -> str:
    return f"-- of the GoogleSQL whose SHA-256 is {hashlib.sha256(query.sql.encode()).hexdigest()}"


def type_name(column: Column) -> str:
    """The column's type as DuckDB writes it: `STRUCT(audience_key VARCHAR, is_member BOOLEAN)[]`."""
    if column.type is Type.STRUCT:
        spelled = f"STRUCT({', '.join(f'{field.name} {type_name(field)}' for field in column.fields)})"
    else:
        spelled = _TYPES[column.type]
    return f"{spelled}[]" if column.mode is Mode.REPEATED else spelled


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
