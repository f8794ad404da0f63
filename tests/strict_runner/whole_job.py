"""The whole job on the strict runner, into the double of BigQuery, judged by the replay.

An unbounded job has the graph that Dataflow gets: all of it is the pipeline's own, but for what stands in place of
Beam's Pub/Sub source. It gives messages in batches, with times of publication that go on, some of them late, and ends.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final
from unittest import mock

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from judge import Config, replay
from pipeline.graph import build
from pipeline.job_kind import JobKind
from pipeline.options import Settings, parse
from pipeline.warehouses import open_warehouse
from tests import warehouse
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.tables import TableName
from tests.fuzz.whole_job import audited
from tests.strict_runner import Interrupted, Interruption, Report, Strictness, StrictRunner
from transforms.classify import Classify
from transforms.core.reader import Reader, Received
from transforms.parse import Parse

SUBSCRIPTION: Final = "projects/acme-web/subscriptions/calls"
_PROJECT: Final = "acme-data"
_DATAFLOW: Final = (
    "--runner=DataflowRunner",
    "--project=acme-web",
    "--region=europe-west1",
    "--temp_location=gs://a/b",
    "--job_name=segment",
)
_READERS: Final = 2
_LOGGED_AT_ONCE: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class Publication:
    """How messages come: in batches of so many, one published every `every_s` seconds, of which a share is published
    `late_s` before its batch."""

    batch: int = 10
    every_s: float = 7.0
    late: float = 0.1
    late_s: float = 60.0
    begin_s: float = 0.0
    """When the first batch is published: in so many seconds. Before now they are a backlog, for which windows wait."""


@dataclass(eq=False)
class _Batch:
    """Messages that come together, each with its time of publication in seconds."""

    published_at: float
    messages: list[tuple[float, bytes]]
    is_acknowledged: bool = False

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.messages]


class Published:
    """What this process has published, for the source that stands in place of Beam's. It acknowledges a batch when the
    work item that gave it counts."""

    batches: ClassVar[list[_Batch]] = []

    @classmethod
    def publish(cls, payloads: Sequence[bytes], publication: Publication, rng: Random, begin_s: float) -> None:
        """Puts all of them, behind what no job has acknowledged, in place of what was published before."""
        cls.batches = [batch for batch in cls.batches if not batch.is_acknowledged]
        waiting = iter(payloads)
        for number in itertools.count():
            batch = list(itertools.islice(waiting, publication.batch))
            if not batch:
                return
            at = begin_s + number * publication.every_s
            times = [at - publication.late_s if rng.random() < publication.late else at for _ in batch]
            cls.batches.append(_Batch(at, list(zip(times, batch, strict=True))))

    @classmethod
    def unread(cls) -> list[bytes]:
        """The messages that no job has read."""
        return [payload for batch in cls.batches if not batch.is_acknowledged for payload in batch.payloads]

    @classmethod
    def acknowledged(cls) -> list[bytes]:
        """The messages that jobs have read since the last publication."""
        return [payload for batch in cls.batches if batch.is_acknowledged for payload in batch.payloads]


class ReadPublished(beam.PTransform):
    """In place of Beam's `ReadFromPubSub`, whose arguments it takes: what was published, and then its end."""

    def __init__(self, subscription: str, with_attributes: bool, **others: Any) -> None:
        super().__init__()
        assert subscription == SUBSCRIPTION
        assert with_attributes
        assert not others, f"a new argument of ReadFromPubSub: {others}"

    def expand(self, begin: PBegin) -> PCollection[PubsubMessage]:
        readers = begin | "Readers" >> beam.Create(range(_READERS), reshuffle=False)
        return readers | "Give" >> beam.ParDo(_GiveFn()).with_output_types(PubsubMessage)


class _Tracker(OffsetRestrictionTracker):
    def is_bounded(self) -> bool:
        return False


class _Batches(RestrictionProvider):
    """The numbers of the batches that a reader gives."""

    def initial_restriction(self, reader: int) -> OffsetRange:
        return OffsetRange(0, len(Published.batches[reader::_READERS]))

    def create_tracker(self, restriction: OffsetRange) -> _Tracker:
        return _Tracker(restriction)

    def restriction_size(self, reader: int, restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, reader: int, restriction: OffsetRange) -> None:
        """A drain reads no more."""


