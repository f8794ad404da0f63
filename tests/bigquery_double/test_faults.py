"""The double fails as it is told to: what was written then, and what the client learns."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from google.api_core.exceptions import (
    Aborted,
    DeadlineExceeded,
    GoogleAPICallError,
    InternalServerError,
    ResourceExhausted,
    ServiceUnavailable,
)
from google.cloud.bigquery import Client
from google.cloud.bigquery_storage_v1 import types

from tests.bigquery_double import BigQueryDouble, clients, faults
from tests.bigquery_double.clients import Appender
from tests.bigquery_double.faults import Fault, Faults

TABLE = "project.dataset.events"


@pytest.fixture
def events(double: BigQueryDouble) -> Client:
    client = clients.rest(double)
    for table in (TABLE, "project.dataset.others"):
        client.query_and_wait(f"CREATE TABLE `{table}` (id STRING NOT NULL)")
    return client


@pytest.fixture
def appender(double: BigQueryDouble, events: Client) -> Appender:
    return Appender(double, TABLE, {"id": "string"})


def ids(double: BigQueryDouble) -> list[str]:
    return [row["id"] for row in double.rows(TABLE)]


KINDS: list[tuple[str, Fault, type[GoogleAPICallError], bool]] = [
    ("unavailable", faults.UNAVAILABLE, ServiceUnavailable, False),
    ("aborted", faults.ABORTED, Aborted, False),
    ("over a quota", faults.RESOURCE_EXHAUSTED, ResourceExhausted, False),
    ("past its deadline", faults.DEADLINE_EXCEEDED, DeadlineExceeded, False),
    ("internal", faults.INTERNAL, InternalServerError, False),
    ("broken before writing", faults.BROKEN, ServiceUnavailable, False),
    ("broken after writing", faults.BROKEN_AFTER_WRITING, ServiceUnavailable, True),
]


@pytest.mark.parametrize(("fault", "error", "written"), [case[1:] for case in KINDS], ids=[case[0] for case in KINDS])
def test_a_fault_strikes_the_request_it_was_set_for(
    double: BigQueryDouble, appender: Appender, fault: Fault, error: type[GoogleAPICallError], written: bool
) -> None:
    double.faults.at(2, fault)
    appender.append({"id": "a"})
    with pytest.raises(error):
        appender.append({"id": "b"})
    assert not appender.connected
    assert ids(double) == (["a", "b"] if written else ["a"])
    appender.append({"id": "b"})
    assert ids(double) == (["a", "b", "b"] if written else ["a", "b"])
    assert double.faults.struck == [fault]
    assert double.requests.opened == 2


def test_requests_behind_a_broken_one_are_not_written(double: BigQueryDouble, appender: Appender) -> None:
    double.faults.at(2, faults.BROKEN)
    for each in "abcd":
        appender.send({"id": each})
    appender.answer()
    with pytest.raises(ServiceUnavailable):
        appender.answer()
    assert ids(double) == ["a"]


def test_an_error_within_an_answer_leaves_the_connection_open(double: BigQueryDouble, appender: Appender) -> None:
    double.faults.at(1, Fault(faults.INTERNAL.code, "try again", answered=True))
    with pytest.raises(InternalServerError, match="try again"):
        appender.append({"id": "a"})
    assert appender.connected
    appender.append({"id": "a"})
    assert ids(double) == ["a"]
    assert double.requests.opened == 1


def test_a_fault_may_wait_for_a_table(double: BigQueryDouble, appender: Appender) -> None:
    double.faults.at(1, faults.UNAVAILABLE, table="others")
    appender.append({"id": "a"})
    with pytest.raises(ServiceUnavailable):
        Appender(double, "project.dataset.others", {"id": "string"}).append({"id": "a"})


def test_an_answer_may_come_late(double: BigQueryDouble, appender: Appender) -> None:
    double.faults.at(1, faults.late(2.0))
    begun = time.monotonic()
    appender.send({"id": "a"})
    clients.eventually(lambda: ids(double) == ["a"])
    assert time.monotonic() - begun < 2.0, "the rows are there before the answer"
    appender.answer()
    assert time.monotonic() - begun >= 2.0


def test_the_end_of_the_double_does_not_wait_for_late_answers() -> None:
    with BigQueryDouble() as double:
        double.catalog.create_dataset("project", "dataset", {})
        clients.rest(double).query_and_wait(f"CREATE TABLE `{TABLE}` (id STRING)")
        double.faults.at(1, faults.late(3600))
        appender = Appender(double, TABLE, {"id": "string"})
        appender.send({"id": "a"})
        clients.eventually(lambda: ids(double) == ["a"])


def test_random_faults_are_the_same_for_a_seed() -> None:
    def struck(seed: int) -> list[Fault | None]:
        made = Faults()
        made.at_random(0.3, seed)
        return [made.next("events") for _ in range(200)]

    assert struck(1) == struck(1) != struck(2)
    assert 30 < sum(fault is not None for fault in struck(1)) < 90
    assert {*struck(1), *struck(2), *struck(3)} == {None, *faults.ANY}


def test_faults_can_be_taken_back(double: BigQueryDouble, appender: Appender) -> None:
    double.faults.at(1, faults.INTERNAL)
    double.faults.at_random(1.0, seed=0)
    double.faults.away = True
    double.faults.clear()
    appender.append({"id": "a"})
    assert double.faults.struck == []


def test_in_an_outage_every_call_is_refused(double: BigQueryDouble, events: Client, appender: Appender) -> None:
    appender.append({"id": "a"})
    reader = clients.read(double)
    session = types.ReadSession(
        table="projects/project/datasets/dataset/tables/events", data_format=types.DataFormat.ARROW
    )
    request = types.CreateReadSessionRequest(parent="projects/project", read_session=session)
    stream = types.GetWriteStreamRequest(name=clients.stream_name(TABLE))
    with double.faults.outage():
        for _ in range(2):  # the open connection, and a new one
            with pytest.raises(ServiceUnavailable):
                appender.append({"id": "b"})
        with pytest.raises(ServiceUnavailable):
            clients.write(double).get_write_stream(stream, retry=None)
        with pytest.raises(ServiceUnavailable):
            reader.create_read_session(request, retry=None)
        with pytest.raises(ServiceUnavailable):
            events.get_table(TABLE, retry=None)  # type: ignore[arg-type]
    appender.append({"id": "b"})
    assert reader.create_read_session(request).estimated_row_count == 2
    assert events.get_table(TABLE).num_rows == 2


def test_killed_at_random_nothing_that_was_answered_is_lost(double: BigQueryDouble, appender: Appender) -> None:
    """Connections are broken while several requests are on their way; what was not answered is sent again."""
    double.faults.at_random(0.05, seed=3)
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.02):
            double.break_connections()

    killer = threading.Thread(target=kill)
    killer.start()
    pending = [[{"id": f"{batch}-{row}"} for row in range(20)] for batch in range(200)]
    while pending:
        sent = pending[:5]
        try:
            for rows in sent:
                appender.send(*rows)
            for rows in sent:
                appender.answer()
                pending.remove(rows)
        except GoogleAPICallError:
            if appender.connected:  # the answers behind this one are not waited for
                appender.close()
    done.set()
    killer.join()
    assert {*ids(double)} == {f"{batch}-{row}" for batch in range(200) for row in range(20)}
    assert double.requests.opened > 1


def test_breaking_connections_leaves_what_came_in_unanswered(double: BigQueryDouble, appender: Appender) -> None:
    appender.append({"id": "a"})
    double.faults.at(1, faults.late(3600))
    appender.send({"id": "b"})
    appender.send({"id": "c"})
    clients.eventually(lambda: ids(double) == ["a", "b"])
    double.break_connections()
    with pytest.raises(ServiceUnavailable, match="reset by peer"):
        appender.answer()
    assert ids(double) == ["a", "b"]


def test_breaking_connections_leaves_what_waits_unwritten(double: BigQueryDouble, appender: Appender) -> None:
    appender.append({"id": "a"})
    [connection] = double.write_api.connections
    with double.catalog.lock:  # which the double needs to write
        appender.send({"id": "b"})
        appender.send({"id": "c"})
        clients.eventually(lambda: connection.queue.qsize() == 1)
        double.break_connections()
    appender.answer()
    with pytest.raises(ServiceUnavailable):
        appender.answer()
    assert ids(double) == ["a", "b"]


def test_idle_connections_are_closed_behind_what_came_in(double: BigQueryDouble, appender: Appender) -> None:
    double.faults.at(1, faults.late(0.2))
    appender.send({"id": "a"})
    clients.eventually(lambda: ids(double) == ["a"])
    double.close_idle()
    appender.answer()
    with pytest.raises(Aborted, match="idle"):
        appender.answer()


def test_of_two_faults_for_one_request_the_second_waits_for_the_next(
    double: BigQueryDouble, appender: Appender
) -> None:
    double.faults.at(1, faults.ABORTED)
    double.faults.at(1, faults.INTERNAL)
    with pytest.raises(Aborted):
        appender.append({"id": "a"})
    with pytest.raises(InternalServerError):
        appender.append({"id": "a"})
    appender.append({"id": "a"})


def test_a_fault_tells_its_words(double: BigQueryDouble, appender: Appender) -> None:
    double.faults.at(1, faults.RESOURCE_EXHAUSTED)
    with pytest.raises(ResourceExhausted, match="AppendRows throughput"):
        appender.append({"id": "a"})
    [append] = double.requests.appends
    assert append.outcome == "RESOURCE_EXHAUSTED"


def test_nothing_else_than_asked_for_fails(double: BigQueryDouble, appender: Appender) -> None:
    for _ in range(50):
        appender.append({"id": "a"})
    outcomes: Any = {append.outcome for append in double.requests.appends}
    assert outcomes == {"OK"}
