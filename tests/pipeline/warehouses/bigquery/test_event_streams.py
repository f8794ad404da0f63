"""Events in a job without end: gathered, sealed and appended to streams of the double."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from unittest import mock

import apache_beam as beam
import pytest

from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery.answers import StreamUnusable
from pipeline.warehouses.bigquery.append_stream import AppendStream, Delivery
from pipeline.warehouses.bigquery.appends import WriteFailed
from pipeline.warehouses.bigquery.created_streams import CreatedStreams
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.event_streams import AppendEvents, AppendEventsFn
from pipeline.warehouses.bigquery.partition_range import DAY_US
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from pipeline.warehouses.bigquery.sink import AppendRows
from schemas.tables import DEAD_LETTERS, EVENTS, Table
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.clients import eventually
from tests.bigquery_double.strictness import RowErrors
from tests.bigquery_double.write_streams import COMMITTED, PENDING
from tests.rows import NOON, event
from transforms import metrics
from transforms.core.rows import Append

JOB = JobRun(generation=NOON, started_at=NOON, log_until=None, bounded=False)
DATASET = Dataset("analytics-prod", "segment")
DELIVERY = Delivery(batch_bytes=20_000, answer_s=20, outage_s=60, news_s=0, first_pause_s=0.01, longest_pause_s=0.05)

Opened = Callable[..., AbstractContextManager[BigQueryDouble]]


@pytest.fixture
def bigquery(open_bigquery: Opened) -> Iterator[BigQueryDouble]:
    with open_bigquery() as opened:
        yield opened


def append(rows: Iterable[Append], *, shards: int = 4) -> Mapping[str, int]:
    """Appends events on a runner; returns what was counted."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = (
        pipeline
        | beam.Create(list(rows), reshuffle=False)
        | "Write" >> AppendEvents(DATASET, EVENTS, shards, DELIVERY, gathered_for_s=0)  # this runner waits for no time
        | "WriteDeadLetters" >> AppendRows(DATASET, DEAD_LETTERS, JOB, DELIVERY)
    )
    result = pipeline.run()
    result.wait_until_finish()
    return {name: count for name, count in metrics.counts(result.metrics()).items() if count}


def ids(bigquery: BigQueryDouble, table: Table = EVENTS) -> list[str]:
    return sorted(row["message_id"] for row in bigquery.rows(f"analytics-prod.segment.{table.name}"))


def test_events_go_to_as_many_streams_as_there_are_shards_each_once(bigquery: BigQueryDouble) -> None:
    counted = append(Append(event(f"m{number:03}"), "event") for number in range(300))
    assert ids(bigquery) == [f"m{number:03}" for number in range(300)]
    assert len(bigquery.write_api.streams.of("events")) == 4
    assert counted["written-rows:events"] == 300
    assert counted["outcome-calls:event"] == 300
    assert counted["sent-append-requests:events"] <= 8


def test_rows_that_cannot_be_stored_become_dead_letters_and_others_stay(bigquery: BigQueryDouble) -> None:
    rows = [Append(event(f"m{number:02}", b"NaN" if number % 10 == 0 else b"{}"), "event") for number in range(40)]
    rows.append(Append(event("m40", received_at=2**63), "event"))
    counted = append(rows)
    assert ids(bigquery) == [f"m{number:02}" for number in range(40) if number % 10]
    assert ids(bigquery, DEAD_LETTERS) == ["m00", "m10", "m20", "m30", "m40"]
    assert (counted["written-rows:events"], counted["outcome-calls:event"]) == (36, 36)
    assert counted["dead-letter-calls:invalid_field"] == 5
    assert counted["left-append-streams:events"] >= 1


def test_rows_of_days_that_no_stream_takes_become_dead_letters_before_they_are_gathered(
    bigquery: BigQueryDouble,
) -> None:
    counted = append([Append(event("old", received_at=NOON - 5000 * DAY_US), "event"), Append(event("m"), "event")])
    assert (ids(bigquery), ids(bigquery, DEAD_LETTERS)) == (["m"], ["old"])
    (letter,) = bigquery.rows("analytics-prod.segment.dead_letters")
    assert letter["reason"] == "out_of_partition_range"
    assert "--redeliver=out_of_partition_range" in letter["detail"]
    assert counted["dead-letter-calls:out_of_partition_range"] == 1