class _GiveFn(beam.DoFn):
    """A few batches a bundle."""

    _AT_ONCE: Final = 3

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        reader: int,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = beam.DoFn.RestrictionParam(_Batches()),  # noqa: B008
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[TimestampedValue]:
        batches = Published.batches[reader::_READERS]
        restriction = tracker.current_restriction()
        for number in range(restriction.start, restriction.start + self._AT_ONCE):
            if not tracker.try_claim(number):
                return
            batch = batches[number]
            finalizer.register(partial(_acknowledge, batch))
            for published_at, payload in batch.messages:
                yield TimestampedValue(PubsubMessage(payload, {}), published_at)
            watermark = Timestamp(batch.published_at)
            if watermark > (estimator.current_watermark() or Timestamp(0)):
                estimator.set_watermark(watermark)
        tracker.defer_remainder()


def _acknowledge(batch: _Batch) -> None:
    batch.is_acknowledged = True


@dataclass
class WholeJobs:
    """Jobs in a row on one dataset of the double, each on a strict runner of its own. What one of them has not read,
    since it was stopped or drained, comes to the next."""

    bigquery: BigQueryDouble
    folder: Path
    config: Config
    strictness: Strictness
    dataset: str = "d"
    options: tuple[str, ...] = ("--alias_window=10",)
    read: list[Sequence[bytes]] = field(default_factory=list)
    """What each job has read; an update is no other job."""
    reports: list[Report] = field(default_factory=list)
    shown: Callable[[Report], None] = lambda _: None
    """What is done with each report as it comes."""

    @property
    def _url(self) -> str:
        return f"bigquery://{_PROJECT}/{self.dataset}"

    def __post_init__(self) -> None:
        Published.batches = []
        self._lost: list[set[str]] = []
        """The events that jobs have lost, each behind the job of that number, by a stop."""

    def run_on_files(self, payloads: Sequence[bytes]) -> Report:
        """A bounded job, as on Dataflow, on one file."""
        file = self.folder / f"{len(self.reports)}.jsonl"
        file.write_bytes(b"".join(payload + b"\n" for payload in payloads))
        runner = StrictRunner(self.strictness)
        self._run([f"--input={file}"], runner, kind=JobKind.DATAFLOW_BATCH)
        self._has_read(payloads)
        return self.reports[-1]

    def run_on_subscription(
        self, payloads: Sequence[bytes], publication: Publication, rng: Random, interrupted: Interrupted | None = None
    ) -> StrictRunner:
        """An unbounded job, as on Dataflow, from its first message until the last is read, or until it is
        interrupted."""
        begin_s = time.time() + publication.begin_s
        Published.publish(payloads, publication, rng, begin_s)
        runner = StrictRunner(self.strictness, interrupted=interrupted)
        self._run_on_published(runner)
        self._has_read(Published.acknowledged())
        if runner.is_interrupted and interrupted is not None and interrupted.by is Interruption.STOP:
            self._lost[-1] = self._events(self.read[-1]) - self.stored_events().keys()
        return runner

    def update(
        self,
        runner: StrictRunner,
        interrupted: Interrupted | None = None,
        transform_names: Mapping[str, str] | None = None,
    ) -> StrictRunner:
        """A job that goes on with what the one of this runner has saved, as launched with `--update`."""
        runner = StrictRunner(
            self.strictness, interrupted=interrupted, saved=runner.saved, transform_names=transform_names
        )
        self._run_on_published(runner, "--update")
        self.read[-1] = Published.acknowledged()
        return runner

    def has_ended(self) -> bool:
        """Whether the newest job has entered its end, as one does that is drained."""
        newest = max(self.bigquery.rows(f"{_PROJECT}.{self.dataset}.jobs"), key=lambda row: row["generation"])
        return newest["ended_at"] is not None

    def _run_on_published(self, runner: StrictRunner, *options: str) -> None:
        with mock.patch("pipeline.sources.pubsub.ReadFromPubSub", ReadPublished):
            self._run([f"--input_subscription={SUBSCRIPTION}", *_DATAFLOW, *options], runner)

    def _run(self, inputs: Sequence[str], runner: StrictRunner, kind: JobKind | None = None) -> None:
        settings, options = self._parsed(*inputs)
        settings = replace(settings, kind=kind or settings.kind)
        appends = len(self.bigquery.requests.appends)
        try:
            _run_to_its_end(settings, options, runner)
        finally:
            sent = self.bigquery.requests.appends[appends:]
            report = runner.report.with_counts(_by_table(sent))
            self.reports.append(report)
            self.shown(report)

    def _parsed(self, *inputs: str) -> tuple[Settings, PipelineOptions]:
        connections = self.folder / "connections.yaml"
        connections.write_text(json.dumps(self.config.document()))
        return parse([*inputs, f"--warehouse={self._url}", f"--connections={connections}", *self.options])

    def _has_read(self, payloads: Sequence[bytes]) -> None:
        self.read.append(payloads)
        self._lost.append(set())

    def differences(self) -> list[str]:
        """In what the tables differ from what the replay makes of all that the jobs have read: one line for each. An
        event that a stop has lost is none."""
        found = warehouse.bigquery_tables(self.bigquery, f"{_PROJECT}.{self.dataset}")
        expected = replay(list(itertools.chain(*self.read)), self.config)
        lost = self.lost_events()
        expected = replace(expected, events={id: row for id, row in expected.events.items() if id not in lost})
        differ = warehouse.differences(found, expected)
        if again := self.events_again():
            differ.append(f"events: {again} rows are of messages that have one already")
        return [*differ, *self.audit()]

    def audit(self) -> list[str]:
        """In what the keyed tables differ from what the judge makes of the log: one line for each."""
        return audited(self._url, self.folder)

    def logged(self) -> int:
        """How many rows the log has."""
        table = TableName(_PROJECT, self.dataset, "identity_calls")
        with self.bigquery.catalog.lock:
            return len(self.bigquery.catalog.tables[table].rows())

    def log(self, payloads: Sequence[bytes]) -> int:
        """Logs the calls that these messages are, as a job does that is stopped before it has done anything else.
        Returns how many rows the log has."""
        settings, _ = self._parsed(f"--input_subscription={SUBSCRIPTION}", *_DATAFLOW)
        reader = Reader.of(settings.connections, settings.connection)
        opened = open_warehouse(settings.warehouse, create=True, update=False)
        try:
            job = opened.start(bounded=False, runner=settings.runner, options="", history=True)
            for begin in range(0, len(payloads), _LOGGED_AT_ONCE):
                received = [Received(payload) for payload in payloads[begin : begin + _LOGGED_AT_ONCE]]
                with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
                    parsed = pipeline | "Received" >> beam.Create(received, reshuffle=False) | "Parse" >> Parse(reader)
                    classified = parsed[Parse.CALLS] | "Classify" >> Classify()
                    _ = classified[Classify.IDENTITY_CALLS] | "Log" >> opened.log(job)
        finally:
            opened.close()
        return self.logged()

    def lost_events(self) -> set[str]:
        """The events that jobs had read when they were stopped, and not written, and that no job after them has read:
        a stop drops those that wait in state."""
        lost: set[str] = set()
        for payloads, of_job in zip(self.read, self._lost, strict=True):
            lost = (lost - self._events(payloads)) | of_job
        return lost

    def events_again(self) -> int:
        """How many rows of `events` are of a message that has one already, by the same job: a job does not know which
        events one before it has written."""
        stored = self.stored_events()
        for payloads in self.read:
            stored.subtract(self._events(payloads))
        return sum(rows for rows in stored.values() if rows > 0)

    def stored_events(self) -> Counter[str]:
        """How many rows `events` has of each message."""
        return Counter(row["message_id"] for row in self.bigquery.rows(f"{_PROJECT}.{self.dataset}.events"))

    def _events(self, payloads: Sequence[bytes]) -> set[str]:
        """The events that messages are."""
        return set(replay(list(payloads), self.config).events)


def _run_to_its_end(settings: Settings, options: PipelineOptions, runner: StrictRunner) -> None:
    opened = open_warehouse(settings.warehouse, create=settings.create, update=settings.update)
    try:
        job = opened.start(bounded=settings.kind.bounded, runner=settings.runner, options="", history=True)
        pipeline = beam.Pipeline(runner=runner, options=options)
        build(pipeline, settings, opened, job)
        pipeline.run()
        if not settings.kind.on_dataflow:
            opened.finish(job)
    finally:
        opened.close()


def _by_table(appends: Sequence[Any]) -> dict[str, int]:
    """Requests, rows and bytes of each table, as counts of a report."""
    counts: dict[str, int] = {}
    for append in appends:
        table = append.table
        of_append = {f"AppendRows requests to {table}": 1, f"rows to {table}": append.rows}
        for name, count in {**of_append, f"bytes to {table}": append.size}.items():
            counts[name] = counts.get(name, 0) + count
    return dict(sorted(counts.items()))


@contextmanager
def into_double() -> Iterator[BigQueryDouble]:
    """A double that is empty, which the jobs of this process find while the block lasts."""
    with BigQueryDouble(named_row_errors=2) as double, mock.patch.dict("os.environ", double.environment):
        yield double
