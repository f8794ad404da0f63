"""The double is as unkind as it is told to be, seen through Google's own clients."""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.api_core.exceptions import (
    BadRequest,
    FailedPrecondition,
    Forbidden,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from google.cloud.bigquery import Client
from google.cloud.bigquery_storage_v1 import types

from tests.bigquery_double import BigQueryDouble, clients, json_values
from tests.bigquery_double.clients import Appender
from tests.bigquery_double.conftest import NOW
from tests.bigquery_double.strictness import DOCUMENTED_REQUEST, ENFORCED_REQUEST, RowErrors

DAY = 86_400_000_000
TABLE = "project.dataset.events"


@pytest.fixture
def events(double: BigQueryDouble) -> Client:
    client = clients.rest(double)
    client.query_and_wait(
        f"CREATE TABLE `{TABLE}` (id STRING, at TIMESTAMP, properties JSON) PARTITION BY TIMESTAMP_TRUNC(at, DAY)"
    )
    return client


@pytest.fixture
def appender(double: BigQueryDouble, events: Client) -> Appender:
    return Appender(double, TABLE, {"id": "string", "at": "int64", "properties": "string"})


def ids(double: BigQueryDouble) -> list[str]:
    return [row["id"] for row in double.rows(TABLE)]


BAD: dict[str, Any] = {"id": "bad", "properties": "NaN"}


def test_bad_rows_are_named_and_the_requests_before_and_behind_go_on(
    double: BigQueryDouble, appender: Appender
) -> None:
    for rows in ([{"id": "a"}], [{"id": "b"}, BAD], [{"id": "c"}]):
        appender.send(*rows)
    appender.answer()
    with pytest.raises(InvalidArgument) as refused:
        appender.answer()
    assert [error.index for error in refused.value.response.row_errors] == [1]
    appender.answer()
    assert ids(double) == ["a", "c"]
    assert double.requests.opened == 1


def test_bad_rows_may_go_unnamed_in_an_answer(double: BigQueryDouble, appender: Appender) -> None:
    double.strictness.row_errors = RowErrors.UNNAMED
    for rows in ([{"id": "a"}], [{"id": "b"}, BAD], [{"id": "c"}]):
        appender.send(*rows)
    appender.answer()
    with pytest.raises(InvalidArgument, match="Field properties: invalid JSON") as refused:
        appender.answer()
    assert list(refused.value.response.row_errors) == []
    appender.answer()
    assert ids(double) == ["a", "c"]


def test_bad_rows_may_end_the_call_unnamed(double: BigQueryDouble, appender: Appender) -> None:
    double.strictness.row_errors = RowErrors.END
    for rows in ([{"id": "a"}], [{"id": "b"}, BAD], [{"id": "c"}]):
        appender.send(*rows)
    appender.answer()
    with pytest.raises(InvalidArgument, match="Field properties: invalid JSON"):
        appender.answer()
    assert not appender.connected
    assert ids(double) == ["a"]


@pytest.mark.parametrize("days", [-3651, 367])
@pytest.mark.parametrize("row_errors", RowErrors)
def test_partitions_out_of_range_are_refused(
    double: BigQueryDouble, appender: Appender, days: int, row_errors: RowErrors
) -> None:
    double.strictness.row_errors = row_errors
    with pytest.raises(InvalidArgument):
        appender.append({"id": "a", "at": NOW + days * DAY})
    appender.append({"id": "b", "at": NOW + (days - 1 if days > 0 else days + 1) * DAY})
    assert ids(double) == ["b"]


def test_a_text_may_be_unwanted(double: BigQueryDouble, appender: Appender) -> None:
    double.strictness.unwanted = "spam"
    with pytest.raises(InvalidArgument) as refused:
        appender.append({"id": "a"}, {"id": "b", "properties": '{"a": "spam!"}'}, {"id": "spam"})
    named = {error.index: error.message for error in refused.value.response.row_errors}
    assert named == {1: "Field properties: the text is not wanted", 2: "Field id: the text is not wanted"}


NUMBERS = [
    ("67.174118", True),
    ('{"a": [1760509016.282637]}', True),
    ("18446744073709551617", True),
    ("0.1000000000000000055511151231257827", True),
    ("67.17411800000001", False),
    ("1760509016.2826369", False),
    ("1.10", False),
    ("1e2", False),
    ('"67.174118"', False),
    ("18446744073709551615", False),
]


@pytest.mark.parametrize(("number", "is_inexact"), NUMBERS)
def test_numbers_are_rounded_or_must_be_exact(
    double: BigQueryDouble, events: Client, appender: Appender, number: str, is_inexact: bool
) -> None:
    appender.append({"id": "rounded", "properties": number})
    double.strictness.exact_numbers = True
    exact = Appender(double, TABLE, {"id": "string", "properties": "string"})
    select = "SELECT TO_JSON_STRING(PARSE_JSON('{}'{})) AS parsed"
    assert [*events.query_and_wait(select.format(number, ", wide_number_mode=>'round'"))]
    if is_inexact:
        with pytest.raises(InvalidArgument) as refused:
            exact.append({"id": "exact", "properties": number})
        [named] = refused.value.response.row_errors
        assert named.message.startswith("Field properties: Input number: ")
        assert named.message.endswith(" cannot round-trip through string representation")
        with pytest.raises(BadRequest, match="cannot round-trip through string representation"):
            events.query_and_wait(select.format(number, ""))
    else:
        exact.append({"id": "exact", "properties": number})
        assert [*events.query_and_wait(select.format(number, ""))]
    assert ids(double) == ["rounded"] + ["exact"] * (not is_inexact)


def test_an_inexact_number_is_told() -> None:
    assert json_values.inexact_number('{"67.174118": ["67.174118", 1.5, 67.174118, 1e999]}') == "67.174118"


@pytest.mark.parametrize("limit", [ENFORCED_REQUEST, DOCUMENTED_REQUEST])
def test_a_request_is_as_large_as_documented_or_as_enforced(limit: int) -> None:
    with BigQueryDouble(request_limit=limit) as double:
        double.catalog.create_dataset("project", "dataset", {})
        clients.rest(double).query_and_wait(f"CREATE TABLE `{TABLE}` (id STRING)")
        appender = Appender(double, TABLE, {"id": "string"})
        appender.append({"id": "x" * (limit - 1_000)})
        with pytest.raises(InvalidArgument, match=f"AppendRows request too large: .* limit {limit}"):
            appender.append({"id": "x" * limit})
        assert not appender.connected


def test_a_table_that_was_just_made_is_not_known_for_a_while_by_any_api(
    double: BigQueryDouble, events: Client, appender: Appender
) -> None:
    double.strictness.unknown_for = 2
    reader = clients.read(double)
    session = types.ReadSession(
        table="projects/project/datasets/dataset/tables/events", data_format=types.DataFormat.ARROW
    )
    request = types.CreateReadSessionRequest(parent="projects/project", read_session=session)
    for error, denied in ((NotFound, NotFound), (PermissionDenied, Forbidden)):
        with pytest.raises(error):
            appender.append({"id": "a"})
        with pytest.raises(error):
            reader.create_read_session(request, retry=None)
        with pytest.raises(denied):
            events.query_and_wait(f"SELECT id FROM `{TABLE}`")
        with pytest.raises(denied):
            events.get_table(TABLE)
    appender.append({"id": "a"})
    assert reader.create_read_session(request).estimated_row_count == 1
    assert len([*events.query_and_wait(f"SELECT id FROM `{TABLE}`")]) == 1
    assert events.get_table(TABLE).num_rows == 1


def test_a_dataset_that_was_just_made_is_not_known_for_a_while(double: BigQueryDouble) -> None:
    double.strictness.unknown_for = 2
    client = clients.rest(double)
    client.create_dataset("project.new")
    for error in (NotFound, Forbidden):
        with pytest.raises(error):
            list(client.list_tables("project.new"))
        with pytest.raises(error):
            client.create_table("project.new.made")
    client.create_table("project.new.made")
    assert [item.table_id for item in client.list_tables("project.new")] == ["made"]


def test_the_words_of_what_is_not_allowed_leave_open_whether_it_exists(
    double: BigQueryDouble, appender: Appender
) -> None:
    double.strictness.unknown_for = 2
    with pytest.raises(NotFound):
        appender.append({"id": "a"})
    with pytest.raises(PermissionDenied, match=r"denied on resource .* \(or it may not exist\)"):
        appender.append({"id": "a"})


def test_only_so_many_connections_can_be_open(double: BigQueryDouble, appender: Appender) -> None:
    double.strictness.connections = 1
    appender.append({"id": "a"})
    with pytest.raises(ResourceExhausted):
        Appender(double, TABLE, {"id": "string"}).append({"id": "b"})
    appender.append({"id": "c"})
    appender.close()
    clients.eventually(lambda: double.requests.open == 0)
    Appender(double, TABLE, {"id": "string"}).append({"id": "d"})
    assert ids(double) == ["a", "c", "d"]


def test_each_answer_may_take_its_time_while_others_are_on_their_way(
    double: BigQueryDouble, events: Client, appender: Appender
) -> None:
    double.strictness.latency_s = 0.3
    begun = time.monotonic()
    for number in range(10):
        appender.send({"id": str(number)})
    for _ in range(10):
        appender.answer()
    assert 0.3 <= time.monotonic() - begun < 0.3 * 9
    begun = time.monotonic()
    events.get_table(TABLE)
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize("after", [{"session_reads": 1}, {"session_s": 0.0}], ids=["reads", "seconds"])
def test_a_read_session_expires(
    double: BigQueryDouble, events: Client, appender: Appender, after: dict[str, float]
) -> None:
    appender.append({"id": "a"}, {"id": "b"})
    reader = clients.read(double)
    asked = types.ReadSession(
        table="projects/project/datasets/dataset/tables/events", data_format=types.DataFormat.ARROW
    )
    made = reader.create_read_session(parent="projects/project", read_session=asked, max_stream_count=2)
    if "session_reads" in after:
        double.strictness.session_reads = 1
        assert len(list(reader.read_rows(made.streams[0].name))) == 1
    else:
        double.strictness.session_s = 0.0
    with pytest.raises(FailedPrecondition, match=r"there was an error operating on '.*': session expired at 20"):
        list(reader.read_rows(made.streams[1].name))
    again = reader.create_read_session(parent="projects/project", read_session=asked, max_stream_count=1)
    double.strictness.session_s = 60.0
    assert len(list(reader.read_rows(again.streams[0].name))) == 1
