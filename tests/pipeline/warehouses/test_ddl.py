from __future__ import annotations

import sys
from typing import Annotated

import duckdb
import pytest

from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.duckdb import ddl as duckdb_ddl
from schemas import tables, upgrade
from schemas.tables import Column, Contact, Mode, Row, Table, Type, Write
from tests.schemas import googlesql


class Longer(Contact, frozen=True):
    """Contacts, and one line more."""

    score: Annotated[int | None, "a score, and it's new"] = None


LONGER = Table("contacts", Longer, Write.UPSERT, ("external_id",), "updated_at", cluster_by=("external_id",))


def existing(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    sql = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?"
    return dict(connection.execute(sql, [table]).fetchall())


@pytest.mark.parametrize("table", [*tables.ALL, LONGER], ids=[*tables.BY_NAME, "longer"])
def test_googlesql_takes_a_tables_ddl_and_so_does_bigquerys_engine(table: Table) -> None:
    statement = googlesql.available().create(bigquery_ddl.create_table(table, "a-project.a_dataset"))
    assert list(googlesql.engine_violations(statement)) == []
    assert list(googlesql.inherited(statement, "name_path")) == ["a-project", "a_dataset", table.name]
    assert googlesql.options(statement)["description"] == table.description
    defined = googlesql.inherited(statement, "column_definition_list")
    assert [each.name for each in defined] == [column.name for column in table.columns]
    for each, column in zip(defined, table.columns, strict=True):
        assert googlesql.options(each.annotations)["description"] == column.description
        assert each.annotations.not_null is (column.mode is Mode.REQUIRED)
        assert googlesql.type_name(each.type) == bigquery_ddl.type_name(column)
    key = list(googlesql.inherited(statement, "primary_key").column_name_list)
    assert key == list(table.key if table.write is Write.UPSERT else ())


def test_a_structs_fields_are_described_too() -> None:
    assert "`is_member` BOOL NOT NULL OPTIONS (description = 'whether" in bigquery_ddl.create_table(tables.CONTACTS)


@pytest.mark.parametrize(
    ("table", "clause"),
    [
        (tables.EVENTS, "PARTITION BY TIMESTAMP_TRUNC(`received_at`, DAY)\nCLUSTER BY `type`, `name`\n"),
        (tables.IDENTITY_CALLS, "PARTITION BY TIMESTAMP_TRUNC(`received_at`, DAY)\nCLUSTER BY `type`, `user_id`\n"),
        (tables.DEAD_LETTERS, "PARTITION BY TIMESTAMP_TRUNC(`failed_at`, DAY)\nOPTIONS"),
        (tables.MEMBERSHIPS, "  PRIMARY KEY (`external_id`, `account_id`) NOT ENFORCED\n)\nCLUSTER BY"),
        (tables.CONTACTS, "max_staleness = INTERVAL 15 MINUTE, expiration_timestamp"),
    ],
)
def test_bigquery_lays_a_table_out_as_it_says(table: Table, clause: str) -> None:
    assert clause in bigquery_ddl.create_table(table)


def test_only_keyed_tables_may_be_stale() -> None:
    stale = [table for table in tables.ALL if "max_staleness" in bigquery_ddl.create_table(table)]
    assert stale == list(tables.KEYED)


@pytest.mark.parametrize("table", tables.ALL, ids=tables.BY_NAME)
def test_a_table_says_that_it_does_not_expire_whatever_its_dataset_says(table: Table) -> None:
    options = ["expiration_timestamp = NULL", *["partition_expiration_days = NULL"] * bool(table.partition_by)]
    assert bigquery_ddl.create_table(table).endswith(f", {', '.join(options)})")
    analyzer = googlesql.available()
    analyzer.create(bigquery_ddl.create_table(table, "a-project.a_dataset"))
    statement = bigquery_ddl.keep_table(table, "a-project.a_dataset")
    assert statement.endswith(f" SET OPTIONS ({', '.join(options)})")
    analyzer.analyze(statement)


@pytest.mark.parametrize(
    ("what", "sql"),
    [
        ("an unknown type", "CREATE TABLE t (a VARCHAR2)"),
        ("an unknown option", "CREATE TABLE t (a STRING) OPTIONS (comment = 'a')"),
        ("an option of another type", "CREATE TABLE t (a STRING) OPTIONS (description = 1)"),
        ("an unknown column in a key", "CREATE TABLE t (a STRING, PRIMARY KEY (b) NOT ENFORCED)"),
        ("an unknown table", "CREATE VIEW v AS SELECT * FROM nowhere"),
        ("an unknown column", "CREATE VIEW v AS SELECT a FROM (SELECT 1 AS b)"),
        ("a reserved word for a name", "CREATE VIEW groups AS SELECT 1 AS a"),
    ],
)
def test_the_analyzer_refuses(what: str, sql: str) -> None:
    with pytest.raises(googlesql.InvalidSqlError):
        googlesql.available().create(sql)


@pytest.mark.parametrize(
    ("what", "clauses"),
    [
        ("an enforced key", "(a STRING, PRIMARY KEY (a))"),
        ("a JSON key", "(a JSON, PRIMARY KEY (a) NOT ENFORCED)"),
        ("too many clustering columns", "(a STRING, b STRING, c STRING, d STRING, e STRING) CLUSTER BY a, b, c, d, e"),
        ("clustering by an expression", "(a STRING) CLUSTER BY LOWER(a)"),
        ("partitioning by a text", "(a STRING) PARTITION BY a"),
        ("partitioning by a bare timestamp", "(a TIMESTAMP) PARTITION BY a"),
        ("partitioning twice", "(a TIMESTAMP) PARTITION BY DATE(a), TIMESTAMP_TRUNC(a, DAY)"),
        ("an array that is NOT NULL", "(a ARRAY<STRING> NOT NULL)"),
    ],
)
def test_bigquerys_engine_refuses(what: str, clauses: str) -> None:
    statement = googlesql.available().create(f"CREATE TABLE t {clauses}")
    assert list(googlesql.engine_violations(statement)), what


def test_a_missing_analyzer_fails_on_ci_and_is_skipped_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zetasql", None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="zetasql is not installed"):
        googlesql.available()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="zetasql is not installed"):
        googlesql.available()


