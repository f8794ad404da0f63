from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from duckdb import DuckDBPyConnection

from pipeline.warehouses.duckdb import ddl as duckdb_ddl
from pipeline.warehouses.duckdb.file import UnusableFileError, check_content, connect, create, path
from pipeline.warehouses.duckdb.sql import new_cursor
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


def unusable(file: Path, *, read_only: bool = False) -> str:
    """The line about a file that cannot be opened."""
    with pytest.raises(UnusableFileError) as refused:
        connect(str(file), read_only=read_only)
    line = str(refused.value)
    assert "\n" not in line
    return line


REFUSED = {
    "missing/a.duckdb": "there is no folder {folder}/missing; make it, or name a file in another one",
    "text.csv/a.duckdb": "there is no folder {folder}/text.csv; make it, or name a file in another one",
    ".": "is a folder; name a file in it",
    "fifo": "is a pipe, a socket or a device; name a file",
    "device": "is a pipe, a socket or a device; name a file",
    "loop": "cannot be opened: Too many levels of symbolic links; name another file",
    "x" * 300: "cannot be opened: File name too long; name another file",
    "\udcff.duckdb": "has a name that is not UTF-8, which DuckDB cannot open; name another file",
    ":memory:": "would be gone when the job ends; name a file",
    ":memory:a": "would be gone when the job ends; name a file",
    **dict.fromkeys(
        ("text.csv", "calls.json", "calls.jsonl", "calls.parquet", "a.db", "short"),
        "is not a DuckDB file; name another file, or one that does not exist yet",
    ),
}


