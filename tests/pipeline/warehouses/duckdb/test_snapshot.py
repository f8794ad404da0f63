"""Copies of a DuckDB file that this process has open: whole, of one moment, and without giving up its lock."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipeline.__main__ import main
from pipeline.errors import UsageError
from pipeline.report.__main__ import main as report
from pipeline.warehouses.duckdb import database as database_module
from pipeline.warehouses.duckdb.database import Database
from pipeline.warehouses.duckdb.snapshot import SnapshotFile

ROOT = Path(__file__).parents[4]
SAMPLE = ROOT / "examples" / "events.jsonl"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    """The database of `w.duckdb`, in which the tables `a` and `b` always get a row together."""
    path = str(tmp_path / "w.duckdb")
    database = Database.of(path)
    database.run(database._connection.execute, "CREATE TABLE a (id INTEGER); CREATE TABLE b (id INTEGER)").result()
    yield database
    Database.close(path)


def write(database: Database, id: int) -> None:
    def both() -> None:
        cursor = database._connection.cursor().execute("USE warehouse.main")
        cursor.begin()
        for table in ("a", "b"):
            cursor.execute(f"INSERT INTO {table} VALUES ({id})")
        cursor.commit()

    database.run(both)


def counts(path: Path) -> tuple[int, int]:
    """The rows of both tables, read by another process, as anybody would."""
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(*(c.sql(f'FROM {t}').shape[0] for t in 'ab'))"  # noqa: E501
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    a, b = map(int, ran.stdout.split())
    return a, b


def is_locked(path: Path) -> bool:
    """Whether another process can open the file."""
    code = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    return "Conflicting lock" in ran.stderr


def test_another_process_reads_the_copy_and_the_lock_stays(opened: Database, tmp_path: Path) -> None:
    snapshot = SnapshotFile(str(tmp_path / "w.duckdb"), str(tmp_path / "s.duckdb"))
    for id in (1, 2):
        write(opened, id)
        assert snapshot.renew()
        assert counts(tmp_path / "s.duckdb") == (id, id)
        assert is_locked(tmp_path / "w.duckdb")
    assert not snapshot.renew(), "nothing was written since"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.duckdb", "w.duckdb"]


def test_a_copy_is_of_one_moment_between_two_transactions(opened: Database, tmp_path: Path) -> None:
    target = tmp_path / "s.duckdb"
    snapshot = SnapshotFile(str(tmp_path / "w.duckdb"), str(target))

    def write_all() -> None:
        for id in range(400):
            write(opened, id)

    writing = threading.Thread(target=write_all)
    writing.start()
    seen: list[int] = []
    while writing.is_alive() or not seen:
        snapshot.renew()
        with duckdb.connect(str(target), read_only=True) as copy:
            a, b = (len(copy.execute(f"FROM {table}").fetchall()) for table in ("a", "b"))
        assert a == b
        seen.append(a)
    writing.join()
    snapshot.renew()
    assert counts(target) == (400, 400)
    assert seen == sorted(seen)


def test_a_reader_of_the_warehouse_is_not_disturbed(opened: Database, tmp_path: Path) -> None:
    opened.run(opened._connection.execute, "INSERT INTO a FROM range(100000)").result()
    reading = opened._connection.cursor().execute("FROM warehouse.main.a")
    rows = len(reading.fetchmany(1000))
    assert SnapshotFile(str(tmp_path / "w.duckdb"), str(tmp_path / "s.duckdb")).renew()
    while more := reading.fetchmany(1000):
        rows += len(more)
    assert rows == 100_000


def test_who_reads_the_last_copy_keeps_it(opened: Database, tmp_path: Path) -> None:
    target = tmp_path / "s.duckdb"
    snapshot = SnapshotFile(str(tmp_path / "w.duckdb"), str(target))
    snapshot.renew()
    with duckdb.connect(str(target), read_only=True) as copy:
        write(opened, 1)
        snapshot.renew()
        assert copy.execute("FROM a").fetchall() == []
    assert counts(target) == (1, 1)


def test_what_somebody_wrote_into_the_last_copy_does_not_harm_the_next(opened: Database, tmp_path: Path) -> None:
    target = tmp_path / "s.duckdb"
    snapshot = SnapshotFile(str(tmp_path / "w.duckdb"), str(target))
    snapshot.renew()
    code = "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute('INSERT INTO a VALUES (9)'); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(target)], check=True)
    assert (tmp_path / "s.duckdb.wal").exists()
    write(opened, 1)
    snapshot.renew()
    assert counts(target) == (1, 1)


def test_where_the_system_does_not_copy_by_itself_the_process_does(
    opened: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "copy_file_range", refused, raising=False)
    monkeypatch.setattr(database_module, "_COPIED_BYTES", 1000)
    write(opened, 1)
    SnapshotFile(str(tmp_path / "w.duckdb"), str(tmp_path / "s.duckdb")).renew()
    assert counts(tmp_path / "s.duckdb") == (1, 1)


def test_who_may_read_the_warehouse_may_read_the_copy_and_nobody_else(opened: Database, tmp_path: Path) -> None:
    for mode in (0o600, 0o664):
        os.chmod(tmp_path / "w.duckdb", mode)
        write(opened, 1)
        SnapshotFile(str(tmp_path / "w.duckdb"), str(tmp_path / "s.duckdb")).renew()
        assert (tmp_path / "s.duckdb").stat().st_mode & 0o777 == mode


def test_a_full_disk_leaves_the_copy_before(opened: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "s.duckdb"
    snapshot = SnapshotFile(str(tmp_path / "w.duckdb"), str(target))
    snapshot.renew()

    def full(source: int, path: str) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(opened, 1)
    with monkeypatch.context() as patch:
        patch.setattr(database_module, "copy_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            snapshot.renew()
    assert counts(target) == (0, 0)
    assert not (tmp_path / "s.duckdb.part").exists()
    assert snapshot.renew(), "what could not be copied is still new"
    assert counts(target) == (1, 1)
    assert Database.failure(str(tmp_path / "w.duckdb")) is None


def test_killed_in_the_middle_no_half_copy_has_the_name(tmp_path: Path) -> None:
    killed = f"""
