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
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp as BeamTimestamp
from apache_beam.utils.windowed_value import WindowedValue
from msgspec import Raw, structs

from pipeline.warehouses import JobRun, base
from pipeline.warehouses.bigquery.append_stream import Delivery
from pipeline.warehouses.bigquery.appends import WriteFailed
from pipeline.warehouses.bigquery.dataset import Dataset
from pipeline.warehouses.bigquery.sink import AppendFn, AppendRows, LogCalls, LogFn, UpsertFn, UpsertRows
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
    IdentityCall,
    Membership,
    Table,
    Timestamp,
)
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.faults import BROKEN_AFTER_WRITING, late
from tests.rows import NOON, call, event
from tests.transforms.core.calls import IDENTIFY, accepted
from transforms import metrics
from transforms.core.reader import Call
from transforms.core.rows import Append, LogEntry, Upsert

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
    """Writes elements in one bundle; returns the number of rows accepted, and the dead letters."""
    count, *letters = bundle(UpsertFn(DATASET, table, job, delivery), elements)
    return count, letters


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
    rows = [append.row for append in letters]
    assert all(isinstance(row, DeadLetter) and row.stage == "write" and row.reason == "invalid_field" for row in rows)
    assert {row.message_id: row.payload for row in rows if isinstance(row, DeadLetter)} == {
        "m2": b"m2",
        "m3": b"m3",
        "m4": b"m4",
    }
    details = {row.message_id: row.detail for row in rows if isinstance(row, DeadLetter)}
    assert details["m2"].startswith("Field properties: invalid JSON")
    assert details["m3"] == "name: the text has a lone surrogate, which UTF-8 cannot hold"
    assert [append.outcome for append in letters] == [None] * 3


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
    (refused,) = [append.row for append in letters]
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
    ("table", "row", "column", "now"),
    [
        (IDENTITY_CALLS, call("m1"), "written_at", NOON),
        (DEAD_LETTERS, letter(b"x"), "failed_at", LATER),
    ],
)
def test_the_log_is_written_after_all_that_was_in_it(
    open_bigquery: Opened, table: Table, row: Any, column: str, now: int
) -> None:
    with open_bigquery(now=now) as bigquery:
        append([Append(row)], table)
        assert [stored[column] for stored in written(bigquery, table)] == [LATER + 1]


def test_a_dead_letter_that_is_too_large_is_cut_and_written(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, request_limit=1_500_000) as bigquery:
        job = structs.replace(JOB, log_until=None)
        fn = AppendFn(DATASET, DEAD_LETTERS, job, DELIVERY)
        bigquery.catalog.now = None
        assert list(bundle(fn, [Append(letter(b"x" * 2_000_000)), Append(letter(b"y"))])) == []
        cut, whole = sorted(written(bigquery, DEAD_LETTERS), key=lambda row: row["payload"])
        assert (cut["payload"], whole["payload"]) == (b"x" * 1_000_000, b"y")
        assert cut["detail"].startswith("why; cut from 2000000 bytes, SHA-256 ")


def test_a_dead_letter_that_is_refused_fails_the_bundle(bigquery: BigQueryDouble) -> None:
    with pytest.raises(WriteFailed, match="BigQuery refuses the dead letter id: Field failed_at: the partition"):
        append([Append(letter(b"x"))], DEAD_LETTERS)  # its partition, by the job's clock, is far ahead of BigQuery's


# ---- the log ----


def entry(row: IdentityCall, outcome: str | None = "identity_call") -> LogEntry:
    """An entry whose message names its row."""
    received = accepted({**IDENTIFY, "messageId": row.message_id})
    return LogEntry(call=received, append=Append(row, outcome, received.message, {"k": "v"}))


class Log:
    """Runs the step that writes the log, as a runner does: each element with a timestamp, which is its number."""

    def __init__(self, delivery: Delivery = DELIVERY) -> None:
        self.fn = LogFn(DATASET, IDENTITY_CALLS, JOB, delivery)
        self.fn.setup()
        self.letters: list[DeadLetter] = []

    def bundle(self, entries: Iterable[LogEntry]) -> Iterator[str]:
        """The message ids of the logged calls, as they are given."""
        self.letters.clear()
        self.fn.start_bundle()
        for number, element in enumerate(entries):
            yield from self._logged(self.fn.process(element, BeamTimestamp(number)))
        yield from self._logged(self.fn.finish_bundle())

    def _logged(self, outputs: Iterable[WindowedValue | TaggedOutput]) -> Iterator[str]:
        for output in outputs:
            if isinstance(output, TaggedOutput):
                assert output.tag == base.DEAD_LETTERS
                self.letters.append(output.value.value.row)
            else:
                assert isinstance(output.value, Call)
                yield output.value.message_id


