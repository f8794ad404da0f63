"""Runs the job on a subscription of the emulator, and looks on from the same process."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest import mock

import duckdb
import pytest

from judge import Config, Tables, replay
from pipeline import audit
from pipeline.options import parse
from pipeline.progress import ReportedCounts
from pipeline.run import run, stop
from pipeline.sources.subscriber import EMULATOR, Subscriber
from pipeline.summary import Summary
from pipeline.warehouses.bigquery.append_stream import AppendStream
from pipeline.warehouses.duckdb.database import Database
from pipeline.warehouses.duckdb.sql import new_cursor
from schemas.tables import BY_NAME
from tests import prism, pubsub_emulator, warehouse
from tests.bigquery_double import BigQueryDouble
from tests.histories import CONFIGS, Message, line
from transforms import metrics

_DATASET = "acme-data.segment"
WINDOW_S = 1
PATIENCE_S = 240.0
"""For what has to happen sooner or later, on however slow a machine."""


def wait_until(what: str, holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


@dataclass
class Stream:
    """A subscription, and a warehouse that jobs fill from it: a DuckDB file."""

    folder: Path
    config: Config = CONFIGS["mixed"]
    window_s: float = WINDOW_S
    published: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        prism.require()
        self.host = pubsub_emulator.host()
        self.subscription = pubsub_emulator.Subscription(self.host)
        self.configure(self.config)

    def configure(self, config: Config) -> None:
        """The connections that the next jobs have."""
        self.config = config
        (self.folder / "connections.yaml").write_text(json.dumps(config.document()))

    @property
    def file(self) -> Path:
        return self.folder / "warehouse.duckdb"

    @property
    def url(self) -> str:
        return f"duckdb:///{self.file}"

    @property
    def is_opened(self) -> bool:
        """Whether a job has begun to make the warehouse."""
        return self.file.exists()

    def stored(self, table: str, where: str = "TRUE") -> int:
        """Rows of a table while a job of this process runs, each key once; 0 where there is no table yet."""
        database = Database._open.get(str(self.file))
        if database is None:
            return 0
        try:
            row = new_cursor(database._connection).execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()
        except duckdb.CatalogException:
            return 0
        return int(row[0]) if row else 0

    def tables(self) -> Tables:
        """What the warehouse holds, when no job runs."""
        return warehouse.tables(self.file)

    @property
    def source(self) -> str:
        """The option that names what the jobs follow."""
        return f"--input_subscription={self.subscription.name}"

    def arguments(self, *options: str) -> list[str]:
        return [
            self.source,
            f"--warehouse={self.url}",
            f"--connections={self.folder / 'connections.yaml'}",
            f"--alias_window={self.window_s}",
            *options,
        ]

    def publish(self, payloads: Iterable[bytes], **attributes: str) -> None:
        payloads = list(payloads)
        self.published += payloads
        self.subscription.publish(payloads, **attributes)

    @contextmanager
    def job(self, *options: str, host: str | None = None) -> Iterator[RunningJob]:
        """Runs a job while the block lasts, and then has it stop in order."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(EMULATOR, host or self.host)
            job = RunningJob(self, options)
            try:
                yield job
            finally:
                job.end()

    def complete(self) -> None:
        """Has a job read all there is."""
        with self.job() as job:
            job.wait_for_all()

    def check(self) -> None:
        """The warehouse is what the replay makes of all that was published, and its own audit agrees."""
        assert warehouse.differences(self.tables(), replay(self.published, self.config)) == []
        audited = [f"--warehouse={self.url}", f"--connections={self.folder / 'connections.yaml'}"]
        assert audit.main(audited) == 0


@dataclass
class BigQueryStream(Stream):
    """A subscription, and a dataset of the double of BigQuery, which lives in this process and outlives every job."""

    bigquery: BigQueryDouble = field(kw_only=True)

    @property
    def url(self) -> str:
        return f"bigquery://{_DATASET.replace('.', '/')}"

    @property
    def is_opened(self) -> bool:
        return bool(self.bigquery.catalog.tables)

    def stored(self, table: str, where: str = "TRUE") -> int:
        assert where == "TRUE"
        try:
            rows = self.bigquery.rows(f"{_DATASET}.{table}")
        except KeyError:
            return 0
        return len({tuple(row[name] for name in BY_NAME[table].key) for row in rows})

    def tables(self) -> Tables:
        return warehouse.bigquery_tables(self.bigquery, _DATASET)


