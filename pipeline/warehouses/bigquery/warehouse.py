"""A BigQuery dataset as the warehouse.

Rows of `events`, `identity_calls` and `dead_letters` are appended and durable when their bundle ends, a row that comes
again maybe a second time: the views show it once. Keyed rows go by change data capture, which keeps the greatest
version of each key, so that they may come in any order and any number of times.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection
from google.cloud import bigquery

from pipeline.errors import UsageError
from pipeline.warehouses.base import Contents, GoogleSql, JobRun, LogNotEmptyError, Parameters
from pipeline.warehouses.bigquery import catalog, statements
from pipeline.warehouses.bigquery.any_day import WriteCalls, WriteEvents
from pipeline.warehouses.bigquery.append_stream import AppendStream
from pipeline.warehouses.bigquery.dataset import Dataset, UnusableDatasetError
from pipeline.warehouses.bigquery.event_streams import AppendEvents
from pipeline.warehouses.bigquery.history import ReadLog
from pipeline.warehouses.bigquery.pending_streams import AppendPending
from pipeline.warehouses.bigquery.queries import plain, query, query_freshest
from pipeline.warehouses.bigquery.redelivery import ReadDeadLetters, ReplaceDeadLetters
from pipeline.warehouses.bigquery.sink import AppendRows, LogCalls, UpsertRows
from pipeline.warehouses.bigquery.sweep import Sweep
from schemas.tables import DEAD_LETTERS, EVENTS, KEYED, Table, Timestamp
from schemas.upgrade import IncompatibleSchemaError
from transforms.core import times
from transforms.core.rules_version import RULES_VERSION

_LOGGER: Final = logging.getLogger(__name__)
_WRITTEN: Final = "name the dataset that a job has written, or run the job on it first"
_RECENT_US: Final = 10 * 60 * 1_000_000
"""A log that has grown since is perhaps still growing."""


@dataclass(frozen=True)
class BigQueryWarehouse:
    """The warehouse in a dataset. `create` says whether a job makes what is missing, `update` that it takes the place
    of the one that runs, with its state, as Dataflow's --update does."""

    enforces_keys: ClassVar[bool] = False
    sample_query: ClassVar[str] = (
        "SELECT type, name, COUNT(*) AS events FROM events_unique GROUP BY type, name ORDER BY events DESC LIMIT 10"
    )

    dataset: Dataset
    create: bool = True
    update: bool = False

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
        with self._usable():
            client = catalog.connect(self.dataset.project)
            if self.create:
                catalog.create(client, self.dataset)
            else:
                self._check(client, "run `python -m schemas create` first, or leave --create=false out")
            return self._start(client, bounded, runner, options, history, account_mappings or "")

    def open_log(self) -> Timestamp | None:
        with self._usable():
            client = catalog.connect(self.dataset.project)
            self._check(client, _WRITTEN)
            (end,) = query(client, statements.end_of_log(str(self.dataset)))
            return None if end.log_until is None else Timestamp(end.log_until)

    def read_log(self, job: JobRun) -> beam.PTransform:
        return ReadLog(self.dataset, job)

    def read_dead_letters(self, reasons: tuple[str, ...] | None) -> beam.PTransform:
        return ReadDeadLetters(self.dataset, reasons)

    def replace_dead_letters(self, job: JobRun) -> beam.PTransform:
        return ReplaceDeadLetters(self.dataset, job)

    def append(self, table: Table, job: JobRun) -> beam.PTransform:
        if job.bounded and table == EVENTS:
            return WriteEvents(self.dataset, job)
        return AppendRows(self.dataset, table, job)

    def write_blocks(self, job: JobRun) -> None:
        return None

    def append_once(self, table: Table, job: JobRun, shards: int) -> beam.PTransform:
        if job.bounded:
            return WriteEvents(self.dataset, job, AppendPending(self.dataset, table))
        return AppendEvents(self.dataset, table, shards)

    def log(self, job: JobRun) -> beam.PTransform:
        return WriteCalls(self.dataset, job) if job.bounded else LogCalls(self.dataset, job)

    def upsert(self, table: Table, job: JobRun) -> beam.PTransform:
        return _Upsert(self.dataset, table, job)

    def publish(self, job: JobRun) -> beam.PTransform:
        return Sweep(self.dataset, job)

    def finish(self, job: JobRun) -> None:
        with self._usable():
            client = catalog.connect(self.dataset.project)
            query(client, statements.enter_end(str(self.dataset)), {"generation": job.generation})

    def row_counts(self) -> Mapping[str, int]:
        return {}

    def explain(self) -> UsageError | None:
        return None

    def close(self) -> None:
        AppendStream.close_all()

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        with self._usable():
            client = catalog.connect(self.dataset.project)
            self._check(client, _WRITTEN)
            yield BigQueryContents(client, self.dataset)

    @contextmanager
    def googlesql(self) -> Iterator[GoogleSql]:
        with self._usable():
            client = catalog.connect(self.dataset.project)
            self._check(client, _WRITTEN)
            yield BigQueryGoogleSql(client, self.dataset)

    def running_since(self) -> Timestamp | None:
        with self._usable():
            client = catalog.connect(self.dataset.project)
            newest = next(iter(query(client, statements.newest_job(str(self.dataset)))), None)
            return Timestamp(newest.started_at) if newest is not None and newest.is_running else None

    def erase_removed(self) -> None:
        """BigQuery keeps what was removed for its time travel, and then forgets it by itself."""

    def open_command(self) -> str:
        project, name = self.dataset
        return f"bq --project_id={project} query --dataset_id={name} --use_legacy_sql=false"

    def _start(
        self, client: bigquery.Client, bounded: bool, runner: str, options: str, history: bool, account_mappings: str
    ) -> JobRun:
        dataset = str(self.dataset)
        (end,) = query(client, statements.end_of_log(dataset))
        newest = next(iter(query(client, statements.newest_job(dataset))), None)
        if self.update and newest is not None:  # it has the running one's state, and so goes on with its versions
            if (newest.rules_version or 0) > RULES_VERSION:
                problem = "the running job writes rows by newer rules, and an update would leave those rows as they are"
                raise UsageError(problem, "drain it, and start this version anew", option="--update")
            if account_mappings:
                entered = {"account_mappings": account_mappings, "generation": newest.generation}
                query(client, statements.enter_account_mappings(dataset), entered)
            log_until = end.log_until if history else None
            rereads_log = history and (newest.rules_version or 0) < RULES_VERSION  # ReadLog enters the new version
            return JobRun(newest.generation, Timestamp(newest.started_at), log_until, bounded, rereads_log)
        if not history and end.log_until is not None:
            raise LogNotEmptyError("leave the option out, or name a new dataset")
        if newest is not None and newest.is_running and (end.log_until or 0) > end.now - _RECENT_US:
            _LOGGER.warning(
                "The log in %s grew %d s ago, and the job started at %s has not entered its end: if it still runs, stop"
                " it, since the rows of contacts, accounts, identities and memberships belong to one job at a time",
                self.dataset,
                max(0, end.now - end.log_until) // 1_000_000,
                times.iso(newest.started_at),
            )
        generation = max(end.now, (0 if newest is None else newest.generation) + 1)
        values = {
            "generation": generation,
            "started_at": end.now,
            "runner": runner,
            "options": options,
            "rules_version": RULES_VERSION,
            "account_mappings": account_mappings,
        }
        query(client, statements.enter_job(dataset), values)
        return JobRun(generation, Timestamp(end.now), end.log_until, bounded)

    def _check(self, client: bigquery.Client, remedy: str) -> None:
        """Raises UsageError where a table or column is missing."""
        lacking = catalog.lacking(client, self.dataset)
        if lacking:
            raise UsageError(f"is missing {', '.join(lacking)}", remedy, option="--warehouse", value=self._url)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Raises UsageError where the dataset cannot be used."""
        try:
            with catalog.usable():
                yield
        except UnusableDatasetError as error:
            raise UsageError(error.problem, error.remedy, option="--warehouse", value=self._url) from None
        except IncompatibleSchemaError as error:
            problem = "; ".join(error.lines)
            raise UsageError(problem, "name another dataset", option="--warehouse", value=self._url) from None

    @property
    def _url(self) -> str:
        return f"bigquery://{self.dataset.project}/{self.dataset.name}"


class _Upsert(beam.PTransform):
    """`Upsert` → the number of rows that BigQuery has accepted, once it has. A row that it refuses is a dead letter."""

    def __init__(self, dataset: Dataset, table: Table, job: JobRun) -> None:
        super().__init__()
        self.rows = UpsertRows(dataset, table, job)
        self.dead_letters = AppendRows(dataset, DEAD_LETTERS, job)

    def expand(self, upserts: PCollection) -> PCollection[int]:
        outputs = upserts | "Rows" >> self.rows
        _ = outputs[UpsertRows.DEAD_LETTERS] | "DeadLetters" >> self.dead_letters
        return outputs[UpsertRows.ACCEPTED]


class BigQueryGoogleSql:
    """The tables of a dataset, changed by jobs that are each durable when they end."""

    def __init__(self, client: bigquery.Client, dataset: Dataset) -> None:
        self._client = client
        self._dataset = dataset

    def rows(self, statement: str, parameters: Parameters | None = None) -> Iterator[tuple[Any, ...]]:
        return (row.values() for row in query(self._client, statement, parameters, self._dataset))

    def newest_rows(
        self, table: Table, statement: str, parameters: Parameters | None = None
    ) -> Iterator[tuple[Any, ...]]:
        rows = query_freshest(self._client, statement, table, self._dataset, parameters, self._dataset)
        return (row.values() for row in rows)

    def change(self, statement: str, parameters: Parameters | None = None) -> int:
        return query(self._client, statement, parameters, self._dataset).num_dml_affected_rows or 0


class BigQueryContents:
    """What a dataset holds, by queries."""

    def __init__(self, client: bigquery.Client, dataset: Dataset) -> None:
        self._client = client
        self._dataset = dataset

    def log(self, ids: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
        if ids is None:
            rows = query(self._client, statements.log(str(self._dataset)))
        else:
            rows = query(self._client, statements.log_of(str(self._dataset)), {"ids": list(ids)})
        return (row.values() for row in rows)

    def pairs(self) -> Iterator[tuple[str, str]]:
        return (row.values() for row in query(self._client, statements.pairs(str(self._dataset))))

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        statement = statements.rows(table, str(self._dataset))
        if table in KEYED:
            rows = query_freshest(self._client, statement, table, self._dataset)
        else:
            rows = query(self._client, statement)
        for row in rows:
            yield {column.name: plain(column, row[column.name]) for column in table.columns}

    def query(self, statement: str, parameters: Parameters | None = None) -> Iterator[dict[str, Any]]:
        return (dict(row.items()) for row in query(self._client, statement, parameters, self._dataset))