def ids(bigquery: BigQueryDouble) -> list[str]:
    return [row["message_id"] for row in written(bigquery, IDENTITY_CALLS)]


SMALL = replace(DELIVERY, request_bytes=25_000)
REFUSALS: list[tuple[str, IdentityCall, int | None, str]] = [
    ("larger than a request", call("bad", payload="x" * 30_000), None, "bytes is larger than a request can hold"),
    ("larger than the server takes", call("bad", payload="x" * 9_000), 8_000, "AppendRows request too large"),
    ("a lone surrogate", call("bad", user_id="\ud800"), None, "user_id: the text has a lone surrogate"),
    (
        "a time out of range",
        structs.replace(call("bad"), timestamp=Timestamp(2**63)),
        None,
        "is outside the years 1 to 9999",
    ),
    ("a number beyond FLOAT64", structs.replace(call("bad"), traits=Raw(b'{"a":1e999}')), None, "Field traits: inv"),
    ("NaN", structs.replace(call("bad"), context=Raw(b'{"a":NaN}')), None, "Field context: invalid JSON"),
    (
        "JSON too deep",
        structs.replace(call("bad"), traits=Raw(b'{"a":' * 501 + b"1" + b"}" * 501)),
        None,
        "Field traits: the JSON is nested deeper",
    ),
]


@pytest.mark.parametrize(("what", "bad", "limit", "why"), REFUSALS, ids=[what for what, *_ in REFUSALS])
def test_a_call_that_the_log_refuses_is_a_dead_letter_and_not_given(
    what: str, bad: IdentityCall, limit: int | None, why: str, open_bigquery: Opened
) -> None:
    with open_bigquery(now=NOON, **({} if limit is None else {"request_limit": limit})) as bigquery:
        log = Log(SMALL)
        assert list(log.bundle([entry(call("m1")), entry(bad), entry(call("m2"))])) == ["m1", "m2"]
        assert ids(bigquery) == ["m1", "m2"]
        (letter,) = log.letters
        assert (letter.message_id, letter.stage, letter.reason) == ("bad", "write", "invalid_field")
        assert letter.payload == accepted({**IDENTIFY, "messageId": "bad"}).message
        assert why in letter.detail


@pytest.mark.parametrize("named", [1, None])
def test_a_refusal_that_comes_when_the_bundle_ends_leaves_no_call(named: int | None, open_bigquery: Opened) -> None:
    """BigQuery answers when all elements are processed, names some of the bad rows, and the others when it is asked
    again."""
    rows = [structs.replace(call(f"m{n}"), traits=Raw(b"NaN" if n % 3 == 0 else b"{}")) for n in range(10)]
    with open_bigquery(now=NOON, named_row_errors=named) as bigquery:
        bigquery.faults.at(1, late(0.2))
        log = Log(replace(DELIVERY, batch_bytes=1))
        given = list(log.bundle(map(entry, rows)))
        assert sorted(given) == ids(bigquery) == ["m1", "m2", "m4", "m5", "m7", "m8"]
        assert sorted(str(letter.message_id) for letter in log.letters) == ["m0", "m3", "m6", "m9"]


def test_calls_are_given_when_they_are_in_the_log_and_few_are_held(bigquery: BigQueryDouble) -> None:
    log = Log(replace(DELIVERY, batch_bytes=500))
    processed: list[str] = []

    def entries() -> Iterator[LogEntry]:
        for number in range(200):
            processed.append(f"m{number:03}")
            yield entry(call(processed[-1]))

    most_held = given = 0
    for message_id in log.bundle(entries()):
        assert message_id in ids(bigquery)
        most_held = max(most_held, len(processed) - given)
        given += 1
    assert given == 200
    assert most_held < 100


def test_a_bundle_that_is_tried_again_gives_the_same_calls_again(bigquery: BigQueryDouble) -> None:
    rows = [structs.replace(call(f"m{n:02}"), traits=Raw(b"NaN" if n == 7 else b"{}")) for n in range(40)]
    logged = [f"m{n:02}" for n in range(40) if n != 7]
    log = Log(replace(DELIVERY, batch_bytes=1_000, outage_s=0.3))
    bigquery.faults.at(2, BROKEN_AFTER_WRITING)
    assert list(log.bundle(map(entry, rows))) == logged
    with bigquery.faults.outage(), pytest.raises(WriteFailed, match="UNAVAILABLE"):
        list(log.bundle(map(entry, rows)))
    for _ in range(2):
        assert list(log.bundle(map(entry, rows))) == logged
        assert [letter.message_id for letter in log.letters] == ["m07"]
    assert set(ids(bigquery)) == set(logged)


