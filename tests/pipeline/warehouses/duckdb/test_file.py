from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from duckdb import DuckDBPyConnection

from pipeline.warehouses.duckdb import ddl as duckdb_ddl
from pipeline.warehouses.duckdb.file import UnusableFileError, connect, create, path
from schemas import tables, views
from schemas.upgrade import IncompatibleSchemaError


@pytest.fixture
def connection() -> Iterator[DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def catalog(connection: DuckDBPyConnection) -> list[tuple[object, ...]]:
    """Every table, view and column with its type and comment."""
    return connection.execute(
        """
        SELECT table_name, column_name, data_type, is_nullable, comment
        FROM duckdb_columns() WHERE NOT internal
        UNION ALL SELECT table_name, '', '', false, comment FROM duckdb_tables()
        UNION ALL SELECT view_name, sql, '', false, comment FROM duckdb_views() WHERE NOT internal
        ORDER BY ALL
        """
    ).fetchall()


def columns(connection: DuckDBPyConnection, name: str) -> list[str]:
    return [row[0] for row in connection.execute(f'DESCRIBE "{name}"').fetchall()]


def test_a_new_warehouse_has_every_table_and_view(connection: DuckDBPyConnection) -> None:
    assert create(connection) == tuple(f"table {table.name}" for table in tables.ALL)
    for table in tables.ALL:
        assert columns(connection, table.name) == [column.name for column in table.columns]
    for view in views.ALL:
        assert connection.execute(f'FROM "{view.name}"').fetchall() == []


def test_creating_again_changes_nothing(connection: DuckDBPyConnection) -> None:
    create(connection)
    connection.execute("INSERT INTO identities VALUES ('a', 'b', NULL)")
    before = catalog(connection)
    assert create(connection) == ()
    assert catalog(connection) == before
    assert connection.execute("FROM identities").fetchall() == [("a", "b", None)]


def test_an_older_warehouse_is_upgraded_with_its_rows(connection: DuckDBPyConnection) -> None:
    create(connection)
    new = catalog(connection)
    for name in ("events_resolved", "users", "contact_accounts"):
        connection.execute(f"DROP VIEW {name}")
    connection.execute(
        """
        ALTER TABLE identities DROP COLUMN updated_at;
        INSERT INTO identities VALUES ('anon', 'ann');
        DROP TABLE memberships;
        CREATE OR REPLACE VIEW pages AS SELECT 1 AS older;
        COMMENT ON TABLE events IS 'older';
        COMMENT ON COLUMN events.name IS 'older';
        """
    )
    assert create(connection) == ("column identities.updated_at", "table memberships")
    assert catalog(connection) == new
    assert connection.execute("FROM identities").fetchall() == [("anon", "ann", None)]


def test_an_added_column_is_nullable_whatever_a_new_table_has(connection: DuckDBPyConnection) -> None:
    create(connection)
    connection.execute("ALTER TABLE jobs DROP COLUMN runner")
    connection.execute("INSERT INTO jobs (generation, started_at, options, history_done) VALUES (1, now(), '', false)")
    assert create(connection) == ("column jobs.runner",)
    assert connection.execute("SELECT generation, runner FROM jobs").fetchall() == [(1, None)]


def test_what_is_not_ours_stays(connection: DuckDBPyConnection) -> None:
    create(connection)
    connection.execute("ALTER TABLE contacts ADD COLUMN mine INTEGER; CREATE TABLE mine (a INTEGER)")
    connection.execute("CREATE VIEW my_pages AS FROM pages; CREATE SCHEMA other; CREATE TABLE other.pages (a INTEGER)")
    connection.execute("CREATE TEMP TABLE users (a INTEGER)")
    assert create(connection) == ()
    assert columns(connection, "contacts")[-1] == "mine"
    assert connection.execute("FROM my_pages").fetchall() == connection.execute("FROM mine").fetchall() == []


INCOMPATIBLE = [
    (
        "a column of another type",
        "ALTER TABLE accounts DROP COLUMN employees; ALTER TABLE accounts ADD COLUMN employees VARCHAR",
        ["table accounts, column employees: is VARCHAR, which cannot become BIGINT"],
    ),
    (
        "a struct with other fields",
        "ALTER TABLE contacts DROP COLUMN audiences; ALTER TABLE contacts ADD COLUMN audiences STRUCT(a VARCHAR)[]",
        [
            "table contacts, column audiences: is STRUCT(a VARCHAR)[], which cannot become"
            f" {duckdb_ddl.type_name(tables.CONTACTS.column('audiences'))}"
        ],
    ),
    (
        "a table of the same name that is somebody else's",
        "DROP TABLE jobs; CREATE TABLE jobs (id INTEGER PRIMARY KEY, runner DATE)",
        [
            "table jobs, column generation: is missing, and a key column cannot be added",
            "table jobs, column runner: is DATE, which cannot become VARCHAR",
            "table jobs: its primary key is id, which cannot become generation",
        ],
    ),
    (
        "a table without its key",
        "CREATE TABLE copy AS FROM memberships; DROP TABLE memberships; ALTER TABLE copy RENAME TO Memberships",
        ["table memberships: its primary key is none, which cannot become external_id, account_id"],
    ),
    (
        "a view for a table",
        "DROP TABLE jobs; CREATE VIEW jobs AS SELECT 1 AS a",
        ["table jobs: there is a view of that name"],
    ),
    (
        "a table for a view",
        "DROP VIEW pages; CREATE TABLE pages (a INTEGER)",
        ["view pages: there is a table of that name"],
    ),
]


@pytest.mark.parametrize(("what", "change", "lines"), INCOMPATIBLE, ids=[case[0] for case in INCOMPATIBLE])
def test_an_incompatible_warehouse_is_refused_and_left_as_it_was(
    connection: DuckDBPyConnection, what: str, change: str, lines: list[str]
) -> None:
    create(connection)
    connection.execute("ALTER TABLE identities DROP COLUMN updated_at")
    connection.execute(change)
    before = catalog(connection)
    with pytest.raises(IncompatibleSchemaError) as refused:
        create(connection)
    assert list(refused.value.lines) == lines, what
    assert catalog(connection) == before


def test_a_failed_upgrade_is_undone(connection: DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    create(connection)
    connection.execute("ALTER TABLE identities DROP COLUMN updated_at")
    before = catalog(connection)
    monkeypatch.setattr(views, "ALL", (*views.ALL, views.View("broken", "", "SELECT * FROM nowhere")))
    with pytest.raises(duckdb.CatalogException, match="nowhere"):
        create(connection)
    assert catalog(connection) == before


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("duckdb:///relative.duckdb", "relative.duckdb"),
        ("duckdb:///a folder/b.duckdb", "a folder/b.duckdb"),
        ("duckdb:////absolute/a.duckdb", "/absolute/a.duckdb"),
        ("duckdb:///", None),
        ("duckdb://relative.duckdb", None),
        ("duckdb:relative.duckdb", None),
        ("relative.duckdb", None),
        ("sqlite:///relative.db", None),
        ("", None),
    ],
)
def test_a_url_names_a_file(url: str, file: str | None) -> None:
    assert path(url) == file


