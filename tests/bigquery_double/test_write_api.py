"""The double's Storage Write API takes and refuses what BigQuery does, seen through Google's own clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.bigquery import Client, SchemaField, Table, TimePartitioning
from google.cloud.bigquery_storage_v1 import types
from google.cloud.bigquery_storage_v1.writer import AppendRowsStream

from tests.bigquery_double import BigQueryDouble, clients
from tests.bigquery_double.clients import Appender, Columns, Row
from tests.bigquery_double.conftest import NOW

DAY = 86_400_000_000
TABLE = "project.dataset.calls"
COLUMNS: Columns = {
    "id": "string",
    "count": "int64",
    "is_member": "bool",
    "at": "int64",
    "payload": "bytes",
    "traits": "string",
    "tags": ["string"],
    "audiences": [{"key": "string", "at": "int64"}],
}


@pytest.fixture
def calls(double: BigQueryDouble) -> Client:
    client = clients.rest(double)
    audience = [SchemaField("key", "STRING", "REQUIRED"), SchemaField("at", "TIMESTAMP")]
    table = Table(
        TABLE,
        [
            SchemaField("id", "STRING", "REQUIRED", description="its id"),
            SchemaField("count", "INT64"),
            SchemaField("is_member", "BOOL"),
            SchemaField("at", "TIMESTAMP"),
            SchemaField("payload", "BYTES"),
            SchemaField("traits", "JSON"),
            SchemaField("tags", "STRING", "REPEATED"),
            SchemaField("audiences", "STRUCT", "REPEATED", fields=audience),
        ],
    )
    table.time_partitioning = TimePartitioning(field="at")
    client.create_table(table)
    return client


@pytest.fixture
def appender(double: BigQueryDouble, calls: Client) -> Appender:
    return Appender(double, TABLE, COLUMNS)


def refusal(act: Callable[[], Any]) -> GoogleAPICallError:
    """The error that this raises."""
    with pytest.raises(GoogleAPICallError) as raised:
        act()
    return raised.value


def test_rows_are_seen_as_they_were_written(double: BigQueryDouble, appender: Appender) -> None:
    row = {
        "id": "a",
        "count": -3,
        "is_member": True,
        "at": NOW,
        "payload": b"\xff\x00",
        "traits": '{"plan": "é", "n": 1e308}',
        "tags": ["x", "y"],
        "audiences": [{"key": "k", "at": NOW}, {"key": "l"}],
    }
    assert appender.append(row, {"id": "b"}).append_result is not None
    [first, second] = double.rows(TABLE)
    assert first == {**row, "audiences": [{"key": "k", "at": NOW}, {"key": "l", "at": None}]}
    assert second == {**dict.fromkeys(COLUMNS), "id": "b", "tags": [], "audiences": []}


REFUSED_ROWS: list[tuple[str, Row | bytes, str]] = [
    ("a REQUIRED column is missing", {"count": 1}, "Field id"),
    ("a REQUIRED field of a STRUCT is missing", {"id": "a", "audiences": [{"at": 1}]}, "Field audiences.key"),
    ("a text is not UTF-8", b"\x0a\x02\xff\xfe", "Field id: invalid UTF-8"),
    ("JSON breaks off", {"id": "a", "traits": '{"a": 1'}, "Field traits: invalid JSON"),
    ("JSON is empty", {"id": "a", "traits": ""}, "Field traits: invalid JSON"),
    ("JSON has no NaN", {"id": "a", "traits": '{"a": NaN}'}, "Field traits: invalid JSON"),
    ("a number of JSON is beyond FLOAT64", {"id": "a", "traits": "[1e999]"}, "Field traits: invalid JSON"),
    ("JSON has half a surrogate pair", {"id": "a", "traits": r'"\ud800"'}, "Field traits: invalid JSON"),
    ("JSON has 501 levels", {"id": "a", "traits": "[" * 501 + "]" * 501}, "deeper than 500"),
    ("JSON has 501 levels of objects", {"id": "a", "traits": '{"a":' * 501 + "1" + "}" * 501}, "deeper than 500"),
    ("a timestamp is before the year 1", {"id": "a", "audiences": [{"key": "k", "at": -(10**17)}]}, "years 1 to 9999"),
    ("a timestamp is after the year 9999", {"id": "a", "audiences": [{"key": "k", "at": 10**18}]}, "years 1 to 9999"),
    ("a partition is too old", {"id": "a", "at": NOW - 3651 * DAY}, "outside the allowed bounds"),
    ("a partition is too far ahead", {"id": "a", "at": NOW + 367 * DAY}, "outside the allowed bounds"),
    ("a field is not in the writer schema", b"\x0a\x01a\xf8\x07\x01", "fields that the writer schema lacks"),
    ("the bytes are no row", b"\x0a\x7f", "Cannot parse"),
]


@pytest.mark.parametrize(("row", "words"), [case[1:] for case in REFUSED_ROWS], ids=[case[0] for case in REFUSED_ROWS])
def test_a_bad_row_is_named_and_nothing_is_written(
    double: BigQueryDouble, appender: Appender, row: Row | bytes, words: str
) -> None:
    error: Any = refusal(lambda: appender.append({"id": "good"}, row))
    assert error.code == 400
    [named] = error.response.row_errors
    assert (named.index, named.code) == (1, types.RowError.RowErrorCode.FIELDS_ERROR)
    assert words in named.message
    assert double.rows(TABLE) == []
    appender.append({"id": "good"})
    assert [each["id"] for each in double.rows(TABLE)] == ["good"]
    assert double.requests.opened == 1, "the connection goes on"


TAKEN_ROWS: list[tuple[str, Row]] = [
    ("JSON has 500 levels", {"traits": "[" * 500 + "]" * 500}),
    ("braces in texts are no levels", {"traits": '["' + "[" * 600 + r"\"{" + '"]'}),
    ("JSON is a scalar", {"traits": "null"}),
    ("a partition is 10 years old", {"at": NOW - 3650 * DAY}),
    ("a partition is a year ahead", {"at": NOW + 366 * DAY}),
    ("the year 1", {"audiences": [{"key": "", "at": -62_135_596_800_000_000}]}),
    ("the year 9999", {"audiences": [{"key": "", "at": 253_402_300_799_999_999}]}),
    ("the greatest INT64", {"count": 2**63 - 1}),
]


@pytest.mark.parametrize("row", [case[1] for case in TAKEN_ROWS], ids=[case[0] for case in TAKEN_ROWS])
def test_a_row_at_a_limit_is_taken(double: BigQueryDouble, appender: Appender, row: Row) -> None:
    appender.append({"id": "a", **row})
    [found] = double.rows(TABLE)
    assert {column: found[column] for column in row} == row


def test_one_answer_may_name_only_some_of_the_bad_rows(double: BigQueryDouble, appender: Appender) -> None:
    double.write_api.named_row_errors = 1
    rows: list[Row] = [{"id": "a"}, {"count": 1}, {"id": "b"}, {"count": 2}]
    for bad in (1, 2):
        error: Any = refusal(lambda: appender.append(*rows))
        [named] = error.response.row_errors
        assert named.index == bad
        del rows[bad]
    appender.append(*rows)
    assert [each["id"] for each in double.rows(TABLE)] == ["a", "b"]


REFUSED_SCHEMAS: list[tuple[str, Columns, str]] = [
    ("a column that the table lacks", {"id": "string", "zork": "string"}, "extra fields: 'zork'"),
    (
        "a field that a STRUCT lacks",
        {"id": "string", "audiences": [{"key": "string", "zork": "int64"}]},
        "extra fields: 'audiences.zork'",
    ),
    ("another type", {"id": "int64"}, "the proto field type int64, BigQuery field type STRING"),
    (
        "a TIMESTAMP as text",
        {"id": "string", "at": "string"},
        "the proto field type string, BigQuery field type TIMESTAMP",
    ),
    ("one value for REPEATED", {"id": "string", "tags": "string"}, "mode mismatched at tags"),
    ("several values for one", {"id": ["string"]}, "mode mismatched at id"),
    ("a REQUIRED column is missing", {"count": "int64"}, "required field id is missing"),
    ("change data capture without a key", {"id": "string", "_CHANGE_TYPE": "string"}, "needs a primary key"),
]


@pytest.mark.parametrize(
    ("columns", "words"), [case[1:] for case in REFUSED_SCHEMAS], ids=[case[0] for case in REFUSED_SCHEMAS]
)
def test_a_writer_schema_that_does_not_fit_ends_the_call(
    double: BigQueryDouble, calls: Client, columns: Columns, words: str
) -> None:
    error = refusal(lambda: Appender(double, TABLE, columns).append(b""))
    assert error.code == 400
    assert words in error.message
    assert [append.outcome for append in double.requests.appends] == ["INVALID_ARGUMENT"]


def test_extra_fields_are_told_in_the_details(double: BigQueryDouble, calls: Client) -> None:
    error = refusal(lambda: Appender(double, TABLE, {"id": "string", "zork": "string"}).append(b""))
    [detail] = [types.StorageError.deserialize(each.value) for each in error.details if "StorageError" in each.type_url]
    assert detail.code == types.StorageError.StorageErrorCode.SCHEMA_MISMATCH_EXTRA_FIELDS


def raw_append(double: BigQueryDouble, *requests: types.AppendRowsRequest) -> list[Any]:
    """Answers to requests that are sent as they are."""
    append_rows: Any = clients.write(double).transport.append_rows
    try:
        return list(append_rows(iter(requests), timeout=clients.TIMEOUT))
    except grpc.RpcError as error:
        raise exceptions.from_grpc_error(error) from None


def rows_of(*ids: str) -> types.AppendRowsRequest:
    serialized = [b"\x0a" + bytes([len(each)]) + each.encode() for each in ids]
    return types.AppendRowsRequest(
        proto_rows=types.AppendRowsRequest.ProtoData(rows=types.ProtoRows(serialized_rows=serialized))
    )


def changed(request: types.AppendRowsRequest, **fields: Any) -> types.AppendRowsRequest:
    made = types.AppendRowsRequest(request)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


FIRST = clients.template(TABLE, {"id": "string"})
REFUSED_REQUESTS: list[tuple[str, types.AppendRowsRequest, int]] = [
    ("no stream", changed(FIRST, write_stream=""), 400),
    ("no writer schema", changed(rows_of("a"), write_stream=FIRST.write_stream), 400),
    ("a stream that nobody has made", changed(FIRST, write_stream=FIRST.write_stream.replace("_default", "x")), 404),
    ("no such table", changed(FIRST, write_stream=clients.stream_name("project.dataset.zork")), 404),
    ("no such dataset", changed(FIRST, write_stream=clients.stream_name("project.zork.calls")), 404),
    ("an offset", changed(FIRST, offset=0), 400),
    ("a view", changed(FIRST, write_stream=clients.stream_name("project.dataset.seen")), 400),
]


@pytest.mark.parametrize(
    ("request_", "code"), [case[1:] for case in REFUSED_REQUESTS], ids=[case[0] for case in REFUSED_REQUESTS]
)
def test_a_first_request_that_cannot_be_followed_is_refused(
    double: BigQueryDouble, calls: Client, request_: types.AppendRowsRequest, code: int
) -> None:
    calls.query_and_wait(f"CREATE VIEW `project.dataset.seen` AS SELECT id FROM `{TABLE}`")
    assert refusal(lambda: raw_append(double, request_)).code == code


def test_later_requests_may_leave_out_what_the_first_said(double: BigQueryDouble, calls: Client) -> None:
    answers = raw_append(double, FIRST, rows_of("a"), rows_of("b", "c"))
    assert [answer.error.code for answer in answers] == [0, 0, 0]
    assert [each["id"] for each in double.rows(TABLE)] == ["a", "b", "c"]


def test_one_connection_may_write_to_several_tables(double: BigQueryDouble, calls: Client) -> None:
    calls.create_table(Table("project.dataset.other", [SchemaField("id", "STRING")]))
    other = clients.template("project.dataset.other", {"id": "string"})
    raw_append(double, FIRST, rows_of("a"), other, rows_of("b"))
    assert [each["id"] for each in double.rows(TABLE)] == ["a"]
    assert [each["id"] for each in double.rows("project.dataset.other")] == ["b"]
    assert double.requests.opened == 1


def test_the_short_name_of_the_default_stream_is_known(double: BigQueryDouble, calls: Client) -> None:
    short = FIRST.write_stream.replace("/streams", "")
    raw_append(double, changed(FIRST, write_stream=short), rows_of("a"))
    assert len(double.rows(TABLE)) == 1


def test_a_request_over_the_limit_ends_the_call(double: BigQueryDouble, appender: Appender) -> None:
    appender.append({"id": "a"})
    appender.append({"id": "b", "payload": b"x" * 1000})
    double.write_api.request_limit = double.requests.largest
    appender.append({"id": "c", "payload": b"x" * 1000})
    error = refusal(lambda: appender.append({"id": "d", "payload": b"x" * 1001}))
    assert error.code == 400
    assert "AppendRows request too large" in error.message
    assert [each["id"] for each in double.rows(TABLE)] == ["a", "b", "c"]
    appender.append({"id": "e"})
    assert double.requests.opened == 2


def test_answers_come_in_the_order_of_the_requests(double: BigQueryDouble, appender: Appender) -> None:
    for number in range(40):
        appender.send({"id": "a"} if number % 2 == 0 else {"count": 1})
    for number in range(40):
        if number % 2 == 0:
            appender.answer()
        else:
            assert refusal(appender.answer).code == 400


def test_a_column_that_is_added_is_told_on_open_connections_once(
    double: BigQueryDouble, calls: Client, appender: Appender
) -> None:
    assert not appender.append({"id": "a"}).updated_schema.fields
    table = calls.get_table(TABLE)
    table.schema = [*table.schema, SchemaField("plan", "STRING")]
    calls.update_table(table, ["schema"])
    assert [field.name for field in appender.append({"id": "b"}).updated_schema.fields] == [*COLUMNS, "plan"]
    assert not appender.append({"id": "c"}).updated_schema.fields
    Appender(double, TABLE, {"id": "string", "plan": "string"}).append({"id": "d", "plan": "x"})
    assert [(each["id"], each["plan"]) for each in double.rows(TABLE)] == [
        ("a", None),
        ("b", None),
        ("c", None),
        ("d", "x"),
    ]


def test_idle_connections_are_closed_and_opened_again(double: BigQueryDouble, appender: Appender) -> None:
    appender.append({"id": "a"})
    double.close_idle()
    assert refusal(appender.answer).code == 409
    clients.eventually(lambda: double.requests.open == 0)
    appender.append({"id": "b"})
    assert double.requests.opened == 2
    assert double.requests.most_open == 1


def test_the_schema_of_a_stream_can_be_asked_for(double: BigQueryDouble, calls: Client) -> None:
    request = types.GetWriteStreamRequest(name=FIRST.write_stream, view=types.WriteStreamView.FULL)
    stream = clients.write(double).get_write_stream(request)
    assert stream.name == FIRST.write_stream
    assert [field.name for field in stream.table_schema.fields] == [*COLUMNS]
    assert stream.table_schema.fields[0].description == "its id"
    assert stream.table_schema.fields[3].type_ == types.TableFieldSchema.Type.TIMESTAMP
    assert [field.name for field in stream.table_schema.fields[7].fields] == ["key", "at"]


def test_the_client_library_appends_and_reads_errors(double: BigQueryDouble, calls: Client) -> None:
    stream = AppendRowsStream(clients.write(double), FIRST)
    futures = [stream.send(rows_of("a")), stream.send(rows_of()), stream.send(rows_of("b"))]
    assert [future.exception(timeout=clients.TIMEOUT) for future in futures] == [None] * 3
    refused = stream.send(changed(rows_of("c"), offset=1))
    assert isinstance(refused.exception(timeout=clients.TIMEOUT), exceptions.InvalidArgument)
    assert [each["id"] for each in double.rows(TABLE)] == ["a", "b"]


def test_what_was_received_is_known(double: BigQueryDouble, appender: Appender) -> None:
    appender.append({"id": "a"}, {"id": "b"})
    appender.append({"id": "c", "payload": b"x" * 5000})
    [first, second] = double.requests.appends
    assert (first.table, first.rows, first.connection, first.outcome) == ("calls", 2, 1, "OK")
    assert 5000 < second.size < 5100
    assert double.requests.largest == second.size
    double.requests.clear()
    assert (double.requests.appends, double.requests.opened, double.requests.open) == ([], 0, 1)