class _TimesFn(beam.DoFn):
    def process(self, call: Call, timestamp: Any = beam.DoFn.TimestampParam) -> Iterator[tuple[str, int]]:
        yield call.message_id, timestamp.micros


@pytest.mark.parametrize("batch_bytes", [1, 1_000_000], ids=["given while processing", "given at the end"])
def test_calls_keep_their_timestamps_and_outcomes_are_counted(batch_bytes: int, bigquery: BigQueryDouble) -> None:
    bad = structs.replace(call("bad"), traits=Raw(b"NaN"))
    entries = [entry(call("m0")), entry(call("m1"), None), entry(bad), *(entry(call(f"m{n}")) for n in range(2, 20))]
    pipeline = beam.Pipeline(runner="FnApiRunner")
    timed = [TimestampedValue(element, 1_000 + number) for number, element in enumerate(entries)]
    logged = pipeline | beam.Create(timed) | LogCalls(DATASET, JOB, replace(DELIVERY, batch_bytes=batch_bytes))
    times = [(e.call.message_id, (1_000 + n) * 1_000_000) for n, e in enumerate(entries) if e.call.message_id != "bad"]
    assert_that(logged[base.LOGGED] | beam.ParDo(_TimesFn()), equal_to(times), label="Times")
    assert_that(logged[base.DEAD_LETTERS] | beam.Map(lambda append: append.row.message_id), equal_to(["bad"]))
    result = pipeline.run()
    result.wait_until_finish()
    counted = metrics.counts(result.metrics())
    assert counted["written-rows:identity_calls"] == 20
    assert counted["outcome-calls:identity_call"] == 19
    assert counted["outcome-calls:dead_letter"] == 1
    assert counted["dead-letter-calls:invalid_field"] == 1


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
    count, (refused,) = upsert(upserts, CONTACTS)
    assert count == 2
    assert isinstance(refused.row, DeadLetter)
    assert (refused.row.stage, refused.row.reason) == ("write", "invalid_field")
    assert refused.row.detail.startswith("contacts ('b',): Field traits: invalid JSON")
    assert b'"traits":{"score":1e999}' in refused.row.payload
    assert [row["external_id"] for row in written(bigquery, CONTACTS)] == ["a"]
    step = UpsertRows(DATASET, CONTACTS, JOB, DELIVERY)
    counted = feed(upserts, step, {UpsertRows.ACCEPTED: [2], UpsertRows.DEAD_LETTERS: [refused]})
    assert counted["written-rows:contacts"] == 1


def test_a_contact_too_large_for_a_request_is_a_dead_letter_cut_to_its_first_megabyte(
    bigquery: BigQueryDouble,
) -> None:
    traits = Raw(json.dumps({"notes": "x" * 9_500_000}).encode())
    count, (refused,) = upsert([Upsert(("a",), (0, 1), Contact("a", traits=traits))], CONTACTS, delivery=Delivery())
    assert count == 0
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
        return {transform.unique_name for transform in pipeline.to_runner_api().components.transforms.values()}

    assert "Write/Stable/Gather" in labels(structs.replace(JOB, bounded=False))
    assert "Write/Stable" not in labels(JOB)


def test_rows_of_any_window_are_written(bigquery: BigQueryDouble) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    upserts = pipeline | beam.Create([Upsert(("a",), (1, 1), Identity("a", "ann"))])
    windowed = upserts | beam.WindowInto(FixedWindows(1))
    count = (windowed | "Write" >> UpsertRows(DATASET, IDENTITIES, JOB, DELIVERY))[UpsertRows.ACCEPTED]
    assert_that(count, equal_to([1]))
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
        count, letters = upsert(
            Upsert((f"p{id}",), (0, version), None if id % 5 == version else Identity(f"p{id}", f"at {version}"))
            for id, version in versions
        )
    finally:
        ended.set()
        killer.join()
    assert (count, letters) == (20_000, [])
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
            for bundle_number in range(5):
                list(bundle(fn, [Append(event(f"{thread}-{bundle_number}-{number}")) for number in range(400)]))
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
