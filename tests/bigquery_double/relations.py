"""The tables and views that a statement names, put before DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import duckdb
import sqlglot
from duckdb import DuckDBPyConnection
from sqlglot import exp

from tests.bigquery_double import duckdb_sql, json_values
from tests.bigquery_double.schema import Field
from tests.bigquery_double.tables import Catalog, Refused, Row, Table, TableName


@dataclass
class Relations:
    """What names mean in a project, with a default dataset or without, beside temporary tables."""

    catalog: Catalog
    project: str
    dataset: str | None = None
    look_up: Callable[[Table], None] = lambda _: None
    """Raises Refused for a table that queries do not know yet."""
    temporary: dict[str, Table] = field(default_factory=dict)

    def name(self, named: exp.Table) -> TableName:
        """The whole name. Raises Refused for one without a dataset."""
        dataset = named.db or self.dataset
        if not dataset:
            raise Refused(
                "invalidQuery", f'Table "{named.name}" must be qualified with a dataset (e.g. dataset.table).'
            )
        return TableName(named.catalog or self.project, dataset, named.name)

    def find(self, named: exp.Table) -> Table:
        """Raises Refused."""
        if not named.db and named.name.lower() in self.temporary:
            return self.temporary[named.name.lower()]
        found = self.catalog.table(self.name(named))
        self.look_up(found)
        return found

    def make_temporary(self, name: str, fields: tuple[Field, ...]) -> Table:
        made = self.temporary[name.lower()] = Table(TableName(self.project, "_SESSION", name), fields, {}, created=0)
        return made

    def place(self, connection: DuckDBPyConnection, statement: exp.Expr) -> set[str]:
        """Makes the tables of the statement known to DuckDB, and names them as they are known there. Returns the names
        of their columns. Raises Refused."""
        bare = written_by(statement) if isinstance(statement, exp.Insert) else None  # DuckDB takes no alias there
        columns: set[str] = set()
        for each in list(_named(statement)):
            table = self.find(each)
            columns |= {column.name.lower() for column in table.fields}
            self.load(connection, table)
            _place(each, table.name, keeps_name=each is not bare)
        return columns

    def load(self, connection: DuckDBPyConnection, table: Table, *, changed: bool = False) -> None:
        """Makes the table known to DuckDB by its name, or with `changed` a copy of it. Raises Refused."""
        if _is_loaded(connection, table):
            return
        name = str(table.name)
        if table.view is not None:
            named, query = view(table.view, table.name.project)
            for each in named:
                found = self.catalog.table(each)
                self.look_up(found)
                self.load(connection, found)
            connection.execute(f"CREATE VIEW {quoted(name)} AS {query}")
            return
        connection.register(f"{name} rows", self.catalog.seen(table, stale=not changed))
        texts = ", ".join(
            f"CAST({quoted(each.name)} AS JSON{'[]' if each.mode == 'REPEATED' else ''}) AS {quoted(each.name)}"
            for each in table.fields
            if each.type == "JSON"
        )
        kind = "TABLE" if changed else "VIEW"
        chosen = f"* REPLACE ({texts})" if texts else "*"
        connection.execute(f"CREATE {kind} {quoted(name)} AS SELECT {chosen} FROM {quoted(f'{name} rows')}")


@lru_cache(maxsize=500)
def view(query: str, project: str) -> tuple[tuple[TableName, ...], str]:
    """The tables and views that a view of the project names, and its query for DuckDB. Raises sqlglot's errors, and
    Refused."""
    statement = sqlglot.parse_one(query, read="bigquery")
    relations = Relations(Catalog(), project)
    named = []
    for each in list(_named(statement)):
        named.append(relations.name(each))
        _place(each, named[-1])
    return tuple(named), duckdb_sql.written(statement)


def _named(statement: exp.Expr) -> Iterator[exp.Table]:
    """Where the statement names a table or view, which no expression of its own is."""
    expressions = {each.alias.lower() for each in statement.find_all(exp.CTE)}
    for each in statement.find_all(exp.Table):
        if isinstance(each.this, exp.Identifier) and (each.db or each.name.lower() not in expressions):
            yield each


def _place(named: exp.Table, name: TableName, *, keeps_name: bool = True) -> None:
    """Names a table as DuckDB knows it; what the statement calls it stays."""
    placed = exp.Table(this=exp.to_identifier(str(name), quoted=True), alias=named.args.get("alias"))
    if not named.alias and keeps_name:
        placed.set("alias", exp.TableAlias(this=exp.to_identifier(named.name, quoted=True)))
    named.replace(placed)


def written_by(statement: exp.Expr) -> exp.Table:
    """The table that an INSERT, UPDATE, DELETE, MERGE or CREATE writes to."""
    written = statement.this
    return written.this if isinstance(written, exp.Schema) else written


def contents(connection: DuckDBPyConnection, table: Table) -> list[Row]:
    """The rows of the copy of a table, as DuckDB gives them."""
    names = ", ".join(quoted(each.name) for each in table.fields)
    return connection.execute(f"SELECT {names} FROM {quoted(str(table.name))}").fetchall()


def connect() -> DuckDBPyConnection:
    """A DuckDB of its own, empty."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    connection.create_function(duckdb_sql.PARSE_EXACTLY, json_values.parse_exactly, ["VARCHAR"], "VARCHAR")
    return connection


def _is_loaded(connection: DuckDBPyConnection, table: Table) -> bool:
    known = "SELECT view_name FROM duckdb_views() UNION ALL SELECT table_name FROM duckdb_tables()"
    return (str(table.name),) in connection.execute(known).fetchall()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
