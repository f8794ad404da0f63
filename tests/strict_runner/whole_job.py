"""The whole job on the strict runner, into the double of BigQuery, judged by the replay.

An unbounded job has the graph that Dataflow gets: all of it is the pipeline's own, but for what stands in place of
Beam's Pub/Sub source. It gives messages in batches, with times of publication that go on, some of them late, and ends.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final
from unittest import mock

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from judge import Config, replay
from pipeline.graph import build
from pipeline.job_kind import JobKind
from pipeline.options import Settings, options_without_secrets, parse
from pipeline.warehouses import open_warehouse
from tests import warehouse
from tests.bigquery_double import BigQueryDouble
from tests.fuzz.whole_job import audited, differences
from tests.strict_runner import Report, Strictness, StrictRunner

SUBSCRIPTION: Final = "projects/acme-web/subscriptions/calls"
_PROJECT: Final = "acme-data"
_DATAFLOW: Final = (
    "--runner=DataflowRunner",
    "--project=acme-web",
    "--region=europe-west1",
    "--temp_location=gs://a/b",
)
_BEGIN_S: Final = 1_790_000_000
_READERS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Publication:
    """How messages come: in batches of so many, one published every `every_s` seconds, of which a share is published
    `late_s` before its batch."""

    batch: int = 10
    every_s: float = 7.0
    late: float = 0.1
    late_s: float = 60.0


@dataclass
class _Batch:
    """Messages that come together, each with its time of publication in seconds."""

    published_at: float
    messages: list[tuple[float, bytes]]


class Published:
    """What this process has published, for the source that stands in place of Beam's."""

    batches: ClassVar[list[_Batch]] = []

    @classmethod
    def publish(cls, payloads: Sequence[bytes], publication: Publication, rng: Random, begin_s: float) -> None:
        """Puts all of them in place of what was published before."""
        cls.batches = []
        waiting = iter(payloads)
        for number in itertools.count():
            batch = list(itertools.islice(waiting, publication.batch))
            if not batch:
                return
            at = begin_s + number * publication.every_s
            times = [at - publication.late_s if rng.random() < publication.late else at for _ in batch]
            cls.batches.append(_Batch(at, list(zip(times, batch, strict=True))))


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
        tracker: Any = beam.DoFn.RestrictionParam(_Batches()),  # noqa: B008
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[TimestampedValue]:
        batches = Published.batches[reader::_READERS]
        restriction = tracker.current_restriction()
        for number in range(restriction.start, restriction.start + self._AT_ONCE):
            if not tracker.try_claim(number):
                return
            batch = batches[number]
            for published_at, payload in batch.messages:
                yield TimestampedValue(PubsubMessage(payload, {}), published_at)
            watermark = Timestamp(batch.published_at)
            if watermark > (estimator.current_watermark() or Timestamp(0)):
                estimator.set_watermark(watermark)
        tracker.defer_remainder()


@dataclass
class WholeJobs:
    """Jobs in a row on one dataset of the double, each on a strict runner of its own."""

    bigquery: BigQueryDouble
    folder: Path
    config: Config
    strictness: Strictness
    dataset: str = "d"
    options: tuple[str, ...] = ("--alias_window=10",)
    given: list[Sequence[bytes]] = field(default_factory=list)
    """What each job was given."""
    reports: list[Report] = field(default_factory=list)

    @property
    def _url(self) -> str:
        return f"bigquery://{_PROJECT}/{self.dataset}"

    def run_on_files(self, payloads: Sequence[bytes]) -> Report:
        """A bounded job, as on Dataflow, on one file."""
        file = self.folder / f"{len(self.reports)}.jsonl"
        file.write_bytes(b"".join(payload + b"\n" for payload in payloads))
        return self._run([f"--input={file}"], payloads, kind=JobKind.DATAFLOW_BATCH)

    def run_on_subscription(self, payloads: Sequence[bytes], publication: Publication, rng: Random) -> Report:
        """An unbounded job, as on Dataflow, from its first message until a drain's end."""
        Published.publish(payloads, publication, rng, _BEGIN_S + 86_400 * len(self.reports))
        with mock.patch("pipeline.sources.pubsub.ReadFromPubSub", ReadPublished):
            return self._run([f"--input_subscription={SUBSCRIPTION}", *_DATAFLOW], payloads)

    def _run(self, inputs: Sequence[str], payloads: Sequence[bytes], kind: JobKind | None = None) -> Report:
        connections = self.folder / "connections.yaml"
        connections.write_text(json.dumps(self.config.document()))
        arguments = [*inputs, f"--warehouse={self._url}", f"--connections={connections}", *self.options]
        settings, options = parse(arguments)
        settings = replace(settings, kind=kind or settings.kind)
        self.given.append(payloads)
        runner = StrictRunner(self.strictness)
        appends = len(self.bigquery.requests.appends)
        try:
            _run_to_its_end(settings, options, options_without_secrets(arguments), runner)
        finally:
            sent = self.bigquery.requests.appends[appends:]
            report = runner.report.with_counts(_by_table(sent))
            self.reports.append(report)
        return report

    def differences(self) -> list[str]:
        """In what the tables differ from what the replay makes of all that the jobs were given: one line for each."""
        found = warehouse.bigquery_tables(self.bigquery, f"{_PROJECT}.{self.dataset}")
        differ = differences(found, replay(list(itertools.chain(*self.given)), self.config))
        if again := self.events_again():
            differ.append(f"events: {again} rows are of messages that have one already")
        return [*differ, *audited(self._url, self.folder)]

    def events_again(self) -> int:
        """How many rows of `events` are of a message that has one already, by the same job: a job does not know which
        events one before it has written."""
        stored = Counter(row["message_id"] for row in self.bigquery.rows(f"{_PROJECT}.{self.dataset}.events"))
        for payloads in self.given:
            stored.subtract(replay(payloads, self.config).events.keys())
        return sum(rows for rows in stored.values() if rows > 0)


def _run_to_its_end(settings: Settings, options: Any, shown_options: str, runner: StrictRunner) -> None:
    opened = open_warehouse(settings.warehouse, create=settings.create, update=settings.update)
    try:
        job = opened.start(
            bounded=settings.kind.bounded, runner=settings.runner, options=shown_options, history=True, new=True
        )
        pipeline = beam.Pipeline(runner=runner, options=options)
        build(pipeline, settings, opened, job)
        pipeline.run()
        if not settings.kind.on_dataflow:
            opened.finish(job)
    finally:
        opened.close()


def _by_table(appends: Sequence[Any]) -> dict[str, int]:
    """Requests and rows of each table, as counts of a report."""
    counts: dict[str, int] = {}
    for append in appends:
        for name, count in ((f"AppendRows requests to {append.table}", 1), (f"rows to {append.table}", append.rows)):
            counts[name] = counts.get(name, 0) + count
    return dict(sorted(counts.items()))


@contextmanager
def into_double() -> Iterator[BigQueryDouble]:
    """A double that is empty, which the jobs of this process find while the block lasts."""
    with BigQueryDouble(named_row_errors=2) as double, mock.patch.dict("os.environ", double.environment):
        yield double
