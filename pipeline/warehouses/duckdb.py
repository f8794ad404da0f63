"""A local DuckDB file as the warehouse.

One process has the file, one thread of it writes. Rows of `events`, `identity_calls` and `dead_letters` are inserted in
batches and are durable when their bundle ends; keys are the file's own, so a row that comes again is not stored again.
Keyed rows of a bounded job are gathered beside the file and shown in one transaction at its end.
"""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Final

import apache_beam as beam
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue
from msgspec import Raw
from msgspec.structs import astuple, replace

import schemas.duckdb
import schemas.purge
from pipeline.errors import UsageError
from pipeline.progress import TALLY
from pipeline.warehouses.base import Contents, JobRun, Purged
from schemas.ddl import IncompatibleSchemaError
from schemas.segment import ALIAS, IDENTIFY
from schemas.tables import (
    APPENDED,
    BY_NAME,
    DEAD_LETTERS,
    IDENTITY_CALLS,
    JOBS,
    KEYED,
    Column,
    Mode,
    Row,
    Table,
    Timestamp,
    Type,
)
from transforms import metrics, windows
from transforms.core.dead_letters import Reason
from transforms.core.reader import Received
from transforms.core.rows import Append, Upsert

_BATCH_ROWS: Final = 4_000
_BATCH_BYTES: Final = 16_000_000
_BATCHES_AHEAD: Final = 3
"""How many batches may wait for the writing thread: memory is bounded, and a checkpoint stops nobody."""
_STREAMED_ROWS: Final = 2_000
_CHECKPOINT: Final = "96MB"
_BUFFER_BYTES: Final = 128_000_000
_INDEX_STEP_BYTES: Final = 64_000_000
_KEY_BYTES: Final = 48
_KEY_TEXT_BYTES: Final = 1.6
"""What DuckDB's index of keys has in memory for each key and for each byte of it, at most. It never gives that up; the
rest of DuckDB's memory is bounded as long as messages are read."""
_SUSPECT_NUMBER: Final = r"[0-9][eE]\+?[0-9]{3}|[0-9]{200}"
"""Finds every JSON number that may be beyond FLOAT64, and little else."""


