"""A local DuckDB file as the warehouse.

One process has the file, one thread of it writes. Rows of `events`, `identity_calls` and `dead_letters` are inserted in
batches and are durable when their bundle ends; keys are the file's own, so a row that comes again is not stored again.
Keyed rows of a bounded job are gathered beside the file and shown in one transaction at its end.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

import apache_beam as beam
import duckdb

from pipeline.errors import UsageError
from pipeline.warehouses.base import BlockWrites, Contents, GoogleSql, JobRun
from pipeline.warehouses.duckdb.contents import DuckDbContents
from pipeline.warehouses.duckdb.database import Database, FileFailedError
from pipeline.warehouses.duckdb.file import FAILURES, UnusableFileError, connect, unusable
from pipeline.warehouses.duckdb.googlesql import DuckDbGoogleSql
from pipeline.warehouses.duckdb.history import ReadLogTable
from pipeline.warehouses.duckdb.redelivery import InsertRedelivered, SelectDeadLetters
from pipeline.warehouses.duckdb.rewrite import rewrite
from pipeline.warehouses.duckdb.sink import InsertBlocks, InsertCallBlocks, InsertCalls, InsertRows, MergeRows, Publish
from pipeline.warehouses.duckdb.sql import CATALOG, new_cursor
from schemas.tables import APPENDED, DEAD_LETTERS, EVENTS, IDENTITY_CALLS, JOBS, KEYED, Table, Timestamp
from schemas.upgrade import IncompatibleSchemaError

_COUNTED: Final = (EVENTS.name, IDENTITY_CALLS.name, *(table.name for table in KEYED), DEAD_LETTERS.name)
_WRITTEN: Final = "name the file that a job has written, or run the job on it first"


@dataclass(frozen=True)
class DuckDbWarehouse:
    """The warehouse in a DuckDB file, by its absolute path."""

    enforces_keys: ClassVar[bool] = True
    sample_query: ClassVar[str] = (
        "SELECT type, name, count(*) AS events FROM events GROUP BY ALL ORDER BY events DESC LIMIT 10"
    )

    file: str

    def start(
        self,
        *,
        bounded: bool,
        runner: str,
        options: str,
        history: bool,
        new: bool = True,
        account_mappings: str | None = None,
    ) -> JobRun:
        if not new:
            self._check_written()
        database = Database.of(self.file)
        try:
            return database.start(
                bounded=bounded,
                runner=runner,
                options=options,
                history=history,
                account_mappings=account_mappings,
            )
        except IncompatibleSchemaError as error:
            raise self._refused("; ".join(error.lines), "name another file") from None
        except FAILURES as error:
            raise self._unusable(unusable(error)) from None

    def open_log(self) -> Timestamp | None:
        self._check_written()
        return Database.of(self.file, read_only=True).log_until()

    def read_log(self, job: JobRun) -> beam.PTransform:
        return ReadLogTable(self.file, job)

    def read_dead_letters(self, reasons: tuple[str, ...] | None) -> beam.PTransform:
        return SelectDeadLetters(self.file, reasons)

    def replace_dead_letters(self, job: JobRun) -> beam.PTransform:
        return InsertRedelivered(self.file, job)

    def append(self, table: Table, job: JobRun) -> beam.PTransform:
        return InsertRows(self.file, table.name, job)

    def write_blocks(self, job: JobRun) -> BlockWrites:
        return BlockWrites(events=InsertBlocks(self.file, job), identity_calls=InsertCallBlocks(self.file, job))

    def append_once(self, table: Table, job: JobRun, shards: int) -> beam.PTransform:
        return self.append(table, job)

    def log(self, job: JobRun) -> beam.PTransform:
        return InsertCalls(self.file, job)

    def upsert(self, table: Table, job: JobRun) -> beam.PTransform:
        return MergeRows(self.file, table.name, job)

    def publish(self, job: JobRun) -> beam.PTransform:
        return Publish(self.file, job)

    def finish(self, job: JobRun) -> None:
        database = Database.of(self.file)
        try:
            database.run(database.end, job).result()
        except FileFailedError as error:
            raise self.explain() or error from None

    def row_counts(self) -> Mapping[str, int]:
        counts = Database.row_counts(self.file, _COUNTED)
        return dict(zip(_COUNTED, counts, strict=True)) if counts else {}

    def explain(self) -> UsageError | None:
        failure = Database.failure(self.file)
        return None if failure is None else self._unusable(failure)

    def close(self) -> None:
        Database.close(self.file)

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        with self._opened(read_only=True) as connection:
            try:
                yield DuckDbContents(connection)
            except (duckdb.BinderException, duckdb.CatalogException) as error:
                raise self._outdated(error) from None

    @contextmanager
    def googlesql(self) -> Iterator[GoogleSql]:
        with self._opened() as connection:
            cursor = new_cursor(connection)
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.begin()
            yield DuckDbGoogleSql(cursor)
            cursor.commit()
            cursor.execute("CHECKPOINT")  # what was removed leaves the log file, too

    def running_since(self) -> Timestamp | None:
        return None  # the process of a job has the file for itself

    def erase_removed(self) -> None:
        with self._opened() as connection:
            try:
                rewrite(connection, self.file)
            except (duckdb.Error, OSError) as error:
                why = str(error).partition("\n")[0]
                problem = f"the file cannot be rewritten, and its free blocks may hold what was removed: {why}"
                remedy = "make room for a second copy of the file, and run it again"
                raise UsageError(problem, remedy, option="--warehouse", value=self.file) from None

    def open_command(self) -> str:
        return f"duckdb {shlex.quote(os.path.relpath(self.file))}"

    @contextmanager
    def _opened(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, with every table and column. Raises UsageError where it is none, lacks one or is damaged."""
        with self._connected(read_only=read_only) as connection:
            contents = DuckDbContents(connection)
            try:
                for table in (*APPENDED, *KEYED, JOBS):
                    next(contents.rows(table), None)
            except (duckdb.BinderException, duckdb.CatalogException) as error:
                raise self._outdated(error) from None
            yield connection

    def _check_written(self) -> None:
        """Raises UsageError where no job has written the file."""
        with self._connected(read_only=True) as connection:
            query = f"SELECT 1 FROM duckdb_tables() WHERE database_name = '{CATALOG}' AND table_name = ?"
            if connection.execute(query, [IDENTITY_CALLS.name]).fetchone() is None:
                raise self._refused(f"has no table {IDENTITY_CALLS.name}", _WRITTEN)

    @contextmanager
    def _connected(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, which is never made here. Raises UsageError where it is none or is damaged."""
        if not os.path.exists(self.file):
            raise self._refused("there is no such file", _WRITTEN)
        if os.path.isfile(self.file) and not os.path.getsize(self.file):
            raise self._refused("is empty", _WRITTEN)
        try:
            with connect(self.file, read_only=read_only, new=False) as connection:
                yield connection
        except UnusableFileError as error:
            raise self._unusable(error) from None
        except FAILURES as error:
            raise self._unusable(unusable(error)) from None

    def _outdated(self, error: duckdb.Error) -> UsageError:
        return self._refused(f"is not a warehouse of this version: {str(error).partition(chr(10))[0]}", _WRITTEN)

    def _unusable(self, error: UnusableFileError) -> UsageError:
        return self._refused(error.problem, error.remedy)

    def _refused(self, problem: str, remedy: str) -> UsageError:
        return UsageError(problem, remedy, option="--warehouse", value=self.file)
