"""The process's hold on a DuckDB file: one connection, and one thread that writes through it."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw

from pipeline.errors import UsageError
from pipeline.warehouses.base import JobRun, LogNotEmptyError
from pipeline.warehouses.clock import now_us
from pipeline.warehouses.duckdb.arrow import misfits
from pipeline.warehouses.duckdb.file import FAILURES, UnusableFileError, connect, create, primary_keys, unusable
from pipeline.warehouses.duckdb.message_ids import MessageIds, first_rows
from pipeline.warehouses.duckdb.sql import CATALOG, literal, new_cursor, quoted, scalar, stream
from schemas.tables import (
    APPENDED,
    DEAD_LETTERS,
    EVENTS,
    IDENTITY_CALLS,
    JOBS,
    KEYED,
    DeadLetter,
    Table,
    Timestamp,
    Type,
)
from transforms.core.rows import Append
from transforms.core.rules_version import RULES_VERSION

_CHECKPOINT: Final = "256MB"
"""So long may the log of changes beside the file become. Each checkpoint writes again what has come since the last full
120,000 rows, 200 MB of usual events."""
_BUFFER_BYTES: Final = 128_000_000
_INDEX_STEP_BYTES: Final = 64_000_000
_KEY_BYTES: Final = 48
_KEY_TEXT_BYTES: Final = 1.6
"""What DuckDB's index of keys has in memory for each key and for each byte of it, at most. It never gives that up; the
rest of DuckDB's memory is bounded as long as messages are read."""
_KEYS_A_LOOK: Final = 1_000
"""So many keys are looked up in the index at once; for a greater share of a table DuckDB scans all of it."""
_LETTERS_BYTES: Final = 16_000_000
"""So many bytes of dead letters are read at once, and one more."""
_COPIED_BYTES: Final = 1 << 20
_UNSUPPORTED: Final = (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)
"""What the system answers where it does not copy between two file systems by itself."""
_STAGED_CATALOG: Final = "staged"
_STAGED: Final = f"{_STAGED_CATALOG}.main"
"""Where the rows of a bounded job wait, in memory; by its full name, since a file may have a schema of that name."""
_NOT_THERE: Final = (duckdb.CatalogException, duckdb.ConnectionException, duckdb.InvalidInputException)
"""What DuckDB raises for tables that are not made yet, and where the file is closed: before a query, or before its rows
are fetched."""
_REFUSALS: Final = (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)
"""What DuckDB raises for a value that a column cannot hold."""


class FileFailedError(RuntimeError):
    """What a step of the job raises when the file fails it: `Database.failure` says why."""

    _tagged_with_step = True
    """Beam then does not print where it was raised: it is no bug of the step's."""


@dataclass(frozen=True, kw_only=True)
class Inserted:
    """What became of a batch: how many rows are new; why rows cannot be stored, by their index; and the indexes of rows
    that are not stored since the log holds another call under their key."""

    written: int
    refused: Mapping[int, str]
    conflicting: frozenset[int] = frozenset()


class RowsRefusedError(Exception):
    """DuckDB cannot hold a row, in its words."""