@dataclass(frozen=True)
class DuckDbWarehouse:
    """The warehouse in a DuckDB file, by its absolute path."""

    enforces_keys: ClassVar[bool] = True

    file: str

    @classmethod
    def of(cls, url: str) -> DuckDbWarehouse:
        """The warehouse of `duckdb:///relative` or `duckdb:////absolute`."""
        path = schemas.duckdb.path(url)
        if path is None:
            raise UsageError(
                "that is no DuckDB URL",
                "give duckdb:///relative.duckdb or duckdb:////absolute.duckdb",
                option="--warehouse",
                value=url,
            )
        return cls(os.path.abspath(path))

    def start(self, *, bounded: bool, runner: str, options: str, history: bool) -> JobRun:
        database = _Database.of(self.file)
        try:
            return database.start(bounded=bounded, runner=runner, options=options, history=history)
        except IncompatibleSchemaError as error:
            raise UsageError(
                "; ".join(error.lines), "name another file", option="--warehouse", value=self.file
            ) from None

    def read_log(self, job: JobRun) -> beam.PTransform:
        return _ReadLog(self.file, job)

    def append(self, table: Table, job: JobRun) -> beam.PTransform:
        return beam.ParDo(_AppendFn(self.file, table.name, job))

    def upsert(self, table: Table, job: JobRun) -> beam.PTransform:
        return beam.ParDo(_UpsertFn(self.file, table.name, job))

    def publish(self, job: JobRun) -> beam.PTransform:
        return _Publish(self.file, job)

    def finish(self, job: JobRun) -> None:
        database = _Database.of(self.file)
        database.run(database.end, job).result()

    def close(self) -> None:
        _Database.close(self.file)

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        with self._opened(read_only=True) as connection:
            yield _Contents(connection)

    def purge(self, id: str) -> Purged:
        with self._opened() as connection:
            cursor = connection.cursor()
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.begin()
            for statement in schemas.purge.duckdb():
                cursor.execute(statement, {"id": id} if "$id" in statement else None)
            found = cursor.fetchall()
            cursor.commit()
            cursor.execute("CHECKPOINT")  # what was removed leaves the log file, too
            return Purged.of(found)

    def open_command(self) -> str:
        return f"duckdb {os.path.relpath(self.file)}"

    @contextmanager
    def _opened(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, which a job has written. Raises UsageError where it is none."""
        remedy = "name the file that a job has written, or run the job on it first"
        if not read_only and not os.path.exists(self.file):  # it would be made
            raise UsageError(f"there is no file {self.file}", remedy, option="--warehouse", value=self.file)
        try:
            connection = schemas.duckdb.connect(self.file, read_only=read_only)
        except schemas.duckdb.UnusableFileError as error:
            raise UsageError(error.problem, error.remedy, option="--warehouse", value=self.file) from None
        with connection:
            contents = _Contents(connection)
            try:
                for table in (*APPENDED, *KEYED, JOBS):
                    next(contents.rows(table), None)
            except (duckdb.BinderException, duckdb.CatalogException) as error:
                problem = f"is no warehouse of this version: {str(error).partition(chr(10))[0]}"
                raise UsageError(problem, remedy, option="--warehouse", value=self.file) from None
            yield connection


@dataclass
class _Appended:
    """What became of a batch: how many rows are new, and the rows that cannot be stored, with the reason."""

    written: int
    refused: list[tuple[Append, str]]


class _Database:
    """The process's one connection to a file, and the one thread that writes through it."""

    _open: Final[dict[str, _Database]] = {}
    _lock: Final = threading.Lock()

    def __init__(self, file: str) -> None:
        self._connection = schemas.duckdb.connect(file)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="duckdb-writer")
        self._indexed = 0.0
        self._most = _one(self._connection, "SELECT current_setting('memory_limit')")
        self._limit = self._most

    @classmethod
    def of(cls, file: str) -> _Database:
        """The database of a file, opened where this process has not yet. Raises UsageError where it cannot be."""
        with cls._lock:
            if file not in cls._open:
                try:
                    cls._open[file] = cls(file)
                except schemas.duckdb.UnusableFileError as error:
                    raise UsageError(error.problem, error.remedy, option="--warehouse", value=file) from None
            return cls._open[file]

    @classmethod
    def close(cls, file: str) -> None:
        with cls._lock:
            database = cls._open.pop(file, None)
        if database is not None:
            database._writer.shutdown()
            database._connection.close()

    def run(self, write: Any, *arguments: Any) -> Future[Any]:
        """Queues a write for the writing thread."""
        return self._writer.submit(write, *arguments)

    def start(self, *, bounded: bool, runner: str, options: str, history: bool) -> JobRun:
        db = self._connection
        db.execute(f"SET TimeZone = 'UTC'; SET checkpoint_threshold = '{_CHECKPOINT}'; SET threads = 1")
        schemas.duckdb.create(db)
        db.execute("CREATE SCHEMA IF NOT EXISTS internal")
        db.execute("ATTACH IF NOT EXISTS ':memory:' AS staged")
        for table in KEYED:
            key = ", ".join(f"{_quoted(name)} VARCHAR" for name in table.key)
            names = ", ".join(map(_quoted, table.key))
            db.execute(
                f"CREATE TABLE IF NOT EXISTS internal.{table.name} ({key}, version BIGINT[], PRIMARY KEY ({names}))"
            )
            db.execute(
                f"CREATE OR REPLACE TABLE staged.{table.name} AS SELECT *, NULL::BIGINT[] AS version, FALSE AS removed"
                f" FROM main.{table.name} LIMIT 0"
            )
        self._measure_indexes()
        self._fit_buffer()
        log_until = _one(db, f"SELECT epoch_us(max(written_at)) FROM {IDENTITY_CALLS.name}")
        if not history and log_until is not None:
            raise UsageError(
                "the log of earlier jobs is not empty, and tables made without it would be wrong",
                "leave the option out, or name a new file",
                option="--history",
                value="none",
            )
        now = _now()
        generation = max(now, (_one(db, f"SELECT max(generation) FROM {JOBS.name}") or 0) + 1)
        db.execute(
            f"INSERT INTO {JOBS.name} (generation, started_at, runner, options, history_done)"
            " VALUES (?, make_timestamptz(?), ?, ?, FALSE)",
            [generation, now, runner, options],
        )
        return JobRun(generation, Timestamp(now), None if log_until is None else Timestamp(log_until), bounded)

    def end(self, job: JobRun) -> None:
        self._connection.execute(
            f"UPDATE {JOBS.name} SET ended_at = make_timestamptz(?) WHERE generation = ?", [_now(), job.generation]
        )

    def log(self, until: Timestamp) -> Iterator[tuple[str, str]]:
        """(payload, connection) of each call that the log held, streamed."""
        query = f"SELECT payload, connection FROM {IDENTITY_CALLS.name} WHERE written_at <= make_timestamptz($until)"
        return _stream(self._connection, query, {"until": until})

    def append(self, table: Table, appends: list[Append], batch: pa.Table) -> _Appended:
        """Inserts rows whose keys are new. The batch is made by the thread that gathered it: this one then hardly needs
        Python's lock, and runs beside it."""
        refused = _refused(table, appends, batch)
        if refused:
            bad = {id(append) for append, _ in refused}
            batch = batch.filter(pa.array([id(append) not in bad for append in appends]))
        cursor = self._connection.cursor()
        cursor.register("batch", batch)
        columns = ", ".join(_quoted(column.name) for column in table.columns)
        written = _one(cursor, f"INSERT OR IGNORE INTO {table.name} ({columns}) SELECT {columns} FROM batch")
        self._indexed += _index_bytes(batch, table.key, written)
        self._fit_buffer()
        return _Appended(written, refused)

    def upsert(self, table: Table, upserts: list[Upsert], job: JobRun) -> int:
        """Takes rows and tombstones: a bounded job's wait for `publish`, others are shown at once. Returns the rows
        shown."""
        batch = _keyed_batch(table, upserts, job)
        cursor = self._connection.cursor()
        cursor.register("batch", batch)
        if job.bounded:
            cursor.execute(f"INSERT INTO staged.{table.name} BY NAME SELECT * FROM batch")
            return 0
        cursor.begin()
        before = _one(cursor, f"SELECT count(*) FROM internal.{table.name}")
        shown = _merge(cursor, table, "batch")
        added = _one(cursor, f"SELECT count(*) FROM internal.{table.name}") - before
        self._indexed += 2 * _index_bytes(batch, table.key, added)
        cursor.commit()
        self._fit_buffer()
        return shown

    def publish(self, job: JobRun) -> dict[str, int]:
        """In one transaction: shows what was staged, removes what no job since this one started has written, and enters
        that the history is through. Returns the rows shown, by table."""
        self._allow(self._most)  # the changes of one transaction are held in memory
        cursor = self._connection.cursor()
        cursor.begin()
        shown = {}
        for table in KEYED:
            shown[table.name] = _merge(cursor, table, f"staged.{table.name}") if job.bounded else 0
            same_key = " AND ".join(f"v.{_quoted(name)} = t.{_quoted(name)}" for name in table.key)
            cursor.execute(
                f"DELETE FROM {table.name} t WHERE NOT EXISTS"
                f" (SELECT 1 FROM internal.{table.name} v WHERE {same_key} AND v.version[1] >= ?)",
                [job.generation],
            )
            cursor.execute(f"DELETE FROM internal.{table.name} WHERE version[1] < ?", [job.generation])
        cursor.execute(f"UPDATE {JOBS.name} SET history_done = TRUE WHERE generation = ?", [job.generation])
        cursor.commit()
        for table in KEYED:
            cursor.execute(f"TRUNCATE staged.{table.name}")
        self._measure_indexes()
        self._fit_buffer()
        return shown

    def _measure_indexes(self) -> None:
        """Estimates what the indexes need. A keyed table has two: its own, and that of its versions."""
        self._indexed = 0.0
        for table in (*APPENDED, *KEYED):
            name, indexes = (f"internal.{table.name}", 2) if table in KEYED else (table.name, 1)
            text = " + ".join(f"strlen({_quoted(column)})" for column in table.key)
            needed = f"count(*) * {_KEY_BYTES} + coalesce(sum({text}), 0) * {_KEY_TEXT_BYTES}"
            self._indexed += indexes * float(_one(self._connection, f"SELECT {needed} FROM {name}"))

    def _fit_buffer(self) -> None:
        """Lets DuckDB's memory grow with the keys that it must hold, and with nothing else."""
        steps = int(self._indexed / _INDEX_STEP_BYTES) + 1
        self._allow(f"{_BUFFER_BYTES + steps * _INDEX_STEP_BYTES}B")

    def _allow(self, limit: str) -> None:
        """Bounds DuckDB's memory."""
        if limit != self._limit:
            self._limit = limit
            self._connection.execute(f"SET memory_limit = '{limit}'")  # RESET would not reach its buffers


