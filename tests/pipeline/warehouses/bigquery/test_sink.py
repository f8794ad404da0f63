"""The sink: rows in, rows in the tables or dead letters out, whatever becomes of connections meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.windowed_value import WindowedValue
from msgspec import Raw, structs

from pipeline.progress import TALLY
from pipeline.warehouses import JobRun
from pipeline.warehouses.bigquery.append_stream import Delivery
from pipeline.warehouses.bigquery.appends import WriteFailed
from pipeline.warehouses.bigquery.sink import AppendFn, AppendRows, UpsertFn, UpsertRows
from schemas.bigquery import Dataset
from schemas.tables import (
    ACCOUNTS,
    CONTACTS,
    DEAD_LETTERS,
    EVENTS,
    IDENTITIES,
    IDENTITY_CALLS,
    MEMBERSHIPS,
    Account,
    Contact,
    DeadLetter,
    Identity,
    Membership,
    Table,
    Timestamp,
)
from tests.bigquery_double import BigQueryDouble
from tests.rows import NOON, call, event
from transforms import metrics
from transforms.core.rows import Append, Upsert

LATER = Timestamp(4_000_000_000_000_000)
"""After whatever the clock of the machine says."""
DATASET = Dataset("analytics-prod", "segment")
JOB = JobRun(generation=LATER, started_at=NOON, log_until=LATER, bounded=True)
DELIVERY = Delivery(batch_bytes=20_000, answer_s=20, outage_s=60, news_s=0, first_pause_s=0.01, longest_pause_s=0.05)

Opened = Callable[..., AbstractContextManager[BigQueryDouble]]


@pytest.fixture
def bigquery(open_bigquery: Opened) -> Iterator[BigQueryDouble]:
    with open_bigquery(now=NOON) as opened:
        yield opened


def letter(payload: bytes) -> DeadLetter:
    return DeadLetter(
        dead_letter_id="id", stage="parse", reason="r", detail="why", payload=payload, attributes=Raw(b"{}")
    )


def written(bigquery: BigQueryDouble, table: Table) -> list[dict[str, Any]]:
    """The rows of a table, by key."""
    rows = bigquery.rows(f"analytics-prod.segment.{table.name}")
    return sorted(rows, key=lambda row: [str(row[name]) for name in table.key])


def append(elements: Iterable[Append], table: Table = EVENTS, delivery: Delivery = DELIVERY) -> list[Append]:
    """Writes elements in one bundle; returns the dead letters."""
    return list(bundle(AppendFn(DATASET, table, JOB, delivery), elements))


def upsert(
    elements: Iterable[Upsert], table: Table = IDENTITIES, job: JobRun = JOB, delivery: Delivery = DELIVERY
) -> tuple[int, list[Append]]:
    """Writes elements in one bundle; returns the number of rows taken, and the dead letters."""
    taken, *letters = bundle(UpsertFn(DATASET, table, job, delivery), elements)
    return taken, letters


def bundle(fn: Any, elements: Iterable[Any]) -> Iterator[Any]:
    fn.setup()
    fn.start_bundle()
    for element in elements:
        fn.process(element)
    for output in fn.finish_bundle():
        if isinstance(output, TaggedOutput):
            assert output.tag == UpsertRows.DEAD_LETTERS
            output = output.value
        assert isinstance(output, WindowedValue)
        yield output.value


def feed(elements: Sequence[Any], step: beam.PTransform, expected: Mapping[str, Sequence[Any]]) -> Mapping[str, int]:
    """Runs a step on elements, checks its outputs by name; returns what was counted."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    outputs = pipeline | beam.Create(elements, reshuffle=False) | step
    named = outputs if isinstance(outputs, dict) else {"": outputs}
    for name, values in expected.items():
        assert_that(named[name], equal_to(values), label=f"check {name}")
    result = pipeline.run()
    result.wait_until_finish()
    return {name: count for name, count in metrics.counts(result.metrics()).items() if count}


# ---- appended rows ----


def test_rows_are_written_when_the_bundle_ends_and_counted_by_outcome(bigquery: BigQueryDouble) -> None:
    appends = [
        Append(event("m1", b'{"a": 1}'), "event", b"1"),
        Append(event("m2"), None, b"2"),
        Append(event("m3"), "event", b"3"),
    ]
    counted = feed(appends, AppendRows(DATASET, EVENTS, JOB, DELIVERY), {"": []})
    assert [row["message_id"] for row in written(bigquery, EVENTS)] == ["m1", "m2", "m3"]
    assert written(bigquery, EVENTS)[0]["properties"] == '{"a": 1}'
    assert counted == {
        "written-rows:events": 3,
        "outcome-calls:event": 2,
        "sent-append-requests:events": 1,
        "opened-append-streams:events": 1,
    }