class Database:
    """The process's one connection to a file, and the one thread that writes through it."""

    _open: Final[dict[str, Database]] = {}
    _lock: Final = threading.Lock()

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self._path = path
        self._connection = connect(path, read_only=read_only)
        self._copied: int | None = None
        self._copied_at = -1
        self._changes = 0
        self._bundles = 0
        self._has_checkpoint = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="duckdb-writer")
        self._failure: UnusableFileError | None = None
        self._message_ids = MessageIds(self._connection)
        self._has_index: Collection[str] = ()
        self._indexed = 0.0
        self._most = scalar(self._connection, "SELECT current_setting('memory_limit')")
        self._limit = self._most
        self._unbounded = False

    @classmethod
    def of(cls, path: str, *, read_only: bool = False) -> Database:
        """The database of a file, opened where this process has not yet. Raises UsageError where it cannot be."""
        with cls._lock:
            if path not in cls._open:
                try:
                    cls._open[path] = cls(path, read_only=read_only)
                except UnusableFileError as error:
                    raise UsageError(error.problem, error.remedy, option="--warehouse", value=path) from None
            return cls._open[path]

    @classmethod
    def is_open(cls, path: str) -> bool:
        """Whether this process has the file open."""
        with cls._lock:
            return path in cls._open

    @classmethod
    def row_counts(cls, path: str, tables: Sequence[str]) -> list[int]:
        """How many rows the tables of a file have that this process has open; none where it has not, or they are not
        made yet. DuckDB opens a file once in a process."""
        with cls._lock:
            database = cls._open.get(path)
        if database is None:
            return []
        cursor = new_cursor(database._connection)
        try:
            return [int(scalar(cursor, f"SELECT count(*) FROM {quoted(name)}")) for name in tables]
        except (*_NOT_THERE, *FAILURES):  # of which the job itself tells the last
            return []

    @classmethod
    def query(cls, path: str, query: str) -> list[dict[str, Any]]:
        """The rows that a query gives of a file that this process has open, by column; none where it has not, or the
        tables are not made yet."""
        with cls._lock:
            database = cls._open.get(path)
        if database is None:
            return []
        try:
            cursor = new_cursor(database._connection).execute(query)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
        except _NOT_THERE:
            return []

    @classmethod
    def failure(cls, path: str) -> UnusableFileError | None:
        """Why the open file could be used no longer, or None."""
        with cls._lock:
            database = cls._open.get(path)
        return None if database is None else database._failure

    @classmethod
    def close(cls, path: str) -> None:
        with cls._lock:
            database = cls._open.pop(path, None)
        if database is not None:
            database._writer.shutdown()
            database._connection.close()
            if database._copied is not None:
                os.close(database._copied)

    def run(self, write: Any, *arguments: Any) -> Future[Any]:
        """Queues a write for the writing thread."""
        return self._writer.submit(self._changing, write, *arguments)

    def open_bundle(self, job: JobRun) -> None:
        """Tells the writing thread that a bundle of a bounded job begins, whose rows are appended."""
        if job.bounded:
            self._writer.submit(self._open_bundle)

    def close_bundle(self, job: JobRun) -> None:
        """Tells it that they are in. When no such bundle is left, the job goes on to its ids, and the writing thread
        has nothing to do: it then writes away the log of changes, once, which the job's end would wait for."""
        if job.bounded:
            self._writer.submit(self._close_bundle)

    def _open_bundle(self) -> None:
        self._bundles += 1

    def _close_bundle(self) -> None:
        self._bundles -= 1
        if not self._bundles and not self._has_checkpoint:
            self._has_checkpoint = True
            self._noted(self._checkpoint)

    def _checkpoint(self) -> None:
        self._connection.execute(f"CHECKPOINT {CATALOG}")

    def copy(self, path: str) -> Future[bool]:
        """Queues a copy of the whole file, as it is between two writes, into another, for the writing thread. It gives
        False, and copies nothing, where nothing was written since the last one. Raises OSError."""
        return self._writer.submit(self._noted, self._copy, path)

    def _copy(self, path: str) -> bool:
        if self._copied_at == self._changes:
            return False
        self._checkpoint()  # the file then holds all, and nothing changes it meanwhile
        if self._copied is None:
            self._copied = os.open(self._path, os.O_RDONLY)  # until the end: to close it would give up DuckDB's lock
        copy_bytes(self._copied, path)
        self._copied_at = self._changes
        return True

    def _changing(self, write: Any, *arguments: Any) -> Any:
        self._changes += 1
        return self._noted(write, *arguments)

    def _noted(self, write: Any, *arguments: Any) -> Any:
        with self._noting():
            if not self._unbounded:
                with suppress(duckdb.OutOfMemoryException):
                    return write(*arguments)
                self._unbound()
            return write(*arguments)

    def _unbound(self) -> None:
        """Gives DuckDB all the memory that it would take by itself: for rows of many megabytes, which are rare. What it
        could not write is then written again."""
        self._message_ids.forget()
        self._connection.execute("CHECKPOINT")
        self._allow(self._most)
        self._unbounded = True

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Keeps the first failure of the file, which those that follow do not tell. Raises FileFailedError."""
        try:
            yield
        except FAILURES as error:
            self._message_ids.forget()
            self._failure = self._failure or unusable(error)
            raise FileFailedError(str(error)) from error

    def start(
        self, *, bounded: bool, runner: str, options: str, history: bool, account_mappings: str | None = None
    ) -> JobRun:
        """Makes what is missing, and enters the job. Raises UsageError where the log must not be left out."""
        db = self._connection
        db.execute(f"SET TimeZone = 'UTC'; SET checkpoint_threshold = '{_CHECKPOINT}'; SET threads = 1")
        create(db)
        db.execute("CREATE SCHEMA IF NOT EXISTS internal")
        db.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {_STAGED_CATALOG}")
        for table in KEYED:
            key = ", ".join(f"{quoted(name)} VARCHAR" for name in table.key)
            names = ", ".join(map(quoted, table.key))
            db.execute(
                f"CREATE TABLE IF NOT EXISTS internal.{table.name} ({key}, version BIGINT[], PRIMARY KEY ({names}))"
            )
            db.execute(
                f"CREATE OR REPLACE TABLE {_STAGED}.{table.name} AS SELECT *, NULL::BIGINT[] AS version,"
                f" FALSE AS removed FROM main.{table.name} LIMIT 0"
            )
        self._has_index = primary_keys(db)
        self._measure_indexes()
        self._fit_buffer()
        log_until = self.log_until()
        if not history and log_until is not None:
            raise LogNotEmptyError("leave the option out, or name a new file")
        now = now_us()
        generation = max(now, (scalar(db, f"SELECT max(generation) FROM {JOBS.name}") or 0) + 1)
        db.execute(
            f"INSERT INTO {JOBS.name} (generation, started_at, runner, options, history_done, rules_version,"
            " account_mappings) VALUES (?, make_timestamptz(?), ?, ?, FALSE, ?, ?)",
            [generation, now, runner, options, RULES_VERSION, account_mappings],
        )
        return JobRun(generation, Timestamp(now), log_until, bounded)

    def end(self, job: JobRun) -> None:
        self._connection.execute(
            f"UPDATE {JOBS.name} SET ended_at = make_timestamptz(?) WHERE generation = ?", [now_us(), job.generation]
        )

    def log_until(self) -> Timestamp | None:
        """The greatest `written_at` in the log, None where it is empty."""
        until = scalar(self._connection, f"SELECT epoch_us(max(written_at)) FROM {IDENTITY_CALLS.name}")
        return None if until is None else Timestamp(until)

    def log(self, until: Timestamp) -> Iterator[tuple[str, str]]:
        """(payload, connection) of each call that the log held, streamed."""
        query = f"SELECT payload, connection FROM {IDENTITY_CALLS.name} WHERE written_at <= make_timestamptz($until)"
        with self._noting():
            yield from stream(self._connection, query, {"until": until})

    def dead_letters(self, reasons: Sequence[str] | None) -> Iterator[DeadLetter]:
        """The dead letters of these reasons, or of all, that the table holds now. It is read in pieces, since each may
        have the bytes of a whole message."""
        with self._noting():
            for piece in self._pieces(reasons):
                yield from self._dead_letters(piece)

    def _pieces(self, reasons: Sequence[str] | None) -> Iterator[list[str]]:
        """The ids of dead letters, as many together as may be in memory at once."""
        kept = "TRUE" if reasons is None else f"reason IN ({', '.join(map(literal, reasons))})"
        size_of = "octet_length(payload) + strlen(coalesce(inherited, ''))"
        ids = new_cursor(self._connection).execute(
            f"SELECT dead_letter_id, {size_of} AS bytes FROM {DEAD_LETTERS.name} WHERE {kept}"
        )
        piece: list[str] = []
        size = 0
        for batch in ids.to_arrow_table().to_batches():
            for id, length in zip(batch["dead_letter_id"], batch["bytes"], strict=True):
                piece.append(id.as_py())
                size += length.as_py()
                if len(piece) == _KEYS_A_LOOK or size >= _LETTERS_BYTES:
                    yield piece
                    piece, size = [], 0
        if piece:
            yield piece

    def _dead_letters(self, ids: Sequence[str]) -> Iterator[DeadLetter]:
        columns = ", ".join(
            f"epoch_us({quoted(column.name)})" if column.type is Type.TIMESTAMP else quoted(column.name)
            for column in DEAD_LETTERS.columns
        )
        names = [column.name for column in DEAD_LETTERS.columns]
        query = f"SELECT {columns} FROM {DEAD_LETTERS.name} WHERE dead_letter_id IN ({', '.join(map(literal, ids))})"
        for values in stream(self._connection, query):
            row = dict(zip(names, values, strict=True))
            yield DeadLetter(**{**row, "attributes": Raw(row["attributes"].encode())})

    def replace(
        self, inserted: Sequence[tuple[Table, pa.Table]], dead_letter_ids: Sequence[str]
    ) -> list[Sequence[int]]:
        """In one transaction: inserts rows whose keys are new, and removes dead letters. Returns which rows of each
        batch were new. Raises RowsRefusedError, with nothing changed, where DuckDB cannot hold a row."""
        self._allow(self._most)  # the changes of one transaction are held in memory
        cursor = new_cursor(self._connection)
        cursor.begin()
        new_rows = []
        new_ids: set[bytes] = set()
        try:
            for table, batch in inserted:
                new_rows.append(self._insert_new(cursor, table, batch, new_ids))
        except _REFUSALS as error:
            cursor.rollback()
            raise RowsRefusedError(str(error).partition("\n")[0]) from None
        for start in range(0, len(dead_letter_ids), _KEYS_A_LOOK):
            ids = ", ".join(map(literal, dead_letter_ids[start : start + _KEYS_A_LOOK]))
            cursor.execute(f"DELETE FROM {DEAD_LETTERS.name} WHERE dead_letter_id IN ({ids})")
        cursor.commit()
        self._message_ids.add(new_ids)
        for (table, batch), new in zip(inserted, new_rows, strict=True):
            self._grow_index(table, batch, len(new))
        self._fit_buffer()
        return new_rows

    def refusal(self, table: Table, batch: pa.Table) -> str | None:
        """Why DuckDB cannot hold a batch's one row; None where it can. Nothing is stored."""
        cursor = new_cursor(self._connection)
        cursor.begin()
        try:
            self._insert_new(cursor, table, batch, set())
        except _REFUSALS as error:
            return str(error).partition("\n")[0]
        finally:
            cursor.rollback()
        return None

    def append(self, table: Table, appends: Sequence[Append], batch: pa.Table) -> Inserted:
        """Inserts rows whose keys are new. The batch is made by the thread that gathered it: this one then hardly needs
        Python's lock, and runs beside it."""
        refused = dict(misfits(table, appends, batch))
        fitting = [index for index in range(len(appends)) if index not in refused] if refused else range(len(appends))
        new = self._insert(table, batch, fitting, refused)
        self._grow_index(table, batch, len(new))
        self._fit_buffer()
        repeated = len(appends) - len(refused) - len(new)
        conflicting = self.conflicting(batch, refused, new) if table == IDENTITY_CALLS and repeated else frozenset()
        return Inserted(written=len(new), refused=refused, conflicting=conflicting)

    def _insert(self, table: Table, batch: pa.Table, rows: Sequence[int], refused: dict[int, str]) -> set[int]:
        """Inserts these rows of the batch, and returns which were new. One that DuckDB refuses is searched for by
        halves, so that it costs the others nothing."""
        if not rows:
            return set()
        cursor = new_cursor(self._connection)
        new_ids: set[bytes] = set()
        try:
            fitting = batch if len(rows) == batch.num_rows else batch.take(list(rows))
            new = self._insert_new(cursor, table, fitting, new_ids)
            self._message_ids.add(new_ids)
            return {rows[index] for index in new}
        except _REFUSALS as error:
            if len(rows) == 1:
                refused[rows[0]] = str(error).partition("\n")[0]
                return set()
        half = len(rows) // 2
        return self._insert(table, batch, rows[:half], refused) | self._insert(table, batch, rows[half:], refused)

    def _insert_new(
        self, cursor: duckdb.DuckDBPyConnection, table: Table, batch: pa.Table, new_ids: set[bytes]
    ) -> Sequence[int]:
        """Inserts the rows of a batch whose keys are new, and returns which those are. `new_ids` has the message ids of
        events that the open transaction has inserted, by their digests; those of this batch are added."""
        columns = ", ".join(quoted(column.name) for column in table.columns)
        cursor.register("batch", batch)
        if table != EVENTS:
            (key,) = table.key
            insert = f"INSERT OR IGNORE INTO {table.name} ({columns}) SELECT {columns} FROM batch"
            inserted = cursor.execute(f"{insert} RETURNING {quoted(key)}").to_arrow_table()[key].to_pylist()
            first = first_rows(batch[key].to_pylist())
            return [first[key] for key in inserted]
        new = self._message_ids.new(cursor, new_ids)
        if not new:
            return []
        rows = sorted(new.values())
        if len(rows) < batch.num_rows:
            cursor.register("batch", batch.take(rows))
        cursor.execute(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM batch")
        new_ids.update(new)
        return rows

    def conflicting(self, batch: pa.Table, refused: Mapping[int, str], new: Collection[int]) -> frozenset[int]:
        """The calls of a batch, by their index, of which the log holds another content under their message_id. `new`
        are those that were not there: of calls that have one message_id, one at most."""
        all_ids = batch["message_id"].to_pylist()
        ids = [*{id for index, id in enumerate(all_ids) if index not in new and index not in refused}]
        logged: dict[str, tuple[str, str]] = {}
        for start in range(0, len(ids), _KEYS_A_LOOK):
            keys = ", ".join(map(literal, ids[start : start + _KEYS_A_LOOK]))  # constants, which its index is used for
            query = f"SELECT message_id, payload, connection FROM {IDENTITY_CALLS.name} WHERE message_id IN ({keys})"
            logged |= {id: (payload, connection) for id, payload, connection in stream(self._connection, query)}
        indexes = [index for index, id in enumerate(all_ids) if id in logged and index not in refused]
        contents = batch.select(["message_id", "payload", "connection"]).take(indexes).to_pydict().values()
        return frozenset(
            index for index, id, *content in zip(indexes, *contents, strict=True) if [*logged[id]] != content
        )

    def stage(self, table: Table, batch: pa.Table) -> int:
        """Takes rows and tombstones of a bounded job, which wait for `publish`. Returns 0, the rows shown."""
        cursor = new_cursor(self._connection)
        cursor.register("batch", batch)
        cursor.execute(f"INSERT INTO {_STAGED}.{table.name} BY NAME SELECT * FROM batch")
        return 0

    def upsert(self, table: Table, batch: pa.Table) -> int:
        """Shows rows and tombstones, one of each key, where they are newer than all that the table has held. Returns
        the rows shown."""
        cursor = new_cursor(self._connection)
        cursor.begin()
        before = self._keys(cursor, table)
        shown = _show(cursor, table, batch)
        self._indexed += 2 * _index_bytes(batch, table.key, self._keys(cursor, table) - before)
        cursor.commit()
        self._fit_buffer()
        return shown

    def _keys(self, cursor: duckdb.DuckDBPyConnection, table: Table) -> int:
        """How many keys the table has ever had, but for those that `publish` has removed."""
        return int(scalar(cursor, f"SELECT count(*) FROM internal.{table.name}"))

    def publish(self, job: JobRun) -> dict[str, int]:
        """In one transaction: shows what was staged, removes what no job since this one started has written, and enters
        that the history is through. Returns the rows shown, by table."""
        self._allow(self._most)  # the changes of one transaction are held in memory
        cursor = new_cursor(self._connection)
        cursor.begin()
        shown = {}
        for table in KEYED:
            shown[table.name] = _show_staged(cursor, table) if job.bounded else 0
            same_key = " AND ".join(f"v.{quoted(name)} = t.{quoted(name)}" for name in table.key)
            cursor.execute(
                f"DELETE FROM {table.name} t WHERE NOT EXISTS"
                f" (SELECT 1 FROM internal.{table.name} v WHERE {same_key} AND v.version[1] >= ?)",
                [job.generation],
            )
            cursor.execute(f"DELETE FROM internal.{table.name} WHERE version[1] < ?", [job.generation])
        cursor.execute(f"UPDATE {JOBS.name} SET history_done = TRUE WHERE generation = ?", [job.generation])
        cursor.commit()
        for table in KEYED:
            cursor.execute(f"TRUNCATE {_STAGED}.{table.name}")
        self._measure_indexes()
        self._fit_buffer()
        return shown

    def _grow_index(self, table: Table, batch: pa.Table, added: int) -> None:
        """Adds what the table's index needs for so many keys of the batch."""
        if table.name in self._has_index:
            self._indexed += _index_bytes(batch, table.key, added)

    def _measure_indexes(self) -> None:
        """Estimates what the indexes need. A keyed table has two: its own, and that of its versions."""
        self._indexed = 0.0
        for table in (*APPENDED, *KEYED):
            if table.name not in self._has_index:
                continue
            name, indexes = (f"internal.{table.name}", 2) if table in KEYED else (table.name, 1)
            text = " + ".join(f"strlen({quoted(column)})" for column in table.key)
            needed = f"count(*) * {_KEY_BYTES} + coalesce(sum({text}), 0) * {_KEY_TEXT_BYTES}"
            self._indexed += indexes * float(scalar(self._connection, f"SELECT {needed} FROM {name}"))

    def _fit_buffer(self) -> None:
        """Lets DuckDB's memory grow with the keys that it must hold, and with nothing else, unless rows need more."""
        if self._unbounded:
            return
        steps = int(self._indexed / _INDEX_STEP_BYTES) + 1
        self._allow(f"{_BUFFER_BYTES + steps * _INDEX_STEP_BYTES}B")

    def _allow(self, limit: str) -> None:
        """Bounds DuckDB's memory."""
        if limit != self._limit:
            self._limit = limit
            self._connection.execute(f"SET memory_limit = '{limit}'")  # RESET would not reach its buffers


def copy_bytes(source: int, path: str) -> None:
    """Copies an open file into another, readable by those who can read the first. Raises OSError. On file systems that
    can, both then share their blocks."""
    status = os.fstat(source)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.fchmod(target, status.st_mode & 0o777)
        at = _copied_by_system(source, target, status.st_size)
        while piece := os.pread(source, min(_COPIED_BYTES, status.st_size - at), at):
            at += os.pwrite(target, piece, at)
    finally:
        os.close(target)


def _copied_by_system(source: int, target: int, size: int) -> int:
    """Copies what the system can copy by itself; returns how many bytes those are."""
    at = 0
    if sys.platform != "linux":
        return at
    try:
        while at < size and (copied := os.copy_file_range(source, target, size - at, at, at)):
            at += copied
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return at


def _show(cursor: duckdb.DuckDBPyConnection, table: Table, batch: pa.Table) -> int:
    """Shows what of a batch, which has each key once, is newer than all that the table has held; returns the rows. Keys
    are looked up in the index; only rows that go, which are few, are found by a scan of their keys."""
    keys = ", ".join(map(quoted, table.key))
    columns = ", ".join(quoted(column.name) for column in table.columns)
    cursor.register("batch", batch)
    newer = cursor.execute(
        f"INSERT INTO internal.{table.name} AS held SELECT {keys}, version FROM batch"
        f" ON CONFLICT DO UPDATE SET version = excluded.version WHERE excluded.version > held.version RETURNING {keys}"
    ).to_arrow_table()
    source = "batch"
    if newer.num_rows < batch.num_rows:
        cursor.register("newer", newer)
        source = f"batch SEMI JOIN newer USING ({keys})"
    if pc.any(batch["removed"]).as_py():
        cursor.execute(f"DELETE FROM {table.name} WHERE ({keys}) IN (SELECT ({keys}) FROM {source} WHERE removed)")
    query = f"INSERT OR REPLACE INTO {table.name} ({columns}) SELECT {columns} FROM {source} WHERE NOT removed"
    return int(scalar(cursor, query))


def _show_staged(cursor: duckdb.DuckDBPyConnection, table: Table) -> int:
    """The same of all that a bounded job has staged, which may be most of the table."""
    keys = ", ".join(map(quoted, table.key))
    columns = ", ".join(quoted(column.name) for column in table.columns)
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE newer AS SELECT s.* FROM {_STAGED}.{table.name} s"
        f" LEFT JOIN internal.{table.name} v USING ({keys}) WHERE v.version IS NULL OR s.version > v.version"
        f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY s.version DESC) = 1"
    )
    same_key = " AND ".join(f"n.{quoted(name)} = t.{quoted(name)}" for name in table.key)
    cursor.execute(f"DELETE FROM {table.name} t USING newer n WHERE n.removed AND {same_key}")
    shown = scalar(
        cursor, f"INSERT OR REPLACE INTO {table.name} ({columns}) SELECT {columns} FROM newer WHERE NOT removed"
    )
    cursor.execute(f"INSERT OR REPLACE INTO internal.{table.name} SELECT {keys}, version FROM newer")
    cursor.execute("DROP TABLE newer")
    return int(shown)


def _index_bytes(batch: pa.Table, key: Sequence[str], added: int) -> float:
    """What an index needs for so many keys of the batch."""
    if not added:
        return 0.0
    text = sum(pc.mean(pc.binary_length(batch[name])).as_py() for name in key)
    return added * (_KEY_BYTES + text * _KEY_TEXT_BYTES)
