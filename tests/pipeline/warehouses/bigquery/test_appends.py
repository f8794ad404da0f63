"""Batches: what is tried again and how long, what is divided, and which rows are refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from random import Random

import pytest
from grpc import StatusCode

from pipeline.warehouses.bigquery.append_stream import AppendStream, Delivery
from pipeline.warehouses.bigquery.appends import Appender, WriteFailed
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from schemas.tables import EVENTS
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.faults import ANY, BROKEN, Fault, late
from tests.bigquery_double.schema import Field
from tests.bigquery_double.strictness import RowErrors, Strictness
from tests.bigquery_double.tables import TableName
from tests.rows import NOON
from tests.rows import event as page
from transforms import metrics

YEAR = 366 * 86_400_000_000
PATH = "projects/analytics-prod/datasets/segment/tables/events"
NAME = "analytics-prod.segment.events"
DELIVERY = Delivery(answer_s=20, outage_s=20, news_s=0.5, first_pause_s=0.01, longest_pause_s=0.05)
ENCODER = RowEncoder(EVENTS)

Opened = Callable[..., AbstractContextManager[BigQueryDouble]]


@pytest.fixture
def bigquery(open_bigquery: Opened) -> Iterator[BigQueryDouble]:
    with open_bigquery(now=NOON) as opened:
        yield opened


def event(id: str, properties: bytes = b"{}", received_at: int = NOON) -> bytes:
    return ENCODER.encode(page(id, properties, received_at=received_at))


def appender(delivery: Delivery = DELIVERY) -> Appender:

    return Appender(AppendStream.of(PATH, ENCODER.descriptor, delivery), metrics.Tally(), ENCODER.rewritten)


def ids(bigquery: BigQueryDouble) -> list[str]:
    return sorted(row["message_id"] for row in bigquery.rows(NAME))


BAD_ROWS = [
    ("JSON with a number beyond FLOAT64", event("bad", b'{"a": 1e999}'), "Field properties: invalid JSON"),
    ("JSON with NaN", event("bad", b'{"a": NaN}'), "Field properties: invalid JSON"),
    ("JSON too deep", event("bad", b'{"a":' * 501 + b"1" + b"}" * 501), "Field properties: the JSON is nested deeper"),
    ("a partition too old", event("bad", received_at=NOON - 11 * YEAR), "Field received_at: the partition is outside"),
    ("a partition too far ahead", event("bad", received_at=NOON + 2 * YEAR), "Field received_at: the partition is"),
]


@pytest.mark.parametrize(("what", "bad", "words"), BAD_ROWS, ids=[what for what, *_ in BAD_ROWS])
def test_a_row_that_bigquery_refuses_is_told_in_its_words_and_the_rest_is_written(
    bigquery: BigQueryDouble, what: str, bad: bytes, words: str
) -> None:
    writer = appender()
    refused = writer.settle(writer.send([event("m1"), bad, event("m2")]))
    assert list(refused) == [1]
    assert refused[1].startswith(words)
    assert ids(bigquery) == ["m1", "m2"]


@pytest.mark.parametrize("named", [1, 2, None])
def test_rows_are_sent_again_until_no_more_are_refused(open_bigquery: Opened, named: int | None) -> None:
    with open_bigquery(now=NOON, named_row_errors=named) as bigquery:
        writer = appender()
        bad = {1, 2, 5, 9}
        rows = [event(f"m{number}", b"NaN" if number in bad else b"{}") for number in range(10)]
        assert set(writer.settle(writer.send(rows))) == bad
        assert ids(bigquery) == [f"m{number}" for number in range(10) if number not in bad]


def test_a_batch_of_refused_rows_alone_leaves_nothing_to_send(bigquery: BigQueryDouble) -> None:
    writer = appender()
    assert set(writer.settle(writer.send([event("m1", b"NaN"), event("m2", b"NaN")]))) == {0, 1}
    assert [append.rows for append in bigquery.requests.appends] == [2]


def test_a_request_that_is_too_large_is_halved_and_the_next_ones_are_smaller(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, request_limit=4_000) as bigquery:
        writer = appender()
        rows = [event(f"m{number:02}", b'"' + b"x" * 500 + b'"') for number in range(20)]
        assert writer.settle(writer.send(rows)) == {}
        assert ids(bigquery) == [f"m{number:02}" for number in range(20)]
        assert AppendStream.of(PATH, ENCODER.descriptor, DELIVERY).largest_request < 4_000


def test_a_row_that_no_request_can_hold_is_refused_and_the_rest_is_written(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, request_limit=4_000) as bigquery:
        writer = appender()
        large = event("large", b'"' + b"x" * 5_000 + b'"')
        refused = writer.settle(writer.send([event("m1"), large, event("m2"), event("m3")]))
        assert list(refused) == [1]
        assert refused[1].startswith(f"the row of {len(large)} bytes: AppendRows request too large")
        assert ids(bigquery) == ["m1", "m2", "m3"]


@pytest.mark.parametrize("fault", ANY, ids=lambda fault: f"{fault.code.name}{'-answered' * fault.answered}")
def test_what_passes_is_tried_again(bigquery: BigQueryDouble, fault: Fault) -> None:
    tally = metrics.Tally()

    writer = Appender(AppendStream.of(PATH, ENCODER.descriptor, DELIVERY), tally)
    for request in (1, 2, 3):
        bigquery.faults.at(request, fault)
    assert writer.settle(writer.send([event("m1")])) == {}
    assert set(ids(bigquery)) == {"m1"}
    assert len(bigquery.requests.appends) == 4
    assert fault.code is not None
    assert tally[metrics.APPEND_RETRIES.of(fault.code.name)] == 3
    assert tally[metrics.APPENDS.of("events")] == 4
    assert tally[metrics.STREAMS.of("events")] == (1 if fault.answered else 4)


def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(bigquery: BigQueryDouble) -> None:
    writer = appender(replace(DELIVERY, answer_s=0.3))
    bigquery.faults.at(1, late(30))
    assert writer.settle(writer.send([event("m1")])) == {}
    assert ids(bigquery) == ["m1", "m1"]


PERMANENT = [
    (StatusCode.PERMISSION_DENIED, "Permission denied on resource", "the role roles/bigquery.dataEditor has"),
    (StatusCode.UNAUTHENTICATED, "invalid credentials", "trying again would not help"),
    (StatusCode.INVALID_ARGUMENT, "Invalid writer schema", "trying again would not help"),
]


@pytest.mark.parametrize(("code", "words", "remedy"), PERMANENT, ids=lambda value: getattr(value, "name", None))
@pytest.mark.parametrize("answered", [True, False])
def test_what_does_not_pass_fails_at_once_in_one_line(
    bigquery: BigQueryDouble, code: StatusCode, words: str, remedy: str, answered: bool
) -> None:
    writer = appender()
    bigquery.faults.at(1, Fault(code, words, answered=answered))
    with pytest.raises(WriteFailed) as failed:
        writer.settle(writer.send([event("m1")]))
    said = str(failed.value)
    assert said.startswith(f"{NAME}: {code.name}: {words}; ")
    assert remedy in said
    assert "\n" not in said
    assert len(bigquery.requests.appends) == 1


def test_an_outage_that_lasts_fails_the_batch_and_a_later_one_is_written(bigquery: BigQueryDouble) -> None:
    writer = appender(replace(DELIVERY, outage_s=0.5))
    with bigquery.faults.outage():
        batch = writer.send([event("m1")])
        with pytest.raises(WriteFailed, match=r"UNAVAILABLE: .*; this did not pass in 0\.5 s"):
            writer.settle(batch)
    assert writer.settle(writer.send([event("m1")])) == {}
    assert ids(bigquery) == ["m1"]


def test_a_table_that_was_made_a_moment_ago_is_looked_for(bigquery: BigQueryDouble) -> None:
    writer = appender(replace(DELIVERY, news_s=20))
    for request in range(1, 6):
        bigquery.faults.at(request, Fault(StatusCode.NOT_FOUND, "Requested entity was not found"))
    assert writer.settle(writer.send([event("m1")])) == {}
    assert ids(bigquery) == ["m1"]


def test_a_table_that_there_is_not_fails_the_batch_in_the_end(bigquery: BigQueryDouble) -> None:
    del bigquery.catalog.tables[TableName.parse(NAME)]
    writer = appender()
    with pytest.raises(WriteFailed, match=r"NOT_FOUND: .*; python -m schemas create makes the tables and columns"):
        writer.settle(writer.send([event("m1")]))


def test_a_column_that_an_older_table_lacks_fails_the_batch_and_is_told_by_name(bigquery: BigQueryDouble) -> None:
    table = bigquery.catalog.tables[TableName.parse(NAME)]
    table.fields = tuple(field for field in table.fields if field.name != "integrations")
    writer = appender()
    with pytest.raises(WriteFailed, match=r"extra fields: 'integrations'.*; python -m schemas create makes"):
        writer.settle(writer.send([event("m1")]))


def test_a_column_that_is_added_meanwhile_is_picked_up(bigquery: BigQueryDouble) -> None:
    table = bigquery.catalog.tables[TableName.parse(NAME)]
    missing = table.fields[-1]
    table.fields = table.fields[:-1]
    writer = appender(replace(DELIVERY, news_s=20))
    batch = writer.send([event("m1")])
    table.alter([*table.fields, missing, Field("of_a_newer_version", "STRING")])
    assert writer.settle(batch) == {}
    assert writer.settle(writer.send([event("m2")])) == {}
    assert ids(bigquery) == ["m1", "m2"]


def test_other_batches_of_a_broken_stream_are_sent_again_too(bigquery: BigQueryDouble) -> None:
    writer = appender()
    bigquery.faults.at(2, BROKEN)
    batches = [writer.send([event(f"m{number}")]) for number in range(5)]
    assert [writer.settle(batch) for batch in batches] == [{}] * 5
    assert sorted(set(ids(bigquery))) == [f"m{number}" for number in range(5)]


# ---- refused without names ----

UNNAMED = [RowErrors.UNNAMED, RowErrors.END]


@pytest.mark.parametrize("row_errors", UNNAMED)
@pytest.mark.parametrize("bad", [{0}, {7}, {1, 2, 9}], ids=str)
def test_a_row_that_is_not_named_is_found_and_the_rest_is_written(
    open_bigquery: Opened, row_errors: RowErrors, bad: set[int]
) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(row_errors=row_errors)) as bigquery:
        writer = appender()
        rows = [event(f"m{number}", b"NaN" if number in bad else b"{}") for number in range(10)]
        refused = writer.settle(writer.send(rows))
        assert refused.keys() == bad
        assert all(words.startswith("Field properties: invalid JSON") for words in refused.values())
        assert ids(bigquery) == [f"m{number}" for number in range(10) if number not in bad]
        assert len(bigquery.requests.appends) <= 3 + len(bad) * 6


@pytest.mark.parametrize("row_errors", UNNAMED)
def test_other_batches_in_flight_are_not_blamed(open_bigquery: Opened, row_errors: RowErrors) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(row_errors=row_errors)) as bigquery:
        writer = appender()
        batches = [writer.send([event(f"m{n}", b"NaN" if n == 2 else b"{}")]) for n in range(5)]
        assert [[*writer.settle(batch)] for batch in batches] == [[], [], [0], [], []]
        assert sorted({*ids(bigquery)}) == ["m0", "m1", "m3", "m4"]


@pytest.mark.parametrize("row_errors", UNNAMED)
def test_of_threads_that_share_a_connection_none_is_blamed_for_anothers_row(
    open_bigquery: Opened, row_errors: RowErrors
) -> None:
    def write(thread: int) -> list[str]:
        writer = appender()
        refused = []
        for first in range(0, 60, 12):
            batches = [[f"{thread}-{first + place + n}" for n in range(4)] for place in (0, 4, 8)]
            sent = [writer.send([event(id, b"NaN" if id in bad else b"{}") for id in batch]) for batch in batches]
            for batch, rows in zip(batches, sent, strict=True):
                refused += [batch[index] for index in writer.settle(rows)]
        return refused

    rng = Random(1)
    every = [f"{thread}-{number}" for thread in range(4) for number in range(60)]
    bad = {*rng.sample(every, 15)}
    with open_bigquery(now=NOON, strictness=Strictness(row_errors=row_errors)) as bigquery:
        assert appender().settle(appender().send([event("first")])) == {}
        with ThreadPoolExecutor(4) as threads:
            refused = [id for of_thread in threads.map(write, range(4)) for id in of_thread]
        assert sorted(refused) == sorted(bad)
        assert {*ids(bigquery)} == {"first", *every} - bad


@pytest.mark.parametrize("row_errors", UNNAMED)
@pytest.mark.parametrize("count", [1, 40])
def test_where_no_row_is_accepted_none_is_lost_to_the_dead_letters(
    open_bigquery: Opened, row_errors: RowErrors, count: int
) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(row_errors=row_errors)) as bigquery:
        writer = appender()
        with pytest.raises(WriteFailed, match=r"invalid JSON.*; no row is accepted, so this may concern all: "):
            writer.settle(writer.send([event("bad", b"NaN")] * count))
        assert len(bigquery.requests.appends) <= 20
        assert writer.settle(writer.send([event("good")])) == {}
        assert [*writer.settle(writer.send([event("bad", b"NaN")]))] == [0], (
            "it is tried again, and another is accepted"
        )
        assert ids(bigquery) == ["good"]


def test_of_rows_that_come_alone_few_in_a_row_are_blamed(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(row_errors=RowErrors.END)):
        writer = appender()
        assert writer.settle(writer.send([event("good")])) == {}
        for _ in range(9):
            assert [*writer.settle(writer.send([event("bad", b"NaN")]))] == [0]
        with pytest.raises(WriteFailed, match="no row is accepted"):
            writer.settle(writer.send([event("bad", b"NaN")]))


def test_rows_that_were_accepted_long_ago_say_nothing(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(row_errors=RowErrors.END)):
        writer = appender(replace(DELIVERY, outage_s=0.2))
        assert writer.settle(writer.send([event("good")])) == {}
        time.sleep(0.25)
        with pytest.raises(WriteFailed, match="no row is accepted"):
            writer.settle(writer.send([event("bad", b"NaN")]))


@pytest.mark.parametrize("row_errors", RowErrors)
@pytest.mark.parametrize("named", [1, None])
def test_numbers_that_are_refused_as_they_were_sent_are_written_as_bigquery_writes_them(
    open_bigquery: Opened, row_errors: RowErrors, named: int | None
) -> None:
    strictness = Strictness(row_errors=row_errors, exact_numbers=True)
    with open_bigquery(now=NOON, named_row_errors=named, strictness=strictness) as bigquery:
        writer = appender()
        numbers = [b"1.10", b"67.174118", b"[1760509016.282637]", b"2", b'{"a": 123456789012345678901}']
        rows = [event(f"m{n}", number) for n, number in enumerate(numbers)]
        assert writer.settle(writer.send(rows)) == {}
        stored = {row["message_id"]: row["properties"] for row in bigquery.rows(NAME)}
        assert {id: stored[id] for id in ("m0", "m1", "m2", "m3")} == {
            "m0": "1.10",
            "m1": "67.17411800000001",
            "m2": "[1760509016.2826369]",
            "m3": "2",
        }
        assert json.loads(stored["m4"]) == {"a": 123456789012345678901.0}


def test_numbers_stay_as_they_were_sent_where_they_are_accepted(bigquery: BigQueryDouble) -> None:
    writer = appender()
    assert writer.settle(writer.send([event("m1", b"67.174118")])) == {}
    assert [row["properties"] for row in bigquery.rows(NAME)] == ["67.174118"]


def test_a_number_that_no_text_saves_is_a_refused_row_named_by_its_field(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(exact_numbers=True)) as bigquery:
        writer = appender()
        refused = writer.settle(writer.send([event("m1", b"67.174118"), event("m2", b"1e999")]))
        assert [*refused] == [1]
        assert refused[1].startswith("Field properties: invalid JSON")
        assert ids(bigquery) == ["m1"]


# ---- not known yet ----


def test_a_table_that_is_not_known_or_not_allowed_yet_is_tried_again(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(unknown_for=5)) as bigquery:
        writer = appender(replace(DELIVERY, news_s=20))
        assert writer.settle(writer.send([event("m1")])) == {}
        outcomes = [append.outcome for append in bigquery.requests.appends]
        assert outcomes == ["NOT_FOUND", "PERMISSION_DENIED"] * 2 + ["NOT_FOUND", "OK"]


def test_what_is_not_allowed_in_the_end_is_told_with_both_remedies(bigquery: BigQueryDouble) -> None:
    denied = Fault(StatusCode.PERMISSION_DENIED, "Permission denied on resource 'x' (or it may not exist).")
    bigquery.faults.at_random(1.0, seed=0, kinds=[denied])
    writer = appender()
    with pytest.raises(WriteFailed, match=r"role roles/bigquery.dataEditor has; python -m schemas create makes"):
        writer.settle(writer.send([event("m1")]))


# ---- limits ----


def test_while_other_connections_are_open_it_is_tried_again(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(connections=0)) as bigquery:
        writer = appender()
        batch = writer.send([event("m1")])
        threading.Timer(0.3, setattr, (bigquery.strictness, "connections", 1)).start()
        assert writer.settle(batch) == {}
        assert ids(bigquery) == ["m1"]


def test_a_slow_answer_does_not_keep_other_batches_waiting(open_bigquery: Opened) -> None:
    with open_bigquery(now=NOON, strictness=Strictness(latency_s=0.2)) as bigquery:
        writer = appender()
        begun = time.monotonic()
        batches = [writer.send([event(f"m{number}")]) for number in range(20)]
        assert [writer.settle(batch) for batch in batches] == [{}] * 20
        assert 0.2 <= time.monotonic() - begun < 2
        assert len(ids(bigquery)) == 20