class _Contents:
    """What a file holds that was opened for reading."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def log(self, ids: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
        query = f"SELECT payload, connection FROM {IDENTITY_CALLS.name}"
        if ids is None:
            return _stream(self._connection, query)
        carried = " OR ".join(f"{name} IN (SELECT unnest($ids))" for name in ("user_id", "anonymous_id", "previous_id"))
        return _stream(self._connection, f"{query} WHERE {carried}", {"ids": list(ids)})

    def pairs(self) -> Iterator[tuple[str, str]]:
        return _stream(
            self._connection,
            f"SELECT DISTINCT coalesce(previous_id, anonymous_id) AS previous, user_id FROM {IDENTITY_CALLS.name}"
            f" WHERE type IN ('{ALIAS}', '{IDENTIFY}') AND previous IS NOT NULL AND user_id IS NOT NULL",
        )

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        names = [column.name for column in table.columns]
        columns = ", ".join(_plain(column, _quoted(column.name)) for column in table.columns)
        for values in _stream(self._connection, f"SELECT {columns} FROM {table.name}"):
            yield dict(zip(names, values, strict=True))


def _plain(column: Column, value: str) -> str:
    """SQL of a column's value as `Contents.rows` gives it."""
    if column.mode is Mode.REPEATED:
        return f"list_transform({value}, lambda each: {_plain(replace(column, mode=Mode.NULLABLE), 'each')})"
    if column.type is Type.STRUCT:
        fields = (f"{_quoted(each.name)} := {_plain(each, f'{value}.{_quoted(each.name)}')}" for each in column.fields)
        return f"struct_pack({', '.join(fields)})"
    return f"epoch_us({value})" if column.type is Type.TIMESTAMP else value


