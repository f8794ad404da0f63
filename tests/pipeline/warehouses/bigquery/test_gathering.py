"""Keyed rows gathered in buckets: many in a bundle, none lost, each given once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp

from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery.append_stream import Delivery
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.gathering import _GatherFn, _in_bucket
from pipeline.warehouses.bigquery.sink import UpsertRows
from schemas.tables import CONTACTS, Contact, Timestamp
from tests.bigquery_double import BigQueryDouble
from tests.rows import label
from transforms.core.rows import Upsert

JOB = JobRun(generation=1, started_at=Timestamp(1), log_until=None, bounded=False)
DELIVERY = Delivery(answer_s=20, news_s=0)
BUCKET = b"\0"


class Cell:
    def __init__(self) -> None:
        self.elements: list[Any] = []

    def read(self) -> list[Any]:
        return list(self.elements)

    def add(self, element: Any) -> None:
        self.elements.append(element)

    def clear(self) -> None:
        self.elements.clear()


class Bucket:
    """A bucket with its state, and the bundles that are run on it."""

    def __init__(self) -> None:
        self.fn = _GatherFn(gathered_for_s=3)
        self.rows, self.waiting = Cell(), Cell()
        self.timers: list[BeamTimestamp] = []

    def set(self, timestamp: BeamTimestamp) -> None:
        """Sets the timer."""
        self.timers.append(timestamp)

    def receives(self, upserts: Iterable[Upsert]) -> list[Upsert]:
        self.fn.start_bundle()
        state = (self.rows, self.waiting, self)
        return [given for upsert in upserts for given in self.fn.process((BUCKET, upsert), *state)]

    def fires(self) -> list[Upsert]:
        self.fn.start_bundle()
        return list(self.fn.give(BUCKET, self.rows, self.waiting))


def upserts(count: int) -> list[Upsert]:
    return [label(f"p{number}", 1, "ann") for number in range(count)]


def test_what_bundles_of_one_row_bring_is_given_together() -> None:
    bucket = Bucket()
    rows = upserts(300)
    assert [given for row in rows for given in bucket.receives([row])] == []
    assert len(bucket.timers) == 1
    assert bucket.fires() == rows
    assert bucket.fires() == []
    bucket.receives(rows)
    assert len(bucket.timers) == 2


def test_a_bundle_of_many_rows_leaves_few_in_state() -> None:
    bucket = Bucket()
    rows = upserts(1_200)
    assert bucket.receives(rows) == rows[500:]
    assert bucket.fires() == rows[:500]


def test_rows_of_a_key_are_in_one_bucket_and_keys_in_a_few() -> None:
    assert _in_bucket(label("p1", 1, "ann"))[0] == _in_bucket(label("p1", 2, None))[0]
    buckets = Counter(_in_bucket(row)[0] for row in upserts(1_000))
    assert len(buckets) == 8
    assert min(buckets.values()) > 80


def test_rows_of_a_streaming_job_are_written_in_batches(bigquery: BigQueryDouble) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    rows = [Upsert((f"p{number}",), (1, 1), Contact(f"p{number}")) for number in range(800)]
    step = UpsertRows(Dataset("analytics-prod", "segment"), CONTACTS, JOB, DELIVERY, gathered_for_s=0)
    _ = pipeline | beam.Create(rows, reshuffle=False) | "Write" >> step
    pipeline.run().wait_until_finish()
    assert len(bigquery.rows("analytics-prod.segment.contacts")) == 800
    assert len(bigquery.requests.appends) <= 8