@pytest.mark.parametrize("table", [*tables.ALL, LONGER], ids=[*tables.BY_NAME, "longer"])
def test_duckdb_makes_a_table_as_it_says(table: Table) -> None:
    with duckdb.connect() as connection:
        connection.execute(duckdb_ddl.create_table(table))
        connection.execute(duckdb_ddl.create_table(table))
        columns = connection.execute(
            "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() WHERE table_name = ?",
            [table.name],
        ).fetchall()
        comments = connection.execute("SELECT comment FROM duckdb_tables()").fetchall()
        keys = connection.execute(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
        ).fetchall()
    assert columns == [(c.name, duckdb_ddl.type_name(c), c.mode is Mode.NULLABLE, c.description) for c in table.columns]
    assert comments == [(table.description,)]
    assert keys == ([] if table == tables.EVENTS else [(list(table.key),)])


def test_a_column_is_added_by_one_line() -> None:
    lines = [
        "  `score` INT64 OPTIONS (description = 'a score, and it\\'s new'),",
        '  "score" BIGINT,',
        "COMMENT ON COLUMN \"contacts\".\"score\" IS 'a score, and it''s new';",
    ]
    statements = f"{bigquery_ddl.create_table(LONGER)}\n{duckdb_ddl.create_table(LONGER)}".splitlines()
    assert [line for line in statements if "score" in line] == lines


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (None, "`events`"),
        ("sales", "`sales`.`events`"),
        ("my-project.sales", "`my-project`.`sales`.`events`"),
        ("example.com:project.sales", "`example.com:project`.`sales`.`events`"),
    ],
)
def test_a_name_is_qualified_by_its_dataset(dataset: str | None, expected: str) -> None:
    assert bigquery_ddl.qualified("events", dataset) == expected