def _merge(cursor: duckdb.DuckDBPyConnection, table: Table, source: str) -> int:
    """Shows the newest version of each key where it is newer than all that the table has held; returns the rows."""
    keys = ", ".join(map(_quoted, table.key))
    columns = ", ".join(_quoted(column.name) for column in table.columns)
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE newer AS SELECT s.* FROM {source} s"
        f" LEFT JOIN internal.{table.name} v USING ({keys}) WHERE v.version IS NULL OR s.version > v.version"
        f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY s.version DESC) = 1"
    )
    same_key = " AND ".join(f"n.{_quoted(name)} = t.{_quoted(name)}" for name in table.key)
    cursor.execute(f"DELETE FROM {table.name} t USING newer n WHERE n.removed AND {same_key}")
    shown = _one(
        cursor, f"INSERT OR REPLACE INTO {table.name} ({columns}) SELECT {columns} FROM newer WHERE NOT removed"
    )
    cursor.execute(f"INSERT OR REPLACE INTO internal.{table.name} SELECT {keys}, version FROM newer")
    cursor.execute("DROP TABLE newer")
    return shown


def _index_bytes(batch: pa.Table, key: Sequence[str], added: int) -> float:
    """What an index needs for so many keys of the batch."""
    if not added:
        return 0.0
    text = sum(pc.mean(pc.binary_length(batch[name])).as_py() for name in key)
    return added * (_KEY_BYTES + text * _KEY_TEXT_BYTES)


# ---- rows to Arrow ----


def _batch(table: Table, rows: list[Row], written_at: int) -> pa.Table:
    columns = zip(table.columns, zip(*map(astuple, rows), strict=True), strict=True)
    return pa.table(
        {
            column.name: _array(column, [written_at] * len(rows) if column.name == table.written else values)
            for column, values in columns
        }
    )


