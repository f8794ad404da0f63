"""A file that is rewritten holds what it held, and nothing of what was removed from it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from unittest import mock

import duckdb
import pytest

from pipeline.errors import UsageError
from pipeline.warehouses import open_warehouse
from pipeline.warehouses.duckdb.file import connect, create
from pipeline.warehouses.duckdb.rewrite import rewrite

SECRET = "something that is long enough to find"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A warehouse with objects of its user, from which a secret was removed."""
    path = tmp_path / 'it"s mine.duckdb'
    with connect(str(path)) as connection:
        create(connection)
        connection.execute("CREATE SCHEMA mine; CREATE TABLE mine.notes(id INTEGER PRIMARY KEY, text VARCHAR NOT NULL)")
        connection.execute(
            "CREATE VIEW mine.shown AS SELECT text FROM mine.notes; COMMENT ON VIEW mine.shown IS 'notes'"
        )
        connection.execute("INSERT INTO mine.notes VALUES (1, ?), (2, 'kept')", [SECRET])
        connection.execute("CHECKPOINT")
        connection.execute("DELETE FROM mine.notes WHERE id = 1")
        connection.execute("CHECKPOINT")
    assert SECRET.encode() in path.read_bytes(), "DuckDB clears free blocks by itself"
    os.chmod(path, 0o640)
    return path


def objects(file: Path) -> object:
    with duckdb.connect(str(file), read_only=True) as connection:
        return [
            connection.execute(query).fetchall()
            for query in (
                "SELECT schema_name, table_name, comment, has_primary_key FROM duckdb_tables() ORDER BY ALL",
                "SELECT schema_name, view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
                "SELECT table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns()"
                " WHERE NOT internal ORDER BY ALL",
                "SELECT * FROM mine.shown",
                "SELECT tags FROM duckdb_databases() WHERE database_name = current_database()",
            )
        ]


def test_it_holds_what_it_held_and_nothing_that_was_removed(file: Path) -> None:
    before = objects(file)
    with connect(str(file)) as connection:
        rewrite(connection, str(file))
    assert objects(file) == before
    assert SECRET.encode() not in file.read_bytes()
    assert os.listdir(file.parent) == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_link_stays_one(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.duckdb"
    link.symlink_to(file)
    with connect(str(link)) as connection:
        rewrite(connection, str(link))
    assert link.is_symlink()
    assert SECRET.encode() not in file.read_bytes()


def test_a_copy_that_was_left_is_made_anew(file: Path) -> None:
    for left in (f"{file}.rewritten", f"{file}.rewritten.wal"):
        Path(left).write_text("what a process that died has left")
    with connect(str(file)) as connection:
        rewrite(connection, str(file))
    assert os.listdir(file.parent) == [file.name]


def test_a_file_that_cannot_be_rewritten_is_as_it_was(file: Path) -> None:
    warehouse = open_warehouse(f"duckdb:///{file}")
    with connect(str(file)) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS internal")
    before = objects(file)
    full = mock.patch.object(os, "replace", side_effect=OSError(28, "No space left on device"))
    with full, pytest.raises(UsageError, match="No space left on device; make room"):
        warehouse.erase_removed()
    assert objects(file) == before
    assert os.listdir(file.parent) == [file.name]
