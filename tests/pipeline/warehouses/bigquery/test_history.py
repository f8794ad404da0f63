"""The log read back from the double, in streams that break."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp

import schemas.bigquery
from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery.history import ReadLog, written_until
from schemas import ddl
from schemas.bigquery import Dataset
from schemas.tables import IDENTITY_CALLS, Timestamp
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.tables import TableName
from tests.schemas import googlesql
from transforms.core.reader import Received

SALES = Dataset("acme-data", "sales")
NOON = Timestamp(1_700_000_000_000_000)
CALLS = 10_000


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served, mock.patch.dict(os.environ, served.environment):
        schemas.bigquery.create(schemas.bigquery.connect(SALES.project), SALES)
        table = served.catalog.tables[TableName(*SALES, "identity_calls")]
        table.append([row(number) for number in range(CALLS)])
        yield served


def row(number: int) -> tuple[object, ...]:
    """A call that was written so many microseconds after noon."""
    values = {
        **dict.fromkeys(column.name for column in IDENTITY_CALLS.columns),
        "message_id": f"m{number}",
        "type": "identify",
        "timestamp": NOON,
        "received_at": NOON,
        "connection": f"c{number % 3}",
        "traits": "{}",
        "context": "{}",
        "written_at": NOON + number,
        "payload": payload(number),
    }
    return tuple(values.values())


def payload(number: int) -> str:
    return f'{{"é": {number}}}'


def received(count: int) -> list[Received]:
    return [Received(payload(number).encode(), connection=f"c{number % 3}") for number in range(count)]


class _TimesFn(beam.DoFn):
    def process(self, _: Received, timestamp: BeamTimestamp = beam.DoFn.TimestampParam) -> Iterator[int]:  # type: ignore[assignment]
        yield timestamp.micros


def read(until: Timestamp | None, expected: list[Received]) -> None:
    """Reads the log as a job does whose log ended then."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    log = pipeline | "ReadLog" >> ReadLog(SALES, JobRun(NOON, NOON, until, bounded=True))
    assert_that(log, equal_to(expected), label="Calls")
    times = log | beam.ParDo(_TimesFn()) | beam.Distinct()
    assert_that(times, equal_to([MIN_TIMESTAMP.micros] if expected else []), label="Times")
    pipeline.run().wait_until_finish()


@pytest.mark.parametrize("count", [0, 1, 2500, CALLS])
def test_a_job_reads_what_was_logged_when_it_started(count: int, double: BigQueryDouble) -> None:
    read(Timestamp(NOON + count - 1), received(count))


def test_an_empty_log_is_not_read(double: BigQueryDouble) -> None:
    read(None, [])
    assert double.requests.reads == []


def test_streams_are_read_side_by_side_and_go_on_where_they_broke(double: BigQueryDouble) -> None:
    for after in (1000, 0, 2000):
        double.faults.break_read(after)
    read(Timestamp(NOON + CALLS), received(CALLS))
    streams = {name for name, _ in double.requests.reads}
    again = [offset for _, offset in double.requests.reads if offset]
    assert len(streams) > 1
    assert len(double.requests.reads) == len(streams) + 3
    assert again == [1000, 1000, 2500]


def test_googlesql_takes_the_restriction_and_means_the_same_moment() -> None:
    analyzer = googlesql.available()
    analyzer.create(ddl.googlesql(IDENTITY_CALLS))
    analyzer.analyze(f"SELECT payload FROM identity_calls WHERE {written_until(Timestamp(NOON + 1))}")
    (found,) = analyzer.query(f"SELECT {written_until(Timestamp(NOON + 1)).partition(' <= ')[2]} AS until")
    assert found["until"] == datetime(2023, 11, 14, 22, 13, 20, 1, timezone.utc)
