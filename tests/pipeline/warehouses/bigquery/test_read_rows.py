"""A table read in ranges: none is lost between them, between work items, or with a session that expires."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp
from google.api_core.exceptions import FailedPrecondition
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from pipeline import work_items
from pipeline.warehouses.bigquery import catalog, read_rows, read_session, statements
from pipeline.warehouses.bigquery import ddl as bigquery_ddl
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.history import written_until
from pipeline.warehouses.bigquery.read_rows import ReadRows, ReadRowsFn, RowRange, UnreadRows, ranges
from schemas.tables import IDENTITY_CALLS, Timestamp
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double import read_api as double_read_api
from tests.bigquery_double.read_api import ReadApi
from tests.bigquery_double.status import CallEnds
from tests.bigquery_double.tables import TableName
from tests.schemas import googlesql
from tests.work_items import run

SALES = Dataset("acme-data", "sales")
HOUR_US = 3_600_000_000
NOON = 1_700_000_000_000_000 // HOUR_US * HOUR_US
ROWS = 200
EVERY_US = HOUR_US // 20
"""The time between two rows: ten hours have some."""
ALL_ROWS = written_until(Timestamp(NOON))


# ---- ranges ----

HOURS = st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 100)), unique_by=lambda hour: hour[0]).map(
    lambda hours: [(number * HOUR_US, rows) for number, rows in sorted(hours)]
)


@given(HOURS, st.integers(1, 60))
def test_ranges_have_each_hour_once_and_few_rows(hours: list[tuple[int, int]], most: int) -> None:
    cut = [*ranges(hours, most)]
    assert sum(each.rows for each in cut) == sum(rows for _, rows in hours)
    assert all(0 < each.rows <= most and each.first <= each.last for each in cut)
    assert all(before.last < after.first for before, after in itertools.pairwise(cut))
    for begins, _ in hours:
        ends = begins + HOUR_US - 1
        covering = [each for each in cut if each.last >= begins and each.first <= ends]
        assert (covering[0].first <= begins, covering[-1].last >= ends) == (True, True)
        edges = [(before.last, after.first) for before, after in itertools.pairwise(covering)]
        assert all(last + 1 == first for last, first in edges), "no gap in an hour"


@given(st.integers(0, 10), st.integers(0, 10), st.integers(0, 100))
def test_halves_have_the_same_rows_and_are_not_begun(first: int, length: int, rows: int) -> None:
    halves = RowRange(first, first + length, rows, "a stream", 7).halves()
    assert len(halves) == (2 if length else 1)
    assert [at for half in halves for at in range(half.first, half.last + 1)] == [*range(first, first + length + 1)]
    assert sum(half.rows for half in halves) == rows
    assert all((half.stream, half.offset) == ("", 0) for half in halves)


# ---- reading ----


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with BigQueryDouble() as served, mock.patch.dict(os.environ, served.environment):
        catalog.create(catalog.connect(SALES.project), SALES)
        served.catalog.tables[TableName(*SALES, "identity_calls")].append([row(number) for number in range(ROWS)])
        yield served


def row(number: int) -> tuple[object, ...]:
    values = {
        **dict.fromkeys(column.name for column in IDENTITY_CALLS.columns),
        "message_id": f"m{number}",
        "type": "identify",
        "timestamp": NOON,
        "received_at": NOON + number * EVERY_US,
        "connection": "",
        "traits": "{}",
        "context": "{}",
        "written_at": NOON,
        "payload": f"{number:0100}",
    }
    return tuple(values.values())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A work item puts out a kilobyte, by five rows; a range has 30 rows, an answer 20; there are 3 readers."""
    monkeypatch.setattr(work_items, "BYTES", 1_000)
    for name, value in (("_READERS", 3), ("_LEAST_ROWS", 30), ("_MOST_ROWS", 30)):
        monkeypatch.setattr(read_rows, name, value)
    monkeypatch.setattr(double_read_api, "BATCH", 20)
    monkeypatch.setattr(read_session, "_BATCH_ROWS", 5)