def test_a_description_may_hold_quotes_and_backslashes() -> None:
    class Odd(Row, frozen=True):
        """It's \\d+ "odd"."""

        key: Annotated[str, "a \\ and a '"]

    table = Table("odd", Odd, Write.UPSERT, ("key",))
    statement = googlesql.available().create(bigquery_ddl.create_table(table))
    assert googlesql.options(statement)["description"] == 'It\'s \\d+ "odd".'
    with duckdb.connect() as connection:
        connection.execute(duckdb_ddl.create_table(table))
        assert connection.execute("SELECT comment FROM duckdb_columns()  WHERE NOT internal").fetchall() == [
            ("a \\ and a '",)
        ]


SPELLINGS = {"bigquery": bigquery_ddl.type_name, "duckdb": duckdb_ddl.type_name}


@pytest.mark.parametrize("dialect", SPELLINGS)
@pytest.mark.parametrize("table", tables.ALL, ids=tables.BY_NAME)
def test_a_table_does_not_differ_from_itself(table: Table, dialect: str) -> None:
    spelled = SPELLINGS[dialect]
    same = {column.name: spelled(column) for column in table.columns}
    assert upgrade.difference(table, same, spelled) == ((), ())


def test_a_type_may_be_written_in_another_way() -> None:
    same = {column.name.upper(): duckdb_ddl.type_name(column).lower() for column in tables.CONTACTS.columns}
    same["AUDIENCES"] = 'struct("audience_key" varchar,is_member boolean,updated_at timestamp with time zone)[]'
    assert upgrade.difference(tables.CONTACTS, same, duckdb_ddl.type_name) == ((), ())


DIFFERENCES: list[tuple[str, dict[str, str], list[str], list[str]]] = [
    ("a missing column", {"external_id": "VARCHAR"}, ["account_id", "since"], []),
    (
        "a column of its own stays",
        {"external_id": "VARCHAR", "account_id": "BIGINT", "since": "JSON", "mine": "INTEGER"},
        [],
        [],
    ),
    (
        "another type",
        {"external_id": "VARCHAR", "account_id": "VARCHAR", "since": "JSON"},
        [],
        ["table t, column account_id: is VARCHAR, which cannot become BIGINT"],
    ),
    (
        "a key that is missing",
        {"account_id": "BIGINT"},
        ["since"],
        ["table t, column external_id: is missing, and a key column cannot be added"],
    ),
    (
        "several",
        {"account_id": "DATE", "since": "DATE"},
        [],
        [
            "table t, column external_id: is missing, and a key column cannot be added",
            "table t, column account_id: is DATE, which cannot become BIGINT",
            "table t, column since: is DATE, which cannot become JSON",
        ],
    ),
]


@pytest.mark.parametrize(
    ("what", "existing", "added", "incompatible"), DIFFERENCES, ids=[case[0] for case in DIFFERENCES]
)
def test_a_table_that_exists_differs(
    what: str, existing: dict[str, str], added: list[str], incompatible: list[str]
) -> None:
    class Sample(Row, frozen=True):
        external_id: Annotated[str, "a"]
        account_id: Annotated[int | None, "b"]
        since: Annotated[tables.Json, "c"]

    table = Table("t", Sample, Write.UPSERT, ("external_id",))
    difference = upgrade.difference(table, existing, duckdb_ddl.type_name)
    assert [column.name for column in difference.added] == added, what
    assert list(difference.incompatible) == incompatible, what


def test_types_are_spelled_as_each_warehouse_writes_them() -> None:
    audiences = tables.CONTACTS.column("audiences")
    assert (
        bigquery_ddl.type_name(audiences) == "ARRAY<STRUCT<audience_key STRING, is_member BOOL, updated_at TIMESTAMP>>"
    )
    assert duckdb_ddl.type_name(audiences) == (
        "STRUCT(audience_key VARCHAR, is_member BOOLEAN, updated_at TIMESTAMP WITH TIME ZONE)[]"
    )
    spelled = {
        type_: duckdb_ddl.type_name(Column("a", type_, Mode.NULLABLE, "")) for type_ in Type if type_ is not Type.STRUCT
    }
    with duckdb.connect() as connection:
        columns = ", ".join(f"c{number} {text}" for number, text in enumerate(spelled.values()))
        connection.execute(f"CREATE TABLE t ({columns})")
        assert list(existing(connection, "t").values()) == list(spelled.values())
