"""DuckDB's DDL of tables and views: what is written in GoogleSQL is transpiled."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from pipeline.warehouses.duckdb.sql import literal
from schemas import tables, views
from schemas.tables import Column, Mode, Table, Type
from schemas.views import View

if TYPE_CHECKING:
    from sqlglot import exp

_TYPES: Final[Mapping[Type, str]] = {
    Type.STRING: "VARCHAR",
    Type.INT64: "BIGINT",
    Type.BOOL: "BOOLEAN",
    Type.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    Type.BYTES: "BLOB",
    Type.JSON: "JSON",
}
_TEXTS: Final = {column.name for table in tables.ALL for column in table.columns if column.type is tables.Type.STRING}


def statements() -> Iterator[str]:
    """Every table and view, in the order in which they can be made."""
    yield from map(create_table, tables.ALL)
    yield from map(create_view, views.ALL)


def create_table(table: Table) -> str:
    """A script that creates the table if it is missing and sets every description; its key is enforced."""
    parts = [
        f'  "{c.name}" {type_name(c)}{"" if c.mode is Mode.NULLABLE else " NOT NULL"}'
        f"{' USING COMPRESSION zstd' if c.type is Type.JSON else ''}"
        for c in table.columns
    ]
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
    from sqlglot import ErrorLevel, exp, parse_one

    query = parse_one(view.sql, read="bigquery")
    for select in query.find_all(exp.Select):
        if _removes_copies(select):
            select.set("qualify", None)
    for value in query.find_all(exp.JSONExtractScalar):
        if value.this.name in _TEXTS:  # of a text that is no JSON, GoogleSQL's JSON_VALUE is NULL and DuckDB's an error
            value.set("this", exp.TryCast(this=value.this, to=exp.DataType.build("JSON")))
    sql = query.sql("duckdb", pretty=True, comments=False, unsupported_level=ErrorLevel.RAISE)
    return (
        f'CREATE OR REPLACE VIEW "{view.name}" AS\n{sql};\n'
        f'COMMENT ON VIEW "{view.name}" IS {literal(view.description)};'
    )


def _removes_copies(select: exp.Select) -> bool:
    """Whether its QUALIFY only removes copies of a table's key: DuckDB enforces keys, and without the window function
    ten times as fast."""
    from sqlglot import exp

    qualify, source, window = select.args.get("qualify"), select.find(exp.Table), select.find(exp.Window)
    if qualify is None or source is None or window is None or select.args.get("joins"):
        return False
    table = tables.BY_NAME.get(source.name)
    numbered = isinstance(window.this, exp.RowNumber) and isinstance(qualify.this, exp.EQ)
    return numbered and table is not None and {*table.key} <= {column.name for column in window.args["partition_by"]}


def type_name(column: Column) -> str:
    """The column's type as DuckDB writes it: `STRUCT(audience_key VARCHAR, is_member BOOLEAN)[]`."""
    if column.type is Type.STRUCT:
        spelled = f"STRUCT({', '.join(f'{field.name} {type_name(field)}' for field in column.fields)})"
    else:
        spelled = _TYPES[column.type]
    return f"{spelled}[]" if column.mode is Mode.REPEATED else spelled


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