def test_rows_that_cannot_be_stored_become_dead_letters_with_the_message_and_the_reason(
    bigquery: BigQueryDouble,
) -> None:
    appends = [
        Append(event("m1"), "event", b"m1"),
        Append(event("m2", b"NaN"), "event", b"m2", {"connection": "web"}),
        Append(event("m3", name="\ud800"), "event", b"m3"),
        Append(event("m4", b"[1e999]"), None, b"m4"),
    ]
    letters = append(appends)
    assert [row["message_id"] for row in written(bigquery, EVENTS)] == ["m1"]
    rows = [each.row for each in letters]
    assert all(isinstance(row, DeadLetter) and row.stage == "write" and row.reason == "invalid_field" for row in rows)
    assert {row.message_id: row.payload for row in rows if isinstance(row, DeadLetter)} == {
        "m2": b"m2",
        "m3": b"m3",
        "m4": b"m4",
    }
    details = {row.message_id: row.detail for row in rows if isinstance(row, DeadLetter)}
    assert details["m2"].startswith("Field properties: invalid JSON")
    assert details["m3"] == "name: the text has a lone surrogate, which UTF-8 cannot hold"
    assert [each.outcome for each in letters] == [None] * 3


def test_refused_rows_are_counted_as_dead_letters(bigquery: BigQueryDouble) -> None:
    appends = [Append(event("m1"), "event"), Append(event("m2", b"NaN"), "event"), Append(event("m3", b"NaN"))]
    step = AppendRows(DATASET, EVENTS, JOB, DELIVERY) | beam.Map(lambda append: append.row.message_id)
    counted = feed(appends, step, {"": ["m2", "m3"]})
    assert counted["written-rows:events"] == 1
    assert counted["outcome-calls:event"] == 1
    assert counted["outcome-calls:dead_letter"] == 1
    assert counted["dead-letter-calls:invalid_field"] == 1


def test_a_row_larger_than_a_request_is_a_dead_letter_with_the_whole_message(bigquery: BigQueryDouble) -> None:
    payload = "x" * 30_000
    letters = append(
        [
            Append(call("m1"), "identity_call", b"1"),
            Append(call("m2", payload=payload), "identity_call", payload.encode()),
        ],
        IDENTITY_CALLS,
        replace(DELIVERY, request_bytes=25_000),
    )
    (refused,) = [each.row for each in letters]
    assert isinstance(refused, DeadLetter)
    assert refused.payload == payload.encode()
    assert refused.detail.startswith("the row of 30")
    assert refused.detail.endswith("bytes is larger than a request can hold")
    assert [row["message_id"] for row in written(bigquery, IDENTITY_CALLS)] == ["m1"]


def test_requests_are_no_larger_than_allowed(bigquery: BigQueryDouble) -> None:
    rows = [Append(event(f"m{number:04}", b'"' + b"x" * 700 + b'"')) for number in range(500)]
    append(rows, delivery=replace(DELIVERY, batch_bytes=1_000_000, request_bytes=10_000))
    assert len(written(bigquery, EVENTS)) == 500
    overhead = 2_000  # the writer schema of the first request
    assert 9_000 < bigquery.requests.largest < 10_000 + overhead


@pytest.mark.parametrize(
    ("table", "row", "column"),
    [
        (IDENTITY_CALLS, structs.replace(call("m1"), received_at=LATER), "written_at"),
        (DEAD_LETTERS, letter(b"x"), "failed_at"),
    ],
)
def test_the_log_is_written_after_all_that_was_in_it(
    open_bigquery: Opened, table: Table, row: Any, column: str
) -> None:
    with open_bigquery(now=LATER) as bigquery:
        append([Append(row)], table)
        assert [each[column] for each in written(bigquery, table)] == [LATER + 1]


def test_a_dead_letter_that_is_too_large_is_cut_and_written(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, request_limit=1_500_000) as bigquery:
        job = structs.replace(JOB, log_until=None)
        fn = AppendFn(DATASET, DEAD_LETTERS, job, DELIVERY)
        bigquery.catalog.now = None
        assert list(bundle(fn, [Append(letter(b"x" * 2_000_000)), Append(letter(b"y"))])) == []
        cut, whole = sorted(written(bigquery, DEAD_LETTERS), key=lambda row: row["payload"])
        assert (cut["payload"], whole["payload"]) == (b"x" * 1_000_000, b"y")
        assert cut["detail"].startswith("why; cut from 2000000 bytes, SHA-256 ")