@pytest.mark.parametrize("row_errors", [RowErrors.UNNAMED, RowErrors.END])
def test_a_row_that_is_refused_without_its_name_is_found_and_nothing_of_the_search_is_stored(
    bigquery: BigQueryDouble, row_errors: RowErrors
) -> None:
    bigquery.strictness.row_errors = row_errors
    rows = [Append(event(f"m{number:02}", b"NaN" if number == 13 else b"{}"), "event") for number in range(40)]
    append(rows, shards=1)
    assert ids(bigquery) == [f"m{number:02}" for number in range(40) if number != 13]
    assert ids(bigquery, DEAD_LETTERS) == ["m13"]
    assert {stream.type for stream in bigquery.write_api.streams.of("events")} == {COMMITTED, PENDING}


def test_a_number_that_bigquery_writes_otherwise_is_written_so_once_it_is_refused(bigquery: BigQueryDouble) -> None:
    bigquery.strictness.exact_numbers = True
    append([Append(event("m1", b'{"a": 1760509016.2826370}')), Append(event("m2"))], shards=1)
    assert ids(bigquery) == ["m1", "m2"]


def test_requests_are_no_larger_than_the_server_takes(open_bigquery: Opened) -> None:
    with open_bigquery(request_limit=5_000) as bigquery:
        append((Append(event(f"m{number:03}", b'"' + b"x" * 700 + b'"')) for number in range(100)), shards=2)
        assert len(ids(bigquery)) == 100


def test_a_row_larger_than_a_request_is_a_dead_letter(bigquery: BigQueryDouble) -> None:
    with mock.patch(f"{__name__}.DELIVERY", replace(DELIVERY, request_bytes=25_000)):
        append([Append(event("m1", b'"' + b"x" * 30_000 + b'"')), Append(event("m2"))])
    assert (ids(bigquery), ids(bigquery, DEAD_LETTERS)) == (["m2"], ["m1"])


@pytest.mark.parametrize("seed", range(4))
def test_each_event_is_stored_once_whatever_becomes_of_requests(bigquery: BigQueryDouble, seed: int) -> None:
    bigquery.faults.at_random(0.4, seed)
    for method in ("CreateWriteStream", "FinalizeWriteStream"):
        bigquery.write_api.streams.leave_unanswered(method, 2)
    append(Append(event(f"m{number:03}")) for number in range(400))
    assert ids(bigquery) == [f"m{number:03}" for number in range(400)]
    assert bigquery.faults.struck


def test_streams_that_bigquery_has_forgotten_are_followed_by_others(bigquery: BigQueryDouble) -> None:
    fn = AppendEventsFn(DATASET, EVENTS, DELIVERY, gathered_for_s=0)
    fn.setup()
    streams = fn.streams
    name = streams.create()
    encoded = RowEncoder(EVENTS).encode(event("m1"))
    streams.append(name, 0, [encoded])
    bigquery.write_api.streams.forget()
    AppendStream.close_all()
    fn.setup()
    with pytest.raises(StreamUnusable):
        fn.streams.append(name, 1, [encoded])
    assert fn.streams.finalize(name) is None


def test_a_bundle_fails_when_streams_cannot_be_made(bigquery: BigQueryDouble) -> None:
    streams = CreatedStreams(DATASET, EVENTS, RowEncoder(EVENTS), replace(DELIVERY, outage_s=0.1), metrics.Tally())
    with bigquery.faults.outage(), pytest.raises(WriteFailed, match=r"segment\.events: UNAVAILABLE: .* in 0\.1 s"):
        streams.create()


def test_a_process_keeps_connections_to_so_many_streams_only(bigquery: BigQueryDouble) -> None:
    streams = CreatedStreams(DATASET, EVENTS, RowEncoder(EVENTS), DELIVERY, metrics.Tally())
    for number in range(70):
        streams.append(streams.create(), 0, [RowEncoder(EVENTS).encode(event(f"m{number}"))])
    eventually(lambda: bigquery.requests.open <= 64)
    assert len(ids(bigquery)) == 70