import os, sys
from pipeline.__main__ import main
from pipeline.warehouses.duckdb import database, snapshot
copied = []
def half(source, path):
    if copied:
        os.write(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), os.pread(source, 100_000, 0))
        os._exit(9)
    copied.append(whole(source, path))
whole, database.copy_bytes = database.copy_bytes, half
main(["--input={SAMPLE}", "--warehouse=duckdb:///w.duckdb", "--snapshot=s.duckdb"])
"""
    ended = subprocess.run([sys.executable, "-c", killed], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ended.returncode == 9
    assert (tmp_path / "s.duckdb.part").exists()
    with duckdb.connect(str(tmp_path / "s.duckdb"), read_only=True) as copy:
        assert copy.execute("FROM contacts").fetchall() == []
    command = [sys.executable, "-m", "pipeline", f"--input={SAMPLE}", "--warehouse=duckdb:///w.duckdb"]
    subprocess.run([*command, "--snapshot=s.duckdb"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert not (tmp_path / "s.duckdb.part").exists()
    with duckdb.connect(str(tmp_path / "s.duckdb"), read_only=True) as copy:
        assert len(copy.execute("FROM contacts").fetchall()) > 100


def test_a_job_ends_with_a_copy_of_all_that_it_wrote_on_which_the_report_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([f"--input={SAMPLE}", "--warehouse=duckdb:///w.duckdb", "--snapshot=s.duckdb"]) == 0
    tables = ("events", "identity_calls", "contacts", "jobs", "events_resolved")
    rows = []
    for file in ("w.duckdb", "s.duckdb"):
        with duckdb.connect(file, read_only=True) as connection:
            rows.append([connection.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in tables])
    assert rows[0] == rows[1]
    assert rows[0][3][0][2] is not None, "the job has ended in it"
    capsys.readouterr()
    assert report(["--warehouse=duckdb:///s.duckdb", "--output=r.html"]) == 0


@pytest.mark.parametrize(
    ("what", "path", "line"),
    [
        ("the warehouse", "w.duckdb", "--snapshot=w.duckdb: is the warehouse itself; name another file"),
        ("its log", "w.duckdb.wal", "--snapshot=w.duckdb.wal: is the warehouse itself; name another file"),
        ("a link to it", "link.duckdb", "--snapshot=link.duckdb: is the warehouse itself; name another file"),
        ("no folder", "none/s.duckdb", "none; make it, or name a file in another one"),
        ("a folder", "folder", "--snapshot=folder: is a folder; name a file in it"),
        (
            "another file",
            "notes.txt",
            "--snapshot=notes.txt: is not a DuckDB file; name another file, or one that does",
        ),
    ],
)
def test_a_place_where_no_copy_can_be_is_refused(
    what: str, path: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("notes " * 1000)
    with duckdb.connect("w.duckdb") as warehouse:
        warehouse.execute("CREATE TABLE a (id INTEGER)")
    os.link("w.duckdb", "link.duckdb")
    with pytest.raises(UsageError) as refused:
        SnapshotFile(str(tmp_path / "w.duckdb"), path)
    assert line in str(refused.value)
    assert (tmp_path / "notes.txt").read_text() == "notes " * 1000


def test_a_name_whose_unfinished_copy_would_be_the_warehouse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the warehouse itself"):
        SnapshotFile(str(tmp_path / "w.part"), str(tmp_path / "w"))