def test_dead_letters_show_in_the_progress_of_the_process(bigquery: BigQueryDouble) -> None:
    bigquery.catalog.now = None
    TALLY.clear()
    feed(
        [Append(letter(b"x"))],
        AppendRows(DATASET, DEAD_LETTERS, structs.replace(JOB, log_until=None), DELIVERY),
        {"": []},
    )
    assert TALLY.dead_letters == 1


def test_a_dead_letter_that_is_refused_fails_the_bundle(bigquery: BigQueryDouble) -> None:
    with pytest.raises(WriteFailed, match="BigQuery refuses the dead letter id: Field failed_at: the partition"):
        append([Append(letter(b"x"))], DEAD_LETTERS)  # its partition, by the job's clock, is far ahead of BigQuery's


# ---- keyed rows ----


def test_the_greatest_version_of_each_key_stands_whatever_the_order(bigquery: BigQueryDouble) -> None:
    versions = [
        Upsert(("a",), (1, 2), Identity("a", "new")),
        Upsert(("a",), (1, 1), Identity("a", "old")),
        Upsert(("b",), (0, 1), Identity("b", "old")),
        Upsert(("b",), (0, 2), None),
        Upsert(("c",), (2, 0), None),
        Upsert(("c",), (1, 9), Identity("c", "old")),
    ]
    for order in range(5):
        Random(order).shuffle(versions)
        assert upsert(versions) == (6, [])
        assert [(row["id"], row["external_id"]) for row in written(bigquery, IDENTITIES)] == [("a", "new")]