@contextmanager
def into_duckdb(folder: Path) -> Iterator[Stream]:
    """A new stream."""
    yield Stream(folder)


@contextmanager
def into_bigquery(folder: Path) -> Iterator[BigQueryStream]:
    """A new stream into a double that is empty; jobs find it by their environment."""
    with BigQueryDouble() as bigquery, mock.patch.dict(os.environ, bigquery.environment):
        try:
            yield BigQueryStream(folder, bigquery=bigquery)
        finally:
            AppendStream.close_all()


class DirectoryStream(Stream):
    """The same with a directory that grows, a file for each publication."""

    def __post_init__(self) -> None:
        prism.require()
        self.host = ""
        self.inbox = self.folder / "inbox"
        self.inbox.mkdir()
        self._numbers = itertools.count()
        self.configure(self.config)

    @property
    def source(self) -> str:
        return f"--input_directory={self.inbox}"

    def publish(self, payloads: Iterable[bytes], **attributes: str) -> None:
        """Writes a file, in the sub-directory of the attribute `connection` where there is one."""
        payloads = list(payloads)
        self.published += payloads
        folder = self.inbox / attributes.get("connection", "")
        folder.mkdir(exist_ok=True)
        unfinished = folder / f"{next(self._numbers):08}.part"
        unfinished.write_bytes(b"".join(payload + b"\n" for payload in payloads))
        unfinished.rename(unfinished.with_suffix(".jsonl"))

    @property
    def waiting(self) -> list[Path]:
        """The files that are not moved away."""
        read = self.inbox / "read"
        return [path for path in self.inbox.rglob("*.jsonl") if read not in path.parents]


class RunningJob:
    """A job in a thread of this process."""

    def __init__(self, stream: Stream, options: Sequence[str]) -> None:
        self.stream = stream
        self.summary: Summary | None = None
        self.error: BaseException | None = None
        self._started_us = time.time_ns() // 1000
        self.counts = ReportedCounts()
        self._thread = threading.Thread(target=self._run, args=(stream.arguments(*options),), daemon=True)
        self._thread.start()

    def _run(self, arguments: list[str]) -> None:
        try:
            with metrics.observed_by(self.counts):
                self.summary = run(*parse(arguments), "")
        except BaseException as error:
            self.error = error

    def wait_until(self, what: str, holds: Callable[[], object]) -> None:
        wait_until(what, lambda: self.error or holds())
        if self.error:
            raise self.error

    @property
    def is_reading(self) -> bool:
        """Whether the job has begun to pull."""
        return self.stream.subscription.name in Subscriber._open

    @property
    def is_caught_up(self) -> bool:
        """Whether nothing has come for a moment."""
        return self.is_reading and Subscriber.of(self.stream.subscription.name).watermark() > self._started_us

    def wait_for_all(self) -> None:
        """Waits until every distinct message has its row."""
        expected = replay(self.stream.published, self.stream.config)
        counts = {
            "events": len(expected.events),
            "identity_calls": len(expected.identity_calls),
            "dead_letters": len(expected.dead_letters),
        }
        self.wait_until(
            "every message has its row", lambda: all(self.stream.stored(table) >= counts[table] for table in counts)
        )

    def join(self) -> None:
        """Waits until the job has ended, by itself or since it was told to stop."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the job does not end"

    def end(self) -> None:
        if self._thread.is_alive():
            stop()
        self.join()


def shuffled(rng: Random, messages: Sequence[Message]) -> list[bytes]:
    """Each message once or twice, in any order; with a `receivedAt`, which would else be when it was published."""
    lines = [line({"receivedAt": message["timestamp"], **message}) for message in messages]
    lines += rng.sample(lines, len(lines) // 4)
    rng.shuffle(lines)
    return lines
