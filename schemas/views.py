"""The views, each written once in GoogleSQL in `sql/`, and their DDL for BigQuery and for DuckDB."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from schemas import ddl, tables

if TYPE_CHECKING:
    from sqlglot import exp

_SQL = Path(__file__).with_name("sql")
_INCLUDE = re.compile(r"^( *)-- include (_\w+\.sql)\n", re.MULTILINE)
_TEXTS = {column.name for table in tables.ALL for column in table.columns if column.type is tables.Type.STRING}
_REFERENCE = re.compile(r"\b(FROM|JOIN) (\w+)\b")


class View(NamedTuple):
    """A view: `sql` is a GoogleSQL query on tables and views of its own dataset by their bare names."""

    name: str
    description: str
    sql: str


def googlesql(view: View, dataset: str | None = None) -> str:
    """`CREATE OR REPLACE VIEW`, one statement without the semicolon; `dataset` is `DATASET` or `PROJECT.DATASET`."""
    name = ddl.qualified(view.name, dataset)
    return f"CREATE OR REPLACE VIEW {name}\n{ddl.labelled(view.description)} AS\n{googlesql_query(view, dataset)}"


def googlesql_query(view: View, dataset: str | None = None) -> str:
    """The view's query, on tables and views of the dataset."""
    return _REFERENCE.sub(lambda reference: f"{reference[1]} {ddl.qualified(reference[2], dataset)}", view.sql)


@functools.cache
def duckdb(view: View) -> str:
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
        f'COMMENT ON VIEW "{view.name}" IS {ddl.duckdb_text(view.description)};'
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
    return numbered and table is not None and {*table.key} <= {each.name for each in window.args["partition_by"]}


def _read(name: str) -> View:
    """The view of a file: its leading comment is the description, and each `-- include FILE` stands for the text of a
    file of columns, each with its comma, that several views have."""
    description, sql = _halves(_SQL / f"{name}.sql")
    return View(name, description, _INCLUDE.sub(_included, sql).strip())


def _included(include: re.Match[str]) -> str:
    _, columns = _halves(_SQL / include[2])
    return "".join(f"{include[1]}{line}\n" for line in columns.splitlines())


def _halves(file: Path) -> tuple[str, str]:
    """A file's leading comment, on one line, and the SQL after it."""
    lines = file.read_text("utf-8").splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return " ".join(line[2:].strip() for line in lines[:start]), "".join(lines[start:])


ALL = tuple(
    _read(name)
    for name in (
        "events_unique",
        "identity_calls_unique",
        "events_resolved",
        "contact_accounts",
        "pages",
        "screens",
        "tracks",
        "identifies",
        "aliases",
        "users",
        "groups",
    )
)
"""Every view, after those that it is made from."""