def test_a_later_job_stands_over_an_earlier_and_its_sweep_removes_what_it_has_not_written(
    bigquery: BigQueryDouble,
) -> None:
    later = structs.replace(JOB, generation=JOB.generation + 1)
    upsert([Upsert((id,), (9, 9), Identity(id, "old")) for id in ("a", "b", "c")])
    upsert([Upsert(("a",), (0, 1), Identity("a", "new"))], job=later)
    upsert([Upsert((id,), (), None) for id in ("a", "b")], job=later)
    upsert([Upsert((id,), (9, 10), Identity(id, "stale")) for id in ("a", "b")])
    assert {row["id"]: row["external_id"] for row in written(bigquery, IDENTITIES)} == {"a": "new", "c": "old"}


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (CONTACTS, Contact("ann", updated_at=None)),
        (ACCOUNTS, Account("acme", "Acme")),
        (IDENTITIES, Identity("a", "ann")),
        (MEMBERSHIPS, Membership("ann", "acme", "group", NOON, NOON)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_every_keyed_table_takes_rows_and_tombstones(bigquery: BigQueryDouble, table: Table, row: Any) -> None:
    key = tuple(getattr(row, name) for name in table.key)
    upsert([Upsert(key, (1, 1), row)], table)
    (stored,) = written(bigquery, table)
    assert stored["updated_at"] == JOB.generation  # never before the job, whatever the clock
    upsert([Upsert(key, (1, 2), None)], table)
    assert written(bigquery, table) == []


def test_upserts_are_counted_and_refused_ones_are_dead_letters_with_the_row(bigquery: BigQueryDouble) -> None:
    upserts = [
        Upsert(("a",), (0, 1), Contact("a")),
        Upsert(("b",), (0, 1), Contact("b", traits=Raw(b'{"score":1e999}'))),
        Upsert(("c",), (0, 1), None),
    ]
    taken, (refused,) = upsert(upserts, CONTACTS)
    assert taken == 2
    assert isinstance(refused.row, DeadLetter)
    assert (refused.row.stage, refused.row.reason) == ("write", "invalid_field")
    assert refused.row.detail.startswith("contacts ('b',): Field traits: invalid JSON")
    assert b'"traits":{"score":1e999}' in refused.row.payload
    assert [row["external_id"] for row in written(bigquery, CONTACTS)] == ["a"]
    step = UpsertRows(DATASET, CONTACTS, JOB, DELIVERY)
    counted = feed(upserts, step, {UpsertRows.TAKEN: [2], UpsertRows.DEAD_LETTERS: [refused]})
    assert counted["written-rows:contacts"] == 1


def test_a_contact_too_large_for_a_request_is_a_dead_letter_cut_to_its_first_megabyte(
    bigquery: BigQueryDouble,
) -> None:
    traits = Raw(json.dumps({"notes": "x" * 9_500_000}).encode())
    taken, (refused,) = upsert([Upsert(("a",), (0, 1), Contact("a", traits=traits))], CONTACTS, delivery=Delivery())
    assert taken == 0
    assert isinstance(refused.row, DeadLetter)
    assert refused.row.reason == "too_large"
    assert len(refused.row.payload) == 1_000_000
    assert "is larger than a request can hold" in refused.row.detail


def test_rows_of_a_streaming_job_are_made_stable_before_they_are_written(bigquery: BigQueryDouble) -> None:
    def labels(job: JobRun) -> set[str]:
        pipeline = beam.Pipeline(runner="FnApiRunner")
        _ = (
            pipeline
            | beam.Create([Upsert(("a",), (1, 1), None)])
            | "Write" >> UpsertRows(DATASET, IDENTITIES, job, DELIVERY)
        )
        return {each.unique_name for each in pipeline.to_runner_api().components.transforms.values()}

    assert "Write/Stable" in labels(structs.replace(JOB, bounded=False))
    assert "Write/Stable" not in labels(JOB)
    upserts = [Upsert(("a",), (1, 1), Identity("a", "ann"))]
    feed(
        upserts, UpsertRows(DATASET, IDENTITIES, structs.replace(JOB, bounded=False), DELIVERY), {UpsertRows.TAKEN: [1]}
    )
    assert [row["id"] for row in written(bigquery, IDENTITIES)] == ["a"]


def test_rows_of_any_window_are_written(bigquery: BigQueryDouble) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    upserts = pipeline | beam.Create([Upsert(("a",), (1, 1), Identity("a", "ann"))])
    windowed = upserts | beam.WindowInto(FixedWindows(1))
    taken = (windowed | "Write" >> UpsertRows(DATASET, IDENTITIES, JOB, DELIVERY))[UpsertRows.TAKEN]
    assert_that(taken, equal_to([1]))
    pipeline.run().wait_until_finish()
    assert [row["id"] for row in written(bigquery, IDENTITIES)] == ["a"]


# ---- connections that break ----


def test_nothing_of_100_000_rows_is_lost_when_connections_are_killed_at_random(bigquery: BigQueryDouble) -> None:
    bigquery.faults.at_random(0.1, seed=5)
    ended = threading.Event()

    def kill() -> None:
        pauses = Random(6)
        while not ended.wait(pauses.uniform(0, 0.2)):
            pauses.choice([bigquery.break_connections, bigquery.close_idle])()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        append(Append(event(f"m{number}")) for number in range(80_000))
        versions = [(id, version) for version in range(1, 5) for id in range(5_000)]
        Random(7).shuffle(versions)
        taken, letters = upsert(
            Upsert((f"p{id}",), (0, version), None if id % 5 == version else Identity(f"p{id}", f"at {version}"))
            for id, version in versions
        )
    finally:
        ended.set()
        killer.join()
    assert (taken, letters) == (20_000, [])
    assert {row["message_id"] for row in written(bigquery, EVENTS)} == {f"m{number}" for number in range(80_000)}
    expected = {f"p{id}": "at 4" for id in range(5_000) if id % 5 != 4}
    assert {row["id"]: row["external_id"] for row in written(bigquery, IDENTITIES)} == expected
    assert bigquery.requests.opened > 20


def test_threads_of_one_process_write_through_one_connection_and_lose_nothing(bigquery: BigQueryDouble) -> None:
    bigquery.faults.at_random(0.1, seed=8)
    failures = []

    def write(thread: int) -> None:
        fn = AppendFn(DATASET, EVENTS, JOB, replace(DELIVERY, in_flight_requests=4))
        try:
            for each in range(5):
                list(bundle(fn, [Append(event(f"{thread}-{each}-{number}")) for number in range(400)]))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({row["message_id"] for row in written(bigquery, EVENTS)}) == 16_000
    assert bigquery.requests.most_open == 1


def test_a_bundle_fails_when_bigquery_stays_away_and_is_complete_when_tried_again(bigquery: BigQueryDouble) -> None:
    rows = [Append(event(f"m{number}")) for number in range(2_000)]
    fn = AppendFn(DATASET, EVENTS, JOB, replace(DELIVERY, outage_s=0.3))
    with bigquery.faults.outage(), pytest.raises(WriteFailed, match="UNAVAILABLE"):
        list(bundle(fn, rows))
    assert list(bundle(fn, rows)) == []
    assert {row["message_id"] for row in written(bigquery, EVENTS)} == {f"m{number}" for number in range(2_000)}
