"""Query jobs: GoogleSQL scripts, run by DuckDB on the double's tables.

What BigQuery refuses although DuckDB would do it is refused here:
https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax ,
https://cloud.google.com/bigquery/docs/change-data-capture#limitations .
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import duckdb
import sqlglot
from duckdb import DuckDBPyConnection
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tests.bigquery_double import arrow, ddl, duckdb_sql, values
from tests.bigquery_double.relations import Relations, connect, contents, written_by
from tests.bigquery_double.schema import Field
from tests.bigquery_double.tables import Catalog, Contents, Refused, Row, Table

Value = tuple[Field, Any]

_COLOURS = re.compile(r"\x1b\[\d+m")
"""What sqlglot puts around the word that it stumbled over."""


@dataclass(frozen=True)
class Result:
    """What a statement gave: rows for a query, the number of rows that it changed for DML."""

    statement: str
    fields: tuple[Field, ...] = ()
    rows: Sequence[Row] = ()
    affected: int | None = None


@dataclass
class Script:
    """One query job. Raises Refused where BigQuery would refuse it, or this double cannot run it."""

    catalog: Catalog
    project: str
    dataset: str | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict)
    """By name, or by position as `0`, `1` …"""
    look_up: Callable[[Table], None] = lambda _: None
    """Raises Refused for a table that queries do not know yet."""
    _relations: Relations = field(init=False)
    _variables: dict[str, Value] = field(default_factory=dict)
    _before: dict[Table, Contents] | None = None
    """What the tables held that the open transaction has changed."""
    _affected: int = 0

    def __post_init__(self) -> None:
        self._relations = Relations(self.catalog, self.project, self.dataset, self.look_up)

    def run(self, sql: str) -> Result:
        """Runs the statements in order, and returns what the last query or DML statement gave."""
        result = Result("SCRIPT")
        try:
            statements = [each for each in sqlglot.parse(sql, read="bigquery") if each is not None]
            for statement in statements:
                made = self._run(statement)
                if made is not None:
                    result = made
        except Refused:
            self._roll_back()
            raise
        except (SqlglotError, duckdb.Error) as error:
            self._roll_back()
            raise Refused("invalidQuery", _COLOURS.sub("", str(error))) from None
        return result

    def snapshot(self, table: Table, columns: Collection[str], restriction: str) -> Any:
        """These columns (none: all), in the table's order, of the rows that meet the restriction, as an Arrow table."""
        for name in columns:
            table.index(name)
        names = {name.lower() for name in columns}
        fields = [each for each in table.fields if not names or each.name.lower() in names]
        query = exp.select(*(exp.column(each.name, quoted=True) for each in fields)).from_(
            exp.table_(table.name.table, table.name.dataset, table.name.project, quoted=True)
        )
        connection = connect()
        try:
            if restriction:
                query = query.where(sqlglot.parse_one(restriction, read="bigquery"))
            found = connection.sql(self._translated(connection, query)).to_arrow_table()
        except (SqlglotError, duckdb.Error) as error:
            raise Refused("invalid", f"Invalid row restriction: {_COLOURS.sub('', str(error))}") from None
        return found.cast(arrow.schema(fields))

    def _run(self, statement: exp.Expr) -> Result | None:
        if isinstance(statement, exp.Declare):
            self._declare(statement)
        elif isinstance(statement, exp.Set):
            self._set(statement)
        elif isinstance(statement, exp.Transaction):
            self._before = {}
        elif isinstance(statement, exp.Commit):
            self._before = None
        elif isinstance(statement, exp.Rollback):
            self._roll_back()
        elif isinstance(statement, exp.Create):
            self._create(statement)
            return Result(f"CREATE_{statement.kind}")
        elif isinstance(statement, exp.Drop):
            self._drop(statement)
            return Result(f"DROP_{statement.args['kind']}")
        elif isinstance(statement, exp.Alter):
            self._alter(statement)
            return Result("ALTER_TABLE")
        elif isinstance(statement, (exp.Insert, exp.Update, exp.Delete, exp.Merge)):
            return self._change(statement)
        elif isinstance(statement, exp.Query):
            return self._select(statement)
        else:
            raise Refused("notImplemented", f"this double cannot run: {statement.sql('bigquery')}")
        return None

    def _select(self, query: exp.Expr) -> Result:
        connection = connect()
        self._name_columns(query)
        relation = connection.sql(self._translated(connection, query))
        names = [name.lower() for name in relation.columns]
        if len({*names}) < len(names):
            raise Refused("invalidQuery", "Duplicate column names in the result are not supported")
        fields = tuple(values.column(name, type_) for name, type_ in zip(relation.columns, relation.types, strict=True))
        return Result("SELECT", fields, [values.row(row, fields) for row in relation.fetchall()])

    def _name_columns(self, query: exp.Expr) -> None:
        """Gives the columns that have no name those that BigQuery gives: a variable's, else `f0_`, `f1_` …"""
        while isinstance(query, exp.SetOperation):
            query = query.this
        unnamed = count()
        for each in query.expressions if isinstance(query, exp.Select) else ():
            if not each.output_name and not each.is_star:
                each.replace(exp.alias_(each.copy(), f"f{next(unnamed)}_", quoted=True))
            elif isinstance(each, exp.Column) and each.name.lower() in self._variables:
                each.replace(exp.alias_(each.copy(), each.name, quoted=True))

    def _change(self, statement: exp.Expr) -> Result:
        """INSERT, UPDATE, DELETE and MERGE."""
        kind = type(statement).__name__.upper()
        if isinstance(statement, (exp.Update, exp.Delete)) and statement.args.get("where") is None:
            raise Refused("invalidQuery", f"{kind} must have a WHERE clause")
        with self.catalog.lock:
            table = self._relations.find(written_by(statement))
            if table.view is not None:
                raise Refused("invalidQuery", f"DML on view {table.name} is not supported")
            if table.has_changes and kind != "INSERT":
                raise Refused(
                    "invalidQuery",
                    f"{kind} statement over table {table.name} would affect rows in the change data capture stream, "
                    "which is not supported",
                )
            connection = connect()
            there = len(table.rows())
            self._relations.load(connection, table, changed=True)
            (affected,) = connection.execute(self._translated(connection, statement)).fetchall()[0]
            rows = [values.row(row, table.fields) for row in contents(connection, table)]
            _require(table, rows)
            if self._before is not None:
                self._before.setdefault(table, table.contents())
            if kind == "INSERT":
                table.append(rows[there:])
            else:
                table.replace(rows)
        self._affected = int(affected)
        return Result(kind, affected=self._affected)

    def _roll_back(self) -> None:
        for table, before in (self._before or {}).items():
            table.restore(before)
        self._before = None

    def _declare(self, statement: exp.Declare) -> None:
        for item in statement.expressions:
            default = item.args.get("default") or None
            for name in item.this:
                type_ = item.args.get("kind")
                value = self._evaluate(default) if default else None
                if type_:
                    typed = ddl.column(name.name, type_)
                    empty: Any = [] if typed.mode == "REPEATED" else None
                    self._variables[name.name.lower()] = typed, empty if value is None else value[1]
                elif value:
                    self._variables[name.name.lower()] = value

    def _set(self, statement: exp.Set) -> None:
        for item in statement.expressions:
            name = item.this.this.name.lower()
            if name not in self._variables:
                raise Refused("invalidQuery", f"Undeclared variable: {name}")
            self._variables[name] = self._variables[name][0], self._evaluate(item.this.expression)[1]

    def _evaluate(self, expression: exp.Expr) -> Value:
        result = self._select(exp.select(exp.alias_(expression.copy(), "value")))
        return result.fields[0], result.rows[0][0]

    def _create(self, create: exp.Create) -> None:
        named = written_by(create)
        if create.kind == "SCHEMA":
            self._create_dataset(create)
            return
        fields, resource = ddl.table(create)
        query = create.expression
        if create.kind == "VIEW":
            resource["view"] = {"query": query.sql("bigquery"), "useLegacySql": False}
        rows: Sequence[Row] = ()
        if query is not None:
            script = self if create.kind == "TABLE" else Script(self.catalog, self._relations.name(named).project)
            result = script._select(query.copy())
            fields = list(result.fields)
            rows = result.rows if create.kind == "TABLE" else ()
        if create.find(exp.TemporaryProperty):
            self._relations.make_temporary(named.name, tuple(fields)).append(rows)
            return
        with self.catalog.lock:
            target = self._relations.name(named)
            if create.args.get("exists") and target in self.catalog.tables:
                return
            if create.args.get("replace"):
                self.catalog.tables.pop(target, None)
            self.catalog.create_table(target, fields, resource).append(rows)

    def _create_dataset(self, create: exp.Create) -> None:
        parts = [part for each in create.this.parts for part in each.name.split(".")]
        project, dataset = parts if len(parts) == 2 else (self.project, parts[0])
        location = create.find(exp.LocationProperty)
        resource = {"location": location.this.name} if location else {}
        with self.catalog.lock:
            if not (create.args.get("exists") and (project, dataset) in self.catalog.datasets):
                self.catalog.create_dataset(project, dataset, resource)

    def _drop(self, drop: exp.Drop) -> None:
        for each in drop.args["tables"]:
            if not each.db and each.name.lower() in self._relations.temporary:
                del self._relations.temporary[each.name.lower()]
                continue
            with self.catalog.lock:
                name = self._relations.name(each)
                if name in self.catalog.tables:
                    del self.catalog.tables[name]
                elif not drop.args.get("exists"):
                    raise Refused("notFound", f"Not found: Table {name}")

    def _alter(self, alter: exp.Alter) -> None:
        with self.catalog.lock:
            table = self._relations.find(alter.this)
            fields = list(table.fields)
            for action in alter.args["actions"]:
                if isinstance(action, exp.ColumnDef):
                    known = action.name.lower() in {each.name.lower() for each in fields}
                    if known and not action.args.get("exists"):
                        raise Refused("invalidQuery", f"Column already exists: {action.name}")
                    if not known:
                        fields.append(ddl.definition(action))
                elif isinstance(action, exp.AlterSet):
                    table.merge(ddl.options(action))
                else:
                    raise Refused("notImplemented", f"this double cannot run: {alter.sql('bigquery')}")
            table.alter(fields)

    def _translated(self, connection: DuckDBPyConnection, statement: exp.Expr) -> str:
        """The statement in DuckDB's SQL, on relations of this connection."""
        bound = statement.copy()
        self._bind(bound)
        columns = self._relations.place(connection, bound)
        ambiguous = columns & self._variables.keys()
        if ambiguous:
            raise Refused("notImplemented", f"variables that are also columns, which would win: {sorted(ambiguous)}")
        return duckdb_sql.written(bound)

    def _bind(self, statement: exp.Expr) -> None:
        """Puts literals where parameters, variables and `@@row_count` stand."""
        for position, each in enumerate(list(statement.find_all(exp.Placeholder))):
            each.replace(self._literal(str(position)))
        for found in list(statement.find_all(exp.Parameter)):
            if isinstance(found.this, exp.Parameter):
                found.replace(values.literal(self._affected, Field("row_count", "INT64")))
            elif not isinstance(found.parent, exp.Parameter):
                found.replace(self._literal(found.name))
        for name in list(statement.find_all(exp.Column)):
            if not name.table and name.name.lower() in self._variables:
                typed, value = self._variables[name.name.lower()]
                name.replace(values.literal(value, typed))

    def _literal(self, parameter: str) -> exp.Expr:
        if parameter not in self.parameters:
            raise Refused("invalidQuery", f"Query parameter '{parameter}' not found")
        typed, value = self.parameters[parameter]
        return values.literal(value, typed)


def _require(table: Table, rows: Sequence[Row]) -> None:
    """Raises Refused."""
    for index, each in enumerate(table.fields):
        if each.mode == "REQUIRED" and any(row[index] is None for row in rows):
            raise Refused("invalidQuery", f"Required field {each.name} cannot be null")
