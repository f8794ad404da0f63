"""The log read back from the double, in streams that break."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp

from pipeline import work_items
from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery import catalog, read_rows, statements
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.bigquery.catalog import Dataset
from pipeline.warehouses.bigquery.history import ReadLog, written_until
from pipeline.warehouses.bigquery.queries import query
from schemas.tables import IDENTITY_CALLS, Timestamp
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.tables import TableName
from tests.schemas import googlesql
from transforms import metrics
from transforms.core.reader import Received
from transforms.core.rules_version import RULES_VERSION

SALES = Dataset("acme-data", "sales")
NOON = Timestamp(1_700_000_000_000_000)
CALLS = 10_000
_HOUR_US = 3_600_000_000


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served, mock.patch.dict(os.environ, served.environment):
        catalog.create(catalog.connect(SALES.project), SALES)
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
        "received_at": NOON // _HOUR_US * _HOUR_US + number * _HOUR_US // 2_500,
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


def read(until: Timestamp | None, expected: list[Received]) -> Mapping[str, int]:
    """Reads the log as a job does whose log ended then; returns what was counted."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    log = pipeline | "ReadLog" >> ReadLog(SALES, JobRun(NOON, NOON, until, bounded=True))
    assert_that(log, equal_to(expected), label="Calls")
    times = log | beam.ParDo(_TimesFn()) | beam.Distinct()
    assert_that(times, equal_to([MIN_TIMESTAMP.micros] if expected else []), label="Times")
    result = pipeline.run()
    result.wait_until_finish()
    return metrics.counts(result.metrics())


@pytest.mark.parametrize("count", [0, 1, 2500, CALLS])
def test_a_job_reads_what_was_logged_when_it_started(count: int, double: BigQueryDouble) -> None:
    counted = read(Timestamp(NOON + count - 1), received(count))
    assert counted == ({"received-messages": count} if count else {})


def rules_versions(double: BigQueryDouble) -> list[tuple[int, int | None]]:
    return [(job["generation"], job["rules_version"]) for job in double.rows(f"{SALES}.jobs")]


class _SinceFn(beam.DoFn):
    """Passes elements whose timestamps are not before `start`, in seconds."""

    def __init__(self, start: float) -> None:
        self.start = start

    def process(self, call: Received, timestamp: BeamTimestamp = beam.DoFn.TimestampParam) -> Iterator[Received]:  # type: ignore[assignment]
        if timestamp.micros >= self.start * 1e6:
            yield call


@pytest.mark.parametrize("log_until", [None, Timestamp(NOON + 10)])
def test_an_update_under_newer_rules_reads_all_of_the_log_in_the_present_and_enters_the_rules(
    log_until: Timestamp | None, double: BigQueryDouble
) -> None:
    statement = statements.enter_job(str(SALES))
    entered: dict[str, int | str] = {"started_at": NOON, "runner": "", "options": "", "rules_version": 0}
    entered["account_mappings"] = ""
    for generation in (NOON - 1, NOON):
        query(catalog.connect(SALES.project), statement, {**entered, "generation": generation})
    before = time.time()
    pipeline = beam.Pipeline(runner="FnApiRunner")
    job = JobRun(NOON, NOON, log_until, bounded=False, rereads_log=True)
    log = pipeline | "ReadLog" >> ReadLog(SALES, job)
    assert_that(log | beam.ParDo(_SinceFn(before)), equal_to(received(CALLS)))
    pipeline.run().wait_until_finish()
    assert sorted(rules_versions(double)) == [(NOON - 1, 0), (NOON, RULES_VERSION)]


def test_an_empty_log_is_not_read(double: BigQueryDouble) -> None:
    read(None, [])
    assert double.requests.reads == []


def test_ranges_are_read_by_several_readers_and_go_on_where_they_broke(
    double: BigQueryDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_rows, "_LEAST_ROWS", 2_500)
    for after in (1000, 0, 2000):
        double.faults.break_read(after)
    read(Timestamp(NOON + CALLS), received(CALLS))
    streams = {name for name, _ in double.requests.reads}
    again = [offset for _, offset in double.requests.reads if offset]
    assert len(streams) == 4, "an hour has 2,500 calls"
    assert len(double.requests.reads) == len(streams) + 3
    assert again == [1000, 1000, 2500]


def test_a_work_item_puts_out_few_calls(double: BigQueryDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_items, "BYTES", 1_000)
    read(Timestamp(NOON + CALLS), received(CALLS))
    offsets = [offset for _, offset in double.requests.reads]
    assert offsets == [*range(0, CALLS, 1_000)], "each goes on with the next answer"


def test_googlesql_takes_the_restriction_and_means_the_same_moment() -> None:
    analyzer = googlesql.available()
    analyzer.create(bigquery_ddl.create_table(IDENTITY_CALLS))
    analyzer.analyze(f"SELECT payload FROM identity_calls WHERE {written_until(Timestamp(NOON + 1))}")
    (found,) = analyzer.query(f"SELECT {written_until(Timestamp(NOON + 1)).partition(' <= ')[2]} AS until")
    assert found["until"] == datetime(2023, 11, 14, 22, 13, 20, 1, timezone.utc)
