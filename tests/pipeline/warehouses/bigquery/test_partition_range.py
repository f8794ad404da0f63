"""Which days go by a stream: those that BigQuery's documentation names, but for a margin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.util import assert_that, equal_to
from msgspec import structs

from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery import partition_range
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.partition_range import DAY_US, SplitByDay, appendable, partition_time, refusal
from pipeline.warehouses.bigquery.sink import AppendFn, LogFn
from schemas.tables import CONTACTS, DEAD_LETTERS, EVENTS, IDENTITY_CALLS, Contact, DeadLetter, Row, Table, Timestamp
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.tables import FUTURE, PAST
from tests.pipeline.warehouses.bigquery.conftest import DATASET, PROJECT
from tests.rows import NOON, call, event
from tests.transforms.core.calls import IDENTIFY, accepted
from transforms import metrics
from transforms.core.rows import Append, LogEntry

OF_CALLS = Dataset(PROJECT, DATASET)
MIDNIGHT = NOON // DAY_US * DAY_US
JOB = JobRun(NOON, NOON, None, bounded=False)

DAYS: list[tuple[int, int, bool]] = [
    (-3651, 0, False),
    (-3650, 0, True),
    (365, 0, True),
    (366, 0, False),
    (-3650, 1, False),
    (-3649, 1, True),
    (364, 1, True),
    (365, 1, False),
    (-3621, 30, False),
    (-3620, 30, True),
    (0, 30, True),
]


@pytest.mark.parametrize(("day", "margin", "is_taken"), DAYS)
@pytest.mark.parametrize("of_day", [0, DAY_US - 1])
def test_whole_days_from_ten_years_back_to_one_year_ahead_but_for_a_margin(
    day: int, margin: int, is_taken: bool, of_day: int
) -> None:
    for now in (MIDNIGHT, NOON, MIDNIGHT + DAY_US - 1):
        assert (MIDNIGHT + day * DAY_US + of_day in appendable(now, margin)) == is_taken


@pytest.mark.parametrize("margin", [partition_range.CLOCK_DAYS, partition_range.WAIT_DAYS])
def test_what_is_appended_is_taken_also_by_a_clock_that_is_a_day_off(margin: int) -> None:
    bounds = appendable(NOON, margin)
    for clock in (NOON - DAY_US + 1, NOON, NOON + DAY_US - 1):
        assert clock - PAST <= bounds.start
        assert bounds.stop - 1 <= clock + FUTURE


ROWS: list[tuple[Table, Row, Timestamp | None]] = [
    (EVENTS, event("m", received_at=5), Timestamp(5)),
    (IDENTITY_CALLS, structs.replace(call("m"), received_at=Timestamp(6)), Timestamp(6)),
    (CONTACTS, Contact("a"), None),
    (
        DEAD_LETTERS,
        DeadLetter(dead_letter_id="i", stage="s", reason="r", detail="d", payload=b"", attributes=Contact("a").traits),
        None,
    ),
]


@pytest.mark.parametrize(("table", "row", "time"), ROWS, ids=[table.name for table, *_ in ROWS])
def test_a_partition_goes_by_the_row_or_by_the_time_of_writing(table: Table, row: Row, time: Timestamp | None) -> None:
    assert partition_time(table, row) == time


def test_why_a_row_is_not_appended_is_one_line_with_the_day_the_range_and_the_command() -> None:
    assert refusal(Timestamp(0), appendable(NOON, 1), OF_CALLS) == (
        "the row is of 1970-01-01, and BigQuery takes rows from a stream from 2013-11-17 to 2024-11-12: with the job's"
        " --connections, python -m pipeline --redeliver=out_of_partition_range"
        " --warehouse=bigquery://analytics-prod/segment loads it"
    )


# ---- the sink ----


@pytest.fixture
def bigquery(open_bigquery: Callable[..., AbstractContextManager[BigQueryDouble]]) -> Iterator[BigQueryDouble]:
    clock = mock.patch("pipeline.warehouses.bigquery.sink.now_us", return_value=NOON)
    with clock, open_bigquery(now=NOON) as opened:
        yield opened


def old(append: Append) -> Append:
    return structs.replace(append, row=structs.replace(append.row, received_at=Timestamp(0)))


def test_a_row_of_another_day_is_a_dead_letter_and_is_not_sent(bigquery: BigQueryDouble) -> None:
    fn = AppendFn(OF_CALLS, EVENTS, JOB)
    fn.setup()
    fn.start_bundle()
    young = Append(event("young"), "event", b"{}")
    for append in (old(Append(event("old"), "event", b'{"m": 1}')), young):
        fn.process(append)
    with mock.patch.object(fn.tally, "report"):
        (letter,) = [output.value.row for output in fn.finish_bundle()]
    assert (letter.stage, letter.reason, letter.retryable) == ("write", "out_of_partition_range", True)
    assert (letter.payload, letter.message_id, letter.connection) == (b'{"m": 1}', "old", "web")
    assert letter.detail.startswith("the row is of 1970-01-01, and BigQuery takes rows from a stream from 2013-11-18 ")
    assert [row["message_id"] for row in bigquery.rows(f"{OF_CALLS}.events")] == ["young"]
    assert [request.rows for request in bigquery.requests.appends] == [1]
    assert fn.tally[metrics.DEAD_LETTERS.of("out_of_partition_range")] == 1
    assert fn.tally[metrics.OUTCOMES.of("dead_letter")] == fn.tally[metrics.OUTCOMES.of("event")] == 1


def test_a_call_of_another_day_leaves_no_fact(bigquery: BigQueryDouble) -> None:
    fn = LogFn(OF_CALLS, IDENTITY_CALLS, JOB)
    fn.setup()
    fn.start_bundle()
    entry = LogEntry(accepted(IDENTIFY), old(Append(call("m"), "identity_call", b"{}")))
    assert list(fn.process(entry, 0)) == []
    (output,) = fn.finish_bundle()
    assert isinstance(output, TaggedOutput)
    assert output.tag == "dead_letters"
    assert output.value.value.row.reason == "out_of_partition_range"
    assert bigquery.rows(f"{OF_CALLS}.identity_calls") == []
    assert bigquery.requests.appends == []


# ---- before the sink ----


def test_rows_are_split_by_their_day() -> None:
    edge = appendable(NOON, partition_range.WAIT_DAYS)
    rows = {name: Append(event(name, received_at=at)) for name, at in (("a", edge.start - 1), ("b", edge.start))}
    with (
        mock.patch("pipeline.warehouses.bigquery.partition_range.now_us", return_value=NOON),
        beam.Pipeline(runner="FnApiRunner") as pipeline,
    ):
        split = pipeline | beam.Create(list(rows.values()), reshuffle=False) | SplitByDay(EVENTS, Append)
        assert_that(split[SplitByDay.LOADED], equal_to([rows["a"]]), label="Loaded")
        assert_that(split[SplitByDay.APPENDED], equal_to([rows["b"]]), label="Appended")
