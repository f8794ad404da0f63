"""One connection: appends in flight, broken streams, idle ones, and limits."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest
from google.auth.exceptions import DefaultCredentialsError
from grpc import StatusCode

from pipeline.warehouses.bigquery.answers import AppendError, RequestTooLarge, Transient
from pipeline.warehouses.bigquery.append_stream import AppendStream, Delivery
from pipeline.warehouses.bigquery.clients import write_client
from pipeline.warehouses.bigquery.protobuf import RowEncoder
from schemas.tables import IDENTITIES, Identity
from tests.bigquery_double import BigQueryDouble
from tests.bigquery_double.faults import ABORTED, BROKEN, BROKEN_AFTER_WRITING, RESOURCE_EXHAUSTED, Fault, late
from tests.bigquery_double.schema import Field
from tests.bigquery_double.tables import TableName

TABLE = "projects/analytics-prod/datasets/segment/tables/identities"
NAME = "analytics-prod.segment.identities"
ENCODER = RowEncoder(IDENTITIES)
DELIVERY = Delivery(answer_s=20)


def identity(id: str, external_id: str = "ann") -> bytes:
    return ENCODER.encode(Identity(id, external_id), _CHANGE_TYPE="UPSERT", _CHANGE_SEQUENCE_NUMBER="1")


def connect(delivery: Delivery = DELIVERY) -> AppendStream:
    return AppendStream.of(TABLE, ENCODER.descriptor, delivery)


def ids(bigquery: BigQueryDouble) -> set[str]:
    return {row["id"] for row in bigquery.rows(NAME)}


def test_appends_are_answered_while_others_are_on_their_way(bigquery: BigQueryDouble) -> None:
    connection = connect()
    appends = [connection.send([identity(f"p{number}"), identity(f"q{number}")]) for number in range(50)]
    for append in appends:
        connection.wait(append)
    assert len(ids(bigquery)) == 100
    assert bigquery.requests.opened == 1
    assert [append.opened_stream for append in appends] == [True] + [False] * 49


def test_a_process_has_one_connection_to_a_table_for_each_way_of_delivery(bigquery: BigQueryDouble) -> None:
    assert connect() is connect(replace(DELIVERY))
    assert connect() is not connect(replace(DELIVERY, answer_s=21))


@pytest.mark.parametrize("fault", [BROKEN, BROKEN_AFTER_WRITING, ABORTED])
def test_all_that_is_in_flight_on_a_broken_stream_is_to_be_sent_again(bigquery: BigQueryDouble, fault: Fault) -> None:
    connection = connect()
    bigquery.faults.at(2, late(0.5))
    bigquery.faults.at(3, fault)
    appends = [connection.send([identity(f"p{number}")]) for number in range(5)]
    outcomes = []
    for append in appends:
        try:
            connection.wait(append)
            outcomes.append("written")
        except Transient:
            outcomes.append("again")
    assert outcomes == ["written", "written", "again", "again", "again"]
    connection.wait(connection.send([identity("p9")]))
    assert "p9" in ids(bigquery)
    assert bigquery.requests.opened == 2


def test_an_error_in_an_answer_leaves_the_stream_open(bigquery: BigQueryDouble) -> None:
    connection = connect()
    bigquery.faults.at(1, replace(RESOURCE_EXHAUSTED, answered=True))
    with pytest.raises(Transient, match="RESOURCE_EXHAUSTED"):
        connection.wait(connection.send([identity("p1")]))
    connection.wait(connection.send([identity("p2")]))
    assert (ids(bigquery), bigquery.requests.opened) == ({"p2"}, 1)


def test_an_idle_stream_that_bigquery_has_closed_is_opened_again(bigquery: BigQueryDouble) -> None:
    connection = connect()
    connection.wait(connection.send([identity("p1")]))
    bigquery.close_idle()
    for _ in range(100):
        try:
            connection.wait(connection.send([identity("p2")]))
            break
        except Transient:  # sent before the end was heard of
            continue
    assert ids(bigquery) == {"p1", "p2"}


def test_an_answer_that_is_late_breaks_the_stream_and_is_not_taken_for_another(bigquery: BigQueryDouble) -> None:
    connection = connect(replace(DELIVERY, answer_s=0.3))
    bigquery.faults.at(1, late(1.0))
    with pytest.raises(Transient, match=r"DEADLINE_EXCEEDED: BigQuery has not answered for 0\.3 s"):
        connection.wait(connection.send([identity("p1")]))
    again = connect(DELIVERY)
    again.wait(again.send([identity("p2")]))
    assert ids(bigquery) == {"p1", "p2"}


@pytest.mark.parametrize(
    ("what", "delivery"),
    [
        ("requests", replace(DELIVERY, in_flight_requests=2)),
        ("bytes", replace(DELIVERY, in_flight_bytes=2 * len(identity("p1")))),
    ],
)
def test_no_more_is_in_flight_than_was_allowed(bigquery: BigQueryDouble, what: str, delivery: Delivery) -> None:
    connection = connect(delivery)
    bigquery.faults.at(1, late(0.5))
    first, second = (connection.send([identity(f"p{number}")]) for number in (1, 2))
    assert not first.future.done()
    third = connection.send([identity("p3")])
    assert first.future.done()
    for append in (first, second, third):
        connection.wait(append)
    assert ids(bigquery) == {"p1", "p2", "p3"}


def test_an_append_larger_than_all_that_may_be_in_flight_goes_alone(bigquery: BigQueryDouble) -> None:
    connection = connect(replace(DELIVERY, in_flight_bytes=1))
    for append in [connection.send([identity(f"p{number}")]) for number in range(3)]:
        connection.wait(append)
    assert len(ids(bigquery)) == 3


def test_nobody_waits_for_room_for_ever(bigquery: BigQueryDouble) -> None:
    connection = connect(replace(DELIVERY, in_flight_requests=1, answer_s=0.3))
    bigquery.faults.at(1, late(2.0))
    first = connection.send([identity("p1")])
    second = connection.send([identity("p2")])
    for append in (first, second):
        with pytest.raises(Transient, match="DEADLINE_EXCEEDED"):
            connection.wait(append)


def test_of_several_in_flight_the_largest_was_too_large_for_the_stream(bigquery: BigQueryDouble) -> None:
    connection = connect()
    ended = Fault(StatusCode.INVALID_ARGUMENT, "AppendRows request too large: 11854265 limit 10485760", delay=0.5)
    bigquery.faults.at(1, ended)
    small, large, other = (connection.send([identity("p1", "x" * size)]) for size in (10, 3_000, 20))
    with pytest.raises(RequestTooLarge, match="request too large"):
        connection.wait(large)
    for append in (small, other):
        with pytest.raises(Transient, match="another append was too large for the stream"):
            connection.wait(append)


def test_a_stream_that_tells_of_a_new_column_is_followed_by_one_that_knows_it(bigquery: BigQueryDouble) -> None:
    connection = connect()
    connection.wait(connection.send([identity("p1")]))
    table = bigquery.catalog.tables[TableName.parse(NAME)]
    table.alter([*table.fields, Field("added_later", "STRING")])
    connection.wait(connection.send([identity("p2")]))
    connection.wait(connection.send([identity("p3")]))
    assert ids(bigquery) == {"p1", "p2", "p3"}
    assert bigquery.requests.opened == 2


def test_threads_share_a_connection(bigquery: BigQueryDouble) -> None:
    connection = connect(replace(DELIVERY, in_flight_requests=4))

    def write(thread: int) -> None:
        for append in [connection.send([identity(f"{thread}-{number}")]) for number in range(100)]:
            connection.wait(append)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids(bigquery)) == 800
    assert bigquery.requests.most_open == 1


def test_what_is_in_flight_fails_when_connections_are_closed(bigquery: BigQueryDouble) -> None:
    connection = connect()
    bigquery.faults.at(1, late(5.0))
    append = connection.send([identity("p1")])
    AppendStream.close_all()
    with pytest.raises(AppendError, match="the connection was closed"):
        connection.wait(append)
    assert connect() is not connection


def test_bigquery_that_cannot_be_reached_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", "127.0.0.1:1")
    connection = connect()
    try:
        with pytest.raises(Transient, match="UNAVAILABLE"):
            connection.wait(connection.send([identity("p1")]))
    finally:
        AppendStream.close_all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_leaves_the_connections_to_its_parent(bigquery: BigQueryDouble) -> None:
    connection = connect()
    child = os.fork()
    if child == 0:
        os._exit(len(AppendStream._open))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert connect() is connection


def test_without_an_emulator_a_client_wants_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGQUERY_STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(DefaultCredentialsError, match=r"nowhere\.json"):
        write_client()