def _keyed_batch(table: Table, upserts: list[Upsert], job: JobRun) -> pa.Table:
    """The table's columns, a version that begins with the job's generation, and whether the key has no row."""
    written_at = _now()
    arrays = {}
    for column in table.columns:
        name = column.name
        if name in table.key:
            values: list[Any] = [upsert.key[table.key.index(name)] for upsert in upserts]
        elif name == table.written:
            values = [written_at] * len(upserts)
        else:
            values = [None if upsert.row is None else getattr(upsert.row, name) for upsert in upserts]
        arrays[name] = _array(column, values)
    versions = [(job.generation, *upsert.version) for upsert in upserts]
    arrays["version"] = pa.array(versions, pa.list_(pa.int64()))
    arrays["removed"] = pa.array([upsert.row is None for upsert in upserts], pa.bool_())
    return pa.table(arrays)


_ARROW: Final = {
    Type.STRING: pa.string(),
    Type.INT64: pa.int64(),
    Type.BOOL: pa.bool_(),
    Type.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Type.BYTES: pa.binary(),
    Type.JSON: pa.string(),
}


def _arrow(column: Column) -> pa.DataType:
    if column.type is Type.STRUCT:
        return pa.struct([(each.name, _arrow(each)) for each in column.fields])
    return _ARROW[column.type]


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    if column.type is Type.JSON:
        return _json_array(values)
    if column.mode is Mode.REPEATED:
        if column.type is Type.STRUCT:
            values = [[_struct(column, each) for each in value or ()] for value in values]
        return pa.array(values, pa.list_(_arrow(column)))
    return pa.array(values, _arrow(column))


def _json_array(values: Sequence[Raw | None]) -> pa.Array:
    """JSON texts, copied once; that they are UTF-8 was checked when they were read."""
    texts = [b"" if value is None else value for value in values]
    ends = array("i", accumulate(map(len, texts), initial=0))
    data: bytes = b"".join(texts)  # a Raw is bytes-like
    strings = pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(data))
    if None in values:
        return pc.if_else(pa.array([value is not None for value in values]), strings, None)
    return strings


def _struct(column: Column, row: Row) -> dict[str, Any]:
    return {each.name: getattr(row, each.name) for each in column.fields}


def _refused(table: Table, appends: list[Append], batch: pa.Table) -> list[tuple[Append, str]]:
    """The rows that a warehouse cannot hold: only JSON that the parser let through can be such."""
    suspects = set()
    for column in table.columns:
        if column.type is Type.JSON:
            found = pc.match_substring_regex(batch[column.name], _SUSPECT_NUMBER)
            suspects.update(pc.indices_nonzero(found).to_pylist())
    return [(appends[i], why) for i in sorted(suspects) if (why := table.misfit(appends[i].row))]


# ---- Beam ----


class _AppendFn(beam.DoFn):
    """Writes rows once. Batches go to the writing thread while the next is gathered; a bundle ends when all are in."""

    def __init__(self, file: str, table: str, job: JobRun) -> None:
        self.file, self.table, self.job = file, BY_NAME[table], job

    def setup(self) -> None:
        self.database = _Database.of(self.file)
        self.tally = metrics.Tally()

    def start_bundle(self) -> None:
        self.rows: dict[str | None, list[Append]] = {}
        self.bytes = 0
        self.count = 0
        self.ahead: deque[tuple[str | None, int, Future[_Appended]]] = deque()
        self.refused: list[tuple[Append, str]] = []

    def process(self, append: Append) -> None:
        if self.table.name == DEAD_LETTERS.name:  # it was pickled, and is another object
            TALLY.add(dead_letters=1)
        self.rows.setdefault(append.outcome, []).append(append)
        self.count += 1
        self.bytes += len(append.message)
        if self.count >= _BATCH_ROWS or self.bytes >= _BATCH_BYTES:
            self._hand_over()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._hand_over()
        while self.ahead:
            self._settle()
        self.tally.report()
        for append, why in self.refused:
            yield WindowedValue(append.refused(why), MIN_TIMESTAMP, (GlobalWindow(),))

    def _hand_over(self) -> None:
        for outcome, appends in self.rows.items():
            batch = _batch(self.table, [append.row for append in appends], self.job.written_at(_now()))
            future = self.database.run(self.database.append, self.table, appends, batch)
            self.ahead.append((outcome, len(appends), future))
        self.rows, self.count, self.bytes = {}, 0, 0
        while len(self.ahead) > _BATCHES_AHEAD:
            self._settle()

    def _settle(self) -> None:
        outcome, count, future = self.ahead.popleft()
        appended = future.result()
        repeated = count - appended.written - len(appended.refused)
        self.refused += appended.refused
        self.tally[metrics.WRITTEN.of(self.table.name)] += appended.written
        self.tally[metrics.REPEATED.of(self.table.name)] += repeated
        if outcome is not None:
            self.tally[metrics.OUTCOMES.of(outcome)] += appended.written
            self.tally[metrics.OUTCOMES.of("duplicate")] += repeated
            self.tally.refused(Reason.INVALID_FIELD.value, len(appended.refused))


