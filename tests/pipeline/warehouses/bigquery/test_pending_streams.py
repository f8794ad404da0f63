"""Events of a bounded job: streams that are committed when all of them are through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import apache_beam as beam
import pytest
from apache_beam.pvalue import TaggedOutput

from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery.append_stream import Delivery
from pipeline.warehouses.bigquery.appends import WriteFailed
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.pending_streams import AppendPending, PendingStream, _AppendFn, _CommitFn
from pipeline.warehouses.bigquery.sink import AppendRows
from schemas.tables import DEAD_LETTERS, EVENTS, Table
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.strictness import RowErrors
from tests.rows import NOON, event
from transforms import metrics
from transforms.core.packed_event import PackedEvent, pack
from transforms.core.rows import Append

JOB = JobRun(generation=NOON, started_at=NOON, log_until=None, bounded=True)
DATASET = Dataset("analytics-prod", "segment")
DELIVERY = Delivery(batch_bytes=2_000, answer_s=20, outage_s=60, news_s=0, first_pause_s=0.01, longest_pause_s=0.05)

Opened = Callable[..., AbstractContextManager[BigQueryDouble]]


@pytest.fixture
def bigquery(open_bigquery: Opened) -> Iterator[BigQueryDouble]:
    with open_bigquery() as opened:
        yield opened


def ids(bigquery: BigQueryDouble, table: Table = EVENTS) -> list[str]:
    return sorted(row["message_id"] for row in bigquery.rows(f"analytics-prod.segment.{table.name}"))


def append(rows: Iterable[Append]) -> Mapping[str, int]:
    """Appends events on a runner; returns what was counted."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = (
        pipeline
        | beam.Create(list(rows), reshuffle=False)
        | "Write" >> AppendPending(DATASET, EVENTS, DELIVERY)
        | "WriteDeadLetters" >> AppendRows(DATASET, DEAD_LETTERS, JOB, DELIVERY)
    )
    result = pipeline.run()
    result.wait_until_finish()
    return {name: count for name, count in metrics.counts(result.metrics()).items() if count}


def bundle(*message_ids: str, delivery: Delivery = DELIVERY) -> str:
    """Appends events in one bundle; returns the name of its stream."""
    fn = _AppendFn(DATASET, EVENTS, delivery)
    fn.setup()
    fn.start_bundle()
    events: Sequence[PackedEvent] = [pack(Append(event(id))) for id in message_ids]
    assert list(fn.process((b"\0\0", events))) == []
    (output,) = fn.finish_bundle()
    assert isinstance(output, TaggedOutput)
    key, stream = output.value.value
    assert key == b""
    assert isinstance(stream, PendingStream)
    return stream.name


def commit(*names: str) -> None:
    fn = _CommitFn(DATASET, EVENTS, DELIVERY)
    fn.setup()
    fn.process((b"", map(PendingStream, names)))


def test_events_are_in_the_table_once_all_streams_are_committed(bigquery: BigQueryDouble) -> None:
    counted = append(Append(event(f"m{number:03}"), "event") for number in range(300))
    assert ids(bigquery) == [f"m{number:03}" for number in range(300)]
    assert (counted["written-rows:events"], counted["outcome-calls:event"]) == (300, 300)
    assert bigquery.write_api.streams.calls == {
        "CreateWriteStream": 1,
        "FinalizeWriteStream": 1,
        "BatchCommitWriteStreams": 1,
    }


def test_a_bundle_that_is_tried_again_leaves_nothing_of_its_first_time(bigquery: BigQueryDouble) -> None:
    bundle("m1", "m2")
    again = bundle("m1", "m2")
    other = bundle("m3")
    assert ids(bigquery) == []
    commit(again, other)
    assert ids(bigquery) == ["m1", "m2", "m3"]
    commit(again, other)
    assert ids(bigquery) == ["m1", "m2", "m3"]


def test_more_streams_than_one_call_takes_are_committed_by_several_each_once(bigquery: BigQueryDouble) -> None:
    names = [bundle(f"m{number:03}") for number in range(150)]
    bigquery.write_api.streams.leave_unanswered("BatchCommitWriteStreams", 2)
    commit(*names)
    assert ids(bigquery) == [f"m{number:03}" for number in range(150)]


@pytest.mark.parametrize("row_errors", RowErrors)
def test_rows_that_are_refused_are_dead_letters(bigquery: BigQueryDouble, row_errors: RowErrors) -> None:
    bigquery.strictness.row_errors = row_errors
    rows = [Append(event(f"m{number:02}", b"NaN" if number in (7, 8) else b"{}"), "event") for number in range(40)]
    rows.append(Append(event("m40", received_at=2**63), "event"))
    counted = append(rows)
    assert ids(bigquery) == [f"m{number:02}" for number in range(40) if number not in (7, 8)]
    assert ids(bigquery, DEAD_LETTERS) == ["m07", "m08", "m40"]
    assert counted["dead-letter-calls:invalid_field"] == 3


@pytest.mark.parametrize("seed", range(4))
def test_each_event_is_stored_once_whatever_becomes_of_requests(bigquery: BigQueryDouble, seed: int) -> None:
    bigquery.faults.at_random(0.4, seed)
    for method in ("CreateWriteStream", "FinalizeWriteStream", "BatchCommitWriteStreams"):
        bigquery.write_api.streams.leave_unanswered(method, 2)
    append(Append(event(f"m{number:03}")) for number in range(400))
    assert ids(bigquery) == [f"m{number:03}" for number in range(400)]
    assert bigquery.faults.struck


def test_a_stream_that_holds_other_rows_than_the_bundle_wrote_is_not_given(bigquery: BigQueryDouble) -> None:
    fn = _AppendFn(DATASET, EVENTS, DELIVERY)
    fn.setup()
    fn.start_bundle()
    assert list(fn.process((b"\0\0", [pack(Append(event("m1" + "x" * 2_000)))]))) == []
    fn.offset += 1
    with pytest.raises(WriteFailed, match="holds 1 rows of 2; the bundle is tried again with another stream"):
        list(fn.finish_bundle())


def test_a_stream_that_is_gone_before_its_commit_fails_the_job(bigquery: BigQueryDouble) -> None:
    name = bundle("m1")
    bigquery.write_api.streams.forget()
    with pytest.raises(WriteFailed, match=r"made-0 cannot be committed: STREAM_NOT_FOUND; .* run it again"):
        commit(name)


def test_a_bundle_fails_while_bigquery_is_away(bigquery: BigQueryDouble) -> None:
    with bigquery.faults.outage(), pytest.raises(WriteFailed, match="UNAVAILABLE"):
        bundle("m1", delivery=replace(DELIVERY, outage_s=0.1))