def expire_after(reads: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Each session expires when its streams were read so often; returns how often each was."""
    answered: Counter[str] = Counter()
    rows = ReadApi._rows

    def answer(self: ReadApi, stream: str, offset: int) -> Iterator[Any]:
        session = stream.partition("/streams/")[0]
        answered[session] += 1
        if answered[session] > reads:
            words = f"there was an error operating on '{stream}': session expired at 2022-08-22T01:44:03+00:00"
            raise CallEnds(StatusCode.FAILED_PRECONDITION, words)
        yield from rows(self, stream, offset)

    monkeypatch.setattr(ReadApi, "_rows", answer)
    return answered


class NumbersFn(ReadRowsFn):
    """Gives the number of each row."""

    def __init__(self, *, present: bool = False) -> None:
        super().__init__(SALES, IDENTITY_CALLS, ["payload"], present=present)

    def values(self, rows: pa.RecordBatch) -> Iterable[int]:
        return [int(payload) for payload in rows.column("payload").to_pylist()]


def readers(present: bool = False) -> list[Any]:
    """What each reader is to read."""
    fn = read_rows._RangesFn(SALES, IDENTITY_CALLS, present=present)
    fn.setup()
    unread = [*fn.process(ALL_ROWS)]
    fn.teardown()
    return unread


def read(unread: UnreadRows, stop_after: int | None = None) -> list[list[int]]:
    """What each work item of a reader gives."""
    fn = NumbersFn()
    fn.setup()
    estimator = ManualWatermarkEstimator(None)
    process = partial(fn.process, estimator=estimator)
    found = run(lambda element, tracker: process(element, tracker), unread, read_rows._Unread(), stop_after=stop_after)
    fn.teardown()
    assert estimator.current_watermark() is None, "it is held where it is"
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("stop_after", [None, 1, 4, 5, 6, 13])
def test_work_items_are_bounded_and_give_each_row_once(stop_after: int | None, double: BigQueryDouble) -> None:
    parts = readers()
    assert len(parts) == 3
    found = [work_item for unread in parts for work_item in read(unread, stop_after)]
    assert sorted(number for work_item in found for number in work_item) == [*range(ROWS)]
    assert len(found) >= ROWS // 15
    assert max(map(len, found)) <= 15, "a kilobyte is ten rows; a batch is begun below it"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("reads", [1, 2])
def test_a_session_that_expires_costs_rows_that_come_again(
    reads: int, double: BigQueryDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = expire_after(reads, monkeypatch)
    found = [number for unread in readers() for work_item in read(unread) for number in work_item]
    assert {*found} == {*range(ROWS)}
    assert max(answered.values()) == reads + 1, "one has expired"
    assert len(found) < 6 * ROWS


@pytest.mark.usefixtures("small")
def test_a_session_that_was_just_opened_and_cannot_be_read_is_an_error(
    double: BigQueryDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_after(0, monkeypatch)
    with pytest.raises(FailedPrecondition, match="session expired"):
        read(readers()[0])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("reads", [2, 1_000])
def test_a_pipeline_reads_all_of_it(reads: int, double: BigQueryDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    expire_after(reads, monkeypatch)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        numbers = pipeline | beam.Create([ALL_ROWS]) | "Rows" >> ReadRows(NumbersFn())
        assert_that(numbers, has_all)


def has_all(numbers: list[int]) -> None:
    assert {*numbers} == {*range(ROWS)}


def test_what_is_read_in_the_present_moves_the_watermark(double: BigQueryDouble) -> None:
    before = BeamTimestamp.now()
    (part,) = readers(present=True)
    assert isinstance(part, TimestampedValue)
    assert part.timestamp >= before
    fn = NumbersFn(present=True)
    fn.setup()
    estimator = ManualWatermarkEstimator(None)
    tracker = read_rows._Unread().create_tracker(part.value)
    given = [*fn.process(part.value, tracker, estimator)]
    fn.teardown()
    assert len(given) == ROWS
    assert {value.timestamp for value in given} == {estimator.current_watermark()}
    ahead = BeamTimestamp.now() + 3600
    estimator.set_watermark(ahead)
    read_rows._advance(estimator, BeamTimestamp.now())
    assert estimator.current_watermark() == ahead


def test_googlesql_takes_what_cuts_and_bounds_a_range() -> None:
    analyzer = googlesql.available()
    analyzer.create(bigquery_ddl.create_table(IDENTITY_CALLS))
    analyzer.analyze(statements.rows_by_hour(IDENTITY_CALLS, None, ALL_ROWS))
    restriction = NumbersFn()._restriction(ALL_ROWS, RowRange(NOON, 253402300799999999, 1))
    analyzer.analyze(f"SELECT payload FROM identity_calls WHERE {restriction}")