class _UpsertFn(beam.DoFn):
    """Hands keyed rows to the writing thread; tells at the end of the bundle how many it took."""

    def __init__(self, file: str, table: str, job: JobRun) -> None:
        self.file, self.table, self.job = file, BY_NAME[table], job

    def setup(self) -> None:
        self.database = _Database.of(self.file)

    def start_bundle(self) -> None:
        self.upserts: list[Upsert] = []
        self.taken = 0
        self.shown = 0
        self.ahead: deque[Future[int]] = deque()

    def process(self, upsert: Upsert) -> None:
        self.upserts.append(upsert)
        if len(self.upserts) >= _BATCH_ROWS:
            self._hand_over()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._hand_over()
        while self.ahead:
            self.shown += self.ahead.popleft().result()
        metrics.Tally({metrics.WRITTEN.of(self.table.name): self.shown}).report()
        yield WindowedValue(self.taken, MIN_TIMESTAMP, (GlobalWindow(),))

    def _hand_over(self) -> None:
        if self.upserts:
            self.ahead.append(self.database.run(self.database.upsert, self.table, self.upserts, self.job))
            self.taken += len(self.upserts)
            self.upserts = []
        while len(self.ahead) > _BATCHES_AHEAD:
            self.shown += self.ahead.popleft().result()


class _ReadLog(beam.PTransform):
    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.file, self.job = file, job

    def expand(self, begin: PBegin) -> PCollection[Received]:
        return begin | "Job" >> beam.Create([self.job]) | "Log" >> beam.ParDo(_ReadLogFn(self.file))


class _ReadLogFn(beam.DoFn):
    def __init__(self, file: str) -> None:
        self.file = file

    def process(self, job: JobRun) -> Iterator[Received]:
        if job.log_until is None:
            return
        for payload, connection in _Database.of(self.file).log(job.log_until):
            TALLY.add(messages=1)
            yield Received(payload.encode(), connection=connection)


class _Publish(beam.PTransform):
    def __init__(self, file: str, job: JobRun) -> None:
        super().__init__()
        self.file, self.job = file, job

    def expand(self, taken: PCollection[int]) -> PCollection[int]:
        written = taken | "Written" >> windows.AfterHistory(self.job, bounded=self.job.bounded)
        return written | "Show" >> beam.ParDo(_PublishFn(self.file))


class _PublishFn(beam.DoFn):
    def __init__(self, file: str) -> None:
        self.file = file

    def process(self, job: JobRun) -> None:
        database = _Database.of(self.file)
        shown: dict[str, int] = database.run(database.publish, job).result()
        tally = metrics.Tally({metrics.WRITTEN.of(name): count for name, count in shown.items()})
        tally.report()


def _stream(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any] | None = None
) -> Iterator[Any]:
    """The rows of a query, never all at once."""
    cursor = connection.cursor()
    cursor.execute(query, parameters)
    while rows := cursor.fetchmany(_STREAMED_ROWS):
        yield from rows


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _quoted(name: str) -> str:
    return f'"{name}"'


def _now() -> int:
    return time.time_ns() // 1000