@pytest.fixture
def refused_files(tmp_path: Path) -> Path:
    """A folder of what is no warehouse."""
    for name, content in {
        "text.csv": b"a,b\n" * 10_000,
        "calls.json": b'[{"a": 1}]',
        "calls.jsonl": b'{"a": 1}\n{"a": 2}\n',
        "calls.parquet": b"PAR1" + bytes(10_000),
        "a.db": b"SQLite format 3\0" + bytes(10_000),
        "short": b"a",
    }.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("read_only", [True, False], ids=["to read", "to write"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_warehouse_is_refused_and_stays(name: str, read_only: bool, refused_files: Path) -> None:
    file = refused_files / name
    before = {path: path.read_bytes() for path in refused_files.iterdir() if path.is_file()}
    names = set(refused_files.iterdir())
    assert unusable(file, read_only=read_only) == REFUSED[name].format(folder=refused_files)
    with pytest.raises(UnusableFileError) as refused:
        check_content(os.path.abspath(file))
    assert str(refused.value) == REFUSED[name].format(folder=refused_files)
    assert {path: path.read_bytes() for path in refused_files.iterdir() if path.is_file()} == before
    assert set(refused_files.iterdir()) == names


def test_no_connection_loads_an_extension_by_itself(tmp_path: Path) -> None:
    connect(str(tmp_path / "a.duckdb")).close()
    for read_only in (False, True):
        with connect(str(tmp_path / "a.duckdb"), read_only=read_only) as connection:
            for setting in ("autoinstall_known_extensions", "autoload_known_extensions"):
                assert connection.execute(f"SELECT current_setting('{setting}')").fetchone() == (False,)


# ---- names ----

NAMES = [
    *("staged", "internal", "information_schema", "main", "temp", "system", "pg_catalog", "memory", "warehouse"),
    *("a.b", """a 'b"ü""", "select", "-x", "Staged"),
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_file_means_anything(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.duckdb"
    with connect(str(file)) as connection:
        create(connection)
        connection.execute("CREATE SCHEMA internal; CREATE TABLE internal.a AS SELECT 1 AS b")
        new_cursor(connection).execute("INSERT INTO identities VALUES ('a', 'b', NULL)")
    with connect(str(file), read_only=True) as connection:
        assert connection.execute("FROM internal.a").fetchall() == [(1,)]
        assert new_cursor(connection).execute("FROM identities").fetchall() == [("a", "b", None)]
        assert new_cursor(connection).execute("FROM events_resolved").fetchall() == []
    with connect(str(file)) as connection:
        assert create(connection) == ()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


CRASHED = """
import os, sys, duckdb
from pipeline.warehouses.duckdb.file import connect, create
connection = {connect}(sys.argv[1])
create(connection)
connection.execute("INSERT INTO identities VALUES ('a', 'b', NULL)")
connection.execute("CREATE SCHEMA internal; CREATE TABLE internal.a (b INTEGER)")
os._exit(0)
"""


@pytest.mark.parametrize(
    "by", ["connect", "duckdb.connect"], ids=["by this version", "by a client, or an older version"]
)
def test_what_a_killed_process_committed_is_there_whatever_the_catalog_was_called(by: str, tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    subprocess.run([sys.executable, "-c", CRASHED.format(connect=by), str(file)], check=True)
    assert (tmp_path / "a.duckdb.wal").stat().st_size
    with connect(str(file), read_only=True) as connection:
        assert connection.execute("FROM identities").fetchall() == [("a", "b", None)]
    with connect(str(file)) as connection:
        assert connection.execute("FROM identities").fetchall() == [("a", "b", None)]
        assert connection.execute("FROM internal.a").fetchall() == []
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("FROM events_resolved").fetchall() == []


# ---- left when it was being made, or damaged ----


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A file and its log, of a process that was killed when it had made the tables."""
    file = tmp_path_factory.mktemp("new") / "a.duckdb"
    subprocess.run([sys.executable, "-c", CRASHED.format(connect="connect"), str(file)], check=True)
    return file.read_bytes(), file.with_name("a.duckdb.wal").read_bytes()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of many blocks, some of which are free."""
    file = tmp_path_factory.mktemp("filled") / "a.duckdb"
    with connect(str(file)) as connection:
        create(connection)
        connection.execute("CREATE TABLE free AS SELECT hash(range) AS a FROM range(200000); CHECKPOINT")
        connection.execute("INSERT INTO identities SELECT hash(range), range, now() FROM range(50000); CHECKPOINT")
        connection.execute("CREATE TABLE other AS SELECT hash(range) AS a FROM range(200000); CHECKPOINT")
        connection.execute("DROP TABLE free; CHECKPOINT")
    return file.read_bytes()


@pytest.mark.parametrize("length", [0, 12, 4095, 4096, 8191, 8192, 12287, 12288])
def test_a_file_left_when_it_was_being_made_is_made_anew(
    length: int, new: tuple[bytes, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a.duckdb"
    file.write_bytes(new[0][:length])
    if length < len(new[0]):
        unusable(file, read_only=True)
        assert file.read_bytes() == new[0][:length], "who reads makes nothing"
    with connect(str(file)) as connection:
        assert len(create(connection)) == len(tables.ALL)
    with connect(str(file)) as connection:
        assert create(connection) == ()
    assert len(caplog.records) == (0 < length < 12288)


@pytest.mark.parametrize("length", [4096, 12288])
def test_a_file_whose_bytes_never_reached_the_disk_is_made_anew(length: int, tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    file.write_bytes(bytes(length))
    connect(str(file)).close()
    assert file.read_bytes()[8:12] == b"DUCK"


def test_the_log_of_a_file_that_is_gone_is_no_hindrance(tmp_path: Path, new: tuple[bytes, bytes]) -> None:
    file = tmp_path / "a.duckdb"
    file.with_name("a.duckdb.wal").write_bytes(new[1])
    for content in (None, b""):
        if content is not None:
            file.write_bytes(content)
        with connect(str(file)) as connection:
            assert len(create(connection)) == len(tables.ALL)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 1])
def test_a_log_that_was_being_written_is_no_hindrance(share: float, new: tuple[bytes, bytes], tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    file.write_bytes(new[0])
    file.with_name("a.duckdb.wal").write_bytes(new[1][: int(len(new[1]) * share)])
    with connect(str(file)) as connection:
        create(connection)
        assert connection.execute("FROM users").fetchall() == []


def test_a_file_that_another_process_is_making_is_left_to_it(tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    holder = f"import fcntl; f = open({str(file)!r}, 'wb'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as making:
        assert making.stdout is not None
        assert making.stdout.readline()
        inode = file.stat().st_ino
        assert "is in use by another process" in unusable(file)
        assert file.stat().st_ino == inode
        making.communicate("\n")


@pytest.mark.parametrize("read_only", [True, False], ids=["to read", "to write"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, -1])
def test_a_file_that_lost_its_end_is_refused_and_stays(
    share: float, read_only: bool, filled: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "a.duckdb"
    content = filled[: int(len(filled) * share)] if share > 0 else filled[:-1]
    file.write_bytes(content)
    assert unusable(file, read_only=read_only).startswith("is damaged: ")
    assert file.read_bytes() == content
    file.write_bytes(filled)
    connect(str(file), read_only=read_only).close()


@pytest.mark.parametrize("length", [4136, 8192, 12288, 12289])
def test_a_file_of_which_headers_alone_are_left_is_refused(length: int, filled: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    file.write_bytes(filled[:length])
    assert unusable(file).startswith("is damaged: ")
    assert file.read_bytes() == filled[:length]


def test_a_header_whose_log_is_there_is_refused(new: tuple[bytes, bytes], tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    file.write_bytes(new[0][:4096])
    file.with_name("a.duckdb.wal").write_bytes(new[1])
    assert unusable(file).startswith("is damaged: ")
    assert file.with_name("a.duckdb.wal").read_bytes() == new[1]


@pytest.mark.parametrize("place", [0, 20, 4100, 8200])
def test_a_file_with_a_damaged_header_is_refused_and_stays(place: int, filled: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    damaged = bytearray(filled)
    damaged[place : place + 4] = bytes(byte ^ 255 for byte in damaged[place : place + 4])
    damaged[4100 if place == 8200 else 8200] ^= 255  # of two headers, one will do
    file.write_bytes(damaged)
    assert unusable(file).startswith("is damaged: ")
    assert file.read_bytes() == damaged


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
        assert str(refused.value) == f"is in use by another process (PID {holder.pid}); close it, or wait until it ends"
        holder.communicate("\n")
    connect(str(file)).close()


def test_a_file_that_this_process_has_is_refused(tmp_path: Path) -> None:
    with connect(str(tmp_path / "a.duckdb")):
        assert unusable(tmp_path / "a.duckdb") == "is in use by this process; close it, or wait until it ends"