def test_a_file_is_made_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with connect("a.duckdb") as connection:
        create(connection)
    with duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as connection:
        assert connection.execute("FROM events_resolved").fetchall() == []


def test_no_name_means_anything_but_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    connect(":memory:").close()
    assert (tmp_path / ":memory:").is_file()


def test_a_file_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("a,b\n" * 10_000)
    cases = {
        "missing/a.duckdb": f"there is no folder {tmp_path}/missing; make it, or name a file in another one",
        "text/a.duckdb": f"there is no folder {tmp_path}/text; make it, or name a file in another one",
        ".": f"{tmp_path} is a folder; name a file in it",
        "text": f"{tmp_path}/text is not a DuckDB file; name another file, or one that does not exist yet",
        "empty": f"{tmp_path}/empty is not a DuckDB file; name another file, or one that does not exist yet",
    }
    for name, message in cases.items():
        with pytest.raises(UnusableFileError) as refused:
            connect(str(tmp_path / name))
        assert str(refused.value) == message


def test_a_file_that_another_process_has_is_named_with_the_process(tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(file)!r}); print('open', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(UnusableFileError) as refused:
            connect(str(file))
        assert str(refused.value) == (
            f"{file} is in use by another process (PID {holder.pid}); close it, or wait until it ends"
        )
        holder.communicate("\n")
    connect(str(file)).close()
